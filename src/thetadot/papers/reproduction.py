"""Reproducing a paper: measure every claim, judge it by its rule, tabulate."""

import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable

from thetadot.errors import ThetadotError
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.errors import NotTestableHereError
from thetadot.papers.registry import load
from thetadot.papers.table import ClaimResult, ClaimsTable
from thetadot.papers.values import Measurement, plain
from thetadot.papers.verdicts import Judgement, Verdict
from thetadot.papers.workbench import Workbench


class MeasurementError(ThetadotError):
    """A measure broke down, so that its claim has no verdict.

    Attributes:
        table: the whole table; the broken rows have no verdict but the error, all others theirs.
    """

    def __init__(self, message: str, table: ClaimsTable):
        super().__init__(message)
        self.table = table


_PACKAGES = ("thetadot", "jax", "diffrax", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a progress hook is told.

    Attributes:
        done, total: claims finished, claims in all.
        statement: the claim being worked on.
        message: what its measure says it is doing; empty when the claim starts or ends.
        result: its row, once it has ended.
    """

    done: int
    total: int
    statement: str
    message: str = ""
    result: ClaimResult | None = None


def reproduce(
    paper: str | Paper, quick: bool = False, progress: Callable[[Progress], None] | None = None
) -> ClaimsTable:
    """Measure all claims of a paper and judge them by their rules.

    A measure that raises gets no verdict, since neither HOLDS nor FAILS would be true: the other claims are
    still measured, and then `MeasurementError` names the broken ones and carries the whole table. Only
    `NotTestableHereError` is an answer: NOT TESTABLE HERE, its message the why.

    Arguments:
        paper: a name (see `names()`), or a `Paper` of your own.
        quick: reduced sizes, under two minutes.
        progress: called with a `Progress` when a claim starts, says something, and ends.

    Raises:
        UnknownPaperError: no paper has this name.
        MeasurementError: a measure or a rule broke down; its `table` has everything that was found.

    Example:
        >>> from thetadot.papers import Claim, Paper, at_most
        >>> mine = Paper("Mine", "me", (Claim("2 is small", "ours", 0, lambda workbench: 2, at_most(1)),))
        >>> table = reproduce(mine)
        >>> table[0].verdict.name, table[0].why
        ('FAILS', 'measured 2, rule: ≤ 1')
    """
    name = paper if isinstance(paper, str) else ""
    content = load(paper) if isinstance(paper, str) else paper
    total, rows, first_error = len(content.claims), [], None
    report = progress or (lambda _: None)
    current = ""
    workbench = Workbench(quick, lambda message: report(Progress(len(rows), total, current, message)))
    for claim in content.claims:
        current = claim.statement
        report(Progress(len(rows), total, current))
        row, error = _examine(claim, workbench)
        rows.append(row)
        first_error = first_error or error
        report(Progress(len(rows), total, current, result=rows[-1]))
    table = ClaimsTable(
        name, content.title, content.reference, content.scope, quick, tuple(rows), _versions()
    )
    if table.errors:
        broken = "; ".join(f"{row.statement!r}: {row.why}" for row in table.errors)
        count = f"{len(table.errors)} of {total} claims of {name or content.title!r}"
        raise MeasurementError(
            f"{count} could not be measured and have no verdict: {broken}", table
        ) from first_error
    return table


def _examine(claim: Claim, workbench: Workbench) -> tuple[ClaimResult, Exception | None]:
    """The row of a claim, and the exception if its measure or rule broke down."""
    started, broken = time.perf_counter(), None
    predicted, found = None if callable(claim.prediction) else plain(claim.prediction), Measurement(None)
    try:
        if claim.measure is None or claim.rule is None:
            raise NotTestableHereError(claim.why)
        if callable(claim.prediction):
            predicted = plain(claim.prediction(workbench))
        returned = claim.measure(workbench)
        found = returned if isinstance(returned, Measurement) else Measurement(returned)
        found = dataclasses.replace(found, value=plain(found.value), beside=plain(found.beside))
        judged = claim.rule.decide(found.value, predicted)
    except NotTestableHereError as reason:
        judged = Judgement(Verdict.NOT_TESTABLE_HERE, str(reason))
    except Exception as error:
        judged, broken = None, error
    row = ClaimResult(
        statement=claim.statement,
        source=claim.source,
        setup=claim.setup,
        predicted=predicted,
        measured=found.value,
        rule="" if claim.rule is None else claim.rule.text,
        verdict=None if judged is None else judged.verdict,
        why=_first_line(broken) if judged is None else judged.why,
        beside=found.beside,
        note=found.note,
        seconds=time.perf_counter() - started,
    )
    return row, broken


def _first_line(error: Exception | None) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
