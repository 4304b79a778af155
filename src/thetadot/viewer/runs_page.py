"""The page *Runs*: every run below the directory, filtered as one types, with its status as it is now."""

import datetime
import math
import time
from urllib.parse import urlencode

import panel as pn

from thetadot.dynamics.wording import count, number
from thetadot.viewer.catalogue import MOST, Catalogue, Entry
from thetadot.viewer.panes import Text, control, on_arrival, row
from thetadot.viewer.status import BADGES

LOOK_EVERY = 2000
_CHOICES = ["all", "running", "done", "resumable", "failed", "unreadable"]


def runs_page(catalogue: Catalogue, below: str = "") -> pn.Column:
    """The table of runs.

    Arguments:
        catalogue: of the directory.
        below: a folder of it, such as the one of a sweep.
    """
    words = control(
        pn.widgets.TextInput(label="Filter by name or problem", placeholder="part of a name"), "filter"
    )
    status = control(pn.widgets.Select(label="Status", options=_CHOICES), "status")
    table = Text("runs.html.j2")

    def show(*_: object) -> None:
        entries = catalogue.entries(below)
        chosen = [entry for entry in entries if _matches(entry, words.value_input or "", status.value)]
        table.show(
            rows=[_row(entry) for entry in chosen],
            amount=count(len(chosen), "run") + ("" if len(chosen) == len(entries) else f" of {len(entries)}"),
            more=len(entries) >= MOST,
            root=str(catalogue.root),
            below=below,
        )

    words.param.watch(show, "value_input")
    status.param.watch(show, "value")
    show()
    on_arrival(show, LOOK_EVERY)
    heading = Text("heading.html.j2", title="Runs")
    return pn.Column(heading.pane, row(words, status), table.pane, sizing_mode="stretch_width")


def _matches(entry: Entry, words: str, status: str) -> bool:
    text = f"{entry.name} {entry.remark}".lower()
    return status in ("all", entry.status) and all(word in text for word in words.lower().split())


def _ago(moment: float) -> str:
    """How long ago, coarse, so that a table in which nothing happened stays as it is."""
    seconds = max(0.0, time.time() - moment)
    if seconds < 10:
        return "just now"
    for unit, size, step in (("s", 60, 10), ("min", 3600, 60), ("h", 48 * 3600, 3600)):
        if seconds < size:
            return f"{int(seconds // step) * (step if unit == 's' else 1)} {unit} ago"
    return datetime.date.fromtimestamp(moment).isoformat()


def _row(entry: Entry) -> dict[str, object]:
    page = {"run": "run?", "sweep": "?"}.get(entry.kind)
    key = "run" if entry.kind == "run" else "below"
    return {
        "name": entry.name,
        "address": None if page is None else page + urlencode({key: entry.name}),
        "badge": BADGES[entry.status],
        "members": count(entry.members, "run" if entry.kind == "sweep" else "member")
        if entry.members
        else "–",
        "loss": number(entry.loss) if math.isfinite(entry.loss) else "–",
        "changed": _ago(entry.changed) if entry.changed else "–",
        "remark": entry.remark,
    }
