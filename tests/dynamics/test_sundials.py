"""CVODE inside `flow` and `integrate`: as the closed forms say, and everything a run can do besides."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics import zoo
from tests.dynamics.specimens import BOWL, DOUBLE_WELL, NEEDS_SUNDIALS, RATES, TURN, network, same_bits
from thetadot.dynamics import FlowArgumentError, ResumeError, sundials
from thetadot.numerics.solvers import CVODE, MissingSundialsError

pytestmark = NEEDS_SUNDIALS
BOTH = ["CVODE", "CVODE-GMRES"]


def _flow(problem=BOWL, start=(1.0, 1.0), solver="CVODE", **settings):
    settings.setdefault("until", td.Until(time=3.0))
    settings.setdefault("progress", False)
    return td.flow(problem, jnp.asarray(np.array(start, float)), solver=solver, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("solver", BOTH)
def test_cvode_and_kvaerno5_agree_on_a_network(solver):
    problem = network()
    theta0, end = problem.init(jax.random.key(3)), td.Until(time=50.0)
    one, other = (
        td.flow(problem, theta0, until=end, solver=name, accuracy=1e-7, certify=True, progress=False)
        for name in (solver, "Kvaerno5")
    )
    assert not one.accuracy.missed
    np.testing.assert_allclose(one.thetas, other.thetas, rtol=0, atol=2e-7 * np.linalg.norm(other.thetas[0]))
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)
    assert 0 <= one.accuracy.energy_defect <= 1e-6


def test_fresh_starts_change_neither_the_accuracy_nor_the_identity_of_pieces(monkeypatch):
    monkeypatch.setattr(sundials, "RESTART", 40)
    case = zoo.scalar_network(0.3, -1.2, 1.0)
    settings = {"solver": "CVODE", "accuracy": 1e-6, "certify": True, "observe": ["layer_norms"]}
    whole = case.follow(**settings)
    assert whole.stats.accepted > 400, "too short to start afresh often"
    assert whole.accuracy.global_error >= case.error(whole) / 3
    assert case.error(whole) <= 1e-6
    path = None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = case.follow(**settings, budget=1e-9, resume=path)
    assert same_bits(path, whole)
    counts = ("gradients", "hessians", "accepted", "rejected")
    assert [getattr(path.stats, name) for name in counts] == [getattr(whole.stats, name) for name in counts]


@pytest.mark.parametrize("solver", BOTH)
def test_a_path_from_disk_resumes_to_the_same_bits(tmp_path, solver):
    def first(theta, problem):
        return theta[0] - 0.3

    settings = {"solver": solver, "events": {"first": td.Event(first)}, "until": td.Until(time=20.0)}
    whole, path = _flow(**settings), None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = _flow(**settings, budget=1e-9, resume=path)
        path.save(tmp_path / "path.npz")
        path = td.Path.load(tmp_path / "path.npz")
    assert same_bits(path, whole)
    assert [event.name for event in whole.events] == ["first"]


def test_saves_do_not_move_the_steps():
    coarse, fine = (_flow(saves=np.linspace(0, 3, rows)) for rows in (4, 31))
    assert np.array_equal(coarse.thetas, fine.thetas[::10])
    np.testing.assert_allclose(fine.thetas, np.exp(-fine.ts[:, None] * RATES), rtol=1e-6)


def test_step_saves_are_cvodes_own_steps():
    path = _flow(saves="steps")
    assert np.array_equal(path.steps, np.arange(len(path.ts)))
    np.testing.assert_allclose(path.thetas, np.exp(-path.ts[:, None] * RATES), rtol=1e-6)


@pytest.mark.parametrize("solver", BOTH)
def test_all_ends_are_found(solver):
    steps = _flow(until=td.Until(steps=17), solver=solver)
    assert steps.outcome is td.Outcome.REACHED_STEPS
    assert steps.steps[-1] == steps.stats.accepted == 17
    loss = _flow(until=td.Until(loss=0.1), solver=solver)
    assert loss.outcome is td.Outcome.REACHED_LOSS
    assert loss.losses[-1] <= 0.1 < loss.losses[-2]
    converged = _flow(until=td.Until(grad_norm=1e-6), solver=solver)
    assert converged.outcome is td.Outcome.CONVERGED
    assert converged.grad_norms[-1] <= 1e-6 < converged.grad_norms[-2]


def test_a_saddle_does_not_count_as_convergence():
    path = _flow(DOUBLE_WELL, (1e-9, 1.0), until=td.Until(grad_norm=1e-4))
    assert path.outcome is td.Outcome.CONVERGED
    np.testing.assert_allclose(path.thetas[-1], [1.0, 0.0], atol=1e-4)
    assert [event.kind for event in path.events] == ["plateau"]


def test_a_polished_end_is_the_minimum():
    path = _flow(DOUBLE_WELL, (0.5, 1.0), until=td.Until(time=1e3), polish=True)
    assert path.polished is not None
    np.testing.assert_allclose(path.polished.theta, [1.0, 0.0], atol=1e-15)


def test_events_are_located_by_cvodes_own_interpolant():
    def height(state, rate):
        return state[1]

    watched = {
        "zero": td.Event(height),
        "top": td.Event(height, kind="maximum"),
        "stop": td.Event(_late, terminal=True),
    }
    path = td.integrate(
        td.Flow(_turn_with_clock),
        jnp.asarray([1.0, 0.0, 0.0]),
        until=td.Until(time=9.0),
        events=watched,
        accuracy=1e-9,
        solver="CVODE",
        progress=False,
    )
    # (cos 2t, sin 2t)
    tops = [event.time for event in path.events if event.name == "top"]
    np.testing.assert_allclose(tops, np.pi * (np.arange(3) + 0.25), rtol=1e-7)
    zeros = [event.time for event in path.events if event.name == "zero"]
    np.testing.assert_allclose(zeros, np.pi / 2 * np.arange(1, 5), rtol=1e-7)
    assert path.outcome is td.Outcome.EVENT
    assert path.ts[-1] == pytest.approx(2.3 * np.pi, rel=1e-9)
    angle = 4.6 * np.pi
    np.testing.assert_allclose(path.thetas[-1, :2], [np.cos(angle), np.sin(angle)], atol=1e-7)


def _turn_with_clock(state, args):
    return jnp.stack([-2 * state[1], 2 * state[0], jnp.ones(())])


def _late(state, rate):
    return state[2] - 2.3 * np.pi


def test_dense_output_and_resumed_ends_agree_with_the_closed_form():
    start, settings = jnp.asarray([1.0, 0.0]), {"dense": True, "accuracy": 1e-8, "solver": "CVODE"}
    short = td.integrate(TURN, start, saves=[0.0, 1.0], progress=False, **settings)
    path = td.integrate(TURN, start, saves=[0.0, 1.0, 5.0], resume=short, progress=False, **settings)
    times = np.linspace(0.0, 5.0, 97)
    truth = np.stack([np.cos(2 * times), np.sin(2 * times)], axis=-1)
    np.testing.assert_allclose(path.at(times), truth, rtol=0, atol=1e-7)


def test_a_blow_up_is_told_from_a_stall():
    path = _flow(td.FunctionRisk(_falling, jnp.ones(1)), (1.0,), until=td.Until(time=2.0))
    assert path.outcome is td.Outcome.DIVERGED
    # θ = 1/(1 − t), as long as it lasts.
    early = path.ts < 0.9
    np.testing.assert_allclose(path.thetas[early, 0], 1 / (1 - path.ts[early]), rtol=1e-5)


def _falling(theta):
    return -jnp.sum(theta**3) / 3


def test_an_undefined_field_ends_as_diverged():
    def cliff(theta):
        return 0.5 * jnp.sum(theta**2) + jnp.where(theta[0] < 0.5, jnp.nan, 0.0) * theta[0]

    path = _flow(td.FunctionRisk(cliff, jnp.ones(1)), (1.0,))
    assert path.outcome is td.Outcome.DIVERGED
    assert np.all(np.isfinite(path.thetas))
    assert path.ts[-1] <= np.log(2) < path.ts[-1] ** 2 / path.ts[-2]  # the next time of the grid


def test_a_second_call_of_the_same_shapes_retraces_nothing(count_compilations):
    problems = [network(seed=seed) for seed in range(2)]
    starts = [problems[0].init(jax.random.key(key)) for key in range(2)]
    settings = {"solver": "CVODE", "observe": ["layer_norms"], "certify": True, "progress": False}
    td.flow(problems[0], starts[0], until=td.Until(time=5.0), accuracy=1e-6, **settings)
    with count_compilations() as counted:
        path = td.flow(problems[1], starts[1], until=td.Until(time=9.0), accuracy=1e-7, **settings)
    assert counted.total == 0, counted
    assert path.ts[-1] == 9.0


def test_what_cvode_cannot_do_is_refused_in_one_line():
    def norm(error, state):
        return jnp.max(jnp.abs(error))

    with pytest.raises(FlowArgumentError, match="leave out error_norm"):
        td.integrate(TURN, jnp.ones(2), until=td.Until(time=1.0), error_norm=norm, solver="CVODE")
    with pytest.raises(td.ThetadotError, match='expected "dense" or "gmres"'):
        CVODE("cholesky")
    path = _flow(budget=1e-9)
    with pytest.raises(ResumeError, match="solver was 'CVODE' and is now 'CVODE-GMRES'"):
        _flow(solver=CVODE("gmres"), resume=path)
    same = _flow(solver=CVODE("dense"), resume=path)
    assert same.outcome is td.Outcome.REACHED_TIME


def test_without_the_extra_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingSundialsError, match=r"pip install 'thetadot\[sundials\]'") as refusal:
        _flow()
    assert "\n" not in str(refusal.value)
