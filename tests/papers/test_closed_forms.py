"""The closed forms that claims predict with, against 50-digit oracles and the problems' own gradients."""

import mpmath as mp
import numpy as np
import pytest

from tests.oracles import deep_linear, quadratic, scalar_linear
from tests.oracles.differences import slope
from thetadot.papers import ClaimError, Workbench, closed_forms
from thetadot.papers.closed_form_systems import SYSTEMS

TS = [0.0, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0]
SCALAR = {
    "imbalanced": (0.3, -1.2, 0.8),
    "balanced": (0.01, 0.01, 0.8),
    "balanced, negative": (0.5, 0.5, -0.7),
    "sum zero, grows": (0.4, -0.4, -0.7),
    "sum zero, shrinks": (0.4, -0.4, 0.7),
    "through zero": (1.5, 0.2, -0.6),
    "no correlation": (1.1, 0.3, 0.0),
    "no correlation, balanced": (1.1, 1.1, 0.0),
    "stable manifold": (0.6, -0.6, 0.9),
    "tiny and nearly balanced": (1e-4, 1.00001e-4, 1.0),
}


def relative_error(found, truth):
    return (np.linalg.norm(found - truth, axis=1) / np.linalg.norm(truth, axis=1)).max()


def test_quadratic_equals_the_oracle_up_to_the_rounding_of_its_basis():
    rng = np.random.default_rng(0)
    basis, rates = np.linalg.qr(rng.normal(size=(8, 8)))[0], np.geomspace(1, 1e-10, 8)
    theta0, ts = rng.normal(size=8), [0.0, 1.0, 1e4, 1e8]
    truth = quadratic.QuadraticFlow(np.sqrt(rates)[:, None] * basis.T, theta0).thetas(ts)
    assert relative_error(closed_forms.quadratic(rates, basis, theta0, ts), truth) < 1e-14


@pytest.mark.parametrize("start", SCALAR.values(), ids=SCALAR.keys())
def test_scalar_linear_equals_the_oracle(start):
    a0, w0, rho = start
    truth = scalar_linear.ScalarLinearFlow(a0, w0, mp.mpf(1.3), mp.mpf(rho)).thetas(TS)
    assert relative_error(closed_forms.scalar_linear(a0, w0, 1.3, rho, TS), truth) < 1e-14


def test_scalar_linear_time_inverts_the_oracle():
    flow = scalar_linear.ScalarLinearFlow(0.02, -0.3, mp.mpf(1.3), mp.mpf(0.8))
    for t in (0.5, 2.0, 5.0):
        a, w = flow.state(mp.mpf(t))
        assert closed_forms.scalar_linear_time(0.02, -0.3, 1.3, 0.8, float(a * w)) == pytest.approx(
            t, rel=1e-12
        )


@pytest.mark.parametrize("product", [0.8 / 1.3 + 0.1, -0.01])
def test_a_product_that_is_never_reached_is_refused(product):
    with pytest.raises(ClaimError, match="never reaches"):
        closed_forms.scalar_linear_time(0.02, -0.3, 1.3, 0.8, product)


@pytest.mark.parametrize(
    ("strength", "start", "depth"),
    [
        (1.5, 0.1, 2),
        (0.0, 0.1, 2),
        (1.5, 0.1, 3),
        (2.0, 0.01, 3),
        (0.7, 0.1, 4),
        (0.0, 0.1, 4),
        (1.3, 0.2, 5),
    ],
)
def test_deep_linear_modes_equal_the_oracle(strength, start, depth):
    ts = [0.0, 2.0, 12.0, 60.0]
    truth = np.array([float(deep_linear.mode(strength, start, depth, t)) for t in ts])
    assert np.abs(closed_forms.deep_linear_mode(strength, start, depth, ts) / truth - 1).max() < 5e-15


@pytest.mark.parametrize(
    "arguments", [(1.0, 0.0, 2), (1.0, 1.0, 3), (1.0, 1.2, 3), (-1.0, 0.5, 2), (1.0, 0.5, 1)]
)
def test_modes_outside_the_closed_form_are_refused(arguments):
    with pytest.raises(ClaimError, match="no closed form"):
        closed_forms.deep_linear_mode(*arguments, [0.0, 1.0])


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_truth_of_every_system_is_the_gradient_flow_of_its_problem(name):
    workbench = Workbench()
    system = workbench.shared(*SYSTEMS[name])
    np.testing.assert_allclose(system.truth([0.0])[0], system.theta0, rtol=1e-14, atol=1e-15)
    for t in (0.3, 2.0, 9.0):
        rate = slope(lambda u: system.truth([u])[0], t, 1e-3)
        gradient = np.asarray(system.problem.value_and_grad(system.truth([t])[0])[1])
        assert np.abs(rate + gradient).max() < 1e-10 * max(1.0, np.abs(gradient).max())
