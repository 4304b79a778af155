"""The paper `homogeneous`: its claims hold, and fail when what they measure is a little wrong."""

import dataclasses

import pytest

from thetadot.papers import Paper, Verdict, homogeneous, load, reproduce


@pytest.mark.slow
def test_every_claim_holds_but_the_one_that_is_open():
    table = reproduce("homogeneous", quick=True)
    missed = {row.statement[:15]: row.verdict for row in table.rows if row.verdict is not Verdict.HOLDS}
    assert missed == {"On generic data": Verdict.NOT_CONFIRMED}


def judged(statement):
    """The verdict of the one claim whose statement begins so."""
    (claim,) = [claim for claim in load("homogeneous").claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0].verdict


def test_relu_is_outside_and_a_smooth_activation_would_not_be(monkeypatch):
    assert judged("ReLU is outside") is Verdict.HOLDS
    generic = homogeneous.generic
    monkeypatch.setattr(homogeneous, "generic", lambda activation="square": generic("squared_relu"))
    assert judged("ReLU is outside") is Verdict.FAILS


@pytest.mark.slow
def test_the_rate_fails_for_another_alignment(monkeypatch):
    path_deviation = homogeneous.path_deviation

    def off(*arguments, **options):
        found = path_deviation(*arguments, **options)
        return dataclasses.replace(found, slopes=found.slopes + 0.02)

    assert judged("Trajectories tend to the limiting path") is Verdict.HOLDS
    monkeypatch.setattr(homogeneous, "path_deviation", off)
    assert judged("Trajectories tend to the limiting path") is Verdict.FAILS
