"""The picture of one path."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.dynamics.handmade import handmade
from thetadot.dynamics.figures import AxesError


def test_the_figure_shows_the_numbers_of_the_path_on_labelled_axes():
    path = handmade()
    loss, gradient = path.plot()
    shown = path.ts > 0
    for axes, values, words in ((loss, path.losses, "loss L"), (gradient, path.grad_norms, "‖∇L‖")):
        x, y = axes.lines[0].get_data()
        assert np.array_equal(x, path.ts[shown])
        assert np.array_equal(y, values[shown])
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert words in axes.get_ylabel()
    assert gradient.get_xlabel() == "time t (units of the loss gradient)"


def test_every_event_has_its_line_and_its_name():
    path = handmade()
    loss, gradient = path.plot()
    for axes in (loss, gradient):
        marks = [line.get_xdata()[0] for line in axes.lines[1:]]
        assert marks == [event.time for event in path.events]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [
        "minimum of ‖∇L‖ (t = 0.7)",
        "plateau (t = 55)",
    ]


def test_pyplot_is_not_touched_where_nobody_uses_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    axes = handmade().plot()
    assert "matplotlib.pyplot" not in sys.modules
    axes[0].figure.savefig("/dev/null", format="png")


def test_the_figure_is_drawn_on_given_axes():
    given = Figure().subplots(2, 1)
    assert handmade().plot(given)[1] is given[1]
    with pytest.raises(AxesError, match="given 1 axes, expected 2"):
        handmade().plot([given[0]])


def test_values_below_zero_or_not_finite_leave_the_axis_linear_and_the_rest_drawn():
    losses = np.linspace(1, -1, 40)
    losses[4] = np.nan
    path = handmade(losses=losses, ts=np.linspace(0, 5, 40))
    axes = path.plot()[0]
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "linear"
    assert axes.lines[0].get_xdata().size == 38


def test_dollar_signs_in_names_are_not_typeset(tmp_path):
    path = handmade(info={"kind": "flow", "problem": "cost $x_1", "method": "a$\\badmath$"})
    path.plot()[0].figure.savefig(
        tmp_path / "figure.svg"
    )  # a formula that cannot be typeset would raise here
    assert "</svg>" in (tmp_path / "figure.svg").read_text()
