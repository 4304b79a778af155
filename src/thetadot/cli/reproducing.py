"""The command reproduce: one paper, or all of them and a line for each."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from thetadot.cli.frame import (
    DONE,
    INTERNAL,
    MISSED,
    AsJson,
    Quiet,
    command,
    complain,
    internal_error,
    print_json,
    print_rich,
)
from thetadot.errors import ThetadotError

_HEADS = ("paper", "holds", "not confirmed", "fails", "not testable", "no verdict", "seconds", "report")


@dataclasses.dataclass(frozen=True)
class _Reproduced:
    """One paper: its table (None if it broke down as a whole), what went wrong ("" if nothing), and the rest."""

    name: str
    table: Any
    broken: str
    seconds: float
    report: Path | None

    @property
    def code(self) -> int:
        """Exit code of this paper."""
        return INTERNAL if self.broken else MISSED if self.table.fails else DONE

    @property
    def counts(self) -> list[int]:
        """How many claims hold, are not confirmed, fail, are not testable, have no verdict."""
        from thetadot.papers import Verdict

        order = (Verdict.HOLDS, Verdict.NOT_CONFIRMED, Verdict.FAILS, Verdict.NOT_TESTABLE_HERE, None)
        return [0 if self.table is None else self.table.count(verdict) for verdict in order]

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its line."""
        numbers = ["–" if self.table is None else str(count) for count in self.counts]
        return (self.name, *numbers, f"{self.seconds:.0f}", str(self.report or self.broken))

    @property
    def data(self) -> Any:
        """For machines."""
        return (
            {"name": self.name, "error": self.broken}
            if self.table is None
            else json.loads(self.table.to_json())
        )


@command("thetadot reproduce analytic --quick")
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Paper (`thetadot list` names them).", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All papers, one after another.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Reduced sizes, under two minutes each.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Directory (default runs/<name>; with --all the one above those).",
            show_default=False,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Measure the claims of a paper, and judge each.

    A table says claim | predicted | measured | verdict: HOLDS, FAILS, NOT CONFIRMED, or NOT TESTABLE HERE with the
    reason. It is kept as claims.json, and as report.html beside it. Without --quick a paper takes up to 20 minutes.
    With --all a paper that breaks down does not stop the others, and a line for each ends the output.
    """
    from thetadot import papers

    if everything == (name is not None):
        raise ThetadotError(f"name one paper, or give --all; there are: {', '.join(papers.names())}")
    loud, lines = not (quiet or as_json), []
    for paper in papers.names() if everything else [str(name)]:
        place = Path("runs") / paper if output is None else (output / paper if everything else output)
        if loud and everything:
            print(f"{paper}: {papers.titles()[paper]}", file=sys.stderr, flush=True)
        line = _reproduced(paper, place, quick, loud, alone=not everything)
        lines.append(line)
        if loud and line.report is not None:
            print_rich(line.table)
            print_rich(f"report: {line.report}")
        if line.broken:
            complain(line.broken)
    if loud and everything:
        print_rich(_summary(lines))
    if as_json:
        print_json([line.data for line in lines] if everything else lines[0].data)
    return max(line.code for line in lines)


def _reproduced(paper: str, place: Path, quick: bool, loud: bool, alone: bool) -> _Reproduced:
    """Reproduce one paper; unless it is alone, whatever breaks down becomes its line."""
    from thetadot.report import claims_report
    from thetadot.studies.reproduction import reproduce_paper

    began, table = time.perf_counter(), None
    try:
        table, broken = reproduce_paper(paper, place, quick, _claim_line if loud else None)
        report = claims_report(table, place / "report.html")
    except Exception as error:
        if alone:
            raise
        broken = str(error) if isinstance(error, ThetadotError) else internal_error(error)
        broken, report = f"{paper}: {broken}", None
    return _Reproduced(paper, table, broken, time.perf_counter() - began, report)


def _summary(lines: Sequence[_Reproduced]) -> Any:
    """One line for each paper, and their sum."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="All papers", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for head in _HEADS:
        table.add_column(head, justify="left" if head in ("paper", "report") else "right", overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line.cells), style="bold red" if line.code else "")
    sums = [str(sum(column)) for column in zip(*(line.counts for line in lines), strict=True)]
    seconds = f"{sum(line.seconds for line in lines):.0f}"
    table.add_section()
    table.add_row("together", *sums, seconds, "")
    return table


def _claim_line(done: int, total: int, text: str) -> None:
    print(f"[{done}/{total}] {text}", file=sys.stderr, flush=True)
