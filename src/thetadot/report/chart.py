"""What a figure shows, apart from how it is drawn: one description for the still picture and its interactive
twin.

matplotlib (`still.py`) and Bokeh (`interactive.py`) draw the same `Chart`, so that both show the same
numbers.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.canvas import can_be_shown, visible

_ROOM = 0.04
_FAR = 30.0
_NAME_ROOM = 0.09
_INSIDE, _BEYOND = 0.03, 2.0
_MAX_POINTS = 600


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        x, y (n,): its points.
        name: what it is, for readers who point at it.
        colour: index of its colour (the rule, or the hidden layer).
        dash: index of its dash pattern (the member).
        weight: width in points.
        opacity: 1 is solid ink.
        runaway: it broke down and must not stretch the axes.
        pieces: NaN parts it into pieces.
    """

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    name: str
    colour: int = 0
    dash: int = 0
    weight: float = 1.8
    opacity: float = 1.0
    runaway: bool = False
    pieces: bool = False


@dataclasses.dataclass(frozen=True)
class Band:
    """The region between two curves `low` and `high` (n,) over x (n,)."""

    x: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    name: str
    colour: int = 0


@dataclasses.dataclass(frozen=True)
class Dots:
    """Marked points x (n,), y (n,), each with its own name; `shape` is "start", "end", "broken", "event",
    "sample" (small) or "moment" (where a time slider stands). `sizes` (n,) from 0 to 1 make some points larger
    than others."""

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    names: tuple[str, ...]
    shape: str
    colour: int = 0
    dash: int | None = None
    sizes: Float[np.ndarray, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class Cells:
    """A heat map of equal cells; row 0 lies at the bottom.

    Attributes:
        x (columns + 1,), y (rows + 1,): edges of the cells, evenly spaced and ascending.
        values (rows, columns): what the cells stand for, for readers who point at them; a cell whose value is
            NaN stays empty.
        ink (rows, columns): 0 is bare paper, 1 full colour.
        colours (rows, columns): index of the colour of each cell.
        name: what the values are.
        texts: a text for every cell, row by row, or none.
    """

    x: Float[np.ndarray, " x_edges"]
    y: Float[np.ndarray, " y_edges"]
    values: Float[np.ndarray, "rows columns"]
    ink: Float[np.ndarray, "rows columns"]
    colours: Int[np.ndarray, "rows columns"]
    name: str
    texts: tuple[str, ...] = ()

    @property
    def most_opaque(self) -> float:
        """Opacity of full ink: texts must stand out from it."""
        return 0.4 if self.texts else 0.8

    @property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the centre of every cell, row by row."""
        x, y = np.meshgrid((self.x[1:] + self.x[:-1]) / 2, (self.y[1:] + self.y[:-1]) / 2)
        return x.ravel(), y.ravel()


@dataclasses.dataclass(frozen=True)
class Level:
    """A horizontal line at `value`, labelled on the figure."""

    value: float
    name: str
    colour: int = 0


@dataclasses.dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        title: what it shows, in a few words.
        x_label, y_label: quantities with units.
        log_x, log_y: logarithmic axes; points that they cannot show are left out by both renderers.
        whole_x: x counts something (members), so its ticks are whole numbers.
        x_ends, y_ends: ends of the axes where they must not follow the data; charts with cells need them.
        x_names, y_names: {place: name} of the ticks of an axis of categories.
        colours, dashes: names of the colours and dash patterns that occur, for the key.
        scope: what the colours stand for: "rule" or "layer".
    """

    title: str
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    dots: tuple[Dots, ...] = ()
    levels: tuple[Level, ...] = ()
    cells: tuple[Cells, ...] = ()
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    x_names: Mapping[float, str] = dataclasses.field(default_factory=dict)
    y_names: Mapping[float, str] = dataclasses.field(default_factory=dict)
    colours: Mapping[int, str] = dataclasses.field(default_factory=dict)
    dashes: Mapping[int, str] = dataclasses.field(default_factory=dict)
    scope: str = "rule"

    def altered(self, **fields: Any) -> "Chart":
        """The chart with other fields."""
        return dataclasses.replace(self, **fields)

    def points(self, item: Line | Dots) -> tuple[np.ndarray, np.ndarray]:
        """The points of a line or of dots that the axes can show, lines thinned to at most 600.

        A breakdown outside of the frame is marked just inside of its edge, and a path that breaks down is
        drawn only a little way beyond it.
        """
        if isinstance(item, Line) and item.pieces:
            keep = can_be_shown(item.x, item.y, self.log_x, self.log_y)
            return np.where(keep, item.x, np.nan), np.where(keep, item.y, np.nan)
        x, y = visible(item.x, item.y, self.log_x, self.log_y)
        if isinstance(item, Dots) and item.shape == "broken":
            x = np.clip(x, *_moved(self.x_range, self.log_x, -_INSIDE))
            y = np.clip(y, *_moved(self.y_range, self.log_y, -_INSIDE))
        elif isinstance(item, Line) and item.runaway:
            x = np.clip(x, *_moved(self.x_range, self.log_x, _BEYOND))
            y = np.clip(y, *_moved(self.y_range, self.log_y, _BEYOND))
        if isinstance(item, Dots) or x.size <= _MAX_POINTS:
            return x, y
        chosen = thinned(x, _MAX_POINTS, self.log_x)
        return x[chosen], y[chosen]

    def shown(self, dots: Dots) -> np.ndarray:
        """Places, among the dots, of those that the axes can show."""
        return np.flatnonzero(can_be_shown(dots.x, dots.y, self.log_x, self.log_y))

    @property
    def empty(self) -> bool:
        """Whether there is no line of two points, no dot and no cell to show."""
        lines = (visible(line.x, line.y, self.log_x, self.log_y)[0].size > 1 for line in self.lines)
        dots = (visible(mark.x, mark.y, self.log_x, self.log_y)[0].size for mark in self.dots)
        cells = (np.isfinite(part.values).any() for part in self.cells)
        return not (any(lines) or any(dots) or any(cells))

    @property
    def x_range(self) -> tuple[float, float]:
        """Ends of the x axis."""
        if self.x_ends is not None:
            return self.x_ends
        return _range(self._extent(0), self.log_x, 0.5 if self.whole_x else 0.0)

    @property
    def y_range(self) -> tuple[float, float]:
        """Ends of the y axis: all that is shown, except that paths which broke down may leave the frame."""
        if self.y_ends is not None:
            return self.y_ends
        extra = [level.value for level in self.levels if math.isfinite(level.value)]
        for band in self.bands:
            extra += [
                value
                for edge in (band.low, band.high)
                for value in visible(band.x, edge, self.log_x, self.log_y)[1]
            ]
        low, high = _range(np.concatenate([self._extent(1), np.array(extra, float)]), self.log_y, 0.0)
        top = max((level.value for level in self.levels if math.isfinite(level.value)), default=-math.inf)
        if self.log_y:
            return low, max(high, top * (high / low) ** _NAME_ROOM if top > 0 else high)
        return low, max(high, top + _NAME_ROOM * (high - low))

    def _extent(self, axis: int) -> np.ndarray:
        """The coordinates that an axis should hold: all of the sound paths, and of broken ones only what lies
        near."""
        parts: dict[bool, list[np.ndarray]] = {True: [np.zeros(0)], False: [np.zeros(0)]}
        for item in (*self.lines, *self.dots):
            if isinstance(item, Dots) and item.shape == "moment":
                continue  # it moves along the lines and must not move the axes
            broken = item.runaway if isinstance(item, Line) else item.shape == "broken"
            parts[broken].append(visible(item.x, item.y, self.log_x, self.log_y)[axis])
        calm, wild = np.concatenate(parts[False]), np.concatenate(parts[True])
        if not calm.size or not wild.size:
            return np.concatenate([calm, wild])
        if (self.log_x, self.log_y)[axis]:
            return np.concatenate([calm, np.clip(wild, calm.min() / _FAR, calm.max() * _FAR)])
        room = 0.5 * (np.ptp(calm) or 1.0)
        return np.concatenate([calm, np.clip(wild, calm.min() - room, calm.max() + room)])


def _moved(ends: tuple[float, float], logarithmic: bool, share: float) -> tuple[float, float]:
    """The ends of an axis, moved outwards by a share of its length."""
    low, high = ends
    if not logarithmic:
        return low - share * (high - low), high + share * (high - low)
    room = share * (math.log(high) - math.log(low))
    return math.exp(max(math.log(low) - room, -690)), math.exp(min(math.log(high) + room, 690))


def thinned(x: np.ndarray, most: int, logarithmic: bool = False) -> np.ndarray:
    """At most `most` indices into ascending x, evenly spread over the axis, the first and the last
    included."""
    if x.size <= most:
        return np.arange(x.size)
    place = np.log(x) if logarithmic else x
    wanted = np.linspace(place[0], place[-1], most)
    return np.unique(np.clip(np.searchsorted(place, wanted), 0, x.size - 1))


def _range(values: np.ndarray, logarithmic: bool, least_room: float) -> tuple[float, float]:
    if not values.size:
        return (0.1, 1.0) if logarithmic else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        room = max(_ROOM * (math.log(high) - math.log(low)), 0.05)
        return low * math.exp(-room), min(high, 1e290) * math.exp(room)
    room = max(_ROOM * (high - low), least_room, 0.02 * abs(high) if high == low else 0.0)
    return low - room, high + (room or 1.0)
