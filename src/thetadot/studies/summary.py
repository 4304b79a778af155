"""A run as a table for the terminal and as plain data for machines."""

import dataclasses
import html
import math
from typing import Any

import thetadot
from thetadot.dynamics.accuracy import Accuracy
from thetadot.dynamics.wording import duration, number
from thetadot.studies.lens_reading import LensSummary
from thetadot.studies.run import MemberSummary, Run


def as_data(run: Run) -> dict[str, Any]:
    """Status, members with outcome and accuracy, versions; numbers that are not finite are None."""
    lines = run.table()
    members = []
    for member in run.members:
        main, *compared = [_line(line) for line in lines if line.member == member]
        found = [_lens(line) for line in run.lenses() if line.member == member]
        members.append({**main, "compare": compared, "lenses": found})
    manifest = run.manifest
    return {
        "name": run.name,
        "directory": str(run.directory),
        "status": run.status,
        "error": manifest.error,
        "run": manifest.run,
        "created": manifest.created,
        "thetadot": manifest.package,
        "numerics": manifest.numerics,
        "versions": dict(manifest.versions),
        "members": members,
        "damaged": run.damages(),
    }


def _line(line: MemberSummary) -> dict[str, Any]:
    accuracy = None
    if line.accuracy is not None:
        told = line.accuracy
        accuracy = {
            "certified": told.certified,
            "missed": told.missed,
            "target": _finite(told.target),
            "global_error": _finite(told.global_error),
            "energy_defect": _finite(told.energy_defect),
            "rtol": _finite(told.rtol),
            "note": told.note,
        }
    return {
        "member": line.member,
        "rule": line.rule,
        "outcome": line.outcome,
        "reason": line.reason,
        "time": _finite(line.time),
        "loss": _finite(line.loss),
        "grad_norm": _finite(line.grad_norm),
        "accuracy": accuracy,
        "gradients": line.gradients,
        "seconds": line.seconds,
    }


def _lens(line: LensSummary) -> dict[str, Any]:
    return {**dataclasses.asdict(line), "notes": list(line.notes)}


def lens_lines(run: Run) -> list[str]:
    """One line per lens and path; members that say the same share one."""
    told: dict[tuple[str, str], list[str]] = {}
    for line in run.lenses():
        who, _, words = str(line).partition(": ")
        lens, _, path = who.partition(", ")
        told.setdefault((lens, words), []).append(path)
    return [f"{lens}, {_listed(paths)}: {words}" for (lens, words), paths in told.items()]


def _listed(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


HEADS = (
    "member",
    "rule",
    "outcome",
    "time",
    "loss",
    "‖∇L‖",
    "accuracy",
    "energy defect",
    "gradients",
    "seconds",
)


def _cells(line: MemberSummary) -> tuple[str, ...]:
    """The texts of a line, in the order of `HEADS`."""
    told = line.accuracy
    is_map = line.compare is not None or (told is not None and math.isnan(told.rtol))
    defect = None if told is None or math.isnan(told.energy_defect) else told.energy_defect
    return (
        str(line.member), line.rule, line.outcome or line.reason, number(line.time), number(line.loss),
        number(line.grad_norm), accuracy_words(told, is_map), number(defect, 2), f"{line.gradients:,}",
        number(line.seconds),
    )  # fmt: skip


def as_table(run: Run) -> Any:
    """The run as a rich table: one line per member and rule."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{run.name}: {run.status}", title_justify="left", box=None, pad_edge=False)
    for head in HEADS:
        is_text = head in ("member", "rule", "outcome", "accuracy")
        table.add_column(head, justify="left" if is_text else "right", no_wrap=not is_text)
    for line in run.table():
        missed = line.accuracy is not None and line.accuracy.missed
        table.add_row(*(Text(cell) for cell in _cells(line)), style="bold red" if missed else "")
    return table


def as_html(run: Run) -> str:
    """The run as a small table for notebooks, light or dark."""
    cell = 'style="text-align:left;padding:1px 12px 1px 0"'
    heads = "".join(f'<th scope="col" {cell}>{html.escape(head)}</th>' for head in HEADS)
    rows = "".join(
        "<tr>" + "".join(f"<td {cell}>{html.escape(text)}</td>" for text in _cells(line)) + "</tr>"
        for line in run.table()
    )
    title = html.escape(f"Run {run.name}: {run.status}, in {run.directory}")
    return f"<div><strong>{title}</strong><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"


def accuracy_words(accuracy: Accuracy | None, is_map: bool = False) -> str:
    """Why one may believe a path, in a few words.

    Example:
        >>> accuracy_words(Accuracy(1e-6, 2e-8, 1e-9, 1e-9))
        'certified 2×10⁻⁸ ≤ 10⁻⁶'
    """
    if accuracy is None:
        return "–"
    if accuracy.global_error is None:
        return "a map: exact steps" if is_map else f"not certified, rtol {number(accuracy.rtol, 2)}"
    target = (
        "" if accuracy.target is None else f" {'>' if accuracy.missed else '≤'} {number(accuracy.target, 2)}"
    )
    return f"{'MISSED' if accuracy.missed else 'certified'} {number(accuracy.global_error, 2)}{target}"


def closing_words(run: Run, how: str, seconds: float) -> str:
    """How a session ended, and what to do next, in one sentence."""
    took = duration(seconds)
    if how == "already done":
        return f"already done: {run.directory} (nothing was computed again)"
    if how == "done":
        return f"done in {took}: {run.directory}, by thetadot {thetadot.__version__}"
    if how == "failed":
        return f"ended after {took}, a lens failed; the same command tries it again: {run.directory}"
    why = "the budget is spent" if how == "budget" else "interrupted"
    return f"stopped after {took}, {why}; the same command resumes it: {run.directory}"
