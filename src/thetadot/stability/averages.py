"""What time averages say: running means, standard errors by batches, groups, dimension and entropy."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

LEAST_BATCHES = 20
_HISTORY = 1000


def batch_rates(logs: Float[np.ndarray, "B k"], lengths: Float[np.ndarray, " B"]) -> Float[np.ndarray, "b k"]:
    """Growth per unit over consecutive batches of blocks: 20 to √B of them, or every block if there are fewer."""
    blocks = len(logs)
    count = min(blocks, max(LEAST_BATCHES, math.isqrt(blocks)))
    if count == 0:
        return np.zeros((0, logs.shape[1]))
    starts = (np.arange(count) * blocks) // count
    return np.add.reduceat(logs, starts, axis=0) / np.add.reduceat(lengths, starts)[:, None]


def standard_errors(rates: Float[np.ndarray, "b k"]) -> Float[np.ndarray, " k"]:
    """Standard error of the mean over batches; NaN from fewer than two, 0 where the mean is −∞."""
    if len(rates) < 2:
        return np.full(rates.shape[1], np.nan)
    finite = np.isfinite(rates).all(axis=0)
    errors = np.zeros(rates.shape[1])
    errors[finite] = rates[:, finite].std(axis=0, ddof=1) / math.sqrt(len(rates))
    return errors


def settled(rates: Float[np.ndarray, "b k"]) -> bool:
    """Whether there are enough batches and their halves agree, within 3 standard errors of their difference.

    That error, twice the mean's, comes from the differences of successive batches: a trend, which is what training
    has, would count as noise otherwise.
    """
    if len(rates) < LEAST_BATCHES:
        return False
    finite = rates[:, np.isfinite(rates).all(axis=0)]
    half = len(finite) // 2
    first, second = finite[:half].mean(axis=0), finite[half:].mean(axis=0)
    errors = np.sqrt(np.mean(np.diff(finite, axis=0) ** 2, axis=0) / 2 / len(finite))
    return bool(np.all(np.abs(first - second) <= 6 * errors + 1e-12 * (1 + np.abs(first))))


def running_means(
    logs: Float[np.ndarray, "B k"], lengths: Float[np.ndarray, " B"]
) -> tuple[Float[np.ndarray, " H"], Float[np.ndarray, "H k"]]:
    """(length so far, mean growth so far) at up to 1000 block ends, evenly spread."""
    if len(logs) == 0:
        return np.zeros(0), np.zeros((0, logs.shape[1]))
    at = np.unique(np.linspace(0, len(logs) - 1, min(len(logs), _HISTORY)).round().astype(int))
    so_far = np.cumsum(lengths)[at]
    return so_far, np.cumsum(logs, axis=0)[at] / so_far[:, None]


def groups_of(
    exponents: Float[np.ndarray, " k"], tolerances: Float[np.ndarray, " k"]
) -> tuple[tuple[int, ...], ...]:
    """Indices of exponents that are equal to their tolerances, chained, from the largest to the smallest."""
    order = np.argsort(-exponents, kind="stable")
    groups: list[list[int]] = []
    for index in order.tolist():
        if groups:
            last = groups[-1][-1]
            near = max(tolerances[index], tolerances[last])
            if exponents[last] == exponents[index] or exponents[last] - exponents[index] <= near:
                groups[-1].append(index)
                continue
        groups.append([index])
    return tuple(tuple(group) for group in groups)


def tolerances_of(errors: Float[np.ndarray, " k"], group_tolerance: float | None) -> Float[np.ndarray, " k"]:
    """max(group_tolerance or 1e-6, 3 standard errors) of each exponent."""
    least = 1e-6 if group_tolerance is None else group_tolerance
    return np.maximum(least, 3 * np.nan_to_num(errors, nan=0.0))


def kaplan_yorke(ordered: Float[np.ndarray, " k"] | Sequence[float], complete: bool) -> float:
    """Kaplan–Yorke dimension from exponents in descending order; NaN if more of them are needed.

    Example:
        >>> round(kaplan_yorke([0.9056, 0.0, -14.572], complete=True), 3)
        2.062
    """
    values = np.asarray(ordered, float)
    if values.size == 0 or np.isnan(values).any():
        return math.nan
    sums = np.cumsum(values)
    if values[0] < 0:
        return 0.0
    below = np.flatnonzero(sums < 0)
    if below.size == 0:
        return float(values.size) if complete else math.nan
    j = int(below[0])
    if np.isneginf(values[j]):
        return float(j)
    return float(j + sums[j - 1] / abs(values[j]))


def entropy(exponents: Float[np.ndarray, " k"]) -> float:
    """Sum of the positive exponents, a bound of the Kolmogorov–Sinai entropy."""
    return float(np.sum(exponents[exponents > 0]))


def spread_per_unit(logs: Float[np.ndarray, "B k"], floor_at_zero: bool) -> float:
    """Largest minus smallest mean growth of a block (and 0, if the size of T is known not to fall below 1)."""
    means = logs.mean(axis=0)
    top = max(means.max(), 0.0) if floor_at_zero else means.max()
    return float(top - means.min())


def order_descending(values: Float[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Indices that sort descending."""
    return np.argsort(-values, kind="stable")
