"""Independent pieces of work over processes: one XLA thread each, started fresh (never forked).

An executor hands pieces out and yields what comes back. Two of them: `Processes` of this machine, and `DaskExecutor`
(extra `sweep`) for a cluster. Both survive workers that die.
"""

import collections
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, runtime_checkable

import cloudpickle

from thetadot.errors import ThetadotError

LOOK_SECONDS = 0.25
_PATIENCE = 30.0
Tick = Callable[[int, int], bool]


class WorkerLostError(ThetadotError):
    """A worker process died (killed, out of memory) before it gave its result."""


class SchedulerLostError(ThetadotError):
    """The scheduler of a cluster does not answer any more.

    Attributes:
        resumable: what was committed is intact; the same command goes on.
    """

    resumable = True


@dataclasses.dataclass(frozen=True)
class Lost:
    """In place of a result: every worker that had this piece died.

    Attributes:
        attempts: how many.
        reason: what became of the last one.
    """

    attempts: int
    reason: str


@runtime_checkable
class Executor(Protocol):
    """Runs functions on argument tuples over workers."""

    @property
    def name(self) -> str:
        """What the results are recorded under."""
        ...

    def run(
        self,
        function: Callable,
        arguments: Sequence[tuple],
        *,
        attempts: int | None = None,
        tick: Tick | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield (index, function(*arguments[index])) as they finish; an exception of the function is raised here.

        Arguments:
            function, arguments: pickled by cloudpickle.
            attempts: how often a piece is handed out if its workers die, before `Lost` is yielded in place of its
                result; None raises `WorkerLostError` at the first death.
            tick: called a few times a second with the number of pieces that workers have, and of attempts that were
                lost with their workers so far; False hands out no more.
        """
        ...


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@functools.cache
def one_thread() -> None:
    """Make this process's XLA use one thread. XLA sizes its pools by the processor affinity that it finds at start-up:
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


def call_pickled(payload: bytes) -> bytes:
    """Call what a worker was sent, with one XLA thread, and pickle what it returns."""
    one_thread()
    function, arguments = cloudpickle.loads(payload)
    return cloudpickle.dumps(function(*arguments))


class InProcess:
    """Runs everything in this process, one piece after another, with all of XLA's threads."""

    name = "sequential"

    def run(
        self,
        function: Callable,
        arguments: Sequence[tuple],
        *,
        attempts: int | None = None,
        tick: Tick | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`; `attempts` has no meaning here."""
        for index, argument in enumerate(arguments):
            if tick is not None and not tick(1, 0):
                return
            yield index, function(*argument)


class Processes:
    """Runs pieces over processes of this machine.

    A process that dies takes nothing with it but the attempt at its piece: another is started in its place. When
    the iteration is left early, processes that work are sent SIGTERM.

    Arguments:
        workers: number of processes.
    """

    def __init__(self, workers: int):
        self.workers = workers

    @property
    def name(self) -> str:
        """What the results are recorded under."""
        return f"{self.workers} processes"

    def run(
        self,
        function: Callable,
        arguments: Sequence[tuple],
        *,
        attempts: int | None = None,
        tick: Tick | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`."""
        waiting = collections.deque(range(len(arguments)))
        tried = [0] * len(arguments)
        team: list[_Worker] = []
        try:
            while waiting or any(worker.index is not None for worker in team):
                busy = sum(worker.index is not None for worker in team)
                if tick is not None and not tick(busy, sum(tried)):
                    waiting.clear()
                self._hand_out(team, waiting, function, arguments)
                working = {worker.connection: worker for worker in team if worker.index is not None}
                for connection in wait(list(working), LOOK_SECONDS):
                    worker = working[connection]  # pyright: ignore[reportArgumentType]
                    index, worker.index = worker.index, None
                    assert index is not None
                    try:
                        good, content = worker.connection.recv()
                    except (EOFError, OSError):
                        team.remove(worker)
                        reason = worker.bury()
                        tried[index] += 1
                        if attempts is None:
                            raise WorkerLostError(f"{reason}: the results of its piece are lost") from None
                        if tried[index] < attempts:
                            waiting.appendleft(index)
                        else:
                            yield index, Lost(tried[index], reason)
                        continue
                    if not good:
                        raise cloudpickle.loads(content)
                    yield index, cloudpickle.loads(content)
        finally:
            for worker in team:
                worker.dismiss()
            for worker in team:
                worker.process.join(_PATIENCE)
                worker.bury()

    def _hand_out(self, team: "list[_Worker]", waiting: Any, function: Callable, arguments: Any) -> None:
        while waiting:
            idle = next((worker for worker in team if worker.index is None), None)
            if idle is None:
                if len(team) >= self.workers:
                    return
                idle = _Worker()
                team.append(idle)
            payload = cloudpickle.dumps((function, arguments[waiting[0]]))
            try:
                idle.connection.send_bytes(payload)
                idle.index = waiting.popleft()
            except OSError:  # it died while it was idle
                team.remove(idle)
                idle.bury()


class _Worker:
    """A process, the pipe to it, and the index of the piece that it has."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def dismiss(self) -> None:
        """Let the process end: at once if it is idle, as SIGTERM makes it if it works."""
        with contextlib.suppress(OSError):
            if self.index is not None:
                self.process.terminate()
            self.connection.close()

    def bury(self) -> str:
        """Make sure that the process is gone; what became of it."""
        self.connection.close()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code, pid = self.process.exitcode, self.process.pid
        self.process.close()
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"worker process {pid} was killed by {signal.Signals(-code).name}"
        hint = (
            ' (a script that starts processes must do so under `if __name__ == "__main__":`)'
            if code == 1
            else ""
        )
        return f"worker process {pid} ended with code {code}{hint}"


def _serve(connection: Connection) -> None:
    """What a worker does: pieces until the pipe closes. Interrupts of the terminal are the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            payload = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            answer = True, call_pickled(payload)
        except Exception as error:
            answer = False, _pickled_error(error)
        with contextlib.suppress(OSError):
            connection.send(answer)


def _pickled_error(error: Exception) -> bytes:
    try:
        content = cloudpickle.dumps(error)
        cloudpickle.loads(content)
        return content
    except Exception:
        return cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
