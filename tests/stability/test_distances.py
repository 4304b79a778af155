"""Finite distances between runs, and exponents fitted to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, NET, THETA
from tests.stability.textbook import CURVATURES, LORENZ_FLOW, TURN, quadratic
from thetadot.stability import (
    OrbitalStatus,
    StabilityError,
    drift,
    growth_rate,
    network_exponent,
    orbital_stability,
)

ROWS = np.arange(201.0)
RATE = 0.6


@pytest.mark.parametrize("norm", [1, 2, "max"])
def test_twins_on_a_quadratic_part_as_their_multipliers_say(norm):
    system = td.training_map(quadratic(), td.GradientDescent(RATE))
    nudges = 1e-3 * np.random.default_rng(1).normal(size=(3, 5))
    found = orbital_stability(system, np.ones(5), duration=40, perturbations=nudges, norm=norm, every=4)
    order = {1: 1, 2: 2, "max": np.inf}[norm]
    truth = np.array(
        [
            [
                np.linalg.norm(TURN @ ((1 - RATE * CURVATURES) ** n * (TURN.T @ nudge)), order)
                for n in range(0, 41, 4)
            ]
            for nudge in nudges
        ]
    )
    np.testing.assert_allclose(found.distances, truth, rtol=1e-9)
    assert found.control.max() <= 1e-13
    assert found.status is OrbitalStatus.OK
    assert found.at.tolist() == list(range(0, 41, 4))


def test_the_slope_of_distances_is_the_leading_exponent():
    system = td.training_map(quadratic(), td.GradientDescent(0.8))
    found = orbital_stability(system, np.zeros(5), duration=100, amplitude=1e-6)
    fitted = growth_rate(found.mean_distance, starts=[40], lengths=[60], rule="fixed")
    assert abs(fitted.slope - np.log(1.4)) < 1e-6
    assert fitted.kept


def test_the_distance_at_the_start_is_measured():
    found = orbital_stability(DESCENT, THETA, duration=3, amplitude=1e-8, members=200, parts=("weight",))
    assert abs(found.initial_distance / (20 * 0.5e-8) - 1) < 0.05
    away = orbital_stability(DESCENT, THETA, duration=3, amplitude=1e-6, kind="sphere", norm=2)
    np.testing.assert_allclose(away.distances[:, 0], 1e-6, rtol=1e-8)
    assert away.losses is not None
    assert abs(away.losses[0] - float(NET.loss(THETA))) < 1e-15


def test_distances_close_to_rounding_and_runs_that_are_lost_are_told():
    close = orbital_stability(DESCENT, THETA, duration=3, amplitude=1e-15)
    assert close.status is OrbitalStatus.NEAR_ROUNDING
    burst = td.StepMap(lambda s, n, aux: s**3)
    lost = orbital_stability(burst, np.full(2, 3.0), duration=20)
    assert lost.status is OrbitalStatus.DIVERGED
    assert lost.first_bad == 6  # 3^(3^6) is about 1e347
    assert lost.saturation is not None or not np.isfinite(lost.mean_distance[-1])


def test_members_see_the_same_samples_so_that_stable_descent_never_parts_them():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(12, 4))
    problem = td.EmpiricalRisk(td.linear([4, 1]), td.squared, x, rng.normal(size=(12, 1)))
    rate = 1.9 / np.max(np.sum(x**2, axis=1))
    rule = td.PerSample(rate, order="random", key=jax.random.key(3))
    system = td.training_map(problem, rule)
    found = orbital_stability(system, np.ones(4), duration=300, amplitude=1e-3, norm=2, members=4)
    steps = np.diff(found.distances, axis=1)
    assert steps.max() <= 1e-14
    again = orbital_stability(system, np.ones(4), duration=300, amplitude=1e-3, norm=2, members=4)
    assert again.distances.tobytes() == found.distances.tobytes()


def test_twins_of_a_flow_are_followed_in_time():
    found = orbital_stability(
        LORENZ_FLOW, np.array([1.0, 1.0, 20.0]), duration=4.0, amplitude=1e-6, members=2, every=0.5
    )
    assert found.unit == "time"
    assert found.distances.shape == (2, 9)
    assert np.all(found.mean_distance > 10 * found.control)


def test_the_window_rule_gives_the_numbers_of_the_spec():
    saturating = 1e-8 * np.exp(0.3 * ROWS) / (1 + 1e-8 * (np.exp(0.3 * ROWS) - 1))
    found = growth_rate(saturating)
    assert abs(found.slope - 0.299999) < 1e-6
    assert (found.start, found.length, found.kept) == (0, 30, True)
    linear = growth_rate(1 + ROWS)
    assert abs(linear.slope - 0.008687) < 1e-6
    assert not linear.kept
    assert abs(linear.endpoint_rate - np.log(101) / 100) < 1e-15
    power = growth_rate((1 + ROWS) ** 8)
    assert abs(power.slope - 0.069499) < 1e-6
    assert (power.start, power.length, power.kept) == (100, 30, True)
    assert power.power_law_preferred
    assert abs(power.r_squared - 0.9989) < 1e-4


def test_other_rules_take_their_windows():
    saturating = 1e-8 * np.exp(0.3 * ROWS) / (1 + 1e-8 * (np.exp(0.3 * ROWS) - 1))
    assert growth_rate(saturating, rule="anchored").start == 0
    fixed = growth_rate(saturating, rule="fixed", starts=[5], lengths=[20])
    assert (fixed.start, fixed.length) == (5, 20)
    printed = growth_rate(saturating, rule="saturation", saturation=40)
    assert abs(printed.slope - np.log(saturating[40] / saturating[0]) / 40) < 1e-15
    scaled = growth_rate(np.exp(0.2 * ROWS), times=0.5 * ROWS)
    assert abs(scaled.slope - 0.4) < 1e-12
    for distances, options, words in [
        (ROWS[:2], {}, "at least 3"),
        (1 + ROWS, {"rule": "best"}, "expected one of"),
        (1 + ROWS[:20], {}, "no window"),
        (1 + ROWS, {"times": ROWS[:5]}, "equal"),
        (1 + ROWS, {"rule": "saturation", "saturation": 500}, "between 1 and 200"),
    ]:
        with pytest.raises(StabilityError, match=words):
            growth_rate(distances, **options)


def test_a_network_exponent_shows_selected_and_unselected_rates():
    rates = np.array([0.02, 0.12, 0.2])
    system = td.StepMap(lambda s, n, aux: jnp.concatenate([s[:1], s[1:] * jnp.exp(s[0])]))
    states = np.concatenate([rates[:, None], np.ones((3, 3))], axis=1)
    found = network_exponent(system, states, duration=120, parts=None, amplitude=1e-10, members=3)
    assert found.kept.tolist() == [False, True, True]
    assert found.kept_fraction == pytest.approx(2 / 3)
    np.testing.assert_allclose(found.tangent_rates, rates, rtol=0, atol=0.12)
    assert found.mean > found.endpoint_mean > 0
    for words in ("selected", "unselected", "tangent"):
        assert words in repr(found)
    assert found.to_xarray().sizes["member"] == 3
    with pytest.raises(StabilityError, match=r"\(R, d\)"):
        network_exponent(system, states[0])


def test_a_straight_run_is_directed_and_a_random_walk_is_not():
    straight = drift(np.arange(100.0)[:, None] * np.ones(3) + 1)
    assert straight.directness == pytest.approx(1)
    assert straight.r_squared_linear == pytest.approx(1)
    walk = drift(100 + np.cumsum(np.random.default_rng(0).normal(size=(4000, 50)), axis=0))
    assert walk.r_squared_root > 0.95 > walk.r_squared_linear
    assert walk.directness < 0.1
    with pytest.raises(StabilityError, match="at least 3"):
        drift(np.ones((2, 3)))


def test_options_that_do_not_fit_are_refused():
    for options, words in [
        ({"norm": 3}, "norm"),
        ({"kind": "gauss"}, "uniform"),
        ({"amplitude": 0.0}, "positive"),
        ({"parts": ("wheels",)}, "weight"),
        ({"duration": 0}, "duration"),
        ({"every": 0.5}, "whole steps"),
        ({"perturbations": np.ones((2, 3))}, "expected"),
    ]:
        with pytest.raises(StabilityError, match=words):
            orbital_stability(DESCENT, THETA, **({"duration": 5} | options))
    assert orbital_stability(DESCENT, THETA, duration=5).to_xarray().sizes == {"member": 5, "step": 6}
