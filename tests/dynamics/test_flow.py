"""How a flow ends, saves, resumes, guards itself and refuses nonsense."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics.specimens import BOWL, DOUBLE_WELL, NEEDS_SUNDIALS, RATES, network, same_bits
from thetadot.dynamics import FlowFailedError, InvariantManifoldWarning, ResumeError
from thetadot.numerics.solvers import RadauIIA

CVODES = [pytest.param(name, marks=NEEDS_SUNDIALS) for name in ("CVODE", "CVODE-GMRES")]
SOLVERS = [
    "Tsit5",
    "Dopri5",
    "Dopri8",
    "Kvaerno3",
    "Kvaerno4",
    "Kvaerno5",
    "NDF",
    "NDF-cg",
    "RadauIIA",
    "auto",
]
SOLVERS += CVODES
SOLVERS += ["RKC2", "ExponentialRosenbrock"]


def _flow(problem=BOWL, start=(1.0, 1.0), **settings):
    settings.setdefault("until", td.Until(time=3.0))
    return td.flow(problem, jnp.asarray(np.array(start, float)), progress=False, **settings)


def test_explicit_saves_give_exactly_those_rows():
    times = np.array([0.1, 0.7, 2.5])
    path = _flow(saves=times)
    assert np.array_equal(path.ts, times)
    np.testing.assert_allclose(path.thetas, np.exp(-times[:, None] * RATES), rtol=1e-7)
    with_start = _flow(saves=np.append(0.0, times))
    assert np.array_equal(with_start.ts, np.append(0.0, times))


def test_the_default_grid_is_geometric_with_both_ends():
    path = _flow()
    assert len(path.ts) == 200
    assert path.ts[0] == 0.0
    assert path.ts[-1] == 3.0
    ratios = path.ts[2:] / path.ts[1:-1]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)


def test_linear_saves_are_even_and_step_saves_are_the_steps():
    path = _flow(saves="linear")
    np.testing.assert_allclose(path.ts, np.linspace(0, 3.0, 200), rtol=1e-12)
    steps = _flow(saves="steps")
    assert np.array_equal(steps.steps, np.arange(len(steps.ts)))
    assert steps.ts[-1] == 3.0


def test_a_run_without_end_time_saves_until_it_converges():
    path = _flow(until=td.Until(grad_norm=1e-6))
    assert path.outcome is td.Outcome.CONVERGED
    assert not path.degenerate
    # The step that gets there is the last one; rows inside it may lie below the level too.
    assert path.grad_norms[-1] <= 1e-6 < path.grad_norms[path.steps < path.steps[-1]].min()


def test_a_run_ends_at_its_loss_and_at_its_number_of_steps():
    path = _flow(until=td.Until(loss=0.1))
    assert path.outcome is td.Outcome.REACHED_LOSS
    # The step that gets there is the last one; rows inside it may lie below the level too.
    assert path.losses[-1] <= 0.1 < path.losses[path.steps < path.steps[-1]].min()
    steps = _flow(until=td.Until(steps=17))
    assert steps.outcome is td.Outcome.REACHED_STEPS
    assert steps.steps[-1] == steps.stats.accepted == 17


# Certified runs resume by one mechanism, whatever their solver: two stand for all in the quick suite.
CERTIFIED = ("NDF", "Tsit5")


@pytest.mark.parametrize(
    ("solver", "certify"),
    [(solver, False) for solver in SOLVERS]
    + [
        pytest.param(solver, True, marks=[] if solver in CERTIFIED else [pytest.mark.slow])
        for solver in SOLVERS
    ],
)
def test_a_run_in_pieces_equals_the_uninterrupted_one_to_the_bit(solver, certify):
    settings = {"solver": solver, "certify": certify, "until": td.Until(time=50.0), "observe": ["sharpness"]}
    whole = _flow(**settings)
    pieces, path = 0, None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = _flow(**settings, budget=1e-9, resume=path)
        pieces += 1
    assert pieces >= 3
    assert same_bits(path, whole)
    counts = ("gradients", "hessians", "accepted", "rejected", "solvers")
    assert [getattr(path.stats, name) for name in counts] == [getattr(whole.stats, name) for name in counts]


@pytest.mark.parametrize("solver", ["Tsit5", "NDF"])
def test_a_finished_run_taken_further_has_a_row_at_its_new_end(solver):
    settings = {"solver": solver, "saves": "log"}
    short = _flow(until=td.Until(time=1.0), **settings)
    for end in (1.0 + 1e-9, 5.0):  # inside the step that passed the first end, and far beyond
        longer = _flow(until=td.Until(time=end), resume=short, **settings)
        assert longer.ts[-1] == end
        assert np.all(np.diff(longer.ts) > 0)
        np.testing.assert_allclose(longer.thetas[-1], np.exp(-end * RATES), rtol=1e-4)


def test_a_path_from_disk_resumes_to_the_same_bits(tmp_path):
    problem = network()
    theta0 = problem.init(jax.random.key(1))
    settings = {"until": td.Until(time=20.0), "certify": True, "progress": False}
    whole = td.flow(problem, theta0, **settings)
    path = None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = td.flow(problem, theta0, **settings, budget=1e-9, resume=path)
        path.save(tmp_path / "path.npz")
        path = td.Path.load(tmp_path / "path.npz")
    assert same_bits(path, whole)


def test_a_finished_run_can_be_taken_further():
    short = _flow(until=td.Until(time=1.0), saves=[0.0, 0.5, 1.0])
    longer = _flow(until=td.Until(time=3.0), saves=[0.0, 0.5, 1.0, 2.0, 3.0], resume=short)
    assert np.array_equal(longer.ts, [0.0, 0.5, 1.0, 2.0, 3.0])
    assert np.array_equal(longer.thetas[:3], short.thetas)
    np.testing.assert_allclose(longer.thetas[-1], np.exp(-3 * RATES), rtol=1e-6)


def test_resuming_with_other_settings_or_another_start_is_refused():
    path = _flow(budget=1e-9)
    radau = _flow(budget=1e-9, solver=RadauIIA(5))
    with pytest.raises(ResumeError, match=r"solver was 'RadauIIA\(5\)' and is now 'RadauIIA\(7\)'"):
        _flow(solver=RadauIIA(7), resume=radau)
    with pytest.raises(ResumeError, match="solver was 'auto' and is now 'Tsit5'"):
        _flow(solver="Tsit5", resume=path)
    with pytest.raises(ResumeError, match="the start differs"):
        _flow(start=(2.0, 1.0), resume=path)


def test_a_budget_of_one_second_returns_what_there_is_and_can_be_resumed():
    def unending(theta):
        return 0.5 * jnp.sum(jnp.array([1e6, 1.0]) * theta**2)

    problem = td.FunctionRisk(unending, jnp.ones(2))
    began = time.perf_counter()
    path = _flow(problem, until=td.Until(time=1e3), solver="Tsit5", budget=1.0)
    assert path.outcome is td.Outcome.BUDGET_SPENT
    assert path.outcome.resumable
    assert 1.0 <= time.perf_counter() - began < 20.0
    assert len(path.ts) > 2
    again = _flow(problem, until=td.Until(time=1e3), solver="Tsit5", budget=1.0, resume=path)
    assert np.array_equal(again.thetas[: len(path.ts)], path.thetas)
    assert again.steps[-1] >= path.steps[-1]
    assert again.stats.accepted > path.stats.accepted


def test_an_interrupt_keeps_what_was_done(monkeypatch):
    calls = []

    def interrupt(fraction, text):
        calls.append(text)
        if len(calls) == 2:
            raise KeyboardInterrupt

    start = jnp.ones(2)
    settings = {"until": td.Until(time=1e4), "solver": "Tsit5"}
    path = td.flow(BOWL, start, progress=interrupt, **settings)
    assert path.outcome is td.Outcome.INTERRUPTED
    whole = td.flow(BOWL, start, progress=False, **settings)
    assert same_bits(td.flow(BOWL, start, progress=False, resume=path, **settings), whole)


def test_steps_bound_by_stability_do_not_return_to_the_host_one_by_one():
    reports = []
    stiff = td.FunctionRisk(_stiff, jnp.ones(2))
    end = td.Until(time=30.0)
    path = td.flow(
        stiff, jnp.ones(2), until=end, solver="Tsit5", progress=lambda fraction, text: reports.append(text)
    )
    assert path.stats.accepted > 2000
    assert len(reports) < 60


def _stiff(theta):
    return 0.5 * jnp.sum(jnp.array([300.0, 1.0]) * theta**2)


def test_a_saddle_does_not_count_as_convergence():
    path = _flow(DOUBLE_WELL, (1e-9, 1.0), until=td.Until(grad_norm=1e-4))
    assert path.outcome is td.Outcome.CONVERGED
    np.testing.assert_allclose(path.thetas[-1], [1.0, 0.0], atol=1e-4)
    plateaus = [e for e in path.events if e.kind == "plateau"]
    assert len(plateaus) == 1
    np.testing.assert_allclose(plateaus[0].value, -1.0, atol=1e-6)
    accepted = _flow(DOUBLE_WELL, (1e-9, 1.0), until=td.Until(grad_norm=1e-4, accept_saddles=True))
    assert accepted.outcome is td.Outcome.CONVERGED
    assert abs(accepted.thetas[-1][0]) < 1e-3


def test_a_start_on_the_stable_manifold_is_told_and_a_perturbation_leaves_it():
    with pytest.warns(InvariantManifoldWarning, match="perturb="):
        path = _flow(DOUBLE_WELL, (0.0, 1.0), until=td.Until(grad_norm=1e-6))
    assert path.outcome is td.Outcome.STALLED
    freed = _flow(DOUBLE_WELL, (0.0, 1.0), until=td.Until(grad_norm=1e-6), perturb=1e-6)
    assert freed.outcome is td.Outcome.CONVERGED
    np.testing.assert_allclose(abs(freed.thetas[-1][0]), 1.0, atol=1e-5)


def test_a_flat_valley_converges_as_degenerate():
    def valley(theta):
        return 0.5 * (theta[0] * theta[1] - 1.0) ** 2

    path = _flow(td.FunctionRisk(valley, jnp.ones(2)), (2.0, 1.0), until=td.Until(grad_norm=1e-9))
    assert path.outcome is td.Outcome.CONVERGED
    assert path.degenerate
    # a² − b² is conserved: an independent truth for the end point.
    np.testing.assert_allclose(path.thetas[-1][0] ** 2 - path.thetas[-1][1] ** 2, 3.0, rtol=1e-6)


def test_polish_reaches_rounding_and_reports_the_displacement():
    path = _flow(DOUBLE_WELL, (0.5, 1.0), until=td.Until(time=1e3), polish=True)
    assert path.outcome is td.Outcome.CONVERGED
    assert path.polished is not None
    np.testing.assert_allclose(path.polished.theta, [1.0, 0.0], atol=1e-15)
    moved = np.linalg.norm(path.polished.theta - path.thetas[-1]) / np.linalg.norm(path.thetas[-1])
    np.testing.assert_allclose(path.polished.displacement, moved, rtol=1e-9)
    again = _flow(DOUBLE_WELL, (0.5, 1.0), until=td.Until(time=1e3), polish=True, resume=path)
    assert again.polished is not None
    assert np.array_equal(again.polished.theta, path.polished.theta)


def test_polish_is_refused_in_a_valley():
    def valley(theta):
        return 0.5 * (theta[0] * theta[1] - 1.0) ** 2

    path = _flow(td.FunctionRisk(valley, jnp.ones(2)), (2.0, 1.0), until=td.Until(time=50.0), polish=True)
    assert path.outcome is td.Outcome.REACHED_TIME
    assert path.polished is None


def test_a_blow_up_is_a_path_with_its_outcome_and_raises_only_on_demand():
    def falling(theta):
        return -jnp.sum(theta**3) / 3

    problem = td.FunctionRisk(falling, jnp.ones(1))
    path = _flow(problem, (1.0,), until=td.Until(time=2.0))
    assert path.outcome is td.Outcome.DIVERGED
    assert np.all(np.isfinite(path.thetas))
    # θ = 1/(1 − t), as long as it lasts.
    early = path.ts < 0.9
    np.testing.assert_allclose(path.thetas[early, 0], 1 / (1 - path.ts[early]), rtol=1e-6)
    with pytest.raises(FlowFailedError, match="DIVERGED") as failure:
        _flow(problem, (1.0,), until=td.Until(time=2.0), throw=True)
    assert len(failure.value.path.ts) == len(path.ts)


def test_an_accuracy_that_cannot_be_reached_is_flagged_and_never_silent(monkeypatch):
    from thetadot.dynamics import certification

    monkeypatch.setattr(certification, "TIGHTEST", 1e-6)
    path = _flow(accuracy=1e-15, rtol=1e-4, certify=True)
    assert path.accuracy.missed
    assert "MISSED" in str(path.accuracy)
    assert "MISSED" in repr(path)


def test_a_second_call_of_the_same_shapes_retraces_nothing(count_compilations):
    starts = [network(seed=0).init(jax.random.key(k)) for k in range(2)]
    problems = [network(seed=s) for s in range(2)]
    settings = {"observe": ["sharpness"], "certify": True, "progress": False}
    td.flow(problems[0], starts[0], until=td.Until(time=5.0), accuracy=1e-6, **settings)
    with count_compilations() as counted:
        path = td.flow(problems[1], starts[1], until=td.Until(time=9.0), accuracy=1e-7, **settings)
    assert counted.total == 0, counted
    assert path.ts[-1] == 9.0


@pytest.mark.parametrize(
    "observe", [["sharpness", "layer_norms", "balancedness", "alignment"], {"top": "sharpness"}]
)
def test_observables_are_what_dense_linear_algebra_says(observe):
    problem = network()
    path = td.flow(
        problem,
        problem.init(jax.random.key(2)),
        until=td.Until(time=4.0),
        saves=[0.0, 1.0, 4.0],
        observe=observe,
        progress=False,
    )
    name = "sharpness" if isinstance(observe, list) else "top"
    dense = [np.linalg.eigvalsh(np.asarray(problem.hessian(jnp.asarray(t))))[-1] for t in path.thetas]
    np.testing.assert_allclose(path.observed[name], dense, rtol=1e-7)
    if isinstance(observe, dict):
        return
    theta = path.thetas[1]
    hidden, output = theta[:12].reshape(4, 3), theta[16:24].reshape(2, 4)
    norms = [np.linalg.norm(part) for part in (theta[:12], theta[12:16], theta[16:24], theta[24:26])]
    np.testing.assert_allclose(path.observed["layer_norms"][1], norms, rtol=1e-12)
    balance = (hidden**2).sum(1) + theta[12:16] ** 2 - (output**2).sum(0)
    np.testing.assert_allclose(path.observed["balancedness"][1], balance, rtol=1e-12)
    gradient = np.asarray(jax.grad(problem.loss)(jnp.asarray(theta)))
    cosine = -theta @ gradient / np.linalg.norm(theta) / np.linalg.norm(gradient)
    np.testing.assert_allclose(path.observed["alignment"][1], cosine, rtol=1e-10)


def test_certified_observables_belong_to_the_path_that_is_returned():
    def first(theta, problem):
        return theta[0]

    path = _flow(observe={"first": first}, certify=True)
    assert np.array_equal(path.observed["first"], path.thetas[:, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accuracy": -1.0}, "accuracy = -1.0: expected a positive number"),
        ({"rtol": np.nan}, "rtol = nan"),
        ({"solver": "Euler"}, "solver 'Euler' is not known"),
        ({"saves": [1.0, 0.5]}, "strictly ascending"),
        ({"saves": "sometimes"}, 'expected "log", "linear", "steps"'),
        ({"saves": [5.0]}, "beyond the end time"),
        ({"saves": "linear", "until": td.Until(grad_norm=1e-3)}, "needs an end time"),
        ({"observe": ["speed"]}, "observable 'speed' is not known: choose sharpness"),
        ({"observe": ["balancedness"]}, "needs hidden neurons"),
        ({"saves": "steps", "certify": True}, "common time grid"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(settings, message):
    with pytest.raises(td.ThetadotError, match=message) as refusal:
        _flow(**settings)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("theta0", "kind", "message"),
    [
        (np.ones(3), td.ThetadotError, r"shape \(3,\): expected \(2,\)"),
        (np.ones((2, 1)), td.ThetadotError, "expected"),
        (np.ones(2, np.float32), td.PrecisionError, "float32: expected float64"),
        (np.ones(2, int), td.ThetadotError, "expected float64"),
        (np.array([1.0, np.nan]), td.ThetadotError, "NaN"),
    ],
)
def test_a_bad_start_is_refused_by_name(theta0, kind, message):
    with pytest.raises(kind, match=message):
        td.flow(BOWL, theta0, until=td.Until(time=1.0))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({}, "names no end"),
        ({"time": -1.0}, "positive"),
        ({"steps": 0}, "positive integer"),
        ({"loss": np.inf}, "finite"),
    ],
)
def test_a_wrong_end_is_refused(bounds, message):
    with pytest.raises(td.ThetadotError, match=message):
        td.Until(**bounds)
