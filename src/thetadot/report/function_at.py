"""What the network computes at one moment of a path, for inputs of one or two dimensions."""

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.problems import EmpiricalRisk, Problem
from thetadot.problems.losses import SampleLoss
from thetadot.report.chart import Cells, Chart, Dots, Line
from thetadot.report.moment_time import moment_name
from thetadot.report.neurons_at import calm_rows
from thetadot.report.series import FigureError

_CELLS = 80
_CURVE = 300
_COARSE = 4
_MOST_SAMPLES = 400
_MOST_OUTPUTS = 10
_RANGE_ROWS = 24
_MARGIN = 0.12
_ROOM = 0.05
_LEAST_INK = 0.15


def label_kind(problem: Problem | None) -> str:
    """What the labels of a problem are: "classes", "signs", "numbers", or "any" where it cannot be told."""
    loss = problem.sample_loss if isinstance(problem, EmpiricalRisk) else None
    return loss.labels if isinstance(loss, SampleLoss) else "any"


def with_samples(problem: Problem | None, path: Path, figure: str) -> EmpiricalRisk:
    """The problem, if it is a network on samples and the path's rows are its parameters.

    Raises:
        FigureError: it is not.
    """
    if problem is None:
        raise FigureError(f"{figure} needs the problem that was trained; none was given")
    if not isinstance(problem, EmpiricalRisk):
        raise FigureError(f"{figure} needs a network on samples, this problem is a {type(problem).__name__}")
    return problem


class FunctionAt:
    """The network as a function of one or two inputs, on axes and colours that stay the same along the path.

    With one input: its outputs as curves (the probabilities of classes for cross-entropy). With two: a heat map
    of one output (colour: sign, ink: size), or of the most probable class (ink: how far its probability is above
    chance).

    Arguments:
        path: how it moved.
        problem: what was trained.
        output: which output a heat map shows.

    Raises:
        FigureError: the problem has no samples, or inputs of another shape.
    """

    def __init__(self, path: Path, problem: Problem | None, output: int = 0):
        problem = with_samples(problem, path, "the network function")
        x = np.asarray(problem.x)
        if x.ndim > 2 or (x.ndim == 2 and x.shape[1] > 2) or x.ndim == 0:
            raise FigureError(
                f"the network function is drawn for one or two inputs, these samples have shape {x.shape[1:]}"
            )
        self._path, self._problem, self._kind = path, problem, label_kind(problem)
        kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_SAMPLES)).round().astype(int))
        self._x = x.reshape(len(x), -1)[kept]
        self._y = np.asarray(problem.y)[kept]
        self._flat = x.ndim == 1
        rows = calm_rows(path, _RANGE_ROWS)
        if not len(rows):
            raise FigureError("no saved row of this path is finite")
        low, high = x.reshape(len(x), -1).min(axis=0), x.reshape(len(x), -1).max(axis=0)
        room = np.where(high > low, _MARGIN * (high - low), 1.0)
        self._ends = [(float(a), float(b)) for a, b in zip(low - room, high + room, strict=True)]
        self._grid, coarse = self._grids()
        seen = np.stack([self._values(theta, coarse) for theta in rows])
        self._outputs = seen.shape[2]
        if not 0 <= output < self._outputs:
            raise FigureError(f"output is {output}, expected 0 … {self._outputs - 1}")
        self._output = output
        self._last: tuple[int, Float[np.ndarray, "G k"]] | None = None
        self._seen(seen)

    @property
    def method(self) -> str:
        """How the figure is made."""
        samples = f"Points are samples ({len(self._x)} of {self._problem.samples:,})."
        if self._x.shape[1] == 1:
            what = "the probability of each class" if self._kind == "classes" else "what the network returns"
            return f"Curves: {what}. {samples} The axes stay the same along the path."
        if self._kind == "classes":
            return f"The colour is that of the most probable class, the fuller, the surer. {samples}"
        which = f"output {self._output + 1} of {self._outputs}" if self._outputs > 1 else "the output"
        if self._kind == "signs":
            return f"The colour is the sign of {which}; it is full where the model is sure. {samples}"
        return (
            f"The colour is the sign of {which}, its strength the size; full colour is "
            f"{number(self._most)}, the same along the path. {samples}"
        )

    def chart(self, save: int) -> Chart:
        """Curves or heat map at a row, with samples."""
        values = self._at(save)
        return self._curves(save, values) if self._x.shape[1] == 1 else self._map(save, values)

    def reading(self, save: int) -> str:
        """Where the outputs lie, or which part of the drawn square each class holds."""
        when = moment_name(self._path, save)
        values = self._at(save)
        if not np.isfinite(values).all():
            return f"The outputs of the network {when} are not finite."
        start = f"{when[0].upper()}{when[1:]} "
        if self._kind == "classes":
            shares = np.bincount(values.argmax(axis=1), minlength=self._outputs) / len(values)
            first = int(shares.argmax())
            held = int((shares > 0).sum())
            return (
                f"{start}{held} of {count(self._outputs, 'class', 'classes')} "
                f"{'is' if held == 1 else 'are'} the most probable somewhere; class {first} on "
                f"{number(100 * shares[first])} % of the drawn inputs."
            )
        shown = values[:, self._output] if self._x.shape[1] == 2 else values
        text = f"{start}the network's outputs go from {number(shown.min())} to {number(shown.max())}"
        if self._x.shape[1] == 2 or self._outputs == 1:
            text += f" and are positive on {number(100 * float(np.mean(shown > 0)))} % of the drawn inputs"
        return text + "."

    def _grids(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs at which the function is drawn, and fewer at which its range is looked for."""
        if len(self._ends) == 1:
            line = np.linspace(*self._ends[0], _CURVE)
            lines = line, line[::_COARSE]
            return lines if self._flat else (lines[0][:, None], lines[1][:, None])
        sides = [low + (high - low) * (np.arange(_CELLS) + 0.5) / _CELLS for low, high in self._ends]

        def grid(step: int) -> np.ndarray:
            x, y = np.meshgrid(sides[0][::step], sides[1][::step])
            return np.stack([x.ravel(), y.ravel()], axis=1)

        return grid(1), grid(_COARSE)

    def _at(self, save: int) -> Float[np.ndarray, "G k"]:
        """The values drawn at a row; those of the last row asked for are kept."""
        last = self._last  # another thread may replace it
        if last is None or last[0] != save:
            last = self._last = save, self._values(self._path.thetas[save], self._grid)
        return last[1]

    def _values(self, theta: Float[np.ndarray, " P"], grid: np.ndarray) -> Float[np.ndarray, "G k"]:
        """Outputs, or probabilities of classes."""
        values = np.asarray(self._problem.predict(theta, grid), float).reshape(len(grid), -1)
        if self._kind != "classes":
            return values
        with np.errstate(invalid="ignore", over="ignore"):
            weights = np.exp(values - values.max(axis=1, keepdims=True))
            return weights / weights.sum(axis=1, keepdims=True)

    def _seen(self, seen: Float[np.ndarray, "R G k"]) -> None:
        """Fix the range of outputs, and the size of full colour, from what some rows and the labels show."""
        if self._kind == "classes":
            self._range, self._most = (-_ROOM, 1 + _ROOM), 1.0
            return
        if self._x.shape[1] == 2:
            seen = seen[..., self._output]
        labels = self._labels()
        values = np.concatenate([seen[np.isfinite(seen)], [] if labels is None else labels.ravel()])
        low, high = (float(values.min()), float(values.max())) if values.size else (-1.0, 1.0)
        room = _ROOM * (high - low) or 1.0
        self._range, self._most = (low - room, high + room), max(abs(low), abs(high)) or 1.0

    def _labels(self) -> Float[np.ndarray, "n k"] | None:
        """The labels as numbers shaped like the outputs; None if they are something else."""
        if self._kind not in ("numbers", "signs"):
            return None
        return np.asarray(self._y, float).reshape(len(self._y), -1)

    def _classes(self) -> Int[np.ndarray, " n"]:
        """Colour of every sample: its class, or the sign of its label."""
        if self._kind == "classes":
            return np.asarray(self._y, int)
        labels = self._labels()
        if labels is None:
            return np.full(len(self._x), 5)
        return np.where(labels[:, min(self._output, labels.shape[1] - 1)] < 0, 1, 0)

    def _curves(self, save: int, values: Float[np.ndarray, "G k"]) -> Chart:
        shown = range(min(self._outputs, _MOST_OUTPUTS))
        kind = "class" if self._kind == "classes" else "output"
        first = 0 if self._kind == "classes" else 1
        names = {k: f"{kind} {k + first}" for k in shown}
        inputs = self._grid.reshape(-1)
        lines = tuple(Line(inputs, values[:, k], names[k], k) for k in shown)
        labels, x = self._labels(), self._x[:, 0]
        dots = []
        for k in shown:
            if self._kind == "classes":
                those = np.flatnonzero(self._y == k)
                height = np.ones(len(those))
            else:
                those = np.arange(0 if labels is None else len(x))
                height = np.zeros(0) if labels is None else labels[:, k]
            texts = tuple(f"sample of {names[k]}: x = {number(x[i])}" for i in those)
            dots.append(Dots(x[those], height, texts, "sample", k))
        label = "probability of the class" if self._kind == "classes" else "output f(x)"
        return Chart(
            f"Network function {moment_name(self._path, save)}", "input x", label, lines=lines,
            dots=tuple(dots), x_ends=self._ends[0], y_ends=self._range,
            colours=names if len(names) > 1 else {}, scope="output",
        )  # fmt: skip

    def _map(self, save: int, values: Float[np.ndarray, "G k"]) -> Chart:
        edges = [np.linspace(*ends, _CELLS + 1) for ends in self._ends]
        square = (_CELLS, _CELLS)
        finite = np.isfinite(values).all(axis=1)
        if self._kind == "classes":
            colours = np.where(finite, np.nan_to_num(values).argmax(axis=1), 0)
            shown = np.where(finite, values[np.arange(len(values)), colours], np.nan)
            chance = 1.0 / self._outputs
            ink = _LEAST_INK + (1 - _LEAST_INK) * (shown - chance) / (1 - chance)
            name = "probability of the most probable class"
            key = {k: f"class {k}" for k in range(self._outputs)}
        else:
            shown = values[:, self._output]
            colours = np.where(shown < 0, 1, 0)
            ink = np.tanh(np.abs(shown) / 2) if self._kind == "signs" else np.abs(shown) / self._most
            name = f"output {self._output + 1}" if self._outputs > 1 else "output f(x)"
            key = {0: f"{name} above 0", 1: f"{name} below 0"}
        cells = Cells(
            edges[0], edges[1], shown.reshape(square), np.clip(np.nan_to_num(ink), 0, 1).reshape(square),
            colours.reshape(square), name,
        )  # fmt: skip
        kinds, dots = self._classes(), []
        for kind in sorted(set(kinds.tolist())):
            those = np.flatnonzero(kinds == kind)
            texts = tuple(f"sample with label {self._spoken(i)}" for i in those.tolist())
            dots.append(Dots(self._x[those, 0], self._x[those, 1], texts, "sample", kind))
        return Chart(
            f"Network function {moment_name(self._path, save)}", "input x₁", "input x₂", cells=(cells,),
            dots=tuple(dots), x_ends=self._ends[0], y_ends=self._ends[1], colours=key,
            scope="class" if self._kind == "classes" else "sign",
        )  # fmt: skip

    def _spoken(self, sample: int) -> str:
        return ", ".join(number(value) for value in np.atleast_1d(self._y[sample]).ravel()[:_MOST_OUTPUTS])
