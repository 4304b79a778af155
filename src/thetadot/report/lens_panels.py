"""One section of the report for each lens: its summary, its figures, and why it did not apply."""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from thetadot.dynamics.canvas import suits_logarithm
from thetadot.dynamics.wording import count, duration
from thetadot.report.chart import Chart
from thetadot.report.charts import spans_decades
from thetadot.report.lens_card import Card
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.members import Cell
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names

DRAWN_BY = {
    "stability": "stability_panels",
    "saddles": "saddles_panels",
    "conservation": "conservation_panels",
    "symmetry": "symmetry_panels",
    "integrability": "integrability_panels",
    "fluctuations": "fluctuations_panels",
    "simulators": "simulators_panels",
}
"""{lens: module of this package with a function of the same name, found → panels}; other lenses are drawn from the
names, dimensions and units in their Datasets. A function `<lens>_table` there makes a table."""

DECIDED_BY = {
    "integrability": "integrability_panels",
}
"""{lens: module of this package with a function `<lens>_cards`, found → cards}."""

_MOST_PLAIN = 8


@dataclasses.dataclass(frozen=True)
class Section:
    """What the report says of one lens.

    Attributes:
        name: of the lens.
        lines: (whose, summary) of each path; none where cards say it.
        more: how many more lines there are.
        absent: why there is no result, and for whom.
        notes: warnings that it gave.
        panels: its figures.
        cards: what it decided.
        table: heads, rows and label of its table, or None.
    """

    name: str
    lines: tuple[tuple[str, str], ...]
    more: int
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    cards: tuple[Card, ...] = ()
    table: tuple[list[str], list[list[Cell]], str] | None = None

    @property
    def title(self) -> str:
        """Its heading."""
        return self.name[:1].upper() + self.name[1:].replace("_", " ")


def lens_sections(found: Sequence[Found], most: int = 12) -> list[Section]:
    """A section for each lens, in the order of the study file."""
    sections = []
    for name in dict.fromkeys(one.lens for one in found):
        mine = [one for one in found if one.lens == name]
        results = sorted((one for one in mine if one.data is not None), key=lambda one: one.series.rule)
        cards = tuple(_cards(name, results))
        lines = [] if cards else [(one.series.name, one.summary) for one in results]
        sections.append(
            Section(
                name,
                tuple(lines[:most]),
                max(0, len(lines) - most),
                tuple(_absences(mine)),
                tuple(dict.fromkeys(note for one in mine for note in one.notes)),
                tuple(_panels(name, results)),
                cards,
                _table(name, results),
            )
        )
    return sections


def _absences(found: Sequence[Found]) -> Iterator[str]:
    """Why there is no result, once for all paths that say the same."""
    reasons: dict[tuple[str, str], list[Found]] = {}
    for one in found:
        if one.data is None:
            reasons.setdefault((one.status, one.summary), []).append(one)
    for (status, reason), mine in reasons.items():
        whom = mine[0].series.name + (f" and {count(len(mine) - 1, 'other path')}" if len(mine) > 1 else "")
        yield f"{status[:1].upper()}{status[1:]} ({whom}){': ' if reason else ''}{reason}"


def _cards(name: str, found: Sequence[Found]) -> Iterator[Card]:
    if name in DECIDED_BY:
        module = importlib.import_module(f"thetadot.report.{DECIDED_BY[name]}")
        yield from getattr(module, f"{name}_cards")(found)


def _panels(name: str, found: Sequence[Found]) -> Iterator[Panel]:
    module = DRAWN_BY.get(name)
    make: Callable[[Sequence[Found]], Iterator[Panel]] = (
        plain_panels
        if module is None
        else getattr(importlib.import_module(f"thetadot.report.{module}"), module)
    )
    for panel in make(found):
        if not panel.chart.empty:
            yield dataclasses.replace(panel, name=f"lens-{_word(name)}-{panel.name}")


def _table(name: str, found: Sequence[Found]) -> tuple[list[str], list[list[Cell]], str] | None:
    if name not in DRAWN_BY:
        return None
    make = getattr(importlib.import_module(f"thetadot.report.{DRAWN_BY[name]}"), f"{name}_table", None)
    return None if make is None else make(found)


def _word(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def plain_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Every variable of numbers over one dimension whose coordinate is numbers too, against that coordinate."""
    names = dict.fromkeys(str(name) for one in found for name in one.data.data_vars)
    chosen = [name for name in names if any(_axis(one, name) is not None for one in found)]
    for index, name in enumerate(chosen[:_MOST_PLAIN]):
        known = [one for one in with_data(found, name, drawn=False) if _axis(one, name) is not None]
        shown = [one for one in known if one.drawn]
        lines = [one.line(_axis(one, name), one.data[name].values) for one in shown]
        if not lines:
            continue
        variable = known[0].data[name]
        axis = known[0].data[variable.dims[0]] if variable.dims[0] in known[0].data.coords else None
        x_label = str(variable.dims[0]) if axis is None else _label(axis)
        series = [one.series for one in shown]
        values = [line.y for line in lines]
        chart = Chart(
            str(variable.attrs.get("long_name", name.replace("_", " "))), x_label, _label(variable),
            log_y=suits_logarithm(values) and spans_decades(values), lines=tuple(lines),
            colours=rule_names(series), dashes=member_names(series),
        )  # fmt: skip
        lasts = [float(np.asarray(one.data[name].values, float)[-1]) for one in known]
        yield Panel(f"plain-{index}", chart, spread(known, "Last value", lasts), "As the lens gave it.")


def _axis(one: Found, name: str) -> Any:
    """The coordinate along which a variable is drawn; None if it cannot be."""
    if one.data is None or name not in one.data:
        return None
    variable = one.data[name]
    if variable.ndim != 1 or variable.dtype.kind not in "fiu" or variable.size < 2:
        return None
    dimension = variable.dims[0]
    if dimension not in one.data.coords:
        return np.arange(variable.size)
    axis = one.data[dimension]
    return axis.values if axis.dtype.kind in "fiu" else None


def _label(variable: Any) -> str:
    """Name and unit of a variable."""
    name = str(variable.attrs.get("long_name", variable.name)).replace("_", " ")
    units = variable.attrs.get("units")
    return f"{name} ({units})" if units and units != "1" else name


def lens_costs(found: Sequence[Found], columns: int) -> list[list[Cell]]:
    """What each lens cost, as rows of the cost table."""
    rows = []
    for name in dict.fromkeys(one.lens for one in found):
        mine = [one for one in found if one.lens == name and one.seconds]
        seconds = sum(one.seconds for one in mine)
        if mine:
            dashes = [Cell("–", 0.0) for _ in range(columns - 3)]
            words = f"lens {name} ({count(len(mine), 'path')})"
            rows.append([Cell(words), Cell("–"), *dashes, Cell(duration(seconds), seconds)])
    return rows
