"""Axes for figures: made without a display, with readable logarithmic ticks, and a rule for what can be
drawn."""

import sys
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from thetadot.dynamics.palette import GRID, INK, MUTED, PAPER
from thetadot.dynamics.wording import number, power_of_ten

TIME_LABEL = "time t (units of the loss gradient)"


def new_axes(rows: int = 1, size: tuple[float, float] = (6.4, 4.0)) -> np.ndarray:
    """Axes (rows,), one below the other with a common time axis.

    A figure of pyplot's is made only where pyplot shows it: in a notebook, or where the program has imported
    pyplot. Otherwise the figure belongs to the axes alone, so that nothing needs a display and nothing piles
    up.
    """
    interactive = "matplotlib.pyplot" in sys.modules or _in_notebook()
    if interactive:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout="constrained")
    else:
        figure = Figure(figsize=size, layout="constrained")
    return figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def visible(
    xs: np.ndarray, ys: np.ndarray, log_x: bool = False, log_y: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The points of a series that axes can show: finite, and positive where an axis is logarithmic."""
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    keep = can_be_shown(xs, ys, log_x, log_y)
    return xs[keep], ys[keep]


def can_be_shown(xs: np.ndarray, ys: np.ndarray, log_x: bool = False, log_y: bool = False) -> np.ndarray:
    """Which points axes can show, one truth value each."""
    keep = np.isfinite(xs) & np.isfinite(ys)
    if log_x:
        keep &= xs > 0
    if log_y:
        keep &= ys > 0
    return keep


def suits_logarithm(series: Iterable[np.ndarray]) -> bool:
    """Whether a logarithmic axis shows these values: some are positive and none is negative."""
    finite = [values[np.isfinite(values)] for values in (np.asarray(part, float).ravel() for part in series)]
    values = np.concatenate(finite) if finite else np.zeros(0)
    return bool(np.any(values > 0) and np.all(values >= 0))


def suits_log_time(series: Iterable[np.ndarray]) -> bool:
    """Whether time is better read on a logarithmic axis: it spans more than a decade after its start."""
    positive = [ts[np.isfinite(ts) & (ts > 0)] for ts in (np.asarray(part, float) for part in series)]
    times = np.concatenate(positive) if positive else np.zeros(0)
    return bool(times.size >= 2 and times.max() >= 10 * times.min())


class PlainPowers(LogFormatter):
    """Ticks of a logarithmic axis as 0.1, 1, 10 and 10⁻⁶ in plain Unicode, so that no typesetting is
    needed."""

    def __call__(self, x, pos=None) -> str:
        """Text of the tick at x, empty where matplotlib hides it."""
        if x <= 0 or not super().__call__(x, pos):
            return ""
        exponent = round(np.log10(x))
        if not np.isclose(x, 10.0**exponent, rtol=1e-9) or -3 < exponent < 4:
            return number(x)
        return power_of_ten(exponent)


def set_scale(axes: Axes, which: str, logarithmic: bool) -> None:
    """Make the axis "x" or "y" logarithmic with plain ticks, or leave it linear."""
    if not logarithmic:
        return
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PlainPowers(labelOnlyBase=False))
    axis.set_minor_formatter(PlainPowers(labelOnlyBase=False, minor_thresholds=(1.0, 0.4)))


def dress(axes: Axes) -> None:
    """The look of every figure: quiet grid, no box, ink on paper."""
    axes.set_facecolor(PAPER)
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def literal(text: str) -> str:
    """A user's text for a figure, with nothing in it that would be typeset as mathematics."""
    return text.replace("$", r"\$")
