"""Figures of the lens stability, from what the store keeps of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Dots, Level, Line
from thetadot.report.charts import SHARPNESS, SHARPNESS_LABEL, spans_decades
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names

_UNITS = {"time": (TIME_LABEL, "1/time"), "step": ("steps", "1/step")}


def stability_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Exponents, distances of twins, sharpness, directness; those that the lens was asked for."""
    for unit in _UNITS:
        yield from _exponents(found, unit)
    for unit in _UNITS:
        yield from _twins(found, unit)
    yield from _finite_time(found)
    yield from _sharpness(found)
    yield from _drift(found)


def _of_unit(found: Sequence[Found], name: str, key: str, unit: str) -> list[Found]:
    return [one for one in with_data(found, name, drawn=False) if one.attributes.get(key) == unit]


def _chart(title: str, x: str, y: str, shown: Sequence[Found], lines: Sequence[Line], **more) -> Chart:
    series = [one.series for one in shown]
    return Chart(
        title, x, y, lines=tuple(lines), colours=rule_names(series), dashes=member_names(series), **more
    )


def _exponents(found: Sequence[Found], unit: str) -> Iterator[Panel]:
    known = _of_unit(found, "spectrum_history", "spectrum_unit", unit)
    shown = [one for one in known if one.drawn]
    lines = []
    for one in shown:
        lengths, history = one.values("spectrum_length"), one.values("spectrum_history")
        assert lengths is not None
        assert history is not None
        for k in range(history.shape[1]):
            text = f"exponent {k + 1}" if history.shape[1] > 1 else ""
            opacity = {} if k == 0 else {"opacity": 0.4}
            lines.append(one.line(lengths, history[:, k], text, **opacity))
    if not lines:
        return
    words, per = _UNITS[unit]
    leading = [float(np.max(_known(one, "spectrum_exponent_value"))) for one in known]
    reading = spread(known, "Leading exponent", leading, f"per {unit}")
    grown = sum(value > 0 for value in leading)
    reading += f" A small nudge grows on {grown} of {len(leading)} paths, at this rate on average."
    method = (
        "Mean growth rate of a nudge to the weights from the start to each length, by the QR method; it settles where "
        "the average is long enough. Above 0 nudges grow, below they die out."
    )
    kind = "gradient flow" if unit == "time" else "learning rules"
    levels = (Level(0.0, "nudges neither grow nor shrink", 5),)
    chart = _chart(
        f"Lyapunov exponents of {kind}", f"averaged over {words}", f"running exponent ({per})", shown, lines,
        levels=levels,
    )  # fmt: skip
    yield Panel(f"exponents-{unit}", chart, reading, method)


def _twins(found: Sequence[Found], unit: str) -> Iterator[Panel]:
    known = _of_unit(found, "orbital_mean_distance", "orbital_unit", unit)
    shown = [one for one in known if one.drawn]
    lines = [
        one.line(_known(one, "orbital_step"), _known(one, "orbital_mean_distance") / _initial(one))
        for one in shown
    ]
    if not lines:
        return
    ratios = [float(_known(one, "orbital_mean_distance")[-1]) / _initial(one) for one in known]
    words = _UNITS[unit][0]
    norm = known[0].attributes.get("orbital_norm")
    amplitude = known[0].attributes.get("orbital_amplitude")
    method = (
        f"The run beside twins whose weights were nudged by at most {number(amplitude)} each: mean distance in the "
        f"{norm}-norm over that at the start. Straight lines on this axis are exponential growth."
    )
    chart = _chart(
        "Distance of nudged twins", words, "distance / first distance", shown, lines,
        log_y=suits_logarithm([line.y for line in lines]),
    )  # fmt: skip
    yield Panel(
        f"twins-{unit}",
        chart,
        spread(known, "Growth of the distance by the end, as a factor", ratios),
        method,
    )


def _initial(one: Found) -> float:
    return float(one.attributes.get("orbital_initial_distance", np.nan))


def _known(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return values


def _finite_time(found: Sequence[Found]) -> Iterator[Panel]:
    suffix = "_finite_time_exponent"
    names = dict.fromkeys(
        str(name) for one in found if one.data is not None for name in one.data if str(name).endswith(suffix)
    )
    for name in names:
        stem = name.removesuffix(suffix)
        for unit, (words, per) in _UNITS.items():
            known = _of_unit(found, name, f"{stem}_unit", unit)
            shown = [one for one in known if one.drawn]
            if not shown:
                continue
            rules = rule_names(one.series for one in shown)
            dots = []
            for one in shown:
                values = _known(one, name)
                place = np.arange(1, len(values) + 1) + 0.12 * (
                    list(rules).index(one.series.rule) - (len(rules) - 1) / 2
                )
                texts = tuple(
                    f"exponent {k + 1}, {one.series.name}: {number(v)}" for k, v in enumerate(values)
                )
                dots.append(Dots(place, values, texts, "end", one.series.rule))
            window = known[0].attributes.get(f"{stem}_window")
            chart = Chart(
                f"Exponents of the first {number(window)} {words.partition(' ')[0]}", "number of the exponent",
                f"finite-time exponent ({per})", whole_x=True, dots=tuple(dots), colours=rules,
                levels=(Level(0.0, "nudges neither grow nor shrink", 5),),
            )  # fmt: skip
            firsts = [float(np.max(_known(one, name))) for one in known]
            method = "How fast nudges grow at first, in the directions that grow fastest; one dot per member."
            yield Panel(
                f"{stem.replace('_', '-').replace('.', '-')}-{unit}", chart,
                spread(known, "Largest", firsts, f"per {unit}"), method,
            )  # fmt: skip


def _sharpness(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one
        for one in with_data(found, "sharpness_sharpness", drawn=False)
        if SHARPNESS not in one.series.path.observed
    ]
    shown = [one for one in known if one.drawn]
    lines = [
        one.line(_known(one, "sharpness_step"), _known(one, "sharpness_sharpness")[:, 0]) for one in shown
    ]
    if not lines:
        return
    lasts = [float(_known(one, "sharpness_sharpness")[-1, 0]) for one in known]
    values = [line.y for line in lines]
    chart = _chart(
        "Sharpness along the run", TIME_LABEL, SHARPNESS_LABEL, shown, lines,
        log_x=suits_log_time([line.x for line in lines]), log_y=suits_logarithm(values) and spans_decades(values),
    )  # fmt: skip
    method = "The largest eigenvalue of the Hessian at a few saved rows."
    yield Panel("sharpness-track", chart, spread(known, "Sharpness at the end", lasts), method)


def _drift(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "drift_displacement", drawn=False)
    shown = [one for one in known if one.drawn]
    lines = [
        one.line(
            _known(one, "drift_path_length"), _known(one, "drift_displacement"), runaway=one.series.broken
        )
        for one in shown
    ]
    if not lines:
        return
    direct = [float(one.attributes.get("drift_directness", np.nan)) for one in known]
    method = (
        "Distance from the start, over the norm of the start, against the length of the way there. A straight line "
        "is directed motion; a random walk bends like a square root."
    )
    chart = _chart(
        "How straight the way is",
        "length of the way (units of θ)",
        "distance from the start / ‖θ₀‖",
        shown,
        lines,
    )
    reading = spread(known, "Directness (distance at the end over length of the way)", direct)
    yield Panel("straightness", chart, reading, method)
