"""Lie brackets of vector fields at a point: exactly over GF(p), or in float64.

[X, Y] = DY·X − DX·Y. Left-normed brackets [X₁,[X₂,…,X_k]] of random members span what brackets of depth k span.
"""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.conservation.dual_numbers import DualRing, random_residues
from thetadot.conservation.fields import VectorFields
from thetadot.numerics.exact import pivots_mod, rank_mod

_BATCH = 12
_REAL_BATCH = 512
_POINT = 2**31
_ROUNDING = 1e-11


def random_point(size: int, prime: int, seed: int) -> Int[np.ndarray, " n"]:
    """A point drawn uniformly from GF(prime)^size."""
    return random_residues(np.array([_POINT + seed]), size, prime)[0]


def exact_bracket(
    fields: VectorFields,
    ring: DualRing,
    members: list[Int[np.ndarray, "B k"]],
    state: Int[np.ndarray, "..."],
) -> Int[np.ndarray, "..."]:
    """[X₁,[X₂,…]] of picked members at states over a ring, for a whole batch."""
    first, rest = members[0], members[1:]
    here = fields.evaluate(ring, state, first)
    if not rest:
        return here
    there = exact_bracket(fields, ring, rest, state)
    along = exact_bracket(fields, ring, rest, ring.perturbed(state, here))
    back = fields.evaluate(ring, ring.perturbed(state, there), first)
    length = max(state.shape[0], here.shape[0])
    other = max(state.shape[0], there.shape[0])
    return ring.subtract(ring.unit_part(along, length), ring.unit_part(back, other))


def bracket_rows(
    fields: VectorFields, labels: Int[np.ndarray, "B k"], point: Int[np.ndarray, " n"], prime: int
) -> Int[np.ndarray, "B n"]:
    """Brackets of the members that the labels pick (see `random_residues`), modulo a prime."""
    ring = DualRing(prime)
    members = [random_residues(column, fields.picked_size, prime) for column in labels.T]
    state = np.repeat(ring.lift(point)[:, None], len(labels), axis=1)
    return exact_bracket(fields, ring, members, state)[0]


class Growth(NamedTuple):
    """How the span of brackets at a point grows with their depth.

    Attributes:
        ranks: rank of all brackets up to depth 1, 2, …; the last depth gained something.
        labels: of the brackets that are a basis.
        closed: the next depth gained nothing (otherwise stopped early, or at the largest depth).
        rows: the basis, modulo the prime.
    """

    ranks: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    closed: bool
    rows: Int[np.ndarray, "r n"]


def grow(
    fields: VectorFields,
    point: Int[np.ndarray, " n"],
    *,
    prime: int,
    seed: int,
    max_depth: int,
    enough: int,
) -> Growth:
    """Sample brackets of growing depth at a point until a depth gains nothing or the rank is `enough`."""
    size = fields.size
    rows, labels = np.zeros((0, size), np.int64), []
    ranks: list[int] = []
    counter = (seed * 1_000_003) % 2**30
    for depth in range(1, max_depth + 1):
        before = len(rows)
        while len(rows) < enough:
            missing = min(size - len(rows), fields.real_size) if depth == 1 else size - len(rows)
            wanted = missing + 2 if depth == 1 else min(missing + 2, max(_BATCH, (enough - len(rows)) // 2))
            drawn = counter + np.arange(wanted * depth).reshape(wanted, depth)
            counter += wanted * depth
            new = bracket_rows(fields, drawn, point, prime)
            stack = np.concatenate([rows, new])
            gained = rank_mod(stack, prime) - len(rows)
            if gained == 0:
                break
            pivots = pivots_mod(stack, prime)
            every = [*labels, *(tuple(label) for label in drawn.tolist())]
            rows, labels = stack[pivots], [every[k] for k in pivots]
            if depth == 1 or gained < wanted:
                break
        if len(rows) == before:
            return Growth(tuple(ranks), tuple(labels), True, rows)
        ranks.append(len(rows))
        if len(rows) >= enough:
            return Growth(tuple(ranks), tuple(labels), len(rows) == size, rows)
    return Growth(tuple(ranks), tuple(labels), False, rows)


def real_bracket(fields: VectorFields, state: Float[Array, " n"], picked: Float[Array, "k m"]):
    """[X₁,[X₂,…]] at a real state, by nested derivatives."""

    def field(at: Array) -> Array:
        return fields.real(at, picked[0])

    if picked.shape[0] == 1:
        return field(state)

    def rest(at: Array) -> Array:
        return real_bracket(fields, at, picked[1:])

    along = jax.jvp(rest, (state,), (field(state),))[1]
    return along - jax.jvp(field, (state,), (rest(state),))[1]


@eqx.filter_jit
def real_bracket_rows(
    fields: VectorFields, state: Float[Array, " n"], picked: Float[Array, "B k m"]
) -> Float[Array, "B n"]:
    """Brackets of a batch of picked members at a real state, each relative to the size of what it is made of.

    A bracket of size Π‖X_i‖/‖θ‖^(k−1) becomes a row of length one; what is only rounding becomes zero.
    """

    def relative(one: Array) -> Array:
        bracket = real_bracket(fields, state, one)
        sizes = jax.vmap(lambda member: jnp.linalg.norm(fields.real(state, member)))(one)
        scale = jnp.prod(sizes) / jnp.maximum(jnp.linalg.norm(state), 1e-300) ** (one.shape[0] - 1)
        row = bracket / jnp.where(scale > 0, scale, 1.0)
        return jnp.where(jnp.linalg.norm(row) > _ROUNDING, row, 0.0)

    return jax.vmap(relative)(picked)


def null_space(rows: Float[np.ndarray, "m n"]) -> tuple[int, float, Float[np.ndarray, "k n"]]:
    """(rank, gap, orthonormal null vectors) of rows, each normalised first: cut at the widest gap between neighbouring
    singular values.

    Singular values below rounding count as its size; the gap is their ratio at the cut. A zero matrix: (0, inf, I).
    """
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 0] / norms[norms > 0][:, None]
    if not rows.size:
        return 0, float("inf"), np.eye(rows.shape[1])
    _, values, vectors = np.linalg.svd(rows)
    floor = values[0] * max(rows.shape) * np.finfo(float).eps
    last, gap = _widest_gap(values, floor)
    return last + 1, gap, vectors[last + 1 :]


def _widest_gap(values: Float[np.ndarray, " k"], floor: float) -> tuple[int, float]:
    """(position of the last value before it, ratio) of the widest gap between descending values and zero."""
    padded = np.maximum(np.append(values, 0.0), floor)
    ratios = padded[:-1] / padded[1:]
    last = int(np.argmax(ratios))
    return last, float(ratios[last])


class RealGrowth(NamedTuple):
    """How the span of brackets at a real point grows with their depth.

    Attributes:
        ranks: rank of all brackets up to depth 1, 2, …; the last depth gained something.
        closed: the next depth gained nothing, or nothing is left to gain.
        gap: the smallest ratio of singular values at a cut.
        basis: orthonormal rows.
    """

    ranks: tuple[int, ...]
    closed: bool
    gap: float
    basis: Float[np.ndarray, "r n"]


def grow_real(
    fields: VectorFields,
    point: Float[np.ndarray, " n"],
    *,
    seed: int,
    max_depth: int,
    enough: int | None = None,
) -> RealGrowth:
    """Sample brackets of growing depth at a real point until a depth gains nothing or the rank is `enough`.

    Rows come in batches; what a batch adds is cut at the widest gap of its singular values behind the projection.
    """
    size, state = fields.size, jax.numpy.asarray(point)
    most = size if enough is None else enough
    basis, kept = np.zeros((most + _REAL_BATCH, size)), 0
    ranks: list[int] = []
    worst = float("inf")
    for depth in range(1, max_depth + 1):
        before = kept
        left = min(most - kept, fields.real_size) if depth == 1 else most - kept
        for number in itertools.count():
            wanted = min(left + 2, _REAL_BATCH)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), depth), number)
            picked = jax.random.normal(key, (wanted, depth, fields.real_size))
            rows = np.asarray(real_bracket_rows(fields, state, picked))
            new, gap = _new_directions(basis[:kept], rows)
            basis[kept : kept + len(new)] = new
            kept, left = kept + len(new), left - len(new)
            if len(new) < wanted:
                worst = min(worst, gap)
                break
        if kept == before:
            return RealGrowth(tuple(ranks), True, worst, basis[:kept])
        ranks.append(kept)
        if kept >= most:
            return RealGrowth(tuple(ranks), True, worst, basis[:kept])
    return RealGrowth(tuple(ranks), False, worst, basis[:kept])


def _new_directions(
    basis: Float[np.ndarray, "r n"], rows: Float[np.ndarray, "m n"]
) -> tuple[Float[np.ndarray, "k n"], float]:
    """Orthonormal directions that rows add to a basis, and the gap of singular values behind which the rest is lost."""
    norms = np.linalg.norm(rows, axis=1)
    left = rows[norms > 0] / norms[norms > 0][:, None]
    for _ in range(
        2
    ):  # once more: the first projection leaves rounding relative to the rows, not to what is left
        left = left - (left @ basis.T) @ basis
    if not left.size:
        return basis[:0], float("inf")
    _, values, vectors = np.linalg.svd(left, full_matrices=False)
    floor = max(rows.shape) * np.finfo(float).eps
    rank, gap = _widest_gap(np.append(1.0, values), floor)
    return vectors[:rank], gap
