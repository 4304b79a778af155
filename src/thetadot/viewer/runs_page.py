"""The page *Runs*: every run below the directory, filtered as one types, with its status as it is now."""

import math
import time
from urllib.parse import urlencode

import panel as pn

from thetadot.dynamics.wording import count, duration, number
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
        pn.widgets.TextInput(label="Filter by name or rule", placeholder="part of a name"), "filter"
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
    return pn.Column(row(words, status), table.pane, sizing_mode="stretch_width")


def _matches(entry: Entry, words: str, status: str) -> bool:
    text = f"{entry.name} {entry.remark}".lower()
    return status in ("all", entry.status) and all(word in text for word in words.lower().split())


def _row(entry: Entry) -> dict[str, object]:
    page = {"run": "run?", "sweep": "?"}.get(entry.kind)
    key = "run" if entry.kind == "run" else "below"
    # Coarse, so that a table in which nothing happened stays as it is.
    ago = max(0.0, time.time() - entry.changed)
    when = "just now" if ago < 10 else f"{duration(10 * (ago // 10) if ago < 60 else 60 * (ago // 60))} ago"
    return {
        "name": entry.name,
        "address": None if page is None else page + urlencode({key: entry.name}),
        "badge": BADGES[entry.status],
        "members": count(entry.members, "run" if entry.kind == "sweep" else "member")
        if entry.members
        else "–",
        "loss": number(entry.loss) if math.isfinite(entry.loss) else "–",
        "changed": when if entry.changed else "–",
        "remark": entry.remark,
    }
