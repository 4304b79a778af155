"""The figures of a report for notebooks and papers: matplotlib, on your axes or on new ones.

The functions over time take a path, several paths, {rule in words: its path or paths}, or what `flow_ensemble`
returned; those that end in `_at` show one saved row of one path. Paths of one method are taken for the members
of one rule. The colour tells the rule, the dash pattern the member.
"""

from typing import Any

from matplotlib.axes import Axes

from thetadot.dynamics.canvas import new_axes
from thetadot.dynamics.path import Path
from thetadot.problems import Problem
from thetadot.report.chart import Chart
from thetadot.report.charts import (
    distance_chart,
    gradient_chart,
    loss_chart,
    neuron_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.confusion_at import ConfusionAt
from thetadot.report.distance import distance_from_flow
from thetadot.report.fan import fan_chart
from thetadot.report.function_at import FunctionAt
from thetadot.report.moment_time import row_of
from thetadot.report.neurons_at import NeuronsAt
from thetadot.report.record import record_of
from thetadot.report.series import FigureError, Paths, as_series
from thetadot.report.space_charts import member_chart, plane_chart
from thetadot.report.spectrum_at import SpectrumAt
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


def plot_spectrum_at(path: Path, problem: Problem, save: int = -1, axes: Axes | None = None) -> Axes:
    """Eigenvalues of the Hessian at a saved row: their sizes by rank, the negative ones in another colour, and
    2/η (or its like) of a descent.

    All eigenvalues up to P = 1500 parameters, beyond that those at both ends that 96 Lanczos steps resolve to
    0.1 %. What rounding cannot tell from 0 is left out.

    Arguments:
        path: how it moved.
        problem: what was trained.
        save: the row; negative ones count from the end.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Raises:
        FigureError: the path has no such row.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> from thetadot.report import figures
        >>> saddle = td.FunctionRisk(lambda t: t[0] ** 2 - 0.5 * t[1] ** 2 + t[1] ** 4, jnp.ones(2))
        >>> path = td.flow(saddle, jnp.array([1.0, 0.0]), until=td.Until(time=1.0), progress=False)
        >>> axes = figures.plot_spectrum_at(path, saddle)
        >>> [line.get_ydata().round(9).tolist() for line in axes.lines]
        [[2.0], [1.0]]
    """
    return _moment(SpectrumAt(path, problem), path, save, axes)


def plot_neurons_at(
    path: Path, save: int = -1, *, layer: int | None = None, axes: Axes | None = None
) -> Axes:
    """Incoming weights of the hidden neurons of a layer at a saved row, in a plane that is the same for all rows,
    with tails over the last rows; the size of a point tells its outgoing weights.

    The plane is that of the two incoming weights, of the one incoming weight and the bias, or of the two
    principal directions, through the origin, of all incoming weights of the path.

    Arguments:
        path: how it moved; with a layout.
        save: the row; negative ones count from the end.
        layer: 1-based number of the hidden layer; the first by default.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Raises:
        FigureError: no such row, or no hidden neurons in that layer.

    Example:
        >>> import jax, numpy as np, thetadot as td
        >>> from thetadot.report import figures
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 3, "tanh"), "squared", np.eye(2), np.ones(2))
        >>> path = td.flow(problem, problem.init(jax.random.key(0)), until=td.Until(time=1.0), progress=False)
        >>> figures.plot_neurons_at(path).get_xlabel()
        'weight of input 1'
    """
    return _moment(NeuronsAt(path, path.layout, layer), path, save, axes)


def plot_function_at(
    path: Path, problem: Problem, save: int = -1, *, output: int = 0, axes: Axes | None = None
) -> Axes:
    """What the network computes at a saved row, with samples: curves for one input, a heat map for two.

    Arguments:
        path: how it moved.
        problem: a network on samples of one or two inputs.
        save: the row; negative ones count from the end.
        output: which output a heat map shows; for cross-entropy it shows the most probable class.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Raises:
        FigureError: no such row or output, no samples, or inputs of another shape.

    Example:
        >>> import numpy as np, thetadot as td
        >>> from thetadot.report import figures
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), "squared", np.array([[-1.0], [1.0]]), np.ones(2))
        >>> path = td.flow(problem, np.array([3.0]), until=td.Until(time=1.0), progress=False)
        >>> x, y = figures.plot_function_at(path, problem, save=0).lines[0].get_data()
        >>> bool(np.allclose(y, 3 * x))
        True
    """
    return _moment(FunctionAt(path, problem, output), path, save, axes)


def plot_confusion_at(path: Path, problem: Problem, save: int = -1, axes: Axes | None = None) -> Axes:
    """Confusion matrix of a classifier on its own samples at a saved row: rows are the true classes.

    Arguments:
        path: how it moved.
        problem: a network with cross-entropy, or with one output and the logistic loss.
        save: the row; negative ones count from the end.
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Raises:
        FigureError: no such row, no samples, or no classes.

    Example:
        >>> import numpy as np, thetadot as td
        >>> from thetadot.report import figures
        >>> x, y = np.array([[-1.0], [1.0], [2.0]]), np.array([-1.0, 1.0, -1.0])
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), "logistic", x, y)
        >>> path = td.flow(problem, np.array([1.0]), until=td.Until(time=0.1), progress=False)
        >>> figures.plot_confusion_at(path, problem, save=0).get_title()
        'Confusion matrix at t = 0: 66.7 % right'
    """
    return _moment(ConfusionAt(path, problem), path, save, axes)


def _moment(figure: Any, path: Path, save: int, axes: Axes | None) -> Axes:
    chart = figure.chart(row_of(path, save))
    axes = _drawn(chart, axes)
    axes.set_title(chart.title, fontsize="medium")
    return axes


def _drawn(chart: Chart, axes: Axes | None) -> Axes:
    return draw(chart, new_axes()[0] if axes is None else axes)
