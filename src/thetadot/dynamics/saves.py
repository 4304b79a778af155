"""The times at which a run is saved."""

import dataclasses
import math

import numpy as np

from thetadot.errors import ThetadotError

DEFAULT_ROWS = 200
ROWS_PER_DECADE = 20


class SavesError(ThetadotError):
    """Save times that are not increasing, not finite or of an unknown kind."""


@dataclasses.dataclass(frozen=True)
class SaveGrid:
    """Save times, produced in blocks since a run without an end time has no last one.

    Attributes:
        kind: "log", "linear", "explicit" or "steps" (every accepted step).
        first, ratio: geometric grid first·ratio^k; or first, first + ratio·k for "linear".
        stop: end time (infinite if there is none).
        explicit: the given times.
    """

    kind: str
    first: float
    ratio: float
    stop: float
    explicit: tuple[float, ...] = ()

    def block(self, index: int, count: int) -> np.ndarray:
        """Save times index…index+count−1 after time 0, ascending, padded with inf."""
        times = np.full(count, np.inf)
        if self.kind == "steps":
            if index == 0 and math.isfinite(self.stop):
                times[0] = self.stop
            return times
        if self.kind == "explicit":
            chosen = np.asarray(self.explicit[index : index + count], float)
            times[: chosen.size] = chosen
            return times
        numbers = np.arange(index, index + count, dtype=float)
        with np.errstate(over="ignore"):
            grid = (
                self.first * self.ratio**numbers if self.kind == "log" else self.first + self.ratio * numbers
            )
        inside = grid < self.stop * (1 - 1e-9)
        times[inside] = grid[inside]
        beyond = np.flatnonzero(~inside)
        if beyond.size and math.isfinite(self.stop) and (beyond[0] > 0 or not self._ended_before(index)):
            times[beyond[0]] = self.stop
        return times

    def _ended_before(self, index: int) -> bool:
        if index == 0:
            return False
        last = (
            self.first * self.ratio ** (index - 1)
            if self.kind == "log"
            else self.first + self.ratio * (index - 1)
        )
        return not last < self.stop * (1 - 1e-9)


def save_grid(saves, stop: float | None, time_scale: float) -> SaveGrid:
    """The grid of a run.

    Arguments:
        saves: "log" (geometric, 200 rows with 0 and the end), "linear" (200 rows), "steps", or ascending times.
        stop: end time or None.
        time_scale: the time in which θ first moves noticeably; where the geometric grid begins.
    """
    end = math.inf if stop is None else float(stop)
    if isinstance(saves, str):
        if saves == "steps":
            return SaveGrid("steps", end, 1.0, end)
        if saves == "linear":
            if not math.isfinite(end):
                raise SavesError('saves="linear" needs an end time: give until.time, or choose saves="log"')
            return SaveGrid("linear", end / (DEFAULT_ROWS - 1), end / (DEFAULT_ROWS - 1), end)
        if saves == "log":
            first = min(time_scale, end / 10)
            if not math.isfinite(end):
                return SaveGrid("log", first, 10 ** (1 / ROWS_PER_DECADE), end)
            return SaveGrid("log", first, (end / first) ** (1 / (DEFAULT_ROWS - 2)), end)
        raise SavesError(f'saves = {saves!r}: expected "log", "linear", "steps" or an array of times')
    times = np.atleast_1d(np.asarray(saves, float))
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)):
        raise SavesError(f"saves has shape {times.shape}: expected a non-empty array of finite times")
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise SavesError("saves must be strictly ascending times ≥ 0: sort them and drop duplicates")
    return SaveGrid("explicit", 0.0, 1.0, end, tuple(times.tolist()))
