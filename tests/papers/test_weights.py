"""Claims of the paper on weight dynamics: those that are cheap are measured, and each can fail."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, load, reproduce, weights


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


@dataclasses.dataclass
class Foretold:
    """A prediction as good as it is told to be."""

    features: tuple = ("exponent_1", "covariant_1", "loss")
    windows: tuple = (20, 100)

    def __init__(self, strength):
        rng = np.random.default_rng(0)
        self.labels = rng.permutation(np.arange(200) % 2 == 0)
        self.final_losses = np.where(self.labels, 1.0, 0.1) + 0.01 * rng.random(200)
        self.kept = np.ones(200, bool)
        signal = strength * self.labels[:, None, None] + rng.normal(size=(200, 3, 2))
        self.scores = signal
        self.auc = np.full((3, 2), 0.5 + 0.2 * strength)
        self.interval = np.stack([self.auc - 0.05, self.auc + 0.05], axis=2)
        self.gain = self.auc - 0.5
        self.gain_interval = self.interval - 0.5


@pytest.mark.parametrize(("strength", "verdict"), [(0.0, Verdict.NOT_CONFIRMED), (2.0, Verdict.HOLDS)])
@pytest.mark.parametrize("claim", ["Early finite-time", "… beyond", "They are useful", "Covariant vectors"])
def test_the_predictive_claims_follow_what_was_measured(monkeypatch, claim, strength, verdict):
    monkeypatch.setattr(weights, "predicted", lambda workbench, name: Foretold(strength))
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
