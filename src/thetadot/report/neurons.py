"""The size of every hidden neuron along a path."""

import numpy as np
from jaxtyping import Float, Int

from thetadot.dynamics.path import Path
from thetadot.report.series import FigureError


def neuron_norms(path: Path) -> tuple[Float[np.ndarray, "S n"], Int[np.ndarray, " n"]]:
    """Norm of all weights of each hidden neuron (incoming, bias and outgoing) at every saved time, and the
    number of its layer.

    Raises:
        FigureError: the path's layout names no hidden neurons.
    """
    neurons = path.layout.neurons if path.layout is not None else ()
    if not neurons:
        raise FigureError("norms of neurons need a layout with hidden neurons; this path has none")
    squares = np.stack([np.sum(path.thetas[:, neuron.indices] ** 2, axis=1) for neuron in neurons], axis=1)
    return np.sqrt(squares), np.array([neuron.layer for neuron in neurons])


def neurons_holding(norms: Float[np.ndarray, " n"], share: float = 0.5) -> int:
    """The smallest number of neurons that hold at least `share` of the sum of squared norms."""
    squares = np.sort(norms**2)[::-1]
    total = squares.sum()
    if not total > 0:
        return 0
    return int(np.searchsorted(np.cumsum(squares), share * total) + 1)
