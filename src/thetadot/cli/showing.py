"""Commands that show and check: list, schema, show, report, verify-certificate, doctor, cite."""

from pathlib import Path
from typing import Annotated, Any

import typer

from thetadot.cli.frame import DONE, MISSED, AsJson, Directory, command, print_json, print_rich
from thetadot.errors import ThetadotError


@command("thetadot list grokking_small > mine.yaml")
def list_(
    name: Annotated[
        str | None, typer.Argument(help="Print the file of this study instead.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> int | None:
    """List the bundled studies and the papers.

    Of a study: what one sees, and about how long it takes on two cores. `thetadot run NAME` runs it, and
    `thetadot list NAME > mine.yaml` is a beginning for one of your own. Of a paper: its title, and the study that shows
    a set-up of its kind.
    """
    from thetadot import papers
    from thetadot.studies import bundled

    if name is not None:
        if name not in bundled.names():
            raise ThetadotError(
                f"no bundled study is called {name!r}: there are {', '.join(bundled.names())}"
            )
        return print(bundled.text(name), end="")
    studies, titles = bundled.overview(), papers.titles()
    if as_json:
        told = {name: {"description": one.description, "takes": one.takes} for name, one in studies.items()}
        return print_json({"studies": told, "papers": titles})
    rows = [(name, one.sentence, one.takes) for name, one in studies.items()]
    print_rich(_table("Studies: thetadot run NAME", ("name", "what one sees", "about"), rows))
    print_rich("")
    beside = {paper: " ".join(name for name in studies if name.startswith(f"{paper}_")) for paper in titles}
    rows = [(paper, title, beside[paper]) for paper, title in titles.items()]
    print_rich(_table("Papers: thetadot reproduce NAME --quick", ("name", "title", "study beside it"), rows))
    return None


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Any:
    """A table that gives the middle column the room that is left."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for head in heads:
        table.add_column(head, no_wrap=head in (heads[0], heads[-1]), header_style="dim")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


@command("thetadot schema > study.schema.json")
def schema() -> None:
    """Print the JSON Schema of study files, for editors.

    With it an editor completes keys and explains them: put `# yaml-language-server: $schema=study.schema.json` into the
    first line of a study. Every key of a study, of every lens too, is in it.
    """
    from thetadot.studies.schema import json_schema

    print_json(json_schema())


@command("thetadot show runs/quickstart --json")
def show(directory: Directory, as_json: AsJson = False) -> None:
    """Show how a run or a sweep stands.

    Members with outcome, accuracy and cost, what each lens found, versions, and what is damaged, if anything is.
    """
    from thetadot.studies import sweep_summary
    from thetadot.studies.run import open_run
    from thetadot.studies.summary import as_data, as_table, lens_lines
    from thetadot.studies.sweep_record import is_sweep, open_sweep

    if is_sweep(directory):
        swept = open_sweep(directory)
        return (
            print_json(sweep_summary.sweep_data(swept))
            if as_json
            else print_rich(sweep_summary.sweep_table(swept))
        )
    opened = open_run(directory)
    if as_json:
        return print_json(as_data(opened))
    print_rich(as_table(opened))
    for line in lens_lines(opened):
        print_rich(line)
    manifest = opened.manifest
    print_rich(
        f"run {manifest.run[:12]}, begun {manifest.created}, "
        f"thetadot {manifest.package} (numerics {manifest.numerics})"
    )
    if manifest.error:
        print_rich(f"last session: {manifest.error}")
    for wrong in opened.damages():
        print_rich(f"damaged: {wrong}")
    return None


@command("thetadot report runs/quickstart -o quickstart.html")
def report(
    directory: Directory,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File (default RUN/report.html).", show_default=False),
    ] = None,
) -> None:
    """Write the report of a run or a sweep as HTML.

    One file that opens in any browser, offline; send it to a colleague. `thetadot run` writes it by itself; this
    writes it again, of an unfinished run too.
    """
    from thetadot.report import write_report
    from thetadot.studies.run import open_run
    from thetadot.studies.sweep_record import is_sweep, open_sweep

    opened = open_sweep(directory) if is_sweep(directory) else open_run(directory)
    file = opened.directory / "report.html" if output is None else output
    try:
        print_rich(f"report: {write_report(opened, file)}")
    except OSError as error:
        raise ThetadotError(
            f"{file} cannot be written ({error.strerror}): choose another file with -o"
        ) from error


@command("thetadot verify-certificate proof.json")
def verify_certificate(
    file: Annotated[Path, typer.Argument(help="Certificate (JSON).", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Check what a certificate proves, or whether it does.

    A certificate of integrability or its absence, as the report of a study with that lens offers it. Nothing of the
    computation that made it is believed. Exit code 0: valid, 1: invalid, 2: unreadable.
    """
    from thetadot.integrability.verification import verify_certificate as verify

    found = verify(file)
    if as_json:
        checks = [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in found.checks]
        print_json({"valid": found.valid, "proves": found.proves, "checks": checks})
        return DONE if found.valid else MISSED
    for check in found.checks:
        print_rich(f"{'✓' if check.passed else '✗'} {check.name}: {check.detail}")
    failed = next((check for check in found.checks if not check.passed), None)
    print_rich(
        f"valid: it proves {found.proves}"
        if failed is None
        else f"INVALID at {failed.name}: {failed.detail}; it proves nothing"
    )
    return DONE if found.valid else MISSED


@command("thetadot doctor")
def doctor(as_json: AsJson = False) -> int:
    """Check this installation.

    JAX, float64, cores, extras, browser, and a self-test of some five seconds against a closed form; how to get what is
    absent.
    """
    from thetadot.studies.doctor import findings

    signs, found = {"ok": "✓", "absent": "–", "wrong": "✗"}, []
    for finding in findings():
        found.append(finding)
        if not as_json:
            print_rich(f"{signs[finding.state]} {finding.name}: {finding.detail}")
    if as_json:
        print_json([{"name": f.name, "state": f.state, "detail": f.detail} for f in found])
    return MISSED if any(f.state == "wrong" for f in found) else DONE


@command("thetadot cite runs/quickstart")
def cite(
    directory: Annotated[
        Path | None, typer.Argument(help="Run whose methods are cited too.", show_default=False)
    ] = None,
) -> None:
    """Print what to cite, as BibTeX.

    Without a run thetadot; with one also the methods and the data that it used.
    """
    from thetadot.report.citation import citations

    if directory is None:
        return print_rich(citations(()))
    from thetadot.report.record import record_of
    from thetadot.studies.run import open_run

    record = record_of(open_run(directory))
    watched = any("sharpness" in series.path.observed for series in record.everyone)
    return print_rich(citations(record.everyone, sharpness=watched))
