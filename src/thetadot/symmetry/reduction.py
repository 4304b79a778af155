"""Reduced dynamics: a few numbers that move as the whole network does."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow, Path, integrate


class Reduction(abc.ABC):
    """A closed system of fewer numbers.

    Attributes:
        flow: its field; time is mean-field time.
        state0 (n,): its start.
        observables: {name: function of (state, args)}, "risk" among them.
        description: one line.
    """

    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str

    def solve(
        self,
        times: Float[np.ndarray, " S"] | list[float],
        *,
        accuracy: float = 1e-9,
        rtol: float | None = None,
        atol: float | None = None,
        certify: bool = False,
    ) -> Path:
        """The path at these times: states in `path.thetas`, readouts in `path.observed`, the risk in `path.losses`.

        Arguments:
            times (S,): ascending, in mean-field time; 0 gives the start.
            accuracy, rtol, atol, certify: as in `thetadot.integrate`.
        """
        path = integrate(
            self.flow,
            self.state0,
            saves=np.asarray(times, float),
            observe=self.observables,
            accuracy=accuracy,
            rtol=rtol,
            atol=atol,
            certify=certify,
            progress=False,
        )
        return dataclasses.replace(path, info=self._labelled(path.info))

    def _labelled(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return dict(info) | {"problem": self.description}
