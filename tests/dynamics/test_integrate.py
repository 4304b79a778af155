"""Any flow: pytree states, dense output, losses, error norms, foreign solvers, ensembles."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics.specimens import BOWL, RATES, TURN, network, same_bits
from thetadot.dynamics import DenseOutputError, StateError

START = jnp.array([1.0, 0.0])


def _circle(t):
    return np.stack([np.cos(2 * t), np.sin(2 * t)], axis=-1)


@pytest.fixture(scope="module")
def fitted():
    """A small network, and weights at which it fits its data to rounding."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    problem = td.EmpiricalRisk(td.mlp([2, 4, 1], "tanh"), td.squared, x, np.sin(x.sum(1, keepdims=True)))
    path = td.flow(
        problem,
        problem.init(jax.random.key(0)),
        until=td.Until(time=1e4),
        rtol=1e-8,
        certify=False,
        progress=False,
    )
    assert path.losses[-1] < 1e-20
    return problem, path.thetas[-1]


@pytest.mark.parametrize("solver", ["auto", "Dopri8", "NDF", "RadauIIA"])
def test_a_run_that_starts_at_a_minimum_is_not_held_up_by_rounding(fitted, solver):
    problem, theta = fitted
    path = td.integrate(
        td.training_flow(problem), theta, saves=[0.0, 30.0], until=td.Until(time=30.0, steps=300), rtol=1e-11,
        solver=solver, progress=False,
    )  # fmt: skip
    assert path.outcome.name == "REACHED_TIME"
    assert np.linalg.norm(path.thetas[-1] - theta) < 1e-9


@pytest.mark.parametrize("solver", ["Tsit5", "Dopri8", "Kvaerno5"])
def test_dense_output_has_the_accuracy_of_the_run(solver):
    path = td.integrate(
        TURN, START, saves=[0.0, 5.0], dense=True, accuracy=1e-8, solver=solver, progress=False
    )
    t = np.linspace(0.0, 5.0, 101)
    np.testing.assert_allclose(path.at(t), _circle(t), atol=1e-8)
    assert path.at(1.0).shape == (2,)
    with pytest.raises(DenseOutputError, match="this path covers"):
        path.at(6.0)


def test_a_path_without_dense_output_says_how_to_get_it():
    path = td.integrate(TURN, START, saves=[0.0, 1.0], progress=False)
    with pytest.raises(DenseOutputError, match="dense=True"):
        path.at(0.5)


def test_dense_output_survives_pieces():
    whole = td.integrate(TURN, START, saves=[0.0, 9.0], dense=True, progress=False)
    path = None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = td.integrate(
            TURN, START, saves=[0.0, 9.0], dense=True, progress=False, budget=1e-9, resume=path
        )
    t = np.linspace(0.0, 9.0, 57)
    assert np.array_equal(path.at(t), whole.at(t))


def _pair(state, rate):
    x, tangents = state
    return -rate * x, -rate * tangents


def test_pytree_states_are_raveled_in_tree_order_with_losses_and_risk():
    def half_square(state, rate):
        return 0.5 * jnp.sum(state[0] ** 2)

    state0 = (jnp.ones(2), 2.0 * jnp.ones((2, 3)))
    settings = {"saves": [0.0, 1.0], "progress": False, "accuracy": 1e-9}
    path = td.integrate(td.Flow(_pair, 0.5), state0, loss=half_square, **settings)
    assert path.thetas.shape == (2, 8)
    np.testing.assert_allclose(path.thetas[1], np.exp(-0.5) * np.r_[1, 1, 2, 2, 2, 2, 2, 2], rtol=1e-9)
    np.testing.assert_allclose(path.losses, [1.0, np.exp(-1.0)], rtol=1e-8)
    observed = td.integrate(td.Flow(_pair, 0.5), state0, observe={"risk": half_square}, **settings)
    assert np.array_equal(observed.losses, observed.observed["risk"])
    silent = td.integrate(td.Flow(_pair, 0.5), state0, **settings)
    assert np.all(np.isnan(silent.losses))


def test_a_callers_error_norm_decides_the_steps():
    def blind(error, state):
        return jnp.asarray(0.0)

    def strict(error, state):
        return 1e3 * jnp.linalg.norm(error) / jnp.linalg.norm(state)

    counts = []
    for norm in (blind, strict, None):
        path = td.integrate(TURN, START, saves=[0.0, 20.0], error_norm=norm, rtol=1e-6, progress=False)
        counts.append(path.stats.accepted)
    assert counts[0] < counts[2] < counts[1]


def test_a_training_flow_is_the_flow_of_its_problem():
    problem = network()
    theta0 = problem.init(jax.random.key(3))
    settings = {"until": td.Until(time=4.0), "progress": False, "certify": True}
    assert same_bits(
        td.integrate(td.training_flow(problem), theta0, **settings), td.flow(problem, theta0, **settings)
    )


@pytest.mark.parametrize(
    "solver", [diffrax.Heun(), diffrax.Bosh3(), diffrax.ReversibleHeun(), diffrax.ImplicitEuler()]
)
def test_foreign_diffrax_solvers_run_and_are_certified_honestly(solver):
    path = td.flow(
        BOWL,
        jnp.ones(2),
        until=td.Until(time=3.0),
        saves=[0.0, 1.0, 3.0],
        solver=solver,
        accuracy=1e-2,
        certify=True,
        progress=False,
    )
    exact = np.exp(-path.ts[:, None] * RATES)
    error = np.max(np.linalg.norm(path.thetas - exact, axis=1) / np.linalg.norm(exact, axis=1))
    assert error <= 3 * path.accuracy.global_error
    assert error <= 1e-2


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.KenCarp4(), 7])
def test_solvers_that_cannot_are_refused(solver):
    with pytest.raises(td.ThetadotError, match=r"no error estimate|several terms|must be a name"):
        td.flow(BOWL, jnp.ones(2), until=td.Until(time=1.0), solver=solver)


def _bad_shape(state, args):
    return state[:1]


def _bad_inside(state, args):
    return state + jnp.ones(5)


@pytest.mark.parametrize(
    ("field", "message"), [(_bad_shape, "returned shapes"), (_bad_inside, "cannot be evaluated")]
)
def test_a_field_of_the_wrong_shape_is_refused(field, message):
    with pytest.raises(StateError, match=message):
        td.integrate(td.Flow(field), START, saves=[1.0])


def test_lorenz_conserves_nothing_but_its_mean_divergence():
    # The determinant of the tangent obeys ln det = −41/3·t exactly: an independent check of field and Jacobian.
    def lorenz(state, args):
        x, tangents = state

        def field(p):
            return jnp.stack([10 * (p[1] - p[0]), p[0] * (28 - p[2]) - p[1], p[0] * p[1] - 8 / 3 * p[2]])

        return field(x), jax.jacfwd(field)(x) @ tangents

    start = (jnp.array([1.0, 1.0, 20.0]), jnp.eye(3))
    path = td.integrate(td.Flow(lorenz), start, saves=[0.0, 1.0], accuracy=1e-9, progress=False)
    determinant = np.linalg.det(path.thetas[-1][3:].reshape(3, 3))
    np.testing.assert_allclose(np.log(determinant), -41 / 3, rtol=1e-7)


@pytest.mark.slow
def test_members_are_the_same_alone_together_and_in_processes():
    problem = network()
    starts = jnp.stack([problem.init(jax.random.key(k)) for k in range(3)])
    settings = {"until": td.Until(time=3.0), "progress": False}
    here = td.flow_ensemble(problem, starts, workers=1, **settings)
    assert here.executor == "sequential"
    assert all(
        same_bits(member, td.flow(problem, start, **settings))
        for member, start in zip(here, starts, strict=True)
    )
    spread = td.flow_ensemble(problem, starts, workers=2, **settings)
    assert spread.executor == "2 processes"
    turned = td.flow_ensemble(problem, starts[::-1], workers=2, **settings)
    assert all(same_bits(one, other) for one, other in zip(spread, turned.paths[::-1], strict=True))
    assert all(same_bits(one, other) for one, other in zip(here, spread, strict=True))
    data = spread.to_xarray()
    assert data.sizes["member"] == 3
    np.testing.assert_array_equal(data["loss"].values[1], spread[1].losses)


def test_an_ensemble_in_pieces_equals_the_uninterrupted_one():
    problem = network()
    starts = jnp.stack([problem.init(jax.random.key(k)) for k in range(2)])
    whole = td.flow_ensemble(problem, starts, until=td.Until(time=3.0), workers=1, progress=False)
    pieces = None
    while pieces is None or any(member.outcome.resumable for member in pieces):
        pieces = td.flow_ensemble(
            problem, starts, until=td.Until(time=3.0), workers=1, progress=False, budget=1e-9, resume=pieces
        )
    assert all(same_bits(one, other) for one, other in zip(whole, pieces, strict=True))


def test_a_wrong_ensemble_is_refused():
    with pytest.raises(td.ThetadotError, match=r"expected \(members, 2\)"):
        td.flow_ensemble(BOWL, jnp.ones(2), until=td.Until(time=1.0))
    with pytest.raises(td.ThetadotError, match="workers = 0"):
        td.flow_ensemble(BOWL, jnp.ones((1, 2)), until=td.Until(time=1.0), workers=0)
