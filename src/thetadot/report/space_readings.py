"""What the figures over members and over the space of weights say for this run."""

from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.report.neurons import neuron_norms, neurons_holding
from thetadot.report.plane import Plane
from thetadot.report.series import Series

SAME_PLACE = 1e-3


def neuron_reading(path: Path) -> str:
    """How unequal the hidden neurons became."""
    norms, layers = neuron_norms(path)
    sound = np.flatnonzero(np.all(np.isfinite(norms), axis=1))
    if not sound.size:
        return "No norm of a neuron is finite."
    first, last = norms[sound[0]], norms[sound[-1]]
    grown = last / np.where(first > 0, first, np.nan)
    growth = np.nanmedian(grown) if np.isfinite(grown).any() else np.nan
    ratio = last.max() / np.median(last) if np.median(last) > 0 else np.inf
    amount, depth = count(norms.shape[1], "hidden neuron"), count(len(set(layers.tolist())), "layer")
    before, after = count(neurons_holding(first), "neuron"), neurons_holding(last)
    return (
        f"Of {amount} in {depth} the largest ends at {number(ratio)} times the median norm; half of the sum "
        f"of squared norms is held by {count(after, 'neuron')} (at the start by {before}), and "
        f"the median neuron's norm changed by a factor of {number(growth)}."
    )


def plane_reading(series: Sequence[Series], plane: Plane) -> str:
    """How much the plane shows, and how far apart the members end."""
    text = (
        f"The plane shows {number(100 * float(plane.shares.sum()))} % of the variance of the saved weights."
    )
    main = [item for item in series if item.main and not item.broken]
    if len(main) < 2:
        return text
    ends = np.array([item.path.thetas[-1] for item in main])
    size = float(np.median(np.linalg.norm(ends, axis=1)))
    gaps = np.array([np.linalg.norm(a - b) for i, a in enumerate(ends) for b in ends[i + 1 :]])
    places = _places(ends, SAME_PLACE * size)
    gap = (
        f"{number(gaps.min() / size)} to {number(gaps.max() / size)}"
        if len(gaps) > 1
        else number(gaps[0] / size)
    )
    return (
        f"{text} The {len(main)} members of {main[0].rule_name} end in {count(places, 'different place')}, "
        f"{gap} times ‖θ‖ apart."
    )


def member_reading(series: Sequence[Series]) -> str:
    """Best, worst and typical last loss of the main rule, and how many members broke down."""
    main = [item for item in series if item.main]
    lasts = np.array([_last(item.path) for item in main if not item.broken])
    lasts = lasts[np.isfinite(lasts)]
    broken = sum(item.broken for item in series)
    text = f"{count(broken, 'path')} broke down. " if broken else ""
    if not lasts.size:
        return text + "No member of the main rule ended with a finite loss."
    if lasts.size == 1:
        return text + f"The loss ends at {number(lasts[0])}."
    spread = f", a factor of {number(lasts.max() / lasts.min())}" if lasts.min() > 0 else ""
    return (
        f"{text}Last losses of {main[0].rule_name} lie between {number(lasts.min())} and "
        f"{number(lasts.max())}{spread}; the median is {number(float(np.median(lasts)))}."
    )


def _last(path: Path) -> float:
    finite = path.losses[np.isfinite(path.losses)]
    return float(finite[-1]) if finite.size else float("nan")


def _places(ends: np.ndarray, near: float) -> int:
    """How many groups of ends there are, two belonging together if they are closer than `near`."""
    centres: list[np.ndarray] = []
    for end in ends:
        if not any(np.linalg.norm(end - centre) <= near for centre in centres):
            centres.append(end)
    return len(centres)
