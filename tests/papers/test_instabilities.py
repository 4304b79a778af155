"""The paper `instabilities`: its claims hold, and fail when the formulas behind them are a little wrong."""

import pytest

from thetadot.papers import Paper, Verdict, instabilities, load, reproduce


def judged(*statements):
    """Verdicts of the claims whose statements begin so, in quick mode."""
    claims = load("instabilities").claims
    chosen = tuple(claim for claim in claims if claim.statement.startswith(statements or ("",)))
    table = reproduce(Paper("some claims", "ours", chosen), quick=True)
    return [row.verdict for row in table.rows]


CHEAP = (
    "Directions are learned",
    "Directions without",
    "What is learned",
    "Common",
    "Continuous",
    "Projection",
)


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode_but_for_what_cannot_be_read():
    verdicts = judged()
    assert verdicts[:-1] == [Verdict.HOLDS] * 8
    assert verdicts[-1] is Verdict.NOT_TESTABLE_HERE


def test_the_claims_of_linear_simulators_hold():
    assert judged(*CHEAP) == [Verdict.HOLDS] * len(CHEAP)


def test_claims_fail_for_formulas_a_little_wrong(monkeypatch):
    times, radius = instabilities.learning_times, instabilities.unlearned_radius
    monkeypatch.setattr(instabilities, "learning_times", lambda c, **more: 1.05 * times(c, **more))
    monkeypatch.setattr(instabilities, "unlearned_radius", lambda *numbers: 1.1 * radius(*numbers))
    monkeypatch.setattr(instabilities, "project_weights", lambda W, energy: W)
    assert judged("Directions are learned", "Common", "Projection") == [Verdict.FAILS] * 3
