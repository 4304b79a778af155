"""What the lenses of a run found, as its report needs it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from thetadot.dynamics.wording import count, number
from thetadot.errors import ThetadotError
from thetadot.report.chart import Line
from thetadot.report.series import Series


@dataclasses.dataclass(frozen=True)
class Found:
    """A lens on one path.

    Attributes:
        lens: its name.
        series: the path.
        status: "done", "does not apply", "failed", "not begun".
        summary: the result in one line, or why there is none.
        notes: warnings that it gave, and what it says of its limits.
        seconds: what it cost.
        data: its Dataset; None without a result.
        drawn: whether figures draw it on its own (they draw a few members only).
    """

    lens: str
    series: Series
    status: str
    summary: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    data: Any = None
    drawn: bool = True

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the Dataset."""
        return {} if self.data is None else self.data.attrs

    def values(self, name: str) -> np.ndarray | None:
        """A variable as an array; None if there is none of this name."""
        return np.asarray(self.data[name].values) if self.data is not None and name in self.data else None

    def line(self, x: np.ndarray, y: np.ndarray, text: str = "", **changes: Any) -> Line:
        """A curve in the colour and dashes of the path, the main rule thin and on top."""
        name = f"{text}, {self.series.name}" if text else self.series.name
        weight, opacity = (1.7, 1.0) if self.series.main else (2.4, 0.75)
        line = Line(np.asarray(x, float), np.asarray(y, float), name, self.series.rule, self.series.member)
        return dataclasses.replace(line, **{"weight": weight, "opacity": opacity, **changes})


def found_of(
    run: Any, drawn: Sequence[Series], everyone: Sequence[Series], notes: list[str]
) -> tuple[Found, ...]:
    """What the lenses of a run found; what is damaged is noted."""
    places = {(item.member, item.rule): item for item in everyone}
    shown = {(item.member, item.rule) for item in drawn}
    lines = run.lenses() if hasattr(run, "lenses") else ()
    found = []
    for line in lines:
        place = (line.member, 0 if line.compare is None else line.compare + 1)
        if place not in places:
            continue
        status, summary, data = line.status, line.summary, None
        if line.done:
            try:
                data = run.lens(line.member, line.lens, line.compare)
            except ThetadotError as problem:
                notes.append(str(problem))
                status, summary = "damaged", str(problem)
        series, told = places[place], "" if data is None else str(data.attrs.get("notes", ""))
        found.append(
            Found(
                line.lens,
                series,
                status,
                summary,
                (*line.notes, *filter(None, told.split("; "))),
                line.seconds,
                data,
                place in shown,
            )
        )
    return tuple(found)


def with_data(found: Iterable[Found], name: str, drawn: bool = True) -> list[Found]:
    """Those with a variable of this name, the main rule last so that it is drawn on top."""
    chosen = [one for one in found if one.values(name) is not None and (one.drawn or not drawn)]
    return sorted(chosen, key=lambda one: -one.series.rule)


def spread(found: Sequence[Found], what: str, values: Sequence[float], unit: str = "") -> str:
    """How a number spreads over the members of each rule, in words."""
    parts = []
    unit = f" {unit}" if unit else ""
    for rule in sorted({one.series.rule for one in found}):
        mine = [value for one, value in zip(found, values, strict=True) if one.series.rule == rule]
        finite = sorted(value for value in mine if np.isfinite(value))
        if not finite:
            continue
        name = next(one.series.rule_name for one in found if one.series.rule == rule)
        if len(finite) == 1:
            said = f"{number(finite[0])}{unit}"
        elif len(finite) < 5:
            said = f"{number(finite[0])} to {number(finite[-1])}{unit} over {count(len(finite), 'member')}"
        else:
            low, middle, high = np.quantile(finite, [0.1, 0.5, 0.9])
            said = (
                f"median {number(middle)}{unit}, the middle 80 % of {count(len(finite), 'member')} from "
                f"{number(low)} to {number(high)}"
            )
        lost = len(mine) - len(finite)
        parts.append(f"{said} under {name}" + (f" ({lost} not finite)" if lost else ""))
    return f"{what}: {'; '.join(parts)}." if parts else ""
