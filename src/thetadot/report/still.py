"""A chart drawn by matplotlib: for notebooks, for print, and where scripts are off."""

import io
import re

import matplotlib
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thetadot.dynamics.canvas import dress, literal, set_scale
from thetadot.dynamics.palette import DARK, EVENT, INK, PAPER, member_dashes, rule_colour
from thetadot.report.chart import Chart, Dots

_MARKERS = {"start": "o", "end": "o", "broken": "X", "event": "D"}
_SIZE = (4.8, 3.3)


def draw(chart: Chart, axes: Axes, legend: bool = True) -> Axes:
    """Draw a chart on matplotlib axes and return them.

    Arguments:
        chart: what to draw.
        axes: where.
        legend: name colours (rules) and dash patterns (members) on the figure, where there are several.
    """
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
    dress(axes)
    if legend:
        _name_lines(chart, axes)
    return axes


def _draw_dots(chart: Chart, dots: Dots, axes: Axes) -> None:
    colour = EVENT if dots.shape == "event" else rule_colour(dots.colour)
    axes.plot(
        *chart.points(dots), linestyle="none", marker=_MARKERS[dots.shape], color=colour, zorder=3,
        markersize=5.5 if dots.shape == "event" else 7,
        markerfacecolor=PAPER if dots.shape == "start" else colour,
        markeredgecolor=PAPER if dots.shape in ("end", "event") else colour,
    )  # fmt: skip


def _name_lines(chart: Chart, axes: Axes) -> None:
    handles = []
    if len(chart.colours) > 1:
        handles += [
            Line2D([], [], color=rule_colour(k), label=literal(name)) for k, name in chart.colours.items()
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
    if handles:
        axes.legend(handles=handles, fontsize="small", edgecolor="none", facecolor=PAPER, framealpha=0.85)


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
