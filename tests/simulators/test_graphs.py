"""Graphs, dynamics on them, fields that learn them, and training on series."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import thetadot as td
from tests.oracles import node_loops
from thetadot import simulators as sim

NODES = 6


@pytest.fixture(scope="module")
def adjacency():
    """A directed weighted graph; its last node listens to nobody."""
    rng = np.random.default_rng(0)
    dense = rng.uniform(0.5, 2, (NODES, NODES)) * (rng.random((NODES, NODES)) < 0.5)
    np.fill_diagonal(dense, 0)
    dense[:, -1] = 0
    return dense


@pytest.fixture(scope="module")
def field(adjacency):
    return sim.graph_field(sim.Graph.from_dense(adjacency), width=5, channels=4, message="edges")


@pytest.fixture(scope="module")
def theta(field):
    theta = np.asarray(field.initial(jax.random.key(0)))
    return jnp.asarray(theta + 0.3 * np.random.default_rng(1).normal(size=field.size))


@pytest.fixture(scope="module")
def states():
    return np.random.default_rng(2).uniform(size=(NODES, 1))


move = eqx.filter_jit(lambda dynamics, x, graph: dynamics(x, graph))
evaluate = eqx.filter_jit(lambda field, theta, states: field.evaluate(theta, states))


@pytest.mark.parametrize("name", node_loops.TERMS)
def test_node_dynamics_are_their_double_loops(name, adjacency):
    dynamics = getattr(sim, name)()
    x = np.random.default_rng(3).uniform(size=(NODES, dynamics.components))
    found = np.asarray(move(dynamics, x, sim.Graph.from_dense(adjacency)))
    np.testing.assert_allclose(found, node_loops.velocity(name, x, adjacency), rtol=1e-13, atol=1e-13)


def test_other_parameters_of_a_dynamics_compile_nothing(adjacency, count_compilations):
    graph, x = sim.Graph.from_dense(adjacency), jnp.ones((NODES, 1))
    move(sim.mass_action(), x, graph)
    other = sim.mass_action(coupling=2.0)
    with count_compilations() as counted:
        move(other, x, graph)
    assert counted.total == 0, counted


def test_heat_is_conserved_and_a_fractional_power_of_a_negative_state_is_refused(adjacency):
    symmetric = sim.Graph.from_dense(adjacency + adjacency.T)
    x = np.random.default_rng(0).normal(size=(NODES, 1))
    assert abs(float(sim.heat_diffusion()(x, symmetric).sum())) < 1e-12
    with pytest.raises(sim.DomainError, match=r"coupling_exponent = 1\.5 .* negative"):
        sim.population()(x, symmetric)
    assert np.isnan(np.asarray(jax.jit(lambda x: sim.population()(x, symmetric))(x))).any()
    assert np.isfinite(np.asarray(sim.population(coupling_exponent=2.0)(x, symmetric))).all()
    with pytest.raises(sim.MatrixError, match="nodes × components"):
        sim.population()(np.ones(NODES), symmetric)


def test_permuting_the_nodes_permutes_the_field(field, theta, states):
    order = np.random.default_rng(4).permutation(NODES)
    plain = evaluate(field, theta, states)
    moved = evaluate(field.on(field.graph.permuted(order)), theta, states[order])
    np.testing.assert_allclose(moved, np.asarray(plain)[order], atol=1e-12)
    assert np.std(plain) > 0.01


def test_edge_lists_dense_matrices_split_and_zero_edges_give_the_same_field(field, theta, states, adjacency):
    plain = np.asarray(evaluate(field, theta, states))
    dense = sim.graph_field(field.graph, width=5, channels=4, message="dense")
    np.testing.assert_allclose(evaluate(dense, theta, states), plain, atol=1e-12)
    sources, targets, weights = (
        np.asarray(part) for part in (field.graph.sources, field.graph.targets, field.graph.weights)
    )
    doubled = sim.Graph(
        np.append(np.tile(sources, 2), [0, 1]),
        np.append(np.tile(targets, 2), [5, 2]),
        np.append(np.tile(weights / 2, 2), [0.0, 0.0]),
        size=NODES,
    )
    np.testing.assert_allclose(doubled.dense(), adjacency, atol=1e-15)
    np.testing.assert_allclose(doubled.in_degrees, adjacency.sum(axis=0), atol=1e-14)
    for form in (field.on(doubled), field):
        np.testing.assert_allclose(form.evaluate(theta, jnp.asarray(states), doubled), plain, atol=1e-12)


def test_a_perturbed_node_moves_itself_and_its_out_neighbours_only(field, theta, states, adjacency):
    node = 1
    moved = states.copy()
    moved[node] += 0.3
    changed = np.asarray(evaluate(field, theta, moved)) != np.asarray(evaluate(field, theta, states))
    expected = adjacency[node] != 0
    expected[node] = True
    assert changed[:, 0].tolist() == expected.tolist()
    assert 1 < expected.sum() < NODES


def test_isolated_nodes_and_empty_graphs_leave_the_field_finite(field, theta, states):
    assert np.isfinite(np.asarray(evaluate(field, theta, states))).all()
    empty = sim.Graph([], [], size=NODES)
    alone = np.asarray(field.on(empty).evaluate(theta, jnp.asarray(states)))
    assert np.isfinite(alone).all()
    with pytest.raises(sim.GraphError, match="degree"):
        sim.degree_scale(field.graph, empty)


def test_the_form_of_a_field_can_hold_heat_diffusion(adjacency, states):
    graph, errors = sim.Graph.from_dense(adjacency), []
    truth = np.asarray(sim.heat_diffusion()(states, graph))
    for small in (1e-2, 1e-3):
        field = sim.graph_field(graph, width=1, channels=2, self_interaction=False)
        parts = {
            # q₁ = (x/2, 1), q₂ = (1, −x/2): the messages are Σ A_ji x_j/2 and −x_i/2 Σ A_ji.
            "sender.layer1.weight": [small], "sender.layer1.bias": [0],
            "sender.layer2.weight": [0.5 / small, 0], "sender.layer2.bias": [0, 1],
            "receiver.layer1.weight": [small], "receiver.layer1.bias": [0],
            "receiver.layer2.weight": [0, -0.5 / small], "receiver.layer2.bias": [1, 0],
            "out.weight": [1, 1], "out.bias": [0],
        }  # fmt: skip
        theta = np.concatenate([np.asarray(parts[name], float) for name in field.layout.shapes])
        errors.append(
            np.abs(np.asarray(field.evaluate(jnp.asarray(theta), jnp.asarray(states))) - truth).max()
        )
    assert 90 < errors[0] / errors[1] < 110
    assert errors[1] < 1e-5


def test_an_empirical_risk_takes_a_field_and_its_loss(field, theta):
    x, y = sim.independent_states(jax.random.key(0), sim.epidemic(), field.graph, samples=4)
    problem = td.EmpiricalRisk(field, sim.absolute_with_spread(), x, y)
    error = np.abs(np.asarray(problem.predict(theta, x) - y))[..., 0]
    expected = np.mean(error.mean(axis=1) + error.var(axis=1, ddof=1))
    assert float(problem.loss(theta)) == pytest.approx(expected, rel=1e-12)
    assert sim.absolute_with_spread(0.0) == sim.absolute_with_spread(0.0)
    np.testing.assert_allclose(y[1], sim.epidemic()(x[1], field.graph), atol=1e-14)


def test_random_graphs_have_their_number_of_edges_and_no_loops():
    graph = sim.erdos_renyi(jax.random.key(3), 400, 0.05)
    dense = np.asarray(graph.dense())
    assert set(np.unique(dense)) == {0.0, 1.0}
    assert np.trace(dense) == 0
    np.testing.assert_array_equal(dense, dense.T)
    assert abs(graph.edges / 2 - 3990) < 5 * np.sqrt(3990)
    directed = sim.erdos_renyi(jax.random.key(3), 400, 0.05, directed=True)
    dense = np.asarray(directed.dense())
    assert dense.max() == 1
    assert np.trace(dense) == 0
    assert abs(directed.edges - 7980) < 5 * np.sqrt(7980)
    assert (dense != dense.T).any()
    whole = sim.erdos_renyi(jax.random.key(0), 20, 1.0)
    np.testing.assert_array_equal(whole.dense(), 1 - np.eye(20))
    whole = sim.erdos_renyi(jax.random.key(0), 20, 1.0, directed=True)
    np.testing.assert_array_equal(whole.dense(), 1 - np.eye(20))
    large = sim.erdos_renyi(jax.random.key(0), 200_000, 1e-5)
    assert abs(large.mean_degree - 2) < 0.05


@pytest.fixture(scope="module")
def series():
    """(graph, times, states) of heat on a small graph, seen at irregular times."""
    graph = sim.erdos_renyi(jax.random.key(1), 4, 0.7)
    times, xs = sim.observed_series(
        jax.random.key(0), sim.heat_diffusion(), graph, series=2, times=np.linspace(0, 1.5, 4), irregular=True
    )
    return graph, np.asarray(times), np.asarray(xs)


def test_series_are_the_solution_and_irregular_times_keep_their_span(series):
    graph, times, xs = series
    assert np.diff(times, axis=1).min() > 0
    np.testing.assert_allclose(times[:, [0, -1]], [[0, 1.5]] * 2, atol=1e-14)
    assert (times[0] != times[1]).any()
    dense = np.asarray(graph.dense())
    generator = 0.5 * (dense.T - np.diag(dense.sum(axis=0)))
    for ts, rows in zip(times, xs, strict=True):
        exact = [scipy.linalg.expm(generator * t) @ rows[0] for t in ts]
        np.testing.assert_allclose(rows, exact, atol=1e-7)


@pytest.mark.slow
def test_the_gradient_of_a_trajectory_problem_is_that_of_differences(series):
    graph, times, xs = series
    problem = sim.trajectory_problem(sim.graph_field(graph, width=2, channels=1), times, xs, rtol=1e-9)
    theta = np.random.default_rng(0).normal(size=problem.size) * 0.5
    value, gradient = problem.value_and_grad(theta)
    assert float(value) > 0.01
    for k in np.random.default_rng(1).choice(problem.size, 4, replace=False):
        step = 1e-5 * np.eye(problem.size)[k]
        ends = [float(problem.value_and_grad(theta + sign * step)[0]) for sign in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient[k]), rel=1e-5, abs=1e-6)


WRONG = {
    "index": (sim.GraphError, lambda graph: sim.Graph([0], [7], size=3)),
    "size": (sim.GraphError, lambda graph: sim.Graph([], [], size=-1)),
    "lengths": (sim.GraphError, lambda graph: sim.Graph([0, 1], [1], size=3)),
    "weights": (sim.GraphError, lambda graph: sim.Graph([0], [1], [np.nan], size=3)),
    "halves": (sim.GraphError, lambda graph: sim.Graph([0.5], [1], size=3)),
    "rectangle": (sim.GraphError, lambda graph: sim.Graph.from_dense(np.ones((2, 3)))),
    "no permutation": (sim.GraphError, lambda graph: graph.permuted([0, 0, 1])),
    "no edges": (sim.GraphError, lambda graph: sim.Graph([], [], size=2).degree_variation),
    "empty random graph": (sim.GraphError, lambda graph: sim.erdos_renyi(jax.random.key(0), 0, 0.5)),
    "probability": (sim.SettingError, lambda graph: sim.erdos_renyi(jax.random.key(0), 5, 1.5)),
    "width": (sim.SettingError, lambda graph: sim.graph_field(graph, width=0)),
    "no terms": (
        sim.SettingError,
        lambda graph: sim.graph_field(graph, self_interaction=False, neighbour_interaction=False),
    ),
    "message": (sim.SettingError, lambda graph: sim.graph_field(graph, message="sparse")),
    "weight of the spread": (sim.SettingError, lambda graph: sim.absolute_with_spread(-1.0)),
    "states of a field": (
        sim.MatrixError,
        lambda graph: td.EmpiricalRisk(
            sim.graph_field(graph), sim.absolute_with_spread(), np.ones((2, 5, 1)), np.ones((2, 5, 1))
        ),
    ),
    "no samples": (
        sim.SettingError,
        lambda graph: sim.independent_states(jax.random.key(0), sim.epidemic(), graph, samples=0),
    ),
    "negative states": (
        sim.DomainError,
        lambda graph: sim.independent_states(jax.random.key(0), sim.population(), graph, samples=3, low=-1.0),
    ),
    "descending times": (
        sim.SettingError,
        lambda graph: sim.observed_series(
            jax.random.key(0), sim.epidemic(), graph, series=1, times=[1.0, 0.0]
        ),
    ),
    "series of another graph": (
        sim.MatrixError,
        lambda graph: sim.trajectory_problem(sim.graph_field(graph), np.ones((1, 2)), np.ones((1, 2, 9, 1))),
    ),
    "times that stand": (
        sim.SettingError,
        lambda graph: sim.trajectory_problem(sim.graph_field(graph), np.ones((1, 2)), np.ones((1, 2, 3, 1))),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_by_name(case):
    error, call = WRONG[case]
    with pytest.raises(error) as caught:
        call(sim.Graph([0, 1], [1, 2], size=3))
    assert "\n" not in str(caught.value)
