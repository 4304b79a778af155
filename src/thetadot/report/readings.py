"""What each figure over time says for this run, in one computed sentence."""

from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.report.charts import SHARPNESS
from thetadot.report.distance import Distance
from thetadot.report.plateaus import plateaus
from thetadot.report.series import Series
from thetadot.report.stability_bound import stability_bound

NEAR_BOUND = 0.1


def loss_reading(series: Sequence[Series]) -> str:
    """How far the loss fell, when half of the fall was done, and where it stood still."""
    main = [item for item in series if item.main and np.isfinite(item.path.losses).any()]
    if not main:
        return "No loss was recorded."
    firsts = [_finite(item.path.losses)[0] for item in main]
    lasts = [_finite(item.path.losses)[-1] for item in main]
    text = f"The loss went from {_middle(firsts)} to {_middle(lasts)}{_over(main)}"
    halves = [half_time(item.path) for item in main]
    known = [half for half in halves if half is not None]
    if known:
        text += f"; half of the fall was done by t = {_middle(known)}"
    return f"{text}. {_plateau_sentence(main)}"


def half_time(path: Path) -> float | None:
    """The first saved time at which half of the whole fall of the loss is done; None if the loss did not
    fall."""
    usable = np.isfinite(path.losses) & np.isfinite(path.ts)
    ts, losses = path.ts[usable], path.losses[usable]
    if ts.size < 2 or not losses[0] > losses.min():
        return None
    return float(ts[np.argmax(losses <= (losses[0] + losses.min()) / 2)])


def _plateau_sentence(main: Sequence[Series]) -> str:
    flows = [item for item in main if item.path.info.get("kind") != "descent"]
    if not flows:
        return "Plateaus are not looked for in descents."
    found = [(item, plateau) for item in flows for plateau in plateaus(item.path)]
    if not found:
        return "There is no plateau: the gradient norm nowhere fell and then doubled again."
    item, longest = max(
        found, key=lambda pair: np.log(pair[1].stop / max(pair[1].start, first_time(pair[0].path)))
    )
    whose = f" (member {item.member})" if len(flows) > 1 else ""
    return (
        f"It passed {count(len(found), 'plateau')}{' in all' if len(flows) > 1 else ''}, "
        f"{'the longest ' if len(found) > 1 else ''}from "
        f"t = {number(longest.start)} to {number(longest.stop)} at loss {number(longest.level)}{whose}."
    )


def first_time(path: Path) -> float:
    """The first saved time after 0, where a logarithmic axis begins."""
    positive = path.ts[path.ts > 0]
    return float(positive[0]) if positive.size else 1.0


def gradient_reading(series: Sequence[Series]) -> str:
    """By how many powers of ten the gradient norm fell from its largest value, and how fast it falls at the
    end."""
    main = [item for item in series if item.main and _positive(item.path.grad_norms).size]
    if not main:
        return "No gradient norm was recorded."
    peaks = [float(_positive(item.path.grad_norms).max()) for item in main]
    lasts = [float(_positive(item.path.grad_norms)[-1]) for item in main]
    decades = float(np.median(np.log10(np.array(peaks) / np.array(lasts))))
    text = (
        f"The gradient norm fell from its largest value {_middle(peaks)} to {_middle(lasts)}, by "
        f"{number(decades, 2)} powers of ten{_over(main)}"
    )
    slopes = [slope for item in main if (slope := last_slope(item.path)) is not None]
    if slopes:
        power = number(float(np.median(slopes)), 2)
        text += f"; over the last decade of time it goes like t to the power {power}"
    return text + "."


def last_slope(path: Path) -> float | None:
    """Slope of log ‖∇L‖ against log t over the last decade of time; None with fewer than five rows there."""
    usable = (path.ts > 0) & np.isfinite(path.grad_norms) & (path.grad_norms > 0)
    ts, norms = path.ts[usable], path.grad_norms[usable]
    if ts.size < 5 or (ts >= ts[-1] / 10).sum() < 5 or ts[-1] < 10 * ts[0]:
        return None
    late = ts >= ts[-1] / 10
    return float(np.polyfit(np.log(ts[late]), np.log(norms[late]), 1)[0])


def sharpness_reading(series: Sequence[Series]) -> str:
    """Where the sharpness went along the main rule, and on which side of its bound each descent ended."""
    parts = []
    main = [item for item in series if item.main and _finite(_sharpness(item.path)).size]
    if main:
        firsts = [float(_finite(_sharpness(item.path))[0]) for item in main]
        peaks = [float(_finite(_sharpness(item.path)).max()) for item in main]
        lasts = [float(_finite(_sharpness(item.path))[-1]) for item in main]
        parts.append(
            f"Along {main[0].rule_name} the sharpness went from {_middle(firsts)} to {_middle(lasts)}, "
            f"at most {number(max(peaks))}{_over(main)}."
        )
    for rule in sorted({item.rule for item in series}):
        members = [item for item in series if item.rule == rule]
        sentence = _bound_sentence(members)
        if sentence:
            parts.append(sentence)
    return " ".join(parts) or "No sharpness was observed."


def _bound_sentence(members: Sequence[Series]) -> str:
    """How the late sharpness of one rule's members compares with the rule's stability bound."""
    bound = stability_bound(members[0].path)
    late = [values for item in members if (values := _late(_sharpness(item.path))).size]
    if bound is None or not late:
        return ""
    ratios = np.array([np.median(values) for values in late]) / bound[0]
    peak = max(float(_finite(_sharpness(item.path)).max(initial=-np.inf)) for item in members) / bound[0]
    name, share = members[0].rule_name, f"{number(100 * float(np.median(ratios)), 3)} %"
    broken = sum(item.broken for item in members)
    if broken:
        return f"With {name} {count(broken, 'member')} broke down; the bound is {bound[1]}."
    if np.all(np.abs(ratios - 1) <= NEAR_BOUND):
        where = "at the edge of stability"
    elif np.all(ratios < 1 - NEAR_BOUND):
        where = "below its bound"
    elif np.all(ratios > 1 + NEAR_BOUND):
        where = "above its bound"
    else:
        where = "on different sides of its bound"
    return (
        f"With {name} it ended {where}: {share} of {bound[1]} over the last half of the rows, "
        f"{number(100 * peak, 3)} % at most."
    )


def distance_reading(compared: Sequence[tuple[Series, Distance]]) -> str:
    """How far each descent strayed from the flow, and until when it stayed within one per cent."""
    parts = []
    for rule in sorted({item.rule for item, _ in compared}):
        of_rule = [(item, distance) for item, distance in compared if item.rule == rule]
        largest = max(float(_finite(distance.relative).max(initial=0.0)) for _, distance in of_rule)
        ends = [departure for _, distance in of_rule if (departure := _departure(distance)) is not None]
        text = f"{of_rule[0][0].rule_name} strays from the flow by at most {_share(largest)} ‖θ‖"
        if not ends:
            text += ", within 1 % all along"
        elif min(ends) > 0:
            text += f"; it stays within 1 % until t = {number(min(ends))}"
        else:
            text += ", more than 1 % from its first row on"
        parts.append(text[0].upper() + text[1:] + ".")
    return " ".join(parts)


def _share(part: float) -> str:
    return f"{number(100 * part)} % of" if part < 1 else f"{number(part)} times"


def _departure(distance: Distance) -> float | None:
    """The last saved time up to which the distance stays within 1 %; None if it always does, 0 if it never
    does."""
    beyond = np.flatnonzero(~(distance.relative <= 0.01))
    if not beyond.size:
        return None
    return float(distance.ts[beyond[0] - 1]) if beyond[0] else 0.0


def observed_reading(series: Sequence[Series], name: str) -> str:
    """Range of an observable along the main rule."""
    main = [item for item in series if name in item.path.observed and item.main]
    main = main or [item for item in series if name in item.path.observed]
    values = [np.asarray(item.path.observed[name], float) for item in main]
    firsts = _finite(np.concatenate([part[:1].ravel() for part in values]))
    lasts = _finite(np.concatenate([part[-1:].ravel() for part in values]))
    if not firsts.size or not lasts.size:
        return f"{name.replace('_', ' ')} was not finite."
    return f"{name.replace('_', ' ')} began {_place(firsts)} and ended {_place(lasts)}."


def _place(values: np.ndarray) -> str:
    if values.size == 1:
        return f"at {number(values[0])}"
    return f"between {number(values.min())} and {number(values.max())}"


def _sharpness(path: Path) -> np.ndarray:
    return np.asarray(path.observed.get(SHARPNESS, np.zeros(0)), float)


def _late(values: np.ndarray) -> np.ndarray:
    return _finite(values[len(values) // 2 :])


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _positive(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values) & (values > 0)]


def _middle(values: Sequence[float]) -> str:
    return number(float(np.median(values)))


def _over(members: Sequence[Series]) -> str:
    return f" (median of {len(members)} members)" if len(members) > 1 else ""
