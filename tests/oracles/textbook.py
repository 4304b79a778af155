"""Textbook systems with solutions in elementary functions, for `integrate` and events."""

import numpy as np


def rotation(state0: np.ndarray, ts: np.ndarray, frequency: float = 1.0) -> np.ndarray:
    """q′ = ω p, p′ = −ω q from (q, p): rows (q, p) at times ts, (T, 2)."""
    q, p = state0
    angle = frequency * np.asarray(ts)
    return np.stack([q * np.cos(angle) + p * np.sin(angle), p * np.cos(angle) - q * np.sin(angle)], axis=1)


def logistic(start: float, ts: np.ndarray, rate: float = 1.0, capacity: float = 1.0) -> np.ndarray:
    """u′ = rate·u·(1 − u/capacity): u at times ts, (T,)."""
    return capacity / (1 + (capacity / start - 1) * np.exp(-rate * np.asarray(ts)))


def logistic_time(start: float, level: float, rate: float = 1.0, capacity: float = 1.0) -> float:
    """The time at which the logistic solution reaches a level between its start and its capacity."""
    return float(np.log((capacity / start - 1) / (capacity / level - 1)) / rate)


def damped_rotation(state0: np.ndarray, ts: np.ndarray, decay: float, frequency: float = 1.0) -> np.ndarray:
    """z′ = (−decay + iω̄)z written in (q, p) with the orientation of `rotation`, (T, 2)."""
    return np.exp(-decay * np.asarray(ts))[:, None] * rotation(state0, ts, frequency)
