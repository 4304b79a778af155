"""The report of a paper's claims: claim, prediction, measurement, verdict."""

from collections.abc import Mapping
from pathlib import Path as FilePath

from thetadot import papers
from thetadot.dynamics.wording import duration
from thetadot.papers.table import ClaimResult, ClaimsTable
from thetadot.papers.values import words
from thetadot.papers.verdicts import Verdict
from thetadot.report.citation import own_citation
from thetadot.report.members import Badge
from thetadot.report.page import render, write

_TONES = {
    Verdict.HOLDS: "good",
    Verdict.FAILS: "bad",
    Verdict.NOT_CONFIRMED: "fair",
    Verdict.NOT_TESTABLE_HERE: "plain",
    None: "bad",
}


def claims_report(table: ClaimsTable, file: str | FilePath) -> FilePath:
    """Write a claims table to one self-contained HTML file.

    Arguments:
        table: what `thetadot.papers.reproduce` returned.
        file: where to; its folder is made if needed, an existing file is replaced.

    Returns:
        The path of the file.
    """
    counted = {verdict: table.count(verdict) for verdict in (*Verdict, None)}
    badges = [
        Badge(f"{amount} {'ERROR' if verdict is None else verdict.value}", _TONES[verdict])
        for verdict, amount in counted.items()
        if amount
    ]
    content = {
        "table": table,
        "claims": [_claim(number, row) for number, row in enumerate(table.rows, 1)],
        "badges": badges,
        "seconds": duration(table.seconds),
        "bibtex": _bibtex(table),
        "versions": dict(table.versions),
    }
    return write(render("claims.html.j2", content, {}), file)


def _claim(number: int, row: ClaimResult) -> Mapping[str, object]:
    """What the template needs of a claim."""
    return {
        "number": number,
        "statement": row.statement,
        "source": row.source,
        "setup": row.setup,
        "predicted": words(row.predicted),
        "measured": row.found,
        "rule": row.rule,
        "badge": Badge(row.word, _TONES[row.verdict]),
        "remark": row.remark,
        "seconds": duration(row.seconds) if row.seconds else "",
    }


def _bibtex(table: ClaimsTable) -> str:
    """BibTeX of the paper, where the registry knows it, and of this program."""
    known = papers.load(table.name).bibtex if table.name in papers.names() else ""
    return "\n\n".join(entry for entry in (known, own_citation()) if entry)
