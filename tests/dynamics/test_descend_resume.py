"""A descent in pieces is the uninterrupted one to the bit, however it was cut."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import thetadot as td
from tests.dynamics.regression import RISK, THETA0, problem
from tests.dynamics.specimens import BOWL, DOUBLE_WELL, same_bits
from thetadot.dynamics import ResumeError, Snapshot

KEY = jax.random.key(2)
STEPS = 300
RULES = {
    "descent": lambda: td.GradientDescent(0.3),
    "scheduled descent": lambda: td.GradientDescent(optax.cosine_decay_schedule(0.3, STEPS)),
    "heavy ball": lambda: td.HeavyBall(0.3, 0.8),
    "nesterov": lambda: td.Nesterov(0.3, 0.8),
    "batches": lambda: td.MiniBatch(0.3, 5, KEY),
    "batches with replacement": lambda: td.MiniBatch(0.3, 5, KEY, replace=True),
    "batches of passes": lambda: td.MiniBatch(0.3, 5, KEY, epochs=True),
    "samples in order": lambda: td.PerSample(0.1),
    "samples at random": lambda: td.PerSample(0.1, order="random", key=KEY),
    "adam": lambda: td.Optax(optax.adam(0.05), 0.05),
}


def _descend(rule, steps=STEPS, risk=RISK, theta0=THETA0, **settings):
    settings.setdefault("progress", False)
    return td.descend(risk, theta0, rule, steps, **settings)


def same_state(first, second):
    assert first.state.arrays.keys() == second.state.arrays.keys()
    return all(
        np.array_equal(first.state.arrays[name], second.state.arrays[name]) for name in first.state.arrays
    )


@pytest.mark.parametrize("name", RULES)
def test_a_run_cut_at_random_steps_equals_the_uninterrupted_one_to_the_bit(name):
    whole = _descend(RULES[name](), saves="steps")
    rng = np.random.default_rng(len(name))
    for _ in range(2):
        path = None
        for steps in [*np.sort(rng.choice(np.arange(1, STEPS), 10, replace=False)).tolist(), STEPS]:
            path = _descend(RULES[name](), steps, saves="steps", resume=path)
        assert same_bits(path, whole)
        assert same_state(path, whole)
        assert path.stats.gradients == whole.stats.gradients


def test_a_run_cut_by_its_budget_equals_the_uninterrupted_one_to_the_bit():
    settings = {"observe": ["layer_norms"], "events": {"turn": td.Event(first_weight, kind="minimum")}}
    for rule in (td.HeavyBall(0.3, 0.9), td.MiniBatch(0.3, 5, KEY, epochs=True)):
        whole, path, pieces = _descend(rule, 250, **settings), None, 0
        assert whole.events
        while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
            path = _descend(rule, 250, **settings, budget=1e-9, resume=path)
            pieces += 1
        assert pieces > 10
        assert same_bits(path, whole)
        assert same_state(path, whole)


def first_weight(theta, risk):
    return theta[0]


def test_a_path_from_disk_resumes_to_the_same_bits(tmp_path):
    for number, rule in enumerate((td.MiniBatch(0.3, 5, KEY), td.Optax(optax.adam(0.05), 0.05))):
        whole = _descend(rule)
        file = tmp_path / f"{number}.npz"
        _descend(rule, budget=1e-9).save(file)
        assert same_bits(_descend(rule, resume=td.Path.load(file)), whole)


def test_an_interrupt_keeps_everything_so_far_and_can_be_resumed():
    calls = []

    def interrupt(fraction, text):
        calls.append(fraction)
        if len(calls) == 4:
            raise KeyboardInterrupt

    steps = 100_000
    whole = _descend(td.GradientDescent(0.3), steps)
    path = _descend(td.GradientDescent(0.3), steps, progress=interrupt)
    assert path.outcome is td.Outcome.INTERRUPTED
    assert 0 < path.stats.accepted < steps
    rows = len(path.ts)
    assert np.array_equal(path.thetas, whole.thetas[:rows])
    assert whole.steps[rows] > path.stats.accepted
    assert same_bits(_descend(td.GradientDescent(0.3), steps, resume=path), whole)


def test_more_steps_go_on_exactly_and_keep_the_rows_that_are_there():
    short = _descend(td.HeavyBall(0.3, 0.8), 1000)
    longer = _descend(td.HeavyBall(0.3, 0.8), 3000, resume=short)
    whole = _descend(td.HeavyBall(0.3, 0.8), 3000)
    assert same_state(longer, whole)
    assert np.array_equal(longer.thetas[: len(short.ts)], short.thetas)
    common, here, there = np.intersect1d(longer.steps, whole.steps, return_indices=True)
    assert common[-1] == 3000
    assert np.array_equal(longer.thetas[here], whole.thetas[there])


def test_a_finished_run_stays_as_it_is():
    for settings in (
        {},
        {"until": td.Until(loss=0.05)},
        {"until": td.Until(grad_norm=0.3, accept_saddles=True)},
    ):
        done = _descend(td.GradientDescent(0.3), **settings)
        again = _descend(td.GradientDescent(0.3), **settings, resume=done)
        assert same_bits(done, again)
        assert again.reason == done.reason
    diverged = _descend(td.GradientDescent(2.5), 5000, BOWL, np.ones(2))
    assert same_bits(_descend(td.GradientDescent(2.5), 5000, BOWL, np.ones(2), resume=diverged), diverged)


def test_an_end_condition_that_lies_further_on_is_gone_on_to():
    near = _descend(td.GradientDescent(0.3), until=td.Until(loss=0.05), saves="steps")
    far = _descend(td.GradientDescent(0.3), until=td.Until(loss=0.02), saves="steps", resume=near)
    assert same_bits(far, _descend(td.GradientDescent(0.3), until=td.Until(loss=0.02), saves="steps"))
    free = _descend(td.GradientDescent(0.3))
    bound = float(free.losses[-1]) * 0.99
    later = _descend(td.GradientDescent(0.3), 10_000, until=td.Until(loss=bound), resume=free)
    assert later.outcome is td.Outcome.REACHED_LOSS
    assert later.losses[-1] <= bound


def test_a_resumed_run_remembers_the_saddle_that_it_passed():
    start, until = np.array([1e-8, 1.0]), td.Until(grad_norm=1e-4)
    whole = _descend(td.GradientDescent(0.1), 2000, DOUBLE_WELL, start, until=until)
    path = None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = _descend(
            td.GradientDescent(0.1), 2000, DOUBLE_WELL, start, until=until, budget=1e-9, resume=path
        )
    assert same_bits(path, whole)
    assert [event.kind for event in path.events] == ["plateau"]


def test_resuming_with_something_else_is_refused_by_name():
    path = _descend(td.MiniBatch(0.3, 5, KEY), budget=1e-9)
    wider = td.EmpiricalRisk(td.mlp([2, 4, 1], "tanh"), td.squared, RISK.x, RISK.y)
    others = {
        "rule": lambda: _descend(td.GradientDescent(0.3), resume=path),
        "number of the rule": lambda: _descend(td.MiniBatch(0.3, 5, jax.random.key(3)), resume=path),
        "theta0": lambda: _descend(td.MiniBatch(0.3, 5, KEY), theta0=THETA0 + 1, resume=path),
        "saves": lambda: _descend(td.MiniBatch(0.3, 5, KEY), saves="linear", resume=path),
        "observe": lambda: _descend(td.MiniBatch(0.3, 5, KEY), observe=["layer_norms"], resume=path),
        "size": lambda: _descend(td.MiniBatch(0.3, 5, KEY), risk=wider, theta0=np.ones(17), resume=path),
    }
    for words, call in others.items():
        with pytest.raises(ResumeError, match=words):
            call()
    for state in (None, Snapshot({}, {"kind": "flow"})):
        with pytest.raises(ResumeError, match="descend"):
            _descend(td.MiniBatch(0.3, 5, KEY), resume=dataclasses.replace(path, state=state))


def test_a_budget_returns_what_there_is():
    path = _descend(td.GradientDescent(1e-4), 2**31 - 2, problem(seed=1), budget=0.3)
    assert path.outcome is td.Outcome.BUDGET_SPENT
    assert "0.3 s" in path.reason
    assert path.outcome.resumable
    assert path.steps[0] == 0
    assert path.stats.seconds < 60
