"""A sweep as a table for the terminal and as plain data for machines."""

import collections
import statistics
from collections.abc import Iterator
from typing import Any

from thetadot.dynamics.wording import count, duration, number
from thetadot.studies.sweep_plan import Plan, Task, short
from thetadot.studies.sweep_record import Sweep

_MOST_ROWS = 40


def sweep_data(sweep: Sweep) -> dict[str, Any]:
    """Status, dimensions, and every task with what it found; numbers that are not finite are None."""
    plan = sweep.plan
    return {
        "name": sweep.name,
        "directory": str(sweep.directory),
        "status": sweep.status,
        "dims": dict(plan.dims),
        "runs": [
            {"run": index, **_place(plan, task), **row}
            for index, (task, row) in enumerate(zip(plan.tasks, sweep.rows(), strict=True))
        ],
    }


def plan_data(plan: Plan, directory: Any, done: int) -> dict[str, Any]:
    """What a sweep would run."""
    return {
        "name": plan.name,
        "directory": str(directory),
        "dims": dict(plan.dims),
        "tasks": len(plan),
        "done": done,
        "runs": [{"run": index, **_place(plan, task), "directory": task.name} for index, task in enumerate(plan.tasks)],
    }  # fmt: skip


def _place(plan: Plan, task: Task) -> dict[str, Any]:
    return {**plan.values(task), "member": task.cell[-1]}


def plan_lines(plan: Plan, directory: Any, done: int) -> Iterator[str]:
    """What a sweep would run, for people."""
    yield f"{plan.name}: {count(len(plan), 'run')} ({' × '.join(f'{key}: {n}' for key, n in plan.dims.items())})"
    for key, values in plan.keys.items():
        yield f"  {key}: {', '.join(map(short, values))}"
    yield f"{done} of them are done already; directory: {directory}"


def sweep_table(sweep: Sweep) -> Any:
    """The sweep as a rich table: one line per point, its members together."""
    from rich.table import Table
    from rich.text import Text

    plan = sweep.plan
    points: dict[tuple[int, ...], list[dict[str, Any]]] = collections.defaultdict(list)
    for task, row in zip(plan.tasks, sweep.rows(), strict=True):
        points[task.cell[:-1]].append({**row, "values": plan.values(task)})
    table = Table(title=f"{sweep.summary()}: {sweep.status}", title_justify="left", box=None, pad_edge=False)
    for key in plan.keys:
        table.add_column(key, no_wrap=True)
    for head in ("members", "outcomes", "loss (median)", "lowest", "highest", "largest error", "time"):
        table.add_column(head, justify="left" if head == "outcomes" else "right", no_wrap=head != "outcomes")
    for rows in list(points.values())[:_MOST_ROWS]:
        table.add_row(*map(Text, _cells(rows)))
    if len(points) > _MOST_ROWS:
        table.caption = (
            f"{_MOST_ROWS} of {len(points)} points; the table of all: thetadot.open_sweep(…).table"
        )
    return table


def _cells(rows: list[dict[str, Any]]) -> list[str]:
    said = collections.Counter(row["outcome"] if row["status"] == "done" else row["status"] for row in rows)
    losses = sorted(row["loss"] for row in rows if row.get("loss") is not None)
    errors = [row["global_error"] for row in rows if row.get("global_error") is not None]
    numbers = (
        [number(value) for value in (statistics.median(losses), losses[0], losses[-1])]
        if losses
        else ["–"] * 3
    )
    return [
        *(short(value) for value in rows[0]["values"].values()), str(len(rows)),
        ", ".join(f"{n} {word}" if len(rows) > 1 else word for word, n in said.items()), *numbers,
        number(max(errors), 2) if errors else "–", duration(sum(row.get("seconds") or 0.0 for row in rows)),
    ]  # fmt: skip


def closing_line(sweep: Sweep, how: str, seconds: float) -> str:
    """How a session ended, and what to do next, in one sentence."""
    took, place = duration(seconds), sweep.directory
    if how == "already done":
        return f"already done: {place} (nothing was computed again)"
    if how == "done":
        return f"done in {took}: {place}"
    if how == "failed":
        return f"ended after {took}, {count(len(sweep.failures), 'run')} failed; the same command tries again: {place}"
    why = "the budget is spent" if how == "budget" else "interrupted"
    return f"stopped after {took}, {why}; the same command goes on: {place}"
