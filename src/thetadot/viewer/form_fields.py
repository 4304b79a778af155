"""The widgets of single values: a text, a line of YAML, a choice, words to tick; with the help or the message below."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
from markupsafe import Markup, escape

from thetadot.studies.errors import StudyError
from thetadot.viewer import form_style as style
from thetadot.viewer.form_schema import MISSING, Choice, Field, Line, Text, Words, same
from thetadot.viewer.form_yaml import line_text, line_value, list_text, list_value

Key = tuple[str | int, ...]
Problem = tuple[Key, str]

_LONG = {"description"}


class FormError(StudyError):
    """A value that the form has no field for."""


@dataclasses.dataclass
class Board:
    """What all fields of a form share: whom they tell of a change."""

    changed: Callable[[], None]

    def tell(self, *_: Any) -> None:
        """A field has changed."""
        self.changed()


class Note:
    """The text below a field: its help, or what is wrong with it.

    Everything is escaped here: Panel shows HTML as it gets it.
    """

    def __init__(self, text: str = ""):
        self._help = text
        self.pane = pn.pane.HTML(
            self._html([]), stylesheets=[style.TEXT], sizing_mode="stretch_width", margin=0
        )
        self.pane.visible = bool(text)

    def help(self, text: str) -> None:
        """Another help; what was wrong is forgotten."""
        self._help = text
        self.show([])

    def show(self, messages: Sequence[str]) -> None:
        """Say what is wrong; nothing, if the list is empty."""
        self.pane.object = self._html(messages)
        self.pane.visible = bool(messages or self._help)

    def _html(self, messages: Sequence[str]) -> str:
        wrong = [Markup("<p class='wrong' role='alert'>✗ {}</p>").format(text) for text in messages]
        text = [Markup("<p class='help'>{}</p>").format(self._help)] if self._help else []
        return str(Markup("").join([*wrong, *text]))


class View(abc.ABC):
    """A field of the form.

    Attributes:
        field: what it asks for.
        key: where its value stands in the study.
        panel: what is shown.
    """

    panel: pn.viewable.Viewable

    def __init__(self, field: Field, key: Key):
        self.field = field
        self.key = key

    @abc.abstractmethod
    def value(self, problems: list[Problem]) -> Any:
        """The value, MISSING if nothing is given that differs from the default; what cannot be read is added to
        `problems`."""

    @abc.abstractmethod
    def show(self, problems: Sequence[Problem]) -> None:
        """Show what is wrong with this field, and with what lies inside."""

    @property
    def inside(self) -> list[tuple[Key, "View"]]:
        """The views inside, each with its key relative to this one's."""
        return []

    def move(self, key: Key) -> None:
        """Stand at another key."""
        self.key = key
        for rest, view in self.inside:
            view.move((*key, *rest))

    def kept(self, value: Any) -> Any:
        """A value, or MISSING if the study says the same without it."""
        default = self.field.default
        return MISSING if default is not MISSING and same(value, default) else value


def label(field: Field) -> str:
    """The name of a field that people read; a star if it must be given."""
    return field.name.replace("_", " ") + (" *" if field.required and field.name else "")


def below(key: Key, problems: Sequence[Problem]) -> list[Problem]:
    """The problems at a key and inside it."""
    return [problem for problem in problems if problem[0][: len(key)] == key]


class Leaf(View):
    """A single value with one widget."""

    def __init__(self, field: Field, key: Key, widget: Any, board: Board):
        super().__init__(field, key)
        self.widget = widget
        self.note = Note(field.help)
        widget.param.watch(board.tell, "value")
        self.panel = pn.Column(
            widget,
            self.note.pane,
            styles=style.WIDE if field.name in _LONG else {"min-width": "0"},
            stylesheets=[style.PLAIN],
            sizing_mode="stretch_width",
        )

    def show(self, problems: Sequence[Problem]) -> None:
        """Messages below the widget, which is marked."""
        wrong = [_placed(key[len(self.key) :], text) for key, text in problems]
        self.note.show(wrong)
        # The message stands in a shadow root of its own, to which aria-describedby does not reach.
        self.widget.label = f"✗ {label(self.field)} (see below)" if wrong else label(self.field)
        self.widget.css_classes = ["wrong"] if wrong else []


def _placed(rest: Key, message: str) -> str:
    place = " ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in rest)
    return f"{place}: {message}" if place else message


def _made(kind: Any, name: str, **more: Any) -> Any:
    return kind(label=name, stylesheets=[style.WIDGET], sizing_mode="stretch_width", margin=0, **more)


class TextView(Leaf):
    """A text, taken as it is typed."""

    def __init__(self, field: Text, key: Key, value: Any, board: Board):
        if value is not MISSING and value is not None and not isinstance(value, str):
            raise FormError(f"{line_text(value)} is not a text", key)
        kind = pn.widgets.TextAreaInput if field.name in _LONG else pn.widgets.TextInput
        more = {"rows": 4, "auto_grow": True, "max_rows": 8} if field.name in _LONG else {}
        usual = field.default if isinstance(field.default, str) else ""
        given = "" if value is MISSING or value is None or value == usual else value
        shown = {"value": given, "placeholder": f"{usual} (default)" if usual else ""}
        super().__init__(field, key, _made(kind, label(field), **shown, **more), board)

    def value(self, problems: list[Problem]) -> Any:
        text = self.widget.value or ""
        return self.kept(text) if text.strip() else MISSING


class LineView(Leaf):
    """A value in one line of YAML."""

    field: Line

    def __init__(self, field: Line, key: Key, value: Any, board: Board):
        default = field.default
        given = value is not MISSING and not (default is not MISSING and same(value, default))
        plain = "" if default is MISSING or default is None else f"{self._text(field, default)} (default)"
        widget = _made(
            pn.widgets.TextInput,
            label(field),
            value=self._text(field, value) if given else "",
            placeholder=plain or field.expects,
        )
        super().__init__(field, key, widget, board)

    @staticmethod
    def _text(field: Line, value: Any) -> str:
        if field.depth and isinstance(value, list):
            return list_text(value, field.depth, field.texts)
        return line_text(value)

    def value(self, problems: list[Problem]) -> Any:
        text = (self.widget.value or "").strip()
        if not text:
            return MISSING
        try:
            return self.kept(self._read(text))
        except StudyError as error:
            problems.append((self.key, error.reason))
            return MISSING

    def _read(self, text: str) -> Any:
        field = self.field
        if field.mapping and text[0] not in "{[":
            return line_value(f"{{{text}}}")
        if field.depth and text != "null":
            return list_value(text, field.depth, field.texts)
        if field.listed and "," in text and text[0] not in "[\"'":
            return line_value(f"[{text}]")
        return line_value(text)


class ChoiceView(Leaf):
    """One of some values: a box to tick, or a list to choose from."""

    field: Choice

    def __init__(self, field: Choice, key: Key, value: Any, board: Board):
        chosen = field.default if value is MISSING else value
        if chosen is not MISSING and not any(same(chosen, one) for one in field.values):
            raise FormError(f"{line_text(value)} is not among its choices", key)
        self._ticked = field.values == (False, True) and isinstance(field.default, bool)
        if self._ticked:
            widget = _made(pn.widgets.Checkbox, label(field), value=chosen)
        else:
            names = {self._name(field, one): one for one in field.values}
            self._values = {"—": MISSING, **names} if field.default is MISSING else names
            start = next(
                (name for name, one in self._values.items() if one is chosen or same(one, chosen)), "—"
            )
            widget = _made(pn.widgets.Select, label(field), options=list(self._values), value=start)
        super().__init__(field, key, widget, board)

    @staticmethod
    def _name(field: Choice, value: Any) -> str:
        words = {True: "yes", False: "no", None: "none"}
        text = words[value] if value is None or isinstance(value, bool) else str(value)
        usual = field.default is not MISSING and same(value, field.default)
        return f"{text} (default)" if usual else text

    def value(self, problems: list[Problem]) -> Any:
        if self._ticked:
            return self.kept(bool(self.widget.value))
        chosen = self._values.get(self.widget.value, MISSING)
        return MISSING if chosen is MISSING else self.kept(chosen)


class WordsView(View):
    """Any of some words, a box for each."""

    field: Words

    def __init__(self, field: Words, key: Key, value: Any, board: Board):
        super().__init__(field, key)
        default = field.default if isinstance(field.default, list) else []
        ticked = default if value is MISSING else value
        if not isinstance(ticked, list) or any(word not in field.words for word in ticked):
            raise FormError(f"{line_text(value)} is not among its words", key)
        # Their order in the study is kept: it belongs to the run's identity.
        order = [*ticked, *(word for word in field.words if word not in ticked)]
        boxes = {
            word: pn.widgets.Checkbox(
                label=word.replace("_", " "), value=word in ticked, stylesheets=[style.WIDGET], margin=0
            )
            for word in field.words
        }
        self.boxes = {word: boxes[word] for word in order}
        for box in self.boxes.values():
            box.param.watch(board.tell, "value")
        # Where the name stands above already, as in a section of its own, it is not said again.
        title = [heading(label(field))] if field.name and len(key) > 1 else []
        self.note = Note(field.help)
        self.panel = pn.Column(
            *title,
            pn.Row(*boxes.values(), stylesheets=[style.LINE]),
            self.note.pane,
            styles=style.WIDE, stylesheets=[style.PLAIN], sizing_mode="stretch_width",
        )  # fmt: skip

    def value(self, problems: list[Problem]) -> Any:
        found = [word for word, box in self.boxes.items() if box.value]
        if not found and self.field.default is MISSING:
            return MISSING
        return self.kept(found)

    def show(self, problems: Sequence[Problem]) -> None:
        """Messages below the boxes."""
        self.note.show([_placed(key[len(self.key) :], text) for key, text in problems])


def heading(text: str, level: int = 3) -> pn.pane.HTML:
    """A heading."""
    return pn.pane.HTML(
        f"<h{level}>{escape(text)}</h{level}>",
        stylesheets=[style.TEXT],
        sizing_mode="stretch_width",
        margin=0,
    )


def with_place(key: Key, problem: Problem) -> str:
    """The message of a problem inside a key, with the rest of its key before it."""
    rest = ".".join(str(part) for part in problem[0][len(key) :])
    return f"{rest}: {problem[1]}" if rest else problem[1]
