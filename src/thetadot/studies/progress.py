"""How far a run is: bars on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from typing import Protocol, TextIO, runtime_checkable

_LINE_SECONDS = 10.0


@runtime_checkable
class Progress(Protocol):
    """What a run tells while it goes."""

    def begin(self, title: str, number: int, total: int) -> None:
        """Piece `number` of `total` (a series or a lens) begins or goes on."""

    def advance(self, fraction: float | None, text: str) -> None:
        """How far the current series is."""

    def end(self, title: str, words: str) -> None:
        """The current series stopped, or a lens was run: how it ended."""

    def close(self) -> None:
        """The session ends."""


class Silence:
    """Tells nothing."""

    def begin(self, title: str, number: int, total: int) -> None:
        """Nothing."""

    def advance(self, fraction: float | None, text: str) -> None:
        """Nothing."""

    def end(self, title: str, words: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """A plain line every ten seconds and at the end of each series, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._count = self._prefix = ""
        self._last = time.perf_counter()

    def begin(self, title: str, number: int, total: int) -> None:
        """Remember what runs."""
        self._count = f"[{number}/{total}]"
        self._prefix = f"{self._count} {title}"
        self._last = time.perf_counter()

    def advance(self, fraction: float | None, text: str) -> None:
        """A line, if ten seconds went by since the last."""
        now = time.perf_counter()
        if now - self._last >= _LINE_SECONDS:
            self._last = now
            share = "" if fraction is None else f" {100 * fraction:.0f} %,"
            print(f"{self._prefix}:{share} {text}", file=self._stream, flush=True)

    def end(self, title: str, words: str) -> None:
        """A line with the outcome."""
        print(f"{self._count} {title}: {words}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing."""


class Bars:
    """Bars on a terminal: all series, and the one that runs."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._all = self._bars.add_task("all", total=None, text="")
        self._one = self._bars.add_task("", total=1.0, text="")
        self._bars.start()

    def begin(self, title: str, number: int, total: int) -> None:
        """Show what runs."""
        self._bars.update(self._all, total=total, completed=number - 1, text=f"{number - 1} of {total} done")
        self._bars.reset(self._one, description=title, total=1.0, text="compiling")

    def advance(self, fraction: float | None, text: str) -> None:
        """Move the bar of what runs."""
        self._bars.update(self._one, total=None if fraction is None else 1.0, completed=fraction, text=text)

    def end(self, title: str, words: str) -> None:
        """Leave a line with the outcome."""
        self._bars.console.print(f"{title}: {words}", markup=False, highlight=False)

    def close(self) -> None:
        """Remove the bars."""
        self._bars.stop()


def progress_for(wanted: bool | Progress) -> Progress:
    """Bars on a terminal, plain lines elsewhere, nothing if not wanted; an own object as it is."""
    if not isinstance(wanted, bool):
        return wanted
    if not wanted:
        return Silence()
    return Bars() if sys.stderr.isatty() else Lines()
