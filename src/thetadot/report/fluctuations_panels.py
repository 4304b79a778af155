"""Figures of the lens fluctuations, from what the store keeps of it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Band, Chart, Dots, Level, Line
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names


def fluctuations_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Variance against curvature, simulation over theory, variance against width; those there are."""
    yield from _curvature(found)
    yield from _ratio(found)
    yield from _width(found)


def _array(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return values


def _number(one: Found, name: str) -> float:
    """An attribute; the store keeps NaN as a word."""
    return float(one.attributes.get(name, np.nan))


def _simulated(one: Found) -> np.ndarray | None:
    """Variances along the directions, as simulated."""
    values = one.values("simulation_covariance")
    return None if values is None else np.diag(values)


def _chart(title: str, x: str, y: str, shown: Sequence[Found], logs: bool, **more: Any) -> Chart:
    series = [one.series for one in shown]
    return Chart(title, x, y, logs, logs, colours=rule_names(series), dashes=member_names(series), **more)


def _dots(one: Found, x: np.ndarray, y: np.ndarray, text: str, shape: str = "end") -> Dots:
    names = tuple(f"{text}, direction {k + 1}, {one.series.name}: {number(v)}" for k, v in enumerate(y))
    return Dots(x, y, names, shape, one.series.rule)


def _curvature(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "predicted_variance", drawn=False)
    shown = [one for one in known if one.drawn]
    dots = []
    for one in shown:
        curvatures, simulated = _array(one, "direction_curvature"), _simulated(one)
        dots.append(_dots(one, curvatures, _array(one, "predicted_variance"), "predicted", "start"))
        if simulated is not None:
            dots.append(_dots(one, curvatures, simulated, "simulated"))
    if not dots:
        return
    defects = [_number(one, "balance_defect") for one in known]
    rates = [_number(one, "entropy_production") for one in known]
    settled = sum(one.attributes.get("theory_status") != "non_stationary" for one in known)
    bound = any(one.attributes.get("entropy_production_is_lower_bound") for one in known)
    parts = [
        f"Theory has a stationary state on {settled} of {count(len(known), 'path')}.",
        spread(known, "Detailed balance is broken by", defects),
        spread(known, f"Entropy production{', at least' if bound else ''}", rates, "per unit of time"),
    ]
    reading = " ".join(filter(None, parts))
    method = (
        "Curvature and gradient noise at the end of the run give the variance of the weights under SGD along each "
        "Hessian eigenvector (rings); dots are a simulated ensemble. Where the noise is proportional to the curvature, "
        "all variances are equal. The measure of broken balance is ‖HD − DH‖/‖HD‖."
    )
    chart = _chart(
        "Variance of the weights and curvature", "curvature (loss/weight²)", "variance (weight²)", shown, True,
        dots=tuple(dots),
    )  # fmt: skip
    yield Panel("variance-curvature", chart, reading, method)


def _ratio(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one
        for one in with_data(found, "simulation_covariance", drawn=False)
        if np.isfinite(_array(one, "predicted_variance")).any()
    ]
    shown = [one for one in known if one.drawn]
    if not shown:
        return
    dots, bands = [], {}
    for one in shown:
        predicted, relaxed = _array(one, "predicted_variance"), _array(one, "relaxed").astype(bool)
        settled = relaxed & (predicted > 0)
        place = 1.0 + np.flatnonzero(settled)
        ratio = np.diag(_array(one, "simulation_covariance"))[settled] / predicted[settled]
        error = 2 * np.diag(_array(one, "simulation_standard_error"))[settled] / predicted[settled]
        dots.append(_dots(one, place, ratio, "simulated over predicted"))
        name = f"two standard errors, {one.series.name}"
        bands.setdefault(one.series.rule, Band(place, ratio - error, ratio + error, name, one.series.rule))
    off = [_number(one, "prediction_error") for one in known]
    reading = spread(known, "Median error of the predicted variance", off)
    method = (
        "One dot per Hessian eigenvector that had time to settle, sharpest first; the band is two standard errors of "
        "the simulation (of one member). Dots on 1 mean that curvature and gradient noise explain the fluctuations."
    )
    chart = _chart(
        "Simulated over predicted variance", "Hessian eigenvector", "simulated / predicted variance", shown, False,
        dots=tuple(dots), bands=tuple(bands.values()), whole_x=True, levels=(Level(1.0, "theory", 5),),
    )  # fmt: skip
    yield Panel("theory-simulation", chart, reading, method)


def _width(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "fit_width", drawn=False)
    shown = [one for one in known if one.drawn]
    dots = [_dots(one, _array(one, "fit_width"), _array(one, "fit_variance"), "variance") for one in shown]
    if not dots:
        return
    lines = [line for one in shown if (line := _power(one)) is not None]
    reading = _said(known[0]) if len(known) == 1 else _said_of_all(known)
    method = (
        "Distance along each eigenvector over which the loss rises by the factor asked for, both sides together, "
        "against the variance. Falling: flat directions vary less (ψ > 0). The exponent is the median of all slopes; "
        "it is not fitted to few directions or a short span."
    )
    chart = _chart(
        "Variance and width of the valley", "width (weight)", "variance (weight²)", shown, True,
        dots=tuple(dots), lines=tuple(lines),
    )  # fmt: skip
    yield Panel("variance-width", chart, reading, method)


def _power(one: Found) -> Line | None:
    """The fitted power over the widths; None where there is none."""
    exponent, height = _number(one, "fit_exponent"), _number(one, "fit_intercept")
    widths = _array(one, "fit_width")
    if not np.isfinite(exponent) or not widths.size:
        return None
    ends = np.array([widths.min(), widths.max()])
    return one.line(ends, np.exp(height) * ends**-exponent, f"ψ = {number(exponent)}")


def _said(one: Found) -> str:
    """The fit of one path in a sentence."""
    points = count(int(_number(one, "fit_points")), "direction")
    words = f"Widths span {number(_number(one, 'fit_decades'))} decades over {points}"
    if one.attributes.get("fit_status") != "fitted":
        return f"{words}: not enough to fit an exponent."
    low, high = _number(one, "fit_interval_low"), _number(one, "fit_interval_high")
    return f"{words}: ψ = {number(_number(one, 'fit_exponent'))} [{number(low)}, {number(high)}]."


def _said_of_all(known: Sequence[Found]) -> str:
    """The fits of several paths."""
    fitted = [one for one in known if one.attributes.get("fit_status") == "fitted"]
    exponents = spread(fitted, "ψ", [_number(one, "fit_exponent") for one in fitted])
    within = sum(_number(one, "fit_interval_low") <= 0 <= _number(one, "fit_interval_high") for one in fitted)
    parts = [
        f"An exponent is fitted on {len(fitted)} of {count(len(known), 'path')}.",
        exponents,
        f"Its interval holds 0 on {within} of them." if fitted else "",
        spread(known, "Widths span", [_number(one, "fit_decades") for one in known], "decades"),
    ]
    return " ".join(filter(None, parts))
