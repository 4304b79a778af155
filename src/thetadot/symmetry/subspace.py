"""Targets that see k of d directions: neurons as (b_H, |b_⊥|), the rest averaged over rotations of the complement."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow
from thetadot.numerics.gaussian import relu_field
from thetadot.problems import GaussianInputs, Target
from thetadot.problems.activations import as_activation
from thetadot.problems.expectations import value_and_slope
from thetadot.symmetry.errors import HypothesisError, ParticleError
from thetadot.symmetry.particles import Particles
from thetadot.symmetry.reduction import Reduction
from thetadot.symmetry.zonal_series import gauss_rule

_RELU = as_activation("relu")


@dataclasses.dataclass(frozen=True)
class SubspaceReduction(Reduction):
    """Neurons (a, b_H, β = |b_⊥|); the state is their rows (b_H, β), then a."""

    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str


def _parts(state: Array, args: tuple) -> tuple[Array, Array]:
    columns = args[0].dimension
    count = state.shape[0] // (columns + 1)
    return state[count * columns :], state[: count * columns].reshape(count, columns)


def _left(state: Array, args: tuple) -> tuple[Array, Array, Array]:
    """(T, g, ∇g) at the neurons."""
    inputs, target, s, weights = args
    a, rows = _parts(state, args)
    own, slope = value_and_slope(lambda u: target.moment(u, inputs, _RELU), rows)
    beta = rows[:, -1]
    here = jnp.concatenate([rows, jnp.zeros((rows.shape[0], 1))], axis=1)
    across = jnp.sqrt(jnp.maximum(1.0 - s**2, 0.0))
    turned = jnp.concatenate(
        [
            jnp.broadcast_to(rows[:, None, :-1], (*rows.shape[:1], s.shape[0], rows.shape[1] - 1)),
            (beta[:, None] * s[None, :])[:, :, None],
            (beta[:, None] * across[None, :])[:, :, None],
        ],
        axis=2,
    ).reshape(-1, rows.shape[1] + 1)
    shares = (a[:, None] * weights[None, :]).ravel() / a.shape[0]
    drive, pull = relu_field(here, turned, shares)
    return own, own - drive, slope - pull[:, :-1]


def _field(state: Array, args: tuple) -> Array:
    a, _ = _parts(state, args)
    _, pull, slope = _left(state, args)
    return jnp.concatenate([(a[:, None] * slope).ravel(), pull])


def _risk(state: Array, args: tuple) -> Array:
    a, _ = _parts(state, args)
    own, pull, _ = _left(state, args)
    return 0.5 * (args[1].power(args[0]) - a @ (own + pull) / a.shape[0])


def _outgoing(state: Array, args: tuple) -> Array:
    return _parts(state, args)[0]


def _incoming(state: Array, args: tuple) -> Array:
    return _parts(state, args)[1]


def _require_left_out(target: Target, dimension: int) -> None:
    """Raise `HypothesisError` if f* depends on the last coordinate."""
    x = np.random.default_rng(0).normal(size=(64, dimension))
    moved = np.concatenate([x[:, :-1], -2.0 * x[:, -1:]], axis=1)
    here, there = (np.asarray(target.evaluate(jnp.asarray(points))) for points in (x, moved))
    residual = float(np.abs(here - there).max() / (np.sqrt(np.mean(here**2)) or 1.0))
    if not residual <= 1e-8:
        raise HypothesisError(
            f"the target depends on its last coordinate, which stands for the complement (relative change "
            f"{residual:.2g}): give the target on one coordinate more than it sees, with a last one that it ignores"
        )


def subspace_reduction(
    target: Target,
    particles: Particles,
    complement_dimension: int,
    *,
    nodes: int = 24,
    rule: tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]] | None = None,
) -> SubspaceReduction:
    """ReLU neurons on a target of k of d directions, from a start that is invariant under rotations of the rest.

    Arguments:
        target: under x ~ N(0, I), on R^{k+1}, ignoring the last coordinate.
        particles: m neurons with incoming (m, k + 1) = (b_H, β), β ≥ 0, in mean-field scaling.
        complement_dimension: d − k.
        nodes: of the Gauss rule over the rotations.
        rule: (s, weights) instead of it, s the cosine between two complements; for starts that are invariant under a
            finite group of rotations only.

    Raises:
        ParticleError: shapes that do not fit, β < 0, or a complement of dimension < 1.
        HypothesisError: the target depends on the last coordinate.

    Source: that the dynamics reduce is stated in the abstract of arXiv 2211.08771; the equations are re-derived.
    """
    k = particles.dimension - 1
    if k < 1 or complement_dimension < 1:
        raise ParticleError(
            f"the subspace has dimension {k} and its complement {complement_dimension}: expected at least 1 each"
        )
    if bool(jnp.any(particles.incoming[:, -1] < 0)):
        raise ParticleError("the last column of incoming is |b_⊥| and may not be negative")
    _require_left_out(target, k + 1)
    if rule is not None:
        s, weights = (np.asarray(part, float) for part in rule)
        if s.shape != weights.shape or s.ndim != 1 or np.any(np.abs(s) > 1 + 1e-12):
            raise ParticleError(
                f"rule has shapes {s.shape} and {weights.shape}, expected two vectors, cosines first"
            )
    elif complement_dimension == 1:
        s, weights = np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    else:
        half = (complement_dimension - 3) / 2
        s, weights = gauss_rule(nodes, half, half)
    args = (GaussianInputs(k + 1), target, jnp.asarray(s), jnp.asarray(weights))
    state = jnp.concatenate([particles.incoming.ravel(), particles.outgoing])
    return SubspaceReduction(
        Flow(_field, args), state, {"risk": _risk, "outgoing": _outgoing, "incoming": _incoming},
        f"{particles.width} neurons as ({k} coordinates, length of the other {complement_dimension})",
    )  # fmt: skip
