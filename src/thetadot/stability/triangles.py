"""Singular values from triangles: what the last sweep of QR passes left, sharpened where values stand together."""

import math

import numpy as np
from jaxtyping import Float

_TOGETHER = 3.0
_WIDEST = 25.0


def log_singular_values(rs: Float[np.ndarray, "N p p"]) -> Float[np.ndarray, " p"]:
    """Total log singular values, descending: those that stand together from the product of their diagonal blocks."""
    diagonals = np.diagonal(rs, axis1=1, axis2=2)
    size = rs.shape[1]
    lost = diagonals <= 8 * size * np.finfo(float).eps * diagonals.max(axis=1, keepdims=True)
    lost = lost & (diagonals <= 1e-12) | (diagonals < 1e-290)
    with np.errstate(divide="ignore"):
        totals = np.where(lost.any(axis=0), -np.inf, np.log(np.where(lost, 1.0, diagonals)).sum(axis=0))
    values = totals.copy()
    for group in _together(totals):
        if len(group) > 1:
            values[group] = _block_singular(rs[:, group[0] : group[-1] + 1, group[0] : group[-1] + 1])
    return np.sort(values)[::-1]


def _together(totals: Float[np.ndarray, " p"]) -> list[list[int]]:
    """Runs of neighbours closer than 3, a run that spans more than 25 split at its widest gap."""
    groups: list[list[int]] = []
    for index, value in enumerate(totals):
        near = groups and np.isfinite(value) and totals[groups[-1][-1]] - value < _TOGETHER
        if near and np.isfinite(totals[groups[-1][-1]]):
            groups[-1].append(index)
        else:
            groups.append([index])
    split: list[list[int]] = []
    while groups:
        group = groups.pop(0)
        if len(group) > 2 and np.ptp(totals[group]) > _WIDEST:
            cut = int(np.argmax(-np.diff(totals[group]))) + 1
            groups[:0] = [group[:cut], group[cut:]]
        else:
            split.append(group)
    return split


def _block_singular(blocks: Float[np.ndarray, "N g g"]) -> Float[np.ndarray, " g"]:
    product, scale = np.eye(blocks.shape[1]), 0.0
    for block in blocks:
        product = block @ product
        size = np.abs(product).max()
        product, scale = product / size, scale + math.log(size)
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.svd(product, compute_uv=False)) + scale
