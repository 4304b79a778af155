"""The widgets of mappings and of forks between several forms: each holds the fields inside."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import panel as pn

from thetadot.viewer import form_style as style
from thetadot.viewer.form_fields import (
    Board,
    ChoiceView,
    FormError,
    Key,
    LineView,
    Note,
    Problem,
    TextView,
    View,
    WordsView,
    below,
    heading,
    label,
    with_place,
)
from thetadot.viewer.form_lists import ManyView
from thetadot.viewer.form_schema import (
    MISSING,
    Choice,
    Constant,
    Field,
    Fork,
    Line,
    Many,
    Optional,
    Part,
    Text,
    Words,
    fits,
    same,
    split,
)
from thetadot.viewer.form_yaml import line_text

_USUAL = "default"


def view_of(field: Field, key: Key, value: Any, board: Board, titled: bool = True) -> View:
    """The widgets of a field, filled with a value.

    Arguments:
        key: where the value stands in the study.
        value: from a study; MISSING for none.
        board: is told of changes.
        titled: whether a mapping says its name, in a box of its own.

    Raises:
        FormError: the value has a key or a form that is not offered; `key` says where.
    """
    kinds = {
        Text: TextView, Line: LineView, Choice: ChoiceView, Words: WordsView, Fork: ForkView, Optional: OptionalView,
    }  # fmt: skip
    if isinstance(field, Part):
        return PartView(field, key, value, board, titled and bool(field.name))
    if isinstance(field, Many):
        return ManyView(field, key, value, board, view_of)
    return kinds[type(field)](field, key, value, board)


def grid(views: Iterable[View]) -> pn.Column:
    """Fields side by side where there is room."""
    return pn.Column(*(view.panel for view in views), stylesheets=[style.GRID], sizing_mode="stretch_width")


class PartView(View):
    """A mapping: its fields side by side, the less common ones folded away."""

    field: Part

    def __init__(self, field: Part, key: Key, value: Any, board: Board, titled: bool = True):
        super().__init__(field, key)
        given = {} if value is MISSING or value is None else value
        if not isinstance(given, Mapping):
            raise FormError(f"{line_text(given)} is not a mapping", key)
        for name in given:
            if field.field(name) is None:
                raise FormError("the form has no such field", (*key, name))
        self._given, self._board = given, board
        shown, self._folded = split(field.fields)
        self._constants = {one.name: one.value for one in field.fields if isinstance(one, Constant)}
        self._views = {one.name: self._view(one) for one in shown}
        fields = grid(self._views.values())
        self.note = Note(field.help)
        self._more = pn.widgets.Toggle(
            label=self._words(False),
            stylesheets=[style.BUTTON], css_classes=["fold"], margin=0, visible=bool(self._folded),
        )  # fmt: skip
        self._rest = pn.Column(visible=False, stylesheets=[style.PLAIN], sizing_mode="stretch_width")
        self._more.param.watch(lambda event: self._fold(not event.new), "value")
        if any(one.name in given and not same(given[one.name], one.default) for one in self._folded):
            self._more.value = True
        title = [heading(label(field))] if titled else []
        self.panel = pn.Column(
            *title, self.note.pane, fields, self._more, self._rest,
            styles={**style.WIDE, "row-gap": ".4rem"}, sizing_mode="stretch_width",
            stylesheets=[style.INNER if titled else style.PLAIN],
        )  # fmt: skip

    def _view(self, field: Field) -> View:
        value = self._given.get(field.name, MISSING)
        return view_of(field, (*self.key, field.name), value, self._board, titled=bool(self.key))

    def _words(self, open_: bool) -> str:
        names = ", ".join(one.name.replace("_", " ") for one in self._folded)
        return f"{'▾ Less' if open_ else '▸ More'}: {names}"

    def _fold(self, folded: bool) -> None:
        if not folded and not self._rest.objects:
            for field in self._folded:
                self._views[field.name] = self._view(field)
            self._rest.objects = [grid([self._views[field.name] for field in self._folded])]
        self._rest.visible = not folded
        self._more.label = self._words(not folded)

    @property
    def inside(self) -> list[tuple[Key, View]]:
        return [((name,), view) for name, view in self._views.items()]

    def __getitem__(self, name: str) -> View:
        """The view of a field, unfolded if it was folded away."""
        if name not in self._views:
            self._more.value = True
        return self._views[name]

    def value(self, problems: list[Problem]) -> Any:
        found = dict(self._constants)
        for field in self.field.fields:
            if field.name in self._views:
                value = self._views[field.name].value(problems)
                if value is not MISSING:
                    found[field.name] = value
        return found if found or self.field.required else MISSING

    def show(self, problems: Sequence[Problem]) -> None:
        """Each message at its field; what belongs to none stands on top."""
        left = list(problems)
        for field in self.field.fields:
            if isinstance(field, Constant):
                continue
            inside = below((*self.key, field.name), problems)
            if inside and field in self._folded:
                self._more.value = True
            if field.name in self._views:
                self._views[field.name].show(inside)
            left = [one for one in left if one not in inside]
        self.note.show([with_place(self.key, one) for one in left])


class ForkView(View):
    """One of several forms, chosen by name; the fields of the chosen one stand below."""

    field: Fork

    def __init__(self, field: Fork, key: Key, value: Any, board: Board):
        super().__init__(field, key)
        branches = field.branches
        # Nothing given and no default known: a list with no entries says "default" well enough.
        free = not field.required and not field.usual and not isinstance(next(iter(branches.values())), Words)
        names = ([_USUAL] if free else []) + list(branches)
        if value is MISSING:
            start = field.usual or names[0]
        else:
            start = next((name for name in branches if fits(branches[name], value)), "")
            if not start:
                raise FormError(f"{_kind(value)} is not offered", key)
        self._names = {
            name.replace("_", " ") + (" (default)" if name == field.usual else ""): name for name in names
        }
        self._board, self._views = board, {}
        self._select = pn.widgets.Select(
            label=label(field) or _entry_name(key), options=list(self._names),
            value=next(shown for shown, name in self._names.items() if name == start),
            stylesheets=[style.WIDGET], sizing_mode="stretch_width", margin=0, max_width=360,
        )  # fmt: skip
        self.note = Note()
        self._body = pn.Column(stylesheets=[style.INNER], styles=style.WIDE, sizing_mode="stretch_width")
        self.panel = pn.Column(
            self._select, self.note.pane, self._body, stylesheets=[style.PLAIN], sizing_mode="stretch_width"
        )
        self._open(start, value)
        self._select.param.watch(self._swap, "value")

    def _swap(self, event: Any) -> None:
        self._open(self._chosen, MISSING)
        self._board.tell()

    @property
    def _chosen(self) -> str:
        return self._names.get(self._select.value, "")

    def _open(self, name: str, value: Any) -> None:
        field = self.field.branches.get(name)
        about = [self.field.help]
        if field is not None and not isinstance(field, Constant):
            if name not in self._views:
                plain = _without_help(field) if isinstance(field, Part) else field
                self._views[name] = view_of(plain, self.key, value, self._board, titled=False)
            about.append(field.help)
        self._body.objects = [self._views[name].panel] if name in self._views else []
        self._body.visible = bool(self._body.objects) and self._asks(field)
        self.panel.styles = {**(style.WIDE if self._body.visible else {"min-width": "0"}), "row-gap": ".3rem"}
        self.note.help(" ".join(text for text in about if text))

    @staticmethod
    def _asks(field: Field | None) -> bool:
        return not isinstance(field, Part) or any(not isinstance(one, Constant) for one in field.fields)

    @property
    def inside(self) -> list[tuple[Key, View]]:
        return [((), view) for view in self._views.values()]

    def move(self, key: Key) -> None:
        super().move(key)
        self._select.label = label(self.field) or _entry_name(key)

    @property
    def inner(self) -> View | None:
        """The view of the chosen branch, if it has fields."""
        return self._views.get(self._chosen)

    def value(self, problems: list[Problem]) -> Any:
        name = self._chosen
        field = self.field.branches.get(name)
        usual = name == self.field.usual and not self.field.required
        if field is None:
            return MISSING
        if isinstance(field, Constant):
            return MISSING if usual else field.value
        value = self._views[name].value(problems)
        untouched = value == {} and usual and self._as_by_default(field)
        return MISSING if untouched else value

    def _as_by_default(self, field: Field) -> bool:
        default = self.field.default
        return (
            isinstance(field, Part)
            and isinstance(default, Mapping)
            and all(same(default.get(one.name), one.default) for one in field.fields)
        )

    def show(self, problems: Sequence[Problem]) -> None:
        """Messages about the choice below it, the others at the fields inside."""
        own = [text for key, text in problems if key == (*self.key, "kind")]
        inside = [one for one in problems if one[0] != (*self.key, "kind")]
        if self.inner is None:
            own += [with_place(self.key, one) for one in inside]
        else:
            self.inner.show(inside)
        self.note.show(own)
        self._select.css_classes = ["wrong"] if own else []


def _entry_name(key: Key) -> str:
    """The name of an entry of a list: "compare 1"."""
    *_, name, index = key
    return f"{name} {index + 1}" if isinstance(index, int) else str(index)


def _kind(value: Any) -> str:
    return line_text(value.get("kind", value) if isinstance(value, Mapping) else value)


def _without_help(part: Part) -> Part:
    """The same part; its help stands at the fork already."""
    return Part(part.name, "", part.required, part.default, part.fields)


class OptionalView(View):
    """A mapping that is there or not: a box to tick, which opens its fields."""

    field: Optional

    def __init__(self, field: Optional, key: Key, value: Any, board: Board):
        super().__init__(field, key)
        self._board, self._given, self._inner = board, value, None
        self._box = pn.widgets.Checkbox(
            label=label(field), value=value is not MISSING, stylesheets=[style.WIDGET], margin=0
        )
        self.note = Note(field.help)
        self._body = pn.Column(
            stylesheets=[style.INNER], styles=style.WIDE, sizing_mode="stretch_width", visible=False
        )
        self._open()
        self._box.param.watch(self._turned, "value")
        self.panel = pn.Column(
            self._box, self.note.pane, self._body, styles=style.WIDE, stylesheets=[style.PLAIN],
            sizing_mode="stretch_width",
        )  # fmt: skip

    def _turned(self, event: Any) -> None:
        self._open()
        self._board.tell()

    def _open(self) -> None:
        if self._box.value and self._inner is None:
            self._inner = PartView(
                _without_help(self.field.part), self.key, self._given, self._board, titled=False
            )
            self._body.objects = [self._inner.panel]
        self._body.visible = bool(self._box.value)

    @property
    def inside(self) -> list[tuple[Key, View]]:
        return [] if self._inner is None else [((), self._inner)]

    def turn(self, on: bool) -> None:
        """Tick the box, or not."""
        self._box.value = on

    @property
    def inner(self) -> PartView:
        """Its fields; the box is ticked if it was not."""
        if not self._box.value or self._inner is None:
            self._box.value = True
        assert self._inner is not None
        return self._inner

    def value(self, problems: list[Problem]) -> Any:
        if not self._box.value or self._inner is None:
            return MISSING
        value = self._inner.value(problems)
        return {} if value is MISSING else value

    def show(self, problems: Sequence[Problem]) -> None:
        """Messages at the fields inside."""
        if self._box.value:
            self.inner.show(problems)
