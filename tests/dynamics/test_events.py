"""Events against closed forms: every one, once, at the right time."""

import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics.specimens import BOWL, DOUBLE_WELL, TURN


def _first(state, args):
    return state[0]


def _second(state, args):
    return state[1]


def _level(theta, problem):
    return theta[0] - 0.3


def _grad_norm(theta, problem):
    return jnp.linalg.norm(problem.value_and_grad(theta)[1])


def _turn(solver="auto", **settings):
    events = {
        "crossing": td.Event(_first),
        "upward": td.Event(_second, direction=1),
        "top": td.Event(_first, kind="maximum"),
        "bottom": td.Event(_first, kind="minimum"),
    }
    start = jnp.array([1.0, 0.0])
    return td.integrate(
        TURN,
        start,
        saves=[0.0, 40.0],
        events=events,
        accuracy=1e-8,
        solver=solver,
        progress=False,
        **settings,
    )


@pytest.mark.parametrize("solver", ["auto", "Kvaerno5"])
def test_every_event_of_a_rotation_is_found_once_at_its_time(solver):
    path = _turn(solver)
    times = {
        name: [e.time for e in path.events if e.name == name]
        for name in ("crossing", "upward", "top", "bottom")
    }
    half = np.pi / 2  # half a period: the angle is 2t
    np.testing.assert_allclose(times["crossing"], half * (np.arange(25) + 0.5), rtol=1e-8)
    np.testing.assert_allclose(times["upward"][-12:], np.pi * np.arange(1, 13), rtol=1e-8)
    np.testing.assert_allclose(times["bottom"], half * np.arange(1, 26, 2), rtol=1e-8)
    np.testing.assert_allclose(times["top"][-12:], np.pi * np.arange(1, 13), rtol=1e-8)
    recorded = [e.time for e in path.events]
    assert recorded == sorted(recorded)


def test_events_are_the_same_whatever_the_chunks_are():
    whole = _turn()
    pieces, path = 0, None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = _turn(budget=1e-9, resume=path)
        pieces += 1
    assert pieces > 3
    assert [(e.name, e.time) for e in path.events] == [(e.name, e.time) for e in whole.events]


def test_a_threshold_crossing_is_located_to_1e8():
    path = td.flow(BOWL, jnp.ones(2), until=td.Until(time=30.0), events=[td.Event(_level)], progress=False)
    (event,) = path.events
    assert event.name == "_level"
    np.testing.assert_allclose(event.time, -np.log(0.3), rtol=1e-8)
    np.testing.assert_allclose(event.theta, np.exp(-event.time * np.array([1.0, 0.1])), rtol=1e-7)


def test_the_minimum_of_the_gradient_norm_on_a_plateau_is_where_the_closed_form_has_it():
    # Near the saddle θ = (ae^t, be^−t) to leading order; the exact orbit is x² = 1/(1 + (1/a² − 1)e^{−2t}).
    start = np.array([1e-4, 0.5])
    events = {"slowest": td.Event(_grad_norm, kind="minimum")}
    path = td.flow(
        DOUBLE_WELL,
        jnp.asarray(start),
        until=td.Until(time=8.0),
        events=events,
        accuracy=1e-9,
        progress=False,
    )
    times = np.linspace(3.0, 6.0, 3001)
    for _ in range(3):  # refine a grid around the minimum of the exact norm
        x = 1 / np.sqrt(1 + (1 / start[0] ** 2 - 1) * np.exp(-2 * times))
        norms = (x**3 - x) ** 2 + (start[1] * np.exp(-times)) ** 2
        best = times[np.argmin(norms)]
        width = times[1] - times[0]
        times = np.linspace(best - 2 * width, best + 2 * width, 3001)
    # A minimum located by values is sharp to the square root of rounding only.
    np.testing.assert_allclose([e.time for e in path.events], [best], rtol=1e-6)
    slope_x = np.array([e.theta for e in path.events])[0]
    assert abs(_rate_of_squared_gradient(slope_x)) < 1e-8 * 0.1


def _rate_of_squared_gradient(theta):
    """d/dt ‖∇L‖² along the flow, by hand: −2 gᵀHg."""
    gradient = np.array([theta[0] ** 3 - theta[0], theta[1]])
    hessian = np.array([3 * theta[0] ** 2 - 1, 1.0])
    return float(-2 * gradient @ (hessian * gradient))


def test_a_terminal_event_ends_the_path_there_and_the_run_can_go_on():
    events = {"level": td.Event(_level, terminal=True)}
    path = td.flow(BOWL, jnp.ones(2), until=td.Until(time=3.0), events=events, progress=False)
    assert path.outcome is td.Outcome.EVENT
    np.testing.assert_allclose(path.ts[-1], -np.log(0.3), rtol=1e-8)
    assert np.all(np.diff(path.ts) > 0)
    np.testing.assert_allclose(path.thetas[-1][0], 0.3, rtol=1e-8)
    assert path.accuracy.energy_defect < 1e-6
    on = td.flow(BOWL, jnp.ones(2), until=td.Until(time=3.0), events=events, resume=path, progress=False)
    assert on.outcome is td.Outcome.REACHED_TIME
    assert [e.name for e in on.events] == ["level"]
    np.testing.assert_allclose(on.thetas[-1], np.exp(-3 * np.array([1.0, 0.1])), rtol=1e-6)


def test_of_two_terminal_events_in_one_step_the_earlier_ends_the_run():
    def later(theta, problem):
        return theta[0] - 0.2999

    events = {"later": td.Event(later, terminal=True), "earlier": td.Event(_level, terminal=True)}
    path = td.flow(BOWL, jnp.ones(2), until=td.Until(time=3.0), events=events, progress=False)
    assert [e.name for e in path.events] == ["earlier"]


def test_two_crossings_within_one_step_are_both_found():
    # A bump that is negative only while 0.5 < θ₀ < 0.6, shorter than a step at loose tolerance.
    def dip(theta, problem):
        return (theta[0] - 0.5) * (theta[0] - 0.6)

    path = td.flow(
        BOWL,
        jnp.ones(2),
        until=td.Until(time=5.0),
        events=[td.Event(dip)],
        rtol=1e-3,
        saves="steps",
        progress=False,
    )
    exact = -np.log([0.6, 0.5])
    assert not np.any((path.ts > exact[0]) & (path.ts < exact[1]))
    np.testing.assert_allclose([e.time for e in path.events], exact, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fn": _level, "kind": "crossing"}, "choose one of zero, minimum, maximum"),
        ({"fn": _level, "direction": 2}, "expected \\+1, −1 or None"),
        ({"fn": _level, "kind": "minimum", "direction": 1}, "direction belongs to"),
    ],
)
def test_a_wrong_event_is_refused_by_name(arguments, message):
    with pytest.raises(td.ThetadotError, match=message):
        td.Event(**arguments)


def test_two_events_of_one_name_are_refused():
    with pytest.raises(td.ThetadotError, match="same name"):
        td.flow(BOWL, jnp.ones(2), until=td.Until(time=1.0), events=[td.Event(_level), td.Event(_level)])
