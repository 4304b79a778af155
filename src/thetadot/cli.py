"""The command line. Commands import what they need when they are called, so that `--help` stays fast."""

import functools
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from thetadot import __version__
from thetadot.errors import ThetadotError

DONE, MISSED, BAD_INPUT, STOPPED, INTERNAL = 0, 1, 2, 3, 4
EXIT_CODES = (
    "Exit codes: 0 done; 1 ran, but an accuracy was missed or a claim FAILS; 2 bad input; "
    "3 stopped by budget or interrupt, the same command resumes; 4 internal error."
)

app = typer.Typer(
    help=f"θ̇ = −∇L(θ): the training of a neural network as a dynamical system.\n\n{EXIT_CODES}",
    epilog="Example: thetadot run quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Directory = Annotated[Path, typer.Argument(help="Run directory.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _command(example: str) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """A command that ends with an exit code and one line, never with a traceback."""

    def decorate(function: Callable[..., int | None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> None:
            raise typer.Exit(_guarded(function, *args, **kwargs))

        return app.command(function.__name__.rstrip("_"), epilog=f"Example: {example}")(guarded)

    return decorate


def _guarded(function: Callable[..., int | None], *args: Any, **kwargs: Any) -> int:
    warnings.showwarning = _show_warning
    try:
        return function(*args, **kwargs) or DONE
    except ThetadotError as error:
        _complain(str(error))
        return STOPPED if getattr(error, "resumable", False) else BAD_INPUT
    except KeyboardInterrupt:
        _complain("interrupted; what was committed stays, the same command resumes it")
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        log = _error_log()
        reason = " ".join(str(error).split())[:200]
        _complain(
            f"internal error: {type(error).__name__}: {reason}; the details are in {log}: please report them"
        )
        return INTERNAL


def _complain(message: str) -> None:
    print(f"thetadot: {' '.join(message.split())}", file=sys.stderr)


def _show_warning(
    message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"thetadot: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _error_log() -> str:
    with tempfile.NamedTemporaryFile(
        "w", prefix="thetadot-error-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"thetadot {__version__}, {sys.version}\n{sys.argv}\n\n{traceback.format_exc()}")
    return file.name


def _print(content: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(content, markup=False, highlight=False, soft_wrap=isinstance(content, str))


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1, ensure_ascii=False))


def _version(wanted: bool) -> bool:
    if wanted:
        print(f"thetadot {__version__}")
        raise typer.Exit()
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@_command("thetadot run my_study.yaml --set init.scale=0.01 -o runs/small")
def run(
    study: Annotated[
        str,
        typer.Argument(
            help="Study file (.yaml, .toml), bundled study, or run directory.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run directory (default runs/<name>).", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key: init.scale=0.01 (repeatable).", show_default=False),
    ] = None,
    commit_every: Annotated[float, typer.Option(help="Seconds between commits.", min=0.01)] = 5.0,
    workers: Annotated[
        int, typer.Option("--workers", "-j", help="Processes for members and rules.", min=1)
    ] = 1,
    repair: Annotated[bool, typer.Option("--repair", help="Compute damaged series again.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html when the run is done.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Run a study, or go on with it; a run that is done is left as it is."""
    from thetadot.studies.runner import run_study
    from thetadot.studies.study import Study
    from thetadot.studies.summary import as_data, as_table, closing_words, lens_lines

    chosen = Study.load(study, set=settings or ())
    place = Path(study) if output is None and Path(study).is_dir() else output
    session = run_study(
        chosen,
        place,
        progress=not (quiet or as_json),
        commit_every=commit_every,
        workers=workers,
        repair=repair,
    )
    done = session.run
    written = _report(done, done.directory / "report.html", session.how) if report else None
    if as_json:
        _print_json(
            {**as_data(done), "how": session.how, "report": None if written is None else str(written)}
        )
    elif not quiet:
        _print(as_table(done))
        for line in lens_lines(done):
            _print(line)
        _print(closing_words(done, session.how, session.seconds))
        if written is not None:
            _print(f"report: {written}")
    if session.how in ("budget", "interrupted"):
        return STOPPED
    if session.how == "failed":
        return INTERNAL
    missed = any(line.accuracy is not None and line.accuracy.missed for line in done.table())
    return MISSED if missed or done.status == "failed" else DONE


def _report(done: Any, file: Path, how: str) -> Path | None:
    """Write the report of a finished run, unless an earlier session did; without it the numbers are still
    good."""
    from thetadot.studies.errors import LostFileWarning

    if how in ("budget", "interrupted"):
        return None
    if how == "already done" and file.exists():
        return file
    from thetadot.report import write_report

    try:
        return write_report(done, file)
    except OSError as error:
        warnings.warn(
            f"{file} cannot be written ({error.strerror}); the run itself is complete", LostFileWarning, 2
        )
        return None


@_command("thetadot reproduce analytic --quick")
def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Paper (`thetadot list` names them).", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All papers, one after another.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Reduced sizes, under two minutes each.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory (default runs/<name>).", show_default=False),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Measure the claims of a paper: claim | predicted | measured | verdict."""
    from thetadot import papers
    from thetadot.report import claims_report
    from thetadot.studies.reproduction import reproduce_paper

    if everything == (name is not None):
        raise ThetadotError(f"name one paper, or give --all; there are: {', '.join(papers.names())}")
    worst, printed = DONE, []
    for paper in papers.names() if everything else [str(name)]:
        place = Path("runs") / paper if output is None else (output / paper if everything else output)
        table, broken = reproduce_paper(paper, place, quick, _claim_line if not (quiet or as_json) else None)
        printed.append(json.loads(table.to_json()))
        file = claims_report(table, place / "report.html")
        if not (quiet or as_json):
            _print(table)
            _print(f"report: {file}")
        if broken:
            _complain(broken)
        worst = max(worst, INTERNAL if broken else MISSED if table.fails else DONE)
    if as_json:
        _print_json(printed if everything else printed[0])
    return worst


def _claim_line(done: int, total: int, text: str) -> None:
    print(f"[{done}/{total}] {text}", file=sys.stderr, flush=True)


@_command("thetadot list")
def list_(as_json: AsJson = False) -> int | None:
    """List the bundled studies and the papers that can be reproduced."""
    from thetadot import papers
    from thetadot.studies.study import Study, bundled_names

    studies = {name: Study.load(name).spec.description for name in bundled_names()}
    if as_json:
        return _print_json({"studies": studies, "papers": list(papers.names())})
    _print("Studies (thetadot run NAME):")
    for name, description in studies.items():
        _print(f"  {name}: {description}")
    _print("Papers (thetadot reproduce NAME):")
    for name in papers.names():
        _print(f"  {name}")
    return None


@_command("thetadot schema > study.schema.json")
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from thetadot.studies.schema import json_schema

    _print_json(json_schema())


@_command("thetadot show runs/quickstart --json")
def show(directory: Directory, as_json: AsJson = False) -> None:
    """Show the status of a run: members with outcome and accuracy, versions."""
    from thetadot.studies.run import open_run
    from thetadot.studies.summary import as_data, as_table, lens_lines

    opened = open_run(directory)
    if as_json:
        return _print_json(as_data(opened))
    _print(as_table(opened))
    for line in lens_lines(opened):
        _print(line)
    manifest = opened.manifest
    _print(
        f"run {manifest.run[:12]}, begun {manifest.created}, "
        f"thetadot {manifest.package} (numerics {manifest.numerics})"
    )
    if manifest.error:
        _print(f"last session: {manifest.error}")
    for wrong in opened.damages():
        _print(f"damaged: {wrong}")
    return None


@_command("thetadot report runs/quickstart -o quickstart.html")
def report(
    directory: Directory,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File (default RUN/report.html).", show_default=False),
    ] = None,
) -> None:
    """Write the report of a run to one self-contained HTML file."""
    from thetadot.report import write_report
    from thetadot.studies.run import open_run

    opened = open_run(directory)
    file = opened.directory / "report.html" if output is None else output
    try:
        _print(f"report: {write_report(opened, file)}")
    except OSError as error:
        raise ThetadotError(
            f"{file} cannot be written ({error.strerror}): choose another file with -o"
        ) from error


@_command("thetadot doctor")
def doctor(as_json: AsJson = False) -> int:
    """Check this installation: JAX, float64, cores, extras, browser, and a self-test against a closed
    form."""
    from thetadot.studies.doctor import findings

    signs, found = {"ok": "✓", "absent": "–", "wrong": "✗"}, []
    for finding in findings():
        found.append(finding)
        if not as_json:
            _print(f"{signs[finding.state]} {finding.name}: {finding.detail}")
    if as_json:
        _print_json([{"name": f.name, "state": f.state, "detail": f.detail} for f in found])
    return MISSED if any(f.state == "wrong" for f in found) else DONE


@_command("thetadot cite runs/quickstart")
def cite(
    directory: Annotated[
        Path | None, typer.Argument(help="Run whose methods are cited too.", show_default=False)
    ] = None,
) -> None:
    """Print what to cite, as BibTeX: thetadot, and the methods that a run used."""
    from thetadot.report.citation import citations

    if directory is None:
        return _print(citations(()))
    from thetadot.report.record import record_of
    from thetadot.studies.run import open_run

    record = record_of(open_run(directory))
    watched = any("sharpness" in series.path.observed for series in record.everyone)
    return _print(citations(record.everyone, sharpness=watched))


def main() -> None:
    """Entry point of the command `thetadot`."""
    app(prog_name="thetadot")


if __name__ == "__main__":
    main()
