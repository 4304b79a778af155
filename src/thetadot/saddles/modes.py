"""What is infinitesimal, as modes: at a critical point, and beside the ray of a correlation point."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import connected_components

from thetadot.problems import Problem
from thetadot.saddles.correlation_flow import LogFlow
from thetadot.saddles.correlation_points import CorrelationPoint
from thetadot.saddles.derivatives import hessian
from thetadot.saddles.jumps import Column

SAME_RATE = 1e-6
_STRUCTURAL = 1e-12
_LINEAR = 1e-4


def modes_of(
    problem: Problem, base: np.ndarray, indices: np.ndarray, columns: Sequence[Column]
) -> tuple[list[Column], np.ndarray, bool]:
    """Columns as modes of −∇²L at a critical point: (one column for each mode, rates, whether unstable modes exist).

    Blocks that do not interact are decomposed apart; equal rates are one mode, whose amplitude is the signed sum of the
    columns' parts. Overlaps at rounding are structural zeros.
    """
    whole = hessian(problem, base)
    matrix = whole[np.ix_(indices, indices)]
    top = float(np.abs(matrix).max(initial=0.0))
    modes, rates, unstable = [], [], False
    if top == 0.0:
        return list(columns), np.zeros(len(columns)), False
    _, label = connected_components(np.abs(matrix) > 1e-14 * top)
    for block in range(label.max() + 1):
        local = np.flatnonzero(label == block)
        k, vectors = np.linalg.eigh(-matrix[np.ix_(local, local)])
        unstable = unstable or bool(k[-1] > 1e-8 * top)
        edges = np.flatnonzero(np.diff(k) > SAME_RATE * top) + 1
        for space in np.split(np.arange(k.size), edges):
            basis = vectors[:, space]
            parts = []
            for column in columns:
                piece = column.vector[indices[local]]
                coordinates = basis.T @ piece
                if (
                    np.linalg.norm(coordinates) > _STRUCTURAL * max(np.linalg.norm(piece), 1e-300)
                    and piece.any()
                ):
                    parts.append((column.log, coordinates))
            if not parts:
                continue
            highest = max(part[0] for part in parts)
            total = np.sum([np.exp(part[0] - highest) * part[1] for part in parts], axis=0)
            size = float(np.linalg.norm(total))
            if size == 0.0:
                continue
            vector = np.zeros(problem.size)
            vector[indices[local]] = basis @ (total / size)
            modes.append(Column(highest + float(np.log(size)), vector))
            rate = float(np.mean(k[space]))
            rates.append(rate if abs(rate) > 1e-8 * top else 0.0)
    return modes, np.array(rates), unstable


def tangent_columns(
    length: int, flow: LogFlow, point: CorrelationPoint, dead: np.ndarray, inside: np.ndarray, radius: float
) -> list[Column] | None:
    """Deviations from the ray, read where they are linear and still resolved, carried to the radius."""
    correlation = point.correlation
    local = np.flatnonzero(np.isin(dead, inside))
    w = point.direction[local] / np.linalg.norm(point.direction[local])
    chosen = None
    for state in flow._states:
        z, log_norm = flow.log_vector(state)
        part = z[local]
        along = float(part @ w)
        if along > 0 and np.linalg.norm(part / along - w) < _LINEAR:
            chosen = (part - along * w, along, log_norm)
            break
    if chosen is None:
        return None
    across, along, log_norm = chosen
    block = correlation.hessian(point.direction)[np.ix_(local, local)]
    frame = np.linalg.svd(w[None, :])[2][1:].T
    mu, vectors = np.linalg.eigh(frame.T @ block @ frame)
    ray = float(np.log(along)) + log_norm
    columns = []
    edges = np.flatnonzero(np.diff(mu) > SAME_RATE * point.multiplier) + 1
    for space in np.split(np.arange(mu.size), edges):
        if mu[space[0]] < 1e-6 * point.multiplier:
            continue
        basis = frame @ vectors[:, space]
        amount = basis.T @ across
        size = float(np.linalg.norm(amount))
        if size <= _STRUCTURAL * float(np.linalg.norm(across)) or size == 0.0:
            continue
        vector = np.zeros(length)
        vector[dead[local]] = basis @ (amount / size)
        growth = float(np.mean(mu[space])) / point.multiplier * (float(np.log(radius)) - ray)
        columns.append(Column(float(np.log(size)) + log_norm + growth, vector))
    return columns
