"""How wide the valley is along a direction: where the loss reaches a multiple of its value, on either side."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.fluctuations.errors import FluctuationsError, LevelError
from thetadot.fluctuations.matrices import finite, positive
from thetadot.problems import Problem

_FIRST, _RATIO = 1e-8, 1.25
_EPS, _TINY = float(np.finfo(float).eps), 1e-200


@dataclasses.dataclass(frozen=True)
class Flatness:
    """What `flatness` found, in units of the directions.

    Attributes:
        widths (k,): left + right; ∞ where a side is not reached within max_width.
        left, right (k,): distances to the nearest crossing along −v and +v; ∞ where not reached.
        reached (k,): both sides are. level: factor·L(θ*). factor: as given.
    """

    widths: Float[np.ndarray, " k"]
    left: Float[np.ndarray, " k"]
    right: Float[np.ndarray, " k"]
    reached: np.ndarray
    level: float
    factor: float

    @property
    def asymmetry(self) -> Float[np.ndarray, " k"]:
        """(right − left)/(right + left), 0 in a quadratic valley; NaN where a side is not reached."""
        with np.errstate(invalid="ignore"):
            return np.where(self.reached, (self.right - self.left) / self.widths, np.nan)

    def to_xarray(self):
        """Dataset with dimension `direction`."""
        import xarray

        return xarray.Dataset(
            {
                "width": ("direction", self.widths, {"units": "weight"}),
                "left": ("direction", self.left, {"units": "weight"}),
                "right": ("direction", self.right, {"units": "weight"}),
                "reached": ("direction", self.reached.astype(int)),
            },
            attrs={"level": self.level, "factor": self.factor},
        )


def flatness(
    loss: Callable[[Any], Any] | Problem,
    theta: Any,
    directions: Any,
    *,
    factor: float = math.e,
    max_width: float = 1e3,
    tolerance: float = 1e-10,
) -> Flatness:
    """Widths of the valley around θ*: L(θ* ± δ_± v) = factor·L(θ*), the nearest crossing on each side.

    Brackets grow from 1e-8 by a quarter at a time, so that of several crossings the nearest is found unless the loss
    comes back within a quarter of its distance; the crossing is then located by bisection, all rays at once, which a
    wall of infinite loss does not disturb. A quadratic valley of curvature h has the width 2√(2(factor − 1)L(θ*)/h).

    Arguments:
        loss: a traceable function θ → scalar, or a problem.
        theta: θ* (P,). directions: (P, k), not normalised here.
        factor: above 1. max_width: farthest distance looked at on each side.
        tolerance: of the distances, relative.

    Raises:
        LevelError: factor ≤ 1, or L(θ*) is not positive and finite.

    Example:
        >>> found = flatness(lambda t: 1.0 + 0.5 * t[0] ** 2, np.zeros(2), np.eye(2), factor=3.0)
        >>> found.widths.round(9).tolist(), found.reached.tolist()
        ([4.0, inf], [True, False])
    """
    point, basis = finite(theta, "theta"), finite(directions, "directions")
    if point.ndim != 1 or basis.ndim != 2 or len(basis) != point.size or not np.any(basis, axis=0).all():
        raise FluctuationsError(
            f"theta has shape {point.shape}, directions {basis.shape}: expected (P,) and (P, k), no direction zero"
        )
    if not (math.isfinite(factor) and factor > 1):
        raise LevelError(f"factor = {factor}: the level must lie above the loss, give a factor above 1")
    width, precision = positive(max_width, "max_width"), positive(tolerance, "tolerance")
    start = float(_along(loss, jnp.asarray(point), jnp.zeros((1, point.size)), jnp.zeros(1))[0])
    if not (math.isfinite(start) and start > 0):
        raise LevelError(
            f"L(θ*) = {start:.3g}: no level relative to it exists; add a floor to the loss, "
            "flatness(lambda theta: loss(theta) − loss(theta*) + floor, …), which makes the level absolute"
        )
    level = factor * start
    rays = jnp.asarray(np.concatenate([-basis.T, basis.T]))
    found = np.asarray(
        _crossings(
            loss, jnp.asarray(point), rays, jnp.asarray(level), jnp.asarray(width), jnp.asarray(precision)
        )
    )
    left, right = np.split(found, 2)
    return Flatness(left + right, left, right, np.isfinite(left + right), level, float(factor))


@eqx.filter_jit
def _along(loss: Any, point: Array, rays: Float[Array, "n P"], at: Float[Array, " n"]) -> Float[Array, " n"]:
    function = loss.loss if isinstance(loss, Problem) else loss
    return jax.lax.map(lambda pair: function(point + pair[0] * pair[1]), (at, rays), batch_size=32)


@eqx.filter_jit
def _crossings(loss: Any, point: Array, rays: Array, level: Array, width: Array, precision: Array) -> Array:
    """Distance of the nearest crossing on each ray; ∞ where there is none within the width."""

    def outside_at(distances: Array) -> Array:
        return ~(_along(loss, point, rays, distances) < level)  # NaN counts as a wall

    def reaching(carry):
        reach, _, outside = carry
        return (reach < width) & jnp.any(jnp.isinf(outside))

    def reach_on(carry):
        reach, inside, outside = carry
        ahead = jnp.minimum(reach * _RATIO, width)
        crossed, still = outside_at(jnp.full(len(rays), ahead)), jnp.isinf(outside)
        inside = jnp.where(still & ~crossed, ahead, inside)
        return ahead, inside, jnp.where(still & crossed, ahead, outside)

    first = jnp.minimum(_FIRST, width) / _RATIO
    none = jnp.full(len(rays), jnp.inf)
    _, inside, outside = jax.lax.while_loop(reaching, reach_on, (first, jnp.zeros(len(rays)), none))

    def wide(carry):
        inside, outside = carry
        gap = jnp.where(jnp.isfinite(outside), outside - inside, 0.0)
        return jnp.any(gap > jnp.maximum(precision, 2 * _EPS) * outside + _TINY)

    def halve(carry):
        inside, outside = carry
        middle = jnp.where(jnp.isfinite(outside), 0.5 * (inside + outside), inside)
        crossed = outside_at(middle)
        return jnp.where(crossed, inside, middle), jnp.where(crossed, middle, outside)

    inside, outside = jax.lax.while_loop(wide, halve, (inside, outside))
    return 0.5 * (inside + outside)
