"""Critical points, escape times, limiting paths (cases 4, 5, 7, 8, 15, 17 and errors)."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import thetadot as td
from tests.saddles.networks import generic, nudged, squares, top_direction, whitened
from thetadot import saddles


@pytest.fixture(scope="module")
def limit():
    problem = squares()
    point = saddles.refine_point(saddles.neural_correlation(problem), top_direction())
    return saddles.limiting_path(problem, point)


def test_the_first_saddle_of_the_squares_is_known_in_closed_form(limit):
    a = 1.5 ** (1 / 3)
    exact = np.zeros(30)
    exact[24], exact[0] = a, np.sqrt(2) * a
    assert limit.status.name == "BOUNDED"
    point = limit.end
    assert point.kind.name == "STRICT_SADDLE"
    assert np.abs(point.theta - exact).max() < 1e-9
    assert point.loss == pytest.approx(0.8125, abs=1e-12)
    assert point.grad_norm < 1e-12
    assert (point.index.negative, point.index.zero, point.index.positive) == (2, 26, 2)
    assert point.index.eigenvalues[:2] == pytest.approx([-a, -a / 4], rel=1e-9)
    assert point.support.sum() == 1


def test_trajectories_approach_the_limiting_path_at_the_alignment_exponent(limit):
    found = saddles.path_deviation(squares(), limit, nudged(), [1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
    assert found.status.name == "FOLLOWS"
    assert found.predicted == pytest.approx(1 / 3, rel=1e-9)
    assert found.deviations[:3] == pytest.approx([9.86e-3, 4.58e-3, 2.12e-3], rel=2e-3)
    assert np.abs(found.slopes - 1 / 3).max() < 0.01


def test_the_limiting_path_starts_on_the_ray_of_its_clock(limit):
    clock = limit.path.ts[0]
    # r = (−λ(L−2)t)^{−1/(L−2)}, λ = √3/2
    assert np.linalg.norm(limit.at(clock)) == pytest.approx(-2 / (np.sqrt(3) * clock), rel=1e-6)
    assert np.linalg.norm(limit.at(2 * clock)) == pytest.approx(-1 / (np.sqrt(3) * clock), rel=1e-9)
    assert np.array_equal(limit.at(limit.path.ts[-1] + 1.0), limit.end.theta)


def _time_between(b: float, degree: int, first: float, last: float) -> float:
    """Of s′ = s^{L−1}(b − s^L), by quadrature in ln s."""
    return quad(
        lambda x: 1 / (np.exp(x * (degree - 2)) * (b - np.exp(degree * x))),
        np.log(first), np.log(last), epsrel=1e-12, epsabs=0, limit=200,
    )[0]  # fmt: skip


@pytest.mark.parametrize("degree", [pytest.param(2, marks=pytest.mark.slow), 3, 4])
def test_aligned_deep_linear_networks_escape_at_the_exact_time(degree):
    problem, b = whitened(degree)
    correlation = saddles.neural_correlation(problem)
    direction = saddles.correlation_points(correlation, starts=2)[0].direction
    scale, radius = 1e-3, 0.5
    root = np.sqrt(degree)
    exact = _time_between(b, degree, scale / root, radius / root)
    found = saddles.escape_time(problem, direction, scale, radius=radius, measure=degree == 2)
    assert found.predicted == pytest.approx(exact, rel=1e-7)
    if degree == 2:
        first, last = (scale**2 / 2, radius**2 / 2)
        closed = np.log(last * (b - first) / (first * (b - last))) / (2 * b)
        assert exact == pytest.approx(closed, rel=1e-10)
        assert found.measured == pytest.approx(closed, rel=1e-8)
        assert found.alignment < 1e-12
    else:
        value = b * degree ** (-degree / 2)
        assert found.clock * scale ** (degree - 2) == pytest.approx(
            1 / (degree * (degree - 2) * value), rel=1e-9
        )


@pytest.mark.slow
def test_the_measured_escape_of_degree_three_is_exact_too():
    problem, b = whitened(3)
    direction = saddles.correlation_points(saddles.neural_correlation(problem), starts=2)[0].direction
    found = saddles.escape_time(problem, direction, 1e-3, radius=0.5)
    exact = _time_between(b, 3, 1e-3 / np.sqrt(3), 0.5 / np.sqrt(3))
    assert found.measured == pytest.approx(exact, rel=1e-8)
    assert found.status.name == "ESCAPED"


def test_a_degenerate_saddle_has_index_zero_and_positive_residual_correlation():
    problem, start = generic()
    flow = saddles.correlation_flow(saddles.neural_correlation(problem), start)
    winner = np.flatnonzero([np.linalg.norm(flow.direction[g]) > 0.5 for g in saddles.neuron_groups(problem)])
    # From the winner's ray outwards by SciPy alone: an independent way to the first saddle.
    from scipy.optimize import minimize

    group = saddles.neuron_groups(problem)[int(winner[0])]

    def risk(part):
        theta = np.zeros(220)
        theta[group] = part
        value, gradient = problem.value_and_grad(jnp.asarray(theta))
        return float(value), np.asarray(gradient)[group]

    best = minimize(risk, 0.5 * flow.direction[group], jac=True, method="BFGS", options={"gtol": 1e-9})
    theta = np.zeros(220)
    theta[group] = best.x
    point = saddles.critical_point(problem, theta + 1e-6 * start)
    assert (point.index.negative, point.index.zero, point.index.positive) == (0, 210, 10)
    assert point.loss == pytest.approx(0.222067, abs=1e-6)
    assert point.residual_supremum == pytest.approx(0.0302021, abs=1e-6)
    assert point.kind.name == "DEGENERATE_SADDLE"
    assert point.support.sum() == 1
    assert point.grad_norm < 1e-12


def test_a_far_start_is_refused_and_a_bottomless_one_not_converged():
    cubic = td.FunctionRisk(lambda t: t[0] ** 4 / 4 - t[0], jnp.ones(1))
    assert saddles.critical_point(cubic, np.array([1.01])).kind.name == "MINIMUM"
    far = saddles.critical_point(cubic, np.array([1.5]))
    assert far.status.name == "MOVED_TOO_FAR"
    assert far.kind.name == "UNDETERMINED"
    slope = td.FunctionRisk(lambda t: t[0] + t[0] ** 3, jnp.ones(1))
    assert saddles.critical_point(slope, np.array([0.5])).status.name == "NOT_CONVERGED"


def test_lanczos_counts_the_same_signs_as_the_dense_spectrum():
    problem = squares()
    a = 1.5 ** (1 / 3)
    theta = np.zeros(30)
    theta[24], theta[0] = a, np.sqrt(2) * a
    dense = saddles.morse_index(problem, theta)
    sparse = saddles.morse_index(problem, theta, largest_dense=10)
    assert sparse.method == "lanczos"
    assert sparse.negative == dense.negative == 2
    assert sparse.eigenvalues[:2] == pytest.approx(dense.eigenvalues[:2], rel=1e-8)


def test_diagonal_walks_of_orthogonal_inputs_jump_at_the_inverse_correlations():
    found = saddles.diagonal_itinerary(np.sqrt(3) * np.eye(3), np.sqrt(3) * np.array([2.0, -1.0, 0.5]))
    assert found.times == pytest.approx([0, 0.5, 1.0, 2.0], abs=1e-14)
    assert np.allclose(found.coefficients[-1], [2, -1, 0.5])
    assert found.status.name == "FINISHED"
    problem = td.EmpiricalRisk(
        td.diagonal(3), td.squared, np.sqrt(3) * np.eye(3), np.sqrt(3) * np.array([2.0, -1.0, 0.5])
    )
    for number, row in enumerate(found.coefficients):
        u = np.sqrt(np.abs(row))
        assert saddles.morse_index(problem, np.r_[u, np.sign(row) * u]).negative == 3 - number


def test_equal_correlations_tie_and_jumps_can_be_limited():
    tie = saddles.diagonal_itinerary(np.sqrt(2) * np.eye(2), np.sqrt(2) * np.ones(2))
    assert tie.status.name == "TIE"
    short = saddles.diagonal_itinerary(np.sqrt(2) * np.eye(2), np.sqrt(2) * np.array([2.0, 1.0]), max_jumps=1)
    assert short.status.name == "MAX_JUMPS"
    assert len(short.times) == 2


def test_walks_on_separable_logistic_data_are_unbounded():
    problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.logistic, np.ones((1, 1)), np.ones(1))
    walk = saddles.saddle_itinerary(problem, np.ones(2), 1e-3, mode="predict")
    assert walk.status.name == "UNBOUNDED"
    assert len(walk.visits) == 1


@pytest.mark.slow
def test_separable_logistic_data_leave_no_first_saddle():
    problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.logistic, np.ones((1, 1)), np.ones(1))
    point = saddles.correlation_points(saddles.neural_correlation(problem), starts=2)[0]
    found = saddles.limiting_path(problem, point, until=td.Until(time=3000.0), accuracy=1e-7)
    assert found.status.name == "UNBOUNDED"
    assert found.end is None
