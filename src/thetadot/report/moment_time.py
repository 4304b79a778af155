"""When a moment of a path is, and where it stands on the figures over time."""

import numpy as np

from thetadot.dynamics.canvas import can_be_shown
from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Dots
from thetadot.report.series import FigureError

_STROKE = 6.0


def moment_name(path: Path, save: int) -> str:
    """ "at t = …" of a saved row."""
    return f"at t = {number(path.ts[save], 4)}"


def row_of(path: Path, save: int) -> int:
    """A saved row counted from the start, from one that may be counted from the end.

    Raises:
        FigureError: the path has no such row.
    """
    rows = len(path.ts)
    if not -rows <= save < rows:
        raise FigureError(f"save is {save}, expected a row of the path's {rows}: {-rows} … {rows - 1}")
    return save % rows


def marked_at(chart: Chart, t: float) -> Dots:
    """Where time t stands on the lines of a figure over time: one point on each line that reaches it.

    Between two saved times the point lies on the drawn line. Broad strokes (plateaus) are not marked. Points
    that the axes cannot show, such as t = 0 on a logarithmic axis, are left out.

    Arguments:
        chart: a figure over time.
        t: the time.

    Returns:
        Dots of shape "moment", each with the value and its line in words.

    Example:
        >>> from thetadot.report.chart import Line
        >>> rising = Line(np.array([0.0, 2.0]), np.array([1.0, 5.0]), "loss")
        >>> mark = marked_at(Chart("", "time", "loss", lines=(rising,)), 0.5)
        >>> mark.x.tolist(), mark.y.tolist(), mark.names
        ([0.5], [2.0], ('2 at t = 0.5, loss',))
    """
    heights, names = [], []
    for line in chart.lines:
        if line.weight < _STROKE:
            keep = can_be_shown(line.x, line.y, chart.log_x, chart.log_y)
            height = _height(line.x[keep], line.y[keep], t, chart.log_x, chart.log_y)
            if height is not None:
                heights.append(height)
                names.append(f"{number(height, 4)} at t = {number(t, 4)}, {line.name}")
    return Dots(np.full(len(heights), float(t)), np.array(heights, float), tuple(names), "moment", 5)


def _height(x: np.ndarray, y: np.ndarray, t: float, log_x: bool, log_y: bool) -> float | None:
    """Height at t of the line through points of which x ascends; None beyond its ends."""
    if not x.size or not x[0] <= t <= x[-1]:
        return None
    exact = np.flatnonzero(x == t)
    if exact.size:
        return float(y[exact[-1]])
    place, places = (np.log(t), np.log(x)) if log_x else (t, x)
    height = np.interp(place, places, np.log(y) if log_y else y)
    return float(np.exp(height) if log_y else height)
