"""The page *Run*: one member of a run, all its figures at one moment, followed while it is computed."""

from typing import Any
from urllib.parse import urlencode

import numpy as np
import panel as pn

from thetadot.dynamics.wording import number
from thetadot.errors import ThetadotError
from thetadot.report.series import Series, rule_names
from thetadot.studies.run import Run
from thetadot.viewer.moment_panes import Asked, Found, MomentPanes
from thetadot.viewer.panes import Figure, Text, bar, control, grid, link, on_arrival, row
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
        chosen = member if member in run.members else 0
        self._member = control(
            pn.widgets.Select(label="Member", options=list(run.members), value=chosen), "member"
        )
        self._rule = control(pn.widgets.Select(label="Slider follows", options={}), "rule")
        self._layer = control(pn.widgets.Select(label="Neurons of layer", options=[], visible=False), "layer")
        self._slider = control(
            pn.widgets.IntSlider(label="Saved row", end=1, sizing_mode="stretch_width"), "save"
        )
        self._play = control(pn.widgets.Toggle(label=_PLAY, width=110), "play")
        self._code = control(pn.widgets.Button(label="Run the study's own code for more figures"), "own-code")
        self._head, self._moment = Text("run.html.j2"), Text("moment.html.j2")
        self._about, self._key = Text("about.html.j2"), Text("keys.html.j2")
        self._figures: dict[str, Figure] = {}
        self._panes: dict[str, TimePane] = {}
        self._grid = grid()
        self._at_moment: list[str] = []
        self._follower = Follower(run, chosen)
        self._shown: Shown | None = None
        self._reasons: dict[str, str] = {}
        self._lost = ""
        self._player: Any = None
        document = pn.state.curdoc
        assert document is not None
        self._moments = MomentPanes(run, document, self._show_moment)
        self._code.visible = self._moments.asks_for_code
        self._member.param.watch(self._choose_member, "value")
        self._rule.param.watch(lambda _: self._draw(), "value")
        self._layer.param.watch(lambda _: self._mark(), "value")
        self._slider.param.watch(lambda _: self._mark(), "value")
        self._play.param.watch(self._toggle, "value")
        self._code.on_click(self._run_code)
        self._ready = False
        self.look()
        on_arrival(self._look, LOOK_EVERY)
        moment = bar(row(self._slider, self._play), self._moment.pane)
        self.view = pn.Column(
            self._head.pane, row(self._member, self._rule, self._layer, self._code), moment, self._key.pane,
            self._grid, self._about.pane, sizing_mode="stretch_width",
        )  # fmt: skip

    def _look(self) -> None:
        """What is to be done again and again."""
        if not self._ready:
            self._ready = True
            self._mark()
        self.look()

    def look(self) -> None:
        """Show what was committed since."""
        try:
            shown = self._follower.news()
        except (ThetadotError, OSError) as error:
            self._lost = f"This run cannot be read any more: {error}"
            shown = None
        else:
            self._lost = ""
        if shown is not None:
            at_end = self._chosen is None or self._slider.value >= self._slider.end
            self._shown = shown
            names = {item.rule_name: item.rule for item in shown.series}
            if dict(self._rule.options) != names:
                kept = self._rule.value in names.values()
                value = self._rule.value if kept else next(iter(names.values()), None)
                self._rule.param.update(options=names, value=value)
            self._draw(at_end)
        if self._shown is not None:
            self._say(self._shown)

    @property
    def _chosen(self) -> Series | None:
        """The path that the slider follows."""
        series = () if self._shown is None else self._shown.series
        found = next((item for item in series if item.rule == self._rule.value), next(iter(series), None))
        return found if found is not None and len(found.path.ts) else None

    def _draw(self, at_end: bool = False) -> None:
        """The figures over time; those that stay are only given their new data."""
        chosen = self._chosen
        if chosen is None or self._shown is None:
            return
        last = len(chosen.path.ts) - 1
        self._slider.param.update(end=max(1, last), value=last if at_end else min(self._slider.value, last))
        rules = rule_names(self._shown.series)
        self._key.show(
            pressable=True,
            key=[("rule", rule, name) for rule, name in rules.items()] if len(rules) > 1 else [],
        )
        self._panes = {pane.name: pane for pane in time_panes(self._shown.series, chosen)}
        for name, pane in self._panes.items():
            self._figure(name).show(pane.chart)
        shown = [self._figures[name] for name in self._panes]
        link(shown)
        self._lay_out()
        self._mark()

    def _lay_out(self) -> None:
        cards = [self._figures[name].card for name in (*self._panes, *self._at_moment)]
        if self._grid.objects != cards:
            self._grid.objects = cards

    def _figure(self, name: str) -> Figure:
        if name not in self._figures:
            self._figures[name] = Figure(name, self._go, keyed=False)
        return self._figures[name]

    def _mark(self) -> None:
        """The moment, on every figure."""
        chosen = self._chosen
        if chosen is None:
            return
        save = min(self._slider.value, len(chosen.path.ts) - 1)
        time = float(chosen.path.ts[save])
        for name, pane in self._panes.items():
            self._figures[name].mark(time if pane.over_time else None, *pane.points(chosen, save))
        self._moment.show(
            time=number(time), loss=number(chosen.path.losses[save]), gradient=number(chosen.path.grad_norms[save]),
            save=save, last=len(chosen.path.ts) - 1, whose=chosen.name,
        )  # fmt: skip
        if self._ready:
            self._moments.ask(Asked(chosen, save, self._layer.value))

    def _show_moment(self, asked: Asked, found: Found) -> None:
        self._reasons = dict(found.reasons)
        if self._layer.options != list(found.layers):
            many = len(found.layers) > 1
            self._layer.param.update(
                options=list(found.layers), value=next(iter(found.layers), None), visible=many
            )
        for panel in found.panels:
            self._figure(panel.name).show(panel.chart, panel.reading, panel.method)
        self._at_moment = [name for name in found.panes if name in self._figures]
        self._lay_out()
        if self._shown is not None:
            self._say(self._shown)

    def _go(self, time: float) -> None:
        """To the saved time that is nearest to an event."""
        chosen = self._chosen
        if chosen is not None:
            self._slider.value = int(np.argmin(np.abs(chosen.path.ts - time)))

    def _choose_member(self, _: object) -> None:
        self._follower = Follower(self._follower.run, self._member.value)
        self._shown = None
        self.look()

    def _run_code(self, _: object) -> None:
        self._code.visible = False
        self._moments.run_code()

    def _toggle(self, _: object) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None
        self._play.label = _PAUSE if self._play.value else _PLAY
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
        problems = (str(item.path.info.get("problem") or "") for item in shown.series)
        self._head.show(
            name=self._name,
            badge=BADGES[self._follower.status],
            problem=next(problems, ""),
            links={
                "lenses": "lenses?" + urlencode({"run": self._name}),
                "compare": "compare?" + urlencode({"a": self._name}),
                "new run from this one": "new?" + urlencode({"from": self._name}),
            },
            notes=list(dict.fromkeys((*shown.notes, *filter(None, [run.manifest.error, self._lost])))),
            waiting=not shown.series,
        )
        self._about.show(lines=run_lines(run), missing=shown.missing, reasons=self._reasons)
