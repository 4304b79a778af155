"""Trained on and held out, side by side: the numbers of the path, and when each part was understood."""

import dataclasses

import numpy as np
import pytest

from tests.report.runs import StandIn, descent, flow
from thetadot.report import FigureError
from thetadot.report.held_out import held_out_chart, held_out_charts
from thetadot.report.panels import panels
from thetadot.report.record import record_of
from thetadot.report.series import as_series


def watched(known=10, understood=40, rows=60):
    """A descent whose samples are known from one row on, and whose held-out ones from a later one."""
    path = descent(0.5, 120)
    rows = len(path.ts)
    place = np.arange(rows)
    observed = {
        "accuracy": np.where(place >= known, 1.0, 0.2),
        "test_accuracy": np.where(place >= understood, 0.95, 0.1),
        "test_loss": path.losses + 1.0,
    }
    return dataclasses.replace(path, observed=observed)


def test_both_parts_are_drawn_as_they_are():
    path = watched()
    (_, loss, _), (_, share, reading) = held_out_charts(as_series(path))
    np.testing.assert_array_equal(loss.lines[0].y, path.losses)
    np.testing.assert_array_equal(loss.lines[1].y, path.observed["test_loss"])
    np.testing.assert_array_equal(share.lines[1].y, path.observed["test_accuracy"])
    assert list(share.colours.values()) == ["samples trained on", "samples held out"]
    early, late = path.ts[10], path.ts[40]
    assert f"{early:.3g}" in reading
    assert f"{late:.3g}" in reading
    assert "times as late" in reading


def test_a_part_that_was_not_observed_is_not_drawn():
    path = watched()
    alone = dataclasses.replace(path, observed={"test_accuracy": path.observed["test_accuracy"]})
    ((_, chart, reading),) = held_out_charts(as_series(alone))
    assert len(chart.lines) == 1
    assert chart.colours == {1: "samples held out"}
    assert reading == "The share of right classes ended at 95 % on samples held out."
    with pytest.raises(FigureError, match="add it to observe="):
        held_out_chart(as_series(alone), "loss")


def test_the_report_has_them_once_each_and_no_panel_of_its_own_for_either(tmp_path):
    names = [panel.name for panel in panels(record_of(StandIn(tmp_path, [watched()])))]
    assert [name for name in names if "held-out" in name] == ["held-out-loss", "held-out-accuracy"]
    assert not [name for name in names if name.startswith("observed-")]
    plain = [panel.name for panel in panels(record_of(StandIn(tmp_path, [flow()])))]
    assert not [name for name in plain if "held-out" in name]
