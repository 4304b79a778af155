"""Pictures of escapes, itineraries, directions and sparsity."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from thetadot.dynamics import Path
from thetadot.dynamics.canvas import TIME_LABEL, dress, new_axes, set_scale
from thetadot.dynamics.palette import INK, MUTED, rule_colour
from thetadot.problems import EmpiricalRisk
from thetadot.saddles.correlation import NeuralCorrelation
from thetadot.saddles.correlation_flow import CorrelationFlow
from thetadot.saddles.correlation_points import CorrelationPoint
from thetadot.saddles.critical_points import CriticalPoint
from thetadot.saddles.errors import SaddlesError
from thetadot.saddles.escape import Escape
from thetadot.saddles.itinerary import Itinerary
from thetadot.saddles.limiting_path import PathDeviation
from thetadot.saddles.sparsity import Sparsity


def plot_itinerary(itinerary: Itinerary, axes: Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """The staircase of the loss with predicted escapes as rules; below it the live groups of every visit.

    Time runs through the walk in its own rhythm: each dwell has the same width, since dwells may differ by thirty
    orders of magnitude; the escapes are written at the rules.
    """
    upper, lower = _two(axes, (7.0, 5.6))
    count = len(itinerary.visits)
    losses = itinerary.losses
    places = np.arange(count)
    upper.step(np.append(places, count), np.append(losses, losses[-1]), where="post", color=rule_colour(0), lw=2,
               label="loss at the visits")  # fmt: skip
    if itinerary.path is not None:
        warped = _warp(itinerary, np.asarray(itinerary.path.ts))
        upper.plot(warped, itinerary.path.losses, color=rule_colour(1), lw=1.3, label="integrated trajectory")
    for place in range(count - 1):
        predicted, measured = itinerary.escapes_predicted[place], itinerary.escapes_measured[place]
        words = _time_words(predicted if np.isfinite(predicted) else measured)
        upper.axvline(place + 1, color=MUTED, lw=0.9, ls="--")
        upper.annotate(words, (place + 1, 1.0), xycoords=("data", "axes fraction"), xytext=(-3, -2),
                       textcoords="offset points", rotation=90, ha="right", va="top", fontsize=7)  # fmt: skip
    for place, visit in enumerate(itinerary.visits):
        index = visit.point.index
        mark = {
            "MINIMUM": "minimum",
            "STRICT_SADDLE": "strict saddle",
            "DEGENERATE_SADDLE": "degenerate saddle",
        }
        upper.annotate(f"{mark.get(visit.point.kind.name, '?')}\nindex {index.negative}", (place + 0.5, losses[place]),
                       xytext=(0, 4), textcoords="offset points", ha="center", fontsize=7, color=INK)  # fmt: skip
    upper.set_ylim(min(0.0, losses.min()), losses.max() * 1.25 + 1e-300)
    upper.set_ylabel("loss")
    upper.legend(fontsize="x-small", frameon=False, loc="center right")
    upper.set_title(f"{itinerary.status.name} from scale {itinerary.scale:g}", fontsize="medium", loc="left")
    supports = itinerary.supports
    if supports.size:
        lower.imshow(supports.T, aspect="auto", origin="lower", extent=(0, count, -0.5, supports.shape[1] - 0.5),
                     cmap="Greys", vmin=0, vmax=1.6, interpolation="nearest")  # fmt: skip
    lower.set_ylabel("live groups (dark)")
    lower.set_xlabel("visit; rules: escape times, predicted (units of the loss gradient)")
    for ax in (upper, lower):
        dress(ax)
        ax.grid(False)
    return np.array([upper, lower])


def _warp(itinerary: Itinerary, ts: np.ndarray) -> np.ndarray:
    """Times on the axis of visits: linear between escapes."""
    known = np.where(
        np.isfinite(itinerary.escapes_measured), itinerary.escapes_measured, itinerary.escapes_predicted
    )
    knots = [0.0, *[value for value in known if np.isfinite(value)]]
    last = knots[-1] + max(knots[-1] - knots[-2], 1e-300) if len(knots) > 1 else max(ts[-1], 1e-300)
    knots.append(max(last, knots[-1] * (1 + 1e-12)))
    return np.interp(ts, knots, np.arange(len(knots)))


def plot_directions(found: CorrelationFlow | Path, axes: Axes | None = None) -> Axes:
    """Size of every neuron relative to the whole against log growth: who wins, who is left behind."""
    ax = _one(axes)
    if isinstance(found, CorrelationFlow):
        neurons = found.correlation._problem.layout.neurons
        rows = np.array([found.correlation.embed(u) for u in found.directions])
        xs, label = found.log_norms - found.log_norms[0], "growth ln(‖u‖/‖u(0)‖)"
    else:
        neurons = found.layout.neurons if found.layout is not None else ()
        norms = np.linalg.norm(found.thetas, axis=1, keepdims=True)
        rows, xs, label = found.thetas / norms, found.ts, TIME_LABEL
    if not neurons:
        raise SaddlesError("the layout names no hidden neurons: there are no directions to draw")
    sizes = np.array([[np.linalg.norm(row[neuron.indices]) for neuron in neurons] for row in rows])
    winners = np.argsort(-sizes[-1])[:5]
    for number in np.argsort(sizes[-1]):
        win = number in winners and sizes[-1, number] > 1e-2
        colour = rule_colour(int(np.flatnonzero(winners == number)[0])) if win else MUTED
        ax.plot(xs, np.maximum(sizes[:, number], 1e-18), color=colour, lw=2 if win else 0.8,
                label=f"neuron {number}" if win else None)  # fmt: skip
    set_scale(ax, "y", True)
    ax.set_xlabel(label)
    ax.set_ylabel("neuron's share ‖θ_j‖/‖θ‖")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_escape_scaling(
    escapes: Sequence[Escape], axes: Sequence[Axes] | np.ndarray | None = None
) -> np.ndarray:
    """Escape time against the scale of the start, predicted and measured; below it their relative difference."""
    if not escapes:
        raise SaddlesError("no escapes were given: pass a list of escape_time(…) at several scales")
    upper, lower = _two(axes, (6.4, 5.6))
    scales = np.array([one.scale for one in escapes])
    predicted = np.array([one.predicted for one in escapes])
    measured = np.array([one.measured for one in escapes])
    order = np.argsort(scales)
    upper.plot(scales[order], predicted[order], color=rule_colour(0), lw=1.6, label="predicted")
    upper.plot(scales, measured, "o", color=rule_colour(1), ms=5, label="measured")
    ratio = np.nanmax(predicted) / np.nanmin(predicted)
    set_scale(upper, "y", bool(ratio > 20))
    set_scale(upper, "x", True)
    upper.set_ylabel("escape time (units of the loss)")
    upper.legend(fontsize="small", frameon=False)
    difference = np.abs(measured - predicted) / predicted
    shown = np.isfinite(difference)
    lower.plot(scales[shown], np.maximum(difference[shown], 1e-16), "o", color=rule_colour(1), ms=5)
    set_scale(lower, "y", bool(shown.any()))
    set_scale(lower, "x", True)
    lower.set_xlabel("scale δ of the start")
    lower.set_ylabel("relative difference")
    for ax in (upper, lower):
        dress(ax)
    return np.array([upper, lower])


def plot_path_deviation(deviation: PathDeviation, axes: Axes | None = None) -> Axes:
    """Largest distance from the limiting path against the scale, with the predicted slope."""
    ax = _one(axes)
    ax.plot(deviation.scales, deviation.deviations, "o-", color=rule_colour(1), lw=1.2, label="measured")
    if np.isfinite(deviation.predicted):
        line = deviation.deviations[-1] * (deviation.scales / deviation.scales[-1]) ** deviation.predicted
        ax.plot(
            deviation.scales,
            line,
            "--",
            color=rule_colour(0),
            label=f"slope {deviation.predicted:.3g}, predicted",
        )
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    ax.set_xlabel("scale δ of the start")
    ax.set_ylabel("sup ‖θ(T_δ + t) − p(t)‖")
    ax.set_title(deviation.status.name, fontsize="medium", loc="left")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_sparsity(found: Sparsity, axes: Axes | None = None) -> Axes:
    """Heat map of the groups' log norms along the path, the largest at the end on top."""
    ax = _one(axes)
    order = np.argsort(found.norms[-1], kind="stable")
    values = np.log10(np.maximum(found.norms[:, order].T, 1e-300))
    picture = ax.pcolormesh(
        np.arange(len(found.times) + 1),
        np.arange(len(order) + 1),
        np.maximum(values, values.max() - 12),
        cmap="viridis",
    )
    ax.figure.colorbar(picture, ax=ax, label="log₁₀ ‖θ_g‖")
    ticks = np.linspace(0, len(found.times) - 1, 6).round().astype(int)
    ax.set_xticks(ticks + 0.5, [f"{found.times[tick]:.4g}" for tick in ticks])
    ax.set_xlabel("time t of the saved rows (units of the loss gradient)")
    ax.set_ylabel("group, ordered by its norm at the end")
    kept = "dead groups stay dead" if found.preserved else "dead groups came to life"
    ax.set_title(f"{kept}; worst dead norm {found.worst_dead:.2g} × scale", fontsize="medium", loc="left")
    dress(ax)
    ax.grid(False)
    return ax


def plot_correlation(
    correlation: NeuralCorrelation, points: Sequence[CorrelationPoint] = (), axes: Axes | None = None
) -> Axes:
    """𝒩 of one neuron against the angle of its incoming weights (two inputs, one hidden layer), with the points.

    Raises:
        SaddlesError: other than two inputs, or more than one hidden layer.
    """
    problem = correlation._problem
    neurons = problem.layout.neurons
    two = isinstance(problem, EmpiricalRisk) and problem.x.shape[1:] == (2,)
    if not two or len({neuron.layer for neuron in neurons}) != 1 or len(neurons[0].outgoing) != 1:
        raise SaddlesError(
            "plot_correlation draws two-layer networks of two inputs and one output; this is another"
        )
    ax = _one(axes)
    angles = np.linspace(0, 2 * np.pi, 361)
    neuron, power = neurons[0], correlation.degree - 1
    outgoing = 1 / np.sqrt(correlation.degree)
    incoming = np.sqrt(power / correlation.degree)
    values = []
    for angle in angles:
        whole = np.zeros(correlation.base.size)
        whole[neuron.incoming] = incoming * np.array([np.cos(angle), np.sin(angle)])
        whole[neuron.outgoing] = outgoing
        values.append(correlation.value(whole[correlation.free]))
    ax.plot(
        np.degrees(angles),
        np.abs(values),
        color=rule_colour(0),
        lw=1.6,
        label=r"$\mathcal{N}$ of one neuron (best sign)",
    )
    for point in points:
        whole = correlation.embed(point.direction)
        for one in neurons:
            w = whole[one.incoming]
            if np.linalg.norm(whole[one.indices]) > 1e-2:
                ax.plot(
                    np.degrees(np.arctan2(w[1], w[0])) % 360, point.value, "o", ms=7, color=rule_colour(1)
                )
    if points:
        ax.plot([], [], "o", ms=7, color=rule_colour(1), label="correlation points")
    ax.set_xlim(0, 360)
    ax.set_xticks(np.arange(0, 361, 60))
    ax.set_xlabel("angle of the incoming weights (degrees)")
    ax.set_ylabel(r"correlation $\mathcal{N}$")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_critical_spectrum(point: CriticalPoint, axes: Axes | None = None) -> Axes:
    """Eigenvalues of the Hessian in order; negative ones lead down."""
    ax = _one(axes)
    values = np.sort(point.index.eigenvalues)
    places = np.arange(1, values.size + 1)
    bound = 1e-8 * max(np.abs(values).max(initial=0.0), 1e-300)
    for name, keep, colour in (
        ("negative", values < -bound, rule_colour(1)),
        ("zero", np.abs(values) <= bound, MUTED),
        ("positive", values > bound, rule_colour(0)),
    ):
        if keep.any():
            ax.plot(places[keep], values[keep], "o", ms=4, color=colour, label=f"{name} ({int(keep.sum())})")
    ax.axhline(0, color=INK, lw=0.8)
    ax.set_yscale("symlog", linthresh=max(1e-3 * np.abs(values).max(initial=0.0), 1e-12))
    ax.set_xlabel("eigenvalue, in order")
    ax.set_ylabel("eigenvalue of ∇²L (1/time)")
    ax.set_title(
        f"{point.kind.name}, residual supremum {point.residual_supremum:.3g}", fontsize="medium", loc="left"
    )
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def _time_words(value: float) -> str:
    from thetadot.saddles.labels import time_words

    return f"t = {time_words(value)}"


def _one(axes: Axes | None) -> Axes:
    return new_axes()[0] if axes is None else axes


def _two(axes: Sequence[Axes] | np.ndarray | None, size: tuple[float, float]) -> tuple[Axes, Axes]:
    chosen = list(new_axes(rows=2, size=size) if axes is None else axes)
    if len(chosen) != 2:
        raise SaddlesError(f"{len(chosen)} axes were given: this figure needs two, one above the other")
    return chosen[0], chosen[1]
