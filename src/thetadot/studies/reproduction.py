"""Reproducing a paper into a directory: its table as JSON, its report."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thetadot.papers import MeasurementError, reproduce
from thetadot.studies.durable import append_line, make_directory, replace_file
from thetadot.studies.errors import StoreError
from thetadot.studies.manifest import MANIFEST_FILE

TABLE_FILE, LOG_FILE = "claims.json", "log.jsonl"


def reproduce_paper(
    name: str, directory: Path, quick: bool, tell: Callable[[int, int, str], None] | None = None
) -> tuple[Any, str]:
    """Measure the claims of a paper and write claims.json and log.jsonl.

    Arguments:
        name: of the paper.
        directory: where to; a table of an earlier call is replaced.
        quick: reduced sizes.
        tell: called with (claims done, claims in all, what happens).

    Returns:
        The table, and what went wrong in measuring ("" if nothing did).

    Raises:
        UnknownPaperError: no paper has this name; nothing is written.
        StoreError: the directory holds the run of a study, whose report would be overwritten.
    """
    if (directory / MANIFEST_FILE).exists():
        raise StoreError(f"{directory} holds the run of a study: choose another directory with -o")

    def progress(step: Any) -> None:
        if tell is not None:
            verdict = "" if step.result is None else f": {step.result.word}"
            tell(
                step.done,
                step.total,
                f"{step.statement}{verdict}" + (f": {step.message}" if step.message else ""),
            )

    try:
        table, broken = reproduce(name, quick=quick, progress=progress), ""
    except MeasurementError as error:
        table, broken = error.table, str(error)
    make_directory(directory)
    replace_file(directory / TABLE_FILE, table.to_json().encode())
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = {"at": stamp, "event": "reproduced", "paper": name, "quick": quick, "summary": table.summary}
    append_line(directory / LOG_FILE, json.dumps({**line, "error": broken}, ensure_ascii=False))
    return table, broken
