"""The report of a claims table."""

from tests.report.markup import Page
from tests.report.runs import HOSTILE
from thetadot.papers import ClaimResult, ClaimsTable, Verdict
from thetadot.report import claims_report

ROWS = (
    ClaimResult(
        "The flow is exact", "closed form", "cond 10¹⁰", 1e-6, 3.25e-8, "≤ 1e-06", Verdict.HOLDS, seconds=3.2
    ),
    ClaimResult(
        "It is fast", HOSTILE, "", 1.5, 2.5, "within 1 %", Verdict.FAILS, "2.5 is not 1.5", {"steps": 120}
    ),
    ClaimResult("It is small", "ours", "", 3.0, 2.2, "within 10 %", Verdict.NOT_CONFIRMED, "too noisy"),
    ClaimResult("It is large", "ours", "", None, None, "", Verdict.NOT_TESTABLE_HERE, "needs a cluster"),
    ClaimResult(HOSTILE, "ours", "", float("nan"), None, "", None, "ValueError: broken"),
)
TABLE = ClaimsTable(
    "no-such-paper", "Claims of a test", "A. Author (2020)", "Scope.", True, ROWS, {"jax": "9.9.9"}
)


def page(tmp_path):
    """The report of the table."""
    file = claims_report(TABLE, tmp_path / "claims.html")
    return Page(file.read_text(encoding="utf-8"))


def test_every_claim_has_its_prediction_measurement_and_verdict(tmp_path):
    told = page(tmp_path).body
    for row in ROWS:
        for words in (row.statement, row.source, row.found, row.word, row.remark):
            assert words in told
    assert TABLE.summary in told
    for badge in ("✓ 1 HOLDS", "✗ 1 FAILS", "! 1 NOT CONFIRMED", "• 1 NOT TESTABLE HERE", "✗ 1 ERROR"):
        assert badge in told


def test_the_claims_page_is_small_and_refers_to_nothing_outside(tmp_path):
    read = page(tmp_path)
    assert all(reference.startswith("#") for reference in read.references)
    assert read.all("img") == []
    assert len(read.executable) == 2, "no figures, so the drawing library stays out"
    assert sum(map(len, read.texts["script"])) < 20_000


def test_a_known_paper_is_cited_beside_the_program(tmp_path):
    assert "@software{thetadot" in page(tmp_path).body
