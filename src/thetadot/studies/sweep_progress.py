"""How far a sweep is: one table on a terminal, plain lines elsewhere, or nothing."""

import collections
import sys
import time
from typing import Any, Protocol, TextIO, runtime_checkable

from thetadot.dynamics.wording import count, duration

_LINE_SECONDS = 10.0


class Standing:
    """Counts of a session.

    Attributes:
        total: tasks of the sweep.
        done: finished, by this session or before.
        failed: given up in this session.
        running: pieces that workers have.
        repeated: attempts that were lost or failed, and made again.
    """

    def __init__(self, total: int, done: int):
        self.total, self.done = total, done
        self.failed = self.running = self.repeated = 0
        self._ends: collections.deque[float] = collections.deque([time.perf_counter()], maxlen=200)

    def ended(self) -> None:
        """A task came to its end."""
        self._ends.append(time.perf_counter())

    @property
    def waiting(self) -> int:
        """Tasks that no worker has yet."""
        return max(0, self.total - self.done - self.failed - self.running)

    @property
    def left(self) -> float | None:
        """Seconds until the end at the rate of the last tasks; None if it is not known."""
        if len(self._ends) < 2:
            return None
        rate = (len(self._ends) - 1) / max(time.perf_counter() - self._ends[0], 1e-9)
        return (self.total - self.done - self.failed) / rate

    def __str__(self) -> str:
        left = self.left
        parts = [f"{self.done} of {self.total} done", f"{self.running} running", f"{self.waiting} waiting"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{count(self.repeated, 'attempt')} repeated"] if self.repeated else []
        return ", ".join(parts) + ("" if left is None else f", about {duration(left)} left")


@runtime_checkable
class SweepProgress(Protocol):
    """What a sweep tells while it goes."""

    def show(self, standing: Standing) -> None:
        """How far it is; called a few times a second."""

    def line(self, text: str) -> None:
        """Something that a reader should know: a task failed, an attempt was lost."""

    def close(self) -> None:
        """The session ends."""


class SilentSweep:
    """Tells nothing."""

    def show(self, standing: Standing) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class SweepLines:
    """A plain line every ten seconds, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._last = time.perf_counter()

    def show(self, standing: Standing) -> None:
        """A line, if ten seconds went by since the last."""
        if time.perf_counter() - self._last >= _LINE_SECONDS:
            self._last = time.perf_counter()
            print(standing, file=self._stream, flush=True)

    def line(self, text: str) -> None:
        """The line."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing."""


class SweepTable:
    """A table on the terminal: done, running, waiting, failed, and the time that is left."""

    def __init__(self, name: str):
        from rich.console import Console
        from rich.live import Live

        self._name, self._began = name, time.perf_counter()
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, standing: Standing) -> None:
        """Renew the table."""
        from rich.table import Table

        table = Table(title=f"sweep {self._name}", title_justify="left", box=None, pad_edge=False)
        left = standing.left
        cells = {
            "done": f"{standing.done} of {standing.total}", "running": standing.running,
            "waiting": standing.waiting, "failed": standing.failed, "repeated": standing.repeated,
            "elapsed": duration(time.perf_counter() - self._began), "left": "–" if left is None else duration(left),
        }  # fmt: skip
        for head in cells:
            table.add_column(head, justify="right")
        table.add_row(*map(str, cells.values()))
        self._live.update(table)

    def line(self, text: str) -> None:
        """A line above the table."""
        self._live.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Remove the table."""
        self._live.stop()


def sweep_progress(wanted: bool | SweepProgress, name: str) -> Any:
    """A table on a terminal, plain lines elsewhere, nothing if not wanted; an own object as it is."""
    if not isinstance(wanted, bool):
        return wanted
    if not wanted:
        return SilentSweep()
    return SweepTable(name) if sys.stderr.isatty() else SweepLines()
