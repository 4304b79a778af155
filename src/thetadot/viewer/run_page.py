"""The page *Run*: one member of a run, all its figures at one moment, followed while it is computed."""

from typing import Any
from urllib.parse import urlencode

import numpy as np
import panel as pn

from thetadot.dynamics.wording import number
from thetadot.report.series import Series
from thetadot.studies.run import Run
from thetadot.viewer.panes import Figure, Text, bar, control, grid, row
from thetadot.viewer.reading import Follower, Shown
from thetadot.viewer.status import BADGES, run_lines
from thetadot.viewer.time_panes import TimePane, time_panes

LOOK_EVERY = 1000
FRAME = 80
_PLAY, _PAUSE = "▶ Play", "❚❚ Pause"


class RunPage:
    """The parts of the page and what they do.

    Arguments:
        run: the run.
        name: as it is known to the viewer.
        member: which member is shown first.
    """

    def __init__(self, run: Run, name: str, member: int = 0):
        self._name = name
        self._member = control(pn.widgets.Select(name="Member", options=list(run.members)), "member")
        self._member.value = member if member in run.members else 0
        self._rule = control(pn.widgets.Select(name="Slider follows", options={}), "rule")
        self._slider = control(pn.widgets.IntSlider(name="Saved row", start=0, end=1, sizing_mode="stretch_width"), "save")
        self._play = control(pn.widgets.Toggle(name=_PLAY, width=110), "play")
        self._head, self._moment, self._about = Text("run.html.j2"), Text("moment.html.j2"), Text("about.html.j2")
        self._figures: dict[str, Figure] = {}
        self._panes: dict[str, TimePane] = {}
        self._grid = grid()
        self._follower = Follower(run, self._member.value)
        self._shown: Shown | None = None
        self._player: Any = None
        self._member.param.watch(self._choose_member, "value")
        self._rule.param.watch(lambda _: self._draw(), "value")
        self._slider.param.watch(lambda _: self._mark(), "value")
        self._play.param.watch(self._toggle, "value")
        self.look()
        pn.state.add_periodic_callback(self.look, period=LOOK_EVERY)
        moment = bar(row(self._slider, self._play), self._moment.pane)
        self.view = pn.Column(
            self._head.pane, row(self._member, self._rule), moment, self._grid, self._about.pane,
            sizing_mode="stretch_width",
        )  # fmt: skip

    def look(self) -> None:
        """Show what was committed since."""
        shown = self._follower.news()
        if shown is not None:
            at_end = self._shown is None or self._slider.value >= self._slider.end
            self._shown = shown
            self._take(shown, at_end)
        elif self._shown is not None:
            self._say(self._shown)

    def _take(self, shown: Shown, at_end: bool) -> None:
        names = {item.rule_name: item.rule for item in shown.series}
        if dict(self._rule.options) != names:
            before = self._rule.value
            self._rule.options = names
            self._rule.value = before if before in names.values() else next(iter(names.values()), None)
        self._draw()
        if at_end and self._chosen is not None:
            self._slider.value = len(self._chosen.path.ts) - 1
        self._say(shown)

    @property
    def _chosen(self) -> Series | None:
        """The path that the slider follows."""
        series = () if self._shown is None else self._shown.series
        return next((item for item in series if item.rule == self._rule.value), next(iter(series), None))

    def _draw(self) -> None:
        """All figures anew, those that stay being only given their new data."""
        chosen = self._chosen
        if chosen is None or self._shown is None:
            return
        self._slider.param.update(end=max(1, len(chosen.path.ts) - 1), value=min(self._slider.value, len(chosen.path.ts) - 1))
        self._panes = {pane.name: pane for pane in time_panes(self._shown.series, chosen)}
        for name, pane in self._panes.items():
            if name not in self._figures:
                self._figures[name] = Figure(name, self._go)
            self._figures[name].show(pane.chart)
        self._grid.objects = [self._figures[name].card for name in self._panes]
        self._mark()

    def _mark(self) -> None:
        """The moment, on every figure."""
        chosen = self._chosen
        if chosen is None or not len(chosen.path.ts):
            return
        k = min(self._slider.value, len(chosen.path.ts) - 1)
        time = float(chosen.path.ts[k])
        for name, pane in self._panes.items():
            figure = self._figures[name]
            if pane.point is None:
                figure.mark(time, pane.value(chosen, k))
            else:
                x, y = pane.point(chosen, k)
                figure.mark_points([x], [y])
        self._moment.show(
            time=number(time), loss=number(chosen.path.losses[k]), gradient=number(chosen.path.grad_norms[k]),
            save=k, last=len(chosen.path.ts) - 1, whose=chosen.name,
        )  # fmt: skip

    def _go(self, time: float) -> None:
        """To the saved time that is nearest to an event."""
        chosen = self._chosen
        if chosen is not None:
            self._slider.value = int(np.argmin(np.abs(chosen.path.ts - time)))

    def _choose_member(self, _: object) -> None:
        self._follower = Follower(self._follower.run, self._member.value)
        self._figures.clear()
        self.look()

    def _toggle(self, _: object) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None
        self._play.name = _PAUSE if self._play.value else _PLAY
        if self._play.value:
            if self._slider.value >= self._slider.end:
                self._slider.value = 0
            self._player = pn.state.add_periodic_callback(self._step, period=FRAME)

    def _step(self) -> None:
        if self._slider.value < self._slider.end:
            self._slider.value += 1
        else:
            self._play.value = False

    def _say(self, shown: Shown) -> None:
        """Status, outcome of each member, what is missing."""
        run = shown.run
        self._head.show(
            name=self._name,
            badge=BADGES[self._follower.status],
            problem=next((str(item.path.info.get("problem") or "") for item in shown.series), ""),
            links={"Lenses": "lenses?" + urlencode({"run": self._name}), "Compare": "compare?" + urlencode({"a": self._name})},
            notes=list(dict.fromkeys((*shown.notes, *filter(None, [run.manifest.error])))),
            waiting=not shown.series,
        )
        self._about.show(lines=run_lines(run), missing=shown.missing)
