"""The page *New run*: the form of a study, its file as it grows, and the run that it starts."""

import asyncio
import functools
import itertools
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import panel as pn
from markupsafe import Markup

from thetadot.errors import ThetadotError
from thetadot.studies import bundled_names, json_schema
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.source import read_file
from thetadot.studies.study import study_file
from thetadot.viewer import form_style as style
from thetadot.viewer import start_run
from thetadot.viewer.form_fields import BeyondTheForm, Board, Key, Problem, heading
from thetadot.viewer.form_groups import PartView, view_of
from thetadot.viewer.form_schema import MISSING, Field, Part, form_tree
from thetadot.viewer.form_yaml import study_text

_POLL = 400
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
        child: the run that this page has started last.
    """

    form: PartView

    def __init__(
        self, root: Path, follow: Callable[[str], None], start_from: str | None = None, files: bool = True
    ):
        self._root, self._follow, self._files = root, follow, files
        self.child: start_run.Started | None = None
        self._busy = False
        self._poll: Any = None
        self._board = Board(self._changed)
        self._sources = {_EMPTY: None, **{f"{name} (comes with thetadot)": name for name in bundled_names()}}
        self._sources |= {f"{name} (run)": name for name in _runs(root) if name not in bundled_names()}
        first = next((label for label, name in self._sources.items() if name == start_from), None)
        if first is None:
            first = f"{start_from} (run)"
            self._sources[first] = start_from
        self.source = pn.widgets.Select(
            name="Start from", options=list(self._sources), value=first, stylesheets=[style.WIDGET], margin=0,
            sizing_mode="stretch_width", max_width=480,
        )  # fmt: skip
        self.check = _button("Check", self._on_check)
        self.start = _button("Start", self._on_start, "main")
        self.stop = _button("Stop", self._on_stop, "stop")
        self.stop.visible = False
        self._source_note, self._status, self._preview, self._others = _text(), _text(), _text(), _text()
        self._place = pn.Column(sizing_mode="stretch_width", stylesheets=[style.PLAIN])
        self._fill()
        self.source.param.watch(lambda event: self._fill(), "value")
        side = pn.Column(
            heading("Start", 2),
            pn.FlexBox(self.check, self.start, self.stop, gap=".6rem", stylesheets=[style.PLAIN]),
            self._status, _text(_AFTER), self._others, heading("Study file", 2), self._preview,
            styles={"flex": "1 1 20rem", "min-width": "0", "position": "sticky", "top": ".5rem"},
            stylesheets=[style.CARD], sizing_mode="stretch_width",
        )  # fmt: skip
        form = pn.Column(
            pn.Column(self.source, self._source_note, _text(_LEFT_OUT), stylesheets=[style.CARD],
                      styles={"row-gap": ".4rem"}, sizing_mode="stretch_width"),
            self._place,
            styles={"flex": "3 1 32rem", "min-width": "0"}, stylesheets=[style.PLAIN], sizing_mode="stretch_width",
        )  # fmt: skip
        self.panel = pn.FlexBox(
            form,
            side,
            gap="1rem",
            align_items="flex-start",
            stylesheets=[style.PLAIN],
            sizing_mode="stretch_width",
        )

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
            place = ".".join(str(part) for part in getattr(error, "key", ()))
            why = f"{place}: {error}" if isinstance(error, BeyondTheForm) else str(error)
            notes = [_said("wrong", f"✗ {name} cannot fill the form. {why}")]
            form = _form(self._files, MISSING, self._board)
        self._source_note.object = str(Markup("").join(notes))
        self.form = form
        self._place.objects = [self._card(field) for field in _cards(form)]
        self._status.object = ""
        self._changed()

    def _read(self, name: str) -> Mapping[str, Any]:
        if name in bundled_names():
            return read_file(study_file(name))[0]
        directory = (self._root / name).resolve()
        if not directory.is_relative_to(self._root.resolve()) or not (directory / MANIFEST_FILE).is_file():
            raise BeyondTheForm("There is no such run here.")
        return read_file(directory / "study.yaml")[0]

    def _card(self, names: tuple[str, ...]) -> pn.Column:
        views = [self.form[name] for name in names]
        title = "study" if len(names) > 1 else names[0]
        note = [] if names[0] not in ("name",) else [self.form.note.pane]
        return pn.Column(
            heading(_TITLES.get(title, title), 2), *note, *(view.panel for view in views),
            stylesheets=[style.CARD], styles={"row-gap": ".6rem"}, sizing_mode="stretch_width",
        )  # fmt: skip

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
        self._preview.object = str(
            Markup("<pre>{}</pre><p class='help'>Saved as study.yaml, the same run starts with <code>{}</code></p>")
            .format(study_text(data), command)
        )  # fmt: skip

    async def _checked(self) -> Any:
        """The study, if it is valid; else None, and every message stands at its field."""
        data, unread = self.data()
        self._say("wait", "checking…")
        study, found = await asyncio.to_thread(start_run.checked, data, files=self._files)
        # A line that cannot be read is not missing.
        lines = {key for key, _ in unread}
        self._show([*unread, *((key, text) for key, text in found if key not in lines)])
        return None if unread else study

    def _show(self, problems: Sequence[Problem]) -> None:
        told = [(key, _short(text)) for key, text in problems]
        self.form.show(told)
        if not told:
            self._status.object = ""
            return
        lines = [Markup("<li><code>{}</code>: {}</li>").format(_dotted(key), text) for key, text in told]
        head = "One thing is" if len(told) == 1 else f"{len(told)} things are"
        self._status.object = str(
            Markup("<div class='wrong' role='alert'>✗ {} to be mended:<ul>{}</ul></div>")
            .format(head, Markup("").join(lines))
        )  # fmt: skip

    def _say(self, kind: str, text: str) -> None:
        self._status.object = str(_said(kind, text))

    async def _on_check(self, event: Any) -> None:
        if self._busy:
            return
        with self._at_work():
            if await self._checked() is not None:
                self._say("good", "✓ The study is valid.")

    async def _on_start(self, event: Any) -> None:
        if self._busy or (self.child is not None and self.child.alive):
            return
        with self._at_work():
            study = await self._checked()
            if study is None:
                return
            try:
                self.child = await asyncio.to_thread(start_run.start, study, self._root / study.name)
            except (ThetadotError, OSError) as error:
                self._say("wrong", f"✗ {error}")
                return
        self.start.disabled = True
        self.stop.visible = True
        self.look()
        self._poll = pn.state.add_periodic_callback(self.look, _POLL)

    def _on_stop(self, event: Any) -> None:
        if self.child is not None:
            self.child.stop()
            self._say("wait", "stopping…")

    def _at_work(self) -> "_Busy":
        return _Busy(self)

    def look(self) -> None:
        """See how the run does that was started; lead on to it once it is there."""
        child = self.child
        if child is None:
            return
        refused = child.refused
        if child.alive and not child.writes:
            self._say("wait", f"starting {child.directory.name}… {child.seconds:.0f} s")
            return
        self._settled()
        if refused is None:
            self._say("good", f"✓ {child.directory.name} runs.")
            self._follow(child.directory.name)
        elif refused[0]:
            self._show([refused])
        else:
            self._say("wrong", f"✗ {refused[1]}")

    def _settled(self) -> None:
        if self._poll is not None:
            self._poll.stop()
            self._poll = None
        self.child = None
        self.start.disabled = False
        self.stop.visible = False


class _Busy:
    """While the page checks or starts: further clicks do nothing."""

    def __init__(self, page: NewRun):
        self._page = page

    def __enter__(self) -> None:
        self._page._busy = True

    def __exit__(self, *_: object) -> None:
        self._page._busy = False


_TITLES = {"study": "Study", "init": "Start of the weights", "observe": "Observe", "compare": "Compare"}
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
    form = view_of(_tree(files), (), data, board, 2)
    assert isinstance(form, PartView)
    return form


def _cards(form: PartView) -> list[tuple[str, ...]]:
    """Names of the fields of each card: the simple ones stand together on the first."""
    fields: Sequence[Field] = form.field.fields
    simple = tuple(field.name for field in fields if type(field).__name__ in ("Text", "Line", "Choice"))
    return [simple, *((field.name,) for field in fields if field.name not in simple)]


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


def _text(html: Markup = Markup("")) -> pn.pane.HTML:
    return pn.pane.HTML(str(html), stylesheets=[style.TEXT], sizing_mode="stretch_width", margin=0)


def _button(name: str, clicked: Callable[[Any], Any], kind: str = "") -> pn.widgets.Button:
    button = pn.widgets.Button(
        name=name, stylesheets=[style.BUTTON], css_classes=[kind] if kind else [], margin=0
    )
    button.on_click(clicked)
    return button
