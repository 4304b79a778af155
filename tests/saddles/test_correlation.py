"""The correlation function, its points and its flow (cases 3, 6, 16, 18, 20, 23)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.saddles.networks import generic, nudged, squares, top_direction, whitened
from thetadot import saddles


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_deep_linear_networks_have_an_orbit_of_points_of_known_value(degree):
    problem, b = whitened(degree)
    correlation = saddles.neural_correlation(problem)
    assert correlation.degree == degree
    top = saddles.correlation_points(correlation, starts=3)[0]
    assert top.value == pytest.approx(b * degree ** (-degree / 2), rel=1e-12)
    assert top.second_order.null_dimension == 3 * (degree - 1)
    assert top.second_order.symmetry_dimension == 3 * (degree - 1)
    assert top.second_order.status.name == "DEGENERATE_SYMMETRIC"


def test_the_top_point_of_the_squares_is_known_in_closed_form():
    correlation = saddles.neural_correlation(squares())
    top = saddles.correlation_points(correlation, starts=12)[0]
    assert top.value == pytest.approx(3 / (6 * np.sqrt(3)), rel=1e-12)
    assert top.multiplier == pytest.approx(np.sqrt(3) / 2, rel=1e-12)
    assert top.second_order.alignment_exponent == pytest.approx(1 / 3, rel=1e-10)
    assert top.second_order.status.name == "STRICT"
    sizes = [np.linalg.norm(top.direction[group]) for group in saddles.neuron_groups(squares())]
    assert np.sort(sizes)[-2:] == pytest.approx([0.0, 1.0], abs=1e-9)
    refined = saddles.refine_point(correlation, top_direction() + 0.01)
    assert np.abs(refined.direction - top_direction()).max() < 1e-12
    assert refined.residual < 1e-14


def test_the_function_and_its_derivatives_agree_with_the_definition():
    problem = squares()
    correlation = saddles.neural_correlation(problem)

    def direct(u):
        outputs = problem.predict(u, problem.x)
        return jnp.mean(jnp.sum(problem.y * outputs, axis=1))

    u, v = np.random.default_rng(2).normal(size=(2, 30))
    assert correlation.value(u) == pytest.approx(float(direct(jnp.asarray(u))), rel=1e-12)
    assert np.allclose(correlation.gradient(u), jax.grad(direct)(jnp.asarray(u)), rtol=1e-10, atol=1e-12)
    assert np.allclose(correlation.hessian(u) @ v, correlation.hvp(u, v), rtol=1e-10, atol=1e-10)
    assert np.allclose(correlation.pseudo_labels, problem.y)
    assert correlation.exact
    assert np.array_equal(correlation.embed(u), u)


def test_the_flow_selects_another_point_than_the_best_one():
    problem, start = generic()
    correlation = saddles.neural_correlation(problem)
    flow = saddles.correlation_flow(correlation, start)
    assert flow.status.name == "ESCAPES"
    assert flow.point.value == pytest.approx(0.0172478, rel=1e-5)
    assert flow.point.multiplier == pytest.approx(0.0517434, rel=1e-5)
    assert flow.point.second_order.alignment_exponent == pytest.approx(0.797, abs=5e-4)
    assert flow.point.second_order.status.name == "STRICT"
    assert flow.blow_up_time == pytest.approx(96.1173, rel=1e-6)
    assert np.isnan(flow.amplitude)
    best = saddles.correlation_points(correlation, starts=8)[0]
    assert 60 * best.value == pytest.approx(1.806, rel=1e-3)


def test_the_blow_up_time_of_the_squares_is_that_of_the_specification():
    flow = saddles.correlation_flow(saddles.neural_correlation(squares()), nudged())
    assert flow.blow_up_time == pytest.approx(1.2375720, abs=2e-7)
    assert flow.remaining[0] == flow.blow_up_time
    assert np.all(np.diff(flow.remaining) < 0)


def test_an_aligned_start_blows_up_at_the_closed_form():
    correlation = saddles.neural_correlation(squares())
    flow = saddles.correlation_flow(correlation, top_direction())
    # T* = 1/(L(L−2)𝒩)
    assert flow.blow_up_time == pytest.approx(1 / (3 * 3 / (6 * np.sqrt(3))), rel=1e-9)


def test_degree_two_has_an_amplitude_instead_of_a_blow_up():
    correlation = saddles.neural_correlation(whitened(2)[0])
    start = np.random.default_rng(4).normal(size=correlation.free.size)
    flow = saddles.correlation_flow(correlation, start)
    k, vectors = np.linalg.eigh(correlation.hessian(start))
    top = vectors[:, k > k[-1] * (1 - 1e-9)]
    assert flow.amplitude == pytest.approx(np.linalg.norm(top.T @ start), rel=1e-6)
    assert np.isnan(flow.blow_up_time)


def test_a_negative_correlation_never_escapes():
    # The network (w·x)² with x = e₁, y = −1.
    problem = td.FunctionRisk(lambda w: 0.5 * (w[0] ** 2 + 1.0) ** 2, jnp.ones(2))
    correlation = saddles.neural_correlation(problem)
    assert not correlation.exact
    assert correlation.degree == 2
    assert saddles.correlation_flow(correlation, np.array([1.0, 0.0])).status.name == "VANISHES"
    assert saddles.correlation_flow(correlation, np.array([0.6, 0.8])).status.name == "VANISHES"
    assert saddles.correlation_flow(correlation, np.array([0.0, 1.0])).status.name == "STATIONARY"
    escape = saddles.escape_time(problem, np.array([0.6, 0.8]), 1e-3)
    assert escape.status.name == "NEVER"
    assert np.isnan(escape.predicted)


def test_nothing_leaves_along_a_correlation_that_is_not_positive():
    problem = squares((-1.0, -1.0, -1.0, -1.0))
    correlation = saddles.neural_correlation(problem)
    direction = top_direction()
    assert correlation.value(direction) < 0
    with pytest.raises(saddles.SaddlesError, match="not positive"):
        saddles.limiting_path(problem, saddles.refine_point(correlation, direction))


def test_logistic_pseudo_labels_are_half_and_the_clock_is_double():
    rng = np.random.default_rng(5)
    x, signs = rng.normal(size=(10, 4)), np.sign(rng.normal(size=10))
    network, start = td.two_layer(4, 6, "square"), rng.normal(size=30)
    logistic = saddles.neural_correlation(td.EmpiricalRisk(network, td.logistic, x, signs))
    plain = saddles.neural_correlation(td.EmpiricalRisk(network, td.squared, x, signs))
    assert np.allclose(logistic.pseudo_labels, plain.pseudo_labels / 2)
    clocks = [saddles.correlation_flow(one, start).blow_up_time for one in (logistic, plain)]
    assert clocks[0] / clocks[1] == pytest.approx(2.0, rel=1e-9)


def test_cross_entropy_pseudo_labels_are_one_hot_less_the_uniform_distribution():
    problem = td.EmpiricalRisk(td.linear([2, 3, 3]), td.cross_entropy, np.eye(2), np.array([0, 2]))
    labels = saddles.neural_correlation(problem).pseudo_labels
    assert np.allclose(labels, [[2 / 3, -1 / 3, -1 / 3], [-1 / 3, -1 / 3, 2 / 3]])


def test_the_gradient_form_equals_the_exact_one_at_the_origin_and_at_a_saddle():
    problem = squares()
    blind = td.FunctionRisk(jax.tree_util.Partial(lambda risk, t: risk.loss(t), problem), jnp.ones(30))
    u = np.random.default_rng(6).normal(size=30)
    exact, form = saddles.neural_correlation(problem), saddles.neural_correlation(blind)
    assert form.pseudo_labels is None
    assert not form.exact
    assert np.linalg.norm(form.gradient(u) - exact.gradient(u)) < 1e-8 * np.linalg.norm(exact.gradient(u))
    a = 1.5 ** (1 / 3)
    saddle = np.zeros(30)
    saddle[24], saddle[0] = a, np.sqrt(2) * a
    exact = saddles.neural_correlation(problem, at=saddle)
    form = saddles.neural_correlation(blind, at=saddle, free=exact.free)
    u = u[exact.free]
    assert np.linalg.norm(form.gradient(u) - exact.gradient(u)) < 1e-8 * np.linalg.norm(exact.gradient(u))


def test_free_weights_must_be_zero_and_stay_so():
    problem = squares()
    with pytest.raises(saddles.SaddlesError, match="not zero"):
        saddles.neural_correlation(problem, at=top_direction(), free=np.arange(30))
    with pytest.raises(saddles.SaddlesError, match="do not stay zero"):
        saddles.neural_correlation(problem, at=top_direction(), free=np.array([25]))
