"""Angles between covariant vectors and their spans, domination, and where in the network vectors live."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from thetadot.problems import Layout
from thetadot.stability.errors import StabilityError


def span_angles(
    first: Float[np.ndarray, "*B k m"], second: Float[np.ndarray, "*B k n"]
) -> Float[np.ndarray, "*B p"]:
    """Principal angles, ascending, between the spans of columns; by sines where they are small, by cosines where
    not, so that both ends keep their digits."""
    if first.shape[-1] > second.shape[-1]:
        first, second = second, first
    a, b = np.linalg.qr(first)[0], np.linalg.qr(second)[0]
    inner = np.swapaxes(b, -1, -2) @ a
    cosines = np.clip(np.linalg.svd(inner, compute_uv=False), 0.0, 1.0)
    sines = np.clip(np.linalg.svd(a - b @ inner, compute_uv=False)[..., ::-1], 0.0, 1.0)
    return np.arctan2(sines, cosines)


def principal_angles(
    result: Any, first: int | Sequence[int], second: int | Sequence[int]
) -> Float[np.ndarray, "B m"]:
    """Principal angles between the spans of two sets of covariant vectors, from their coefficients alone.

    Arguments:
        result: what `covariant_vectors` returned.
        first, second: indices of vectors, from 0.

    Returns:
        (B, m) ascending, radians; m is the size of the smaller set.

    Raises:
        StabilityError: indices that are not there.

    Example:
        >>> cat = td.StepMap(lambda s, n, aux: jnp.array([[2.0, 1.0], [1.0, 1.0]]) @ s)
        >>> from thetadot.stability import covariant_vectors
        >>> found = covariant_vectors(cat, np.zeros(2), transient=40, window=4, tail=40)
        >>> [round(float(np.degrees(angle)), 6) for angle in principal_angles(found, 0, 1)[0]]
        [90.0]
    """
    k = result.coefficients.shape[1]
    sets = [np.atleast_1d(np.asarray(part, int)) for part in (first, second)]
    for part in sets:
        if part.size == 0 or part.min() < 0 or part.max() >= k:
            raise StabilityError(f"indices {part.tolist()} are not among the {k} vectors 0 … {k - 1}")
    columns = [result.coefficients[:, :, part] for part in sets]
    lost = np.isnan(columns[0]).any(axis=(1, 2)) | np.isnan(columns[1]).any(axis=(1, 2))
    found = np.full((len(lost), min(part.size for part in sets)), np.nan)
    found[~lost] = span_angles(columns[0][~lost], columns[1][~lost])
    return found


def domination(growth: Float[np.ndarray, "B k"], span: int = 1) -> Float[np.ndarray, " gaps"]:
    """Share of stretches of `span` blocks in which growth_j < growth_{j+1}: 0 where the splitting is dominated.

    Arguments:
        growth: (B, k) growth of covariant vectors, largest exponent first.
        span: blocks that a stretch has.

    Returns:
        (k − 1,).

    Example:
        >>> domination(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 0.0]])).tolist()
        [0.25]
        >>> domination(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 0.0]]), span=2).tolist()
        [0.0]
    """
    if not 1 <= span <= len(growth):
        raise StabilityError(f"span = {span}: expected between 1 and the {len(growth)} blocks")
    sums = np.concatenate([np.zeros((1, growth.shape[1])), np.cumsum(growth, axis=0)])
    stretches = sums[span:] - sums[:-span]
    return np.mean(stretches[:, :-1] < stretches[:, 1:], axis=0)


@dataclasses.dataclass(frozen=True)
class Localisation:
    """Where vectors live.

    Attributes:
        participation (B, k): 1/(d Σ v⁴) of unit vectors: 1 spread evenly, 1/d on one coordinate.
        shares: {slice name: (B, k)}, Σ v² over the slice; empty without a layout.
    """

    participation: Float[np.ndarray, "B k"]
    shares: Mapping[str, Float[np.ndarray, "B k"]]


def localisation(vectors: Float[np.ndarray | Array, "B d k"], layout: Layout | None = None) -> Localisation:
    """Participation of unit vectors, and their shares over the slices of a layout.

    Arguments:
        vectors: (B, d, k).
        layout: names of the slices of the first P of the d entries, such as `problem.layout`.

    Example:
        >>> localisation(np.eye(4)[None, :, :2]).participation.tolist()
        [[0.25, 0.25]]
    """
    squares = np.asarray(vectors) ** 2
    d = squares.shape[1]
    if layout is not None and layout.size > d:
        raise StabilityError(f"the layout names {layout.size} parameters, the vectors have {d} entries")
    with np.errstate(invalid="ignore"):
        participation = 1.0 / (d * np.sum(squares**2, axis=1))
    parts = {} if layout is None else layout.slices
    shares = {name: squares[:, part].sum(axis=1) for name, part in parts.items()}
    if layout is not None and layout.size < d:
        shares["optimizer"] = squares[:, layout.size :].sum(axis=1)
    return Localisation(participation, shares)
