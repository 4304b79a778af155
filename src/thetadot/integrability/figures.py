"""Pictures: the verdict's table, loops around singular points, maps of groups, orbits, and the run in real time."""

import itertools
from typing import Any

import numpy as np
import sympy
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from thetadot.dynamics.canvas import TIME_LABEL, dress, new_axes
from thetadot.dynamics.palette import INK, MUTED, PAPER, rule_colour
from thetadot.integrability.companion import RealTimeCompanion
from thetadot.integrability.kovacic import GaloisGroup
from thetadot.integrability.monodromy import Monodromy
from thetadot.integrability.orbits import Orbit
from thetadot.integrability.outcome import Finding, Verdict
from thetadot.integrability.solvability_map import SolvabilityMap
from thetadot.integrability.symbolic import SymbolicFlow

_COLOURS = {
    "TORUS": "#cfe3ff",
    "UNIPOTENT": "#b9d4f5",
    "BOREL": "#9cc0ea",
    "DIHEDRAL": "#cdeedd",
    "TETRAHEDRAL": "#aee0c6",
    "OCTAHEDRAL": "#8fd1b0",
    "ICOSAHEDRAL": "#70c199",
    "SL2": "#3b1f4a",
    "solvable": "#e4edf7",
    "UNDECIDED": PAPER,
}
_MOST_ROWS = 24


def plot_verdict(verdict: Verdict, axes: Axes | None = None) -> Axes:
    """One row for each leaf and block that was looked at, coloured by its group; hatched where nothing is decided."""
    rows = list(verdict.findings)[:_MOST_ROWS]
    ax = _one(axes, (7.6, 1.3 + 0.34 * max(len(rows), 1)))
    for y, finding in enumerate(rows):
        name = _colour_name(finding)
        hatch = "////" if name == "UNDECIDED" else None
        ax.add_patch(
            Rectangle((0, y + 0.08), 1, 0.84, facecolor=_COLOURS[name], edgecolor=MUTED, hatch=hatch, lw=0.6)
        )
        word = (
            finding.group.value
            if finding.group
            else {True: "solvable", False: "not solvable"}.get(
                finding.solvable,
                "not decided",  # pyright: ignore[reportArgumentType]
            )
        )
        colour = "#ffffff" if name == "SL2" else INK
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5} if hatch else None
        ax.text(0.5, y + 0.5, word, ha="center", va="center", color=colour, fontsize="small", bbox=box)
        ax.text(
            1.06, y + 0.5, _short(finding.reason, 62), ha="left", va="center", color=MUTED, fontsize="x-small"
        )
    ax.set_yticks([y + 0.5 for y in range(len(rows))], [_row_name(f) for f in rows], fontsize="x-small")
    ax.set_ylim(max(len(rows), 1), 0)
    ax.set_xlim(0, 3.4)
    ax.set_xticks([])
    ax.set_xlabel("Galois group of the block, and what decided")
    ax.set_ylabel("manifold, leaf, order of the block")
    more = len(verdict.findings) - len(rows)
    extra = f" ({more} more rows)" if more else ""
    ax.set_title(f"{verdict.status.name.replace('_', ' ').lower()}{extra}", loc="left", fontsize="medium")
    dress(ax)
    ax.grid(False)
    return ax


def _colour_name(finding: Finding) -> str:
    if finding.group is not None:
        return finding.group.name
    return {True: "solvable", False: "SL2"}.get(finding.solvable, "UNDECIDED")  # pyright: ignore[reportArgumentType]


def _row_name(finding: Finding) -> str:
    leaf = "" if finding.level is None else f", C = {finding.level}"
    order = "" if finding.order is None else f", order {finding.order}"
    return _short(finding.manifold.split(":")[0], 34) + leaf + order


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def plot_monodromy(monodromy: Monodromy, axes: Axes | None = None) -> Axes:
    """The plane of p with the singular points, the base and the loops."""
    ax = _one(axes, (5.6, 5.2))
    for k, loop in enumerate(monodromy.loops):
        points = np.array([complex(float(x), float(y)) for x, y in loop])
        ax.plot(points.real, points.imag, color=rule_colour(k % 6), lw=1.1, alpha=0.8)
    kinds = (
        (~monodromy.irregular, "o", "simple pole"),
        (monodromy.irregular, "D", "pole of higher order"),
    )
    for where, marker, label in kinds:
        if where.any():
            places = monodromy.singularities[where]
            ax.plot(places.real, places.imag, marker, color=INK, ms=6, ls="", label=label, zorder=3)
    base = monodromy.base
    ax.plot([base.real], [base.imag], "*", color=rule_colour(1), ms=11, ls="", label="base point", zorder=3)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("Re p")
    ax.set_ylabel("Im p")
    kind = "proved radii" if monodromy.rigorous else "floating point"
    ax.set_title(f"loops of the monodromy, {kind}", loc="left", fontsize="medium")
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    dress(ax)
    return ax


def plot_solvability_map(map_: SolvabilityMap, axes: Axes | None = None) -> Axes:
    """Groups over one or two parameters; SL₂ is dark, undecided hatched."""
    groups = map_.groups
    if groups.ndim == 1:
        groups = groups.expand_dims({"": [""]})
    ax = _one(axes, (1.8 + 0.42 * groups.shape[1], 1.9 + 0.42 * groups.shape[0]))
    for i, j in itertools.product(*(range(n) for n in groups.shape)):
        name = str(groups.values[i, j]) or "UNDECIDED"
        hatch = "////" if name == "UNDECIDED" else None
        ax.add_patch(Rectangle((j, i), 1, 1, facecolor=_COLOURS[name], edgecolor=MUTED, lw=0.6, hatch=hatch))
    rows, columns = groups.dims
    ax.set_xticks(
        [j + 0.5 for j in range(groups.shape[1])], [str(v) for v in groups[columns].values], rotation=90
    )
    ax.set_yticks([i + 0.5 for i in range(groups.shape[0])], [str(v) for v in groups[rows].values])
    ax.set_xlim(0, groups.shape[1])
    ax.set_ylim(0, groups.shape[0])
    ax.set_xlabel(str(columns))
    ax.set_ylabel(str(rows) or "group")
    present = [g.name for g in GaloisGroup if (groups.values == g.name).any()]
    present += ["UNDECIDED"] if (groups.values == "").any() else []
    handles = [
        Patch(facecolor=_COLOURS[n], edgecolor=MUTED, label=n, hatch="////" if n == "UNDECIDED" else None)
        for n in present
    ]
    ax.legend(
        handles=handles, fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4
    )
    dress(ax)
    ax.grid(False)
    return ax


def plot_orbit(flow: SymbolicFlow, orbit: Orbit, axes: Axes | None = None, *, span: float = 3.0) -> Axes:
    """The real leaf in the manifold's coordinates with its equilibria; p runs over real values up to `span`."""
    ax = _one(axes, (5.6, 4.4))
    p = orbit.parameter
    coordinates = orbit.manifold.coordinates
    curve = [sympy.lambdify(p, orbit.curve[s], modules="numpy") for s in coordinates]
    logarithmic = orbit.logarithmic
    values = np.geomspace(np.exp(-span), np.exp(span), 801) if logarithmic else np.linspace(-span, span, 1200)
    with np.errstate(all="ignore"):
        places = [np.broadcast_to(np.asarray(f(values), float), values.shape).copy() for f in curve]
    numbers = [np.where(np.abs(x) < 4 * span, x, np.nan) for x in places]
    along = numbers if len(numbers) == 2 else [values, numbers[0]]
    labels = [str(s) for s in coordinates] if len(numbers) == 2 else [str(p), str(coordinates[0])]
    ax.plot(
        *along,
        color=rule_colour(0),
        lw=1.8,
        label="orbit" if orbit.level is None else f"leaf C = {orbit.level}",
    )
    for q in _rest_points(orbit):
        if logarithmic and q <= 0:
            continue
        with np.errstate(all="ignore"):
            rest: list[Any] = [float(f(q)) for f in curve]
        rest = rest if len(rest) == 2 else [q, rest[0]]
        if np.all(np.isfinite(rest)) and max(map(abs, rest)) < 4 * span:
            ax.plot(*rest, "o", color=rule_colour(1), ms=7, zorder=3)
    ax.plot([], [], "o", color=rule_colour(1), label="equilibria")
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])
    ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    dress(ax)
    return ax


def _rest_points(orbit: Orbit) -> list[float]:
    speed = orbit.speed
    if speed.radicand:
        top = sympy.fraction(sympy.together(orbit.velocity))[0]
        roots = np.roots([complex(c) for c in sympy.Poly(top, orbit.parameter, extension=True).all_coeffs()])
    else:
        roots = np.roots([float(int(c.p) / int(c.q)) for c in reversed(speed.plain.numerator.coeffs())])
    return [float(z.real) for z in roots if abs(z.imag) < 1e-9 * max(1.0, abs(z))]


def plot_real_time(companion: RealTimeCompanion, axes: Axes | None = None) -> Axes:
    """Growth of normal perturbations along the run; the title says how well numbers and formulas agree."""
    ax = _one(axes, (6.4, 4.0))
    for b, order in enumerate(companion.orders):
        label = f"block {b + 1}, order {order}"
        ax.plot(companion.times, companion.growth[:, b], color=rule_colour(b % 6), lw=1.8, label=label)
    ax.axhline(0.0, color=MUTED, lw=0.8)
    ax.set_xlabel(TIME_LABEL)
    ax.set_ylabel("log of the largest growth factor")
    parts = [
        f"block error {companion.block_error:.1g}",
        f"off the manifold {companion.invariance_defect:.1g}",
    ]
    if np.isfinite(companion.integral_drift):
        parts.append(f"integral drift {companion.integral_drift:.1g}")
    if np.isfinite(companion.closed_form_error):
        parts.append(f"closed form {companion.closed_form_error:.1g}")
    ax.set_title(", ".join(parts), loc="left", fontsize="small")
    if companion.orders:
        ax.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
    dress(ax)
    return ax


def _one(axes: Axes | None, size: tuple[float, float]) -> Axes:
    return new_axes(size=size)[0] if axes is None else axes
