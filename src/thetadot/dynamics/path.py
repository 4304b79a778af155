"""How it moved: the record of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.polish import Polished
from thetadot.dynamics.snapshot import Snapshot
from thetadot.errors import ThetadotError
from thetadot.problems import Layout


class DenseOutputError(ThetadotError):
    """`path.at` was asked of a path without dense output, or outside its time span."""


@dataclasses.dataclass(frozen=True)
class RecordedEvent:
    """An event that happened: its name, kind ("zero", "minimum", "maximum", "plateau", "switch"), time, state and
    the value of its function there."""

    name: str
    kind: str
    time: float
    theta: Float[np.ndarray, " P"]
    value: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Path:
    """The record of a run: what `flow`, `descend` and `integrate` return.

    Attributes:
        ts (S,): times, in the units of the loss (mean over samples, ½ in the squared loss).
        thetas (S, P): parameters (or the flat state of another system).
        losses (S,), grad_norms (S,): loss and ‖∇L‖; NaN where a system has no loss.
        steps (S,): accepted steps up to each row.
        observed: {name: (S, …)}.
        events: recorded events in the order of time.
        outcome, reason: how the run ended, and why in one sentence.
        degenerate: converged at a point where the Hessian has zero eigenvalues.
        accuracy, stats: why one may believe it, what it cost.
        state: the whole state of the run, for `resume=`.
        info: what was run, in words: problem, method, settings, time_scale (for summaries and the store).
        layout: names of the slices of θ; None for other systems.
        polished: the minimum that Newton's method reached from the last row (`polish=True`), or None; the rows
            themselves are the flow's own.
    """

    ts: Float[np.ndarray, " S"]
    thetas: Float[np.ndarray, "S P"]
    losses: Float[np.ndarray, " S"]
    grad_norms: Float[np.ndarray, " S"]
    steps: Int[np.ndarray, " S"]
    observed: Mapping[str, np.ndarray]
    events: tuple[RecordedEvent, ...]
    outcome: Outcome
    reason: str
    degenerate: bool
    accuracy: Accuracy
    stats: Stats
    state: Snapshot | None
    info: Mapping[str, Any]
    layout: Layout | None = None
    polished: Polished | None = None
    _dense: Callable | None = dataclasses.field(default=None, repr=False, compare=False)

    def at(self, t) -> np.ndarray:
        """State at time(s) t, shape t.shape + (P,), to the accuracy of the run; needs `dense=True`."""
        if self._dense is None:
            raise DenseOutputError(
                "path.at(t) needs dense output, which this path does not have: run with dense=True"
            )
        times = np.asarray(t, float)
        if times.size and (times.min() < self.ts[0] or times.max() > self.ts[-1]):
            raise DenseOutputError(
                f"path.at was asked for t in [{times.min():g}, {times.max():g}]; "
                f"this path covers [{self.ts[0]:g}, {self.ts[-1]:g}]"
            )
        return self._dense(times.ravel()).reshape((*times.shape, -1))

    def to_xarray(self):
        """The path as an `xarray.Dataset` with dimensions `save` and `parameter`; accuracy, outcome, statistics
        and settings are its attributes."""
        from thetadot.dynamics.labels import path_to_dataset

        return path_to_dataset(self)

    def plot(self, axes=None):
        """Loss and gradient norm against time with events; returns the matplotlib axes."""
        from thetadot.dynamics.figures import plot_path

        return plot_path(self, axes)

    def save(self, file: str | FilePath) -> None:
        """Write rows and state to one .npz file (no pickle), from which `Path.load` resumes bit-identically."""
        from thetadot.dynamics.storage import save_path

        save_path(self, FilePath(file))

    @classmethod
    def load(cls, file: str | FilePath) -> "Path":
        """Read a path that `save` wrote."""
        from thetadot.dynamics.storage import load_path

        return load_path(FilePath(file))

    def __repr__(self) -> str:
        from thetadot.dynamics.summary import path_summary

        return path_summary(self)

    def _repr_html_(self) -> str:
        from thetadot.dynamics.summary import path_html

        return path_html(self)
