"""Where the tasks of a sweep run: a scheduler by address or file, a Dask cluster of this machine, plain processes."""

import contextlib
import importlib.util
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from thetadot.dynamics.dask_executor import DaskExecutor
from thetadot.dynamics.executor import Executor, Processes, available_cores
from thetadot.errors import ThetadotError

_TIMEOUT = 30.0
EXTRA = "pip install 'thetadot[sweep]'"


class ClusterError(ThetadotError):
    """A Dask cluster that cannot be reached, or cannot be used as asked."""


def has_dask() -> bool:
    """Whether the extra `sweep` is installed."""
    return importlib.util.find_spec("distributed") is not None


@contextlib.contextmanager
def executor_for(
    scheduler: str | None = None, scheduler_file: str | FilePath | None = None, workers: int | None = None
) -> Iterator[Executor]:
    """An executor, closed at the end.

    Arguments:
        scheduler: address of a Dask scheduler.
        scheduler_file: its scheduler file.
        workers: processes on this machine, if neither is given; by default one per core.

    Raises:
        ClusterError: no extra, no answer, or more than one of these is given.
    """
    ways = {"scheduler": scheduler, "scheduler_file": scheduler_file, "workers": workers}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise ClusterError(f"{' and '.join(given)} are given: give one of them")
    if workers is not None and workers < 1:
        raise ClusterError(f"workers = {workers}: expected at least 1")
    if scheduler is None and scheduler_file is None:
        number = workers or available_cores()
        if not has_dask():
            yield Processes(number)
            return
        with _local(number) as client:
            yield DaskExecutor(client)
        return
    if not has_dask():
        raise ClusterError(f"a scheduler needs Dask: {EXTRA}")
    with _client(_address(scheduler, scheduler_file)) as client:
        yield DaskExecutor(client)


def _address(scheduler: str | None, scheduler_file: str | FilePath | None) -> str:
    if scheduler_file is None:
        return str(scheduler)
    try:
        return str(json.loads(FilePath(scheduler_file).read_bytes())["address"])
    except FileNotFoundError:
        raise ClusterError(
            f"{scheduler_file} does not exist: start the scheduler with --scheduler-file {scheduler_file}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ClusterError(f"{scheduler_file} is not the scheduler file of a Dask scheduler") from None


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({type(error).__name__}): start one with `dask scheduler`, or "
            "correct the address"
        ) from None
    with client:
        if not client.nthreads():
            raise ClusterError(
                f"the scheduler at {address} has no workers: start some with `dask worker {address} --nthreads 1`"
            )
        yield client


@contextlib.contextmanager
def _local(workers: int) -> Iterator[Any]:
    import logging

    import dask.config
    from distributed import Client, LocalCluster

    # A worker that dies is reported by us, once, and started again by its nanny.
    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.preload": [],
        "distributed.worker.preload": ["thetadot.studies.worker_signals"],
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        with _interrupts_ignored():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )  # fmt: skip
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that are started meanwhile ignore the terminal's interrupts: stopping is the client's affair."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
