"""What the report says of the lens symmetry."""

import dataclasses

import numpy as np
import pytest

from tests.report.runs import flow
from thetadot.report.lens_panels import lens_sections
from thetadot.report.lens_record import Found
from thetadot.report.series import Series
from thetadot.symmetry import SymmetryCheck, SymmetryResult

TIMES = np.array([0.0, 1.0, 10.0, 40.0])


def found_of(start_residual, reduction=True, member=0):
    """What the lens may say of one path: a symmetry, and a map that is none."""
    path = flow(member)
    alignment = np.linspace(0, 1, 32).reshape(4, 4, 2)
    reduced = dataclasses.replace(
        path, ts=TIMES, thetas=np.zeros((4, 64)), losses=np.array([2.0, 1.0, 0.1, 0.01]), grad_norms=TIMES,
        steps=np.arange(4), observed={},
    )  # fmt: skip
    result = SymmetryResult(
        names=("negation", "matrix turn.npy"),
        checks=(SymmetryCheck(True, -1.0, 0.0, 1e-16, 2e-16, None), SymmetryCheck(False, 1.0, 3.0, 3.0, 1.2, None)),
        times=TIMES,
        residuals=np.array([[0.3, 0.2, 0.1, 0.05], [0.9, 0.8, 0.7, 0.6]]),
        particle_residuals=np.array([[start_residual, 3e-14], [0.5, 0.6]]),
        alignment=alignment,
        reduction="radial" if reduction else None,
        reduced=reduced if reduction else None,
        full_risk=np.array([2.1, 1.1, 0.2, 0.02]),
        distance=np.array([0.1, 0.2, 0.3, 0.4]) if reduction else None,
        widths=(16, 64),
        width_distances=np.array([0.4, 0.2]),
        notes=(),
    )  # fmt: skip
    return Found(
        "symmetry",
        Series(path, 0, member, "gradient flow"),
        "done",
        result.summary(),
        data=result.to_xarray(),
    )


def section_of(*found):
    (section,) = lens_sections(found)
    return section, {panel.name.removeprefix("lens-symmetry-"): panel for panel in section.panels}


def test_residuals_alignment_reduction_and_widths_are_drawn_as_found():
    _, panels = section_of(found_of(0.5))
    assert set(panels) == {"residual", "alignment", "reduction", "widths"}
    lines = panels["residual"].chart.lines
    np.testing.assert_array_equal(lines[0].y, [0.3, 0.2, 0.1, 0.05])
    assert panels["residual"].chart.colours == {0: "negation", 1: "matrix turn.npy"}
    np.testing.assert_array_equal(
        panels["alignment"].chart.lines[1].y, np.linspace(0, 1, 32).reshape(4, 4, 2)[:, 1, 1]
    )
    reduced, full = panels["reduction"].chart.lines
    assert (reduced.y[-1], full.y[-1]) == (0.01, 0.02)
    assert "64 numbers (radial reduction)" in panels["reduction"].reading
    assert "0.4" in panels["reduction"].reading
    assert "-0.5" in panels["widths"].reading.replace("−", "-")
    assert all(panel.chart.x_label and panel.chart.y_label and panel.method for panel in panels.values())
    assert "invariant" not in panels["residual"].reading


def test_an_invariant_start_is_said_to_be_kept_to_rounding():
    _, panels = section_of(found_of(1e-15, reduction=False))
    assert "orbit residual 3×10⁻¹⁴: kept to rounding" in panels["residual"].reading
    assert "reduction" not in panels
    assert "orbit residual 3e-14 at t = 40: symmetry kept to rounding" in found_of(1e-15).summary


def test_the_hypotheses_stand_in_a_table_with_their_residuals():
    section, _ = section_of(found_of(0.5), found_of(0.4, member=1))
    heads, rows, _ = section.table
    assert len(rows) == 2
    assert [cell.text for cell in rows[0]] == ["negation", "a symmetry", "-1", "0", "10⁻¹⁶", "2×10⁻¹⁶"]
    assert rows[1][1].badge.tone == "bad"
    assert rows[1][3].key == pytest.approx(3.0)
    assert len(heads) == len(rows[0])
