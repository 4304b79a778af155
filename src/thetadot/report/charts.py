"""The figures over time: loss, gradient norm, sharpness, distance from the flow, other observables."""

from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.figures import GRADIENT_LABEL, LOSS_LABEL
from thetadot.dynamics.palette import RULES
from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Dots, Level, Line
from thetadot.report.distance import Distance
from thetadot.report.neurons import neuron_norms
from thetadot.report.plateaus import plateaus
from thetadot.report.series import FigureError, Series, member_names, rule_names
from thetadot.report.stability_bound import stability_bound

SHARPNESS = "sharpness"
SHARPNESS_LABEL = "sharpness λmax(∇²L) (1/time)"
_MOST_EVENTS = 60
_MOST_COMPONENTS = 96


def loss_chart(series: Sequence[Series]) -> Chart:
    """Loss against time, with events, plateaus (broad strokes) and how each path ended."""
    broad = tuple(
        Line(
            item.path.ts[plateau.first : plateau.last + 1],
            item.path.losses[plateau.first : plateau.last + 1],
            f"plateau of {item.name}",
            item.rule,
            item.member,
            weight=9.0,
            opacity=0.22,
        )
        for item in series
        for plateau in plateaus(item.path)
    )
    return _over_time(
        "Loss", LOSS_LABEL, series, [item.path.losses for item in series], before=broad, always_log=True
    )


def gradient_chart(series: Sequence[Series]) -> Chart:
    """Gradient norm against time."""
    return _over_time(
        "Gradient norm", GRADIENT_LABEL, series, [item.path.grad_norms for item in series], always_log=True
    )


def sharpness_chart(series: Sequence[Series]) -> Chart:
    """Largest Hessian eigenvalue against time, with the bound of each learning rule that has one.

    Raises:
        FigureError: no path observed the sharpness.
    """
    chart = observed_chart(series, SHARPNESS)
    bounds: dict[tuple[int, float], str] = {}
    for item in series:
        bound = stability_bound(item.path)
        if bound is not None and SHARPNESS in item.path.observed:
            bounds[item.rule, bound[0]] = bound[1]
    levels = tuple(Level(value, name, rule) for (rule, value), name in bounds.items())
    values = [line.y for line in chart.lines if not line.runaway] + [
        np.array([level.value for level in levels])
    ]
    log_y = suits_logarithm(values) and spans_decades(values)
    return chart.altered(title="Sharpness", y_label=SHARPNESS_LABEL, levels=levels, log_y=log_y)


def observed_chart(series: Sequence[Series], name: str) -> Chart:
    """An observable against time; one with several components gets a line for each, under the first rule that
    observed it.

    Raises:
        FigureError: no path observed it.
    """
    watched = [item for item in series if name in item.path.observed]
    if not watched:
        seen = ", ".join(sorted({key for item in series for key in item.path.observed})) or "nothing"
        raise FigureError(f"no path observed {name!r}; observed: {seen}. Add it to observe= of the run")
    spoken = name.replace("_", " ")
    title = spoken[:1].upper() + spoken[1:]
    if all(np.asarray(item.path.observed[name]).ndim == 1 for item in watched):
        return _over_time(
            title, spoken, watched, [np.asarray(item.path.observed[name], float) for item in watched]
        )
    return _components(title, spoken, name, [item for item in watched if item.rule == watched[0].rule])


def _components(title: str, spoken: str, name: str, watched: Sequence[Series]) -> Chart:
    """A chart of an observable with several components: a colour for each if they are few, else thin lines of
    the first path alone."""
    amount = int(np.prod(np.shape(watched[0].path.observed[name])[1:]))
    few = amount <= len(RULES)
    shown = watched if few else watched[:1]
    labels = component_names(watched[0].path, name, amount)
    lines = []
    for item in shown:
        columns = np.asarray(item.path.observed[name], float).reshape(len(item.path.ts), amount)
        for k in _chosen_components(amount):
            text = f"{labels[k]}, {item.name}"
            weight, opacity, colour = (1.8, 1.0, k) if few else (1.0, 0.5, 0)
            lines.append(
                Line(item.path.ts, columns[:, k], text, colour, item.member, weight, opacity, item.broken)
            )
    values = [line.y for line in lines]
    log_x = suits_log_time([item.path.ts for item in shown])
    log_y = suits_logarithm(values) and spans_decades(values)
    return Chart(
        title, TIME_LABEL, spoken, log_x, log_y, lines=tuple(lines),
        colours=dict(enumerate(labels)) if few else {}, dashes=member_names(shown), scope="component",
    )  # fmt: skip


def component_names(path: Path, name: str, amount: int) -> list[str]:
    """Names of the components of an observable: the slices of θ for `layer_norms`, else their numbers."""
    if name == "layer_norms" and path.layout is not None and len(path.layout.shapes) == amount:
        return list(path.layout.shapes)
    return [f"component {k}" for k in range(amount)]


def distance_chart(compared: Sequence[tuple[Series, Distance]]) -> Chart:
    """Distance of each descent from the flow of the same member at equal time."""
    series = [item for item, _ in compared]
    chart = _over_time(
        "Distance from the flow",
        "relative distance of the weights",
        series,
        [distance.relative for _, distance in compared],
        times=[distance.ts for _, distance in compared],
        always_log=True,
    )
    floor = max((distance.interpolation for _, distance in compared), default=0.0)
    levels = (Level(floor, f"resolved above {number(floor, 2)}", 5),) if floor > 0 else ()
    return chart.altered(levels=levels)


def neuron_chart(path: Path) -> Chart:
    """Norm of the weights of every hidden neuron against time, coloured by layer, with each layer's median in
    bold."""
    norms, layers = neuron_norms(path)
    log_x, log_y = suits_log_time([path.ts]), suits_logarithm([norms]) and spans_decades([norms])
    numbers = sorted(set(layers.tolist()))
    lines = [
        Line(
            path.ts,
            norms[:, k],
            f"neuron {k} in order, layer {layers[k]}",
            numbers.index(layers[k]),
            0,
            1.0,
            0.5,
        )
        for k in _largest_spread(norms)
    ]
    lines += [
        Line(path.ts, np.median(norms[:, layers == layer], axis=1), f"median of layer {layer}", place, 0, 3.0)
        for place, layer in enumerate(numbers)
    ]
    return Chart(
        "Neuron norms", TIME_LABEL, "norm of a neuron's weights", log_x, log_y, lines=tuple(lines),
        colours={place: f"hidden layer {layer}" for place, layer in enumerate(numbers)}, scope="layer",
    )  # fmt: skip


def line_of(item: Series, x: np.ndarray, y: np.ndarray, name: str) -> Line:
    """The line of a path: the main rule thin and on top, the comparisons wider, so that both are seen where
    they coincide."""
    weight, opacity = (1.7, 1.0) if item.main else (2.6, 0.75)
    return Line(x, y, name, item.rule, item.member, weight, opacity, runaway=item.broken)


def spans_decades(values: Sequence[np.ndarray]) -> bool:
    """Whether the positive values differ by more than a factor of 30."""
    positive = np.concatenate([np.zeros(0), *(np.asarray(part, float).ravel() for part in values)])
    positive = positive[np.isfinite(positive) & (positive > 0)]
    return bool(positive.size and positive.max() > 30 * positive.min())


def _over_time(
    title: str,
    label: str,
    series: Sequence[Series],
    values: Sequence[np.ndarray],
    times: Sequence[np.ndarray] | None = None,
    before: tuple[Line, ...] = (),
    always_log: bool = False,
) -> Chart:
    """A chart of one line per series with its events and its end."""
    times = [item.path.ts for item in series] if times is None else times
    calm = [part for item, part in zip(series, values, strict=True) if not item.broken] or list(values)
    log_x, log_y = suits_log_time(times), suits_logarithm(calm) and (always_log or spans_decades(calm))
    order = sorted(range(len(series)), key=lambda place: -series[place].rule)
    lines = tuple(line_of(series[k], times[k], values[k], series[k].name) for k in order)
    dots = tuple(
        mark
        for item, ts, part in ((series[k], times[k], values[k]) for k in order)
        for mark in (*_events(item, ts, part, log_x), *_ending(item, ts, part, log_x, log_y))
    )
    return Chart(
        title, TIME_LABEL, label, log_x, log_y, lines=(*before, *lines), dots=dots,
        colours=rule_names(series), dashes=member_names(series),
    )  # fmt: skip


def _events(item: Series, ts: np.ndarray, values: np.ndarray, log_x: bool) -> list[Dots]:
    """The events of a path as marks on its line."""
    usable = np.isfinite(ts) & np.isfinite(values) & ((ts > 0) | (not log_x))
    if usable.sum() < 2 or not item.path.events:
        return []
    rows, heights = (np.log(ts[usable]) if log_x else ts[usable]), values[usable]
    inside = [event for event in item.path.events if ts[usable][0] <= event.time <= ts[usable][-1]][
        :_MOST_EVENTS
    ]
    if not inside:
        return []
    when = np.array([event.time for event in inside], float)
    height = np.interp(np.log(when) if log_x else when, rows, heights)
    names = tuple(f"{event.name} at t = {number(event.time)} of {item.name}" for event in inside)
    return [Dots(when, height, names, "event", item.rule, item.member)]


def _ending(item: Series, ts: np.ndarray, values: np.ndarray, log_x: bool, log_y: bool) -> list[Dots]:
    """A cross where a path broke down, a disc where it converged."""
    shape = "broken" if item.broken else "end" if item.path.outcome.name == "CONVERGED" else None
    shown = np.isfinite(ts) & np.isfinite(values) & ((ts > 0) | (not log_x)) & ((values > 0) | (not log_y))
    if shape is None or not shown.any():
        return []
    last = np.flatnonzero(shown)[-1:]
    return [
        Dots(
            ts[last],
            values[last],
            (f"{item.name}: {item.path.outcome.value}",),
            shape,
            item.rule,
            item.member,
        )
    ]


def _chosen_components(amount: int) -> list[int]:
    """All components, or evenly spread ones if they are too many."""
    return np.unique(np.linspace(0, amount - 1, min(amount, _MOST_COMPONENTS)).round().astype(int)).tolist()


def _largest_spread(norms: np.ndarray, most: int = 96) -> list[int]:
    """All neurons, or if they are too many, those at evenly spread ranks of their last norm."""
    if norms.shape[1] <= most:
        return list(range(norms.shape[1]))
    order = np.argsort(np.nan_to_num(norms[-1]))
    return sorted(order[np.unique(np.linspace(0, len(order) - 1, most).round().astype(int))].tolist())
