"""Pieces of a page: text made by a template, controls, figures."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, Span, TapTool
from bokeh.models.renderers import GlyphRenderer

from thetadot.dynamics.canvas import TIME_LABEL, visible
from thetadot.dynamics.palette import INK, PAPER
from thetadot.report.chart import Chart
from thetadot.report.interactive import interactive_figure
from thetadot.report.refreshing import OWN, follow_zoom, refresh
from thetadot.report.themed import in_theme
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
        keyed: whether it has a key of its own for rules and members.
    """

    def __init__(self, tag: str, clicked: Callable[[float], None] | None = None, keyed: bool = True):
        self._head, self._method = Text("figure.html.j2"), Text("caption.html.j2")
        self._pane = pn.pane.Bokeh(sizing_mode="stretch_width", margin=0)
        self._clicked, self._keyed = clicked, keyed
        self._mark = ColumnDataSource({"x": [], "y": []})
        self._line = _moment_line()
        self.chart: Chart | None = None
        self.plot: Any = None
        self.followed: tuple[Any, Any] | None = None
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
        key = _key(chart, self._keyed)
        self._head.show(title=chart.title, reading=reading, key=key, pressable=not chart.cells)
        self._method.show(text=method)
        if self.plot is None or not refresh(self.plot, chart):
            self.plot = self._drawn(chart)
            self._pane.object = self.plot
        self.chart = chart

    def mark(
        self, time: float | None, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
    ) -> None:
        """Mark a moment: a line at its time, unless that is None, and points (x, y)."""
        if self.chart is None:
            return
        self._line.visible = (
            time is not None and bool(np.isfinite(time)) and (time > 0 or not self.chart.log_x)
        )
        if self._line.visible:
            self._line.location = time
        seen = visible(np.asarray(x, float), np.asarray(y, float), self.chart.log_x, self.chart.log_y)
        self._mark.data = {"x": seen[0], "y": seen[1]}

    def _drawn(self, chart: Chart) -> Any:
        plot = interactive_figure(chart)
        self._line = _moment_line()
        plot.add_layout(self._line)
        self._mark = ColumnDataSource({"x": [], "y": []})
        mark = plot.scatter(
            "x", "y", source=self._mark, size=11, fill_color=INK, line_color=PAPER, line_width=2
        )
        mark.tags = [OWN, "moment"]
        if self._clicked is not None:
            _clickable(plot, self._clicked)
        in_theme(plot, dark())
        return plot


def _moment_line() -> Span:
    return Span(
        dimension="height", line_color=INK, line_width=1, line_dash=[2, 3], visible=False, tags=[OWN, "moment"]
    )  # fmt: skip


def link(figures: Iterable[Figure]) -> None:
    """Let figures over the same time axis zoom together, and keep the ticks of all in step."""
    shared: dict[bool, Any] = {}
    for figure in figures:
        chart, plot = figure.chart, figure.plot
        if chart is not None and chart.x_label == TIME_LABEL:
            plot.x_range = shared.setdefault(chart.log_x, plot.x_range)
        known, view = figure.followed or (None, None)
        if known is not plot or view is not plot.x_range:
            follow_zoom(plot)
            figure.followed = plot, plot.x_range


def _clickable(plot: Any, clicked: Callable[[float], None]) -> None:
    """Let the marks of events be clicked."""
    events: list[Any] = [
        one for one in plot.renderers if isinstance(one, GlyphRenderer) and "event" in one.tags
    ]
    for one in events:

        def chosen(attr: str, old: Any, new: list[int], one: Any = one) -> None:
            if new:
                clicked(float(one.data_source.data["x"][new[0]]))
                one.data_source.selected.indices = []

        one.data_source.selected.on_change("indices", chosen)
    if events:
        plot.add_tools(TapTool(renderers=events))


def on_arrival(look: Callable[[], Any], period: int) -> None:
    """Once the browser has the page, look again and again, every `period` milliseconds. What is added to a page
    before the browser has it can be lost on it."""

    def begin() -> None:
        look()
        pn.state.add_periodic_callback(look, period=period)

    pn.state.onload(begin)


def dark() -> bool:
    """Whether this visitor's system is dark, as the page's script told by a cookie."""
    return (pn.state.cookies or {}).get("theme") == "dark"


def _key(chart: Chart, whole: bool) -> list[tuple[str, int, str]]:
    """(kind, index, name) of the colours and dashes, where there are several; those of rules and members only if
    the whole is wanted."""
    colours = [(chart.scope, index, name) for index, name in chart.colours.items()]
    dashes = [("member", index, name) for index, name in chart.dashes.items()]
    shown = colours if len(colours) > 1 and (whole or chart.scope != "rule") else []
    return shown + (dashes if len(dashes) > 1 and whole else [])


def control(widget: Control, tag: str) -> Control:
    """A widget in the style of the pages, findable by its tag."""
    widget.stylesheets = [*widget.stylesheets, STYLE]
    widget.tags = [*widget.tags, tag]
    widget.css_classes = ["control"]
    return widget


def row(*controls: Any) -> pn.Row:
    """Controls side by side, in as many lines as the page needs."""
    # Not pn.FlexBox: it evaluates text as code, which the pages' policy forbids.
    return pn.Row(
        *controls, css_classes=["controls"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0
    )


def bar(*parts: Any) -> pn.Column:
    """What stays in sight while the page is scrolled."""
    return pn.Column(*parts, css_classes=["bar"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)


def grid(*cards: Any) -> pn.Column:
    """Cards in two columns where the page is wide enough, else in one."""
    return pn.Column(*cards, css_classes=["grid"], stylesheets=[STYLE], sizing_mode="stretch_width", margin=0)
