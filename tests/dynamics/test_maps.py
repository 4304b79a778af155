"""Maps: what a step sees, what is refused, and how a step is linearised, scanned and compiled."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thetadot as td
from tests.dynamics.regression import HAND, RISK, THETA0, problem
from thetadot.dynamics import StateError

SIZE = THETA0.size
KEY = jax.random.key(1)


def henon(state, n, aux):
    return jnp.stack([1 - 1.4 * state[0] ** 2 + state[1], 0.3 * state[0]])


def driven(state, n, aux):
    return state + aux["push"] * aux["sign"]


def test_a_users_map_steps_and_is_its_own_parameters():
    system = td.StepMap(henon)
    state = np.array([0.5, 0.25])
    np.testing.assert_allclose(system(state, 0), [0.9, 0.15], rtol=1e-15)
    assert system.start(state).tolist() == state.tolist()
    assert system.theta(state) is state
    assert system.problem is None
    assert system.time_per_step is None


def test_arrays_beside_the_state_repeat_with_their_period():
    rows = {"push": np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), "sign": np.array([1.0, -1.0, 2.0])}
    system = td.StepMap(driven, rows)
    for n in (0, 1, 2, 3, 7):
        expected = rows["push"][n % 3] * rows["sign"][n % 3]
        np.testing.assert_allclose(system(np.zeros(2), n), expected, rtol=1e-15)


def test_a_function_beside_the_state_replays_the_noise_of_any_step():
    system = td.StepMap(
        lambda state, n, aux: state + aux, lambda n: jax.random.normal(jax.random.fold_in(KEY, n), (2,))
    )
    first, again = system(np.zeros(2), 12), system(np.zeros(2), 12)
    assert np.array_equal(first, again)
    np.testing.assert_allclose(first, jax.random.normal(jax.random.fold_in(KEY, 12), (2,)), rtol=1e-15)
    assert not np.array_equal(first, system(np.zeros(2), 13))


def test_states_of_the_wrong_kind_are_refused():
    system = td.StepMap(henon)
    for state in (np.zeros(2, int), [1, 2], np.zeros((2, 1)), 0.5, np.zeros(0)):
        with pytest.raises(StateError, match="flat vector"):
            system(state, 0)
    with pytest.raises(td.PrecisionError, match="float32"):
        system(np.zeros(2, np.float32), 0)
    with pytest.raises(StateError, match=f"{SIZE} parameters"):
        td.training_map(RISK, td.GradientDescent(0.1)).start(np.zeros(3))


def test_steps_and_data_of_the_wrong_kind_are_refused():
    with pytest.raises(StateError, match=r"\(3,\)"):
        td.StepMap(lambda state, n, aux: jnp.ones(3))(np.zeros(2), 0)
    with pytest.raises(StateError, match="int"):
        td.StepMap(lambda state, n, aux: jnp.zeros(2, int))(np.zeros(2), 0)
    with pytest.raises(StateError, match="function"):
        td.StepMap(0.5)
    for aux in ({"a": np.zeros((3, 2)), "b": np.zeros(2)}, np.zeros((0, 2)), 0.5, {}):
        with pytest.raises(StateError, match="leading axis"):
            td.StepMap(driven, aux)


RULES = {
    "descent": td.GradientDescent(0.3),
    "heavy ball": td.HeavyBall(0.3, 0.8),
    "nesterov": td.Nesterov(0.3, 0.8),
    "batches": td.MiniBatch(0.3, 5, KEY),
    "passes": td.MiniBatch(0.3, 5, KEY, epochs=True),
    "samples": td.PerSample(0.3, order="random", key=KEY),
    "adam": td.Optax(optax.adam(0.05)),
}


@eqx.filter_jit
def pushes(system, state, n, tangent, covector):
    step = lambda point: system(point, n)  # noqa: E731
    forward = jax.jvp(step, (state,), (tangent,))[1]
    return forward, jax.vjp(step, state)[1](covector)[0]


@pytest.mark.parametrize("name", RULES)
def test_the_tangent_of_a_step_is_the_transpose_of_its_adjoint(name):
    system = td.training_map(RISK, RULES[name])
    rng = np.random.default_rng(0)
    state = system.start(THETA0)
    assert system.problem is RISK
    for n in (0, 1, 50):
        tangent, covector = jnp.asarray(rng.normal(size=(2, state.size)))
        forward, backward = pushes(system, state, jnp.int32(n), tangent, covector)
        assert abs(forward @ covector - tangent @ backward) <= 1e-12 * np.linalg.norm(forward)
        state = state + 0.1 * jnp.abs(tangent)


def test_tangents_of_descent_and_heavy_ball_are_those_of_the_hessian():
    identity, hessian = np.eye(SIZE), HAND.hessian(THETA0)
    plain = td.training_map(RISK, td.GradientDescent(0.3))
    matrix = jax.jit(jax.jacfwd(lambda state: plain(state, 0)))(plain.start(THETA0))
    np.testing.assert_allclose(matrix, identity - 0.3 * hessian, rtol=0, atol=1e-12)
    ball = td.training_map(RISK, td.HeavyBall(0.3, 0.8))
    matrix = jax.jit(jax.jacrev(lambda state: ball(state, 0)))(ball.start(THETA0))
    expected = np.block([[identity - 0.3 * hessian, 0.8 * identity], [-0.3 * hessian, 0.8 * identity]])
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12)


def test_parameters_of_stacked_states_are_their_first_columns():
    system = td.training_map(RISK, td.HeavyBall(0.3, 0.8))
    state = np.asarray(system.start(THETA0))
    stacked = np.stack([state, 2 * state])
    assert np.array_equal(system.theta(stacked), np.stack([THETA0, 2 * THETA0]))
    assert np.array_equal(state[SIZE:], np.zeros(SIZE))


def test_the_time_of_a_step_is_the_learning_rate_in_units_of_the_problem():
    wide = td.two_layer(2, 8, "tanh", scaling="mean_field")
    slow = td.EmpiricalRisk(wide, td.squared, RISK.x, RISK.y)
    assert slow.time_scale == 8
    assert float(td.training_map(slow, td.HeavyBall(0.4, 0.5)).time_per_step) == 0.05
    scheduled = td.training_map(slow, td.GradientDescent(lambda n: 0.8 / (1.0 + n.astype(float))))
    assert [float(scheduled.time_per_step(jnp.int32(n))) for n in (0, 1, 3)] == [0.1, 0.05, 0.025]
    path = td.descend(slow, np.zeros(slow.size), td.GradientDescent(0.4), 3, progress=False)
    np.testing.assert_allclose(path.ts, [0, 0.05, 0.1, 0.15], rtol=1e-15)


@jax.jit
def ends_of_scan(risk, rates, momentum):
    def run(rate):
        system = td.training_map(risk, td.HeavyBall(rate, momentum))
        state = jax.lax.fori_loop(0, 10, lambda n, state: system(state, n), system.start(jnp.asarray(THETA0)))
        return system.theta(state)

    return jax.lax.map(run, rates)


def test_a_scan_over_learning_rates_is_one_compilation(count_compilations):
    rates = jnp.array([0.1, 0.2, 0.3])
    with count_compilations() as counted:
        ends = ends_of_scan(RISK, rates, jnp.float64(0.5))
    assert counted.compiled.count("jit(ends_of_scan)") == 1
    for rate, end in zip(rates, ends, strict=True):
        path = td.descend(RISK, THETA0, td.HeavyBall(rate, 0.5), 10, progress=False)
        np.testing.assert_allclose(end, path.thetas[-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("make", [
    lambda change: td.HeavyBall(0.3 + change, 0.8 - change),
    lambda change: td.MiniBatch(0.3 + change, 5, jax.random.key(int(100 * change))),
])  # fmt: skip
def test_other_numbers_keys_states_and_data_do_not_retrace(make, count_compilations):
    other = problem(seed=9)
    systems = [
        td.training_map(RISK, make(0.0)),
        td.training_map(RISK, make(0.1)),
        td.training_map(other, make(0.0)),
    ]
    states = [system.start(THETA0) for system in systems]
    outs = [np.asarray(systems[0](states[0], 0))]
    with count_compilations() as counted:
        outs += [np.asarray(system(2 * state, 5)) for system, state in zip(systems, states, strict=True)]
    assert not [name for name in counted.traced + counted.compiled if "step" in name], counted
    assert len({out.tobytes() for out in outs}) == 4
