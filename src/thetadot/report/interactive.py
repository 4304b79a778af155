"""A chart drawn by Bokeh: the same numbers, to zoom into and to point at.

Colours are the palette's light ones throughout; the page swaps them for their dark twins before it shows the
figure.
"""

from typing import Any

from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Label,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from thetadot.dynamics.canvas import visible
from thetadot.dynamics.palette import EVENT, GRID, INK, MUTED, PAPER, member_dashes, rule_colour
from thetadot.report.chart import Chart, Dots, Line
from thetadot.report.log_ticks import log_ticks

HEIGHT = 360
FONT = "system-ui, sans-serif"
_MARKERS = {"start": "circle", "end": "circle", "broken": "x", "event": "diamond"}


def interactive_figure(chart: Chart) -> figure:
    """A Bokeh figure of a chart, as wide as the page lets it be.

    Dragging and scrolling are off until the reader picks a tool, so that a finger can scroll the page. The
    renderers carry tags "rule:k" (or "layer:k") and "member:k", by which the page's key shows and hides them.
    """
    plot = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        x_axis_type="log" if chart.log_x else "linear",
        y_axis_type="log" if chart.log_y else "linear",
        x_range=Range1d(start=chart.x_range[0], end=chart.x_range[1], tags=["x"]),
        y_range=Range1d(start=chart.y_range[0], end=chart.y_range[1], tags=["y"]),
        tools=[PanTool(), BoxZoomTool(), WheelZoomTool(), ResetTool(), SaveTool()],
        active_drag=None,
        active_scroll=None,
        toolbar_location="above",
    )
    _draw_bands(chart, plot)
    pointed: list[Any] = [_draw_line(chart, line, plot) for line in chart.lines]
    dotted: list[Any] = [_draw_dots(chart, dots, plot) for dots in chart.dots]
    _draw_levels(chart, plot)
    plot.add_tools(
        HoverTool(
            renderers=pointed, line_policy="nearest", formatters={"@x": "printf", "@y": "printf"}, limit=1,
            tooltips=_tip(f"<br>{chart.x_label.split()[0]} @x{{%.4g}}<br>value @y{{%.4g}}", "$name"),
        ),
        HoverTool(renderers=dotted, tooltips=_tip("", "@name"), limit=1),
    )  # fmt: skip
    _dress(chart, plot)
    return plot


def embeddable(chart: Chart, target: str) -> dict[str, Any]:
    """The figure as the JSON that BokehJS embeds into the element with id `target`."""
    return dict(json_item(interactive_figure(chart), ID(target)))


def _tip(numbers: str, name: str) -> str:
    """The box beside the pointer; names are filled in as text."""
    return f'<div style="color:{INK};font:13px {FONT};max-width:18rem"><b>{name}</b>{numbers}</div>'


def _tags(chart: Chart, colour: int, dash: int | None) -> list[str]:
    return [f"{chart.scope}:{colour}"] + ([] if dash is None or not chart.dashes else [f"member:{dash}"])


def _draw_line(chart: Chart, line: Line, plot: figure):
    x, y = chart.points(line)
    drawn = plot.line(
        "x",
        "y",
        source=ColumnDataSource({"x": x, "y": y}),
        name=plain(line.name),
        line_color=rule_colour(line.colour),
        line_alpha=line.opacity,
        line_width=line.weight,
        line_dash=[round(max(part * line.weight, 1)) for part in member_dashes(line.dash)]
        if line.weight < 4
        else [],
    )
    drawn.tags = _tags(chart, line.colour, line.dash)
    return drawn


def _draw_dots(chart: Chart, dots: Dots, plot: figure):
    x, y = chart.points(dots)
    names = [plain(name) for name in dots.names][: x.size]
    colour = EVENT if dots.shape == "event" else rule_colour(dots.colour)
    drawn = plot.scatter(
        "x",
        "y",
        source=ColumnDataSource({"x": x, "y": y, "name": names}),
        marker=_MARKERS[dots.shape],
        size=11 if dots.shape in ("broken", "event") else 8 if dots.colour == 0 else 10,
        line_width=3 if dots.shape == "broken" else 1.5,
        line_color=PAPER if dots.shape in ("end", "event") else colour,
        fill_color=PAPER if dots.shape == "start" else colour,
    )
    drawn.tags = _tags(chart, dots.colour, dots.dash)
    return drawn


def _draw_bands(chart: Chart, plot: figure) -> None:
    for band in chart.bands:
        x, low = visible(band.x, band.low, chart.log_x, chart.log_y)
        high = visible(band.x, band.high, chart.log_x, chart.log_y)[1]
        drawn = plot.varea(x=x, y1=low, y2=high, fill_color=rule_colour(band.colour), fill_alpha=0.18)
        drawn.tags = _tags(chart, band.colour, None)


def _draw_levels(chart: Chart, plot: figure) -> None:
    for level in chart.levels:
        colour = rule_colour(level.colour)
        tags = _tags(chart, level.colour, None)
        plot.add_layout(
            Span(
                location=level.value,
                dimension="width",
                line_color=colour,
                line_dash=[3, 3],
                line_width=1.2,
                tags=tags,
            )
        )
        plot.add_layout(
            Label(
                x=6, x_units="screen", y=level.value, y_units="data", y_offset=2, text=plain(level.name),
                text_color=colour, text_font=FONT, text_font_size="12px", text_baseline="bottom",
                background_fill_color=PAPER, background_fill_alpha=0.85, tags=tags,
            )
        )  # fmt: skip


def _dress(chart: Chart, plot: figure) -> None:
    plot.toolbar.logo = None
    plot.background_fill_color = PAPER
    plot.border_fill_color = PAPER
    plot.outline_line_color = None
    plot.min_border_right = 12
    for axis, label in ((plot.xaxis, chart.x_label), (plot.yaxis, plain(chart.y_label))):
        axis.axis_label = label
        axis.axis_label_text_font = FONT
        axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = "13px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = INK
        axis.major_label_text_font_size = "12px"
        axis.major_label_text_color = INK
        axis.axis_line_color = MUTED
        axis.major_tick_line_color = MUTED
        axis.minor_tick_line_color = None
    plot.grid.grid_line_color = GRID
    axis: Any
    for which, axis, logarithmic in (("x", plot.xaxis, chart.log_x), ("y", plot.yaxis, chart.log_y)):
        if not logarithmic:
            axis.formatter = BasicTickFormatter(power_limit_low=-5)
        else:
            ticks = log_ticks(*(chart.x_range if which == "x" else chart.y_range))
            axis.ticker = FixedTicker(ticks=list(ticks), tags=["log", which])
            axis.major_label_overrides = ticks
    if chart.whole_x:
        plot.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)


def plain(text: str) -> str:
    """A user's text for Bokeh, with nothing in it that would be typeset as mathematics."""
    return text.replace("$$", "$ $").replace("\\(", "\\ (").replace("\\[", "\\ [")
