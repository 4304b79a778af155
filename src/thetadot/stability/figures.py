"""Pictures of what the lens found; each takes matplotlib axes or makes its own, and returns them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from thetadot.dynamics.canvas import dress, new_axes, set_scale, suits_logarithm, visible
from thetadot.dynamics.palette import EVENT, INK, MUTED, rule_colour
from thetadot.dynamics.wording import number
from thetadot.stability.angles import localisation
from thetadot.stability.covariant import CovariantVectors
from thetadot.stability.discrimination import roc_curve
from thetadot.stability.growth import Drift, GrowthRate
from thetadot.stability.network_exponent import NetworkExponent
from thetadot.stability.orbital import OrbitalStability
from thetadot.stability.prediction import LossPrediction
from thetadot.stability.regimes import Regime, RegimeScan
from thetadot.stability.sharpness import SharpnessTrack
from thetadot.stability.spectrum import LyapunovSpectrum

_REGIME_COLOURS = {
    Regime.FIXED_POINT: rule_colour(0),
    Regime.PERIODIC: rule_colour(2),
    Regime.QUASIPERIODIC: rule_colour(3),
    Regime.CHAOTIC: rule_colour(1),
    Regime.DIVERGED: EVENT,
    Regime.UNDECIDED: MUTED,
}
_STEP = {"step": "step n", "time": "time t (units of the loss gradient)"}


def _one(axes: Axes | None, size: tuple[float, float] = (6.4, 4.0)) -> Axes:
    chosen = new_axes(size=size)[0] if axes is None else axes
    dress(chosen)
    return chosen


def plot_spectrum(
    result: LyapunovSpectrum, axes: Axes | None = None, reference: Mapping[str, Any] | None = None
) -> Axes:
    """Exponents in descending order with 2 standard errors; exponents of one group are joined by a bar.

    Arguments:
        result: a spectrum.
        axes: where to draw.
        reference: {name: exponents}, such as {"−h": fixed_point_exponents(flow, minimum)}, drawn beside them.
    """
    axes = _one(axes)
    order = np.argsort(-result.exponents, kind="stable")
    values, errors = result.exponents[order], np.nan_to_num(result.standard_error[order])
    rank = {index: place for place, index in enumerate(order.tolist())}
    places = np.arange(1, len(values) + 1)
    finite = np.isfinite(values)
    axes.axhline(0.0, color=MUTED, linewidth=1)
    axes.errorbar(
        places[finite], values[finite], 2 * errors[finite], fmt="o", color=rule_colour(0), markersize=5, capsize=3,
        label="exponents, ± 2 standard errors",
    )  # fmt: skip
    for name, given in (reference or {}).items():
        other = np.sort(np.asarray(given))[::-1][: len(values)]
        axes.plot(np.arange(1, len(other) + 1), other, "x", color=rule_colour(1), markersize=8, label=name)
    low, high = axes.get_ylim()
    for group in result.groups:
        ranks = sorted(rank[index] + 1 for index in group if np.isfinite(result.exponents[index]))
        if len(ranks) > 1:
            axes.plot(
                [ranks[0], ranks[-1]],
                [low, low],
                color=INK,
                linewidth=3,
                solid_capstyle="butt",
                clip_on=False,
            )
    if not finite.all():
        axes.plot(places[~finite], np.full((~finite).sum(), low), "v", color=EVENT, label="−∞")
    axes.set_ylim(low, high)
    if len(values) <= 20:
        axes.set_xticks(places)
    axes.set_xlabel("exponent, largest first (bars: equal to tolerance)")
    axes.set_ylabel(f"Lyapunov exponent (1/{result.unit})")
    axes.set_title(
        f"{result.status.name}, window {number(result.steps)} {result.unit}s", fontsize=10, color=MUTED
    )
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_convergence(result: LyapunovSpectrum, axes: Axes | None = None, most: int = 6) -> Axes:
    """Running means of the leading exponents against the length of the window."""
    axes = _one(axes)
    for place, index in enumerate(np.argsort(-result.exponents, kind="stable")[:most]):
        axes.plot(
            *visible(result.history_at, result.history[:, index], log_x=True),
            color=rule_colour(place), label=f"exponent {place + 1}",
        )  # fmt: skip
    axes.axhline(0.0, color=MUTED, linewidth=1)
    set_scale(axes, "x", len(result.history_at) > 1)
    axes.set_xlabel(f"length of the average ({result.unit}s)")
    axes.set_ylabel(f"running mean (1/{result.unit})")
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_angles(result: CovariantVectors, axes: Any = None, pair: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Angle of one pair: histogram above; below, the smallest angle between any two groups against time.

    Arguments:
        result: covariant vectors with angles.
        axes: two axes.
        pair: indices of the two vectors.
    """
    from matplotlib.figure import Figure

    if axes is None:
        axes = new_axes(rows=2, size=(6.4, 5.6))
        # The two do not share their horizontal axis.
        figure = axes[0].figure
        assert isinstance(figure, Figure)
        figure.clf()
        axes = figure.subplots(2, 1)
    above, below = np.asarray(axes, dtype=object).ravel()
    if result.angles is None:
        raise _without("angles")
    degrees = np.degrees(result.angles)
    dress(above)
    dress(below)
    values = degrees[:, pair[0], pair[1]]
    above.hist(values[np.isfinite(values)], bins=45, range=(0, 90), color=rule_colour(0))
    above.set_xlabel(f"angle between vectors {pair[0] + 1} and {pair[1] + 1} (degrees)")
    above.set_ylabel("blocks")
    group = {index: place for place, members in enumerate(result.groups) for index in members}
    k = degrees.shape[1]
    apart = np.array([[i < j and group.get(i) != group.get(j) for j in range(k)] for i in range(k)])
    if apart.any():
        with np.errstate(invalid="ignore"):
            smallest = np.nanmin(np.where(apart[None], degrees, np.inf), axis=(1, 2))
        at = result.transient + np.arange(len(smallest)) * result.every
        log = suits_logarithm([smallest])
        below.plot(*visible(at, smallest, log_y=log), color=rule_colour(1), linewidth=1)
        set_scale(below, "y", log)
    else:
        below.text(
            0.5, 0.5, "all exponents are one group", ha="center", transform=below.transAxes, color=MUTED
        )
    below.set_xlabel(_STEP[result.unit])
    below.set_ylabel("smallest angle between\nvectors of two groups (degrees)")
    return np.array([above, below], dtype=object)


def _without(what: str) -> Exception:
    from thetadot.stability.errors import StabilityError

    return StabilityError(f'these covariant vectors have no {what}: compute them with want=("{what}", …)')


def plot_vectors(result: CovariantVectors, layout: Any, axes: Axes | None = None, vector: int = 0) -> Axes:
    """In which layers one covariant vector lives: the share of each slice against time."""
    axes = _one(axes)
    if result.vectors is None:
        raise _without("vectors")
    shares = localisation(np.asarray(result.vectors[:]), layout).shares
    at = result.transient + np.arange(len(result.growth)) * result.every
    colours = [rule_colour(place) for place in range(len(shares))]
    axes.stackplot(
        at, [share[:, vector] for share in shares.values()], labels=list(shares), colors=colours, alpha=0.85
    )
    axes.set_ylim(0, 1)
    axes.set_xlim(at[0], at[-1])
    axes.set_xlabel(_STEP[result.unit])
    axes.set_ylabel(f"share of vector {vector + 1}, Σ v² over the slice")
    axes.legend(frameon=True, fontsize=9, loc="lower right")
    return axes


def plot_distances(
    result: OrbitalStability, axes: Axes | None = None, rate: GrowthRate | None = None
) -> Axes:
    """Distances between perturbed twins and the run, with the rounding floor and a fitted window."""
    axes = _one(axes)
    members = [visible(result.at, row, log_y=True) for row in result.distances]
    for row in members:
        axes.plot(*row, color=rule_colour(0), alpha=0.35, linewidth=1)
    axes.plot(
        *visible(result.at, result.mean_distance, log_y=True), color=rule_colour(0), label="mean of twins"
    )
    floor = visible(result.at, result.control, log_y=True)
    if len(floor[0]):
        axes.plot(*floor, color=MUTED, linestyle=":", label="unperturbed twin (rounding)")
    if rate is not None:
        inside = slice(rate.start, rate.start + rate.length)
        label = f"slope {number(rate.slope)}{'' if rate.kept else ' (not kept)'}, endpoint {number(rate.endpoint_rate)}"
        axes.axvspan(
            result.at[inside][0], result.at[inside][-1], color=rule_colour(1), alpha=0.15, label=label
        )
    if result.saturation is not None:
        axes.axvline(
            result.at[result.saturation], color=EVENT, linewidth=1, linestyle="--", label="saturation"
        )
    set_scale(axes, "y", True)
    axes.set_xlabel(_STEP[result.unit])
    axes.set_ylabel(f"distance in θ ({result.norm}-norm)")
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_exponents(result: NetworkExponent, axes: Axes | None = None) -> Axes:
    """Fitted exponents over starts: those that the rule keeps, and the endpoint rates of all."""
    axes = _one(axes)
    every = np.concatenate([result.slopes, result.endpoint_rates])
    bins = np.linspace(every[np.isfinite(every)].min(), every[np.isfinite(every)].max(), 25)
    kept = result.slopes[result.kept]
    axes.hist(
        result.endpoint_rates, bins=bins, color=MUTED, alpha=0.6,
        label=f"unselected, all starts: mean {number(result.endpoint_mean)}",
    )  # fmt: skip
    axes.hist(
        kept, bins=bins, histtype="step", color=rule_colour(1), linewidth=2,
        label=f"selected, {result.kept_fraction:.0%} kept: mean {number(result.mean)}",
    )  # fmt: skip
    axes.set_xlabel("growth rate of distances (1/step)")
    axes.set_ylabel("starts")
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_drift(result: Drift, axes: Axes | None = None) -> Axes:
    """Displacement against path length, with the best line and the best root."""
    axes = _one(axes)
    axes.plot(result.path_length, result.displacement, color=rule_colour(0), label="run")
    for power, name, fit in ((1.0, "linear", result.r_squared_linear), (0.5, "root", result.r_squared_root)):
        basis = np.stack([result.path_length**power, np.ones_like(result.path_length)], axis=1)
        best = basis @ np.linalg.lstsq(basis, result.displacement, rcond=None)[0]
        axes.plot(
            result.path_length, best, color=rule_colour(1 if power == 1.0 else 2), linestyle="--",
            label=f"{name}: R² = {fit:.4f}",
        )  # fmt: skip
    axes.set_xlabel("path length Σ‖Δθ‖")
    axes.set_ylabel("displacement ‖θ − θ₀‖ / ‖θ₀‖")
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_sharpness(result: SharpnessTrack, axes: Axes | None = None) -> Axes:
    """The largest eigenvalues of the Hessian along a run, with the rule's threshold."""
    axes = _one(axes)
    for index in range(result.values.shape[1]):
        axes.plot(
            result.at,
            result.values[:, index],
            color=rule_colour(index),
            label=f"eigenvalue {index + 1}",
            marker=".",
        )
    for name, value in result.thresholds.items():
        axes.axhline(value, color=EVENT, linestyle="--", linewidth=1, label=f"{name} = {number(value)}")
    axes.set_xlabel(_STEP["time"] if result.unit == "time" else "row")
    axes.set_ylabel("sharpness (loss per weight²)")
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_orbit_diagram(result: RegimeScan, axes: Any = None, label: str = "learning rate η") -> np.ndarray:
    """Orbits above, leading exponents below, coloured by regime.

    Arguments:
        result: a scan.
        axes: two axes.
        label: name of the parameter.
    """
    above, below = (
        new_axes(rows=2, size=(6.4, 5.6)) if axes is None else np.asarray(axes, dtype=object).ravel()
    )[:2]
    samples = result.orbit.shape[2]
    for single in (above, below):
        dress(single)
    for regime in Regime:
        e, r = np.nonzero(result.regime == regime)
        if e.size == 0:
            continue
        name, colour = regime.name.lower().replace("_", " "), _REGIME_COLOURS[regime]
        if regime is Regime.DIVERGED:
            below.plot(result.values[e], np.zeros(e.size), "x", color=colour, markersize=4, label=name)
            continue
        # Of an orbit that repeats few points are seen, of a chaotic one a cloud.
        look = (
            {"marker": ",", "alpha": 0.5} if regime is Regime.CHAOTIC else {"marker": ".", "markersize": 2.5}
        )
        at = np.repeat(result.values[e], samples)
        above.plot(at, result.orbit[e, r].ravel(), linestyle="none", color=colour, **look)
        below.plot(result.values[e], result.exponent[e, r], ".", color=colour, markersize=5, label=name)
    below.axhline(0.0, color=MUTED, linewidth=1)
    shown = result.orbit[np.isfinite(result.orbit)]
    set_scale(above, "y", bool(shown.size and shown.min() > 0 and shown.max() > 1e3 * shown.min()))
    above.set_ylabel("observable, last steps")
    below.set_ylabel("leading exponent (1/step)")
    below.set_xlabel(label)
    below.legend(frameon=False, fontsize=9, ncols=2)
    return np.array([above, below], dtype=object)


def plot_prediction(result: LossPrediction, axes: Any = None) -> np.ndarray:
    """AUC of every indicator against its window, baselines grey; beside it the ROC of the best exponent."""
    if axes is None:
        figure = new_axes(rows=1, size=(9.0, 4.8))[0].figure
        figure.clf()
        axes = figure.subplots(1, 2)
    left, right = np.asarray(axes, dtype=object).ravel()
    for single in (left, right):
        dress(single)
    best, window = result.best
    exponents = [f for f, name in enumerate(result.features) if name not in result.baselines]
    for f, name in enumerate(result.features):
        known = name in result.baselines
        colour = MUTED if known else rule_colour(exponents.index(f))
        style = ("--", ":", "-.", (0, (1, 3)))[result.baselines.index(name)] if known else "-"
        left.plot(result.windows, result.auc[f], color=colour, linestyle=style, marker="." if known else "o",
                  markersize=4, label=name.replace("_", " "))  # fmt: skip
    low, high = result.interval[best, :, 0], result.interval[best, :, 1]
    left.fill_between(result.windows, low, high, color=rule_colour(exponents.index(best)), alpha=0.15)
    left.axhline(0.5, color=MUTED, linewidth=1)
    set_scale(left, "x", len(result.windows) > 1)
    left.xaxis.set_minor_locator(NullLocator())
    left.set_xticks(result.windows, [str(steps) for steps in result.windows])
    left.set_xlabel("window T (first steps)")
    left.set_ylabel("AUC, cross-validated")
    left.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    scores = result.sign[best, window] * result.scores[result.kept, best, window]
    false, true, _ = roc_curve(result.labels[result.kept], np.nan_to_num(scores, nan=0.0))
    right.step(false, true, where="post", color=rule_colour(exponents.index(best)))
    right.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
    right.set_xlabel("false positive rate")
    right.set_ylabel("true positive rate")
    name = result.features[best].replace("_", " ")
    right.set_title(f"{name}, T = {result.windows[window]}", fontsize=10, color=MUTED)
    return np.array([left, right], dtype=object)
