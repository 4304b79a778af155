"""Pictures of symmetry: residuals, reductions beside networks, alignment, angles, width, predictors, particles."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from thetadot.dynamics import Path
from thetadot.dynamics.canvas import dress, new_axes, set_scale, suits_log_time, visible
from thetadot.dynamics.palette import GRID, INK, MUTED, rule_colour
from thetadot.problems import Problem
from thetadot.symmetry.errors import ParticleError
from thetadot.symmetry.groups import SymmetryGroup
from thetadot.symmetry.isotropic import isotropic_solution
from thetadot.symmetry.odd import OddReduction
from thetadot.symmetry.orbits import orbit_residual
from thetadot.symmetry.particles import Particles, to_particles
from thetadot.symmetry.predictor import split_odd_even

TIME = "time t (mean-field: units of the loss gradient × width)"
_FLOOR = 1e-17


def _one(axes: Axes | None) -> Axes:
    return new_axes()[0] if axes is None else axes


def plot_symmetry_residual(
    path: Path, problem: Problem, group: SymmetryGroup, axes: Axes | None = None
) -> Axes:
    """Largest difference of the neurons from an exactly invariant cloud against time; rounding is shaded."""
    ax = _one(axes)
    found = [orbit_residual(to_particles(problem, jnp.asarray(theta)), group) for theta in path.thetas]
    log_time = suits_log_time([path.ts])
    keep = path.ts > 0 if log_time else np.ones(len(path.ts), bool)
    ax.axhspan(_FLOOR, 1e-12, color=GRID, alpha=0.6, label="rounding (below 10⁻¹²)")
    ax.plot(
        path.ts[keep],
        np.maximum(found, _FLOOR)[keep],
        "o-",
        ms=4,
        color=rule_colour(0),
        label=f"group of order {group.order}",
    )
    set_scale(ax, "x", log_time)
    set_scale(ax, "y", True)
    ax.set_ylim(_FLOOR, max(1.0, 3 * max(found)))
    ax.set_xlabel(TIME)
    ax.set_ylabel("orbit residual (weights)")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_odd(
    paths: Mapping[str, tuple[Problem, Path]],
    reduction: OddReduction,
    axes: Axes | None = None,
    *,
    end: float = 10.0,
) -> Axes:
    """|w − w*| of networks, of the moment equations, in closed form where they are isotropic, and the guaranteed bound.

    Arguments:
        paths: {label: (problem, path)}; may be empty.
        reduction: the moment equations.
        end: last time shown, if there are no paths.
    """
    ax = _one(axes)
    times = np.linspace(0, max((float(path.ts[-1]) for _, path in paths.values()), default=end), 81)
    for number, (label, (problem, path)) in enumerate(paths.items()):
        gaps = [
            np.linalg.norm(np.asarray(split_odd_even(problem, jnp.asarray(theta)).linear) - reduction.optimum)
            for theta in path.thetas
        ]
        ax.plot(
            *visible(path.ts, np.array(gaps), log_y=True),
            "o",
            ms=4,
            color=rule_colour(1 + number),
            label=label,
        )
    solved = reduction.solve(times)
    ax.plot(
        *visible(times, solved.observed["gap"], log_y=True),
        color=rule_colour(0),
        lw=1.8,
        label="moment equations",
    )
    closed = _isotropic_gap(reduction, times)
    if closed is not None:
        ax.plot(*visible(times, closed, log_y=True), color=INK, ls=":", lw=1.4, label="closed form")
    risk = solved.losses - reduction.limit_risk
    sigma = np.asarray(reduction.flow.args["sigma"])
    lowest = np.linalg.eigvalsh(sigma)[0]
    if reduction.rate_bound > 0:
        bound = np.sqrt(2 * max(risk[0], 0.0) / lowest) * np.exp(-reduction.rate_bound * times)
        ax.plot(times, bound, color=MUTED, ls=(0, (4, 3)), lw=1.4, label="guaranteed bound")
    set_scale(ax, "y", True)
    ax.set_xlabel(TIME)
    ax.set_ylabel("|w − w*|")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def _isotropic_gap(reduction: OddReduction, times: np.ndarray) -> np.ndarray | None:
    """|w − w*| in closed form, if Σ and B(0) are multiples of the identity and w(0) = 0."""
    args, state = reduction.flow.args, np.asarray(reduction.state0)
    sigma, d = np.asarray(args["sigma"]), reduction.optimum.size
    moment, n = state[1 + d :].reshape(d, d), float(np.linalg.norm(reduction.optimum))
    plain = all(np.allclose(part, part[0, 0] * np.eye(d), rtol=0, atol=1e-12) for part in (sigma, moment))
    if not plain or np.any(state[1 : 1 + d]) or n == 0:
        return None
    found = isotropic_solution(
        times, n, metric_sum=float(state[0] + moment[0, 0]), variance=float(sigma[0, 0]),
        slope=2 * float(args["kappa"]) - 1,
    )  # fmt: skip
    return n - found.norm


_READOUTS = ("mass", "mean_sine_squared", "distance_to_subspace", "distance_to_complement")
_NAMES = (
    "mass",
    "mean sin² of the angle",
    "distance to the subspace (rad)",
    "distance to its complement (rad)",
)


def plot_alignment(
    path: Path | Mapping[str, Path],
    alpha: float | None = None,
    axes: Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """Mass, mean sin² and both distances against time, by the sign of the outgoing weights; four axes.

    Arguments:
        path: of a radial reduction, or of a network with the observable "alignment" (`Alignment.table`); or
            {label: path}.
        alpha: a mass to compare ν⁺ with, drawn as a line.
    """
    paths = path if isinstance(path, Mapping) else {"": path}
    chosen = np.asarray(new_axes(rows=4, size=(6.4, 9.0)) if axes is None else axes, dtype=object).ravel()
    if chosen.size != 4:
        raise ParticleError(f"{chosen.size} axes were given, expected 4, one below the other")
    log_time = suits_log_time([one.ts for one in paths.values()])
    for number, (label, one) in enumerate(paths.items()):
        table = _table(one)
        for ax, values in zip(chosen, np.moveaxis(table, 1, 0), strict=True):
            for column, sign in enumerate("+−"):
                ax.plot(
                    *visible(one.ts, values[:, column], log_time), color=rule_colour(column), lw=1.8,
                    ls=("-", (0, (4, 2)), (0, (1, 1.5)))[number % 3], label=f"{sign} {label}".strip(),
                )  # fmt: skip
    if alpha is not None:
        chosen[0].axhline(alpha, color=MUTED, lw=1.2, ls=":", label=f"α = {alpha:.4g}")
    for ax, name in zip(chosen, _NAMES, strict=True):
        set_scale(ax, "x", log_time)
        ax.set_ylabel(name, fontsize="small")
        dress(ax)
    chosen[0].legend(fontsize="small", frameon=False)
    chosen[-1].set_xlabel(TIME)
    return chosen


def _table(path: Path) -> np.ndarray:
    if "alignment" in path.observed:
        return np.asarray(path.observed["alignment"])
    if all(name in path.observed for name in _READOUTS):
        return np.stack([path.observed[name] for name in _READOUTS], axis=1)
    raise ParticleError(
        'the path has no readouts of alignment: give a radial reduction\'s, or a flow with observe={"alignment": …}'
    )


def plot_angle_measure(path: Path, times: Sequence[float], axes: Axes | None = None) -> Axes:
    """Mass per radian at the saves nearest to the given times; ν⁺ upwards, ν⁻ downwards; one bar per node.

    Arguments:
        path: of a radial or ridge reduction.
        times: what to show.
    """
    if "angles" not in path.observed:
        raise ParticleError("the path has no angles: give that of a radial or ridge reduction")
    ax = _one(axes)
    angles, masses = path.observed["angles"], path.observed["masses"]
    count = angles.shape[1] // 2
    top = np.pi if np.max(angles[0]) > np.pi / 2 + 1e-9 else np.pi / 2
    for number, time in enumerate(times):
        row = int(np.argmin(np.abs(path.ts - time)))
        for part, direction in ((slice(0, count), 1.0), (slice(count, None), -1.0)):
            order = np.argsort(angles[row, part])
            places, inside = angles[row, part][order], masses[row, part][order]
            edges = np.concatenate([[0.0], 0.5 * (places[1:] + places[:-1]), [top]])
            heights = inside / np.diff(edges)
            label = f"t = {path.ts[row]:.3g}" if direction > 0 else None
            ax.stairs(direction * heights, edges, color=rule_colour(number), lw=1.6, label=label)
    ax.axhline(0, color=MUTED, lw=0.8)
    ax.set_xlabel("angle θ to the subspace (rad)" if top < 2 else "angle θ to the direction (rad)")
    ax.set_ylabel("mass per radian: ν⁺ upwards, ν⁻ downwards")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_width_convergence(
    widths: Sequence[int],
    distances: Float[np.ndarray, " W"] | Mapping[str, Float[np.ndarray, " W"]],
    axes: Axes | None = None,
) -> Axes:
    """Distances to the infinitely wide network against width, beside m^{−1/2}."""
    ax = _one(axes)
    m = np.asarray(widths, float)
    series = distances if isinstance(distances, Mapping) else {"distance": distances}
    for number, (label, values) in enumerate(series.items()):
        slope = np.polyfit(np.log(m), np.log(np.asarray(values, float)), 1)[0] if len(m) > 1 else np.nan
        ax.plot(m, values, "o-", ms=4, color=rule_colour(number), label=f"{label}, slope {slope:.2f}")
    first = float(np.asarray(next(iter(series.values())))[0])
    ax.plot(m, 1.3 * first * np.sqrt(m[0] / m), color=MUTED, ls=(0, (4, 3)), lw=1.2, label="slope −½")
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    ax.set_xlabel("width m (neurons)")
    ax.set_ylabel("distance to infinite width")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_predictor_slice(
    problem: Problem,
    thetas: Mapping[str, Float[Array | np.ndarray, " P"]],
    point: Float[Array | np.ndarray, " d"],
    direction: Float[Array | np.ndarray, " d"],
    reach: float = 3.0,
    axes: Axes | None = None,
) -> Axes:
    """f(point + r·direction) against r ∈ [−reach, reach], and the target's where it can be evaluated."""
    ax = _one(axes)
    r = np.linspace(-reach, reach, 241)
    x = np.asarray(point)[None, :] + r[:, None] * np.asarray(direction)[None, :]
    for number, (label, theta) in enumerate(thetas.items()):
        ax.plot(
            r,
            np.asarray(problem.predict(jnp.asarray(theta), x)).reshape(-1),
            color=rule_colour(number),
            lw=1.8,
            label=label,
        )
    evaluate = getattr(problem, "evaluate_target", None)
    if evaluate is not None:
        ax.plot(r, np.asarray(evaluate(jnp.asarray(x))), color=MUTED, ls=(0, (4, 3)), lw=1.4, label="target")
    ax.set_xlabel("r, along the direction (inputs)")
    ax.set_ylabel("f(point + r·direction)")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax


def plot_particles(
    particles: Particles, plane: Float[Array | np.ndarray, "d columns"], axes: Axes | None = None
) -> Axes:
    """Incoming weights projected on a plane, scaled by |a|; area by |a||b|, colour by the sign of a."""
    ax = _one(axes)
    a = np.asarray(particles.outgoing)
    b = np.asarray(particles.incoming)
    if np.shape(plane) != (particles.dimension, 2):
        raise ParticleError(f"plane has shape {np.shape(plane)}, expected ({particles.dimension}, 2)")
    places = np.abs(a)[:, None] * (b @ np.asarray(plane))
    area = np.abs(a) * np.linalg.norm(b, axis=1)
    area = 60 * area / (area.max() or 1.0) + 3
    for number, (sign, name) in enumerate(((1, "a > 0"), (-1, "a < 0"))):
        mine = a * sign > 0
        ax.scatter(
            *places[mine].T, s=area[mine], color=rule_colour(number), alpha=0.6, linewidths=0, label=name
        )
    reach = 1.1 * max(float(np.abs(places).max()), 1e-12)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.set_xlabel("|a|·b along the first axis")
    ax.set_ylabel("|a|·b along the second axis")
    ax.legend(fontsize="small", frameon=False)
    dress(ax)
    return ax
