"""Figures of the lens conservation, from what the store keeps of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Chart, Line
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names


def conservation_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Drift of the laws, the error that it proves, the identity of steps, the reduced flow; those there are."""
    yield from _drift(found)
    yield from _floor(found)
    yield from _steps(found)
    yield from _reduced(found)


def _chart(title: str, x: str, y: str, shown: Sequence[Found], lines: Sequence[Line], log_x: bool) -> Chart:
    series = [one.series for one in shown]
    return Chart(
        title, x, y, log_x, suits_logarithm([line.y for line in lines]), lines=tuple(lines),
        colours=rule_names(series), dashes=member_names(series),
    )  # fmt: skip


def _array(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return values


def _largest(one: Found, name: str) -> np.ndarray:
    """The largest |value| over the laws, in each row."""
    return np.abs(_array(one, name)).max(axis=1, initial=0.0)


def _drift(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "relative_drift", drawn=False)
    shown = [one for one in known if one.drawn]
    lines = [one.line(_array(one, "time"), _largest(one, "relative_drift")) for one in shown]
    if not lines:
        return
    laws = len(_array(known[0], "law"))
    worst = [float(np.nanmax(_largest(one, "relative_drift"), initial=0.0)) for one in known]
    held = sum(one.attributes.get("drift_status") == "CONSERVED" for one in known)
    reading = (
        f"{count(laws, 'law')} on {count(len(known), 'path')}, conserved to tolerance on {held}. "
        f"{spread(known, 'Largest drift', worst)}"
    )
    method = (
        "The law that drifts most at each saved time, relative to the largest sum of the absolute values of its terms. "
        "The exact gradient flow keeps every law; rounding alone gives about 10⁻¹⁵."
    )
    chart = _chart(
        "Drift of the conserved quantities", TIME_LABEL, "largest relative drift |h(t) − h(0)|", shown, lines,
        suits_log_time([line.x for line in lines]),
    )  # fmt: skip
    yield Panel("law-drift", chart, reading, method)


def _floor(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one
        for one in with_data(found, "error_floor", drawn=False)
        if one.series.path.info.get("kind") == "flow"
    ]
    shown = [one for one in known if one.drawn]
    lines = [one.line(_array(one, "time"), _array(one, "error_floor")) for one in shown]
    if not lines:
        return
    floors = [float(np.nanmax(_array(one, "error_floor"), initial=0.0)) for one in known]
    claimed = [one.series.path.accuracy.global_error for one in known]
    known_claims = [error for error in claimed if error is not None]
    reading = spread(known, "The drift proves an error of at least", floors, "in units of θ")
    if known_claims:
        reading += f" The solver's own estimate of its relative error is {number(max(known_claims), 2)}."
    method = (
        "A second opinion on the accuracy: the exact flow stays where the laws keep their first values, and the "
        "path is at least so far from there. It says nothing of errors along that set."
    )
    chart = _chart(
        "Least distance from the exact flow", TIME_LABEL, "least error of θ (units of θ)", shown, lines,
        suits_log_time([line.x for line in lines]),
    )  # fmt: skip
    yield Panel("error-floor", chart, reading, method)


def _steps(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "residual", drawn=False)
    shown = [one for one in known if one.drawn]
    relative = {id(one): _largest_relative(one) for one in known}
    lines = [one.line(_array(one, "step"), relative[id(one)]) for one in shown]
    if not lines:
        return
    worst = [float(np.nanmax(relative[id(one)], initial=0.0)) for one in known]
    method = (
        "Each step of gradient descent changes a quadratic law by exactly its value at the step. What is left over, "
        "relative to the law's terms, is rounding, or proves that a step was none of gradient descent."
    )
    chart = _chart("Identity of gradient steps", "step", "largest relative residual", shown, lines, False)
    yield Panel("law-steps", chart, spread(known, "Largest residual", worst), method)


def _largest_relative(one: Found) -> np.ndarray:
    scale = _array(one, "law_scale")
    return np.abs(_array(one, "residual") / np.where(scale > 0, scale, 1.0)).max(axis=1, initial=0.0)


def _reduced(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "reduced_error", drawn=False)
    shown = [one for one in known if one.drawn]
    lines = [one.line(_array(one, "reduced_time"), _array(one, "reduced_error")) for one in shown]
    if not lines:
        return
    worst = [float(np.nanmax(_array(one, "reduced_error"), initial=0.0)) for one in known]
    method = (
        "The flow of the lower-dimensional variable, followed on its own, against that of the whole network."
    )
    chart = _chart(
        "The reduced flow against full training", TIME_LABEL, "relative difference", shown, lines,
        suits_log_time([line.x for line in lines]),
    )  # fmt: skip
    yield Panel("reduced-flow", chart, spread(known, "Largest difference", worst), method)
