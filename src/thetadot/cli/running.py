"""Commands that compute: run, sweep."""

import contextlib
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from thetadot.cli.frame import (
    DONE,
    INTERNAL,
    MISSED,
    STOPPED,
    AsJson,
    Quiet,
    command,
    print_json,
    print_rich,
)


@command("thetadot run my_study.yaml --set init.scale=0.01 -o runs/small")
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
    """Run a study, or go on with one that was stopped.

    The study is a file of yours, a name from `thetadot list`, or the directory of an earlier run. It is checked, down
    to the shapes of the data, before anything is written. At the end a table says how each member ended, how accurate
    it is and what it cost, and report.html in the run's directory shows it. Ctrl-C stops it; the same command goes on
    from there; a run that is done is left as it is.
    """
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
        print_json({**as_data(done), "how": session.how, "report": None if written is None else str(written)})
    elif not quiet:
        print_rich(as_table(done))
        for line in lens_lines(done):
            print_rich(line)
        print_rich(closing_words(done, session.how, session.seconds))
        if written is not None:
            print_rich(f"report: {written}")
    if session.how in ("budget", "interrupted"):
        return STOPPED
    if session.how == "failed":
        return INTERNAL
    missed = any(line.accuracy is not None and line.accuracy.missed for line in done.table())
    return MISSED if missed or done.status == "failed" else DONE


def _report(done: Any, file: Path, how: str) -> Path | None:
    """Write the report of a finished run or sweep, unless an earlier session did; without it the numbers are still
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


@command("thetadot sweep scales.yaml --workers 8 -o runs/scales")
def sweep(
    study: Annotated[
        str,
        typer.Argument(help="Study file with `sweep` or `zip`, or a sweep's directory.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Directory that all workers see (default runs/<name>).", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key: init.members=100 (repeatable).", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.", show_default=False)
    ] = None,
    scheduler_file: Annotated[
        Path | None, typer.Option(help="Scheduler file of a Dask scheduler.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-j", help="Processes on this machine (default: one per core).", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the study and print the plan only.")
    ] = False,
    commit_every: Annotated[
        float, typer.Option(help="Seconds between the commits of a run.", min=0.01)
    ] = 5.0,
    retries: Annotated[int, typer.Option(help="How often a task that fails is tried again.", min=0)] = 3,
    repair: Annotated[bool, typer.Option("--repair", help="Compute damaged series again.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html at the end.")] = True,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Run a study at many settings, over many processes.

    The study has a key `sweep` (values in all combinations) or `zip` (values that go together); every member at every
    setting is a task. Without --scheduler the tasks are spread over this machine. Give the same command again, after
    a crash or Ctrl-C, and it goes on with what is left. At the end a table and report.html compare all settings.
    """
    from thetadot.studies import sweep_summary
    from thetadot.studies.cluster import executor_for
    from thetadot.studies.study import Study
    from thetadot.studies.sweep_session import planned, run_sweep

    chosen = Study.load(study, set=settings or ())
    place = Path(study) if output is None and Path(study).is_dir() else output
    if dry_run:
        plan, place, done = planned(chosen, place)
        if as_json:
            print_json(sweep_summary.plan_data(plan, place, done))
        for line in () if as_json else sweep_summary.plan_lines(plan, place, done):
            print_rich(line)
        return DONE
    with contextlib.ExitStack() as stack:
        session = run_sweep(
            chosen,
            place,
            lambda: stack.enter_context(executor_for(scheduler, scheduler_file, workers)),
            progress=not (quiet or as_json),
            commit_every=commit_every,
            retries=retries,
            repair=repair,
        )
    swept = session.sweep
    written = _report(swept, swept.directory / "report.html", session.how) if report else None
    if as_json:
        told = {"how": session.how, "report": None if written is None else str(written)}
        print_json({**sweep_summary.sweep_data(swept), **told})
    elif not quiet:
        print_rich(sweep_summary.sweep_table(swept))
        print_rich(sweep_summary.closing_line(swept, session.how, session.seconds))
        if written is not None:
            print_rich(f"report: {written}")
    if session.how in ("budget", "interrupted"):
        return STOPPED
    return INTERNAL if session.how == "failed" else DONE
