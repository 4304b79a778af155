"""What the report computes: the plane, the distance, plateaus, bounds, and the sentences."""

import numpy as np
import pytest

from tests.report.runs import descent, flow
from thetadot.dynamics import Outcome
from thetadot.report import readings, space_readings
from thetadot.report.distance import distance_from_flow
from thetadot.report.log_ticks import log_ticks
from thetadot.report.neurons import neurons_holding
from thetadot.report.plane import principal_plane
from thetadot.report.plateaus import plateaus
from thetadot.report.series import as_series
from thetadot.report.stability_bound import stability_bound


def along(ts, thetas, **changes):
    """A path with given times and weights."""
    path = {"ts": ts, "thetas": thetas, "losses": np.exp(-ts), "grad_norms": np.exp(-ts), "layout": None}
    path |= {"steps": np.arange(len(ts)), "observed": {}, "events": ()}
    return flow(**path | changes)


def test_the_principal_plane_is_that_of_a_singular_value_decomposition():
    paths = [flow(0), flow(1)]
    plane = principal_plane(paths)
    rows = np.concatenate([path.thetas for path in paths])
    _, values, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    assert np.allclose(np.abs(plane.directions @ directions[:2].T), np.eye(2), atol=1e-9)
    assert np.allclose(plane.shares, values[:2] ** 2 / np.sum(values**2), rtol=1e-10)
    assert np.allclose(plane.project(rows), (rows - rows.mean(axis=0)) @ plane.directions.T)
    assert np.all(plane.directions[np.arange(2), np.abs(plane.directions).argmax(axis=1)] > 0)


def test_paths_on_a_straight_line_have_a_plane_with_one_direction():
    ts = np.linspace(0, 1, 20)
    plane = principal_plane([along(ts, np.outer(ts, [3.0, 0.0, 4.0]))])
    assert np.allclose(plane.directions[0], [0.6, 0, 0.8])
    assert np.allclose(plane.directions @ plane.directions.T, np.eye(2))
    assert np.allclose(plane.shares, [1, 0])


def test_a_path_that_diverged_does_not_turn_the_plane():
    wild = flow(1, thetas=1e90 * flow(1).thetas, outcome=Outcome.DIVERGED)
    assert np.allclose(principal_plane([flow(0), wild]).directions, principal_plane([flow(0)]).directions)


def test_the_distance_of_descent_from_flow_is_that_of_the_exact_solutions():
    """L = ½θᵀAθ: the flow is e^(−At)θ0, gradient descent (1 − ηA)^n θ0."""
    rates, start, eta = np.array([1.0, 0.3, 0.05]), np.array([1.0, -2.0, 0.5]), 0.1
    ts = np.concatenate([[0.0], np.geomspace(1e-3, 20, 199)])
    exact = along(ts, start * np.exp(-np.outer(ts, rates)))
    steps = np.unique(np.geomspace(1, 200, 50).astype(int))
    moved = along(eta * steps, start * (1 - eta * rates) ** steps[:, None], info={"kind": "descent"})
    found = distance_from_flow(moved, exact)
    truth = start * np.exp(-np.outer(eta * steps, rates))
    expected = np.linalg.norm(moved.thetas - truth, axis=1) / np.linalg.norm(truth, axis=1)
    inside = eta * steps <= 20
    assert np.array_equal(found.ts, moved.ts[inside])
    assert np.all(np.abs(found.relative - expected[inside]) <= found.interpolation)
    assert found.interpolation < 1e-3 * expected.max()


def test_what_interpolation_costs_is_not_understated():
    """A flow that is saved too rarely: the distance of the flow from itself is below the stated bound."""
    ts = np.concatenate([[0.0], np.geomspace(0.01, 30, 12)])
    fine = np.geomspace(0.012, 29, 300)

    def exact(t):
        return np.stack([np.exp(-t), 1 / (1 + np.exp(5 - 2 * t)), 0 * t + 1], axis=1)

    found = distance_from_flow(along(fine, exact(fine)), along(ts, exact(ts)))
    assert 0 < found.relative.max() <= found.interpolation


def test_paths_without_common_time_have_no_distance():
    assert (
        distance_from_flow(along(np.array([50.0]), np.ones((1, 2))), along(np.arange(9.0), np.ones((9, 2))))
        is None
    )


def saddle_to_saddle():
    """Two sigmoid falls of the loss, from 3 to 2 at t = 1 and from 2 to 0 at t = 100, with the gradient norm
    that fits: ‖∇L‖² = −dL/dt."""
    t = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 400)])

    def fall(size, when):
        part = 1 / (1 + (t / when) ** 4)
        return size * part, size * part**2 * 4 * t**3 / when**4

    (first, rate), (second, other) = fall(1.0, 1.0), fall(2.0, 100.0)
    return t, first + second, np.sqrt(rate + other + 1e-30)


def test_the_plateau_between_two_falls_is_found_where_it_is():
    t, losses, norms = saddle_to_saddle()
    found = plateaus(along(t, np.ones((t.size, 2)), losses=losses, grad_norms=norms))
    between = [plateau for plateau in found if plateau.start > 0.5]
    assert len(between) == 1
    plateau = between[0]
    assert abs(plateau.level - 2) < 0.05
    assert np.all(np.abs(losses[plateau.first : plateau.last + 1] - plateau.level) <= 0.05 * plateau.level)
    assert 1.2 < plateau.start < 3
    assert 30 < plateau.stop < 80
    assert plateau.start < plateau.slowest < plateau.stop


def test_descents_and_plain_convergence_have_no_plateau():
    t, losses, norms = saddle_to_saddle()
    moved = along(t, np.ones((t.size, 2)), losses=losses, grad_norms=norms, info={"kind": "descent"})
    assert plateaus(moved) == ()
    assert plateaus(along(t, np.ones((t.size, 2)))) == ()


def momentum_step(rate, momentum, h, looks_ahead):
    """One step (θ, v) of a rule with momentum on ½hθ², as a matrix."""
    at_theta, at_velocity = rate * h, momentum - rate * h * momentum * looks_ahead
    return [[1 - at_theta, at_velocity], [-at_theta, at_velocity]]


RULES = {
    "gradient descent, learning rate 0.25": lambda h: [[1 - 0.25 * h]],
    "heavy ball, learning rate 0.1, momentum 0.7": lambda h: momentum_step(0.1, 0.7, h, False),
    "Nesterov, learning rate 0.1, momentum 0.6": lambda h: momentum_step(0.1, 0.6, h, True),
}


@pytest.mark.parametrize("method", RULES)
def test_the_bound_is_where_the_rule_becomes_unstable_on_a_quadratic(method):
    """The spectral radius of one step on ½hθ², written out by hand, crosses 1 at the bound."""
    bound, words = stability_bound(descent(0.5, 3, info={"kind": "descent", "method": method}))
    radius = [np.abs(np.linalg.eigvals(RULES[method](share * bound))).max() for share in (0.999, 1.001)]
    assert radius[0] < 1 < radius[1]
    assert "η" in words


def test_flows_schedules_and_other_rules_have_no_bound():
    assert stability_bound(flow()) is None
    for method in ("gradient descent, learning rate scheduled (decay)", "Optax adam, learning rate 0.1"):
        assert stability_bound(descent(0.5, 3, info={"kind": "descent", "method": method})) is None


@pytest.mark.parametrize(
    ("late", "where"),
    [(2 / 0.5, "at the edge of stability"), (1.0, "below its bound"), (9.0, "above its bound")],
)
def test_the_sentence_on_sharpness_tells_the_side_of_the_bound(late, where):
    path = descent(0.5, 100)
    path = descent(0.5, 100, observed={"sharpness": np.linspace(0.5, late, 8).repeat(30)[-len(path.ts) :]})
    sentence = readings.sharpness_reading(as_series([flow(), path]))
    assert where in sentence
    assert "2/η = 4" in sentence


def test_the_sentence_on_the_gradient_measures_the_late_power_of_time():
    t = np.geomspace(1e-2, 1e4, 200)
    path = along(t, np.ones((200, 2)), grad_norms=3 * t**-1.5, losses=1 / t)
    assert np.isclose(readings.last_slope(path), -1.5)
    assert "to the power −1.5" in readings.gradient_reading(as_series(path))
    assert "by 9 powers of ten" in readings.gradient_reading(as_series(path))


def test_half_of_the_fall_is_done_where_the_loss_passes_the_middle():
    t = np.linspace(0, 10, 1001)
    path = along(t, np.ones((1001, 2)), losses=1 + np.exp(-t))
    assert np.isclose(readings.half_time(path), np.log(2), atol=0.011)


def test_the_sentence_on_distance_tells_when_one_per_cent_is_passed():
    t = np.linspace(0, 10, 101)
    still = along(t, np.ones((101, 2)))
    drifting = along(
        t[1:], np.ones((100, 2)) + 0.002 * t[1:, None], info={"kind": "descent", "method": "drift"}
    )
    found = distance_from_flow(drifting, still)
    sentence = readings.distance_reading([(as_series(drifting)[0], found)])
    assert "at most 2 % of ‖θ‖" in sentence
    last = t[1:][found.relative <= 0.01][-1]
    assert f"within 1 % until t = {last:g}" in sentence


def test_members_that_end_together_are_counted_as_one_place():
    t = np.linspace(0, 1, 5)
    ends = [np.array([1.0, 0.0]), np.array([1.0, 1e-5]), np.array([-1.0, 0.0])]
    series = as_series([along(t, np.outer(t, end)) for end in ends])
    plane = principal_plane([item.path for item in series])
    assert "The 3 members of gradient flow end in 2 different places" in space_readings.plane_reading(
        series, plane
    )


def test_neurons_that_hold_half_are_counted_from_the_largest():
    assert neurons_holding(np.array([1.0, 5.0, 1.0, 1.0])) == 1
    assert neurons_holding(np.ones(8)) == 4
    assert neurons_holding(np.zeros(3)) == 0


@pytest.mark.parametrize(
    ("low", "high"), [(1e-9, 2.0), (0.04, 3.0), (0.9, 1.4), (3e-7, 4e-7), (1e-300, 1e300)]
)
def test_ticks_lie_on_the_axis_in_order_and_are_neither_too_few_nor_too_many(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
    assert list(ticks) == sorted(ticks)
    assert len(set(ticks.values())) == len(ticks)
