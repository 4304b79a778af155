"""Figures of the lens saddles, from what the store keeps of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Chart, Dots, Line
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.panels import Panel
from thetadot.report.series import member_names, rule_names

_SCALE = "scale δ of the start, ‖θ(0)‖"


def saddles_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """The walk, escape times and deviations against the scale, the index along the run; those there are."""
    yield from _walk(found)
    yield from _escapes(found)
    yield from _deviation(found)
    yield from _index(found)


def _chart(
    title: str,
    x: str,
    y: str,
    shown: Sequence[Found],
    lines: Sequence[Line],
    dots: Sequence[Dots] = (),
    **more,
) -> Chart:
    series = [one.series for one in shown]
    return Chart(
        title, x, y, lines=tuple(lines), dots=tuple(dots), colours=rule_names(series), dashes=member_names(series),
        **more,
    )  # fmt: skip


def _array(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return values


def _walk(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "escape_predicted", drawn=False)
    shown = [one for one in known if one.drawn]
    lines, dots, differences = [], [], []
    for one in known:
        predicted, measured = _array(one, "escape_predicted"), _array(one, "escape_measured")
        both = np.isfinite(predicted) & np.isfinite(measured)
        differences.append(
            float(np.max(np.abs(measured / predicted - 1)[both], initial=0.0)) if both.any() else np.nan
        )
    for one in shown:
        path, losses = one.series.path, _array(one, "loss")
        predicted, measured = _array(one, "escape_predicted"), _array(one, "escape_measured")
        escapes = np.where(np.isfinite(predicted), predicted, measured)[:-1]
        known_escapes = np.isfinite(escapes)
        lines.append(one.line(path.ts, path.losses, "run"))
        levels = 0.5 * (losses[:-1] + losses[1:])
        names = tuple(
            f"visit {place} is left, {one.series.name}: predicted at {number(predicted[place])}, measured at "
            f"{number(measured[place]) if np.isfinite(measured[place]) else '—'}"
            for place in np.flatnonzero(known_escapes)
        )
        dots.append(
            Dots(
                escapes[known_escapes],
                levels[known_escapes],
                names,
                "event",
                one.series.rule,
                one.series.member,
            )
        )
    if not lines:
        return
    visits = [len(_array(one, "loss")) for one in known]
    reading = (
        f"{spread(known, 'Critical points on the way, the origin and the end included', visits)} "
        f"{spread(known, 'Largest relative difference between predicted and measured escapes', differences)}"
    )
    method = (
        "Each mark is an escape: the time at which the loss falls through the mean of two successive visits, predicted "
        "without integrating the plateaus. Where theory covers the network the run falls through the marks."
    )
    chart = _chart(
        "The walk from saddle to saddle", TIME_LABEL, "loss", shown, lines, dots,
        log_x=suits_log_time([line.x for line in lines]), log_y=False,
    )  # fmt: skip
    yield Panel("walk", chart, reading, method)


def _escapes(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "escape_scale_predicted", drawn=False)
    shown = [one for one in known if one.drawn]
    lines, dots = [], []
    for one in shown:
        scales = np.asarray(one.data["scale"].values, float)
        measured = _array(one, "escape_scale_measured")
        order = np.argsort(scales)
        lines.append(one.line(scales[order], _array(one, "escape_scale_predicted")[order], "predicted"))
        names = tuple(
            f"measured at δ = {number(scale)}: {number(time)}"
            for scale, time in zip(scales, measured, strict=True)
        )
        dots.append(Dots(scales, measured, names, "end", one.series.rule, one.series.member))
    if not lines:
        return
    gaps = [
        float(
            np.nanmax(
                np.abs(_array(one, "escape_scale_measured") / _array(one, "escape_scale_predicted") - 1),
                initial=0.0,
            )
        )
        for one in known
    ]
    method = (
        "Time at which small starts in the direction of the run reach half the norm of the first saddle: the clock of "
        "the correlation flow (curve) and integration (marks). At degree L > 2 it grows like δ^−(L−2), at 2 like "
        "ln(1/δ)."
    )
    chart = _chart(
        "Escape time against the scale", _SCALE, "escape time (units of the loss gradient)", shown, lines, dots,
        log_x=True, log_y=suits_logarithm([line.y for line in lines]),
    )  # fmt: skip
    yield Panel("escapes", chart, spread(known, "Largest relative difference", gaps), method)


def _deviation(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "path_deviation", drawn=False)
    shown = [one for one in known if one.drawn]
    lines = [
        one.line(
            np.asarray(one.data["deviation_scale"].values, float)[::-1], _array(one, "path_deviation")[::-1]
        )
        for one in shown
    ]
    if not lines:
        return
    falling = sum(bool(np.all(np.diff(_array(one, "path_deviation")) < 0)) for one in known)
    reading = f"Deviations fall with the scale on {falling} of {count(len(known), 'path')}."
    method = (
        "Largest distance from the one path that all small starts share, up to its clock 0. Where it falls the theory "
        "of small starts applies; where it does not, the scale is not small."
    )
    chart = _chart(
        "Distance from the limiting path", _SCALE, "largest ‖θ(T + t) − p(t)‖", shown, lines, log_x=True,
        log_y=suits_logarithm([line.y for line in lines]),
    )  # fmt: skip
    yield Panel("deviation", chart, reading, method)


def _index(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one for one in with_data(found, "index_along", drawn=False) if len(_array(one, "index_along")) > 1
    ]
    shown = [one for one in known if one.drawn]
    dots, lines = [], []
    for one in shown:
        times, counts = (np.asarray(_array(one, name), float) for name in ("index_time", "index_along"))
        names = tuple(
            f"{one.series.name}: {number(value)} at t = {number(at)}"
            for at, value in zip(times, counts, strict=True)
        )
        dots.append(Dots(times, counts, names, "end", one.series.rule, one.series.member))
        lines.append(one.line(times, counts, opacity=0.25))
    if not lines:
        return
    ends = [[float(_array(one, "index_along")[place]) for one in known] for place in (0, -1)]
    reading = (
        f"{spread(known, 'Negative curvatures at the start', ends[0])} {spread(known, 'At the end', ends[1])}"
    )
    method = (
        "Eigenvalues of the Hessian below −10⁻⁶ of the largest, counted at the marked rows: directions in which the "
        "loss bends down. At a minimum there is none left."
    )
    chart = _chart(
        "Directions of negative curvature along the run", TIME_LABEL, "negative eigenvalues of the Hessian", shown,
        lines, dots,
    )  # fmt: skip
    yield Panel("index", chart, reading, method)
