"""The paper `integrability`: its claims hold, and fail when the mathematics behind them is a little wrong."""

import dataclasses

import pytest

from thetadot.integrability import Integrability
from thetadot.papers import Paper, Verdict, integrability, load, reproduce


def judged(statement):
    """The verdict of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("integrability").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0].verdict


@pytest.mark.slow
def test_every_claim_but_the_unconfirmed_and_the_untestable_holds():
    table = reproduce("integrability", quick=True)
    missed = {row.statement: row.verdict for row in table.rows if row.verdict is not Verdict.HOLDS}
    assert missed == {
        "Width 2 without biases and two samples is not integrable": Verdict.NOT_CONFIRMED,
        "Numerical methods are needed": Verdict.NOT_TESTABLE_HERE,
    }


@pytest.mark.parametrize(
    "statement", ["Conditions are needed", "Two deciders agree", "Width 2 without biases and one"]
)
def test_claims_about_single_networks_hold(statement):
    assert judged(statement) is Verdict.HOLDS


def test_what_could_not_be_confirmed_is_never_a_pass():
    assert judged("Width 2 without biases and two") is Verdict.NOT_CONFIRMED


def test_a_wrong_status_fails(monkeypatch):
    right = integrability.analyse
    monkeypatch.setattr(
        integrability,
        "analyse",
        lambda *args, **kwargs: dataclasses.replace(
            right(*args, **kwargs), status=Integrability.INCONCLUSIVE
        ),
    )
    assert judged("Width 2 without biases and one") is Verdict.FAILS


def test_a_wrong_table_fails(monkeypatch):
    right = integrability.kimura
    monkeypatch.setattr(
        integrability, "kimura", lambda *d: dataclasses.replace(right(*d), solvable=not right(*d).solvable)
    )
    assert judged("Two deciders agree") is Verdict.FAILS
