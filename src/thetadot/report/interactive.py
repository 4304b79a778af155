"""A chart drawn by Bokeh: the same numbers, to zoom into and to point at.

Colours are the palette's light ones throughout; the page swaps them for their dark twins before it shows the
figure.
"""

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.core.types import ID
from bokeh.embed import json_item
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Image,
    Label,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure
from markupsafe import escape

from thetadot.dynamics.canvas import visible
from thetadot.dynamics.palette import EVENT, GRID, INK, MUTED, PAPER, RULES, member_dashes, rule_colour
from thetadot.report.chart import Band, Cells, Chart, Dots, Level, Line
from thetadot.report.log_ticks import log_ticks

HEIGHT = 360
FONT = "system-ui, sans-serif"
_MARKERS = {"broken": "x", "event": "diamond"}
_SIZES = {"broken": 11, "event": 11, "sample": 6, "moment": 10}
_INKS = 40

CHARTS: "weakref.WeakKeyDictionary[figure, Chart]" = weakref.WeakKeyDictionary()
"""What every living figure shows."""


def interactive_figure(chart: Chart) -> figure:
    """A Bokeh figure of a chart, as wide as the page lets it be.

    Dragging and scrolling are off until the reader picks a tool, so that a finger can scroll the page. The
    renderers carry tags "rule:k" (or "layer:k") and "member:k", by which the page's key shows and hides them;
    those of dots also carry their shape ("event", "end", …). `refreshing.refresh` brings the figure to another
    chart of the same kind in place.
    """
    plot = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        x_axis_type="log" if chart.log_x else "linear",
        y_axis_type="log" if chart.log_y else "linear",
        x_range=_range("x", chart.x_range),
        y_range=_range("y", chart.y_range),
        tools=[PanTool(), BoxZoomTool(), WheelZoomTool(), ResetTool(), SaveTool()],
        active_drag=None,
        active_scroll=None,
        toolbar_location="above",
    )
    mapped = [_draw_cells(chart, cells, plot) for cells in chart.cells]
    for band in chart.bands:
        _draw_band(chart, band, plot)
    pointed: list[Any] = [_draw_line(chart, line, plot) for line in chart.lines]
    dotted: list[Any] = [_draw_dots(chart, dots, plot) for dots in chart.dots]
    for level in chart.levels:
        _draw_level(chart, level, plot)
    plot.add_tools(
        HoverTool(
            renderers=pointed, line_policy="nearest", formatters={"@x": "printf", "@y": "printf"}, limit=1,
            tooltips=_tip(f"<br>{chart.x_label.split()[0]} @x{{%.4g}}<br>value @y{{%.4g}}", "$name"),
        ),
        HoverTool(renderers=dotted, tooltips=_tip("", "@name"), limit=1),
    )  # fmt: skip
    for cells, drawn in zip(chart.cells, mapped, strict=True):
        plot.add_tools(
            HoverTool(renderers=[drawn], tooltips=_tip("<br>@value{0.[000]}", escape(cells.name)), limit=1)
        )
    _dress(chart, plot)
    CHARTS[plot] = chart
    return plot


def _range(which: str, ends: tuple[float, float]) -> Range1d:
    return Range1d(start=ends[0], end=ends[1], reset_start=ends[0], reset_end=ends[1], tags=[which])


def embeddable(chart: Chart, target: str) -> dict[str, Any]:
    """The figure as the JSON that BokehJS embeds into the element with id `target`."""
    return dict(json_item(interactive_figure(chart), ID(target)))


def _tip(numbers: str, name: str) -> str:
    """The box beside the pointer; names are filled in as text."""
    return f'<div style="color:{INK};font:13px {FONT};max-width:18rem"><b>{name}</b>{numbers}</div>'


def _tags(chart: Chart, colour: int, dash: int | None) -> list[str]:
    return [f"{chart.scope}:{colour}"] + ([] if dash is None or not chart.dashes else [f"member:{dash}"])


def _draw_line(chart: Chart, line: Line, plot: figure):
    drawn = plot.line(
        "x",
        "y",
        source=ColumnDataSource(line_columns(chart, line)),
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


def line_columns(chart: Chart, line: Line) -> dict[str, Any]:
    """What a line's data source holds."""
    x, y = chart.points(line)
    return {"x": x, "y": y}


def _draw_dots(chart: Chart, dots: Dots, plot: figure):
    colour = EVENT if dots.shape in ("event", "moment") else rule_colour(dots.colour)
    drawn = plot.scatter(
        "x",
        "y",
        source=ColumnDataSource(dot_columns(chart, dots)),
        marker=_MARKERS.get(dots.shape, "circle"),
        size="size" if dots.sizes is not None else _SIZES.get(dots.shape, 8 if dots.colour == 0 else 10),
        line_width=3 if dots.shape == "broken" else 1 if dots.shape == "sample" else 1.5,
        line_color=PAPER if dots.shape in ("end", "event", "sample", "moment") else colour,
        fill_color=PAPER if dots.shape == "start" else colour,
    )
    drawn.tags = [*_tags(chart, dots.colour, dots.dash), dots.shape]
    return drawn


def dot_columns(chart: Chart, dots: Dots) -> dict[str, Any]:
    """What the data source of dots holds."""
    x, y = chart.points(dots)
    kept = chart.shown(dots)
    sizes = {} if dots.sizes is None else {"size": 4.0 + 11.0 * dots.sizes[kept]}
    return {"x": x, "y": y, "name": [plain(dots.names[place]) for place in kept], **sizes}


def _draw_cells(chart: Chart, cells: Cells, plot: figure):
    """The cells as an image: every colour of the palette at every opacity, so that pages can swap the colours
    for their dark twins."""
    opacities = np.linspace(0, 255 * cells.most_opaque, _INKS).round().astype(int)
    shades = [f"{colour}{opacity:02x}" for colour in RULES for opacity in opacities]
    mapper = LinearColorMapper(palette=shades, low=0, high=len(shades), nan_color="#00000000")
    drawn = plot.add_glyph(
        ColumnDataSource(cell_columns(cells)),
        Image(image="image", x="x", y="y", dw="dw", dh="dh", color_mapper=mapper),
        level="image",
    )
    if cells.texts:
        plot.text(
            x="x", y="y", text="text", source=ColumnDataSource(text_columns(cells)), text_color=INK,
            text_font=value(FONT), text_font_size="12px", text_align="center", text_baseline="middle",
        )  # fmt: skip
    return drawn


def cell_columns(cells: Cells) -> dict[str, Any]:
    """What the data source of cells holds."""
    colours = np.array([RULES.index(rule_colour(k)) for k in range(int(cells.colours.max()) + 1)])
    shades = colours[cells.colours] * _INKS + np.rint(np.clip(cells.ink, 0, 1) * (_INKS - 1)) + 0.5
    places = {
        "x": cells.x[0],
        "y": cells.y[0],
        "dw": cells.x[-1] - cells.x[0],
        "dh": cells.y[-1] - cells.y[0],
    }
    return {
        "image": [np.where(np.isfinite(cells.values), shades, np.nan)],
        "value": [np.asarray(cells.values, float)],
        **{name: [float(place)] for name, place in places.items()},
    }


def text_columns(cells: Cells) -> dict[str, Any]:
    """What the data source of the cells' texts holds."""
    x, y = cells.centres
    return {"x": x, "y": y, "text": [plain(text) for text in cells.texts]}


def _draw_band(chart: Chart, band: Band, plot: figure) -> None:
    drawn = plot.varea(
        "x", "y1", "y2", source=ColumnDataSource(band_columns(chart, band)),
        fill_color=rule_colour(band.colour), fill_alpha=0.18,
    )  # fmt: skip
    drawn.tags = _tags(chart, band.colour, None)


def band_columns(chart: Chart, band: Band) -> dict[str, Any]:
    """What a band's data source holds."""
    x, low = visible(band.x, band.low, chart.log_x, chart.log_y)
    return {"x": x, "y1": low, "y2": visible(band.x, band.high, chart.log_x, chart.log_y)[1]}


def _draw_level(chart: Chart, level: Level, plot: figure) -> None:
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
    plot.grid.visible = not chart.cells
    axis: Any
    sides = (("x", plot.xaxis, chart.log_x, chart.x_names), ("y", plot.yaxis, chart.log_y, chart.y_names))
    for which, axis, logarithmic, names in sides:
        ticks = axis_ticks(logarithmic, names, chart.x_range if which == "x" else chart.y_range)
        if ticks is None:
            axis.formatter = BasicTickFormatter(power_limit_low=-5)
        else:
            axis.ticker = FixedTicker(ticks=list(ticks), tags=["log", which] if logarithmic else [])
            axis.major_label_overrides = ticks
    if chart.whole_x:
        plot.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)


def axis_ticks(
    logarithmic: bool, names: Mapping[float, str], ends: tuple[float, float]
) -> dict[Any, str] | None:
    """{place: label} of the ticks of an axis; None if they are left to Bokeh."""
    if names:
        return {place: plain(name) for place, name in names.items()}
    return log_ticks(*ends) if logarithmic else None


def plain(text: str) -> str:
    """A user's text for Bokeh, with nothing in it that would be typeset as mathematics."""
    return text.replace("$$", "$ $").replace("\\(", "\\ (").replace("\\[", "\\ [")
