"""The figures of a report for notebooks and papers: matplotlib, on your axes or on new ones.

Every function takes a path, several paths, {rule in words: its path or paths}, or what `flow_ensemble`
returned; paths of one method are taken for the members of one rule. The colour tells the rule, the dash
pattern the member.
"""

from typing import Any

from matplotlib.axes import Axes

from thetadot.dynamics.canvas import new_axes
from thetadot.dynamics.path import Path
from thetadot.report.chart import Chart
from thetadot.report.charts import (
    distance_chart,
    gradient_chart,
    loss_chart,
    neuron_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.distance import distance_from_flow
from thetadot.report.fan import fan_chart
from thetadot.report.record import record_of
from thetadot.report.series import FigureError, Paths, as_series
from thetadot.report.space_charts import member_chart, plane_chart
from thetadot.report.still import draw
from thetadot.report.sweep_charts import plot_sweep as plot_sweep


def plot_loss(paths: Paths, axes: Axes | None = None) -> Axes:
    """Loss against time, with recorded events (diamonds), plateaus (broad strokes) and breakdowns (crosses).

    Arguments:
        paths: see the module.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> from thetadot.report import figures
        >>> bowl = td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
        >>> path = td.flow(bowl, jnp.ones(2), until=td.Until(time=10.0), progress=False)
        >>> figures.plot_loss(path).get_ylabel()
        'loss L'
    """
    return _drawn(loss_chart(as_series(paths)), axes)


def plot_gradient_norm(paths: Paths, axes: Axes | None = None) -> Axes:
    """Norm of the loss gradient against time; arguments as for `plot_loss`."""
    return _drawn(gradient_chart(as_series(paths)), axes)


def plot_sharpness(paths: Paths, axes: Axes | None = None) -> Axes:
    """Largest Hessian eigenvalue against time, with 2/η (or its like) for each descent; arguments as for
    `plot_loss`.

    Raises:
        FigureError: no path observed the sharpness (`observe=["sharpness"]`).
    """
    return _drawn(sharpness_chart(as_series(paths)), axes)


def plot_observed(paths: Paths, name: str, axes: Axes | None = None) -> Axes:
    """An observable against time, one line per component; arguments as for `plot_loss`.

    Raises:
        FigureError: no path observed it.
    """
    return _drawn(observed_chart(as_series(paths), name), axes)


def plot_distance(paths: Paths, flow: Path, axes: Axes | None = None) -> Axes:
    """Relative distance ‖θ − θ_flow‖ / ‖θ_flow‖ of descents from the flow at equal time, down to what the
    flow's saved rows resolve; arguments as for `plot_loss`.

    Raises:
        FigureError: a path shares no time with the flow.
    """
    compared = []
    for item in as_series(paths):
        distance = distance_from_flow(item.path, flow)
        if distance is None:
            raise FigureError(
                f"{item.name} and the flow share no saved times after 0, or the flow has under five rows"
            )
        compared.append((item, distance))
    return _drawn(distance_chart(compared), axes)


def plot_neuron_norms(path: Path, axes: Axes | None = None) -> Axes:
    """Norm of all weights of each hidden neuron against time, coloured by layer, with each layer's median in
    bold.

    Raises:
        FigureError: the path's layout names no hidden neurons.
    """
    return _drawn(neuron_chart(path), axes)


def plot_principal_plane(paths: Paths, axes: Axes | None = None) -> Axes:
    """The paths projected on the two directions in which their weights vary most; arguments as for
    `plot_loss`.

    Raises:
        FigureError: the paths do not move, or have fewer than two parameters.
    """
    return _drawn(plane_chart(as_series(paths)), axes)


def plot_fan(paths: Paths, axes: Axes | None = None) -> Axes:
    """Loss of an ensemble: median and middle 80 % of the members of each rule; arguments as for
    `plot_loss`."""
    return _drawn(fan_chart(as_series(paths)), axes)


def plot_members(run: Any, axes: Axes | None = None) -> Axes:
    """Last finite loss of every member under every rule.

    Arguments:
        run: what `thetadot.open_run` returned, or paths as for `plot_loss`.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.
    """
    series = record_of(run).everyone if hasattr(run, "members") and hasattr(run, "path") else as_series(run)
    return _drawn(member_chart(series), axes)


def _drawn(chart: Chart, axes: Axes | None) -> Axes:
    return draw(chart, new_axes()[0] if axes is None else axes)
