"""Pictures of laws: how many, how well kept, what they leave to move."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from thetadot.conservation.balance import gaps_of
from thetadot.conservation.drift import LawDrift, LawSteps
from thetadot.conservation.errors import ConservationError
from thetadot.conservation.kernel import KernelTest
from thetadot.conservation.law_count import LawCount
from thetadot.conservation.lift import Lift, LinearLift
from thetadot.conservation.neural_ode import LinearNeuralODE
from thetadot.conservation.reduced_path import Comparison, ReducedPath
from thetadot.dynamics import Path
from thetadot.dynamics.canvas import TIME_LABEL, dress, new_axes, set_scale, suits_log_time, visible
from thetadot.dynamics.palette import INK, MUTED, rule_colour

_MOST_LINES = 40


def plot_law_count(count: LawCount, axes: Axes | None = None) -> Axes:
    """Dimension reached by brackets against their depth; what stays free above it are the laws."""
    ax = _one(axes)
    depths = np.arange(1, len(count.ranks) + 1)
    ax.step(
        np.append(depths, depths[-1] + 1),
        [*count.ranks, count.ranks[-1]],
        where="post",
        color=rule_colour(0),
        lw=2,
    )
    ax.plot(depths, count.ranks, "o", color=rule_colour(0), label="directions that training can push")
    ax.axhline(count.size, color=INK, lw=1.2)
    ax.annotate(f"all {count.size} parameters", (1, count.size), xytext=(2, 3), textcoords="offset points")
    ceiling = count.size - count.known
    ax.axhline(
        ceiling, color=rule_colour(1), ls="--", lw=1.4, label=f"{count.size} less {count.known} known laws"
    )
    reached = count.ranks[-1]
    if count.laws:
        ax.fill_between([1, depths[-1] + 1], reached, count.size, color=rule_colour(1), alpha=0.12, lw=0)
        middle = (reached + count.size) / 2
        extra = f", {count.extra} of them not known before" if count.extra else ""
        ax.text(
            0.98,
            middle,
            f"{count.laws} laws{extra}",
            ha="right",
            va="center",
            color=INK,
            transform=ax.get_yaxis_transform(),
        )
    ax.set_xlim(0.9, depths[-1] + 1)
    ax.set_ylim(0, count.size * 1.12 + 1)
    ax.set_xticks(depths)
    ax.set_xlabel("depth of brackets")
    ax.set_ylabel("dimension")
    ax.set_title(f"{count.status.name} by {count.method}", fontsize="medium", loc="left")
    _legend_below(ax)
    dress(ax)
    return ax


def plot_law_drift(drift: LawDrift, axes: Axes | None = None) -> Axes:
    """Relative drift of every law, and the least distance from the exact flow that it proves.

    Dashed beside it stands the solver's own estimate of its error, if it made one. At most 40 laws are drawn, those
    that drift most.
    """
    ax = _one(axes)
    worst = np.argsort(-np.abs(drift.relative).max(axis=0, initial=0.0), kind="stable")[:_MOST_LINES]
    log_time = suits_log_time([drift.times])
    count = len(drift.names)
    shown = count if count <= _MOST_LINES else f"worst {_MOST_LINES} of {count}"
    for position, law in enumerate(worst):
        xs, ys = visible(drift.times, np.abs(drift.relative[:, law]), log_time, True)
        label = f"laws, relative ({shown})" if position == 0 else None
        ax.plot(xs, ys, color=rule_colour(0), lw=0.9, alpha=0.45, label=label)
    xs, ys = visible(drift.times, drift.error_floor, log_time, True)
    if xs.size:
        ax.plot(xs, ys, color=rule_colour(1), lw=2.2, label="the exact flow is at least this far, ‖Δθ‖")
    if drift.solver_error:
        ax.axhline(drift.solver_error, color=MUTED, ls="--", lw=1.2, label="solver's own estimate (relative)")
    set_scale(ax, "x", log_time)
    if any(np.any(np.asarray(line.get_ydata()) > 0) for line in ax.get_lines()):
        set_scale(ax, "y", True)
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel("drift")
    ax.set_title(f"{drift.status.name}, rule: {drift.rule}", fontsize="medium", loc="left")
    _legend_below(ax)
    dress(ax)
    return ax


def plot_law_steps(steps: LawSteps, axes: Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """Change of the laws in every step against what a gradient step must change them by; below it the residual."""
    if axes is None:
        axes = new_axes(rows=2, size=(6.4, 6.4))
    upper, lower = _two(axes)
    predicted, change = steps.predicted.ravel(), steps.change.ravel()
    upper.plot(
        predicted, change, ".", ms=3, color=rule_colour(0), alpha=0.5, rasterized=True, label="steps × laws"
    )
    ends = [min(predicted.min(), change.min()), max(predicted.max(), change.max())]
    upper.plot(ends, ends, color=INK, lw=1, label="gradient steps lie here")
    upper.set_ylabel("measured change of h")
    upper.legend(fontsize="small", frameon=False)
    upper.set_title(
        "every step is one of gradient descent" if steps.exact else "some steps are none of gradient descent",
        fontsize="medium",
        loc="left",
    )
    residual = np.maximum(np.abs(steps.residual / steps.scale).ravel(), 1e-18)
    lower.plot(predicted, residual, ".", ms=3, color=rule_colour(1), alpha=0.5, rasterized=True)
    set_scale(lower, "y", True)
    lower.set_xlabel("predicted change: (f² − 1)h + q(θ⁺ − fθ)")
    lower.set_ylabel("|residual|, relative")
    for ax in (upper, lower):
        dress(ax)
    return np.array([upper, lower], dtype=object)


def plot_reduced(
    comparison: Comparison, reduced: ReducedPath, axes: Sequence[Axes] | np.ndarray | None = None
) -> np.ndarray:
    """Components of z in full training and in the reduced flow, and their relative distance."""
    upper, lower = _two(new_axes(rows=2, size=(6.4, 5.8)) if axes is None else axes)
    times = comparison.times
    shown = np.argsort(-np.abs(comparison.full).max(axis=0), kind="stable")[: _MOST_LINES // 2]
    for position, k in enumerate(shown):
        first = position == 0
        upper.plot(
            times,
            comparison.full[:, k],
            color=rule_colour(0),
            lw=2.4,
            alpha=0.35,
            label="full training" if first else None,
        )
        upper.plot(
            times, comparison.reduced[:, k], color=rule_colour(1), ls=(0, (3, 2)), lw=1.2,
            label=f"reduced flow, {reduced.state_size} numbers ({reduced.coordinates})" if first else None,
        )  # fmt: skip
    upper.set_ylabel("components of z = φ(θ)")
    upper.legend(fontsize="small", frameon=False)
    xs, ys = visible(times, comparison.error, log_y=True)
    lower.plot(xs, ys, color=rule_colour(0), lw=1.8)
    set_scale(lower, "y", xs.size > 0)
    for time, what in reduced.events:
        for ax in (upper, lower):
            ax.axvline(time, color=MUTED, lw=1, ls=":")
        lower.annotate(what, (time, 0.02), xycoords=("data", "axes fraction"), fontsize="small", color=MUTED)
    lower.set_xlabel(TIME_LABEL)
    lower.set_ylabel("‖Δz‖ / max ‖z‖")
    for ax in (upper, lower):
        dress(ax)
    return np.array([upper, lower], dtype=object)


def plot_imbalance(path: Path, lift: Lift, axes: Axes | None = None) -> Axes:
    """Eigenvalues of every U_{i+1}ᵀU_{i+1} − U_iU_iᵀ along a run: horizontal lines, if the run conserves them."""
    if not isinstance(lift, LinearLift) or lift.depth < 2:
        raise ConservationError("plot_imbalance needs a LinearLift of at least two layers")
    ax = _one(axes)
    spectra = [[np.linalg.eigvalsh(c) for c in gaps_of(lift, theta)] for theta in path.thetas]
    log_time = suits_log_time([path.ts])
    for layer in range(lift.depth - 1):
        values = np.array([row[layer] for row in spectra])
        for k in range(values.shape[1]):
            label = f"hidden layer {layer + 1}" if k == 0 else None
            ax.plot(*visible(path.ts, values[:, k], log_time), color=rule_colour(layer), lw=1.6, label=label)
    set_scale(ax, "x", log_time)
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel("eigenvalues of C (weights squared)")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_kernel(tests: Mapping[float, KernelTest], axes: Axes | None = None) -> Axes:
    """Variation of the metric along ker J ∩ T against the distance from relaxed balance.

    Arguments:
        tests: {distance: test}; distance 0 is drawn as a line.
    """
    ax = _one(axes)
    far = sorted((d, test.variation) for d, test in tests.items() if d > 0)
    xs, ys = visible(np.array([d for d, _ in far]), np.array([v for _, v in far]), True, True)
    if xs.size:
        ax.plot(xs, ys, "o-", color=rule_colour(0), label="variation of M = JJᵀ")
    at_zero = [test.variation for d, test in tests.items() if d == 0]
    if at_zero:
        ax.axhline(
            max(max(at_zero), 1e-18), color=rule_colour(1), ls="--", lw=1.4, label="at relaxed balance"
        )
    if xs.size or at_zero:
        set_scale(ax, "y", True)
    set_scale(ax, "x", xs.size > 0)
    ax.set_xlabel("distance from relaxed balance, ε (weights squared)")
    ax.set_ylabel("‖DM‖ / ‖M‖ (1/weight)")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_neural_ode_invariant(
    ode: LinearNeuralODE,
    A_start: Float[Array | np.ndarray, "nodes n n"],
    A_end: Float[Array | np.ndarray, "nodes n n"],
    axes: Axes | None = None,
) -> Axes:
    """Entries of H(s) before (lines) and after training (dots)."""
    ax = _one(axes)
    before, after = (np.asarray(ode.invariant(jnp.asarray(A))) for A in (A_start, A_end))
    s, n = np.asarray(ode.positions), ode.width
    for i in range(n):
        for j in range(i, n):
            colour = rule_colour(0 if i == j else 1)
            kind = "diagonal" if i == j else "off the diagonal"
            first = (i, j) in ((0, 0), (0, 1))
            ax.plot(s, before[:, i, j], color=colour, lw=1.4, label=f"{kind}, start" if first else None)
            ax.plot(s, after[:, i, j], "o", color=colour, ms=4, label=f"{kind}, end" if first else None)
    ax.set_xlabel("depth s")
    ax.set_ylabel("entries of H(s)")
    _legend_below(ax)
    dress(ax)
    return ax


def _legend_below(ax: Axes) -> None:
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _one(axes: Axes | None) -> Axes:
    return new_axes()[0] if axes is None else axes


def _two(axes: Sequence[Axes] | np.ndarray) -> tuple[Axes, Axes]:
    chosen = np.asarray(axes, dtype=object).ravel()
    if chosen.size != 2:
        raise ConservationError(f"{chosen.size} axes were given, expected 2, one above the other")
    return chosen[0], chosen[1]
