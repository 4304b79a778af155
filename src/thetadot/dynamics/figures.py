"""The picture of one path."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from thetadot.dynamics.canvas import (
    TIME_LABEL,
    dress,
    literal,
    new_axes,
    set_scale,
    suits_log_time,
    suits_logarithm,
    visible,
)
from thetadot.dynamics.palette import EVENT, rule_colour
from thetadot.dynamics.path import Path, RecordedEvent
from thetadot.dynamics.summary import title
from thetadot.dynamics.wording import count, number
from thetadot.errors import ThetadotError

LOSS_LABEL = "loss L"
GRADIENT_LABEL = "‖∇L‖ (loss per weight)"
_DOTS = ((1.0, 2.0), (4.0, 2.0), (4.0, 2.0, 1.0, 2.0), (8.0, 3.0))


class AxesError(ThetadotError):
    """Axes that a figure cannot be drawn on."""


def plot_path(path: Path, axes: Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """Loss and gradient norm against time, with the recorded events marked.

    Time is logarithmic where it spans more than a decade; the loss and the gradient norm are logarithmic
    unless they go below zero. Rows that such an axis cannot show (t = 0, NaN) are left out.

    Arguments:
        path: what to draw.
        axes: two matplotlib axes (for the loss, for the gradient norm); new ones if not given.

    Returns:
        The two axes, shape (2,).

    Raises:
        AxesError: `axes` are not two axes.
    """
    if axes is None:
        axes = new_axes(rows=2, size=(6.4, 5.6))
    chosen = np.asarray(axes, dtype=object).ravel()
    if chosen.size != 2:
        raise AxesError(f"plot_path was given {chosen.size} axes, expected 2: one for the loss, one for ‖∇L‖")
    log_time = suits_log_time([path.ts])
    for single, values, label in zip(
        chosen, (path.losses, path.grad_norms), (LOSS_LABEL, GRADIENT_LABEL), strict=True
    ):
        log_value = suits_logarithm([values])
        single.plot(*visible(path.ts, values, log_time, log_value), color=rule_colour(0), linewidth=1.8)
        set_scale(single, "x", log_time)
        set_scale(single, "y", log_value)
        single.set_ylabel(label)
        dress(single)
        mark_events(single, path.events, log_time)
    chosen[0].set_title(literal(title(path)), fontsize="medium", loc="left", wrap=True)
    chosen[1].set_xlabel(TIME_LABEL)
    if path.events:
        chosen[0].legend(fontsize="small", frameon=False)
    return chosen


def mark_events(axes: Axes, events: Sequence[RecordedEvent], log_time: bool) -> None:
    """A vertical line at the time of every event; events of one name share a dash pattern and an entry of the
    legend."""
    names = list(dict.fromkeys(event.name for event in events))
    for position, name in enumerate(names):
        times = [event.time for event in events if event.name == name and (event.time > 0 or not log_time)]
        where = f"t = {number(times[0])}" if len(times) == 1 else count(len(times), "time")
        for index, time in enumerate(times):
            axes.axvline(
                time,
                color=EVENT,
                linewidth=1.1,
                linestyle=(0, _DOTS[position % len(_DOTS)]),
                label=literal(f"{name} ({where})") if index == 0 else None,
            )
