"""The paper `graph_predictions`: what it trains, and that its claims can fail."""

import pytest

from thetadot.papers import Paper, Verdict, graph_predictions, reproduce


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode():
    table = reproduce("graph_predictions", quick=True)
    assert {row.statement: row.why for row in table.rows if row.verdict is not Verdict.HOLDS} == {}
    assert len(table.rows) == 7


TINY = graph_predictions.Sizes(8, 0.5, 40, 4, 200, 5)


def claim(start):
    (found,) = [c for c in graph_predictions.paper(TINY).claims if c.statement.startswith(start)]
    return found


def test_fields_that_were_hardly_trained_refute_what_is_claimed_of_trained_ones(monkeypatch):
    monkeypatch.setattr(graph_predictions, "_DYNAMICS", {"epidemic": graph_predictions.epidemic})
    table = reproduce(Paper("hardly trained", "ours", (claim("Outside of"),)))
    assert table[0].verdict is Verdict.FAILS
    errors = table[0].measured["epidemic"]
    assert len(errors) == 4
    assert errors[-1] < 10 * errors[0]


RULES = {
    "A field that": (
        {"epidemic": {"same": 0.01, "fresh": 0.015, "larger": 0.02}},
        [
            {"epidemic": {"same": 0.04, "fresh": 0.04, "larger": 0.04}},
            {"epidemic": {"same": 0.01, "fresh": 0.021, "larger": 0.01}},
        ],
    ),
    "Only if": ({"epidemic": [11.0, 7.0]}, [{"epidemic": [11.0, 4.9]}]),
    "Outside of": (
        {"epidemic": [0.01, 0.02, 0.1]},
        [{"epidemic": [0.01, 0.02, 0.09]}, {"epidemic": [0.01, 0.2, 0.1]}],
    ),
    "The test keeps": ({"epidemic": 0.95}, [{"epidemic": 0.91}, {"epidemic": 0.99}]),
    "The test flags": (
        {"epidemic": [0.9, 0.5, 0.1]},
        [{"epidemic": [0.9, 0.5, 0.2]}, {"epidemic": [0.4, 0.5, 0.1]}],
    ),
    "The disagreement": ({"epidemic": 0.9}, [{"epidemic": 0.79}]),
    "On a denser": ({"epidemic": 0.95, "mass action": 0.9}, [{"epidemic": 0.95, "mass action": 0.8}]),
}


@pytest.mark.parametrize("start", RULES)
def test_the_rules_hold_and_fail_where_the_claims_say(start):
    rule, (good, bad) = claim(start).rule, RULES[start]
    assert rule.decide(good, None).verdict is Verdict.HOLDS
    for measured in bad:
        assert rule.decide(measured, None).verdict is Verdict.FAILS, measured
