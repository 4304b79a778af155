"""Linear vector fields: their Lie algebra is one of matrices, closed once and for all, exactly, over the rationals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from thetadot.conservation.errors import ConservationError
from thetadot.conservation.fields import GradientFields, MomentumFields, VectorFields
from thetadot.conservation.lift import LinearLift
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.numerics.exact import PRIME, pivots_mod, rank, rank_mod

_LARGEST_STATE = 40
_LARGEST_WORK = 20_000_000


class LinearAction(NamedTuple):
    """Linear fields on several columns at once.

    Attributes:
        matrices (G, q, q): one per generator, integers, acting alike on every column.
        rates (G,): how fast each moves the time coordinate (0 without one).
        columns (q, r): which entry of the state stands where.
    """

    matrices: Int[np.ndarray, "G q q"]
    rates: Int[np.ndarray, " G"]
    columns: Int[np.ndarray, "q r"]


class MatrixAlgebra(NamedTuple):
    """A closed matrix Lie algebra.

    Attributes:
        matrices (D, q, q), rates (D,): a basis over the rationals.
        words: each basis element as a left-normed bracket of generators, by their numbers.
        depths (D,): length of each word.
    """

    matrices: Int[np.ndarray, "D q q"]
    rates: Int[np.ndarray, " D"]
    words: tuple[tuple[int, ...], ...]
    depths: Int[np.ndarray, " D"]


def linear_action(fields: VectorFields) -> LinearAction | None:
    """The fields as matrices, or None if they are not linear (or too large for matrices)."""
    momentum = isinstance(fields, MomentumFields)
    if not momentum and not isinstance(fields, GradientFields):
        return None
    lift = fields.lift
    core = lift.lift if isinstance(lift, ZeroSumLift) else lift
    if isinstance(core, LinearLift) and core.depth == 2:
        inputs, _, outputs = core.widths
        first, second = core.factors(np.arange(core.size))
        columns = np.concatenate([second, first.T])
        pushes = np.zeros((outputs, inputs, outputs + inputs, outputs + inputs), np.int64)
        for a in range(outputs):
            for b in range(inputs):
                pushes[a, b, a, outputs + b] = pushes[a, b, outputs + b, a] = 1
        if isinstance(lift, ZeroSumLift):
            pushes = pushes[:-1] - pushes[-1:]
        matrices = pushes.reshape(-1, *pushes.shape[2:])
    elif lift.size <= _LARGEST_STATE:
        columns = np.arange(lift.size)[:, None]
        found = _quadratic(lift)
        if found is None:
            return None
        matrices = found
    else:
        return None
    if not momentum:
        return LinearAction(matrices, np.zeros(len(matrices), np.int64), columns)
    q = matrices.shape[1]
    up, down = fields.friction.numerator, fields.friction.denominator
    drift = np.block([[np.zeros((q, q)), down * np.eye(q)], [np.zeros((q, q)), -up * np.eye(q)]])
    whole = np.zeros((1 + len(matrices), 2 * q, 2 * q), np.int64)
    whole[0] = drift
    whole[1:, q:, :q] = matrices
    rates = np.zeros(len(whole), np.int64)
    rates[0] = down
    return LinearAction(whole, rates, np.concatenate([1 + columns, 1 + lift.size + columns]))


def _quadratic(lift) -> np.ndarray | None:
    try:
        table = lift.polynomials()
    except ConservationError:
        return None
    if table.outputs == 0 or np.any(table.degrees != 2):
        return None
    matrices = np.zeros((table.outputs, lift.size, lift.size), np.int64)
    i, j = table.factors[:, 0], table.factors[:, 1]
    np.add.at(matrices, (table.owner, i, j), table.coefficients)
    np.add.at(matrices, (table.owner, j, i), table.coefficients)
    return matrices


def _rows(matrices: np.ndarray, rates: np.ndarray) -> np.ndarray:
    return np.concatenate([matrices.reshape(len(matrices), matrices.shape[1] ** 2), rates[:, None]], axis=1)


def close(action: LinearAction) -> MatrixAlgebra | None:
    """The Lie algebra that the generators make, proved closed over the rationals; None if it is too large."""
    generators, q = action.matrices, action.matrices.shape[1]
    pivots = pivots_mod(_rows(generators, action.rates))
    matrices, rates = generators[pivots], action.rates[pivots]
    words = [(k,) for k in pivots]
    new = list(range(len(words)))
    while new:
        products, labels = _brackets(generators, matrices[new], [words[k] for k in new])
        if np.abs(products).max(initial=0) > 2**40 or len(generators) * len(words) * q * q > _LARGEST_WORK:
            return None
        stack = np.concatenate([_rows(matrices, rates), _rows(products, np.zeros(len(products), np.int64))])
        added = [k - len(words) for k in pivots_mod(stack) if k >= len(words)]
        new = list(range(len(words), len(words) + len(added)))
        matrices = np.concatenate([matrices, products[added]])
        rates = np.concatenate([rates, np.zeros(len(added), np.int64)])
        words += [labels[k] for k in added]
    # Independent modulo a prime, hence over Q. Whether it is closed over Q, only exact arithmetic tells.
    products, _ = _brackets(generators, matrices, words)
    whole = np.concatenate([_rows(matrices, rates), _rows(products, np.zeros(len(products), np.int64))])
    if rank(np.unique(whole, axis=0)) != len(words):
        return None
    return MatrixAlgebra(matrices, rates, tuple(words), np.array([len(word) for word in words]))


def _brackets(generators, matrices, words) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """[X, B] = (DB)X − (DX)B = BX − XB of all generators with all given elements, zeros and repetitions left out."""
    products = np.einsum("bij,gjk->gbik", matrices, generators) - np.einsum(
        "gij,bjk->gbik", generators, matrices
    )
    flat = products.reshape(-1, *products.shape[2:])
    labels = [(g, *word) for g in range(len(generators)) for word in words]
    keep = np.flatnonzero(np.abs(flat).max(axis=(1, 2), initial=0))
    if not keep.size:
        return flat[:0], []
    _, first = np.unique(flat[keep].reshape(keep.size, -1), axis=0, return_index=True)
    chosen = np.sort(keep[first])
    return flat[chosen], [labels[k] for k in chosen]


def orbit_rows(algebra: MatrixAlgebra, action: LinearAction, state: np.ndarray) -> np.ndarray:
    """{Bθ : B in the basis} (D, r·q + 1) at an integer state: int64 residues or Python integers (dtype object)."""
    columns = state[action.columns]
    if state.dtype == object:
        moved = algebra.matrices.astype(object) @ columns
        return np.concatenate([moved.reshape(len(moved), -1), algebra.rates.astype(object)[:, None]], axis=1)
    moved = np.zeros((len(algebra.matrices), *columns.shape), np.int64)
    for k in range(columns.shape[0]):
        moved = (moved + algebra.matrices[:, :, k, None] % PRIME * columns[k] % PRIME) % PRIME
    return np.concatenate([moved.reshape(len(moved), -1), algebra.rates[:, None] % PRIME], axis=1)


def ranks_by_depth(algebra: MatrixAlgebra, rows: np.ndarray, exact: bool) -> tuple[int, ...]:
    """Rank of the rows of words up to length 1, 2, …, as long as it grows."""
    ranks: list[int] = []
    for depth in range(1, int(algebra.depths.max(initial=0)) + 1):
        part = rows[algebra.depths <= depth]
        ranks.append(rank(part) if exact else rank_mod(part, PRIME))
    while len(ranks) > 1 and ranks[-1] == ranks[-2]:
        ranks.pop()
    return tuple(ranks)
