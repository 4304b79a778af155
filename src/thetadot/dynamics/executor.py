"""Independent pieces of work over processes: one XLA thread each, started fresh (never forked)."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any

import cloudpickle


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _one_thread() -> None:
    """Make this worker's XLA use one thread. XLA sizes its pools by the processor affinity that it finds at start-up:
    it is narrowed while XLA starts and restored afterwards. (XLA's own flag for this changes the code that it
    generates, and so the last bits of the results.)"""
    import jax

    if not hasattr(os, "sched_setaffinity"):
        jax.devices()
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        jax.devices()
    finally:
        # Threads that XLA started keep the narrow affinity unless each is told.
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread), allowed)


def _call(payload: bytes) -> bytes:
    function, arguments = cloudpickle.loads(payload)
    return cloudpickle.dumps(function(*arguments))


class Executor:
    """Runs functions on argument tuples, in order of completion.

    Arguments:
        workers: number of processes; 1 runs everything in this one.
    """

    def __init__(self, workers: int):
        self.workers = workers

    @property
    def name(self) -> str:
        """What the results are recorded under."""
        return "sequential" if self.workers == 1 else f"{self.workers} processes"

    def run(self, function: Callable, arguments: Sequence[tuple]) -> Iterator[tuple[int, Any]]:
        """Yield (index, function(*arguments[index])) as they finish.

        A worker that dies ends the run with `BrokenProcessPool`; an exception of the function is raised here.
        """
        if self.workers == 1:
            for index, argument in enumerate(arguments):
                yield index, function(*argument)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self.workers, len(arguments)), context, initializer=_one_thread) as pool:
            pending = {
                pool.submit(_call, cloudpickle.dumps((function, argument))): index
                for index, argument in enumerate(arguments)
            }
            try:
                while pending:
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield pending.pop(future), cloudpickle.loads(future.result())
            finally:
                with contextlib.suppress(Exception):
                    pool.shutdown(wait=True, cancel_futures=True)
