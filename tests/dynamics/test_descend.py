"""How descend walks and what it records: times, rows, observables, events, cost."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float

import thetadot as td
from tests.dynamics.regression import RISK, THETA0, problem
from tests.dynamics.specimens import BOWL, RATES
from thetadot.dynamics import ObservableError, SavesError
from thetadot.dynamics.descent_time import StepTimes

START = np.array([1.0, 1.0])
SLOW = td.GradientDescent(0.1)


def _descend(rule=SLOW, steps=100, risk=BOWL, start=START, **settings):
    return td.descend(risk, start, rule, steps, progress=False, **settings)


def test_descent_on_a_quadratic_is_the_power_of_its_factor_on_the_axis_of_the_flow():
    path = _descend(steps=1000)
    np.testing.assert_allclose(path.thetas, (1 - 0.1 * RATES) ** path.steps[:, None], rtol=1e-12)
    np.testing.assert_allclose(path.losses, 0.5 * path.thetas**2 @ RATES, rtol=1e-14)
    np.testing.assert_allclose(path.ts, 0.1 * path.steps, rtol=1e-15)
    assert path.ts[-1] == 100.0
    assert path.outcome is td.Outcome.REACHED_STEPS


def test_descent_tends_to_the_flow_at_equal_times_as_the_learning_rate_falls():
    times = np.array([0.0, 1.0, 2.0, 8.0])
    flow = td.flow(BOWL, START, until=td.Until(time=8.0), saves=times, accuracy=1e-9, progress=False)
    errors = []
    for rate in (2.0**-4, 2.0**-5, 2.0**-6):
        path = _descend(td.GradientDescent(rate), round(8 / rate), saves=times)
        assert np.array_equal(path.ts, times)
        errors.append(np.abs(path.thetas - flow.thetas).max())
    np.testing.assert_allclose(np.diff(np.log2(errors)), -1, atol=0.05)


def falling(n):
    return 1.0 / (3.0 + n.astype(float))


def test_times_under_a_schedule_are_compensated_sums():
    path = _descend(td.GradientDescent(falling), 400, saves="steps")
    rates = [1 / (3 + n) for n in range(400)]
    expected = [math.fsum(rates[:n]) for n in range(401)]
    assert np.abs(path.ts - expected).max() <= np.spacing(expected[-1])
    factors = np.cumprod([np.ones(2)] + [1 - rate * RATES for rate in rates], axis=0)
    np.testing.assert_allclose(path.thetas, factors, rtol=1e-12)


class Constant(eqx.Module):
    rate: Float[Array, ""]

    def __call__(self, n):
        return self.rate


def test_times_of_far_steps_do_not_drift():
    times = StepTimes(Constant(jnp.asarray(0.1)))
    steps = np.array([0, 10, 16_383, 16_384, 100_000, 49_152])
    np.testing.assert_allclose(times.at(steps), steps * 0.1, rtol=3e-16)
    assert times.first_reaching(5000.0, 100_000) == 50_000
    assert times.first_reaching(1e5, 100_000) is None


def test_saves_are_geometric_with_both_ends_even_or_every_step():
    path = _descend(steps=5000)
    assert len(path.steps) == 200
    assert path.steps[0] == 0
    assert path.steps[-1] == 5000
    assert np.all(np.diff(path.steps) > 0)
    late = path.steps[path.steps > 300]
    ratios = late[1:] / late[:-1]
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=0.01)
    even = _descend(steps=5000, saves="linear").steps
    assert len(even) == 200
    assert set(np.diff(even)) <= {25, 26}
    assert np.array_equal(_descend(steps=50).steps, np.arange(51))
    assert np.array_equal(_descend(steps=3000, saves="steps").steps, np.arange(3001))


def test_an_array_of_saves_gives_exactly_those_rows():
    numbers = _descend(saves=np.array([3, 40, 77]))
    assert numbers.steps.tolist() == [3, 40, 77]
    times = _descend(saves=[0.3, 4.0, 7.7])
    assert times.steps.tolist() == [3, 40, 77]
    assert np.array_equal(times.thetas, numbers.thetas)
    scheduled = _descend(td.GradientDescent(falling), saves=[0.0, 1 / 3, 1 / 3 + 1 / 4])
    assert scheduled.steps.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("saves", "words"),
    [
        ([0.1, 0.25], "no step has the time 0.25"),
        ([0.0, 11.0], "no step has the time 11"),
        ([0, 101], "the run has 100"),
        ([5, 3], "ascending"),
        ([], "non-empty"),
        (["a"], "integers"),
        ("squares", "linear"),
    ],
)
def test_saves_that_make_no_sense_are_refused(saves, words):
    with pytest.raises(SavesError, match=words):
        _descend(saves=saves)


def test_times_are_refused_as_saves_of_a_rule_without_time():
    with pytest.raises(SavesError, match="learning rate"):
        _descend(td.Optax(optax.sgd(0.1)), saves=[0.0, 0.1])


def test_observables_are_evaluated_at_every_row():
    path = _descend(steps=300, observe={"sharpness": "sharpness", "square": lambda theta, risk: theta**2})
    np.testing.assert_allclose(path.observed["sharpness"], 1.0, rtol=1e-10)
    np.testing.assert_array_equal(path.observed["square"], path.thetas**2)
    with pytest.raises(ObservableError, match="sharpnes"):
        _descend(observe=["sharpnes"])


def test_events_between_steps_are_found_at_the_first_step_past_them():
    path = _descend(events={"half": td.Event(lambda theta, risk: theta[0] - 0.5)}, steps=50)
    (event,) = path.events
    assert event.name == "half"
    assert event.kind == "zero"
    assert event.time == pytest.approx(0.7, rel=1e-15)
    assert event.theta[0] == pytest.approx(0.9**7, rel=1e-14)
    assert event.value == pytest.approx(0.9**7 - 0.5, rel=1e-13)


def test_directions_of_events_count():
    swing = td.GradientDescent(1.8)  # θ₀ changes its sign at every step
    wanted = {None: [1, 2, 3, 4], 1: [2, 4], -1: [1, 3]}
    for direction, steps in wanted.items():
        event = td.Event(lambda theta, risk: theta[0], direction=direction, name="sign")
        path = _descend(swing, 4, events=[event])
        np.testing.assert_allclose([e.time for e in path.events], 1.8 * np.array(steps))


def test_extrema_are_found_at_the_step_that_has_them():
    ball = td.HeavyBall(0.5, 0.9)
    path = _descend(ball, 60, events=[td.Event(lambda theta, risk: theta[0], kind="minimum", name="low"),
                                      td.Event(lambda theta, risk: theta[0], kind="maximum", name="high")],
                    saves="steps")  # fmt: skip
    x = path.thetas[:, 0]
    inner = np.arange(1, 60)
    lows = inner[(x[1:-1] < x[:-2]) & (x[1:-1] <= x[2:])]
    highs = inner[(x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])]
    assert len(lows) > 3
    for name, steps in (("low", lows), ("high", highs)):
        found = [event for event in path.events if event.name == name]
        np.testing.assert_allclose([event.time for event in found], 0.5 * steps)
        np.testing.assert_array_equal([event.value for event in found], x[steps])
        np.testing.assert_array_equal([event.theta for event in found], path.thetas[steps])
    assert [e.time for e in path.events] == sorted(e.time for e in path.events)


def test_a_terminal_event_ends_the_run():
    path = _descend(
        events=[td.Event(lambda theta, risk: theta[0] - 0.5, terminal=True, name="half")], saves=[0, 90]
    )
    assert path.outcome is td.Outcome.EVENT
    assert path.steps.tolist() == [0, 7]
    assert path.stats.accepted == 7


def test_a_batch_rule_records_the_whole_problem_and_counts_what_it_evaluates():
    batches = td.MiniBatch(0.2, 4, jax.random.key(0))
    path = _descend(batches, 500, RISK, THETA0, saves=np.array([0, 100, 500]))
    for theta, loss, norm in zip(path.thetas, path.losses, path.grad_norms, strict=True):
        value, gradient = RISK.value_and_grad(theta)
        assert loss == pytest.approx(float(value), rel=1e-13)
        assert norm == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-12)
    assert path.stats.gradients == 500 + 3
    plain = _descend(td.GradientDescent(0.2), 500, RISK, THETA0)
    assert plain.stats.gradients == 1 + 500
    assert plain.stats.accepted == 500


def test_a_path_says_what_was_run():
    path = _descend(td.HeavyBall(0.1, 0.9), 10, RISK, THETA0)
    assert path.info["kind"] == "descent"
    assert path.info["method"] == "heavy ball, learning rate 0.1, momentum 0.9"
    assert path.layout.size == THETA0.size
    assert "a map: exact to rounding" in repr(path)
    assert np.isnan(path.accuracy.rtol)
    assert path.to_xarray()["theta"].shape == (11, THETA0.size)


@pytest.mark.parametrize("make", [
    lambda rate, seed: td.GradientDescent(rate),
    lambda rate, seed: td.MiniBatch(rate, 4, jax.random.key(seed)),
])  # fmt: skip
def test_a_second_call_of_equal_shape_traces_nothing(make, count_compilations):
    def run(risk, rate, seed):
        return _descend(
            make(rate, seed), 60, risk, THETA0 * rate, observe=["layer_norms"], until=td.Until(loss=1e-9)
        )

    run(RISK, 0.1, 0)
    other = problem(seed=4)
    with count_compilations() as counted:
        run(other, 0.2, 1)
    steps = [name for name in counted.traced + counted.compiled if "layer_norms" not in name]
    assert not steps, counted
    assert not counted.compiled
