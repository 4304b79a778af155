"""The widgets of a list of anything: one view for each entry."""

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn

from thetadot.viewer import form_style as style
from thetadot.viewer.form_fields import (
    Board,
    FormError,
    Key,
    Note,
    Problem,
    View,
    below,
    heading,
    label,
    with_place,
)
from thetadot.viewer.form_schema import MISSING, Many
from thetadot.viewer.form_yaml import line_text


class ManyView(View):
    """A list, whose entries are added and removed."""

    field: Many

    def __init__(self, field: Many, key: Key, value: Any, board: Board, make: Callable[..., View]):
        super().__init__(field, key)
        self._make = make
        given = [] if value is MISSING or value is None else value
        if not isinstance(given, list):
            raise FormError(f"{line_text(given)} is not a list", key)
        self._board = board
        self.note = Note(field.help)
        self._add = pn.widgets.Button(label=f"Add to {label(field)}", stylesheets=[style.BUTTON], margin=0)
        self._add.on_click(lambda event: self.add())
        self._body = pn.Column(styles={**style.WIDE, "row-gap": ".8rem"}, stylesheets=[style.PLAIN],
                               sizing_mode="stretch_width")  # fmt: skip
        self._entries = [self._entry(index, one) for index, one in enumerate(given)]
        self._lay()
        title = [heading(label(field))] if len(key) > 1 else []
        self.panel = pn.Column(
            *title, self.note.pane, self._body, self._add, styles={**style.WIDE, "row-gap": ".4rem"},
            stylesheets=[style.PLAIN], sizing_mode="stretch_width",
        )  # fmt: skip

    @property
    def inside(self) -> list[tuple[Key, View]]:
        return [((index,), view) for index, view in enumerate(self._entries)]

    @property
    def entries(self) -> list[View]:
        """The views of the entries."""
        return list(self._entries)

    def _entry(self, index: int, value: Any) -> View:
        return self._make(self.field.item, (*self.key, index), value, self._board)

    def add(self) -> None:
        """Another entry, empty."""
        self._entries.append(self._entry(len(self._entries), MISSING))
        self._lay()
        self._board.tell()

    def remove(self, index: int) -> None:
        """One entry less; the keys of the later ones move."""
        self._entries.pop(index)
        for number, view in enumerate(self._entries):
            view.move((*self.key, number))
        self._lay()
        self._board.tell()

    def _lay(self) -> None:
        rows = []
        for index, view in enumerate(self._entries):
            remove = pn.widgets.Button(
                label=f"Remove {label(self.field)} {index + 1}", stylesheets=[style.BUTTON], margin=0
            )
            remove.on_click(lambda event, index=index: self.remove(index))
            rows.append(
                pn.Column(view.panel, remove, stylesheets=[style.INNER], styles={**style.WIDE, "row-gap": ".4rem"},
                          sizing_mode="stretch_width")
            )  # fmt: skip
        self._body.objects = rows
        self._body.visible = bool(rows)

    def value(self, problems: list[Problem]) -> Any:
        found = [view.value(problems) for view in self._entries]
        return self.kept(found) if found else MISSING

    def show(self, problems: Sequence[Problem]) -> None:
        """Each message at its entry."""
        left = list(problems)
        for index, view in enumerate(self._entries):
            inside = below((*self.key, index), problems)
            view.show(inside)
            left = [one for one in left if one not in inside]
        self.note.show([with_place(self.key, one) for one in left])
