"""Lyapunov exponents of maps against exact values, and what must not change them."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, NET, THETA, hessian
from tests.stability.textbook import (
    CAT,
    CURVATURES,
    HENON,
    HENON_FIXED,
    HYPERBOLA,
    LORENZ_FLOW,
    LORENZ_MAP,
    cubic,
    quadratic,
)
from thetadot.stability import (
    DivergedError,
    InvariantSubspaceWarning,
    KinkWarning,
    NotAFixedPointError,
    SizeError,
    SpectrumStatus,
    StabilityError,
    fixed_point_exponents,
    fixed_points,
    lyapunov,
)
from thetadot.stability.averages import kaplan_yorke

RATE = 0.8
TRUTH = np.sort(np.log(np.abs(1 - RATE * CURVATURES)))[::-1]
QUADRATIC = td.training_map(quadratic(), td.GradientDescent(RATE))
START = np.full(5, 1e-3)


def test_exponents_of_descent_on_a_quadratic_are_logarithms_of_its_multipliers():
    found = lyapunov(QUADRATIC, START, 400, transient=400)
    np.testing.assert_allclose(found.ordered, TRUTH, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TRUTH, [0.336472, 0, -0.083382, -1.272966, -1.609438], rtol=0, atol=1e-6)
    np.testing.assert_allclose(fixed_point_exponents(QUADRATIC, np.zeros(5)), TRUTH, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.per_time, found.exponents / RATE, rtol=1e-15)
    assert found.status is SpectrumStatus.CONVERGED
    assert found.groups == ((0,), (1,), (2,), (3,), (4,))


def test_momentum_zero_adds_as_many_superstable_exponents():
    ball = td.training_map(quadratic(), td.HeavyBall(RATE, 0.0))
    found = lyapunov(ball, ball.start(START), 60, transient=300)
    np.testing.assert_allclose(found.ordered[:5], TRUTH, rtol=0, atol=1e-12)
    assert np.isneginf(found.ordered[5:]).all()
    assert found.status is SpectrumStatus.SUPERSTABLE
    assert found.groups[-1] == (5, 6, 7, 8, 9)
    assert not np.isnan(found.standard_error).any()


@pytest.mark.parametrize(
    ("rate", "truth"),
    [
        (0.9, np.log(0.8)),
        (1.1, 0.5 * np.log(9 - 2 * 2.1**2)),
        (1.2, 0.5 * np.log(abs(9 - 2 * 2.2**2))),
        (1.7, -0.4351061),
        (2.0, np.log(3)),
    ],
)
def test_the_cubic_map_has_its_exact_exponents(rate, truth):
    found = lyapunov(cubic(rate), np.array([0.3]), 1_000_000, transient=30_000)
    assert abs(found.exponents[0] - truth) < 1e-5


def test_an_orbit_that_escapes_is_diverged_with_the_step_and_keeps_what_came_before():
    found = lyapunov(cubic(2.01), np.array([0.3]), 10_000)
    assert found.status is SpectrumStatus.DIVERGED
    x, n = np.float64(0.3), 0
    with np.errstate(over="ignore", invalid="ignore"):
        while np.isfinite(x):
            x, n = x - 2.01 * (x**3 - x), n + 1
    assert found.first_bad == n
    assert np.isfinite(found.exponents).all()
    assert found.steps == n - 1
    with pytest.raises(DivergedError, match=f"step {n}"):
        lyapunov(cubic(2.01), np.array([0.3]), 10_000, throw=True)
    with pytest.raises(StabilityError, match="diverged"):
        lyapunov(cubic(2.01), np.array([0.3]), 10, resume=found)


def test_a_superstable_step_gives_minus_infinity_with_a_status_and_no_nan():
    found = lyapunov(cubic(0.5), np.array([0.3]), 200)
    assert np.isneginf(found.exponents).all()
    assert found.status is SpectrumStatus.SUPERSTABLE
    for name in ("exponents", "log_growth", "history", "standard_error", "ordered", "state", "basis"):
        assert not np.isnan(getattr(found, name)).any(), name


def test_a_turned_quadratic_whose_step_reaches_the_minimum_is_superstable():
    found = lyapunov(td.training_map(quadratic(), td.GradientDescent(1 / 3.0)), START, 50, transient=900)
    assert np.isneginf(found.ordered[-1])
    np.testing.assert_allclose(found.ordered[0], 0, rtol=0, atol=1e-12)
    assert found.status is SpectrumStatus.SUPERSTABLE


def test_a_graded_map_that_is_not_singular_is_unresolved_instead():
    graded = td.StepMap(lambda s, n, aux: jnp.array([1.0, 1e-30]) * s)
    found = lyapunov(graded, np.zeros(2), 30, basis=np.eye(2))
    assert found.status is SpectrumStatus.UNRESOLVED
    np.testing.assert_allclose(found.ordered[0], 0, rtol=0, atol=1e-15)


def test_the_hyperbola_has_the_exponents_of_its_symmetric_line():
    system = td.training_map(HYPERBOLA, td.GradientDescent(2.0))
    found = lyapunov(system, np.array([0.3, 0.3]), 300_000)
    np.testing.assert_allclose(found.ordered, [np.log(3), 0], rtol=0, atol=1e-5)


def test_an_orbit_held_on_a_repelling_manifold_by_rounding_is_warned_of():
    repelling = td.StepMap(lambda s, n, aux: 0.99 * jnp.mean(s) + 0.5 + 2.0 * (s - jnp.mean(s)))
    with pytest.warns(InvariantSubspaceWarning, match="stay equal"):
        lyapunov(repelling, np.array([0.3, 0.3]), 100)


def test_the_minimum_of_the_hyperbola_is_neutral_along_the_valley():
    a = 1.3
    h = a**2 + a**-2
    point = np.array([a, 1 / a])
    system = td.training_map(HYPERBOLA, td.GradientDescent(0.2))
    expected = np.array([0.0, np.log(abs(1 - 0.2 * h))])
    np.testing.assert_allclose(fixed_point_exponents(system, point), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        lyapunov(system, point, 200, transient=100).ordered, expected, rtol=0, atol=1e-8
    )
    flow = td.training_flow(HYPERBOLA)
    np.testing.assert_allclose(fixed_point_exponents(flow, point), [0, -h], rtol=0, atol=1e-12)


def test_descent_tends_to_the_flow_in_proportion_to_its_learning_rate():
    flow = fixed_point_exponents(td.training_flow(quadratic()), np.zeros(5))
    np.testing.assert_allclose(np.sort(flow)[::-1], np.sort(-CURVATURES)[::-1], rtol=0, atol=1e-12)
    rates = 2.0 ** -np.arange(6, 11)
    away = []
    for rate in rates:
        found = lyapunov(
            td.training_map(quadratic(), td.GradientDescent(rate)), np.zeros(5), 4000, transient=40_000
        )
        away.append(np.abs(np.sort(found.per_time)[::-1] - flow).max())
    slope = np.polyfit(np.log(rates), np.log(away), 1)[0]
    assert abs(slope - 1) < 0.05


def test_henon_has_its_exponents_and_contracts_areas_by_its_determinant():
    found = lyapunov(HENON, np.array([0.1, 0.1]), 1_000_000, transient=1000)
    assert abs(found.ordered[0] - 0.41930) < 4e-4
    assert abs(found.exponents.sum() - np.log(0.3)) < 1e-12
    assert abs(found.kaplan_yorke - (1 + found.ordered[0] / abs(found.ordered[1]))) < 1e-12
    np.testing.assert_allclose(fixed_point_exponents(HENON, HENON_FIXED), [0.654270, -1.858244], atol=1e-6)


def test_the_cat_map_has_golden_exponents():
    found = lyapunov(CAT, np.zeros(2), 100, transient=40)
    golden = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(found.ordered, [golden, -golden], rtol=0, atol=1e-12)


def test_lorenz_as_a_runge_kutta_map_contracts_a_little_less_than_the_flow():
    found = lyapunov(LORENZ_MAP, np.array([1.0, 1.0, 20.0]), 100_000, transient=5000)
    assert abs(found.exponents.sum() / 0.01 + 41 / 3 - 1.0e-4) < 2e-5
    assert abs(found.ordered[0] / 0.01 - 0.9056) < 4 * found.standard_error[0] / 0.01


def test_per_sample_descent_has_the_multipliers_of_a_whole_pass():
    rng = np.random.default_rng(0)  # its pass has real multipliers, half a unit apart
    x, y, rate = rng.normal(size=(7, 4)), rng.normal(size=(7, 1)), 0.15
    problem = td.EmpiricalRisk(td.linear([4, 1]), td.squared, x, y)
    system = td.training_map(problem, td.PerSample(rate))
    found = lyapunov(system, np.zeros(4), 7 * 1000, transient=7 * 100)
    product = np.eye(4)
    for row in x:
        product = (np.eye(4) - rate * np.outer(row, row)) @ product
    truth = np.sort(np.log(np.abs(np.linalg.eigvals(product))))[::-1]
    np.testing.assert_allclose(7 * found.ordered, truth, rtol=0, atol=1e-5)
    assert abs(7 * found.exponents.sum() - np.linalg.slogdet(product)[1]) < 1e-11
    assert abs(7 * found.exponents.sum() - truth.sum()) < 1e-11


def test_growth_of_a_full_frame_is_the_determinant_at_every_step():
    found = lyapunov(DESCENT, THETA, 40, every=1)
    theta = np.asarray(THETA)
    for n in range(40):
        truth = np.linalg.slogdet(np.eye(31) - 0.1 * hessian(theta))[1]
        assert abs(found.log_growth[n].sum() - truth) < 1e-12
        theta = np.asarray(DESCENT(theta, n))
    assert found.sum_rule_defect is not None
    assert found.sum_rule_defect < 1e-11


def test_a_resumed_spectrum_is_the_uninterrupted_one_to_the_bit():
    for every in (7, "auto"):
        whole = lyapunov(DESCENT, THETA, 1000, every=every, count=6)
        part = lyapunov(DESCENT, THETA, 300, every=every, count=6)
        both = lyapunov(DESCENT, THETA, 700, resume=part)
        for name in (
            "exponents",
            "log_growth",
            "state",
            "basis",
            "history",
            "standard_error",
            "block_lengths",
        ):
            assert getattr(both, name).tobytes() == getattr(whole, name).tobytes(), name
        assert both.steps == 1000
        assert both.status is whole.status


def test_the_length_of_blocks_does_not_matter():
    one = lyapunov(DESCENT, THETA, 300, every=1, count=31)
    for every in (5, 10, "auto"):
        other = lyapunov(DESCENT, THETA, 300, every=every, count=31)
        np.testing.assert_allclose(other.exponents, one.exponents, rtol=0, atol=1e-10)


def test_blocks_that_would_lose_trailing_exponents_are_redone():
    steep = td.StepMap(lambda s, n, aux: jnp.array([[1.0, 1.0], [0.0, 1e-3]]) @ s)
    found = lyapunov(steep, np.zeros(2), 64, every=16, transient=16)
    np.testing.assert_allclose(found.ordered, [0.0, np.log(1e-3)], rtol=0, atol=1e-12)
    assert found.stats["redone_blocks"] == 5


@pytest.mark.slow
@hypothesis.given(st.integers(0, 2**31), st.sampled_from([0.5, 2.0, 4.0]))
@hypothesis.settings(max_examples=5)
def test_what_is_the_same_training_has_the_same_exponents(seed, scale):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=31)
    basis = np.linalg.qr(rng.normal(size=(31, 4)))[0]

    def exponents(problem, rate, start=theta, frame=basis):
        return lyapunov(
            td.training_map(problem, td.GradientDescent(rate)), start, 20, every=5, basis=frame
        ).exponents

    base = exponents(NET, 0.1)
    scaled = td.EmpiricalRisk(NET.network, SCALED[scale], NET.x, NET.y)
    np.testing.assert_allclose(exponents(scaled, 0.1 / scale), base, rtol=0, atol=1e-10)
    twice = td.EmpiricalRisk(NET.network, td.squared, np.tile(NET.x, (2, 1)), np.tile(NET.y, (2, 1)))
    np.testing.assert_allclose(exponents(twice, 0.1), base, rtol=0, atol=1e-10)
    order = rng.permutation(10)
    moved = np.concatenate([order, 10 + order, 20 + order, [30]])
    np.testing.assert_allclose(exponents(NET, 0.1, theta[moved], basis[moved]), base, rtol=0, atol=1e-10)


SCALED = {
    scale: (lambda factor: lambda prediction, label: factor * 0.5 * jnp.sum((prediction - label) ** 2))(scale)
    for scale in (0.5, 2.0, 4.0)
}


def test_two_steps_at_once_have_twice_the_exponents():
    double = td.StepMap(lambda s, n, aux: HENON.step(HENON.step(s, n, None), n, None))
    one = lyapunov(HENON, np.array([0.1, 0.1]), 20, basis=np.eye(2))
    two = lyapunov(double, np.array([0.1, 0.1]), 10, basis=np.eye(2))
    np.testing.assert_allclose(two.exponents, 2 * one.exponents, rtol=0, atol=1e-10)


def test_dimension_and_entropy_follow_from_the_exponents():
    assert kaplan_yorke([0.9056, 0.0, -14.5723], complete=True) == pytest.approx(2 + 0.9056 / 14.5723)
    assert kaplan_yorke([-0.1, -0.2], complete=True) == 0.0
    assert np.isnan(kaplan_yorke([0.5, 0.1], complete=False))
    assert kaplan_yorke([0.5, 0.1], complete=True) == 2.0
    assert kaplan_yorke([0.5, -np.inf], complete=True) == 1.0


def test_options_that_do_not_fit_are_refused():
    for options, words in [
        ({"count": 3}, "between 1 and the 2"),
        ({"duration": 0}, "duration = 0"),
        ({"duration": 2.5}, "whole steps"),
        ({"every": 200}, "longer than the duration"),
        ({"basis": np.ones((2, 2))}, "orthonormal"),
        ({"basis": np.eye(2), "count": 1}, "leave count out"),
        ({"method": "joint"}, "for flows"),
        ({"transient": -1}, "transient"),
    ]:
        settings = {"duration": 100} | options
        with pytest.raises(StabilityError, match=words):
            lyapunov(HENON, np.array([0.1, 0.1]), settings.pop("duration"), **settings)
    with pytest.raises(StabilityError, match="symmetric Jacobian"):
        lyapunov(LORENZ_FLOW, np.ones(3), 1.0, method="exponential")
    with pytest.raises(StabilityError, match="expected one of"):
        lyapunov(LORENZ_FLOW, np.ones(3), 1.0, method="magic")
    with pytest.raises(NotAFixedPointError, match=r"moves by 8\.02e-01"):
        fixed_point_exponents(CAT, np.array([1.0, 0.3]))
    with pytest.raises(SizeError, match="count="):
        fixed_point_exponents(td.StepMap(lambda s, n, aux: 0.5 * s), np.zeros(3000))
    with pytest.raises(StabilityError, match="step's number"):
        fixed_point_exponents(cubic(0.5), np.array([1.0]))


def test_large_fixed_points_have_their_leading_exponents_matrix_free(monkeypatch):
    monkeypatch.setattr(fixed_points, "LARGEST_MATRIX", 100)
    rates = np.linspace(0.1, 3.0, 250)
    problem = td.FunctionRisk(jax.tree_util.Partial(_diagonal, jnp.asarray(rates)), jnp.zeros(250))
    flow = fixed_point_exponents(td.training_flow(problem), np.zeros(250), count=3)
    np.testing.assert_allclose(flow, -rates[:3], rtol=0, atol=1e-9)
    descent = td.training_map(problem, td.GradientDescent(0.8))
    found = fixed_point_exponents(descent, np.zeros(250), count=2)
    np.testing.assert_allclose(found, np.log(0.8 * rates[:-3:-1] - 1), rtol=0, atol=1e-9)


def _diagonal(rates, theta):
    return 0.5 * jnp.sum(rates * theta**2)


def test_kinks_are_warned_of_with_the_sides_that_changed():
    relu = td.EmpiricalRisk(td.mlp([1, 3, 1], "relu"), td.squared, NET.x, NET.y)
    system = td.training_map(relu, td.GradientDescent(0.1))
    start = relu.init(jax.random.key(0))
    with pytest.warns(KinkWarning) as caught:
        found = lyapunov(system, start, 50, count=1)
    sides = [np.asarray(NET.x) * theta[:3] + theta[3:6] > 0 for theta in (np.asarray(start), found.state)]
    changed = np.sum(sides[0] != sides[1])
    assert changed > 0
    assert f"{changed} of 60 pairs" in str(caught[0].message)


def test_a_spectrum_is_labelled_and_says_its_window():
    found = lyapunov(HENON, np.array([0.1, 0.1]), 1000)
    data = found.to_xarray()
    assert dict(data.sizes) == {
        "exponent": 2,
        "block": len(found.log_growth),
        "length": len(found.history),
        "parameter": 2,
    }
    assert data.attrs["status"] == found.status.name
    assert data.exponent_value.attrs["units"] == "1/step"
    for words in ("per step", "1,000 steps", found.status.name, "orthonormalisations"):
        assert words in repr(found)
