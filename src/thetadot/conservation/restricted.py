"""Lifts seen through losses whose gradients are constrained: fewer directions to push, hence more laws."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.conservation.dual_numbers import DualRing
from thetadot.conservation.errors import ConservationError, NotPolynomialError
from thetadot.conservation.lift import Lift, LinearLift, Residues
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.polynomials import Polynomials


class RestrictedLift(Lift):
    """The part Cᵀφ(θ) of a lift that a loss sees whose gradients ∂f/∂z lie in the range of C.

    Arguments:
        lift: φ.
        cotangents (d, k): C, whole numbers (scale rational ones up).

    Example:
        >>> RestrictedLift(LinearLift((1, 1, 2)), np.array([[1], [-1]])).dimension
        1
    """

    def __init__(self, lift: Lift, cotangents: Any):
        matrix = np.asarray(cotangents)
        if matrix.ndim != 2 or matrix.shape[0] != lift.dimension:
            raise ConservationError(
                f"cotangents has shape {matrix.shape}: expected ({lift.dimension}, k), one row per component"
            )
        if np.any(matrix != np.round(matrix)):
            raise NotPolynomialError("cotangents are not whole numbers: scale rational ones up")
        self.lift, self.cotangents = lift, matrix.astype(np.int64)

    @property
    def size(self) -> int:
        """P."""
        return self.lift.size

    @property
    def dimension(self) -> int:
        """k."""
        return self.cotangents.shape[1]

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " k"]:
        """Cᵀφ(θ)."""
        return jnp.asarray(self.cotangents.T.astype(float)) @ self.lift(theta)

    def polynomials(self) -> Polynomials:
        """Combinations of the lift's components."""
        return self._table

    @functools.cached_property
    def _table(self) -> Polynomials:
        return _combined(self.lift.polynomials(), self.cotangents)


def _combined(table: Polynomials, columns: np.ndarray) -> Polynomials:
    """Σ_i columns[i, k] φ_i for each k."""
    terms = table.terms
    return Polynomials.from_terms(
        table.size,
        [
            [(int(column[i]) * c, powers) for i in np.flatnonzero(column) for c, powers in terms[i]]
            for column in columns.T
        ],
    )


class ZeroSumLift(Lift):
    """What a loss sees whose gradients sum to zero over the outputs (softmax cross-entropy): differences to the last
    output. Build it with `zero_sum`.

    Attributes:
        lift: a `LinearLift` or `PathLift`.
        outputs: number of outputs.
    """

    def __init__(self, lift: LinearLift | PathLift, outputs: int):
        self.lift, self.outputs = lift, outputs

    @property
    def size(self) -> int:
        """P."""
        return self.lift.size

    @property
    def dimension(self) -> int:
        """Number of differences."""
        if isinstance(self.lift, LinearLift):
            return (self.outputs - 1) * self.lift.widths[0]
        return self._columns.shape[1]

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " k"]:
        """Differences of components of the lift."""
        return jnp.asarray(self._columns.T.astype(float)) @ self.lift(theta)

    @property
    def cotangent_size(self) -> int:
        """That of the lift without its last output."""
        rows = self.lift.widths[0] if isinstance(self.lift, LinearLift) else 1
        return self.lift.cotangent_size - rows

    def pullback(self, ring: DualRing, theta: Residues, picked: Residues) -> Residues:
        """The lift's members of W with the last output's cotangent minus the sum of the others."""
        rows = self.lift.widths[0] if isinstance(self.lift, LinearLift) else 1
        free = picked[:, picked.shape[1] - rows * (self.outputs - 1) :]
        last = -free.reshape(len(picked), self.outputs - 1, rows).sum(axis=1) % ring.prime
        return self.lift.pullback(ring, theta, np.concatenate([picked, last], axis=1))

    @functools.cached_property
    def _columns(self) -> np.ndarray:
        if isinstance(self.lift, LinearLift):
            inputs = self.lift.widths[0]
            heads = np.eye(self.outputs - 1, self.outputs, dtype=np.int64)
            heads[:, -1] = -1
            return np.kron(heads, np.eye(inputs, dtype=np.int64)).T
        keys = self.lift.component_keys
        place = {key: number for number, key in enumerate(keys)}
        last = int(self.lift.graph.outputs[-1])
        columns = []
        for rest in dict.fromkeys(key[1:] for key in keys):
            for output in self.lift.graph.outputs[:-1].tolist():
                column = np.zeros(len(keys), np.int64)
                for end, sign in ((output, 1), (last, -1)):
                    if (end, *rest) in place:
                        column[place[(end, *rest)]] = sign
                if column.any():
                    columns.append(column)
        return np.array(columns).T

    def polynomials(self) -> Polynomials:
        """Differences of the lift's components."""
        return self._table

    @functools.cached_property
    def _table(self) -> Polynomials:
        if isinstance(self.lift, PathLift) and not self.lift.graph.uniform:
            raise NotPolynomialError("differences of paths with constant factors are not listed exactly")
        return _combined(self.lift.polynomials(), self._columns)

    def definition(self) -> dict:
        """The lift's definition."""
        return {"kind": "zero-sum", "lift": self.lift.definition()}


def zero_sum(lift: Lift) -> ZeroSumLift:
    """The lift as softmax cross-entropy sees it: gradients ∂f/∂output sum to zero over the outputs.

    Raises:
        ConservationError: a lift with one output (nothing would be left), or without outputs.

    Example:
        >>> zero_sum(LinearLift((2, 3, 3))).dimension
        4
    """
    if isinstance(lift, LinearLift):
        outputs = lift.widths[-1]
    elif isinstance(lift, PathLift):
        outputs = lift.graph.outputs.size
    else:
        raise ConservationError(
            f"{type(lift).__name__} has no outputs: zero_sum takes a LinearLift or a PathLift"
        )
    if outputs < 2:
        raise ConservationError("the network has one output, and cross-entropy needs at least two")
    return ZeroSumLift(lift, outputs)
