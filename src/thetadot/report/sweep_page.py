"""The report of a sweep."""

import collections
import platform
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thetadot import __version__
from thetadot.dynamics.palette import RULES
from thetadot.dynamics.wording import count, duration, number
from thetadot.errors import ThetadotError
from thetadot.report.citation import citations
from thetadot.report.interactive import embeddable
from thetadot.report.members import Badge, Cell
from thetadot.report.page import render
from thetadot.report.panels import Panel
from thetadot.report.series import Series, rule_name
from thetadot.report.still import as_svg
from thetadot.report.sweep_charts import (
    Heat,
    fan_chart_of,
    heats,
    key_chart,
    ratio_words,
    sound,
    spread_words,
    swept_dims,
)

_FAN_RUNS = 12
_LENS_FIGURES = 6
_MOST_CELLS = 400
_MOST_ROWS = 200


def sweep_page(sweep: Any) -> str:
    """The page of a sweep as text."""
    table = sweep.table
    examples: list[Series] = []
    found = [*_shown_over_keys(table, "loss", "loss"), *_fans(sweep, table, examples)]
    for index, variable in enumerate(_lens_variables(table)):
        # A map says of a lens's number what its curves would.
        found += [*_shown_over_keys(table, variable, f"lens-{index}")][:1]
    panels = [one for one in found if isinstance(one, Panel)]
    content = {
        "name": sweep.name,
        "sentence": what_was_swept(sweep, examples),
        "badges": _badges(sweep, table),
        "notes": _notes(sweep),
        "tiles": _tiles(sweep, table),
        "keys": [(key, ", ".join(_shown(value) for value in values)) for key, values in sweep.plan.keys.items()],
        "found": [{"figure": _figure(one)} if isinstance(one, Panel) else {"map": _map(one)} for one in found],
        "points": _points(sweep),
        "failures": [(sweep.plan.title(task), sweep.failures[task.name])
                     for task in sweep.plan.tasks if task.name in sweep.failures],
        "configuration": _text(sweep.directory / "study.yaml"),
        "facts": {"directory": str(sweep.directory),
                  "report written by": f"thetadot {__version__}, Python {platform.python_version()}"},
        "citations": citations(tuple(examples)),
    }  # fmt: skip
    figures = {f"{p.name}-figure": embeddable(p.chart, f"{p.name}-figure") for p in panels}
    return render("sweep.html.j2", content, figures)


def what_was_swept(sweep: Any, examples: list[Series]) -> str:
    """Problem, rule and keys in one sentence."""
    sizes = [count(size, f"value of {dim}", f"values of {dim}") for dim, size in sweep.plan.dims.items()
             if dim not in ("member", "point")]  # fmt: skip
    if sweep.plan.together:
        sizes = [count(sweep.plan.dims["point"], "point")]
    sizes.append(count(sweep.plan.dims["member"], "member"))
    what = ""
    if examples:
        rule = examples[0].rule_name
        what = f"{rule[:1].upper()}{rule[1:]} of {examples[0].path.info.get('problem') or 'a system'}: "
    return f"{what}{count(len(sweep), 'run')}, {' × '.join(sizes)}."


def _lens_variables(table: Any) -> list[str]:
    """Scalars of lenses that differ between runs, the first few."""
    found = []
    for name in table.data_vars:
        values = table[name].values
        # Names of lenses' scalars have their lens before a dot.
        if "." in str(name) and values.dtype.kind == "f" and not str(name).endswith("seconds"):
            finite = values[np.isfinite(values)]
            if finite.size > 1 and np.ptp(finite) > 0:
                found.append(str(name))
    return found[:_LENS_FIGURES]


def _shown_over_keys(table: Any, variable: str, name: str) -> Iterator[Panel | Heat]:
    """Maps over the two longest keys, then a curve over each of them."""
    dims = swept_dims(table)
    values = sound(table, variable).values
    if not np.isfinite(values).any():
        return
    if len(dims) > 1:
        yield from (heat for heat in heats(table, variable) if heat.values.size <= _MOST_CELLS)
    for index, dim in enumerate(dims[:2]):
        chart = key_chart(table, variable, dim)
        middle = chart.lines[0].y
        if chart.empty:
            continue
        low, high = np.nanmin(middle), np.nanmax(middle)
        reading = (
            f"The median runs from {number(low)} to {number(high)}, {ratio_words(low, high)}; "
            f"over all runs: {spread_words(values)}."
        )
        others = [
            other for other in table.run.dims if other not in (dim, "member") and table.sizes[other] > 1
        ]
        pooled = f" Runs of all values of {', '.join(others)} are pooled." if others else ""
        left_out = " Runs that diverged are left out." if (table.outcome == "DIVERGED").any() else ""
        method = "Line: median over runs; band: the middle 80 % of them." + pooled + left_out
        yield Panel(f"{name}-{index}", chart, reading, method)


def _fans(sweep: Any, table: Any, examples: list[Series]) -> Iterator[Panel]:
    """Losses over time for each value of the longest key that has at most as many values as there are colours."""
    dims = swept_dims(table)
    fitting = [dim for dim in dims if table.sizes[dim] <= len(RULES)]
    dim = fitting[0] if fitting else (dims[0] if dims else "")
    groups: dict[str, list[Any]] = {}
    axis = list(sweep.plan.dims).index(dim) if dim else None
    size = table.sizes[dim] if dim else 1
    chosen = np.unique(np.linspace(0, size - 1, min(size, len(RULES))).round().astype(int)).tolist()
    for place in chosen:
        tasks = [at for at, task in enumerate(sweep.plan.tasks) if axis is None or task.cell[axis] == place]
        step = max(1, len(tasks) // _FAN_RUNS)
        paths = [path for at in tasks[::step][:_FAN_RUNS] if (path := _path(sweep, at)) is not None]
        if paths and not examples:
            examples.append(Series(paths[0], 0, 0, rule_name(paths[0])))
        if lasting := [path for path in paths if not path.outcome.failed]:
            groups[_value(sweep, dim, place)] = lasting
    if not groups:
        return
    shown = "" if dim == "point" else dim
    ends = {value: np.median([path.losses[-1] for path in paths]) for value, paths in groups.items()}
    best = min(ends, key=lambda value: ends[value])
    reading = f"The lowest median at the end is {number(ends[best])}" + (
        f", at {dim} = {best}." if dim else "."
    )
    method = f"Line: median of up to {_FAN_RUNS} runs; band: the middle 80 % of them." + (
        " Not every value is drawn." if len(chosen) < size else ""
    )
    yield Panel("fans", fan_chart_of(groups, shown), reading, method)


def _value(sweep: Any, dim: str, place: int) -> str:
    if not dim:
        return "all runs"
    if dim == "point":
        return ", ".join(f"{key} = {_shown(values[place])}" for key, values in sweep.plan.keys.items())
    return _shown(sweep.plan.keys[dim][place])


def _path(sweep: Any, index: int) -> Any:
    try:
        path = sweep.run(index).path(0)
    except ThetadotError:
        return None
    return path if len(path.losses) else None


def _map(heat: Heat) -> dict[str, Any]:
    """What the template needs of a heat map."""
    depths = [
        [None if np.isnan(share) else round(100 * float(share)) for share in row] for row in heat.shares
    ]
    cells = [
        list(zip(map(number, row), depth, strict=True))
        for row, depth in zip(heat.values, depths, strict=True)
    ]
    lowest = (
        np.unravel_index(np.nanargmin(heat.values), heat.values.shape)
        if np.isfinite(heat.values).any()
        else None
    )
    reading = "" if lowest is None else (
        f"Lowest at {heat.row_key} = {heat.rows[lowest[0]]}, {heat.column_key} = {heat.columns[lowest[1]]}: "
        f"{number(heat.values[lowest])}; all: {spread_words(heat.values)}."
    )  # fmt: skip
    return {"title": heat.title, "reading": reading, "row_key": heat.row_key, "column_key": heat.column_key,
            "columns": heat.columns, "rows": list(zip(heat.rows, cells, strict=True))}  # fmt: skip


def _badges(sweep: Any, table: Any) -> list[Badge]:
    states = collections.Counter(sweep.states())
    whole = states["done"] == len(sweep)
    text = "all runs done" if whole else f"{states['done']} of {len(sweep)} runs done"
    found = [Badge(text, "good" if whole else "fair")]
    if states["failed"]:
        found.append(Badge(f"{count(states['failed'], 'run')} failed", "bad"))
    outcomes = collections.Counter(str(word) for word in table.outcome.values.ravel() if word)
    for word in ("DIVERGED", "STALLED"):
        if outcomes[word]:
            found.append(Badge(f"{outcomes[word]} {word.lower()}", "bad"))
    errors = table.global_error.values
    known = errors[np.isfinite(errors)]
    if known.size:
        found.append(Badge(f"largest certified error {number(known.max(), 2)}", "good"))
    return found


def _notes(sweep: Any) -> list[str]:
    if sweep.status == "done":
        return []
    return [
        f"This sweep is not finished: its status is “{sweep.status}”. The report shows what is committed."
    ]


def _tiles(sweep: Any, table: Any) -> list[tuple[str, str, str]]:
    losses, seconds = sound(table, "loss").values, table.seconds.values
    found = [("runs", f"{len(sweep):,}", sweep.summary().partition("runs, ")[2] or sweep.summary())]
    if np.isfinite(losses).any():
        best = int(table.run.values.ravel()[np.nanargmin(losses.ravel())])
        found.append(
            (
                "lowest loss",
                number(np.nanmin(losses)),
                f"run {best}: {sweep.plan.title(sweep.plan.tasks[best])}",
            )
        )
        found.append(("median loss", number(float(np.nanmedian(losses))), spread_words(losses)))
    if np.isfinite(seconds).any():
        total, gradients = float(np.nansum(seconds)), np.nansum(table.gradients.values)
        found.append(("computing time", duration(total), f"{gradients:,.0f} gradients, all runs"))
    return found


def _points(sweep: Any) -> tuple[list[str], list[list[Cell]], int]:
    """Heads and rows of the runs, and how many are left out."""
    heads = ["run", *sweep.plan.keys, "member", "status", "outcome", "loss", "‖∇L‖", "error", "seconds"]
    rows = []
    for index, (task, row) in enumerate(zip(sweep.plan.tasks, sweep.rows(), strict=True)):
        if len(rows) == _MOST_ROWS:
            break
        values = sweep.plan.values(task).values()
        outcome = row["outcome"].lower().replace("_", " ")
        rows.append([
            Cell(str(index), index),
            *(Cell(_shown(v), float(v)) if isinstance(v, (int, float)) and not isinstance(v, bool) else Cell(_shown(v))
              for v in values),
            Cell(str(task.cell[-1]), task.cell[-1]), Cell(row["status"]), Cell(outcome),
            *(_number_cell(row.get(name)) for name in ("loss", "grad_norm", "global_error", "seconds")),
        ])  # fmt: skip
    return heads, rows, len(sweep) - len(rows)


def _number_cell(value: float | None) -> Cell:
    return Cell("–", float("inf")) if value is None else Cell(number(value), value)


def _shown(value: Any) -> str:
    from thetadot.studies.sweep_plan import short

    return short(value)


def _figure(panel: Panel) -> dict[str, Any]:
    chart = panel.chart
    return {
        "name": panel.name, "title": chart.title, "reading": panel.reading, "method": panel.method,
        "description": panel.description,
        "key": [(chart.scope, index, name) for index, name in chart.colours.items()] if len(chart.colours) > 1 else [],
        "svg": as_svg(chart, panel.name, panel.description),
    }  # fmt: skip


def _text(file: FilePath) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
