"""Brings an interactive figure to another moment in place: only what changed is sent to the reader's browser."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Label, Span
from bokeh.plotting import figure

from thetadot.report.chart import Chart
from thetadot.report.interactive import (
    CHARTS,
    axis_ticks,
    band_columns,
    cell_columns,
    dot_columns,
    line_columns,
    plain,
    text_columns,
)

OWN = "own"
"""Tag of what is added to a figure and is not its chart's, such as the mark of a moment."""


def refresh(plot: figure, chart: Chart) -> bool:
    """Bring a figure that `interactive_figure` made to another chart of the same structure.

    Only data that differ are replaced. Axes follow the new chart unless the reader has zoomed them; the reset
    tool leads to the new chart's axes in any case.

    Arguments:
        plot: the figure.
        chart: what it shall show.

    Returns:
        False, and nothing is changed, if the chart differs in more than its numbers and names (other lines,
        scales, colours): then make a new figure.

    Example:
        >>> import numpy as np
        >>> from thetadot.report.chart import Chart, Line
        >>> from thetadot.report.interactive import interactive_figure
        >>> def at(t):
        ...     return Chart("", "x", "y", lines=(Line(np.arange(3.0), t * np.arange(3.0), "a line"),))
        >>> plot = interactive_figure(at(1.0))
        >>> refresh(plot, at(2.0))
        True
        >>> plot.renderers[0].data_source.data["y"].tolist()
        [0.0, 2.0, 4.0]
    """
    old = CHARTS.get(plot)
    if old is None or _structure(old) != _structure(chart):
        return False
    sources = _sources(chart)
    drawn: Any
    for (name, columns), drawn in zip(sources, _of_chart(plot.renderers), strict=True):
        _put(drawn.data_source, columns)
        if name is not None and drawn.name != name:
            drawn.name = name
    spans = [item for item in _of_chart(plot.center) if isinstance(item, Span)]
    labels = [item for item in _of_chart(plot.center) if isinstance(item, Label)]
    for level, span, label in zip(chart.levels, spans, labels, strict=True):
        _set(span, location=level.value)
        _set(label, y=level.value, text=plain(level.name))
    _set(plot.xaxis[0], axis_label=chart.x_label)
    _set(plot.yaxis[0], axis_label=plain(chart.y_label))
    # Before the ranges, since a change of these may renew the ticks of the chart that is recorded here.
    CHARTS[plot] = chart
    _follow(plot.x_range, old.x_range, chart.x_range)
    _follow(plot.y_range, old.y_range, chart.y_range)
    _renew_ticks(plot, chart)
    return True


def _of_chart(parts: Iterable[Any]) -> list[Any]:
    """The parts that draw the chart, without those that somebody added and tagged as their own."""
    return [part for part in parts if OWN not in part.tags]


def follow_zoom(plot: figure) -> None:
    """Keep the ticks of logarithmic axes in step with what the reader zooms into (needs a Bokeh server)."""
    this = weakref.ref(plot)

    def renew(attr: str, old: Any, new: Any) -> None:
        alive = this()
        if alive is not None:
            _renew_ticks(alive, CHARTS[alive])

    for view in (plot.x_range, plot.y_range):
        view.on_change("start", renew)
        view.on_change("end", renew)


def _sources(chart: Chart) -> list[tuple[str | None, dict[str, Any]]]:
    """(name, columns) of every renderer, in the order in which `interactive_figure` draws them."""
    found: list[tuple[str | None, dict[str, Any]]] = []
    for cells in chart.cells:
        found.append((None, cell_columns(cells)))
        if cells.texts:
            found.append((None, text_columns(cells)))
    found += [(None, band_columns(chart, band)) for band in chart.bands]
    found += [(plain(line.name), line_columns(chart, line)) for line in chart.lines]
    return found + [(None, dot_columns(chart, dots)) for dots in chart.dots]


def _structure(chart: Chart) -> tuple[Any, ...]:
    """What of a chart is fixed once its figure is made."""
    return (
        chart.log_x, chart.log_y, chart.whole_x, chart.scope, bool(chart.dashes),
        bool(chart.x_names), bool(chart.y_names), chart.x_label.split()[0],
        tuple((line.colour, line.dash, line.weight, line.opacity) for line in chart.lines),
        tuple(band.colour for band in chart.bands),
        tuple((dots.shape, dots.colour, dots.dash, dots.sizes is None) for dots in chart.dots),
        tuple(level.colour for level in chart.levels),
        tuple((cells.name, bool(cells.texts)) for cells in chart.cells),
    )  # fmt: skip


def _put(source: ColumnDataSource, columns: Mapping[str, Any]) -> None:
    old = source.data
    if any(not _same(old[name], column) for name, column in columns.items()):
        source.data = dict(columns)


def _same(old: Any, new: Any) -> bool:
    if isinstance(new, list) and new and isinstance(new[0], np.ndarray):
        return all(_same(a, b) for a, b in zip(old, new, strict=True))
    if isinstance(new, np.ndarray):
        return old.shape == new.shape and np.array_equal(old, new, equal_nan=True)
    return list(old) == list(new)


def _set(model: Any, **values: Any) -> None:
    """Set properties that differ: each one that is set goes to the browser."""
    changed = {name: value for name, value in values.items() if getattr(model, name) != value}
    if changed:
        model.update(**changed)


def _follow(axis: Any, old: tuple[float, float], new: tuple[float, float]) -> None:
    _set(axis, reset_start=new[0], reset_end=new[1])
    if (axis.start, axis.end) == old:
        _set(axis, start=new[0], end=new[1])


def _renew_ticks(plot: figure, chart: Chart) -> None:
    """The ticks that suit what the axes show now."""
    view: Any
    for axis, view, logarithmic, names in (
        (plot.xaxis[0], plot.x_range, chart.log_x, chart.x_names),
        (plot.yaxis[0], plot.y_range, chart.log_y, chart.y_names),
    ):
        low, high = sorted((view.start, view.end))
        if (logarithmic and low > 0 and high > low) or names:
            ticks = axis_ticks(logarithmic, names, (low, high))
            _set(axis.ticker, ticks=list(ticks or ()))
            _set(axis, major_label_overrides=ticks)
