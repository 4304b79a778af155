"""Pieces of a page: text made by a template, controls, figures."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, Span, TapTool
from bokeh.models.renderers import GlyphRenderer

from thetadot.dynamics.canvas import visible
from thetadot.dynamics.palette import INK, PAPER
from thetadot.report.chart import Chart
from thetadot.report.interactive import interactive_figure
from thetadot.report.log_ticks import log_ticks
from thetadot.viewer.page import STYLE, render

Control = TypeVar("Control", bound=pn.widgets.Widget)


class Text:
    """HTML made by one of the viewer's templates, in which every name and value is escaped.

    Arguments:
        template: its file.
        content: what it speaks of at first; nothing is shown without.
    """

    def __init__(self, template: str, **content: Any):
        self._template = template
        self.pane = pn.pane.HTML("", stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)
        if content:
            self.show(**content)

    def show(self, **content: Any) -> None:
        """Show other content; what stays the same is left alone, with the reader's place in it."""
        made = str(render(self._template, **content))
        if made != self.pane.object:
            self.pane.object = made


class Figure:
    """A chart with its heading and key, and a mark for one moment of it.

    Arguments:
        tag: by which it is found on the page.
        clicked: told the time of an event whose mark was clicked.
    """

    def __init__(self, tag: str, clicked: Callable[[float], None] | None = None):
        self._head, self._method = Text("figure.html.j2"), Text("caption.html.j2")
        self._pane = pn.pane.Bokeh(sizing_mode="stretch_width", margin=0)
        self._clicked = clicked
        self._mark = ColumnDataSource({"x": [], "y": []})
        self._line = Span(dimension="height", line_color=INK, line_width=1, line_dash=[2, 3], visible=False)
        self.chart: Chart | None = None
        self.card = pn.Column(
            self._head.pane, self._pane, self._method.pane, css_classes=["card"], stylesheets=[STYLE], tags=[tag],
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip

    def show(self, chart: Chart, reading: str = "", method: str = "") -> None:
        """Draw a chart in place of the last one; a reader's zoom is kept while only its data change.

        Arguments:
            chart: what to draw.
            reading: what it says.
            method: how it is made.
        """
        self._head.show(title=chart.title, reading=reading, key=_key(chart))
        self._method.show(text=method)
        if self.chart is None or not refreshed(self._pane.object, self.chart, chart):
            self._pane.object = self._figure(chart)
        self.chart = chart

    def mark(self, time: float, value: float | None = None) -> None:
        """Mark a moment: a line at its time and, if there is a value, a dot on the curve."""
        if self.chart is None:
            return
        self._line.visible = bool(np.isfinite(time) and (time > 0 or not self.chart.log_x))
        if self._line.visible:
            self._line.location = time
        self.mark_points([] if value is None else [time], [] if value is None else [value])

    def mark_points(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Mark points of the figure."""
        if self.chart is not None:
            seen = visible(np.asarray(x, float), np.asarray(y, float), self.chart.log_x, self.chart.log_y)
            self._mark.data = {"x": seen[0], "y": seen[1]}

    def _figure(self, chart: Chart) -> Any:
        plot = interactive_figure(chart)
        self._line = Span(dimension="height", line_color=INK, line_width=1, line_dash=[2, 3], visible=False)
        plot.add_layout(self._line)
        self._mark = ColumnDataSource({"x": [], "y": []})
        mark = plot.scatter("x", "y", source=self._mark, size=11, fill_color=INK, line_color=PAPER, line_width=2)
        mark.tags = ["moment"]
        if self._clicked is not None:
            _clickable(plot, self._clicked)
        keep_ticks(plot)
        return plot


def refreshed(plot: Any, before: Chart, after: Chart) -> bool:
    """Put the data of another chart into a figure; whether that could be done."""
    return False


def keep_ticks(plot: Any) -> None:
    """Set the ticks of logarithmic axes anew when a reader zooms."""
    for axis, ends in ((plot.xaxis[0], plot.x_range), (plot.yaxis[0], plot.y_range)):
        if "log" not in axis.ticker.tags:
            continue

        def renew(attr: str, old: Any, new: Any, axis: Any = axis, ends: Any = ends) -> None:
            low, high = sorted((float(ends.start), float(ends.end)))
            ticks = log_ticks(low, high) if 0 < low < high else {}
            axis.ticker.ticks = list(ticks)
            axis.major_label_overrides = ticks

        ends.on_change("start", renew)
        ends.on_change("end", renew)


def _clickable(plot: Any, clicked: Callable[[float], None]) -> None:
    """Let the marks of events be clicked."""
    events = [one for one in plot.renderers if isinstance(one, GlyphRenderer) and "event" in one.tags]
    for one in events:

        def chosen(attr: str, old: Any, new: list[int], one: Any = one) -> None:
            if new:
                clicked(float(one.data_source.data["x"][new[0]]))
                one.data_source.selected.indices = []

        one.data_source.selected.on_change("indices", chosen)
    if events:
        plot.add_tools(TapTool(renderers=events))


def _key(chart: Chart) -> list[tuple[str, int, str]]:
    """(kind, index, name) of the colours and dashes, where there are several."""
    found = [(chart.scope, index, name) for index, name in chart.colours.items()] if len(chart.colours) > 1 else []
    dashes = [("member", index, name) for index, name in chart.dashes.items()] if len(chart.dashes) > 1 else []
    return found + dashes


def control(widget: Control, tag: str) -> Control:
    """A widget in the style of the pages, findable by its tag."""
    widget.stylesheets = [*widget.stylesheets, STYLE]
    widget.tags = [*widget.tags, tag]
    widget.css_classes = ["control"]
    return widget


def row(*controls: Any) -> pn.Row:
    """Controls side by side, in as many lines as the page needs."""
    # Not pn.FlexBox: it evaluates text as code, which the pages' policy forbids.
    return pn.Row(*controls, css_classes=["controls"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)


def bar(*parts: Any) -> pn.Column:
    """What stays in sight while the page is scrolled."""
    return pn.Column(*parts, css_classes=["bar"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)


def grid(*cards: Any) -> pn.Column:
    """Cards in two columns where the page is wide enough, else in one."""
    return pn.Column(*cards, css_classes=["grid"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)
