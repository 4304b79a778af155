"""Which classes are taken for which at one moment of a path."""

import numpy as np
from jaxtyping import Int

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number
from thetadot.problems import Problem
from thetadot.report.chart import Cells, Chart
from thetadot.report.function_at import label_kind, with_samples
from thetadot.report.moment_time import moment_name
from thetadot.report.series import FigureError

_MOST_SAMPLES = 10_000
_MOST_CLASSES = 200
_TEXTS_UP_TO = 12
_NAMES_UP_TO = 20


class ConfusionAt:
    """The confusion matrix on the problem's own samples (10,000 evenly spread ones if there are more).

    A sample is taken for the class of its largest output; with ±1 labels for +1 where the output is positive, for
    −1 elsewhere.

    Arguments:
        path: how it moved.
        problem: what was trained.

    Raises:
        FigureError: the problem has no samples or no classes.
    """

    def __init__(self, path: Path, problem: Problem | None):
        problem = with_samples(problem, path, "the confusion matrix")
        kind = label_kind(problem)
        if kind not in ("classes", "signs"):
            raise FigureError("the confusion matrix needs classes: the loss cross_entropy, or logistic")
        labels = np.asarray(problem.y)
        if kind == "signs" and labels.size != len(labels):
            raise FigureError("the confusion matrix of ±1 labels needs one output, this network has several")
        kept = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), _MOST_SAMPLES)).round().astype(int))
        self._path, self._problem, self._signs = path, problem, kind == "signs"
        self._x = np.asarray(problem.x)[kept]
        self._true: Int[np.ndarray, " n"] = labels[kept].reshape(len(kept)).astype(int)
        if self._signs:
            self._true = (self._true > 0).astype(int)
        self._last: tuple[int, Int[np.ndarray, "k k"] | None] | None = None
        self._classes = 2 if self._signs else self._outputs()
        if self._classes > _MOST_CLASSES:
            raise FigureError(f"a confusion matrix of {self._classes} classes cannot be read")
        self._names = ["−1", "+1"] if self._signs else [str(k) for k in range(self._classes)]
        part = "all" if len(kept) == len(labels) else "an even selection"
        self.method = (
            f"Of the samples of each true class (row), how many are taken for which (column): {len(kept):,} samples, "
            f"{part} of the training data. Blue: right, orange: wrong; the fuller, the larger the share of the row."
        )

    def counts(self, save: int) -> Int[np.ndarray, "k k"] | None:
        """Samples by true (row) and predicted (column) class; None if an output is not finite."""
        last = self._last  # another thread may replace it
        if last is None or last[0] != save:
            last = self._last = save, self._counted(save)
        return last[1]

    def _counted(self, save: int) -> Int[np.ndarray, "k k"] | None:
        outputs = np.asarray(self._problem.predict(self._path.thetas[save], self._x), float)
        outputs = outputs.reshape(len(self._x), -1)
        if not np.isfinite(outputs).all():
            return None
        taken = (outputs[:, 0] > 0).astype(int) if self._signs else outputs.argmax(axis=1)
        both = np.bincount(self._true * self._classes + taken, minlength=self._classes**2)
        return both.reshape(self._classes, self._classes)

    def chart(self, save: int) -> Chart:
        """Rows true, from the top; columns predicted."""
        amount = self._classes
        found = self.counts(save)
        title = f"Confusion matrix {moment_name(self._path, save)}"
        if found is None:
            counts = np.full((amount, amount), np.nan)
        else:
            counts = found.astype(float)
            title += f": {number(100 * _accuracy(found))} % right"
        totals = np.maximum(np.nan_to_num(counts).sum(axis=1, keepdims=True), 1.0)
        # The square root lets rare mistakes be seen beside full rows.
        ink = np.sqrt(np.nan_to_num(counts) / totals)
        edges = np.arange(amount + 1) - 0.5
        texts = tuple(f"{int(value)}" if value > 0 else "" for value in np.nan_to_num(counts)[::-1].ravel())
        cells = Cells(
            edges, edges, counts[::-1], ink[::-1], 1 - np.eye(amount, dtype=int)[::-1],
            "samples", texts if amount <= _TEXTS_UP_TO else (),
        )  # fmt: skip
        step = -(-amount // _NAMES_UP_TO)
        shown = range(0, amount, step)
        ends = (-0.5, amount - 0.5)
        return Chart(
            title, "predicted class", "true class", cells=(cells,), x_ends=ends, y_ends=ends,
            x_names={float(k): self._names[k] for k in shown},
            y_names={float(amount - 1 - k): self._names[k] for k in reversed(shown)},
            colours={0: "right", 1: "wrong"}, scope="verdict",
        )  # fmt: skip

    def reading(self, save: int) -> str:
        """Accuracy, classes that are never predicted, and the commonest mistake."""
        found, when = self.counts(save), moment_name(self._path, save)
        if found is None:
            return f"The outputs of the network {when} are not finite."
        right = int(np.trace(found))
        text = (
            f"{when[0].upper()}{when[1:]} {right:,} of {int(found.sum()):,} samples are classified rightly "
            f"({number(100 * _accuracy(found))} %); {int((found.sum(axis=0) > 0).sum())} of {self._classes} classes "
            "are ever predicted"
        )
        wrong = found - np.diag(np.diag(found))
        if not wrong.any():
            return f"{text}; there is no mistake."
        true, taken = divmod(int(wrong.argmax()), self._classes)
        mistake = f"{self._names[true]} is taken for {self._names[taken]}"
        return f"{text}; most often {mistake} ({wrong[true, taken]:,} times)."

    def _outputs(self) -> int:
        """How many outputs the network has: its classes."""
        one = self._problem.predict(np.zeros(self._problem.size), self._x[:1])
        return int(np.asarray(one).shape[-1])


def _accuracy(found: Int[np.ndarray, "k k"]) -> float:
    return float(np.trace(found) / found.sum())
