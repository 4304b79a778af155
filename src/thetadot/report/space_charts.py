"""The figures over members and over the space of weights."""

from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.canvas import suits_logarithm
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Dots
from thetadot.report.charts import line_of, spans_decades
from thetadot.report.plane import Plane, principal_plane
from thetadot.report.series import FigureError, Series, member_names, rule_names


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
