"""What is still too small to matter: columns, and dead weights of degree above 2, followed beside the base."""

import logging
from collections.abc import Sequence

import numpy as np

from thetadot.problems import Problem
from thetadot.saddles.critical_points import _union
from thetadot.saddles.jumps import Column, Segment, follow_columns, follow_dead

log = logging.getLogger("thetadot.saddles")

_MOST_COLUMNS = 64
_FINITE = 1e-3


class Infinitesimal:
    """Columns (log amplitude, unit vector), never summed, and one vector (P,) of dead weights of degree above 2."""

    def __init__(self, groups: Sequence[np.ndarray], degree: int, size: int):
        self.groups, self.degree = groups, degree
        self.columns: list[Column] = []
        self.dead = np.zeros(size)
        self.notes: list[str] = []

    def keep(self, columns: list[Column]) -> None:
        """The largest columns take the place of the present ones."""
        columns.sort(key=lambda column: -column.log)
        if len(columns) > _MOST_COLUMNS:
            self.notes.append(f"{len(columns) - _MOST_COLUMNS} smallest columns dropped")
            log.info(self.notes[-1])
        self.columns = columns[:_MOST_COLUMNS]

    def demote(self, part: np.ndarray, alive: np.ndarray) -> None:
        """Take in what has become small again (P,)."""
        size = float(np.linalg.norm(part))
        if size == 0.0:
            return
        if self.degree > 2 and part[_union(self._dead_groups(alive))].any():
            self.dead = self.dead + part
        else:
            self.columns.append(Column(float(np.log(size)), part / size))

    def linearise(self, alive: np.ndarray) -> None:
        """Dead weights become columns, one for each group: where the residual correlation is of degree 2."""
        for group, lives in zip(self.groups, alive, strict=True):
            size = float(np.linalg.norm(self.dead[group]))
            if not lives and size > 0:
                part = np.zeros_like(self.dead)
                part[group] = self.dead[group] / size
                self.columns.append(Column(float(np.log(size)), part))
        self.dead = np.zeros_like(self.dead)

    def follow(
        self, problem: Problem, segment: Segment, alive: np.ndarray, radius: float
    ) -> tuple[Segment, np.ndarray | None]:
        """Go along a segment to where something becomes finite: (the segment up to there, what (P,) or None)."""
        last = len(segment.times) - 1
        row, promotion = last, np.zeros_like(self.dead)
        fate = follow_columns(problem, segment, self.columns)
        bounds = [self._bound(vectors[0], alive, radius) for _, vectors in fate]
        for (logs, _), bound in zip(fate, bounds, strict=True):
            # Growing, too: what has just been demoted is larger, and decays.
            grown = 1 + np.flatnonzero((logs[1:] > bound) & (np.diff(logs) > 0))
            row = min(row, int(grown[0])) if grown.size else row
        small, place, dead = None, 1.0, self._dead_groups(alive)
        if self.dead[_union(dead)].any():
            small, place = follow_dead(problem, segment.cut(row), self.dead, dead, self.degree, radius)
            row = len(small) - 1
        ended = row < last or place < 1.0
        columns = []
        for (logs, vectors), bound in zip(fate, bounds, strict=True):
            here = float(logs[row - 1] + place * (logs[row] - logs[row - 1])) if row > 0 else float(logs[0])
            if ended and row > 0 and here > max(bound, logs[row - 1]):
                promotion += np.exp(here) * vectors[row]
            else:
                columns.append(Column(here, vectors[row]))
        if small is not None:
            self.dead = small[row].copy()
            for group in dead:
                if ended and np.linalg.norm(self.dead[group]) > radius:
                    promotion[group] += self.dead[group]
                    self.dead[group] = 0.0
        self.keep(columns)
        return segment.cut(row, place), promotion if promotion.any() else None

    def _bound(self, vector: np.ndarray, alive: np.ndarray, radius: float) -> float:
        """Log amplitude from which a column is no longer infinitesimal: dead groups join the base early."""
        joined = any(
            lives and bool(np.any(vector[group])) for group, lives in zip(self.groups, alive, strict=True)
        )
        return float(np.log(max(_FINITE, 0.0 if joined else radius)))

    def _dead_groups(self, alive: np.ndarray) -> list[np.ndarray]:
        return [group for group, lives in zip(self.groups, alive, strict=True) if not lives]
