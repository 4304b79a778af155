"""Reductions that keep neurons: one per orbit of a symmetry, or cone coordinates of balanced neurons."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import Flow
from thetadot.problems import PopulationRisk, Problem
from thetadot.problems.expectations import slope_of
from thetadot.symmetry.check import check_symmetry
from thetadot.symmetry.errors import HypothesisError, ParticleError
from thetadot.symmetry.groups import SymmetryGroup
from thetadot.symmetry.orbits import symmetrize
from thetadot.symmetry.particles import Particles, network_of, to_particles, to_theta
from thetadot.symmetry.reduction import Reduction

_BALANCED = 1e-8


def _motion(problem: Problem, whole: Particles, count: int) -> tuple[Array, Array]:
    """(a′, b′) of the first `count` particles of a cloud."""
    if isinstance(problem, PopulationRisk) and problem.method == "closed":
        pull, slope = problem.potential(whole.incoming[:count], whole.outgoing, whole.incoming)
        return pull, whole.outgoing[:count, None] * slope
    gradient = problem.value_and_grad(to_theta(problem, whole))[1]
    moved = to_particles(problem, -problem.time_scale * gradient)
    return moved.outgoing[:count], moved.incoming[:count]


@dataclasses.dataclass(frozen=True)
class OrbitReduction(Reduction):
    """One neuron per orbit; the state is their incoming weights, row by row, then their outgoing ones."""

    problem: Problem
    group: SymmetryGroup
    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str

    def theta(self, state: Float[Array | np.ndarray, " n"]) -> Float[Array, " P"]:
        """The whole network (P,) of a state."""
        cloud = _unpack(jnp.asarray(state), self.group.matrices.shape[1])
        return to_theta(self.problem, symmetrize(cloud, self.group))


def _unpack(state: Array, dimension: int) -> Particles:
    count = state.shape[0] // (dimension + 1)
    return Particles(state[count * dimension :], state[: count * dimension].reshape(count, dimension))


def _orbits(cloud: Particles, args: tuple) -> Particles:
    _, matrices, signs = args
    outgoing = (signs[:, None] * cloud.outgoing[None, :]).ravel()
    incoming = jnp.einsum("gij,mj->gmi", matrices, cloud.incoming).reshape(-1, cloud.dimension)
    return Particles(outgoing, incoming)


def _orbit_field(state: Array, args: tuple) -> Array:
    cloud = _unpack(state, args[1].shape[1])
    pull, moved = _motion(args[0], _orbits(cloud, args), cloud.width)
    return jnp.concatenate([moved.ravel(), pull])


def _orbit_risk(state: Array, args: tuple) -> Array:
    return args[0].loss(to_theta(args[0], _orbits(_unpack(state, args[1].shape[1]), args)))


def orbit_reduction(
    problem: Problem, group: SymmetryGroup, representatives: Particles, *, strict: bool = True
) -> OrbitReduction:
    """Follow one neuron per orbit of a symmetric network: m²/G kernel pairs per step where risks are closed.

    Arguments:
        problem: of width G·m₀.
        group: of order G.
        representatives: m₀ neurons; the network starts as `symmetrize(representatives, group)`.
        strict: check that every map of the group is a symmetry of the problem; without it that is the user's promise,
            as for targets that cannot be evaluated.

    Raises:
        ParticleError: the width is not G·m₀.
        HypothesisError: a map of the group is not orthogonal, or no symmetry of the inputs and the target.

    Source: re-derived: the flow of an invariant cloud is invariant.
    """
    width = network_of(problem).width
    if width != group.order * representatives.width:
        raise ParticleError(
            f"the network has {width} neurons, {representatives.width} representatives of a group of order "
            f"{group.order} make {group.order * representatives.width}"
        )
    for matrix, sign in zip(group.matrices[1:], group.signs[1:], strict=True) if strict else ():
        checked = check_symmetry(problem, matrix, float(sign))
        if not checked.holds:
            raise HypothesisError(
                f"a map of the group is no symmetry of the problem ({checked}), so that its network does not stay a "
                "union of orbits: leave it out of the group, or pass strict=False if you know better"
            )
    args = (problem, jnp.asarray(group.matrices), jnp.asarray(group.signs))
    state = jnp.concatenate([representatives.incoming.ravel(), representatives.outgoing])
    text = f"{representatives.width} orbits of a group of order {group.order}, of {problem.description}"
    return OrbitReduction(problem, group, Flow(_orbit_field, args), state, {"risk": _orbit_risk}, text)


@dataclasses.dataclass(frozen=True)
class ConeReduction(Reduction):
    """Balanced neurons, |a| = |b|, in cone coordinates: log(|a||b|) (m,), then the directions b/|b| row by row."""

    problem: Problem
    flow: Flow
    state0: Float[Array, " n"]
    observables: Mapping[str, Callable]
    description: str

    def theta(self, state: Float[Array | np.ndarray, " n"]) -> Float[Array, " P"]:
        """The whole network (P,) of a state."""
        return to_theta(self.problem, _cone_cloud(jnp.asarray(state), self.flow.args))


def _cone_parts(state: Array, args: tuple) -> tuple[Array, Array]:
    count = args[1].shape[0]
    return state[:count], state[count:].reshape(count, -1)


def _cone_cloud(state: Array, args: tuple) -> Particles:
    log_size, rows = _cone_parts(state, args)
    half = jnp.exp(0.5 * log_size)
    return Particles(args[1] * half, half[:, None] * rows)


def _cone_field(state: Array, args: tuple) -> Array:
    problem, signs = args
    log_size, rows = _cone_parts(state, args)
    cloud = _cone_cloud(state, args)
    if isinstance(problem, PopulationRisk) and problem.method == "closed":
        pull, slope = problem.potential(rows, cloud.outgoing, cloud.incoming)
    else:
        pull, moved = _motion(problem, cloud, cloud.width)
        pull, slope = pull / jnp.exp(0.5 * log_size), moved / cloud.outgoing[:, None]
    across = slope - jnp.sum(slope * rows, axis=1)[:, None] * rows
    return jnp.concatenate([2.0 * signs * pull, (signs[:, None] * across).ravel()])


def _cone_risk(state: Array, args: tuple) -> Array:
    return args[0].loss(to_theta(args[0], _cone_cloud(state, args)))


def _cone_mass(state: Array, args: tuple) -> Array:
    size = jnp.exp(_cone_parts(state, args)[0]) / args[1].shape[0]
    return jnp.stack([jnp.sum(jnp.where(args[1] == sign, size, 0.0)) for sign in (1.0, -1.0)])


def cone_reduction(problem: Problem, theta0: Float[Array | np.ndarray, " P"]) -> ConeReduction:
    """Follow a network of balanced (leaky) ReLU neurons in cone coordinates, in which vanishing neurons are regular.

    (log c)′ = 2εg(u), u′ = ε(I − uuᵀ)∇g(u), with c = |a||b|, u = b/|b|, ε = sign(a).

    Raises:
        HypothesisError: |a| ≠ |b| beyond 1e-8, a vanishing neuron, or another activation.

    Source: re-derived: a² − |b|² is conserved.
    """
    if slope_of(network_of(problem).activation) is None:
        raise HypothesisError(
            f"cone coordinates need a positively homogeneous activation (relu, leaky_relu, identity), not "
            f"{network_of(problem).activation.name}"
        )
    cloud = to_particles(problem, jnp.asarray(theta0))
    a, b = np.asarray(cloud.outgoing), np.asarray(cloud.incoming)
    lengths = np.linalg.norm(b, axis=1)
    gap = float(np.abs(np.abs(a) - lengths).max() / max(lengths.max(), 1e-300))
    if not gap <= _BALANCED or lengths.min() == 0:
        raise HypothesisError(
            f"cone coordinates need |a| = |b| > 0 for every neuron; the largest relative difference is {gap:.2g}: "
            "start from unit-sphere incoming and ±1 outgoing weights (mean_field's init), or follow the particles with "
            "td.flow"
        )
    state = np.concatenate([np.log(np.abs(a) * lengths), (b / lengths[:, None]).ravel()])
    args = (problem, jnp.asarray(np.sign(a)))
    observables = {"risk": _cone_risk, "mass": _cone_mass}
    text = f"cone coordinates of {problem.description}"
    return ConeReduction(problem, Flow(_cone_field, args), jnp.asarray(state), observables, text)
