"""The `analytic` paper: its claims hold with the engine as it is, and fail with one a little wrong."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.papers import Paper, Verdict, analytic, load, reproduce


@pytest.fixture(scope="module")
def table():
    return reproduce("analytic", quick=True)


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode(table):
    missed = {row.statement: row.why for row in table.rows if row.verdict is not Verdict.HOLDS}
    assert not missed
    assert table.quick
    assert table.seconds < 120


@pytest.mark.slow
def test_what_was_measured_is_a_number_within_its_rule_and_not_a_constant(table):
    values = []
    for row in table.rows:
        values += row.measured.values() if isinstance(row.measured, dict) else [row.measured]
    assert len(values) >= len(table)
    assert np.isfinite(values).all()
    assert len(set(values)) == len(values)


def judged(statement: str) -> Verdict | None:
    """The verdict of the one claim of `analytic` whose statement begins so."""
    paper = load("analytic")
    (claim,) = [claim for claim in paper.claims if claim.statement.startswith(statement)]
    return reproduce(Paper("one claim", "ours", (claim,)), quick=True)[0].verdict


_FOLLOWED = {}


def corrupted(monkeypatch, change):
    """Let `analytic` see paths that `change` has spoilt."""
    follow = analytic.flow

    def spoilt(problem, theta0, **settings):
        key = (np.asarray(theta0).tobytes(), settings["accuracy"], settings["until"])
        if key not in _FOLLOWED:
            _FOLLOWED[key] = follow(problem, theta0, **settings)
        return change(_FOLLOWED[key])

    monkeypatch.setattr(analytic, "flow", spoilt)


def bent(path):
    """The path with its last row off by 2e-6, relative."""
    thetas = path.thetas.copy()
    thetas[-1] *= 1 + 2e-6
    return dataclasses.replace(path, thetas=thetas)


def with_accuracy(**changes):
    """Paths that state another accuracy than they have."""
    return lambda path: dataclasses.replace(path, accuracy=dataclasses.replace(path.accuracy, **changes))


def delayed(path):
    """Events a millionth late."""
    late = tuple(dataclasses.replace(event, time=event.time * (1 + 1e-6)) for event in path.events)
    return dataclasses.replace(path, events=late)


def twisted(path):
    """Parameters turned a little, so that modes mix and the imbalance moves."""
    noise = np.random.default_rng(0).normal(size=path.thetas.shape[1])
    return dataclasses.replace(path, thetas=path.thetas + 1e-4 * path.ts[:, None] / path.ts[-1] * noise)


@pytest.mark.parametrize(
    ("statement", "change"),
    [
        ("A quadratic valley", bent),
        ("A two-layer scalar linear network", bent),
        ("… leaving the saddle", bent),
        ("… with negative correlation", bent),
        ("The modes of a two-layer", bent),
        pytest.param("… of a three-layer", bent, marks=pytest.mark.slow),
        pytest.param("… of a four-layer", bent, marks=pytest.mark.slow),
        ("Modes stay independent", twisted),
        ("The imbalance", twisted),
        ("Half of the target", delayed),
        ("Half of the target", lambda path: dataclasses.replace(path, events=())),
        ("The certified estimate", with_accuracy(global_error=1e-15)),
        ("The certified estimate", with_accuracy(global_error=None)),
        ("The loss that is lost", with_accuracy(energy_defect=2e-5)),
        ("The loss that is lost", with_accuracy(energy_defect=float("nan"))),
    ],
)
def test_a_claim_fails_when_the_path_is_a_little_wrong(monkeypatch, statement, change):
    corrupted(monkeypatch, change)
    assert judged(statement) is Verdict.FAILS


def test_the_order_claim_fails_for_another_rule(monkeypatch):
    descend = analytic.descend

    def two_half_steps(problem, theta0, rule, steps, **settings):
        coarse = descend(problem, theta0, rule, steps, **settings)
        fine_rule = analytic.GradientDescent(learning_rate=rule.learning_rate / 2)
        fine = descend(problem, theta0, fine_rule, 2 * steps, **settings)
        thetas = coarse.thetas.copy()
        thetas[-1] = 2 * fine.thetas[-1] - coarse.thetas[-1]
        return dataclasses.replace(coarse, thetas=thetas)

    monkeypatch.setattr(analytic, "descend", two_half_steps)  # Richardson: order two
    assert judged("Gradient descent leaves") is Verdict.FAILS


@pytest.mark.parametrize(
    "claim_and_member", ["The Hessian of hessian", "Structured hessian", "Structured hvp"]
)
def test_the_derivative_claims_fail_for_derivatives_off_in_the_eleventh_digit(monkeypatch, claim_and_member):
    statement, member = claim_and_member.rsplit(" ", 1)
    method = getattr(analytic.EmpiricalRisk, member)

    def off(*arguments):
        return jnp.asarray(method(*arguments)) * (1 + 1e-11)

    monkeypatch.setattr(analytic.EmpiricalRisk, member, off)
    assert judged(statement) is Verdict.FAILS
