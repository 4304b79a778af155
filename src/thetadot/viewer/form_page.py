"""The page *New run*: the form of a study, its file as it grows, and the run that it starts."""

import functools
import itertools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import panel as pn
from markupsafe import Markup

from thetadot.errors import ThetadotError
from thetadot.studies import bundled, bundled_names, json_schema
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.source import read_file, read_yaml
from thetadot.studies.study import Study
from thetadot.viewer import form_style as style
from thetadot.viewer import start_run
from thetadot.viewer.form_fields import Board, FormError, Key, Problem, heading
from thetadot.viewer.form_groups import PartView, grid, view_of
from thetadot.viewer.form_schema import MISSING, Choice, Line, Part, Text, form_tree
from thetadot.viewer.form_yaml import study_text

_POLL, _REFRESH = 250, 2000
_threads = ThreadPoolExecutor(2, "thetadot-check")
_EMPTY = "an empty form"
_SWEEPS = ("sweep", "zip")


def new_run_page(
    root: Path, follow: Callable[[str], None], start_from: str | None = None, *, files: bool = True
) -> pn.viewable.Viewable:
    """The page that starts a run.

    Arguments:
        root: directory below which runs lie; a new one goes to root/<name>.
        follow: called with the name once the run can be looked at.
        start_from: a bundled study, or a run below root, whose values fill the form.
        files: whether studies may name files of this machine; False where others than its user see the page.
    """
    return NewRun(root, follow, start_from, files).panel


class NewRun:
    """What `new_run_page` shows, with its parts by name.

    Attributes:
        panel: the whole page.
        form: the view of the study.
        source, check, start, stop: the widgets beside the form.
        source_note, status, preview: what is said about the source, the check or start, and the study file.
        running: the runs that the viewer has started, to be stopped.
        child: the run that this page is starting.
    """

    form: PartView

    def __init__(
        self, root: Path, follow: Callable[[str], None], start_from: str | None = None, files: bool = True
    ):
        self._root, self._follow, self._files = root, follow, files
        self.child: start_run.Started | None = None
        self._checking: tuple[Future, list[Problem], Callable[[Study], None]] | None = None
        self._poll: Any = None
        self._board = Board(self._changed)
        self._sources = {_EMPTY: None, **{f"{name} (comes with thetadot)": name for name in bundled_names()}}
        self._sources |= {f"{name} (run)": name for name in _runs(root) if name not in bundled_names()}
        first = next((label for label, name in self._sources.items() if name == start_from), None)
        if first is None:
            first = f"{start_from} (run)"
            self._sources[first] = start_from
        self.source = pn.widgets.Select(
            label="Start from", options=list(self._sources), value=first, stylesheets=[style.WIDGET], margin=0,
            sizing_mode="stretch_width", max_width=480,
        )  # fmt: skip
        self.check = _button("Check", self._on_check)
        self.start = _button("Start", self._on_start, "main")
        self.stop = _button("Stop", self._on_stop, "stop")
        self.stop.visible = False
        self.source_note, self.status, self.preview = _text(), _text(), _text()
        self.running = pn.Column(
            stylesheets=[style.PLAIN], styles={"row-gap": ".3rem"}, sizing_mode="stretch_width"
        )
        self._shown: list[tuple[Path, bool]] = []
        self._place = pn.Column(sizing_mode="stretch_width", stylesheets=[style.PLAIN])
        self._fill()
        self.source.param.watch(lambda event: self._fill(), "value")
        side = pn.Column(
            heading("Start", 2),
            pn.Row(self.check, self.start, self.stop, stylesheets=[style.LINE]),
            self.status, _text(_AFTER), self.running, heading("Study file", 2), self.preview,
            styles={"min-width": "0", "position": "sticky", "top": ".5rem", "row-gap": ".4rem"},
            stylesheets=[style.CARD], sizing_mode="stretch_width",
        )  # fmt: skip
        form = pn.Column(
            pn.Column(self.source, self.source_note, _text(_LEFT_OUT), stylesheets=[style.CARD],
                      styles={"row-gap": ".4rem"}, sizing_mode="stretch_width"),
            self._place,
            styles={"min-width": "0"}, stylesheets=[style.PLAIN], sizing_mode="stretch_width",
        )  # fmt: skip
        self.refresh()
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.refresh, _REFRESH)
        self.panel = pn.Column(form, side, stylesheets=[style.PAGE], sizing_mode="stretch_width")

    def _fill(self) -> None:
        """Make the form anew from what is chosen as its source."""
        name = self._sources.get(self.source.value)
        data: Any = MISSING
        notes: list[Markup] = []
        try:
            if name is not None:
                data = dict(self._read(name))
                if any(data.pop(key, None) is not None for key in _SWEEPS):
                    notes.append(_said("help", "What it sweeps over is left out here."))
                free = _free_name(self._root, str(data.get("name", name)))
                if free != data.get("name"):
                    notes.append(_said("help", f"Named {free}: {data.get('name')} is there already."))
                    data["name"] = free
            form = _form(self._files, data, self._board)
        except (ThetadotError, OSError) as error:
            key = error.key if isinstance(error, FormError) else ()
            why = f"{_dotted(key)}: {error}" if key else str(error)
            notes = [_said("wrong", f"✗ {name} cannot fill the form. {why}")]
            form = _form(self._files, MISSING, self._board)
        self.source_note.object = str(Markup("").join(notes))
        self.form = form
        self._place.objects = self._cards()
        self.status.object = ""
        self._changed()

    def _read(self, name: str) -> Mapping[str, Any]:
        if name in bundled_names():
            return read_yaml(bundled.text(name), name, Path())[0]
        directory = (self._root / name.replace("\0", "�")).resolve()
        if not directory.is_relative_to(self._root.resolve()) or not os.path.isfile(
            directory / MANIFEST_FILE
        ):
            raise FormError("There is no such run here.")
        return read_file(directory / "study.yaml")[0]

    def _cards(self) -> list[pn.Column]:
        """A card for each field of the study, but one for all that take a line only."""
        fields = self.form.field.fields
        simple = [field for field in fields if isinstance(field, Text | Line | Choice)]
        cards = [("Study", [self.form.note.pane], simple)]
        cards += [
            (_TITLES.get(field.name, field.name), [], [field]) for field in fields if field not in simple
        ]
        return [
            pn.Column(
                heading(title, 2), *note, grid([self.form[field.name] for field in inside]),
                stylesheets=[style.CARD], styles={"row-gap": ".5rem"}, sizing_mode="stretch_width",
            )
            for title, note, inside in cards
        ]  # fmt: skip

    def data(self) -> tuple[dict[str, Any], list[Problem]]:
        """The study as it stands in the form, and what cannot be read."""
        problems: list[Problem] = []
        found = self.form.value(problems)
        return dict(found or {}), problems

    def _changed(self) -> None:
        data, _ = self.data()
        name = data.get("name")
        place = self._root / (name if isinstance(name, str) else "NAME")
        command = f"thetadot run study.yaml -o {shlex.quote(str(place))}"
        self.preview.object = str(
            Markup("<pre>{}</pre><p class='help'>Saved as study.yaml, the same run starts with <code>{}</code></p>")
            .format(study_text(data), command)
        )  # fmt: skip

    def _show(self, problems: Sequence[Problem]) -> None:
        told = [(key, _short(text)) for key, text in problems]
        self.form.show(told)
        if not told:
            self.status.object = ""
            return
        lines = [Markup("<li><code>{}</code>: {}</li>").format(_dotted(key), text) for key, text in told]
        head = "One thing is" if len(told) == 1 else f"{len(told)} things are"
        self.status.object = str(
            Markup("<div class='wrong' role='alert'>✗ {} to be mended:<ul>{}</ul></div>")
            .format(head, Markup("").join(lines))
        )  # fmt: skip

    def _say(self, kind: str, text: str) -> None:
        self.status.object = str(_said(kind, text))

    def _on_check(self, event: Any) -> None:
        self._begin(lambda study: self._say("good", "✓ The study is valid."))

    def _on_start(self, event: Any) -> None:
        self._begin(self._launch)

    def _begin(self, then: Callable[[Study], None]) -> None:
        """Check the study in a thread, so that the page answers meanwhile; `then` is called if it is valid."""
        if self._checking is not None or self.child is not None:
            return
        data, unread = self.data()
        self._say("wait", "checking…")
        self.start.disabled = self.check.disabled = True
        self._checking = _threads.submit(start_run.checked, data, files=self._files), unread, then
        self._poll = pn.state.add_periodic_callback(self.look, _POLL)

    def _launch(self, study: Study) -> None:
        try:
            self.child = start_run.start(study, self._root / study.name)
        except (ThetadotError, OSError) as error:
            self._say("wrong", f"✗ {error}")
        else:
            self.stop.visible = True

    def _on_stop(self, event: Any) -> None:
        if self.child is not None:
            self.child.stop()
            self.look()

    def refresh(self) -> None:
        """Show which runs this viewer has started that still go on, each with a button that stops it."""
        living = start_run.started_below(self._root)
        state = [(child.directory, child.stopping) for child in living]
        if state == self._shown:
            return
        self._shown = state
        rows: list[Any] = [_text("<p class='help'>Runs that this viewer has started:</p>")] if living else []
        for child in living:
            name = child.directory.name
            button = _button(f"Stop {name}", lambda event, child=child: self._stop_other(child), "stop")
            button.disabled = child.stopping
            rows.append(button)
        self.running.objects = rows

    def _stop_other(self, child: start_run.Started) -> None:
        child.stop()
        self.refresh()

    def look(self) -> None:
        """See how the check, or the run that was started, does; lead on to the run once it is there."""
        if self._checking is not None:
            future, unread, then = self._checking
            if not future.done():
                return
            self._checking = None
            if future.exception() is not None:
                self._say("wrong", f"✗ the check failed: {future.exception()!r}")
            else:
                study, found = future.result()
                self._tell(study, found, unread, then)
        child = self.child
        if child is None:
            self._settle()
        elif child.alive and not child.writes:
            word = "stopping" if child.stopping else "starting"
            self._say("wait", f"{word} {child.directory.name}… {child.seconds:.0f} s")
        else:
            self._settle()
            self._lead(child)

    def _tell(
        self, study: Study | None, found: list[Problem], unread: list[Problem], then: Callable[[Study], None]
    ) -> None:
        # A line that cannot be read is not missing.
        lines = {key for key, _ in unread}
        self._show([*unread, *((key, text) for key, text in found if key not in lines)])
        if study is not None and not unread:
            then(study)

    def _lead(self, child: start_run.Started) -> None:
        refused = child.refused
        if refused is None:
            self._say("good", f"✓ {child.directory.name} runs.")
            self._follow(child.directory.name)
        elif refused[0]:
            self._show([refused])
        else:
            self._say("wrong", f"✗ {refused[1]}")

    def _settle(self) -> None:
        """Nothing is under way any more: the buttons work again."""
        if self._poll is not None:
            self._poll.stop()
        self._poll = self.child = None
        self.start.disabled = self.check.disabled = False
        self.stop.visible = False


_TITLES = {
    "problem": "What is trained",
    "init": "Where it starts",
    "rule": "How it moves",
    "compare": "What moves beside it",
    "observe": "What is recorded",
    "lenses": "What looks at the paths",
    "budget": "What it may take",
}
_LEFT_OUT = Markup(
    "<p class='help'>Fields with * must be given; what is left alone keeps its default and does not stand in the file. "
    "A study that sweeps over values is started with <code>thetadot sweep</code>, one with Python code of its own with "
    "<code>thetadot run</code>, both from the command line.</p>"
)
_AFTER = Markup(
    "<p class='help'>A run goes on when this tab is closed. When the viewer ends, it asks its runs to stop: they keep "
    "what they have, and the same study started again goes on from there.</p>"
)


@functools.cache
def _tree(files: bool) -> Part:
    return form_tree(json_schema(), files=files)


def _form(files: bool, data: Any, board: Board) -> PartView:
    form = view_of(_tree(files), (), data, board)
    assert isinstance(form, PartView)
    return form


def _runs(root: Path) -> list[str]:
    """Names of the runs below a directory."""
    return sorted(file.parent.name for file in root.glob(f"*/{MANIFEST_FILE}"))


def _free_name(root: Path, name: str) -> str:
    """The name, or with a number after it, that no run below root has."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not (root / one).exists())


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key) or "study"


def _short(text: str) -> str:
    """A message without the list of all keys of the mapping, which the form shows."""
    return "missing: give a value" if text.startswith("missing; expected here") else text


def _said(kind: str, text: str) -> Markup:
    role = "alert" if kind == "wrong" else "status"
    return Markup("<p class='{}' role='{}'>{}</p>").format(kind, role, text)


def _text(html: str = "") -> pn.pane.HTML:
    return pn.pane.HTML(str(html), stylesheets=[style.TEXT], sizing_mode="stretch_width", margin=0)


def _button(name: str, clicked: Callable[[Any], Any], kind: str = "") -> pn.widgets.Button:
    button = pn.widgets.Button(
        label=name, stylesheets=[style.BUTTON], css_classes=[kind] if kind else [], margin=0
    )
    button.on_click(clicked)
    return button
