"""The lens in a study, and its figures."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from matplotlib.axes import Axes
from pydantic import ValidationError

import thetadot as td
from thetadot import simulators as sim
from thetadot.report.lens_panels import lens_sections
from thetadot.report.lens_record import Found
from thetadot.report.series import Series


def looked_at(problem, path, rule=None, **options):
    return sim.analyse(problem, path, sim.Options(**options), rule=rule)


@pytest.fixture(scope="module")
def rolled():
    """A linear map learned from one trajectory in a plane of four dimensions."""
    angle, Q = 0.5, np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    turn = 0.98 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    states = [np.array([1.0, 0.0])]
    for _ in range(20):
        states.append(turn @ states[-1])
    states = np.array(states) @ Q[:, :2].T
    problem = td.EmpiricalRisk(td.linear([4, 4]), td.squared, states[:-1], states[1:])
    start = np.random.default_rng(1).normal(size=16)
    rule = td.GradientDescent(1.0)
    return problem, td.descend(problem, start, rule, 300, saves="log", progress=False), rule


def test_a_linear_simulator_is_taken_apart(rolled):
    problem, path, rule = rolled
    found = looked_at(problem, path, rule, time="discrete", rollout={"steps": 60})
    assert found.energy.rank == 2
    W = path.thetas[-1].reshape(4, 4)
    N = found.energy.unlearnable
    left = np.abs(np.linalg.eigvals(N.T @ path.thetas[0].reshape(4, 4) @ N)).max()
    assert left > 1
    assert found.verdict == "unstable"
    np.testing.assert_allclose(np.abs(found.spectrum.learned), 0.98, rtol=1e-9)
    np.testing.assert_allclose(found.growth.off_data, np.log(left), rtol=1e-9)
    assert sim.growth_rate(W, time="discrete") == pytest.approx(np.log(left), rel=1e-6)
    assert found.unlearned.max() < 1e-13
    assert found.learned[-1] > 0.1
    assert found.horizon == 21
    assert found.rollouts["off_data"][-1] > 1e-6 * left**58 / 10
    times = sim.learning_times(found.energy.energies[:2], learning_rate=1.0)
    np.testing.assert_allclose(found.times, [*times, np.inf, np.inf], rtol=1e-12)
    summary = found.summary()
    for words in ("2 of 4 input directions carry energy", "steps", "unstable: projection", "for 21 rows"):
        assert words in summary, words
    data = found.to_xarray()
    assert data["energy"].dims == ("direction",)
    assert data["growth_off_data"].dims == ("point",)
    assert data["eigenvalue_inherited"].values.tolist() == [False, False, True, True]
    assert data.attrs["verdict"] == "unstable"
    assert data["noise_growth"].values[-1] < 0


def test_a_projected_start_ends_stable_and_needs_no_remedy(rolled):
    problem, path, rule = rolled
    energy = sim.data_energy(problem.x)
    start = sim.project_first_layer(problem, path.thetas[0], energy)
    end = td.descend(problem, start, rule, 300, saves="log", progress=False)
    found = looked_at(problem, end, rule, time="discrete", noise=None, rollout=None)
    assert found.verdict == "stable"
    assert found.summary().endswith("stable")
    assert "unstable" not in found.summary()


def test_a_run_that_broke_down_is_judged_by_its_last_finite_weights(rolled):
    problem, path, rule = rolled
    thetas = path.thetas.copy()
    thetas[-1] = np.nan
    options = {"time": "discrete", "noise": None, "rollout": None}
    found = looked_at(problem, dataclasses.replace(path, thetas=thetas), rule, **options)
    assert found.unlearned.shape == (len(thetas) - 1,)
    assert "broke down" in found.notes[0]
    wrong = dataclasses.replace(path, thetas=path.thetas[:, :3])
    with pytest.raises(sim.NotASimulatorError, match="3 columns"):
        looked_at(problem, wrong, rule, **options)


def test_a_nonlinear_field_tells_which_rule_moved_what_no_data_taught():
    rng = np.random.default_rng(0)  # off the axes: Adam scales each weight on its own
    x = rng.normal(size=(12, 2)) @ np.linalg.qr(rng.normal(size=(3, 2)))[0].T
    problem = td.EmpiricalRisk(td.mlp([3, 4, 3], "tanh"), td.squared, x, -x)
    start = np.asarray(problem.init(jax.random.key(0)))
    adam = td.Optax(optax.adam(1e-2), name="Adam")
    moved = {}
    for rule in (td.GradientDescent(0.1), adam):
        path = td.descend(problem, start, rule, 50, saves=[0, 25, 50], progress=False)
        found = looked_at(problem, path, rule, time="continuous", points=4)
        moved[type(rule).__name__] = found.unlearned[-1]
        assert found.times is None
        assert found.growth.off_data.shape == (4,)
        assert any("vector fields" in note for note in found.notes)
        assert any("one linear layer" in note for note in found.notes)
    taught = td.EmpiricalRisk(problem.network, td.squared, rng.normal(size=(12, 3)), -np.asarray(x))
    path = td.descend(taught, start, td.GradientDescent(0.1), 50, saves=[0, 25, 50], progress=False)
    found = looked_at(taught, path, time="continuous", points=4)
    assert found.verdict == "nothing_left"
    assert found.summary().endswith("on the data; nothing left")
    assert found.to_xarray().attrs["energy_gap"] == "∞"
    assert moved["GradientDescent"] < 1e-14
    assert moved["Optax"] > 1e-3


def test_a_classifier_has_energies_and_no_rollout():
    x, y = np.random.default_rng(0).normal(size=(12, 3)) * [1, 1, 0], np.arange(12) % 2
    problem = td.EmpiricalRisk(td.mlp([3, 4, 2], "tanh"), td.cross_entropy, x, y)
    path = td.descend(problem, problem.init(jax.random.key(0)), td.GradientDescent(0.1), 5, progress=False)
    found = looked_at(problem, path, time="discrete")
    assert found.verdict == "no_rollout"
    assert "2 of 3 input directions carry energy" in found.summary()
    assert any("no roll-out" in note for note in found.notes)


def test_what_is_no_simulator_is_refused_with_the_reason():
    problem = td.FunctionRisk(lambda theta: (theta**2).sum(), np.ones(3))
    path = td.descend(problem, np.ones(3), td.GradientDescent(0.1), 2, progress=False)
    with pytest.raises(sim.NotASimulatorError, match="no simulator of vectors"):
        looked_at(problem, path, time="discrete")


@pytest.fixture(scope="module")
def on_graph():
    graph = sim.erdos_renyi(jax.random.key(0), 8, 0.5)
    x, y = sim.independent_states(jax.random.key(1), sim.epidemic(), graph, samples=66)
    problem = td.EmpiricalRisk(sim.graph_field(graph, width=4, channels=4), sim.absolute_with_spread(), x, y)
    path = td.descend(problem, problem.init(jax.random.key(0)), td.GradientDescent(0.1), 2, progress=False)
    return problem, path


def test_a_graph_field_is_tested_on_states_that_were_held_back(on_graph):
    problem, path = on_graph
    plain = looked_at(problem, path, time="continuous")
    assert plain.significance is None
    assert "set significance" in plain.notes[0]
    wanted = {"members": 4, "draw": 3, "draws": 200, "steps": 200}
    found = looked_at(problem, path, time="continuous", significance=wanted)
    assert found.significance.p_values.shape == (13,)
    assert "null on held back states; the test on 13 others" in found.notes[0]
    assert any("twice as many" in note for note in found.notes)
    assert "accepted at level 0.05" in found.summary()
    assert found.to_xarray()["p_value"].dims == ("draw",)


def test_options_are_closed_and_bounded_and_time_has_no_default():
    for wrong in (
        {},
        {"time": "later"},
        {"time": "discrete", "rolout": {}},
        {"time": "discrete", "points": 0},
    ):
        with pytest.raises(ValidationError):
            sim.Options(**wrong)


def test_the_report_draws_what_the_lens_found(rolled, on_graph):
    problem, path, rule = rolled
    result = looked_at(problem, path, rule, time="discrete")
    wanted = {"members": 4, "draw": 3, "draws": 200, "steps": 200}
    tested = looked_at(*on_graph, time="continuous", significance=wanted)
    found = [
        Found(
            "simulators", Series(one, 0, 0, "gradient descent"), "done", what.summary(), data=what.to_xarray()
        )
        for one, what in ((path, result), (on_graph[1], tested))
    ]
    panels = {panel.name: panel for section in lens_sections(found) for panel in section.panels}
    assert set(panels) == {
        f"lens-simulators-{name}"
        for name in (
            "energies", "learning-times-steps", "first-layer", "growth-discrete", "noise", "rollouts", "p-values"
        )
    }  # fmt: skip
    assert (
        "2 of 4 directions carry energy; 2 can never be learned" in panels["lens-simulators-energies"].reading
    )
    assert "1 of 1 path unstable" in panels["lens-simulators-growth-discrete"].reading
    lines = panels["lens-simulators-rollouts"].chart.lines
    np.testing.assert_array_equal(lines[1].y, result.rollouts["off_data"])


def test_every_figure_is_drawn_with_labels_and_its_data(rolled):
    problem, path, _ = rolled
    data = sim.moments(problem.x, problem.y)
    start = path.thetas[0].reshape(4, 4)
    spectrum = sim.inherited_spectrum(data, start)
    tradeoff = sim.noise_tradeoff(data, start, [0.0, 0.01, 0.1], setting="input", time="discrete")
    rng = np.random.default_rng(0)
    results = {}
    for shift in (0.0, 1.0):
        values = rng.uniform(size=50) ** (1 + shift)
        share = sim.acceptance(values)
        results[shift] = sim.Significance(
            values, values, share, 1.0, False, np.zeros(50, int), np.zeros((50, 1)), 0.05
        )
    drawn = [
        sim.plot_learning_times(data.energy, learning_rate=0.5),
        sim.plot_learning_times(data.energy.energies, np.ones(4)),
        sim.plot_spectrum(spectrum, time="discrete", radius=1.2),
        sim.plot_spectrum(
            dataclasses.replace(spectrum, status=sim.SpectrumStatus.NOT_INVARIANT), time="continuous"
        ),
        *sim.plot_noise_tradeoff(tradeoff),
        sim.plot_rollout({"map": sim.rollout(start, np.ones(4), time="discrete", steps=5)}),
        *sim.plot_significance(results),
        sim.plot_error_against_statistic(rng.exponential(size=40), rng.exponential(size=40)),
    ]
    for axes in drawn:
        assert isinstance(axes, Axes)
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_lines()
    known = sim.learning_times(data.energy.energies[:2], learning_rate=0.5)
    np.testing.assert_allclose(drawn[0].get_lines()[1].get_ydata(), known)
    with pytest.raises(sim.MatrixError, match="axes were given"):
        sim.plot_significance(results, [drawn[0]])
