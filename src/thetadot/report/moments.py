"""The figures of one moment of a path, for a slider that moves along its saved rows."""

from collections.abc import Callable
from typing import TypeAlias

from thetadot.dynamics.path import Path
from thetadot.errors import ThetadotError
from thetadot.problems import Layout, Problem
from thetadot.report.chart import Chart
from thetadot.report.confusion_at import ConfusionAt
from thetadot.report.function_at import FunctionAt
from thetadot.report.moment_time import moment_name, row_of
from thetadot.report.neurons_at import NeuronsAt, hidden_layers
from thetadot.report.panels import Panel
from thetadot.report.series import FigureError
from thetadot.report.spectrum_at import Eigenvalues, SpectrumAt

SPECTRUM, NEURONS, FUNCTION, CONFUSION = PANES = ("spectrum", "neurons", "function", "confusion")
"""The figures that there may be, in the order in which a reader asks."""


_Figure: TypeAlias = SpectrumAt | NeuronsAt | FunctionAt | ConfusionAt


class Moments:
    """The figures of a path's saved rows: built once for a path, then asked row by row.

    What a path cannot show is left out and told why; nothing here raises because of a path or a problem. All
    axes and colour ranges except those of the spectrum are fixed for the path, so that movement is seen.

    Arguments:
        path: how it moved; rows that are not finite give empty figures.
        problem: what was trained; None if the path is of another system.
        earlier: the moments of an earlier state of the same path, whose spectra are kept.

    Attributes:
        panes: names of the figures that apply, among "spectrum", "neurons", "function", "confusion".
        reasons: {name: one line} of those that do not.
        layers: numbers of the hidden layers that "neurons" can show.

    Example:
        >>> import jax, numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 3, "tanh"), "squared", np.eye(2), np.ones(2))
        >>> path = td.flow(problem, problem.init(jax.random.key(0)), until=td.Until(time=1.0), progress=False)
        >>> moments = Moments(path, problem)
        >>> moments.panes
        ('spectrum', 'neurons', 'function')
        >>> moments.reasons["confusion"]
        'the confusion matrix needs classes: the loss cross_entropy, or logistic'
        >>> moments.panel("neurons", 0).chart.title
        'Neurons of layer 1 at t = 0'
    """

    def __init__(self, path: Path, problem: Problem | None = None, *, earlier: "Moments | None" = None):
        self.path, self.problem = path, problem
        self._layout: Layout | None = (
            problem.layout if path.layout is None and problem is not None else path.layout
        )
        self._known: dict[bytes, Eigenvalues] = {} if earlier is None else earlier._known
        self._figures: dict[str, _Figure] = {}
        self._by_layer: dict[int, _Figure] = {}
        self.reasons: dict[str, str] = {}
        makers: dict[str, Callable[[], _Figure]] = {
            SPECTRUM: lambda: SpectrumAt(path, problem, self._known),
            NEURONS: lambda: NeuronsAt(path, self._layout),
            FUNCTION: lambda: FunctionAt(path, problem),
            CONFUSION: lambda: ConfusionAt(path, problem),
        }
        for name, make in makers.items():
            try:
                self._check()
                self._figures[name] = make()
            except Exception as trouble:  # a user's network may fail in any way; the others are still shown
                self.reasons[name] = _one_line(trouble)

    @property
    def panes(self) -> tuple[str, ...]:
        """Names of the figures that apply."""
        return tuple(self._figures)

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the hidden layers."""
        return hidden_layers(self._layout) if NEURONS in self._figures else ()

    def panel(self, pane: str, save: int, *, layer: int | None = None) -> Panel:
        """A figure of a saved row with what it says and how it is made.

        Arguments:
            pane: one of `panes`.
            save: the row; negative ones count from the end.
            layer: which of `layers` "neurons" shows; the first by default.

        Returns:
            The panel; its chart is empty where the row cannot be shown, and the reading says why.

        Raises:
            FigureError: the pane does not apply (its reason), or there is no such row or layer.
        """
        if pane not in self._figures:
            raise FigureError(
                self.reasons.get(pane, f"there is no pane {pane!r}; there are {', '.join(PANES)}")
            )
        save = row_of(self.path, save)
        figure = self._of_layer(layer) if pane == NEURONS and layer is not None else self._figures[pane]
        try:
            return Panel(pane, figure.chart(save), figure.reading(save), figure.method)
        except Exception as trouble:
            title = f"{pane.capitalize()} {moment_name(self.path, save)}"
            return Panel(pane, Chart(title, "–", "–"), f"Not to be had: {_one_line(trouble)}", figure.method)

    def _of_layer(self, layer: int) -> _Figure:
        if layer not in self._by_layer:
            self._by_layer[layer] = NeuronsAt(self.path, self._layout, layer)
        return self._by_layer[layer]

    def _check(self) -> None:
        """Raise `FigureError` unless the path has rows, and rows that are the problem's parameters."""
        rows, width = self.path.thetas.shape
        if not rows:
            raise FigureError("no row of this path is saved yet")
        if not width:
            raise FigureError("the weights of this path were not stored")
        if self.problem is not None and self.problem.size != width:
            raise FigureError(
                f"the path's rows have {width} numbers, the problem has {self.problem.size} parameters"
            )


def _one_line(trouble: Exception) -> str:
    text = " ".join(str(trouble).split()) or type(trouble).__name__
    return text if isinstance(trouble, ThetadotError) else f"{type(trouble).__name__}: {text[:200]}"
