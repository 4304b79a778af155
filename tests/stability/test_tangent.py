"""Tangents of one step: against automatic differentiation, transposes, and what is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, NET, THETA, hessian
from tests.stability.textbook import CAT, HENON, LORENZ_FLOW, quadratic
from thetadot.dynamics import StateError
from thetadot.stability import (
    HiddenDependenceError,
    SizeError,
    StabilityError,
    adjoint,
    covariant_vectors,
    finite_time_exponents,
    fixed_point_exponents,
    loss_prediction,
    lyapunov,
    network_exponent,
    orbital_stability,
    regime_scan,
    shallow_hessian,
    tangent,
    tangent_matrix,
)

KEY = jax.random.key(1)
RULES = {
    "descent": td.GradientDescent(0.1),
    "heavy ball": td.HeavyBall(0.1, 0.8),
    "nesterov": td.Nesterov(0.1, 0.8),
    "batches": td.MiniBatch(0.1, 5, KEY, epochs=True),
    "samples": td.PerSample(0.1, order="random", key=KEY),
    "adam": td.Optax(optax.adam(0.05)),
}


@pytest.mark.parametrize("name", RULES)
def test_the_tangent_of_a_step_is_its_derivative_and_the_adjoint_its_transpose(name):
    system = td.training_map(NET, RULES[name])
    rng = np.random.default_rng(0)
    state = np.asarray(system.start(THETA)) + 0.1
    v, u = (np.linalg.qr(rng.normal(size=(state.size, 2)))[0] for _ in range(2))
    derivative = jax.jit(jax.jacrev(lambda s, n: system(s, n)))
    for n in (0, 1, 50):
        new, moved = tangent(system, state, v, n)
        np.testing.assert_allclose(new, system(state, n), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(moved, derivative(state, n) @ v, rtol=0, atol=1e-12 * np.abs(moved).max())
        pulled = adjoint(system, state, u, n)
        np.testing.assert_allclose(u.T @ moved, pulled.T @ v, rtol=0, atol=1e-12 * np.abs(moved).max())


@pytest.mark.parametrize("rule", [td.GradientDescent(0.3), td.HeavyBall(0.3, 0.7)])
def test_the_dense_tangent_is_that_of_automatic_differentiation(rule):
    system = td.training_map(NET, rule)
    state = np.asarray(system.start(THETA)) + 0.05
    matrix = tangent_matrix(system, state)  # k = d: by the structured Hessian
    identity, h = np.eye(31), hessian(state[:31])
    expected = identity - 0.3 * h
    if state.size > 31:
        expected = np.block([[expected, 0.7 * identity], [-0.3 * h, 0.7 * identity]])
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "hidden", "output"),
    list(
        itertools.product(
            [(1, 10, 1), (3, 5, 2), (4, 7, 3)], ["tanh", "sigmoid", "softplus"], ["identity", "tanh"]
        )
    ),
)
def test_the_closed_form_of_a_three_layer_network_is_its_hessian(sizes, hidden, output):
    from thetadot.problems import as_activation

    i, h, o = sizes
    rng = np.random.default_rng(i + h)
    shapes = [(h, i), (h,), (o, h), (o,)]
    parts = [rng.normal(size=shape) for shape in shapes]
    x, y = rng.normal(size=(9, i)), rng.normal(size=(9, o))
    phi, psi = as_activation(hidden), as_activation(output)
    borders = np.cumsum([part.size for part in parts])[:-1]

    def loss(theta):
        u, b, v, a = (piece.reshape(s) for piece, s in zip(jnp.split(theta, borders), shapes, strict=True))
        return jnp.sum((psi(phi(x @ u.T + b[None]) @ v.T + a[None]) - y) ** 2) / (2 * len(x))

    truth = jax.jit(jax.hessian(loss))(np.concatenate([part.ravel() for part in parts]))
    found = shallow_hessian(*parts, x, y, hidden=hidden, output=output)
    assert np.abs(found - truth).max() <= 1e-12


def test_states_and_tangents_of_the_wrong_kind_are_refused():
    with pytest.raises(td.PrecisionError, match="float32"):
        tangent(HENON, np.zeros(2, np.float32), np.eye(2))
    with pytest.raises(StateError, match="flat vector"):
        tangent(HENON, np.zeros(2, int), np.eye(2))
    ball = td.training_map(NET, td.HeavyBall(0.1, 0.5))
    with pytest.raises(StateError, match=r"31 entries, this system has 62.*system\.start"):
        tangent(ball, THETA, np.eye(31))
    with pytest.raises(StateError, match="both must be equal"):
        tangent(HENON, np.zeros(3), np.eye(3))
    with pytest.raises(StabilityError, match=r"\(2, k\)"):
        tangent(HENON, np.zeros(2), np.eye(3))
    with pytest.raises(StabilityError, match="positive time interval"):
        tangent(LORENZ_FLOW, np.ones(3), np.eye(3))
    with pytest.raises(StabilityError, match="takes one step"):
        tangent(CAT, np.ones(2), np.eye(2), interval=1.0)
    with pytest.raises(StabilityError, match="given a Flow"):
        adjoint(LORENZ_FLOW, np.ones(3), np.eye(3))
    wide = td.StepMap(lambda s, n, aux: 0.5 * s)
    with pytest.raises(SizeError, match="5000"):
        tangent_matrix(wide, np.zeros(5000))
    one, four = np.ones(1), np.ones((4, 1))
    with pytest.raises(StabilityError, match="do not fit"):
        shallow_hessian(np.ones((2, 1)), np.ones(3), np.ones((1, 2)), one, four, four, hidden="tanh")


def target_network(prediction, label):
    """Squared error against a target that the prediction itself moves, but not for the gradient."""
    return 0.5 * jnp.sum((prediction - label - 0.5 * jax.lax.stop_gradient(prediction)) ** 2)


def test_a_step_that_hides_part_of_its_derivative_is_refused():
    hidden = td.EmpiricalRisk(NET.network, target_network, NET.x, NET.y)
    descent, flow = td.training_map(hidden, td.GradientDescent(0.1)), td.training_flow(hidden)
    curled = td.StepMap(lambda s, n, aux: 0.5 * s + s * jax.lax.stop_gradient(s) ** 2)
    for attempt in (
        lambda: tangent(descent, THETA, np.eye(31)),
        lambda: adjoint(curled, np.ones(2), np.eye(2)),
        lambda: tangent_matrix(descent, THETA),
        lambda: tangent(flow, THETA, np.eye(31), interval=0.1),
        lambda: fixed_point_exponents(curled, np.zeros(2)),
        lambda: lyapunov(curled, np.zeros(2), 10),  # at this state nothing is hidden, beside it there is
        lambda: covariant_vectors(curled, np.ones(2), transient=1, window=2, tail=1),
        lambda: finite_time_exponents(curled, np.ones(2), 3),
        lambda: network_exponent(curled, np.ones((1, 2)), duration=40, parts=None),
        lambda: regime_scan(lambda rate: curled, [1.0], np.ones((1, 2)), transient=1, duration=300),
        lambda: loss_prediction(descent, np.ones((20, 31)), final=100, windows=(10,)),
    ):
        with pytest.raises(HiddenDependenceError, match="behind stop_gradient"):
            attempt()
    looped = td.StepMap(
        lambda s, n, aux: jax.lax.fori_loop(0, 2, lambda i, x: x * jax.lax.stop_gradient(x), s)
    )
    with pytest.raises(HiddenDependenceError):
        tangent(looped, np.ones(2), np.eye(2))
    assert (
        orbital_stability(curled, np.full(2, 0.1), duration=3).mean_distance[-1] > 0
    )  # finite: nothing is hidden


def test_stops_that_cancel_are_let_through():
    shifted = td.StepMap(lambda s, n, aux: jax.nn.log_softmax(s))
    state = np.array([0.3, -1.0, 2.0])
    soft = np.exp(state) / np.exp(state).sum()
    found = tangent_matrix(shifted, state)
    np.testing.assert_allclose(found, np.eye(3) - soft[None, :], rtol=0, atol=1e-15)
    sure = td.EmpiricalRisk(td.linear([1, 2]), td.cross_entropy, np.ones((2, 1)), np.zeros(2, int))
    for margin in (0.0, 10.0, 18.0):  # probabilities of the wrong label down to 1e-16
        tangent(td.training_flow(sure), np.array([margin, -margin]), np.eye(2), interval=0.1)


def test_starts_of_the_wrong_kind_are_refused():
    few = {"transient": 1, "duration": 300}
    for states, error in [
        (np.ones((1, 2), np.float32), td.PrecisionError),
        (np.ones((1, 2), int), StateError),
    ]:
        with pytest.raises(error):
            regime_scan(lambda rate: HENON, [1.0], states, **few)
        with pytest.raises(error):
            network_exponent(HENON, states, duration=40)
    with pytest.raises(StateError, match="both must be equal"):
        regime_scan(lambda rate: HENON, [1.0], np.ones((1, 3)), **few)


def test_a_new_learning_rate_state_or_data_of_equal_shape_compiles_nothing(count_compilations):
    def run(problem, rate, theta):
        system = td.training_map(problem, td.GradientDescent(rate))
        few = {"count": 2, "transient": 5, "window": 12, "tail": 4}
        return [
            tangent(system, theta, np.eye(31)[:, :2])[1],
            lyapunov(system, theta, 20, count=2).exponents,
            covariant_vectors(system, theta, **few).exponents,
        ]

    other = td.EmpiricalRisk(NET.network, td.squared, 2 * NET.x, NET.y)
    first = run(NET, 0.1, THETA)
    with count_compilations() as counted:
        outs = [run(NET, 0.2, THETA), run(other, 0.1, 2 * np.asarray(THETA))]
    assert not counted.compiled
    assert all(not np.allclose(one, two) for out in outs for one, two in zip(first, out, strict=True))
    assert DESCENT.problem is NET
    assert quadratic().size == 5
