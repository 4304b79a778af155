"""The fan of an ensemble: median and middle 80 % of the members' losses over time."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.figures import LOSS_LABEL
from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Band, Chart, Line
from thetadot.report.series import Series, rule_names

_ROWS = 120


@dataclasses.dataclass(frozen=True)
class Fan:
    """Quantiles 10 %, 50 % and 90 % of the losses of `members` paths at common times ts (n,)."""

    ts: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    middle: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    members: int


_NO_FAN = Fan(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0), 0)


def loss_fan(paths: Sequence[Path], log_time: bool, log_loss: bool) -> Fan:
    """The fan of some paths.

    Members are compared at common times by interpolating their losses between rows, on the axes on which they
    are shown; a member counts from its first row to its last finite one.
    """
    times = np.concatenate([np.zeros(0), *(path.ts[np.isfinite(path.ts)] for path in paths)])
    times = times[times > 0] if log_time else times
    if not times.size:
        return _NO_FAN
    ends = times.min(), times.max()
    grid = np.geomspace(*ends, _ROWS) if log_time else np.linspace(*ends, _ROWS)
    values = [level for path in paths if (level := _levels(path, grid, log_time, log_loss)) is not None]
    stacked = np.array(values).reshape(len(values), _ROWS)
    alive = np.isfinite(stacked).any(axis=0) if values else np.zeros(_ROWS, bool)
    if not alive.any():
        return _NO_FAN
    quantiles = np.nanquantile(stacked[:, alive], [0.1, 0.5, 0.9], axis=0)
    low, middle, high = np.exp(quantiles) if log_loss else quantiles
    return Fan(grid[alive], low, middle, high, len(values))


def _levels(path: Path, grid: np.ndarray, log_time: bool, log_loss: bool) -> np.ndarray | None:
    """The (logarithm of the) loss at the times of the grid, NaN outside of the path; None for fewer than two
    rows."""
    keep = np.isfinite(path.losses) & np.isfinite(path.ts) & ((path.losses > 0) | (not log_loss))
    ts, levels = path.ts[keep], path.losses[keep]
    if ts.size < 2:
        return None
    levels = np.log(levels) if log_loss else levels
    found = np.interp(grid, ts, levels)
    after = ts > 0
    if log_time and after.sum() > 1:
        # Before the first row after 0 time is linear, as a logarithmic axis has no 0.
        late = grid >= ts[after][0]
        found[late] = np.interp(np.log(grid[late]), np.log(ts[after]), levels[after])
    outside = (grid < ts[0] * (1 - 1e-9)) | (grid > ts[-1] * (1 + 1e-9))
    return np.where(outside, np.nan, found)


def fan_chart(series: Sequence[Series]) -> Chart:
    """Loss of an ensemble against time: median and the range of the middle 80 % of the members, for each
    rule; those that broke down are left out."""
    sound = [item for item in series if not item.broken]
    log_x = suits_log_time([item.path.ts for item in sound])
    log_y = suits_logarithm([item.path.losses for item in sound])
    lines, bands = [], []
    for rule, name in rule_names(sound).items():
        fan = loss_fan([item.path for item in sound if item.rule == rule], log_x, log_y)
        lines.append(Line(fan.ts, fan.middle, f"median of {name}", rule, 0, 2.4))
        bands.append(Band(fan.ts, fan.low, fan.high, f"middle 80 % of {name}", rule))
    return Chart(
        "Loss of the ensemble", TIME_LABEL, LOSS_LABEL, log_x, log_y, lines=tuple(lines), bands=tuple(bands),
        colours=rule_names(sound),
    )  # fmt: skip


def fan_reading(series: Sequence[Series]) -> str:
    """How far the members of the main rule lie apart, at the end and at most."""
    sound = [item.path for item in series if item.main and not item.broken]
    fan = loss_fan(sound, suits_log_time([path.ts for path in sound]), True)
    if not fan.ts.size:
        return "No member has a loss that can be compared with the others."
    spread = fan.high / fan.low
    widest = int(spread.argmax())
    return (
        f"The middle 80 % of {count(fan.members, 'member')} end within a factor of {number(spread[-1])} of each other; "
        f"they lay furthest apart at t = {number(fan.ts[widest])}, by a factor of {number(spread[widest])}."
    )
