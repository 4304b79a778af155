"""Claims tables: what goes into JSON comes back, and what is read says what was found."""

import dataclasses
import json
import math

import numpy as np
import pytest

from thetadot.papers import Claim, ClaimError, ClaimsTable, Measurement, Paper, Verdict, at_most, reproduce


def measured_badly(_):
    return Measurement({"x": math.nan, "y": [1, 2]}, {"z": -math.inf}, "odd")


@pytest.fixture(scope="module")
def table():
    gentle = at_most(1.0).otherwise(Verdict.NOT_CONFIRMED)
    claims = (
        Claim("a | pipe & <b>", "ours", 1 / 3, lambda _: 0.1 + 0.2, at_most(1.0), setup="rng 0"),
        Claim("b", "theirs", {"x": 1}, measured_badly, at_most(1.0)),
        Claim("c", "theirs", "words", lambda _: list(range(12)), gentle),
        Claim.not_testable("d", "theirs", "text unknown"),
    )
    return reproduce(Paper("A <made-up> paper", "Nobody et al.", claims, scope="All of it."), quick=True)


def test_json_round_trip_is_exact_and_strict(table, tmp_path):
    text = table.to_json()
    again = ClaimsTable.from_json(text)
    assert again.to_json() == text
    assert repr(again) == repr(table)  # equal but for NaN ≠ NaN
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert again[0] == table[0]
    assert again[1].verdict is Verdict.FAILS
    assert math.isnan(again[1].measured["x"])
    table.save(tmp_path / "claims.json")
    assert ClaimsTable.load(tmp_path / "claims.json").to_json() == text


def test_a_row_without_a_verdict_survives_json(table):
    broken = dataclasses.replace(
        table, rows=(dataclasses.replace(table[0], verdict=None, why="KeyError: 'x'"),)
    )
    assert ClaimsTable.from_json(broken.to_json()) == broken


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "something else"}', '{"format": 3, "rows": 1}'])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(ClaimError, match="claims table"):
        ClaimsTable.from_json(text)


def test_markdown_has_one_row_per_claim_and_escapes_pipes(table):
    lines = table.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(table)
    assert all(row.replace("\\|", "").count("|") == 9 for row in rows)
    assert "a \\| pipe" in rows[2]
    assert "**FAILS**: measured x: nan; y: [1, 2], rule: ≤ 1; odd" in rows[3]
    assert lines[-1] == "1 of 4 claims hold, 1 fail, 1 not confirmed, 1 not testable here (quick sizes)"


def test_plain_text_shows_predictions_measurements_rules_and_verdicts(table):
    text = " ".join(str(table).split())
    for expected in (
        "0.333",
        "0.3",
        "rng 0",
        "≤ 1, else NOT",
        "HOLDS",
        "FAILS",
        "text unknown",
        "12 in all",
        "z: -inf",
    ):
        assert expected in text, expected


def test_rich_does_not_take_brackets_for_markup():
    paper = Paper("t", "r", (Claim("[red]x[/red]", "ours", "[bold]", lambda _: 1, at_most(1.0)),))
    text = str(reproduce(paper))
    assert "[red]x[/red]" in text
    assert "[bold]" in text


def test_html_escapes_what_papers_say(table):
    page = table._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "A &lt;made-up&gt; paper" in page
    assert page.count("<tr>") == 1 + len(table)


def test_xarray_has_one_entry_per_claim(table):
    dataset = table.to_xarray()
    assert dict(dataset.sizes) == {"claim": 4}
    assert dataset.verdict.values.tolist() == ["HOLDS", "FAILS", "NOT CONFIRMED", "NOT TESTABLE HERE"]
    np.testing.assert_equal(dataset.value.values, [0.1 + 0.2, np.nan, np.nan, np.nan])
    assert dataset.attrs["quick"] == 1
    assert json.loads(dataset.attrs["versions"])["numpy"] == np.__version__
    assert table.versions["thetadot"]
