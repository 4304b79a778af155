"""The sharpness above which a learning rule cannot stay near a minimum."""

import re
from collections.abc import Mapping
from typing import Any

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number


def learning_rate(path: Path) -> float | None:
    """The constant learning rate of a descent; None for flows and for schedules."""
    value = _setting(path.info, "learning_rate")
    if value is None:
        value = _number_after("learning rate", path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return None
    return float(value)


def stability_bound(path: Path) -> tuple[float, str] | None:
    """Largest sharpness at which the rule is linearly stable at a minimum, and the formula with its numbers.

    Gradient descent with learning rate η: 2/η. With heavy-ball momentum β: 2(1 + β)/η; with Nesterov's:
    2(1 + β)/(η(1 + 2β)). Other rules, and schedules, have no such constant.

    Source: Cohen et al., "Gradient descent on neural networks typically occurs at the edge of stability",
    ICLR 2021, appendix B.
    """
    rate, kind = learning_rate(path), str(_setting(path.info, "rule") or path.info.get("method", "")).lower()
    if rate is None or path.info.get("kind") != "descent":
        return None
    momentum = _setting(path.info, "momentum")
    momentum = _number_after("momentum", path) if momentum is None else momentum
    beta = float(momentum) if isinstance(momentum, (int, float)) else 0.0
    if kind.replace("_", " ").replace("gradientdescent", "gradient descent").startswith("gradient descent"):
        return 2 / rate, f"2/η = {number(2 / rate)}"
    if "heavy" in kind:
        return 2 * (1 + beta) / rate, f"2(1 + β)/η = {number(2 * (1 + beta) / rate)}"
    if "nesterov" in kind:
        bound = 2 * (1 + beta) / (rate * (1 + 2 * beta))
        return bound, f"2(1 + β)/(η(1 + 2β)) = {number(bound)}"
    return None


def _number_after(words: str, path: Path) -> float | None:
    """The number that follows some words in the name of the method, as in "gradient descent, learning rate
    0.1"."""
    found = re.search(rf"\b{words} ([-+0-9.e]+)", str(path.info.get("method", "")))
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None


def _setting(info: Mapping[str, Any], name: str) -> Any:
    """A setting of a run, wherever its description keeps it."""
    if name in info:
        return info[name]
    for inner in ("settings", "rule"):
        if isinstance(info.get(inner), Mapping) and name in info[inner]:
            return info[inner][name]
    return None
