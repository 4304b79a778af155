"""Independent pieces of work over a Dask cluster (extra `sweep`): this machine's, or any scheduler's."""

import contextlib
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle

from thetadot.dynamics.executor import (
    LOOK_SECONDS,
    Lost,
    SchedulerLostError,
    Tick,
    WorkerLostError,
    call_pickled,
)

_AHEAD = 2
_REFRESH = 8


class DaskExecutor:
    """Runs pieces over the workers of a `distributed.Client`, which may come and go meanwhile.

    Only a few pieces per worker thread are with the scheduler at a time, so that stopping is quick and the scheduler
    small however many there are.

    Arguments:
        client: a connected client. Start workers with one thread each (`--nthreads 1`): pieces are computed by one
            XLA thread, and threads of one process would share it.
    """

    def __init__(self, client: Any):
        self._client = client

    @property
    def name(self) -> str:
        """What the results are recorded under."""
        return f"{self.threads} workers of a Dask cluster"

    @property
    def threads(self) -> int:
        """Pieces that the cluster works on at a time."""
        return sum(self._client.nthreads().values())

    def run(
        self,
        function: Callable,
        arguments: Sequence[tuple],
        *,
        attempts: int | None = None,
        tick: Tick | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`.

        Raises:
            SchedulerLostError: the scheduler does not answer any more.
        """
        waiting = list(reversed(range(len(arguments))))
        tried = [0] * len(arguments)
        out: dict[int, Any] = {}
        back: queue.Queue[tuple[int, Any]] = queue.Queue()
        threads, looks = self._threads(), 0
        try:
            while waiting or out:
                if tick is not None and not tick(min(len(out), threads), sum(tried)):
                    waiting.clear()
                    out = self._recalled(out)
                    if not out:
                        return
                while waiting and len(out) < _AHEAD * max(threads, 1):
                    index = waiting.pop()
                    payload = cloudpickle.dumps((function, arguments[index]))
                    out[index] = self._client.submit(call_pickled, payload, pure=False, retries=0)
                    out[index].add_done_callback(lambda future, index=index: back.put((index, future)))
                try:
                    index, future = back.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    looks += 1
                    if looks % _REFRESH == 0:
                        threads = self._threads()
                    continue
                if out.get(index) is not future:
                    continue
                del out[index]
                if future.status == "finished":
                    yield index, cloudpickle.loads(future.result())
                    continue
                reason = self._reason(future)
                tried[index] += 1
                if attempts is None:
                    raise WorkerLostError(f"{reason}: the results of its piece are lost")
                if tried[index] < attempts:
                    waiting.append(index)
                else:
                    yield index, Lost(tried[index], reason)
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(out.values()))

    def _threads(self) -> int:
        self._check()
        try:
            return self.threads
        except Exception as error:
            raise _gone() from error

    def _check(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise _gone()

    def _recalled(self, out: dict[int, Any]) -> dict[int, Any]:
        """Take back what no worker has begun; what is left."""
        begun = {key for keys in self._client.processing().values() for key in keys}
        idle = [index for index, future in out.items() if future.key not in begun]
        self._client.cancel([out[index] for index in idle])
        return {index: future for index, future in out.items() if index not in idle}

    def _reason(self, future: Any) -> str:
        """Why a future has no result; what its function raised is raised here."""
        from distributed.scheduler import KilledWorker

        if future.status != "error":
            self._check()
            return f"the cluster gave the piece up ({future.status})"
        error = future.exception()
        if isinstance(error, KilledWorker):
            return f"the workers that had it died, last {error.last_worker.address}"
        if type(error).__module__.startswith(("distributed", "dask")):
            return f"{type(error).__name__}: {error}"
        raise error


def _gone() -> SchedulerLostError:
    return SchedulerLostError(
        "the scheduler of the cluster does not answer any more: start it (or another) and give the same command again"
    )
