"""The figures over members and over the space of weights."""

from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.figures import LOSS_LABEL
from thetadot.dynamics.wording import number
from thetadot.report.chart import Band, Chart, Dots, Line
from thetadot.report.charts import line_of, spans_decades
from thetadot.report.plane import Plane, principal_plane
from thetadot.report.series import FigureError, Series, member_names, rule_names

FAN_ROWS = 120


def plane_chart(series: Sequence[Series], plane: Plane | None = None) -> Chart:
    """The paths in their principal plane: an open mark at the start, a filled one at the end.

    Raises:
        FigureError: the paths do not move, or have fewer than two parameters.
    """
    plane = principal_plane([item.path for item in series]) if plane is None else plane
    if plane is None:
        raise FigureError("the principal plane needs paths that move in at least two parameters")
    lines, dots = [], []
    for item in sorted(series, key=lambda item: -item.rule):
        x, y = plane.project(item.path.thetas).T
        lines.append(line_of(item, x, y, item.name))
        shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if shown.size:
            ends = shown[[0]], shown[[-1]]
            end = "broken" if item.broken else "end"
            dots.append(
                Dots(x[ends[0]], y[ends[0]], (f"start of {item.name}",), "start", item.rule, item.member)
            )
            dots.append(Dots(x[ends[1]], y[ends[1]], (f"end of {item.name}",), end, item.rule, item.member))
    first, second = (f"{number(100 * share, 2)} % of variance" for share in plane.shares)
    return Chart(
        "Principal plane of the weights", f"1st direction ({first})", f"2nd direction ({second})",
        lines=tuple(lines), dots=tuple(dots), colours=rule_names(series), dashes=member_names(series),
    )  # fmt: skip


def member_chart(series: Sequence[Series]) -> Chart:
    """Last finite loss of every member under every rule; the rules stand side by side."""
    dots = []
    rules = rule_names(series)
    for item in series:
        place = item.member + 0.14 * (item.rule - (len(rules) - 1) / 2)
        finite = np.flatnonzero(np.isfinite(item.path.losses))
        if finite.size:
            last = item.path.losses[finite[-1:]]
            shape = "broken" if item.broken else "end"
            text = f"{item.name}: loss {number(last[0])}, {item.path.outcome.value}"
            dots.append(Dots(np.array([place]), last, (text,), shape, item.rule))
    calm = [mark.y for mark in dots if mark.shape == "end"] or [mark.y for mark in dots]
    return Chart(
        "Final losses", "member", "last loss L", whole_x=True,
        log_y=suits_logarithm(calm) and spans_decades(calm), dots=tuple(dots), colours=rules,
    )  # fmt: skip


def fan_chart(series: Sequence[Series]) -> Chart:
    """Loss of an ensemble against time: median and the range of the middle 80 % of the members, for each
    rule.

    Members are compared at common times by interpolating their losses between rows; a member counts as long
    as it lasts and its loss is finite; those that broke down are left out.
    """
    series = [item for item in series if not item.broken]
    log_x = suits_log_time([item.path.ts for item in series])
    log_y = suits_logarithm([item.path.losses for item in series])
    lines, bands = [], []
    for rule, name in rule_names(series).items():
        grid, low, middle, high = _quantiles([item for item in series if item.rule == rule], log_x, log_y)
        lines.append(Line(grid, middle, f"median of {name}", rule, 0, 2.4))
        bands.append(Band(grid, low, high, f"middle 80 % of {name}", rule))
    return Chart(
        "Loss of the ensemble", TIME_LABEL, LOSS_LABEL, log_x, log_y, lines=tuple(lines), bands=tuple(bands),
        colours=rule_names(series),
    )  # fmt: skip


def _quantiles(series: Sequence[Series], log_x: bool, log_y: bool) -> tuple[np.ndarray, ...]:
    times = np.concatenate([item.path.ts[np.isfinite(item.path.ts)] for item in series])
    times = times[times > 0] if log_x else times
    if not times.size:
        return tuple(np.zeros(0) for _ in range(4))
    ends = times.min(), times.max()
    grid = np.geomspace(*ends, FAN_ROWS) if log_x else np.linspace(*ends, FAN_ROWS)
    values = []
    for item in series:
        keep = np.isfinite(item.path.losses) & np.isfinite(item.path.ts) & ((item.path.ts > 0) | (not log_x))
        ts, losses = item.path.ts[keep], item.path.losses[keep]
        keep = (losses > 0) | (not log_y)
        ts, losses = ts[keep], losses[keep]
        if ts.size < 2:
            continue
        level = np.log(losses) if log_y else losses
        place, wanted = (np.log(ts), np.log(grid)) if log_x else (ts, grid)
        outside = (grid < ts[0] * (1 - 1e-9)) | (grid > ts[-1] * (1 + 1e-9))
        values.append(np.where(outside, np.nan, np.interp(wanted, place, level)))
    if not values:
        return tuple(np.zeros(0) for _ in range(4))
    stacked = np.array(values)
    alive = np.isfinite(stacked).any(axis=0)
    low, middle, high = np.nanquantile(stacked[:, alive], [0.1, 0.5, 0.9], axis=0)
    if log_y:
        low, middle, high = np.exp(low), np.exp(middle), np.exp(high)
    return grid[alive], low, middle, high
