"""A chart drawn by matplotlib: for notebooks, for print, and where scripts are off."""

import io
import re

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thetadot.dynamics.canvas import dress, literal, set_scale
from thetadot.dynamics.palette import DARK, EVENT, INK, PAPER, member_dashes, rule_colour
from thetadot.report.chart import Cells, Chart, Dots

_MARKERS = {"start": "o", "end": "o", "broken": "X", "event": "D", "sample": "o", "moment": "o"}
_DIAMETERS = {"event": 5.5, "sample": 4.5}
_SIZE = (4.8, 3.3)
_MOST_SHAPES = 900


def draw(chart: Chart, axes: Axes, legend: bool = True) -> Axes:
    """Draw a chart on matplotlib axes and return them.

    Arguments:
        chart: what to draw.
        axes: where.
        legend: name colours (rules) and dash patterns (members) on the figure, where there are several.
    """
    for cells in chart.cells:
        _draw_cells(cells, axes)
    for band in chart.bands:
        axes.fill_between(
            band.x, band.low, band.high, color=rule_colour(band.colour), alpha=0.18, linewidth=0
        )
    for line in chart.lines:
        dashes = member_dashes(line.dash)
        axes.plot(
            *chart.points(line), color=rule_colour(line.colour), linewidth=line.weight, alpha=line.opacity,
            linestyle=(0, dashes) if dashes and line.weight < 4 else "-",
            solid_capstyle="butt" if line.weight >= 4 else "round",
        )  # fmt: skip
    for dots in chart.dots:
        _draw_dots(chart, dots, axes)
    for level in chart.levels:
        colour = rule_colour(level.colour)
        axes.axhline(level.value, color=colour, linewidth=1.0, linestyle=(0, (2.0, 2.0)))
        axes.annotate(
            literal(level.name), (0.01, level.value), xycoords=("axes fraction", "data"), color=colour,
            textcoords="offset points", xytext=(0, 3), fontsize="small", annotation_clip=True,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
        )  # fmt: skip
    set_scale(axes, "x", chart.log_x)
    set_scale(axes, "y", chart.log_y)
    if chart.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=chart.x_range, ylim=chart.y_range, xlabel=chart.x_label, ylabel=literal(chart.y_label))
    for axis, names in ((axes.xaxis, chart.x_names), (axes.yaxis, chart.y_names)):
        if names:
            axis.set_ticks(list(names), [literal(name) for name in names.values()])
    dress(axes)
    if chart.cells:
        axes.grid(False)
    if legend:
        _name_lines(chart, axes)
    return axes


def _draw_dots(chart: Chart, dots: Dots, axes: Axes) -> None:
    colour = EVENT if dots.shape in ("event", "moment") else rule_colour(dots.colour)
    face = PAPER if dots.shape == "start" else colour
    edge = PAPER if dots.shape in ("end", "event", "sample", "moment") else colour
    if dots.sizes is not None:
        diameters = 3.0 + 8.0 * dots.sizes[chart.shown(dots)]
        axes.scatter(
            *chart.points(dots), diameters**2, face, marker=_MARKERS[dots.shape], edgecolors=edge,
            linewidths=0.8, alpha=0.85, zorder=3,
        )  # fmt: skip
        return
    axes.plot(
        *chart.points(dots), linestyle="none", marker=_MARKERS[dots.shape], color=colour, zorder=3,
        markersize=_DIAMETERS.get(dots.shape, 7.0), markerfacecolor=face, markeredgecolor=edge,
        markeredgewidth=0.6 if dots.shape == "sample" else 1.0,
    )  # fmt: skip


def _draw_cells(cells: Cells, axes: Axes) -> None:
    """Every cell in its colour, as opaque as it has ink, so that it suits any paper; many of them as one image."""
    ink = np.where(np.isfinite(cells.values), cells.ink, 0.0)[..., None] * cells.most_opaque
    kinds = np.unique(cells.colours)
    colours = np.array([to_rgb(rule_colour(int(kind))) for kind in kinds])
    drawn = np.concatenate([colours[np.searchsorted(kinds, cells.colours)], ink], axis=-1)
    axes.pcolormesh(cells.x, cells.y, drawn, rasterized=cells.values.size > _MOST_SHAPES)
    for x, y, text in zip(*cells.centres, cells.texts or [""] * cells.values.size, strict=True):
        if text:
            axes.text(x, y, literal(text), ha="center", va="center", color=INK, fontsize="small")


def _name_lines(chart: Chart, axes: Axes) -> None:
    handles = []
    if len(chart.colours) > 1:
        curves = any(not line.pieces for line in chart.lines)
        marker, style = ("", "-") if curves else ("o", "none")
        handles += [
            Line2D([], [], color=rule_colour(k), label=literal(name), marker=marker, linestyle=style)
            for k, name in chart.colours.items()
        ]
    if len(chart.dashes) > 1:
        handles += [
            Line2D(
                [], [], color=INK, linestyle=(0, member_dashes(k)) if member_dashes(k) else "-", label=name
            )
            for k, name in list(chart.dashes.items())[:6]
        ]
    if any(dots.shape == "event" for dots in chart.dots):
        handles.append(Line2D([], [], color=EVENT, marker="D", linestyle="none", label="event"))
    if not handles:
        return
    key = axes.legend(handles=handles, fontsize="small", edgecolor="none", facecolor=PAPER, framealpha=0.85)
    if chart.y_ends is not None:  # axes that are fixed leave no room for it
        key.set_loc("upper left")
        key.set_bbox_to_anchor((1.0, 1.0))


def as_svg(chart: Chart, name: str, description: str) -> str:
    """The chart as an inline SVG element that follows the page's theme: its colours are the page's variables.

    Arguments:
        chart: what to draw.
        name: prefix of all ids, so that several figures can share a page.
        description: what a reader who does not see it is told.
    """
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif", "svg.hashsalt": name}
    ):
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="none")
        draw(chart, figure.subplots(), legend=False)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue(), name, description)


def _inline(document: str, name: str, description: str) -> str:
    """An SVG document as an element of a page: no prolog, own ids, the page's fonts and colours, a title."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = re.sub(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", r'<svg role="img" viewBox="\1">', svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for colour in DARK:
        svg = svg.replace(colour, f"var(--c-{colour[1:]})")
    return svg.replace(">", f"><title>{escape(description)}</title>", 1)
