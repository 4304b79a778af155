"""The figures over time of a run's page: the report's, of one member, and where a moment lies on each."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL
from thetadot.report.chart import Chart
from thetadot.report.charts import (
    SHARPNESS,
    gradient_chart,
    loss_chart,
    neuron_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.moment_time import marked_at
from thetadot.report.plane import principal_plane
from thetadot.report.series import Series
from thetadot.report.space_charts import plane_chart

Points = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


@dataclasses.dataclass(frozen=True)
class TimePane:
    """A figure over time, or over the weights' plane.

    Attributes:
        name: by which it is known.
        chart: what it shows.
        points: (x, y) of what to mark on it at row k of a path; nothing by default.
    """

    name: str
    chart: Chart
    points: Callable[[Series, int], Points] = lambda item, row: ([], [])

    @property
    def over_time(self) -> bool:
        """Whether its horizontal axis is time."""
        return self.chart.x_label == TIME_LABEL


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
    yield _marked("loss", loss_chart(series))
    yield _marked("gradient", gradient_chart(series))
    for name in observed(series):
        yield _marked(name, sharpness_chart(series) if name == SHARPNESS else observed_chart(series, name))
    if chosen.path.layout is not None and chosen.path.layout.neurons:
        yield TimePane("neuron-norms", neuron_chart(chosen.path))
    plane = principal_plane([item.path for item in series])
    if plane is not None:

        def projected(item: Series, row: int) -> Points:
            x, y = plane.project(item.path.thetas[row : row + 1]).T
            return x, y

        yield TimePane("plane", plane_chart(series, plane), projected)


def _marked(name: str, chart: Chart) -> TimePane:
    """A figure on every line of which the moment is marked."""

    def on_lines(item: Series, row: int) -> Points:
        marks = marked_at(chart, float(item.path.ts[row]))
        return marks.x, marks.y

    return TimePane(name, chart, on_lines)


def observed(series: Sequence[Series]) -> list[str]:
    """What the paths observed, the sharpness first."""
    names = dict.fromkeys(name for item in series for name in item.path.observed)
    return sorted(names, key=lambda name: name != SHARPNESS)
