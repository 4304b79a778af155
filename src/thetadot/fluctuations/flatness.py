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
from scipy.optimize import elementwise

from thetadot.fluctuations.errors import FluctuationsError, LevelError
from thetadot.fluctuations.matrices import finite, positive
from thetadot.problems import Problem

_FIRST, _RATIO = 1e-8, 1.25
_HUGE = 1e300


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
    comes back within a quarter of its distance; the root is then located by Chandrupatla's method. A quadratic valley
    of curvature h has the width 2√(2(factor − 1)L(θ*)/h).

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
            f"L(θ*) = {start:.3g}: a level relative to it does not exist; add a floor to the loss, "
            "flatness(lambda theta: loss(theta) − loss(theta*) + floor, …), which makes the level absolute"
        )
    level = factor * start
    rays = jnp.asarray(np.concatenate([-basis.T, basis.T]))
    inside, outside = _brackets(loss, jnp.asarray(point), rays, jnp.asarray(level), jnp.asarray(width))
    found = _crossings(loss, point, rays, level, np.asarray(inside), np.asarray(outside), precision)
    left, right = np.split(found, 2)
    return Flatness(left + right, left, right, np.isfinite(left + right), level, float(factor))


@eqx.filter_jit
def _along(loss: Any, point: Array, rays: Float[Array, "n P"], at: Float[Array, " n"]) -> Float[Array, " n"]:
    function = loss.loss if isinstance(loss, Problem) else loss
    return jax.lax.map(lambda pair: function(point + pair[0] * pair[1]), (at, rays), batch_size=32)


@eqx.filter_jit
def _brackets(loss: Any, point: Array, rays: Array, level: Array, width: Array) -> tuple[Array, Array]:
    """The last distance below the level and the first one that is not; ∞ where there is none."""

    def wanted(carry):
        reach, _, outside = carry
        return (reach < width) & jnp.any(jnp.isinf(outside))

    def advance(carry):
        reach, inside, outside = carry
        ahead = jnp.minimum(reach * _RATIO, width)
        values = _along(loss, point, rays, jnp.full(len(rays), ahead))
        open_ = jnp.isinf(outside)
        crossed = open_ & ~(values < level)  # NaN counts as a wall
        inside = jnp.where(open_ & ~crossed, ahead, inside)
        return ahead, inside, jnp.where(crossed, ahead, outside)

    first = jnp.minimum(jnp.asarray(_FIRST), width)
    none = jnp.full(len(rays), jnp.inf)
    return jax.lax.while_loop(wanted, advance, (first / _RATIO, jnp.zeros(len(rays)), none))[1:]


def _crossings(loss, point, rays, level: float, inside, outside, tolerance: float) -> np.ndarray:
    found = np.full(len(inside), np.inf)
    crossed = np.flatnonzero(np.isfinite(outside))
    if not crossed.size:
        return found
    at = np.ones(len(inside))
    where = jnp.asarray(point)

    def above(distance: np.ndarray, ray: np.ndarray) -> np.ndarray:
        # Always all rays, so that the shrinking set of open ones compiles once.
        at[ray] = distance
        values = np.asarray(_along(loss, where, rays, jnp.asarray(at)))[ray] - level
        return np.clip(np.nan_to_num(values, nan=_HUGE), -_HUGE, _HUGE)

    root = elementwise.find_root(
        above,
        (inside[crossed], outside[crossed]),
        args=(crossed,),
        tolerances={"xrtol": tolerance, "xatol": 0.0},
    )
    found[crossed] = root.x
    return found
