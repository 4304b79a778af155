"""The lens in a study, the companion in real time, and the figures."""

import jax
import numpy as np
import pytest
import sympy
from matplotlib.axes import Axes
from pydantic import ValidationError

import thetadot as td
from tests.integrability.networks import mirrored, reflection
from thetadot import integrability
from thetadot.integrability import study


@pytest.fixture(scope="module")
def wide():
    return td.EmpiricalRisk(td.mlp([4, 8, 1], "tanh"), td.squared, np.ones((2, 4)), np.ones((2, 1)))


@pytest.fixture(scope="module")
def path(wide):
    theta = wide.init(jax.random.key(0))
    return td.descend(wide, theta, td.GradientDescent(0.1), 2, progress=False)


SPEC = {"widths": [1, 1, 1], "activation": "identity", "data": [["1", "1/2"], ["-1", "-1/2"]]}


def test_a_named_network_is_analysed_whatever_was_trained(wide, path):
    options = study.Options(network=SPEC, numeric=False, map={"targets": ["1/2", "1"], "levels": ["0", "1"]})
    found = study.analyse(wide, path, options)
    assert found.verdict.status.name == "NON_INTEGRABLE"
    data = found.to_xarray()
    assert data.attrs["status"] == "NON_INTEGRABLE"
    assert data["group"].dims == ("finding",)
    assert data["map_group"].values.tolist() == [["BOREL", "SL2"], ["SL2", "SL2"]]
    assert "complexified" in found.summary()


def test_a_wide_problem_is_refused_with_the_entry_to_write(wide, path):
    with pytest.raises(integrability.UnsupportedFlowError, match=r"not narrow \(P = 49"):
        study.analyse(wide, path, study.Options())


def test_options_are_closed_and_bounded():
    for wrong in ({"levl": ["0"]}, {"integral_degree": 0}, {"time_limit": 0}, {"network": {"widths": [1]}}):
        with pytest.raises(ValidationError):
            study.Options(**wrong)


@pytest.fixture(scope="module")
def linear():
    flow = mirrored("identity", 1)
    return flow, integrability.orbits(flow, reflection(flow), (0,))[0]


def test_the_run_in_real_time_agrees_with_what_was_derived(linear):
    flow, leaf = linear
    found = integrability.real_time_companion(flow, leaf, start=0.3, duration=3.0)
    assert found.block_error < 1e-12
    assert found.invariance_defect < 1e-9
    assert found.integral_drift < 1e-7
    assert np.isnan(found.closed_form_error)
    assert found.growth.shape == (len(found.times), 1)
    with pytest.raises(integrability.IntegrabilityError, match="start"):
        integrability.real_time_companion(flow, leaf, start=1.0, duration=1.0)
    axes = integrability.plot_real_time(found)
    assert axes.get_lines()[0].get_ydata().tolist() == found.growth[:, 0].tolist()


def test_every_figure_is_drawn_with_labels(linear):
    flow, leaf = linear
    (block,) = integrability.normal_blocks(flow, leaf)
    p, c = leaf.parameter, sympy.Symbol("c")
    drawn = [
        integrability.plot_verdict(
            integrability.analyse(mirrored("identity", sympy.Rational(1, 2)), numeric=False)
        ),
        integrability.plot_monodromy(integrability.monodromy(block.system, p)),
        integrability.plot_solvability_map(integrability.solvability_map(p**2 + c, p, {c: [1, 2]})),
        integrability.plot_orbit(flow, leaf),
    ]
    assert all(isinstance(axes, Axes) and axes.get_xlabel() and axes.get_ylabel() for axes in drawn)
    assert len(drawn[0].patches) == 2
    rests = {
        tuple(np.round([*line.get_xdata(), *line.get_ydata()], 9)) for line in drawn[3].get_lines()[1:-1]
    }
    assert rests == {(-1.0, -1.0), (0.0, 0.0), (1.0, 1.0)}
