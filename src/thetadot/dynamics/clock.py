"""Wall-clock budget and progress reports of a run."""

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_QUIET_SECONDS = 2.0
_LINE_SECONDS = 10.0


class Clock:
    """Counts seconds of this call and shows progress once a run is longer than two of them.

    Arguments:
        budget: wall-clock seconds or None.
        progress: True (a bar on a terminal, a plain line every ten seconds elsewhere), False, or a function
            (fraction in [0, 1] or None, text).
        title: what is running.
    """

    def __init__(self, budget: float | None, progress: bool | Callable, title: str):
        self.start = time.perf_counter()
        self.budget = budget
        self._report = progress if callable(progress) else None
        self._show = progress is True
        self._title = title
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = self.start

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self.budget is not None and self.seconds >= self.budget

    def report(self, fraction: float | None, text: str) -> None:
        """Tell how far the run is."""
        if self._report is not None:
            self._report(fraction, text)
        elif self._show and self.seconds > _QUIET_SECONDS:
            if sys.stderr.isatty():
                self._draw(fraction, text)
            elif time.perf_counter() - self._last_line > _LINE_SECONDS:
                self._last_line = time.perf_counter()
                share = "" if fraction is None else f" {100 * fraction:.0f} %"
                print(f"{self._title}:{share} {text}", file=sys.stderr, flush=True)

    def _draw(self, fraction: float | None, text: str) -> None:
        if self._bar is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=1.0, text="")
        assert self._task is not None
        self._bar.update(
            self._task, completed=fraction or 0.0, total=None if fraction is None else 1.0, text=text
        )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
