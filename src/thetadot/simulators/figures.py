"""Pictures of simulators; each takes matplotlib axes or makes its own, and returns them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from thetadot.dynamics.canvas import dress, new_axes, set_scale, visible
from thetadot.dynamics.palette import EVENT, INK, MUTED, rule_colour
from thetadot.dynamics.wording import number
from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_time
from thetadot.simulators.data_energy import DataEnergy, learning_times
from thetadot.simulators.errors import MatrixError
from thetadot.simulators.linear_training import InheritedSpectrum, SpectrumStatus
from thetadot.simulators.significance import Significance
from thetadot.simulators.tradeoff import NoiseTradeoff

_RATE = {"discrete": "growth rate ln ρ (1/step)", "continuous": "growth rate max Re λ (1/time)"}


def _one(axes: Axes | None) -> Axes:
    chosen = new_axes()[0] if axes is None else axes
    dress(chosen)
    return chosen


def _two(axes: Any, size: tuple[float, float] = (9.0, 4.0), side_by_side: bool = True) -> tuple[Axes, Axes]:
    if axes is None:
        figure = new_axes(size=size)[0].figure
        figure.clf()
        axes = figure.subplots(*((1, 2) if side_by_side else (2, 1)))
    chosen = np.asarray(axes, dtype=object).ravel()
    if chosen.size != 2:
        raise MatrixError(f"{chosen.size} axes were given, expected 2")
    for single in chosen:
        dress(single)
    return chosen[0], chosen[1]


def plot_learning_times(
    energies: DataEnergy | Numbers,
    measured: Numbers | None = None,
    *,
    learning_rate: float | None = None,
    fraction: float = 0.5,
    axes: Axes | None = None,
) -> Axes:
    """Time to shrink the error of each direction against its energy: the formula as a line, measured times as dots.

    Arguments:
        energies: of data, or numbers (n,): those above 0 are drawn. measured (n,): times in the same units.
        learning_rate, fraction: as in `learning_times`. axes: where to draw.
    """
    ax = _one(axes)
    if isinstance(energies, DataEnergy):  # what lies below its tolerance is rounding, not energy
        given = np.where(np.arange(energies.size) < energies.rank, energies.energies, 0.0)
    else:
        given = np.asarray(energies, float)
    positive = given[given > 0]
    if not positive.size:
        raise MatrixError("no energy is above 0: there is nothing to draw")
    span = np.geomspace(positive.min() / 1.3, positive.max() * 1.3, 300)
    formula = learning_times(span, learning_rate=learning_rate, fraction=fraction)
    ax.plot(*visible(span, formula, True, True), color=rule_colour(0), label="formula")
    known = learning_times(positive, learning_rate=learning_rate, fraction=fraction)
    if measured is None:
        ax.plot(
            *visible(positive, known, True, True), "o", color=rule_colour(0), label="directions of the data"
        )
    else:
        times = np.asarray(measured, float)[given > 0]
        ax.plot(*visible(positive, times, True, True), "o", color=rule_colour(1), label="measured")
    left = len(given) - len(positive)
    if left:
        ax.set_title(f"{left} directions without energy are never learned", fontsize=10, color=MUTED)
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    unit = "steps" if learning_rate is not None else "time t (units of the loss gradient)"
    ax.set_xlabel("energy c of the direction (input units²)")
    ax.set_ylabel(f"until {fraction:.0%} of the error is gone ({unit})")
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_spectrum(
    spectrum: InheritedSpectrum, *, time: str, radius: float | None = None, axes: Axes | None = None
) -> Axes:
    """Eigenvalues of the trained weights in the complex plane: learned and inherited, and where they are stable.

    Arguments:
        spectrum: of the trained weights. time: "discrete" (stable inside of the unit circle) or "continuous" (left of
            the imaginary axis). radius: of the disc that random initial weights are predicted to fill.
        axes: where to draw.
    """
    as_time(time)
    ax = _one(axes)
    if time == "discrete":
        ax.add_patch(Circle((0, 0), 1.0, fill=False, color=INK, lw=1.2, label="unit circle"))
    else:
        ax.axvline(0.0, color=INK, lw=1.2, label="imaginary axis")
    if radius is not None:
        ax.add_patch(
            Circle(
                (0, 0),
                radius,
                color=rule_colour(1),
                alpha=0.12,
                lw=0,
                label=f"predicted disc, {number(radius)}",
            )
        )
    if spectrum.status is SpectrumStatus.SPLIT:
        parts = (("learned", spectrum.learned, 0, "o"), ("inherited", spectrum.inherited, 1, "x"))
    else:
        parts = (("of the trained weights", spectrum.eigenvalues, 2, "o"),)
    for name, values, colour, mark in parts:
        if len(values):
            ax.plot(
                np.real(values),
                np.imag(values),
                mark,
                color=rule_colour(colour),
                markersize=6,
                linestyle="none",
                label=name,
            )
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    ax.autoscale_view()
    ax.set_xlabel("Re λ" if time == "discrete" else "Re λ (1/time)")
    ax.set_ylabel("Im λ" if time == "discrete" else "Im λ (1/time)")
    words = (
        "spectrum splits" if spectrum.status is SpectrumStatus.SPLIT else "data leave their range: no split"
    )
    ax.set_title(f"{words} (defect {number(spectrum.invariance_defect)})", fontsize=10, color=MUTED)
    ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def plot_noise_tradeoff(tradeoff: NoiseTradeoff, axes: Any = None) -> np.ndarray:
    """Growth rate of the trained simulator against the variance of the noise, with its bound; beside it the bias."""
    left, right = _two(axes)
    shown = tradeoff.variances > 0
    grid = tradeoff.variances[shown]
    left.axhline(0.0, color=MUTED, lw=1)
    left.plot(grid, tradeoff.growth[shown], "o-", color=rule_colour(0), label="trained on noisy data")
    if np.isfinite(tradeoff.bound[shown]).any():
        left.plot(grid, tradeoff.bound[shown], "--", color=rule_colour(1), label="bound for stationary data")
    for variance, rate in zip(tradeoff.variances[~shown], tradeoff.growth[~shown], strict=True):
        left.axhline(rate, color=EVENT, lw=1, ls=":", label=f"without noise (s² = {number(variance)})")
    left.set_ylabel(_RATE[tradeoff.time])
    right.plot(*visible(grid, tradeoff.bias[shown], True, True), "o-", color=rule_colour(0))
    right.set_ylabel("bias ‖ΔW‖ / ‖W‖ on the data")
    set_scale(right, "y", True)
    for ax in (left, right):
        set_scale(ax, "x", bool(grid.size))
        ax.set_xlabel(f"variance s² of the noise, setting {tradeoff.setting}")
    left.legend(frameon=False, fontsize=9)
    return np.array([left, right], dtype=object)


def plot_rollout(
    rollouts: Mapping[str, Numbers], times: Numbers | None = None, *, axes: Axes | None = None
) -> Axes:
    """Norm of the state along roll-outs; states may grow for a while although the simulator is stable.

    Arguments:
        rollouts: {name: states (T, n)}. times (T,): of the rows; by default they are steps. axes: where to draw.
    """
    ax = _one(axes)
    for place, (name, states) in enumerate(rollouts.items()):
        rows = np.asarray(states, float)
        at = np.arange(len(rows)) if times is None else np.asarray(times, float)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.linalg.norm(rows, axis=1)
        ax.plot(*visible(at, norms, log_y=True), color=rule_colour(place), lw=1.8, label=name)
    set_scale(ax, "y", True)
    ax.set_xlabel("step" if times is None else "time t (units of the simulator)")
    ax.set_ylabel("‖x‖ (input units)")
    ax.legend(frameon=False, fontsize=9)
    return ax


def plot_significance(
    results: Mapping[float, Significance], axes: Any = None, *, label: str = "shift of the states"
) -> np.ndarray:
    """Histogram of p-values for each shift (uniform where the test has nothing to say), and acceptance against it.

    Arguments:
        results: {shift: result}. axes: two. label: what the shift is.
    """
    left, right = _two(axes)
    shifts = sorted(results)
    for place, shift in enumerate(shifts):
        left.hist(
            results[shift].p_values, bins=np.linspace(0, 1, 21).tolist(), density=True, histtype="step", lw=1.8,
            color=rule_colour(place), label=number(shift),
        )  # fmt: skip
    left.axhline(1.0, color=MUTED, lw=1, ls="--")
    left.set_xlabel("p-value")
    left.set_ylabel("density")
    left.legend(frameon=False, fontsize=9, title=label)
    right.plot(shifts, [results[shift].acceptance for shift in shifts], "o-", color=rule_colour(0))
    level = results[shifts[0]].level
    right.axhline(1 - level, color=MUTED, lw=1, ls="--", label=f"1 − level = {number(1 - level)}")
    right.set_ylim(0, 1.03)
    right.set_xlabel(label)
    right.set_ylabel("share of predictions accepted")
    right.legend(frameon=False, fontsize=9)
    return np.array([left, right], dtype=object)


def plot_error_against_statistic(statistic: Numbers, errors: Numbers, axes: Axes | None = None) -> Axes:
    """Error of the ensemble's mean against its disagreement d, both logarithmic, with Spearman's correlation.

    Arguments:
        statistic (S,): d. errors (S,): |error| at the same places. axes: where to draw.
    """
    ax, d, error = _one(axes), np.asarray(statistic, float), np.asarray(errors, float)
    rank = float(np.asarray(scipy.stats.spearmanr(d, error))[0])
    ax.plot(
        *visible(d, error, True, True), ".", ms=4, alpha=0.5, color=rule_colour(0), rasterized=True,
        label=f"draws, Spearman {rank:.2f}",
    )  # fmt: skip
    grid = np.geomspace(float(d[d > 0].min()), float(d.max()), 50)
    ax.plot(grid, np.sqrt(grid), color=MUTED, ls="--", lw=1.2, label="error = √d")
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    ax.set_xlabel("d, variance of the members (squared units of dx/dt)")
    ax.set_ylabel("|error| of their mean (units of dx/dt)")
    ax.legend(frameon=False, fontsize=9)
    return ax
