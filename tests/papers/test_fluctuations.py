"""The paper `fluctuations`: claims are measured, and fail when the mathematics behind them is a little wrong."""

import dataclasses

import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, Workbench, fluctuations, load, reproduce


def judged(statement):
    """The row of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("fluctuations").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0]


@pytest.mark.slow
def test_every_claim_but_the_exponent_of_mnist_holds_in_quick_mode():
    table = reproduce("fluctuations", quick=True)
    others = {row.statement: row.verdict for row in table.rows if row.verdict is not Verdict.HOLDS}
    assert list(others.values()) == [Verdict.NOT_CONFIRMED, Verdict.NOT_TESTABLE_HERE], table


@pytest.mark.parametrize("statement", ["Two layers", "In the second layer"])
def test_claims_in_closed_form_hold(statement):
    assert judged(statement).verdict is Verdict.HOLDS


def test_the_linear_model_does_not_give_the_exponent_of_real_networks():
    row = judged("The exponent")
    assert row.verdict is Verdict.NOT_CONFIRMED
    assert 1.5 < row.measured < 2.1
    assert judged("The paper's own").verdict is Verdict.NOT_TESTABLE_HERE


def small(monkeypatch, **changes):
    """One-layer draws on 20 inputs instead of 100, altered."""
    draw = fluctuations.one_layer
    monkeypatch.setattr("thetadot.papers.fluctuation_setups.INPUTS", 20)

    def altered(workbench, ratio, seed):
        found = draw(workbench, ratio, seed)
        return dataclasses.replace(found, **{name: change(found, ratio) for name, change in changes.items()})

    monkeypatch.setattr(fluctuations, "one_layer", altered)


@pytest.mark.slow
def test_broken_balance_is_measured():
    row = judged("One layer")
    assert row.verdict is Verdict.HOLDS
    np.testing.assert_allclose(row.measured, [0.39, 0.33, 0.25, 0.15, 0.02], atol=0.03)


def test_the_balance_claims_fail_in_equilibrium(monkeypatch):
    def balanced(found, ratio):
        return dataclasses.replace(found.balance, defect=1e-15, entropy_production=0.0)

    small(monkeypatch, balance=balanced, spread=lambda found, ratio: 0.1 / ratio)
    assert judged("One layer").verdict is Verdict.FAILS
    assert judged("… because").verdict is Verdict.FAILS
    assert judged("The weights").verdict is Verdict.FAILS


def test_the_isotropy_claim_fails_for_a_trend(monkeypatch):
    small(monkeypatch, felt=lambda found, ratio: 0.1, rank_correlation=lambda found, ratio: -0.9)
    assert judged("… but effectively").verdict is Verdict.FAILS


def test_the_layer_claims_fail_for_one_layer(monkeypatch):
    pair = fluctuations.two_layers(Workbench(quick=True))
    flat = dataclasses.replace(
        pair, blocks=tuple(pair.variance * np.eye(len(block)) for block in pair.blocks)
    )
    monkeypatch.setattr(fluctuations, "two_layers", lambda workbench: flat)
    assert judged("Two layers").verdict is Verdict.FAILS


def test_the_simulated_claims_fail_for_wrong_formulas(monkeypatch):
    monkeypatch.setattr(
        fluctuations, "simulated_second_layer", lambda workbench, rate, members: (1 + 30 * rate, 1e-3)
    )
    assert judged("… also").verdict is Verdict.FAILS
    monkeypatch.setattr(
        fluctuations, "simulated_second_layer", lambda workbench, rate, members: (1 + 3 * rate, 1e-3)
    )
    assert judged("… also").verdict is Verdict.HOLDS
    monkeypatch.setattr(fluctuations, "simulated_second_layer", lambda workbench, rate, members: (1.08, 1e-3))
    assert judged("… also").verdict is Verdict.FAILS
