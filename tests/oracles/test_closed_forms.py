"""The oracles satisfy their own equations and starts, so that they cannot be wrong silently."""

import re
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from tests.oracles import deep_linear, quadratic, scalar_linear, textbook
from tests.oracles.differences import slope


def test_oracles_use_nothing_of_what_they_judge():
    for file in Path(__file__).parent.glob("*.py"):
        code = file.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) thetadot", code, re.MULTILINE), file


def test_quadratic_flow_satisfies_its_equation_and_start():
    factor = quadratic.ill_conditioned_factor(6, 1e10, seed=1)
    flow = quadratic.QuadraticFlow(factor, np.arange(1.0, 7.0))
    with mp.workdps(quadratic.DIGITS):
        assert mp.norm(flow.state(0) - flow.theta0) < mp.mpf(10) ** -45
        for t in (mp.mpf("0.3"), mp.mpf(10) ** 4, mp.mpf(10) ** 8):
            rate = slope(flow.state, t, t * mp.mpf(10) ** -12)
            assert mp.norm(rate + flow.matrix * flow.state(t)) < mp.mpf(10) ** -25 * mp.norm(rate)


def test_quadratic_factor_has_the_condition_number_it_was_asked_for():
    factor = quadratic.ill_conditioned_factor(6, 1e10, seed=1)
    flow = quadratic.QuadraticFlow(factor, np.ones(6))
    assert float(max(flow.eigenvalues) / min(flow.eigenvalues)) == pytest.approx(1e10, rel=1e-9)
    assert flow.loss(0) == pytest.approx(0.5 * float(np.sum((factor @ np.ones(6)) ** 2)))


SCALAR_STARTS = {
    "imbalanced": (0.3, -1.2, 0.8),
    "balanced": (0.01, 0.01, 0.8),
    "balanced, negative correlation": (0.5, 0.5, -0.7),
    "sum zero, difference grows": (0.4, -0.4, -0.7),
    "sum zero, difference shrinks": (0.4, -0.4, 0.7),
    "imbalanced, negative correlation": (1.5, 0.2, -0.6),
    "no correlation": (1.1, 0.3, 0.0),
    "no correlation, balanced": (1.1, 1.1, 0.0),
    "on the stable manifold of the origin": (0.6, -0.6, 0.9),
}


@pytest.mark.parametrize("start", SCALAR_STARTS.values(), ids=SCALAR_STARTS.keys())
def test_scalar_linear_flow_satisfies_the_gradient_flow_of_its_loss(start):
    a0, w0, rho = start
    flow = scalar_linear.ScalarLinearFlow(a0, w0, mp.mpf("1.3"), mp.mpf(rho))
    with mp.workdps(scalar_linear.DIGITS):
        assert max(abs(flow.state(0)[0] - mp.mpf(a0)), abs(flow.state(0)[1] - mp.mpf(w0))) < mp.mpf(10) ** -40
        for t in (mp.mpf("0.2"), mp.mpf(2), mp.mpf(9)):
            a, w = flow.state(t)
            rate = slope(lambda u: mp.matrix(flow.state(u)), t, mp.mpf(10) ** -9)
            descent = (flow.rho - flow.s * a * w) * mp.matrix([w, a])
            assert mp.norm(rate - descent) < mp.mpf(10) ** -30


def test_scalar_linear_time_inverts_the_squared_sum():
    flow = scalar_linear.ScalarLinearFlow(0.02, 0.01, mp.mpf(1), mp.mpf("0.5"))
    with mp.workdps(scalar_linear.DIGITS):
        for t in (mp.mpf(1), mp.mpf(7), mp.mpf(15)):
            assert abs(flow.time_to_reach(flow.squared_sum(t)) - t) < mp.mpf(10) ** -35


def test_moments_are_means_over_samples():
    s, rho = scalar_linear.moments(np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0, -1.0]))
    assert (float(s), float(rho)) == (pytest.approx(14 / 3), pytest.approx(-1 / 3))


@pytest.mark.parametrize(("depth", "strength"), [(2, 1.5), (3, 1.5), (4, 0.7), (3, 0.0), (2, 0.0)])
def test_deep_linear_modes_satisfy_their_equation(depth, strength):
    with mp.workdps(deep_linear.DIGITS):
        assert abs(deep_linear.mode(strength, 0.1, depth, 0) - mp.mpf(0.1)) < mp.mpf(10) ** -35
        for t in (mp.mpf(2), mp.mpf(12), mp.mpf(60)):
            rate = slope(lambda u: deep_linear.mode(strength, 0.1, depth, u), t, mp.mpf("1e-5"))
            sigma = deep_linear.mode(strength, 0.1, depth, t)
            assert abs(rate - sigma ** (depth - 1) * (mp.mpf(strength) - sigma**depth)) < mp.mpf(10) ** -17


@pytest.mark.parametrize("depth", [2, 3])
def test_deep_linear_weights_follow_the_gradient_of_the_whole_network(depth):
    widths = (4, 5, 4, 3) if depth == 3 else (4, 5, 3)
    flow = deep_linear.spectral_flow(widths, (2.0, 0.7, 0.0), (0.3, 0.2, 0.4), 3)
    x, y = flow.data(20, seed=5)
    t = 1.7
    for layer in range(depth):
        rate = slope(lambda u, layer=layer: flow.weights(u)[layer], t, 1e-3)
        assert np.abs(rate + _loss_gradient(flow.weights(t), x, y, layer)).max() < 1e-9


def _loss_gradient(weights, x, y, layer) -> np.ndarray:
    before, after = np.eye(x.shape[1]), np.eye(weights[layer].shape[0])
    for w in weights[:layer]:
        before = w @ before
    for w in weights[layer + 1 :]:
        after = w @ after
    error = x @ (after @ weights[layer] @ before).T - y
    return after.T @ error.T @ x @ before.T / x.shape[0]


@pytest.mark.parametrize("t", [0.4, 3.0])
def test_textbook_solutions_satisfy_their_equations(t):
    start, h = np.array([0.3, -0.8]), 1e-3
    q, p = textbook.rotation(start, [t], 1.7)[0]
    rate = slope(lambda u: textbook.rotation(start, [u], 1.7)[0], t, h)
    assert np.abs(rate - 1.7 * np.array([p, -q])).max() < 1e-9
    q, p = textbook.damped_rotation(start, [t], 0.2, 1.7)[0]
    rate = slope(lambda u: textbook.damped_rotation(start, [u], 0.2, 1.7)[0], t, h)
    assert np.abs(rate - 1.7 * np.array([p, -q]) + 0.2 * np.array([q, p])).max() < 1e-9
    grown = textbook.logistic(0.02, [t], 1.3, 2.0)[0]
    rate = slope(lambda u: textbook.logistic(0.02, [u], 1.3, 2.0)[0], t, h)
    assert abs(rate - 1.3 * grown * (1 - grown / 2.0)) < 1e-9
    assert textbook.logistic_time(0.02, grown, 1.3, 2.0) == pytest.approx(t, rel=1e-12)
    assert textbook.rotation(start, [0.0], 1.7)[0] == pytest.approx(start)
    assert textbook.damped_rotation(start, [0.0], 0.2, 1.7)[0] == pytest.approx(start)
    assert textbook.logistic(0.02, [0.0], 1.3, 2.0)[0] == pytest.approx(0.02)
