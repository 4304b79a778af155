"""The page *Compare*: two paths, of two runs or of one, on one time axis, and in what their studies differ."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import panel as pn

from thetadot.dynamics.wording import duration, number
from thetadot.errors import ThetadotError
from thetadot.report.chart import Chart
from thetadot.report.charts import (
    SHARPNESS,
    distance_chart,
    gradient_chart,
    loss_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.distance import distance_from_flow
from thetadot.report.members import outcome_badge
from thetadot.report.record import series_of
from thetadot.report.series import Series, rule_names
from thetadot.studies.identity import differences
from thetadot.studies.run import Run
from thetadot.studies.source import read_file
from thetadot.viewer.catalogue import Catalogue
from thetadot.viewer.panes import Figure, Text, control, grid, link, row
from thetadot.viewer.time_panes import observed

_MOST_KEYS = 40


class Side:
    """One of the two: its run, its member, its rule.

    Arguments:
        catalogue: where the runs are.
        letter: "A" or "B".
        name: of the run to begin with; the last changed if it is not there.
        rule: which of its rules to begin with.
        changed: called after every choice.
    """

    def __init__(self, catalogue: Catalogue, letter: str, name: str, rule: int, changed: Any):
        self._catalogue, self.letter, self._changed = catalogue, letter, changed
        names = catalogue.names()
        self._run = control(pn.widgets.Select(label=f"{letter}: run", options=names), f"run-{letter}")
        self._run.value = name if name in names else next(iter(names), None)
        self._member = control(
            pn.widgets.Select(label=f"{letter}: member", options=[0], width=120), f"member-{letter}"
        )
        self._rule = control(pn.widgets.Select(label=f"{letter}: rule", options={}), f"rule-{letter}")
        self.run: Run | None = None
        self._series: tuple[Series, ...] = ()
        self._opening = False
        self._open(rule)
        for choice in (self._run, self._member, self._rule):
            choice.param.watch(self._chosen, "value")
        self.controls = row(self._run, self._member, self._rule)

    def _chosen(self, event: Any) -> None:
        """What the reader chose; what follows from it is shown once, at the end."""
        if self._opening:
            return
        if event.obj is not self._rule:
            self._open(self._rule.value or 0)
        self._changed()

    def _open(self, rule: int) -> None:
        """Read the run, and offer its members and rules."""
        self.run, self._series = None, ()
        if self._run.value is None:
            return
        try:
            self.run = self._catalogue.run(self._run.value)
        except ThetadotError:  # deleted since the list was made; the page says that there is nothing to show
            return
        members = list(self.run.members)
        self._opening = True
        try:
            if self._member.options != members:
                self._member.param.update(options=members, value=members[0])
            self._series = tuple(series_of(self.run, self._member.value, {}, [], []))
            rules = {item.rule_name: item.rule for item in self._series}
            kept = rule if rule in rules.values() else next(iter(rules.values()), None)
            self._rule.param.update(options=rules, value=kept)
        finally:
            self._opening = False

    @property
    def series(self) -> Series | None:
        """The path, named and coloured as this side of the comparison."""
        found = next((item for item in self._series if item.rule == self._rule.value), None)
        if found is None:
            return None
        name = f"{self.letter}: {self._run.value}, {found.rule_name}, member {found.member}"
        return Series(found.path, 0 if self.letter == "A" else 1, 0, name)


def compare_page(catalogue: Catalogue, first: str = "", second: str = "") -> pn.Column:
    """Two paths side by side.

    Arguments:
        catalogue: where the runs are.
        first, second: names of the runs to begin with.
    """
    table, key, figures, cards = Text("compare.html.j2"), Text("keys.html.j2"), dict[str, Figure](), grid()

    def show() -> None:
        sides = (a, b)
        there = [side.series for side in sides if side.series is not None]
        charts = {name: chart for name, chart in _charts(there) if not chart.empty}
        key.show(pressable=True, key=[("rule", rule, name) for rule, name in rule_names(there).items()])
        shown = []
        for name, chart in charts.items():
            if name not in figures:
                figures[name] = Figure(name, keyed=False)
            figures[name].show(chart)
            shown.append(figures[name])
        link(shown)
        cards.objects = [figure.card for figure in shown]
        table.show(
            rows=[_facts(item) for item in there],
            differences=_differences(a.run, b.run),
            absent=[side.letter for side in sides if side.series is None],
        )

    a = Side(catalogue, "A", first, 0, show)
    same = not second or second == first
    b = Side(catalogue, "B", second or first, 1 if same else 0, show)
    show()
    heading = Text("heading.html.j2", title="Compare two paths")
    return pn.Column(
        heading.pane, a.controls, b.controls, table.pane, key.pane, cards, sizing_mode="stretch_width"
    )


def _charts(series: list[Series]) -> Iterator[tuple[str, Chart]]:
    if not series:
        return
    yield "loss", loss_chart(series)
    yield "gradient", gradient_chart(series)
    for name in observed(series):
        watched = [item for item in series if name in item.path.observed]
        shapes = {np.shape(item.path.observed[name])[1:] for item in watched}
        if len(shapes) == 1:
            yield name, sharpness_chart(watched) if name == SHARPNESS else observed_chart(watched, name)
    if len(series) == 2:
        a, b = series
        comparable = a.path.thetas.shape[1] == b.path.thetas.shape[1] and a.path.info.get("kind") == "flow"
        distance = distance_from_flow(b.path, a.path) if comparable else None
        if distance is not None:
            yield (
                "distance",
                distance_chart([(b, distance)]).altered(title="Distance of B from A at equal time"),
            )


def _facts(item: Series) -> dict[str, Any]:
    path = item.path
    return {
        "name": item.rule_name,
        "badge": outcome_badge(path.outcome, path.reason),
        "problem": str(path.info.get("problem") or ""),
        "time": number(path.ts[-1]) if len(path.ts) else "–",
        "loss": number(path.losses[-1]) if len(path.ts) else "–",
        "accuracy": str(path.accuracy),
        "gradients": f"{path.stats.gradients:,}",
        "seconds": duration(path.stats.seconds),
    }


def _differences(a: Run | None, b: Run | None) -> list[tuple[str, str, str]]:
    """(key, value of A, value of B) of the keys in which the studies differ."""
    if a is None or b is None or a.directory == b.directory:
        return []
    try:
        there, here = (read_file(run.directory / "study.yaml")[0] for run in (a, b))
        return differences(there, here)[:_MOST_KEYS]
    except (ThetadotError, OSError):
        return []
