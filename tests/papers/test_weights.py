"""Claims of the paper on weight dynamics: those that are cheap are measured, and each can fail."""

import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, load, reproduce, weights
from thetadot.stability import LossPrediction, PredictionStatus


def judged(statement):
    """The row of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("weights").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0]


def test_the_closed_form_of_the_tangent_operator_holds():
    row = judged("The tangent operator")
    assert row.verdict is Verdict.HOLDS
    assert row.measured < 1e-12


def test_the_closed_form_fails_for_a_hessian_off_in_the_eleventh_digit(monkeypatch):
    exact = weights.shallow_hessian
    monkeypatch.setattr(weights, "shallow_hessian", lambda *a, **k: exact(*a, **k) + 1e-11)
    assert judged("The tangent operator").verdict is Verdict.FAILS


def test_the_papers_own_numbers_are_not_testable():
    assert judged("The paper's own").verdict is Verdict.NOT_TESTABLE_HERE


def foretold(strength):
    """A prediction as good as it is told to be."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(200) % 2 == 0)
    auc = np.full((3, 2), 0.5 + 0.2 * strength)
    interval = np.stack([auc - 0.05, auc + 0.05], axis=2)
    return LossPrediction(
        auc=auc,
        sign=np.ones((3, 2), int),
        interval=interval,
        gain=auc - 0.5,
        gain_interval=interval - 0.5,
        familywise_p=0.5,
        features=("exponent_1", "covariant_1", "loss"),
        baselines=("loss",),
        windows=(20, 100),
        labels=labels,
        final_losses=np.where(labels, 1.0, 0.1) + 0.01 * rng.random(200),
        diverged=np.zeros(200, bool),
        kept=np.ones(200, bool),
        scores=strength * labels[:, None, None] + rng.normal(size=(200, 3, 2)),
        status=PredictionStatus.NOT_CONFIRMED,
    )


@pytest.mark.parametrize(("strength", "verdict"), [(0.0, Verdict.NOT_CONFIRMED), (2.0, Verdict.HOLDS)])
@pytest.mark.parametrize("claim", ["Early finite-time", "… beyond", "They are useful", "Covariant vectors"])
def test_the_predictive_claims_follow_what_was_measured(monkeypatch, claim, strength, verdict):
    monkeypatch.setattr(weights, "predicted", lambda workbench, name: foretold(strength))
    assert judged(claim).verdict is verdict


def test_refused_labels_count_against_a_claim_and_are_told(monkeypatch):
    monkeypatch.setattr(weights, "predicted", lambda workbench, name: "all equal: labels would be noise")
    row = judged("Early finite-time")
    assert row.verdict is Verdict.NOT_CONFIRMED
    assert row.measured == 0
    assert "refused" in str(row.beside)


def test_indicators_that_do_not_depend_on_anything_fail(monkeypatch):
    rng = np.random.default_rng(1)

    class Nothing:
        exponents = property(lambda self: rng.normal(size=1))

    monkeypatch.setattr(weights, "finite_time_exponents", lambda *a, **k: Nothing())
    assert judged("Indicators depend").verdict is Verdict.FAILS
    assert jnp.zeros(1).dtype == np.float64
