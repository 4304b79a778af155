"""Claims on trajectories that start side by side: cheap ones measured, bands of the spec kept, each can fail."""

import dataclasses

import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, Workbench, iris_training, load, reproduce, trajectories


def judged(statement):
    """The row of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("trajectories").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0]


@pytest.fixture(scope="module")
def fitted():
    """The exponents of 120 starts at η = 1."""
    return iris_training.exponents(Workbench(True), "best_window", count=120)


@pytest.mark.slow
def test_selected_and_unselected_exponents_lie_in_their_bands(fitted):
    assert 0.85 <= fitted.kept_fraction <= 0.98
    assert 0.25 <= fitted.mean <= 0.37
    assert 0.1 <= fitted.endpoint_mean <= 0.16
    assert fitted.mean > 1.5 * fitted.endpoint_mean


@pytest.mark.slow
def test_the_separation_holds_and_its_selection_is_found_out(fitted, monkeypatch):
    monkeypatch.setattr(trajectories, "exponents", lambda *arguments: fitted)
    assert judged("η = 1: runs separate").verdict is Verdict.HOLDS
    assert judged("… which is what").verdict is Verdict.FAILS
    unselected = dataclasses.replace(fitted, mean=fitted.endpoint_mean)
    monkeypatch.setattr(trajectories, "exponents", lambda *arguments: unselected)
    assert judged("η = 1: runs separate").verdict is Verdict.FAILS
    assert judged("… which is what").verdict is Verdict.HOLDS


def test_the_start_is_that_of_the_paper():
    problem = iris_training.iris_problem()
    assert (problem.size, problem.samples) == (83, 120)
    theta = iris_training.starts_of(problem, 200)
    layout = problem.layout
    roles = np.zeros(83, bool)
    for name, part in layout.slices.items():
        roles[part] = layout.roles[name] == "weight"
    assert roles.sum() == 70
    assert np.all(theta[:, ~roles] == 0)
    assert abs(theta[:, roles].std() - 1) < 0.02
    squashed = iris_training.iris_problem("sigmoid")
    assert float(squashed.loss(theta[0])) != float(problem.loss(theta[0]))


def test_after_learning_distances_decay_slowly_without_a_sharp_drop(monkeypatch):
    slow = {"d(100)/d(0)": [0.96, 0.97], "d(end)/d(0)": [0.93, 0.95]}
    monkeypatch.setattr(trajectories, "after_learning", lambda workbench: slow)
    assert judged("η = 0.01, perturbed").verdict is Verdict.HOLDS
    assert judged("… after a sharp").verdict is Verdict.FAILS
    sharp = {"d(100)/d(0)": [0.3, 0.4], "d(end)/d(0)": [0.1, 0.2]}
    monkeypatch.setattr(trajectories, "after_learning", lambda workbench: sharp)
    assert judged("η = 0.01, perturbed").verdict is Verdict.FAILS
    assert judged("… after a sharp").verdict is Verdict.HOLDS


def test_hints_of_the_paper_get_no_verdict_but_numbers(monkeypatch):
    losses = np.random.default_rng(0).random((3, 400)) + 1
    monkeypatch.setattr(trajectories, "irregular", lambda workbench: (losses, np.array([0.1, 0.2, 0.3])))
    row = judged("η = 5: intermittency")
    assert row.verdict is Verdict.NOT_TESTABLE_HERE
    assert "0.20 per step" in row.why
    assert judged("η = 5: large").verdict is Verdict.HOLDS
    monkeypatch.setattr(trajectories, "irregular", lambda workbench: (0.1 * losses, np.zeros(3)))
    assert judged("η = 5: large").verdict is Verdict.FAILS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trajectories", "weights"])
def test_a_paper_is_reproduced_in_quick_sizes_with_a_verdict_for_every_claim(name):
    table = reproduce(name, quick=True)
    assert all(row.verdict is not None for row in table)
    assert table.count(Verdict.NOT_TESTABLE_HERE) >= 1
