"""How a descent ends: at its targets, at a minimum but not at a saddle, by diverging, or before it begins."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import thetadot as td
from tests.dynamics.regression import RISK, THETA0
from tests.dynamics.specimens import BOWL, DOUBLE_WELL
from thetadot.dynamics import (
    DescendArgumentError,
    FlowFailedError,
    InvariantManifoldWarning,
    StateError,
    UntilError,
)
from thetadot.dynamics.descend import check_arguments

START = np.array([1.0, 1.0])
SLOW = td.GradientDescent(0.1)


def _descend(rule=SLOW, steps=2000, risk=BOWL, start=START, **settings):
    return td.descend(risk, np.array(start, float), rule, steps, progress=False, **settings)


def test_a_descent_ends_at_the_first_step_whose_loss_is_low_enough():
    path = _descend(until=td.Until(loss=0.01))
    every = _descend(saves="steps")
    first = int(np.flatnonzero(every.losses <= 0.01)[0])
    assert path.outcome is td.Outcome.REACHED_LOSS
    assert path.steps[-1] == path.stats.accepted == first
    assert path.losses[-1] == pytest.approx(every.losses[first], rel=1e-14)
    assert path.losses[-1] <= 0.01 < path.losses[-2]


def test_a_descent_that_starts_low_enough_makes_no_step():
    path = _descend(until=td.Until(loss=10.0))
    assert path.outcome is td.Outcome.REACHED_LOSS
    assert path.steps.tolist() == [0]


def test_a_descent_converges_at_the_first_step_whose_gradient_is_small_enough():
    path = _descend(until=td.Until(grad_norm=1e-3))
    every = _descend(saves="steps")
    assert path.outcome is td.Outcome.CONVERGED
    assert path.stats.accepted == int(np.flatnonzero(every.grad_norms <= 1e-3)[0])
    assert path.grad_norms[-1] <= 1e-3
    assert not path.degenerate
    assert "lowest Hessian eigenvalue 0.1" in path.reason


def test_a_descent_ends_at_its_time_or_its_number_of_steps():
    timed = _descend(until=td.Until(time=1.0))
    assert timed.outcome is td.Outcome.REACHED_TIME
    assert timed.steps[-1] == 10
    between = _descend(until=td.Until(time=0.95))
    assert between.ts[-1] == pytest.approx(1.0)
    counted = _descend(until=td.Until(steps=17, time=1e3))
    assert counted.outcome is td.Outcome.REACHED_STEPS
    assert counted.steps[-1] == 17
    scheduled = _descend(td.GradientDescent(lambda n: 1 / (1.0 + n.astype(float))), until=td.Until(time=2.0))
    assert scheduled.outcome is td.Outcome.REACHED_TIME
    assert scheduled.steps[-1] == 4  # 1 + 1/2 + 1/3 + 1/4 is the first sum above 2
    with pytest.raises(UntilError, match="learning_rate"):
        _descend(td.Optax(optax.sgd(0.1)), until=td.Until(time=1.0))


def test_no_steps_are_a_path_of_one_row():
    path = _descend(steps=0)
    assert path.steps.tolist() == [0]
    assert path.outcome is td.Outcome.REACHED_STEPS


def test_rules_that_do_not_see_the_loss_end_at_a_row():
    rows = np.arange(0, 2001, 50)
    rule = td.Nesterov(0.1, 0.5)
    free = _descend(rule, saves=rows)
    bound = free.losses[11] * 1.0001
    path = _descend(rule, saves=rows, until=td.Until(loss=bound))
    assert path.outcome is td.Outcome.REACHED_LOSS
    assert np.array_equal(path.steps, rows[:12])
    assert path.losses[-1] <= bound < path.losses[-2]


def test_the_end_has_a_row_also_where_saves_are_explicit():
    path = _descend(saves=[0, 1000, 2000], until=td.Until(loss=0.01))
    assert path.outcome is td.Outcome.REACHED_LOSS
    assert path.steps.tolist() == [0, path.stats.accepted]


def test_a_saddle_is_a_plateau_and_not_the_end():
    path = _descend(risk=DOUBLE_WELL, start=[1e-8, 1.0], until=td.Until(grad_norm=1e-4))
    every = _descend(risk=DOUBLE_WELL, start=[1e-8, 1.0], saves="steps")
    assert path.outcome is td.Outcome.CONVERGED
    assert abs(path.thetas[-1, 0]) == pytest.approx(1.0, abs=1e-4)
    (plateau,) = path.events
    assert plateau.kind == "plateau"
    assert plateau.value == pytest.approx(-1.0, abs=1e-6)
    assert path.stats.hessians == 2
    # The saddle is forgotten once the gradient has grown: the end is the next passage of the target.
    small = np.flatnonzero(every.grad_norms <= 1e-4)
    assert plateau.time == pytest.approx(0.1 * small[0])
    assert path.stats.accepted == small[np.flatnonzero(np.diff(small) > 1)[0] + 1]
    accepted = _descend(
        risk=DOUBLE_WELL, start=[1e-8, 1.0], until=td.Until(grad_norm=1e-4, accept_saddles=True)
    )
    assert accepted.outcome is td.Outcome.CONVERGED
    assert abs(accepted.thetas[-1, 0]) < 1e-3


def test_a_start_on_the_stable_manifold_of_a_saddle_is_told():
    with pytest.warns(InvariantManifoldWarning, match="perturb the start"):
        path = _descend(risk=DOUBLE_WELL, start=[0.0, 1.0], until=td.Until(grad_norm=1e-4), steps=300)
    assert path.outcome is td.Outcome.REACHED_STEPS


def quartic(theta):
    return 0.25 * jnp.sum(theta**4)


@pytest.mark.parametrize("start", [3.0, 30.0])
def test_divergence_names_its_step_and_keeps_what_is_finite(start):
    theta, steps = np.float64(start), 0
    with np.errstate(over="ignore", invalid="ignore"):
        while np.isfinite(theta):
            theta, steps = theta - 0.5 * theta**3, steps + 1
    risk = td.FunctionRisk(quartic, jnp.ones(1))
    path = _descend(td.GradientDescent(0.5), 10_000, risk, [start])
    assert path.outcome is td.Outcome.DIVERGED
    assert f"step {steps}," in path.reason
    assert path.steps[-1] == steps - 1
    assert np.isfinite(path.thetas).all()
    with pytest.raises(FlowFailedError, match=f"step {steps}") as caught:
        _descend(td.GradientDescent(0.5), 10_000, risk, [start], throw=True)
    assert np.array_equal(caught.value.path.thetas, path.thetas)


def test_late_divergence_is_found_among_many_steps():
    rate = td.GradientDescent(2.2)  # |1 − 2.2·1| = 1.2: θ₀ overflows after thousands of steps
    path = _descend(rate, 1_000_000)
    last = int(path.steps[-1])
    assert path.outcome is td.Outcome.DIVERGED
    assert f"step {last + 1}," in path.reason
    largest = np.log(np.finfo(float).max) / np.log(1.2)
    assert largest - np.log(2.2) / np.log(1.2) - 1 < last < largest
    assert _descend(rate, last).outcome is td.Outcome.REACHED_STEPS
    assert _descend(rate, last + 1).outcome is td.Outcome.DIVERGED


def test_a_loss_that_is_not_a_number_ends_the_run():
    risk = td.FunctionRisk(lambda theta: jnp.sum(theta + jnp.log(theta)), jnp.ones(1))
    path = _descend(td.GradientDescent(0.3), 50, risk, [1.0])
    assert path.outcome is td.Outcome.DIVERGED
    assert "the loss is not a number at step 2," in path.reason
    assert path.steps.tolist() == [0, 1]
    assert np.isfinite(path.losses).all()
    nowhere = _descend(td.GradientDescent(0.3), 50, risk, [-1.0])
    assert nowhere.outcome is td.Outcome.DIVERGED
    assert nowhere.steps.tolist() == [0]


REFUSED = {
    "a function as problem": ({"problem": lambda theta: theta}, DescendArgumentError, "Problem"),
    "a flow as rule": ({"rule": td.training_flow(BOWL)}, DescendArgumentError, "GradientDescent"),
    "a bare transformation": ({"rule": optax.sgd(0.1)}, DescendArgumentError, r"Optax\(transformation\)"),
    "half a step": ({"n_steps": 1.5}, DescendArgumentError, "n_steps"),
    "fewer than no steps": ({"n_steps": -1}, DescendArgumentError, "n_steps"),
    "more steps than can be counted": ({"n_steps": 2**31}, DescendArgumentError, "n_steps"),
    "a number as end": ({"until": 3.0}, DescendArgumentError, "Until"),
    "a start of the wrong size": ({"theta0": np.ones(1)}, StateError, r"expected \(2,\)"),
    "a start that is not finite": ({"theta0": np.array([1.0, np.nan])}, StateError, "NaN"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_descend_refuses(what):
    # The checks themselves: the annotations, which the tests enforce, would be faster.
    change, error, words = REFUSED[what]
    arguments = {"problem": BOWL, "theta0": START, "rule": SLOW, "n_steps": 5, "until": None} | change
    with pytest.raises(error, match=words):
        check_arguments(**arguments)


def test_descend_refuses_other_precisions_and_integers():
    with pytest.raises(td.PrecisionError, match="float32"):
        td.descend(BOWL, np.ones(2, np.float32), SLOW, 5)
    with pytest.raises(StateError, match="int"):
        td.descend(BOWL, np.ones(2, int), SLOW, 5)


def test_batches_of_all_samples_end_like_descent():
    whole = td.MiniBatch(0.2, 12, jax.random.key(0))
    batch = _descend(whole, 400, RISK, THETA0, until=td.Until(loss=1e-3), saves="steps")
    plain = _descend(td.GradientDescent(0.2), 400, RISK, THETA0, until=td.Until(loss=1e-3), saves="steps")
    assert batch.outcome is plain.outcome
    assert batch.steps[-1] == plain.steps[-1]
    np.testing.assert_allclose(batch.thetas, plain.thetas, rtol=0, atol=1e-11)
