"""The report of a run."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thetadot.dynamics.wording import count, duration, number
from thetadot.report.citation import citations
from thetadot.report.interactive import embeddable
from thetadot.report.lens_panels import lens_costs, lens_sections
from thetadot.report.members import cost_table, event_table, member_table, overall_accuracy, overall_outcome
from thetadot.report.page import render, write
from thetadot.report.panels import Panel, main_panel, member_panels, panels
from thetadot.report.record import Record, record_of
from thetadot.report.series import rule_names
from thetadot.report.sketch import network_sketch
from thetadot.report.still import as_svg
from thetadot.report.sweep_page import sweep_page
from thetadot.studies.sweep_record import Sweep


def write_report(run: Any, file: str | FilePath) -> FilePath:
    """Write the report of a run or a sweep to one self-contained HTML file.

    It opens offline, follows the reader's light or dark theme, prints, and works without scripts (still
    pictures in place of the interactive figures). The run may be unfinished, have one member, no comparison,
    or members that diverged.

    Arguments:
        run: what `thetadot.open_run`, `Study.run` or `thetadot.open_sweep` returned.
        file: where to; its folder is made if needed, an existing file is replaced.

    Returns:
        The path of the file.

    Example:
        >>> write_report(td.open_run("runs/quickstart"), "report.html")     # doctest: +SKIP
        PosixPath('report.html')
    """
    return write(sweep_page(run) if isinstance(run, Sweep) else report_page(record_of(run)), file)


def report_page(record: Record) -> str:
    """The page of a run as text."""
    first = main_panel(record)
    others, members = panels(record), member_panels(record)
    sections = lens_sections(record.lenses)
    of_lenses = [panel for section in sections for panel in section.panels]
    shown = [panel for panel in (first, *others, *of_lenses, *members) if panel is not None]
    heads, rows = member_table(record.everyone)
    event_heads, events, more_events = event_table(record.drawn)
    cost_heads, costs = cost_table(record.everyone)
    costs += lens_costs(record.lenses, len(cost_heads))
    layout = record.first.path.layout if record.first is not None else None
    content = {
        "record": record,
        "sentence": what_was_run(record),
        "units": ""
        if record.first is None
        else str(record.first.path.info.get("normalisation", "")).rstrip("."),
        "sketch": network_sketch(layout),
        "outcome": overall_outcome(record.main),
        "accuracy": overall_accuracy(record.main),
        "tiles": tiles(record),
        "first": None if first is None else _figure(first),
        "figures": [_figure(panel) for panel in others],
        "lenses": [(section, [_figure(panel) for panel in section.panels]) for section in sections],
        "member_figures": [_figure(panel) for panel in members],
        "members": (heads, rows),
        "events": (event_heads, events),
        "more_events": more_events,
        "costs": (cost_heads, costs),
        "citations": citations(record.everyone, any(panel.name == "sharpness" for panel in shown)),
    }
    return render(
        "report.html.j2",
        content,
        {f"{p.name}-figure": embeddable(p.chart, f"{p.name}-figure") for p in shown},
    )


def what_was_run(record: Record) -> str:
    """Problem, rules and members in one sentence."""
    first = record.first
    if first is None:
        return "Nothing of this run is committed yet."
    names = rule_names(record.everyone)
    members = count(len({item.member for item in record.everyone}), "initialisation")
    main, *others = names.values()
    problem = str(first.path.info.get("problem") or f"a system of {first.path.thetas.shape[1]:,} numbers")
    text = f"{main[:1].upper()}{main[1:]} of {problem}, from {members}"
    if others:
        listed = " and ".join([", ".join(others[:-1]), others[-1]]) if len(others) > 1 else others[0]
        text += f"; beside it, from the same weights, {listed}"
    return text + "."


def tiles(record: Record) -> list[tuple[str, str, str]]:
    """(name, value, remark) of what a reader wants at a glance."""
    main = record.main
    if not main:
        return []
    sound = [item for item in main if not item.broken] or main
    lasts = [float(item.path.losses[-1]) for item in sound if len(item.path.losses)]
    best = sorted(loss for loss in lasts if np.isfinite(loss))
    ends = sorted(float(item.path.ts[-1]) for item in main if len(item.path.ts))
    seconds = sum(item.path.stats.seconds for item in record.everyone)
    gradients = sum(item.path.stats.gradients for item in record.everyone)
    size = main[0].path.thetas.shape[1]
    found = [("parameters", f"{size:,}", "the length of θ")]
    if best:
        spread = f"median; {number(best[0])} to {number(best[-1])}" if len(best) > 1 else "of the one member"
        found.append(("last loss", number(float(np.median(best))), spread))
    if ends:
        found.append(("end time", number(ends[-1]), "in units of the loss gradient"))
    errors = [item.path.accuracy.global_error for item in main]
    defects = [
        item.path.accuracy.energy_defect for item in main if np.isfinite(item.path.accuracy.energy_defect)
    ]
    known = [error for error in errors if error is not None]
    if known or defects:
        remark = "largest of the members" if len(known) > 1 else "estimated" if known else "not certified"
        remark += f"; energy identity kept to {number(max(defects), 2)}" if defects else ""
        found.append(("global error of θ", number(max(known), 2) if known else "–", remark))
    found.append(("computing time", duration(seconds), f"{gradients:,} gradients, all rules and members"))
    return found


def _figure(panel: Panel) -> dict[str, Any]:
    """What the template needs of a figure."""
    chart = panel.chart
    key = (
        [(chart.scope, index, name) for index, name in chart.colours.items()]
        if len(chart.colours) > 1
        else []
    )
    key += [("member", index, name) for index, name in chart.dashes.items()] if len(chart.dashes) > 1 else []
    return {
        "name": panel.name,
        "title": chart.title,
        "reading": panel.reading,
        "method": panel.method,
        "description": panel.description,
        "key": key,
        "svg": as_svg(chart, panel.name, panel.description),
        "events": any(dots.shape == "event" for dots in chart.dots),
    }
