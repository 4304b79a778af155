"""The paper `intrinsic`: its claims hold, and fail when the mathematics behind them is a little wrong."""

import dataclasses

import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, intrinsic, intrinsic_setups, load, reproduce


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode():
    paper = load("intrinsic")
    timeless = tuple(claim for claim in paper.claims if not claim.statement.startswith("Counting takes"))
    table = reproduce(Paper(paper.title, paper.reference, timeless), quick=True)
    assert len(table.rows) == 11
    assert {row.statement: row.why for row in table.rows if row.verdict is not Verdict.HOLDS} == {}


def judged(statement):
    """The verdict of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("intrinsic").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0].verdict


QUICK = (
    "The known laws are all laws",
    "Whether balancedness is everything",
    "The kernel inclusion",
    "Only relaxed balanced",
    "Relaxed balance is not enough",
    "A residual block",
)


@pytest.mark.parametrize("statement", QUICK)
def test_claims_that_need_no_training_hold(statement):
    assert judged(statement) is Verdict.HOLDS


def miscounted(monkeypatch, **changes):
    """Counts that are a little off."""
    count_laws = intrinsic.count_laws

    def off(*arguments, **options):
        count = count_laws(*arguments, **options)
        return dataclasses.replace(count, **{name: change(count) for name, change in changes.items()})

    monkeypatch.setattr(intrinsic, "count_laws", off)


def test_the_completeness_claim_fails_for_a_further_law(monkeypatch):
    miscounted(monkeypatch, extra=lambda count: count.extra + (count.size > 100))
    assert judged("The known laws are all laws") is Verdict.FAILS


def test_the_proof_claims_fail_for_an_open_count(monkeypatch):
    miscounted(monkeypatch, status=lambda count: intrinsic.CountStatus.OPEN)
    assert judged("The known laws are all laws") is Verdict.FAILS


def test_the_count_claims_fail_for_other_counts(monkeypatch):
    miscounted(monkeypatch, laws=lambda count: count.laws + 1)
    assert judged("A residual block") is Verdict.FAILS


def test_the_balance_claims_fail_for_starts_a_little_off(monkeypatch):
    start = intrinsic.relaxed_balanced_init

    def off(key, widths, values, **options):
        theta = np.array(start(key, widths, values, **options))
        theta[0] += 1e-3
        return theta

    monkeypatch.setattr(intrinsic, "relaxed_balanced_init", off)
    assert judged("The kernel inclusion") is Verdict.FAILS
    assert judged("Only relaxed balanced") is Verdict.FAILS


def test_the_lists_are_those_of_the_published_notebooks():
    shapes = intrinsic_setups.random_linear_shapes()
    assert len(shapes) == 50
    draw = np.random.RandomState(0)
    assert draw.randint(2, 5) == len(shapes[0]) - 1
    assert shapes[0] == tuple(draw.randint(2, 6) for _ in shapes[0])
    assert all(2 <= width <= 5 for widths in shapes for width in widths)
    relu = intrinsic_setups.random_relu_shapes()
    assert {bias for _, bias in relu} == {False, "hidden"}
    assert all(2 <= width <= 9 for widths, _ in relu for width in widths)
