"""The paper `graph_predictions`: what it trains, and that its claims can fail."""

import pytest

from thetadot.papers import Paper, Verdict, graph_predictions, reproduce


@pytest.mark.slow
def test_every_claim_holds_in_quick_mode():
    table = reproduce("graph_predictions", quick=True)
    assert {row.statement: row.why for row in table.rows if row.verdict is not Verdict.HOLDS} == {}
    assert len(table.rows) == 7


TINY = graph_predictions.Sizes(6, 0.5, 20, 3, 2, 5)


@pytest.fixture(scope="module")
def untrained():
    """Fields of two steps of training: what the claims say of trained ones must fail."""
    claims = graph_predictions.paper(TINY).claims
    chosen = tuple(c for c in claims if c.statement.startswith(("A field that conforms", "The test keeps")))
    return reproduce(Paper("untrained", "ours", chosen))


def test_fields_that_were_not_trained_do_not_predict_but_keep_their_level(untrained):
    assert untrained[0].verdict is Verdict.FAILS
    for accepted in untrained[1].measured.values():
        assert 0.85 < accepted <= 1
