"""Reduced flows against full training by the project's own integrator at a tighter tolerance."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.conservation import (
    ConservationError,
    LinearLift,
    NotRelaxedBalancedError,
    RankDropError,
    ReducedStatus,
    UnsupportedArchitectureError,
    ZeroWeightError,
    augmented_linear_field,
    compare,
    imbalance,
    lift_of,
    reduced_flow,
    relaxed_balanced_init,
    relaxed_linear_field,
)


def regression(network, inputs, outputs, samples, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, inputs)), rng.normal(size=(samples, outputs))
    return td.EmpiricalRisk(network, td.squared, x, y)


def full(problem, theta, times):
    options = {"rtol": 1e-12, "atol": 1e-14, "solver": "Dopri8", "progress": False}
    until = td.Until(time=float(times[-1]), steps=20_000)
    return td.flow(problem, jnp.asarray(theta), until=until, saves=times, **options)


def disagreement(problem, theta, times, **options):
    reduced = reduced_flow(problem, theta, times, **options)
    return reduced, compare(lift_of(problem), full(problem, theta, times), reduced)


TIMES = np.linspace(0, 2, 5)


@pytest.mark.parametrize(
    ("widths", "values"),
    [
        ((3, 3, 3), (0.7,)),
        pytest.param((4, 2, 5), (0.9,), marks=pytest.mark.slow),
        pytest.param((3, 3, 3, 3), (0.0, 1.0), marks=pytest.mark.slow),
    ],
)
def test_relaxed_balanced_linear_networks_close_on_their_product(widths, values):
    problem = regression(td.linear(widths), widths[0], widths[-1], 20, 0)
    theta = relaxed_balanced_init(jax.random.key(0), widths, values)
    reduced, agreement = disagreement(problem, theta, TIMES)
    assert (reduced.coordinates, reduced.state_size) == ("closed", widths[0] * widths[-1])
    assert agreement.maximum <= 1e-8
    assert reduced.status is ReducedStatus.DONE
    # The field for balanced starts is another one: along the same path it points elsewhere.
    shape = (widths[-1], widths[0])
    z = jnp.asarray(agreement.full[1].reshape(shape))

    def slope(product):
        return (product @ problem.x.T - problem.y.T) @ problem.x / problem.samples

    right = relaxed_linear_field(slope, values, rank=min(widths[1:-1]))(z)
    balanced = relaxed_linear_field(slope, np.zeros(len(values)))(z)
    assert float(jnp.linalg.norm(right - balanced) / jnp.linalg.norm(right)) > 0.1


def test_the_two_layer_form_is_the_deep_one_at_depth_two():
    """UUᵀ = ½(√(λ² + 4zzᵀ) + λ) by matrix functions, against roots of singular values."""
    rng = np.random.default_rng(3)
    z, slope = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    for value in (0.8, -0.3, 0.0):
        eye = np.eye(4)
        u = 0.5 * (root(value**2 * eye + 4 * z @ z.T) + value * eye)
        v = 0.5 * (root(value**2 * eye + 4 * z.T @ z) - value * eye)
        ours = relaxed_linear_field(lambda _: jnp.asarray(slope), (value,))(jnp.asarray(z))
        np.testing.assert_allclose(ours, -(slope @ v + u @ slope), rtol=1e-12, atol=1e-12)


def test_deep_balanced_networks_move_by_fractional_powers():
    rng = np.random.default_rng(4)
    z, slope, depth = rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), 4

    def power(matrix, exponent):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**exponent) @ vectors.T

    expected = -sum(
        power(z @ z.T, (depth - j) / depth) @ slope @ power(z.T @ z, (j - 1) / depth)
        for j in range(1, depth + 1)
    )
    ours = relaxed_linear_field(lambda _: jnp.asarray(slope), (0.0, 0.0, 0.0))(jnp.asarray(z))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_one_hidden_neuron_closes_from_any_start():
    problem = regression(td.linear([3, 1, 3]), 3, 3, 20, 1)
    reduced, agreement = disagreement(problem, problem.init(jax.random.key(1)), TIMES)
    assert reduced.coordinates == "closed"
    assert agreement.maximum <= 1e-8


def test_a_generic_start_does_not_close_on_its_product():
    problem = regression(td.linear([3, 3, 3]), 3, 3, 20, 0)
    lift, theta = LinearLift((3, 3, 3)), np.random.default_rng(0).normal(size=18)
    with pytest.raises(NotRelaxedBalancedError, match="kernel_test"):
        reduced_flow(problem, theta, TIMES, coordinates="closed")
    path = full(problem, theta, TIMES)
    products = np.asarray(jax.vmap(lift)(jnp.asarray(path.thetas))).reshape(-1, 3, 3)

    best = imbalance(lift, theta).values[0]
    args = (problem.x, problem.y, float(best))
    closed = td.integrate(
        td.Flow(relaxed_field_of_two_layers, args), jnp.asarray(products[0]),
        saves=TIMES, rtol=1e-9, atol=1e-11, solver="Dopri8", progress=False,
    )  # fmt: skip
    error = np.abs(closed.thetas.reshape(-1, 3, 3) - products).max()
    assert error > 0.1


def relaxed_field_of_two_layers(z, args):
    """The closed field of 3×3×3 with a traced imbalance, by its two-layer form."""
    x, y, value = args
    slope = (z @ x.T - y.T) @ x / x.shape[0]
    left, sigma, right = jnp.linalg.svd(z)
    root = jnp.sqrt(value**2 + 4 * sigma**2)
    u = (left * (0.5 * (root + value))[None, :]) @ left.T
    v = (right.T * (0.5 * (root - value))[None, :]) @ right
    return -(slope @ v + u @ slope)


@pytest.mark.parametrize("hidden", [2, 7])
def test_the_augmented_flow_is_exact_from_any_start_and_width(hidden):
    problem = regression(td.linear([3, hidden, 3]), 3, 3, 20, 1)
    reduced, agreement = disagreement(problem, problem.init(jax.random.key(1)), TIMES)
    assert (reduced.coordinates, reduced.state_size) == ("augmented", 36)
    assert agreement.maximum <= 1e-8
    assert reduced.law_residual.max() <= 1e-10
    with pytest.raises(ConservationError, match="at least 1"):
        augmented_linear_field(lambda z: z, 0)


def test_a_product_of_too_small_rank_is_refused():
    problem = regression(td.linear([1, 2, 3]), 1, 3, 20, 1)
    theta = relaxed_balanced_init(jax.random.key(0), (1, 2, 3), (1.0,))
    with pytest.raises(RankDropError, match="kernel_test"):
        reduced_flow(problem, theta, TIMES, coordinates="closed")


RELU_TIMES = np.linspace(0, 1.5, 7)


@pytest.mark.parametrize(("seed", "flips"), [pytest.param(1, False, marks=pytest.mark.slow), (3, True)])
def test_two_layer_relu_closes_on_its_products_also_across_kinks(seed, flips):
    problem = regression(td.mlp([2, 4, 3], "relu", bias=False), 2, 3, 6, seed)
    reduced, agreement = disagreement(problem, problem.init(jax.random.key(seed)), RELU_TIMES)
    assert (reduced.coordinates, reduced.status) == ("closed", ReducedStatus.DONE)
    assert agreement.maximum <= 1e-8
    assert (agreement.activation_flips > 0) == flips
    assert reduced.to_xarray()["lifted"].dims == ("save", "component")


def test_sliding_along_a_kink_is_told_not_stepped_over():
    problem = regression(td.mlp([2, 4, 3], "relu", bias=False), 2, 3, 6, 5)
    reduced = reduced_flow(problem, problem.init(jax.random.key(5)), RELU_TIMES)
    assert reduced.status is ReducedStatus.SLIDING
    assert len(reduced.times) < len(RELU_TIMES)


@pytest.fixture(scope="module")
def deep():
    problem = regression(td.mlp([2, 3, 3, 1], "relu", bias="hidden"), 2, 1, 6, 3)
    return problem, np.asarray(problem.init(jax.random.key(3))) + 0.05


@pytest.mark.slow
def test_gauge_coordinates_follow_a_deep_network(deep):
    problem, theta = deep
    reduced, agreement = disagreement(problem, theta, RELU_TIMES)
    assert (reduced.coordinates, reduced.state_size, reduced.status) == ("gauge", 18, ReducedStatus.DONE)
    assert agreement.maximum <= 1e-8
    assert reduced.law_residual.max() <= 1e-11


@pytest.mark.slow
def test_path_coordinates_end_where_a_path_vanishes(deep):
    problem, theta = deep
    reduced, agreement = disagreement(problem, theta, np.linspace(0, 1.5, 31), coordinates="paths")
    assert (reduced.state_size, reduced.status) == (30, ReducedStatus.SIGN_CHANGE)
    assert reduced.events[-1][1] == "sign change"
    assert 1 < len(reduced.times) < 31
    assert agreement.maximum <= 1e-8


def test_vanishing_weights_are_refused_where_they_decide(deep):
    problem, theta = deep
    single, neuron = theta.copy(), theta.copy()
    single[0] = 0.0
    neuron[problem.layout.neurons[0].incoming] = 0.0
    neuron[problem.layout.neurons[0].bias] = 0.0
    with pytest.raises(ZeroWeightError, match="parameter 0"):
        reduced_flow(problem, single, RELU_TIMES, coordinates="paths")
    with pytest.raises(ZeroWeightError, match="incoming"):
        reduced_flow(problem, neuron, RELU_TIMES)
    shallow = regression(td.mlp([2, 4, 3], "relu", bias=False), 2, 3, 6, 1)
    start = np.array(shallow.init(jax.random.key(1)))
    start[shallow.layout.neurons[1].outgoing] = 0.0
    with pytest.raises(ZeroWeightError, match="outgoing weights of hidden neuron 1"):
        reduced_flow(shallow, start, RELU_TIMES)


def test_bad_arguments_are_named(deep):
    problem, theta = deep
    with pytest.raises(ConservationError, match="coordinates is 'polar'"):
        reduced_flow(problem, theta, RELU_TIMES, coordinates="polar")
    with pytest.raises(ConservationError, match="ascending"):
        reduced_flow(problem, theta, np.array([0.0, 0.0]))
    with pytest.raises(UnsupportedArchitectureError, match="augmented"):
        reduced_flow(problem, theta, RELU_TIMES, coordinates="augmented")
    reduced, other = reduced_flow(problem, theta, RELU_TIMES), full(problem, theta, np.linspace(0, 1.4, 7))
    with pytest.raises(ConservationError, match="lacks times"):
        compare(lift_of(problem), other, reduced)


@pytest.mark.slow
def test_the_gauge_changes_its_chart_where_a_pinned_weight_vanishes():
    x = np.array([[1.0, 1.1], [0.1, 1.0], [1.5, 1.6], [0.2, 0.3]])
    problem = td.EmpiricalRisk(
        td.mlp([2, 1, 1], "relu", bias=False), td.squared, x, x @ np.array([[-0.5], [1.5]])
    )
    times, theta = np.linspace(0, 40, 9), np.array([1.2, 0.5, 1.0])
    reduced, agreement = disagreement(problem, theta, times, coordinates="gauge")
    assert (reduced.status, {what for _, what in reduced.events}) == (ReducedStatus.DONE, {"new chart"})
    assert reduced.stats["charts"] == 1 + len(reduced.events)
    assert agreement.sign_changes == 1  # of the first weight, pinned at the start
    assert agreement.maximum <= 1e-8


@pytest.mark.slow
def test_a_product_that_loses_its_rank_ends_the_closed_flow_there():
    problem = td.EmpiricalRisk(td.linear([1, 1, 2]), td.squared, np.ones((1, 1)), np.array([[-1.0, 0.3]]))
    theta, times = np.array([0.5, np.sqrt(1.25), 0.0]), np.linspace(0, 2, 21)
    reduced, agreement = disagreement(problem, theta, times)
    assert (reduced.coordinates, reduced.status) == ("closed", ReducedStatus.RANK_DROP)
    ((moment, what),) = reduced.events
    inner = full(problem, theta, times).thetas[:, 0]  # the product vanishes with this weight
    after = int(np.argmax(inner < 0))
    assert what == "rank drop"
    assert times[after - 1] < moment < times[after]
    assert len(reduced.times) == after
    assert agreement.maximum <= 1e-8


def test_a_product_that_only_turns_keeps_its_closed_flow():
    problem = td.EmpiricalRisk(td.linear([1, 1, 2]), td.squared, np.ones((1, 1)), np.array([[-1.0, 5.0]]))
    theta, times = np.array([1.0, 1.2, 0.1]), np.linspace(0, 2, 21)
    reduced, agreement = disagreement(problem, theta, times)
    assert reduced.status is ReducedStatus.DONE
    assert [what for _, what in reduced.events] == ["new directions"]
    assert np.sign(reduced.lifted[[0, -1], 0]).tolist() == [1, -1]
    assert agreement.maximum <= 1e-8


@pytest.mark.slow
def test_a_product_of_one_neuron_that_vanishes_ends_the_closed_flow_but_not_the_gauge():
    x = np.array([[1.0, 1.1], [0.1, 1.0], [1.5, 1.6], [0.7, 0.3]])
    problem = td.EmpiricalRisk(
        td.mlp([2, 1, 1], "relu", bias=False), td.squared, x, x @ np.array([[-0.5], [-1.5]])
    )
    theta, times = np.array([1.2, 0.5, 0.3]), np.linspace(0, 2, 41)
    reduced, agreement = disagreement(problem, theta, times)
    assert (reduced.coordinates, reduced.status) == ("closed", ReducedStatus.SIGN_CHANGE)
    outgoing = full(problem, theta, times).thetas[:, 2]
    after = int(np.argmax(outgoing < 0))
    ((moment, what),) = reduced.events
    assert (what, len(reduced.times)) == ("sign change", after)
    assert times[after - 1] < moment < times[after]
    assert agreement.maximum <= 1e-8
    gauge, agreement = disagreement(problem, theta, times, coordinates="gauge")
    assert (gauge.status, agreement.sign_changes) == (ReducedStatus.DONE, 1)
    assert agreement.maximum <= 1e-8


def test_a_run_that_uses_up_its_steps_says_so(monkeypatch):
    monkeypatch.setattr(sys.modules["thetadot.conservation.reduced_flow"], "_MOST_STEPS", 3)
    problem = regression(td.linear([3, 2, 3]), 3, 3, 20, 1)
    reduced = reduced_flow(problem, problem.init(jax.random.key(1)), TIMES)
    assert reduced.status is ReducedStatus.STOPPED
    assert len(reduced.times) < len(TIMES)
