"""Pictures of fluctuations: spectra, circulation, layers, variance against width, theory over simulation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

from thetadot.dynamics.canvas import dress, new_axes, set_scale, visible
from thetadot.dynamics.palette import INK, MUTED, member_dashes, rule_colour
from thetadot.dynamics.wording import number
from thetadot.fluctuations.balance import DetailedBalance
from thetadot.fluctuations.ensemble import EnsembleFluctuations
from thetadot.fluctuations.errors import FluctuationsError
from thetadot.fluctuations.layers import LayerFluctuations
from thetadot.fluctuations.stationary import StationaryCovariance
from thetadot.fluctuations.variance_flatness import FitStatus, VarianceFlatness

_BELOW = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.16),
    "ncols": 2,
    "fontsize": "small",
    "frameon": False,
}


def _one(axes: Axes | None) -> Axes:
    return new_axes()[0] if axes is None else axes


def plot_spectra(found: StationaryCovariance, axes: Axes | None = None) -> Axes:
    """Eigenvalues of curvature H, gradient noise D and covariance Σ, each over its largest."""
    ax = _one(axes)
    matrices = {
        "curvature H": found.hessian,
        "gradient noise D": found.noise,
        "covariance Σ": found.covariance,
    }
    for place, (name, matrix) in enumerate(matrices.items()):
        if not np.isfinite(matrix).all():
            continue
        values = np.linalg.eigvalsh(matrix)[::-1]
        top = values[0] if values[0] > 0 else 1.0
        shown = np.where(values > 1e-14 * top, values / top, np.nan)
        ranks, heights = visible(np.arange(1, len(values) + 1), shown, False, True)
        label = f"{name}, largest {number(values[0])}"
        ax.plot(ranks, heights, "o", ms=4, ls=(0, member_dashes(place)) if place else "-", color=rule_colour(place),
                lw=1.2, label=label)  # fmt: skip
    set_scale(ax, "y", True)
    ax.set_xlabel("rank of the eigenvalue")
    ax.set_ylabel("eigenvalue over the largest")
    ax.set_title(f"{found.kind} covariance: {found.status}", fontsize="medium", loc="left")
    ax.legend(**_BELOW)
    dress(ax)
    return ax


def plot_circulation(found: DetailedBalance, axes: Sequence[Axes] | np.ndarray | None = None) -> np.ndarray:
    """The circulation Q as a matrix, and the mean flow of probability in the plane where it turns fastest.

    Returns:
        the two axes (2,).
    """
    if axes is None:
        first = new_axes(size=(9.2, 4.0))[0]
        figure = first.figure
        first.remove()
        axes = figure.subplots(1, 2)
    pair = np.asarray(axes, dtype=object).ravel()
    if pair.size != 2:
        raise FluctuationsError(f"{pair.size} axes were given, expected 2: for the matrix and for the plane")
    matrix, plane = pair
    top = float(np.abs(found.circulation).max()) or 1.0
    image = matrix.imshow(found.circulation, cmap="PuOr_r", vmin=-top, vmax=top)
    matrix.figure.colorbar(image, ax=matrix, label="Q (loss²/weight²)", shrink=0.8)
    matrix.set_xlabel("parameter")
    matrix.set_ylabel("parameter")
    matrix.set_title("circulation Q", fontsize="medium", loc="left")
    _draw_plane(found, plane)
    return pair


def _draw_plane(found: DetailedBalance, plane: Axes) -> None:
    # iQ is Hermitian: the real and imaginary parts of its first eigenvector span the plane of fastest turning.
    vectors = np.linalg.eigh(1j * found.circulation)[1][:, -1]
    basis = np.linalg.qr(np.stack([np.real(vectors), np.imag(vectors)], axis=1))[0]
    sigma = basis.T @ found.covariance @ basis
    values, tilt = np.linalg.eigh(sigma)
    basis, widths = basis @ tilt[:, ::-1], np.sqrt(np.maximum(values[::-1], 0.0))
    if widths[1] > 0:
        flow = -basis.T @ found.circulation @ basis @ np.diag(1 / widths**2)
        ring = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        points = np.concatenate(
            [r * widths[:, None] * np.stack([np.cos(ring), np.sin(ring)]) for r in (0.7, 1.4)], 1
        )
        arrows = flow @ points
        longest = max(float(np.linalg.norm(arrows, axis=0).max()), 1e-300)
        plane.quiver(*points, *arrows * (0.45 * widths[0] / longest), color=rule_colour(0), angles="xy",
                     scale_units="xy", scale=1, width=0.006, label="mean velocity of probability")  # fmt: skip
    ellipse = Ellipse(
        (0, 0), 2 * widths[0], 2 * widths[1], fill=False, color=INK, lw=1.2, label="one standard deviation"
    )
    plane.add_patch(ellipse)
    reach = 1.9 * widths[0] or 1.0
    plane.set_xlim(-reach, reach)
    plane.set_ylim(-reach, reach)
    plane.set_aspect("equal")
    plane.set_xlabel("first axis (weight/√(ην))")
    plane.set_ylabel("second axis (weight/√(ην))")
    plane.set_title(str(found), fontsize="small", loc="left")
    plane.legend(fontsize="small", frameon=False, loc="upper right")
    dress(plane)


def plot_layers(found: LayerFluctuations, axes: Axes | None = None) -> Axes:
    """Variance along the principal axes of each layer's block against the curvature along them."""
    ax = _one(axes)
    for layer, name in enumerate(found.names):
        variances, _, curvatures = found.principal(layer)
        seen = (variances > 1e-12 * found.variance) & (curvatures > 0)
        label = f"{name} ({int(seen.sum())} of {len(seen)} move)"
        ax.plot(
            curvatures[seen],
            variances[seen],
            "o^sDvP"[layer % 6],
            ms=5,
            color=rule_colour(layer),
            label=label,
        )
    ax.axhline(found.variance, color=MUTED, ls="--", lw=1.2, label="one layer: ησ²/2S in every direction")
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    ax.set_xlabel("curvature of the layer's block (loss/weight²)")
    ax.set_ylabel("variance (weight²)")
    if found.noise_mismatch is not None:
        ax.set_title(f"noise differs from σ²H by {found.noise_mismatch:.0%}", fontsize="medium", loc="left")
    ax.legend(**_BELOW)
    dress(ax)
    return ax


def plot_variance_flatness(
    found: VarianceFlatness, axes: Axes | None = None, *, reference: float | None = None
) -> Axes:
    """Variance against width, log–log, with the fitted power and the range of its interval.

    Arguments:
        found: the fit. axes: where to draw. reference: variance of a single layer, as a horizontal line.
    """
    ax = _one(axes)
    ax.plot(
        found.widths, found.variances, "o", ms=5, color=rule_colour(0), label=f"{found.points} directions"
    )
    if found.status is FitStatus.FITTED:
        xs = np.geomspace(found.widths.min(), found.widths.max(), 50)
        middle = np.exp(np.median(np.log(found.widths)))
        height = np.exp(found.intercept) * middle**-found.exponent
        low, high = found.interval
        label = f"ψ = {number(found.exponent)} [{number(low)}, {number(high)}]"
        ax.plot(xs, height * (xs / middle) ** -found.exponent, color=rule_colour(1), lw=1.6, label=label)
        edges = [height * (xs / middle) ** -power for power in (low, high)]
        ax.fill_between(xs, np.minimum(*edges), np.maximum(*edges), color=rule_colour(1), alpha=0.15, lw=0)
    else:
        ax.set_title(str(found), fontsize="medium", loc="left")
    if reference is not None:
        ax.axhline(reference, color=MUTED, ls="--", lw=1.2, label="single layer")
    set_scale(ax, "x", True)
    set_scale(ax, "y", True)
    ax.set_xlabel("width of the valley (weight)")
    ax.set_ylabel("variance (weight²)")
    ax.legend(**_BELOW)
    dress(ax)
    return ax


def plot_theory_against_simulation(
    theories: Any, simulated: EnsembleFluctuations, axes: Axes | None = None
) -> Axes:
    """Simulated variances over predicted ones, entry by entry of the diagonal, with two standard errors.

    Arguments:
        theories: a `StationaryCovariance` or several (say of all three kinds), or {name: variances}.
        simulated: an ensemble in the same coordinates. axes: where to draw.
    """
    ax = _one(axes)
    if isinstance(theories, StationaryCovariance):
        theories = [theories]
    named = (
        theories if isinstance(theories, dict) else {each.kind: np.diag(each.covariance) for each in theories}
    )
    measured, error = np.diag(simulated.covariance), np.diag(simulated.standard_error)
    places = np.arange(1, len(measured) + 1)
    for index, (name, values) in enumerate(named.items()):
        predicted = np.asarray(values, float)
        if predicted.shape != measured.shape:
            raise FluctuationsError(
                f"{name} has {predicted.shape} variances, the simulation {measured.shape}"
            )
        known = predicted > 0
        ax.errorbar(
            places[known] + 0.12 * (index - (len(named) - 1) / 2), measured[known] / predicted[known],
            2 * error[known] / predicted[known], fmt="o^s"[index % 3], ms=5, lw=1.2, color=rule_colour(index),
            label=name,
        )  # fmt: skip
    ax.axhline(1.0, color=INK, lw=1.0)
    ax.set_xlabel("direction")
    ax.set_ylabel("simulated over predicted variance")
    ax.set_title(f"{simulated.members} members: {simulated.status}", fontsize="medium", loc="left")
    ax.legend(**_BELOW)
    dress(ax)
    return ax
