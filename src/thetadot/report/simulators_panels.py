"""Figures of the lens simulators, from what the store keeps of it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Chart, Dots, Level, Line
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names


def simulators_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Energies, learning times, the first layer, growth, noise, roll-outs, p-values; those there are."""
    yield from _energies(found)
    yield from _times(found)
    yield from _first_layer(found)
    yield from _growth(found)
    yield from _noise(found)
    yield from _rollouts(found)
    yield from _p_values(found)


def _chart(title: str, x: str, y: str, shown: Sequence[Found], **more) -> Chart:
    series = [one.series for one in shown]
    return Chart(title, x, y, colours=rule_names(series), dashes=member_names(series), **more)


def _array(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return np.asarray(values, float)


def _shown(found: Sequence[Found], name: str) -> tuple[list[Found], list[Found]]:
    known = with_data(found, name, drawn=False)
    return known, [one for one in known if one.drawn]


def _energies(found: Sequence[Found]) -> Iterator[Panel]:
    known, _ = _shown(found, "energy")
    if not known:
        return
    first = known[-1]  # the data are those of every path
    energies, rank = _array(first, "energy"), int(first.attributes.get("rank", 0))
    texts = tuple(f"direction {k + 1}: {number(c)}" for k, c in enumerate(energies[:rank].tolist()))
    dots = Dots(np.arange(1.0, rank + 1), energies[:rank], texts, "end", first.series.rule)
    without = len(energies) - rank
    reading = f"{rank} of {count(len(energies), 'direction')} carry energy"
    reading += f"; {without} can never be learned from these data." if without else "."
    method = (
        "Mean square of the inputs along each principal direction, uncentred, largest first. Gradient descent learns a "
        "direction at a rate in proportion to its energy, and never one without."
    )
    chart = _chart(
        "Energy of the data", "direction", "energy (input units²)", [first], dots=(dots,), whole_x=True, log_y=rank > 0,
    )  # fmt: skip
    yield Panel("energies", chart, reading, method)


def _times(found: Sequence[Found]) -> Iterator[Panel]:
    for unit in ("steps", "time"):
        known = _first_of_each_rule(
            one
            for one in with_data(found, "learning_time", drawn=False)
            if one.attributes.get("learning_time_unit") == unit
        )
        shown = [one for one in known if one.drawn]
        if not shown:
            continue
        dots = []
        for one in shown:
            energies, times = _array(one, "energy"), _array(one, "learning_time")
            kept = np.isfinite(times)
            texts = tuple(
                f"{one.series.name}: half learned after {number(t)} {unit}" for t in times[kept].tolist()
            )
            dots.append(Dots(energies[kept], times[kept], texts, "end", one.series.rule))
        slowest = [_largest_finite(_array(one, "learning_time")) for one in known]
        chart = _chart(
            "How long each direction takes", "energy of the direction (input units²)",
            f"until half of the error is gone ({unit})", shown, log_x=True, log_y=True, dots=tuple(dots),
        )  # fmt: skip
        method = "From the closed form of one linear layer; directions without energy take for ever and are not shown."
        yield Panel(
            f"learning-times-{unit}", chart, spread(known, "The slowest takes", slowest, unit), method
        )


def _first_of_each_rule(found: Iterable[Found]) -> list[Found]:
    """What depends on the data and the rule alone is the same for every member."""
    return list({one.series.rule: one for one in reversed(list(found))}.values())


def _largest_finite(values: np.ndarray) -> float:
    return float(np.max(values, where=np.isfinite(values), initial=0.0))


def _first_layer(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one
        for one in with_data(found, "unlearned_change", drawn=False)
        if int(one.attributes.get("rank", 0)) < int(one.attributes.get("size", 0))
    ]
    shown = [one for one in known if one.drawn]
    if not shown:
        return
    lines: list[Line] = []
    for one in shown:
        at = _array(one, "saved_time")
        lines.append(one.line(at, _array(one, "learned_change"), "along the data"))
        lines.append(one.line(at, _array(one, "unlearned_change"), "off the data", opacity=0.5, weight=1.2))
    lasts = [float(_array(one, "unlearned_change")[-1]) for one in known]
    method = (
        "Change of the first layer's weights on the directions of the data and on those without energy, relative to "
        "its first norm. The second is 0 up to rounding under gradient flow, gradient descent and heavy ball, whatever "
        "the rest of the network; Adam and weight decay move it. Pale lines are off the data."
    )
    chart = _chart(
        "What the first layer learned, and what it kept", TIME_LABEL, "‖ΔW₁‖ / ‖W₁(0)‖", shown, lines=tuple(lines),
        log_x=suits_log_time([line.x for line in lines]), log_y=suits_logarithm([line.y for line in lines]),
    )  # fmt: skip
    yield Panel("first-layer", chart, spread(known, "Moved off the data", lasts), method)


def _growth(found: Sequence[Found]) -> Iterator[Panel]:
    for time, per in (("discrete", "1/step"), ("continuous", "1/time")):
        known = [
            one
            for one in with_data(found, "growth_off_data", drawn=False)
            if one.attributes.get("time") == time
        ]
        shown = [one for one in known if one.drawn]
        if not shown:
            continue
        lines: list[Line] = []
        for one in shown:
            for name, text, more in (("on", "on the data", {}), ("off", "off the data", {"opacity": 0.5})):
                rates = _array(one, f"growth_{name}_data")
                lines.append(one.line(np.arange(1, len(rates) + 1), rates, text, **more))
        worst = [float(_array(one, "growth_off_data").max()) for one in known]
        verdicts = [str(one.attributes.get("verdict")) for one in known]
        unstable = verdicts.count("unstable")
        reading = spread(known, "Largest rate off the data", worst, per.replace("1/", "per "))
        reading += f" {unstable} of {count(len(known), 'path')} unstable."
        method = (
            "Growth rate of small disturbances by the network's derivative at some samples, within the directions of "
            "the data and within those without energy, where it is left over from the initial weights (pale)."
        )
        chart = _chart(
            "Growth on the data and off them", "sample", f"growth rate ({per})", shown,
            lines=tuple(lines), whole_x=True, levels=(Level(0.0, "disturbances neither grow nor shrink", 5),),
        )  # fmt: skip
        yield Panel(f"growth-{time}", chart, reading, method)


def _noise(found: Sequence[Found]) -> Iterator[Panel]:
    known, shown = _shown(found, "noise_growth")
    lines = [one.line(_array(one, "variance"), _array(one, "noise_growth")) for one in shown]
    if not lines:
        return
    each = _first_of_each_rule(known)
    bias = [float(_array(one, "noise_bias")[-1]) for one in each]
    largest = number(float(_array(known[0], "variance").max()))
    method = (
        "Growth rate of what training would end at with noise of each variance in the data "
        f"(setting {known[0].attributes.get('noise_setting')}). Noise damps, and pulls what was learned towards 0."
    )
    chart = _chart(
        "Noise as a remedy", "variance of the noise (input units²)", "growth rate", shown, lines=tuple(lines),
        levels=(Level(0.0, "stable below", 5),),
    )  # fmt: skip
    yield Panel("noise", chart, spread(each, f"Relative bias at a variance of {largest}", bias), method)


def _rollouts(found: Sequence[Found]) -> Iterator[Panel]:
    known, shown = _shown(found, "rollout_on_data")
    lines: list[Line] = []
    for one in shown:
        for name, text, more in (("on", "on the data", {}), ("off", "nudged off the data", {"opacity": 0.5})):
            if one.values(f"rollout_{name}_data") is not None:
                lines.append(
                    one.line(_array(one, "rollout_at"), _array(one, f"rollout_{name}_data"), text, **more)
                )
    if not lines:
        return
    ends = [float(_last(one) / max(_array(one, "rollout_on_data")[0], 1e-300)) for one in known]
    method = (
        "Norm of the state when the trained simulator is rolled out from the first sample, and from there with a small "
        "nudge into the directions without energy (pale). It may grow for a while although the simulator is stable."
    )
    unit = "step" if known[0].attributes.get("time") == "discrete" else "time of the simulator"
    chart = _chart(
        "Roll-outs", unit, "‖x‖ (input units)", shown, lines=tuple(lines),
        log_y=suits_logarithm([line.y for line in lines]),
    )  # fmt: skip
    yield Panel("rollouts", chart, spread(known, "Last norm over the first", ends), method)


def _last(one: Found) -> float:
    name = "rollout_off_data" if one.values("rollout_off_data") is not None else "rollout_on_data"
    return float(_array(one, name)[-1])


def _p_values(found: Sequence[Found]) -> Iterator[Panel]:
    known, shown = _shown(found, "p_value")
    lines = []
    for one in shown:
        values = np.sort(_array(one, "p_value"))
        lines.append(one.line(values, np.arange(1, len(values) + 1) / len(values)))
    if not lines:
        return
    diagonal = np.array([0.0, 1.0])
    lines.append(
        Line(
            diagonal, diagonal, "where the test has nothing to say", colour=shown[0].series.rule, opacity=0.35
        )
    )
    shares = [float(one.attributes.get("acceptance", np.nan)) for one in known]
    level = number(float(known[0].attributes.get("level", np.nan)))
    method = (
        "Share of held-back states with a p-value up to each value. Near the diagonal the members of the ensemble "
        "disagree there as little as they are known to; above it the predictions are not to be trusted."
    )
    chart = _chart("p-values of predictions", "p-value", "share of states", shown, lines=tuple(lines))
    yield Panel("p-values", chart, spread(known, f"Share accepted at level {level}", shares), method)
