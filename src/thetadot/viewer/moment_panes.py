"""The figures of one moment of a path, for the page of its run."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bokeh.document import Document

from thetadot.errors import ThetadotError
from thetadot.problems import Problem
from thetadot.report.moments import SPECTRUM, Moments
from thetadot.report.panels import Panel
from thetadot.report.series import Series
from thetadot.studies.run import Run
from thetadot.viewer.latest import Latest

_OWN_CODE = "the problem is made by the study's own code, which is run only if you say so"
_REST = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """A moment: a path, its saved row, and the hidden layer to look at."""

    series: Series
    save: int
    layer: int | None


@dataclasses.dataclass(frozen=True)
class Found:
    """Figures of a moment.

    Attributes:
        panels: the figures.
        panes: names of all figures that apply, also of those that are still computed.
        reasons: {name: why it does not apply} of the others.
        layers: numbers of the hidden layers.
    """

    panels: Sequence[Panel]
    panes: Sequence[str]
    reasons: Mapping[str, str]
    layers: Sequence[int]


class MomentPanes:
    """Computes the figures of moments: at once, except for the spectrum, for which the slider must rest.

    Arguments:
        run: whose problem it is.
        document: the page's.
        show: called in the page's own turn with what was asked and what was found.
    """

    def __init__(self, run: Run, document: Document, show: Callable[[Asked, Found], Any]):
        self._run = run
        self._moments: Moments | None = None
        self._problem: Problem | None = None
        self._making = threading.Lock()
        self._asked: Asked | None = None
        try:
            self._refusal = _OWN_CODE if run.study.spec.problem.kind == "python" else ""
        except ThetadotError as error:
            self._refusal = f"the study cannot be read: {error}"
        self._quick = Latest[Asked, Found](document, lambda asked: self._find(asked, slow=False), show)
        self._slow = Latest[Asked, Found](document, lambda asked: self._find(asked, slow=True), show, _REST)

    @property
    def asks_for_code(self) -> bool:
        """Whether the problem is made by a file of the user's, which is not run unasked."""
        return self._refusal == _OWN_CODE

    def run_code(self) -> None:
        """Run the user's file after all, and show the moment anew."""
        self._refusal, self._moments = "", None
        if self._asked is not None:
            self.ask(self._asked)

    def ask(self, asked: Asked) -> None:
        """Show the figures of a moment as soon as they are there."""
        self._asked = asked
        self._quick.ask(asked)
        self._slow.ask(asked)

    def _find(self, asked: Asked, slow: bool) -> Found:
        moments = self._moments_of(asked)
        layer = asked.layer if asked.layer in moments.layers else None
        chosen = [name for name in moments.panes if (name == SPECTRUM) == slow]
        panels = [moments.panel(name, asked.save, layer=layer) for name in chosen]
        reasons = {name: self._refusal or reason for name, reason in moments.reasons.items()}
        return Found(panels, moments.panes, reasons, moments.layers)

    def _moments_of(self, asked: Asked) -> Moments:
        with self._making:
            if self._moments is None or self._moments.path is not asked.series.path:
                self._moments = Moments(asked.series.path, self._make_problem(), earlier=self._moments)
            return self._moments

    def _make_problem(self) -> Problem | None:
        """The run's problem, made once; None where it cannot be had, and `_refusal` says why."""
        if self._problem is None and not self._refusal:
            try:
                self._problem = self._run.study.problem
            except ThetadotError as error:
                self._refusal = str(error)
            except Exception as error:  # the user's own code may fail in any way
                self._refusal = f"the problem cannot be made: {type(error).__name__}: {error}"
        return self._problem
