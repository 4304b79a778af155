"""Parameters from the function and the laws; graphs that are refused."""

import jax
import numpy as np
import pytest

from thetadot.conservation import (
    ConservationError,
    CyclicGraphError,
    Edge,
    GraphError,
    InfeasibleImbalanceError,
    LinearLift,
    MonomialLift,
    NotPolynomialError,
    PathExplosionError,
    PathGraph,
    PathLift,
    RecoveryStatus,
    RestrictedLift,
    ZeroWeightError,
    imbalance,
    known_laws,
    layered_graph,
    momentum_fields,
    rebalance,
    recover,
    relaxed_balanced_init,
)

TIED = [Edge(f"x{i + j}", f"h{i}", j) for i in range(2) for j in range(2)] + [
    Edge(f"h{j}", "y", 2 + j) for j in range(2)
]
GRAPHS = {
    "untied": PathLift(layered_graph((2, 3, 3, 1), "hidden")),
    "tied": PathLift(PathGraph(["x0", "x1", "x2"], ["y"], TIED)),
    "frozen": PathLift(
        PathGraph(
            ["x"],
            ["y"],
            [Edge("x", "a", 0), Edge("a", "b", None, 2.0), Edge("a", "c", 1), Edge("b", "d", 2), Edge("c", "d", 3),
             Edge("d", "y", 4), Edge("x", "y")],
        )
    ),
    "monomials": MonomialLift(np.array([[1, 2, 0, 0], [0, 1, 1, 0]])),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GRAPHS))
def test_every_level_is_reached_and_the_function_stays(name):
    lift, rng = GRAPHS[name], np.random.default_rng(0)
    count = len(known_laws(lift)) - (name == "monomials")  # its last parameter is dead
    for _ in range(5):
        reference = rng.uniform(0.5, 2.0, lift.size) * rng.choice([-1, 1], lift.size)
        levels = rng.uniform(-10, 10, count)
        found = recover(lift, reference, levels)
        assert found.status is RecoveryStatus.CONVERGED
        assert found.residual <= 1e-11
        reached = known_laws(lift).values(found.theta[None])[0][:count]
        np.testing.assert_allclose(reached, levels, atol=1e-11 * (10 + found.theta @ found.theta))
        before, after = (lift.polynomials().values(theta[None]) for theta in (reference, found.theta))
        np.testing.assert_allclose(after, before, rtol=1e-12)
        assert np.array_equal(np.sign(found.theta), np.sign(reference))


def test_recovery_inverts_rescaling_and_does_not_depend_on_the_reference():
    lift, rng = GRAPHS["untied"], np.random.default_rng(1)
    theta = rng.normal(size=24)
    levels = known_laws(lift).values(theta[None])[0]
    for _ in range(3):
        moved = theta * np.exp(lift.potentials() @ rng.normal(size=6))
        np.testing.assert_allclose(
            lift.polynomials().values(moved[None]), lift.polynomials().values(theta[None]), rtol=1e-12
        )
        np.testing.assert_allclose(recover(lift, moved, levels).theta, theta, rtol=1e-12)
    once = rebalance(lift, theta)
    np.testing.assert_allclose(rebalance(lift, once.theta).theta, once.theta, rtol=1e-13)
    assert once.theta @ once.theta < theta @ theta


def test_the_path_lift_of_24_parameters_is_recoverable():
    lift = GRAPHS["untied"]
    assert (lift.dimension, lift.size) == (30, 24)
    assert np.linalg.matrix_rank(lift.incidence().toarray().astype(float)) == 18


def test_large_networks_are_rebalanced_by_sparse_steps():
    lift = PathLift(layered_graph((3, 1500, 1500, 2)))
    # Keep it small: every neuron of the first layer feeds three of the second.
    rng = np.random.default_rng(2)
    tails = np.concatenate([np.repeat(np.arange(3), 2500), 3 + np.repeat(np.arange(2500), 1)])
    heads = np.concatenate([np.tile(3 + np.arange(2500), 3), np.full(2500, 2503)])
    graph = PathGraph.from_columns(
        [str(k) for k in range(2504)], [0, 1, 2], [2503], tails, heads, np.arange(10000)
    )
    wide = PathLift(graph)
    found = rebalance(wide, rng.normal(size=10000))
    assert found.status is RecoveryStatus.CONVERGED
    assert np.abs(known_laws(wide).values(found.theta[None])).max() < 1e-11
    assert lift.dimension == 3 * 1500 * 1500 * 2


def test_a_recovery_out_of_iterations_says_so():
    found = recover(GRAPHS["untied"], np.ones(24), np.full(6, 50.0), max_iterations=1)
    assert (found.status, found.iterations) == (RecoveryStatus.STALLED, 1)
    assert found.residual > 1e-3


def test_a_vanishing_weight_is_named():
    reference = np.ones(24)
    reference[5] = 0.0
    with pytest.raises(ZeroWeightError, match="parameter 5"):
        recover(GRAPHS["untied"], reference, np.zeros(6))
    with pytest.raises(ConservationError, match="shape"):
        recover(GRAPHS["untied"], np.ones(24), np.zeros(5))
    with pytest.raises(ConservationError, match="monomials"):
        rebalance(LinearLift((1, 1, 1)), np.ones(2))


@pytest.mark.parametrize(
    ("inputs", "outputs", "edges", "linear", "error"),
    [
        (["x"], ["y"], [Edge("x", "a", 0), Edge("a", "b", 1), Edge("b", "a", 2)], (), CyclicGraphError),
        (["x"], ["y"], [Edge("x", "y", 0), Edge("x", "y", 1)], (), GraphError),
        (["x"], ["y"], [Edge("x", "y", 0, 0.0)], (), GraphError),
        (["x"], ["y"], [Edge("y", "x", 0)], (), GraphError),
        (["x"], ["x"], [Edge("x", "y", 0)], (), GraphError),
        (["x"], ["y"], [Edge("x", "y", 0)], ("z",), GraphError),
        (["x"], ["y"], [Edge("x", "y", -2)], (), GraphError),
    ],
)  # fmt: skip
def test_edges_that_form_no_network_are_refused(inputs, outputs, edges, linear, error):
    with pytest.raises(error):
        PathGraph(inputs, outputs, edges, linear)


def test_too_many_paths_are_not_listed():
    lift = PathLift(layered_graph((10, 100, 100, 100, 10)))
    assert lift.dimension == 10**8
    with pytest.raises(PathExplosionError, match="potentials"):
        lift.incidence()
    assert lift.potentials().shape[1] == 300


def test_exact_arithmetic_takes_no_floats():
    with pytest.raises(NotPolynomialError, match="friction"):
        momentum_fields(LinearLift((1, 1, 1)), 0.5)
    with pytest.raises(NotPolynomialError, match="whole numbers"):
        RestrictedLift(LinearLift((1, 1, 1)), np.array([[0.5]]))
    with pytest.raises(NotPolynomialError, match="whole numbers"):
        MonomialLift(np.array([[-1, 2]]))


@pytest.mark.parametrize(
    ("widths", "values"),
    [((3, 3, 3), (0.7,)), ((4, 2, 5), (0.9,)), ((3, 3, 3, 3), (0.0, 1.0)), ((2, 3, 3, 4), (0.5, 0.2)),
     ((3, 4, 4, 2), (0, 0))],
)  # fmt: skip
def test_starts_have_the_imbalances_asked_for(widths, values):
    found = imbalance(LinearLift(widths), relaxed_balanced_init(jax.random.key(0), widths, values))
    assert found.relaxed
    assert found.balanced == (not any(values))
    np.testing.assert_allclose(found.values, values, atol=1e-12)
    assert found.residuals.max() < 1e-14


@pytest.mark.parametrize(
    ("widths", "values"), [((3, 2, 1), (0.5,)), ((1, 3, 2), (-0.2,)), ((2, 2, 2), (1.0, 2.0))]
)
def test_infeasible_imbalances_are_refused(widths, values):
    with pytest.raises(InfeasibleImbalanceError):
        relaxed_balanced_init(jax.random.key(0), widths, values)
