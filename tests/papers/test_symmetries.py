"""The paper `symmetries`: its verdicts, and claims that fail when the mathematics behind them is a little wrong."""

import dataclasses

import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, load, reproduce, symmetries

NOT_CONFIRMED = ("The negative neurons", "The positive neurons")


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode_but_the_two_on_masses():
    table = reproduce("symmetries", quick=True)
    found = {row.statement: row.verdict for row in table.rows}
    for statement, verdict in found.items():
        expected = Verdict.NOT_CONFIRMED if statement.startswith(NOT_CONFIRMED) else Verdict.HOLDS
        assert verdict is expected, statement


def judged(statement):
    """The verdict of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("symmetries").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0].verdict


@pytest.mark.parametrize(
    "statement",
    [pytest.param("… and converges", marks=pytest.mark.slow), "… also for anisotropic", "Neurons align"],
)
def test_claims_of_reduced_dynamics_hold(statement):
    assert judged(statement) is Verdict.HOLDS


@pytest.mark.parametrize("statement", NOT_CONFIRMED)
def test_lines_of_the_notebook_are_not_confirmed(statement):
    assert judged(statement) is Verdict.NOT_CONFIRMED


@pytest.mark.slow
def test_the_rate_claim_fails_for_a_bound_that_is_too_good(monkeypatch):
    make = symmetries.odd_reduction

    def too_good(problem):
        found = make(problem)
        object.__setattr__(found, "rate_bound", 6 * found.rate_bound)
        return found

    monkeypatch.setattr(symmetries, "odd_reduction", too_good)
    assert judged("… also for anisotropic") is Verdict.FAILS


def test_the_alignment_claim_fails_for_neurons_that_turn_back(monkeypatch):
    (claim,) = [claim for claim in load("symmetries").claims if claim.statement.startswith("Neurons align")]
    measured = {"ν⁺": [0.5, 0.1, 0.2, 0.03], "ν⁻": [0.5, 0.9, 0.99, 0.995]}
    assert claim.rule.decide(measured, None).verdict is Verdict.FAILS


def test_the_rules_of_the_floor_and_of_the_slopes_can_fail():
    claims = {claim.statement[:10]: claim for claim in load("symmetries").claims}
    floor = claims["x₁x₂ stall"].rule
    assert floor.decide({"risk": [0.5, 0.02], "share": [0.5, 1.0]}, None).verdict is Verdict.FAILS
    assert floor.decide({"risk": [0.5, 0.035], "share": [0.5, 0.9]}, None).verdict is Verdict.FAILS
    assert floor.decide({"risk": [0.5, 0.035], "share": [0.5, 0.999]}, None).verdict is Verdict.HOLDS
    assert claims["Finite wid"].rule.decide({"sup": -1.0}, -0.5).verdict is Verdict.FAILS


@pytest.mark.slow
def test_a_symmetry_with_the_wrong_sign_is_not_preserved(monkeypatch):
    right = symmetries.generate_group

    def wrong(matrices, signs=None):
        group = right(matrices, signs)
        return dataclasses.replace(group, signs=np.ones(group.order))

    monkeypatch.setattr(symmetries, "generate_group", wrong)
    monkeypatch.setattr(symmetries, "posed", lambda target, inputs, width: posed_small(target, inputs))
    monkeypatch.setattr(
        symmetries, "sample_particles", lambda key, width, dimension: drawn(key, 4, dimension)
    )
    assert judged("… also with a change of sign") is Verdict.FAILS


def posed_small(target, inputs):
    from thetadot.papers.symmetry_setups import posed

    return posed(target, inputs, 8)


def drawn(key, width, dimension):
    from thetadot.symmetry import sample_particles

    return sample_particles(key, width, dimension)
