"""The figures over time of a run's page: the report's, of one member, and where the moment lies on each."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from thetadot.report.chart import Chart
from thetadot.report.charts import (
    SHARPNESS,
    gradient_chart,
    loss_chart,
    neuron_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.plane import Plane, principal_plane
from thetadot.report.series import Series
from thetadot.report.space_charts import plane_chart


@dataclasses.dataclass(frozen=True)
class TimePane:
    """A figure over time, or over the weights' plane.

    Attributes:
        name: by which it is known.
        chart: what it shows.
        values: of row k of a path, what its curves show; None where the row has only a time.
        point: for a figure without time, the point (x, y) of row k of a path.
    """

    name: str
    chart: Chart
    value: Callable[[Series, int], float | None] = lambda item, row: None
    point: Callable[[Series, int], tuple[float, float]] | None = None


def time_panes(series: Sequence[Series], chosen: Series) -> Iterator[TimePane]:
    """The figures of a member's paths that have something to show.

    Arguments:
        series: its paths under all rules.
        chosen: the one that the slider follows.
    """
    for pane in _panes(series, chosen):
        if not pane.chart.empty:
            yield pane


def _panes(series: Sequence[Series], chosen: Series) -> Iterator[TimePane]:
    yield TimePane("loss", loss_chart(series), lambda item, row: float(item.path.losses[row]))
    yield TimePane("gradient", gradient_chart(series), lambda item, row: float(item.path.grad_norms[row]))
    names = dict.fromkeys(name for item in series for name in item.path.observed)
    for name in sorted(names, key=lambda name: name != SHARPNESS):
        chart = sharpness_chart(series) if name == SHARPNESS else observed_chart(series, name)
        yield TimePane(name, chart, lambda item, row, name=name: _observed(item, name, row))
    if chosen.path.layout is not None and chosen.path.layout.neurons:
        yield TimePane("neuron-norms", neuron_chart(chosen.path))
    plane = principal_plane([item.path for item in series])
    if plane is not None:
        yield TimePane("plane", plane_chart(series, plane), point=lambda item, row: _projected(plane, item, row))


def _observed(item: Series, name: str, row: int) -> float | None:
    values = item.path.observed.get(name)
    return float(values[row]) if values is not None and np.ndim(values) == 1 else None


def _projected(plane: Plane, item: Series, row: int) -> tuple[float, float]:
    x, y = plane.project(item.path.thetas[row : row + 1])[0]
    return float(x), float(y)
