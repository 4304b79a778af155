"""A card of the report with what a lens decided: a badge, facts, tables, files to keep."""

import dataclasses
from collections.abc import Sequence

from thetadot.report.members import Badge, Cell


@dataclasses.dataclass(frozen=True)
class Download:
    """A file inside the page.

    Attributes:
        name: file name that is offered. address: its content as a data URL. caption: what it is.
        command: what to do with it.
    """

    name: str
    address: str
    caption: str
    command: str


@dataclasses.dataclass(frozen=True)
class Card:
    """What a lens decided.

    Attributes:
        title: the question. badge: the answer. facts: (name, sentence). tables: (label, heads, rows). downloads: files.
    """

    title: str
    badge: Badge
    facts: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, Sequence[str], Sequence[Sequence[Cell]]], ...] = ()
    downloads: tuple[Download, ...] = ()
