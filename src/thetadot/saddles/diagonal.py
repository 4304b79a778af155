"""Diagonal linear networks from a vanishing start: the exact sequence of saddles, without integration."""

import dataclasses
import enum

import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import nnls

from thetadot.saddles.errors import SaddlesError

_TIE = 1e-10


class DiagonalStatus(enum.Enum):
    """How the walk ended."""

    FINISHED = "the gradient vanishes: least squares is reached"
    MAX_JUMPS = "more jumps than allowed"
    TIE = "two coordinates reach their threshold together: the walk is not unique"


@dataclasses.dataclass(frozen=True)
class DiagonalItinerary:
    """The saddles of f = ⟨u∘v, x⟩ from u(0) = √2α, v(0) = 0 as α → 0, in the clock t/ln(1/α).

    Attributes:
        times (K,): at which each point is reached; the first, 0, is the origin's.
        coefficients (K, d): b = u∘v. duals (K, d): s at these times. losses (K,): 1/(2N) Σ(⟨b,x⟩ − y)².
        status: FINISHED, MAX_JUMPS or TIE.
    """

    times: Float[np.ndarray, " K"]
    coefficients: Float[np.ndarray, "K d"]
    duals: Float[np.ndarray, "K d"]
    losses: Float[np.ndarray, " K"]
    status: DiagonalStatus


def diagonal_itinerary(
    x: Float[Array | np.ndarray, "N d"], y: Float[Array | np.ndarray, " N"], *, max_jumps: int = 100
) -> DiagonalItinerary:
    """The exact walk of a diagonal network from an infinitesimal balanced start.

    On a plateau s′ = −∇L(b); when some |s_i| reaches 1, b jumps to the minimiser of L over {b_i ≥ 0 where s_i = 1,
    ≤ 0 where s_i = −1, 0 elsewhere}. Coordinates may switch off again.

    Arguments:
        x (N, d), y (N,): data of the loss 1/(2N) Σ(⟨b,x⟩ − y)².
        max_jumps: jumps after which to stop.

    Raises:
        SaddlesError: shapes that do not fit.

    Source: S. Pesme, N. Flammarion, arXiv:2304.00488; re-derived for the mean loss.

    Example:
        >>> found = diagonal_itinerary(np.sqrt(3) * np.eye(3), np.sqrt(3) * np.array([2.0, -1.0, 0.5]))
        >>> found.times.round(12).tolist(), found.status.name
        ([0.0, 0.5, 1.0, 2.0], 'FINISHED')
    """
    inputs, labels = np.asarray(x, float), np.asarray(y, float).ravel()
    if inputs.ndim != 2 or inputs.shape[0] != labels.size:
        raise SaddlesError(f"x has shape {inputs.shape} and y {labels.shape}: expected (N, d) and (N,)")
    samples, dimension = inputs.shape
    b, s, time = np.zeros(dimension), np.zeros(dimension), 0.0
    times, coefficients, duals = [0.0], [b], [s]
    status = DiagonalStatus.MAX_JUMPS
    scale = max(float(np.abs(inputs.T @ labels).max() / samples), 1e-300)
    for _ in range(max_jumps):
        slope = inputs.T @ (inputs @ b - labels) / samples
        waits = np.full(dimension, np.inf)
        moving = np.abs(slope) > 1e-10 * scale
        waits[moving] = (1.0 + np.sign(slope[moving]) * s[moving]) / np.abs(slope[moving])
        if not np.any(moving):
            status = DiagonalStatus.FINISHED
            break
        wait = float(waits.min())
        together = int(np.sum(waits <= wait * (1 + _TIE) + 1e-14))
        s = np.clip(s - wait * slope, -1.0, 1.0)
        s = np.where(1.0 - np.abs(s) < 1e-12, np.sign(s), s)
        time += wait
        free = np.flatnonzero(np.abs(s) == 1.0)
        b = np.zeros(dimension)
        signed = inputs[:, free] * s[free]
        b[free] = nnls(signed / np.sqrt(samples), labels / np.sqrt(samples))[0] * s[free]
        times.append(time)
        coefficients.append(b)
        duals.append(s)
        if together > 1:
            status = DiagonalStatus.TIE
            break
    rows = np.array(coefficients)
    losses = 0.5 * np.mean((rows @ inputs.T - labels) ** 2, axis=1)
    return DiagonalItinerary(np.array(times), rows, np.array(duals), losses, status)
