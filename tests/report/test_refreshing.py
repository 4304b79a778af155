"""Figures that are brought to another moment in place, and into the reader's theme."""

import json
import re

import numpy as np
import pytest
from bokeh.models import GlyphRenderer, Label, Span
from bokeh.models.glyphs import Scatter

from tests.report.runs import descent, flow
from thetadot.dynamics.palette import DARK
from thetadot.report.chart import Band, Cells, Chart, Dots, Level, Line
from thetadot.report.charts import loss_chart, sharpness_chart
from thetadot.report.interactive import interactive_figure
from thetadot.report.log_ticks import log_ticks
from thetadot.report.moment_time import marked_at
from thetadot.report.refreshing import follow_zoom, refresh
from thetadot.report.series import as_series
from thetadot.report.themed import in_theme


def everything(t):
    """A chart with one of each element, all of which depend on t."""
    x = np.arange(1.0, 4.0 + t)
    cells = Cells(
        np.array([0.0, t, 2 * t]), np.array([0.0, 1.0]), np.array([[t, -1.0]]), np.array([[1.0, 0.1 * t]]),
        np.array([[0, t]]), "value", (f"{t}", ""),
    )  # fmt: skip
    return Chart(
        f"at {t}", "time t", f"y at {t}", log_x=True, log_y=True,
        lines=(Line(x, t * x, f"line {t}"), Line(x, np.where(x == 2, np.nan, x), "tail", 5, pieces=True)),
        bands=(Band(x, x, 3.0 * t * x, "band"),),
        dots=(
            Dots(x, t * x, tuple(f"dot {k + t}" for k in x), "end", sizes=np.linspace(0, 1, x.size)),
            Dots(x[:t], x[:t], ("a",) * t, "event"),
        ),
        levels=(Level(5.0 * t, f"level {t}"),), cells=(cells,),
    )  # fmt: skip


def named(chart):
    """A chart with named ticks and fixed axes."""
    names = {0.0: chart.title, 1.0: "b"}
    return chart.altered(log_y=False, y_names=names, y_ends=(0.0, 40.0))


def content(plot):
    """All of a figure but the names of its models, which are numbered as they occur."""
    from bokeh.embed import json_item

    text = json.dumps(json_item(plot)["doc"], sort_keys=True)
    seen: dict[str, str] = {}
    return re.sub(
        r'"(p\d+|[0-9a-f]{8}-[0-9a-f-]{27})"', lambda it: seen.setdefault(it[1], f'"#{len(seen)}"'), text
    )


@pytest.mark.parametrize("shape", [lambda chart: chart, named])
def test_a_refreshed_figure_is_what_a_fresh_one_would_be(shape):
    plot = interactive_figure(shape(everything(1)))
    assert content(plot) != content(interactive_figure(shape(everything(3))))
    assert refresh(plot, shape(everything(3)))
    assert content(plot) == content(interactive_figure(shape(everything(3))))
    assert refresh(plot, shape(everything(1)))
    assert content(plot) == content(interactive_figure(shape(everything(1))))


def test_a_live_path_grows_in_its_figures():
    def charts(length):
        path = flow()
        cut = {
            name: getattr(path, name)[:length] for name in ("ts", "thetas", "losses", "grad_norms", "steps")
        }
        seen = {name: values[:length] for name, values in path.observed.items()}
        series = as_series([flow(observed=seen, events=(), **cut), descent(0.5, 120)])
        loss = loss_chart(series)
        return [loss.altered(dots=(*loss.dots, marked_at(loss, 1.0))), sharpness_chart(series)]

    for young, old in zip(charts(45), charts(60), strict=True):
        plot = interactive_figure(young)
        assert refresh(plot, old)
        assert content(plot) == content(interactive_figure(old))


@pytest.mark.parametrize(
    "other",
    [
        everything(1).altered(log_x=False),
        everything(1).altered(lines=everything(1).lines[:1]),
        everything(1).altered(levels=()),
        everything(1).altered(cells=()),
        everything(1).altered(dots=everything(1).dots[::-1]),
    ],
)
def test_a_chart_of_another_structure_is_refused_and_changes_nothing(other):
    plot = interactive_figure(everything(1))
    before = content(plot)
    assert not refresh(plot, other)
    assert content(plot) == before


def test_axes_that_a_reader_has_zoomed_stay_and_reset_leads_to_the_new_ones():
    plot = interactive_figure(everything(1))
    follow_zoom(plot)
    plot.x_range.update(start=1.1, end=1.7)
    assert plot.xaxis[0].ticker.ticks == list(log_ticks(1.1, 1.7))
    assert refresh(plot, everything(3))
    fresh = everything(3)
    assert (plot.x_range.start, plot.x_range.end) == (1.1, 1.7)
    assert plot.xaxis[0].ticker.ticks == list(log_ticks(1.1, 1.7))
    assert (plot.x_range.reset_start, plot.x_range.reset_end) == fresh.x_range
    assert (plot.y_range.start, plot.y_range.end) == fresh.y_range
    assert plot.yaxis[0].ticker.ticks == list(log_ticks(*fresh.y_range))


def test_only_what_differs_is_sent():
    plot = interactive_figure(everything(1))
    changes = []
    for model in plot.references():
        for name in model.properties():
            model.on_change(name, lambda attr, old, new: changes.append(attr))
    assert refresh(plot, everything(1))
    assert changes == []
    assert refresh(plot, everything(1).altered(levels=(Level(5.0, "other"),)))
    assert changes == ["text"]


def test_a_figure_changes_to_the_dark_theme_and_back():
    plot = interactive_figure(everything(3))
    light = content(plot)
    in_theme(plot, dark=True)
    in_theme(plot, dark=True)
    swapped = re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), light)
    assert content(plot) == swapped, "the same as what the report's page does"
    assert refresh(plot, everything(1))
    in_theme(plot, dark=False)
    assert content(plot) == content(interactive_figure(everything(1)))


def test_columns_of_colours_change_with_the_theme_and_names_do_not():
    plot = interactive_figure(everything(1))
    source = plot.scatter([1.0], [2.0]).data_source
    source.data = {"x": [1.0], "y": [2.0], "fill_color": ["#0b57d0"], "name": ["#0b57d0"]}
    in_theme(plot, dark=True)
    assert source.data["fill_color"] == [DARK["#0b57d0"]]
    assert source.data["name"] == ["#0b57d0"]


def test_events_can_be_told_from_other_marks():
    plot = interactive_figure(loss_chart(as_series(flow())))
    found = [item for item in plot.select(GlyphRenderer) if "event" in item.tags]
    assert len(found) == 1
    assert isinstance(found[0].glyph, Scatter)
    assert found[0].data_source.data["x"].tolist() == [flow().events[0].time]


def test_names_stay_with_their_dots_where_others_cannot_be_shown():
    dots = Dots(
        np.array([0.0, 1.0, 2.0]), np.ones(3), ("a", "b", "c"), "end", sizes=np.array([0.0, 0.5, 1.0])
    )
    plot = interactive_figure(Chart("", "x", "y", log_x=True, dots=(dots,)))
    data = plot.select_one(GlyphRenderer).data_source.data
    assert data["name"] == ["b", "c"]
    assert data["size"][0] < data["size"][1]


def test_levels_follow_their_value_and_name():
    plot = interactive_figure(everything(1))
    refresh(plot, everything(3))
    assert plot.select_one(Span).location == 15.0
    assert (plot.select_one(Label).y, plot.select_one(Label).text) == (15.0, "level 3")
