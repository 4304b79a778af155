"""How a population risk is computed: in closed form, by Hermite series, or by cubature over few inputs."""

import dataclasses
import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import roots_hermitenorm

from thetadot.numerics.gaussian.hermite import MOVES_AT_MOST, coefficients, correlate, step_change
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.problems.expectations import closed_field, closed_kernel, value_and_slope
from thetadot.problems.targets import LinearTarget
from thetadot.problems.teacher_target import TeacherTarget

if TYPE_CHECKING:
    from thetadot.problems.population import PopulationRisk


@dataclasses.dataclass(frozen=True)
class Neurons:
    """Parameters of a two-layer network: outgoing (m,), incoming (m, d), biases (m,) or None."""

    outgoing: Array
    incoming: Array
    biases: Array | None


def neurons_of(problem: "PopulationRisk", theta: Array) -> Neurons:
    """The neurons of θ."""
    (incoming, biases), (outgoing, _) = problem.network.chain.layers(theta)
    return Neurons(outgoing[0], incoming, biases)


def closed_risk(problem: "PopulationRisk", theta: Array) -> tuple[Array, Array]:
    """Risk and gradient: ½(E f*² − o a·(T + g)), −o g for a, −o a∇g for b, with g = T − o K a."""
    neurons, scale = neurons_of(problem, theta), problem.network.chain.output_scale
    own, slope = _target_moments(problem, neurons.incoming)
    drive, pull = closed_field(
        neurons.incoming,
        neurons.incoming,
        scale * neurons.outgoing,
        problem.network.activation,
        problem.inputs,
    )
    left, left_slope = own - drive, slope - pull
    loss = 0.5 * (problem.power - scale * (neurons.outgoing @ (own + left)))
    weights = -scale * neurons.outgoing[:, None] * left_slope
    return loss, jnp.concatenate([weights.ravel(), -scale * left])


def potential(
    problem: "PopulationRisk",
    points: Float[Array, "n d"],
    outgoing: Float[Array, " m"],
    incoming: Float[Array, "m d"],
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """g(b) = E[(f*(x) − o Σ_k a_kσ(b_k·x))σ(b·x)] at other points, and its gradient; closed risks only."""
    own, slope = _target_moments(problem, points)
    scale = problem.network.chain.output_scale
    drive, pull = closed_field(points, incoming, scale * outgoing, problem.network.activation, problem.inputs)
    return own - drive, slope - pull


def _target_moments(problem: "PopulationRisk", rows: Array) -> tuple[Array, Array]:
    activation = problem.network.activation
    return value_and_slope(
        lambda u: problem.target.moment(u, problem.inputs, activation, activation.slope), rows
    )


def closed_hessian(problem: "PopulationRisk", theta: Array) -> Array:
    """∇² of the closed risk, (P, P), from derivatives of the kernel pair by pair in O(P²) memory.

    With g = T − o K a: ∂²F/∂a_j∂a_k = o²K_jk, ∂²F/∂a_j∂b_k = o²a_k∇₂K_jk − δ_jk o∇g_j,
    ∂²F/∂b_j∂b_k = o²a_ja_k∇₁∇₂K_jk − δ_jk o a_j∇²g_j.
    """
    neurons, scale = neurons_of(problem, theta), problem.network.chain.output_scale
    a, b = neurons.outgoing, neurons.incoming
    activation, inputs = problem.network.activation, problem.inputs
    m, d = b.shape

    def pair(u: Array, v: Array) -> Array:
        return closed_kernel(u[None], v[None], activation, activation, inputs)[0, 0]

    def of_pairs(function):
        return jax.vmap(jax.vmap(function, (None, 0)), (0, None))(b, b)

    kernel = closed_kernel(b, b, activation, activation, inputs)
    by_second = of_pairs(jax.grad(pair, 1))
    mixed = of_pairs(jax.jacfwd(jax.grad(pair, 1), 0))  # (j, k, of b_k, of b_j)

    def left_slope(rows: Array) -> Array:
        return _target_moments(problem, rows)[1] - closed_field(rows, b, scale * a, activation, inputs)[1]

    def along(axis: Array) -> Array:
        return jax.jvp(left_slope, (b,), (jnp.broadcast_to(axis[None, :], b.shape),))[1]

    bends = jax.vmap(along, out_axes=2)(jnp.eye(d))  # (j, of ∇g, moved)
    both = scale**2 * a[:, None, None, None] * a[None, :, None, None] * mixed.transpose(0, 1, 3, 2)
    own = jnp.arange(m)
    both = both.at[own, own].add(-scale * a[:, None, None] * bends)
    both = both.transpose(0, 2, 1, 3).reshape(m * d, m * d)
    cross = scale**2 * a[None, :, None] * by_second
    cross = cross.at[own, own].add(-scale * left_slope(b)).reshape(m, m * d)
    upper = jnp.concatenate([both, cross.T], axis=1)
    lower = jnp.concatenate([cross, scale**2 * kernel], axis=1)
    whole = jnp.concatenate([upper, lower])
    return 0.5 * (whole + whole.T)


def series_risk(problem: "PopulationRisk", theta: Array) -> Array:
    """½(E f*² − 2o a·T + o²(aᵀKa + Σa²rest)): Hermite series with the exact diagonal."""
    assert isinstance(problem.target, (TeacherTarget, LinearTarget))
    assert problem.order is not None
    neurons, scale = neurons_of(problem, theta), problem.network.chain.output_scale
    activation, inputs, order = problem.network.activation, problem.inputs, problem.order
    own = problem.target.series_moment(neurons.incoming, neurons.biases, inputs, activation, order)
    terms, rest, t = _student_terms(problem, neurons, order)
    c = scale * neurons.outgoing
    student = c @ (correlate(terms, terms, t) @ c) + c**2 @ rest
    return 0.5 * (problem.power - 2.0 * (c @ own) + student)


def _student_terms(problem: "PopulationRisk", neurons: Neurons, order: int) -> tuple[Array, Array, Array]:
    lengths, directions = lengths_and_directions(problem.inputs.whiten(neurons.incoming))
    terms, power = coefficients(problem.network.activation, lengths, neurons.biases, order=order)
    rest = power - jnp.sum(terms * terms, axis=1)
    return terms, rest, directions @ directions.T


def series_error(problem: "PopulationRisk", theta: Array) -> float:
    """Bound on |error of the risk|: ½Σ|c_i||c_j|bound_ij over teacher and student; infinite where the rule behind it
    moves under halving of its step."""
    bound, moved = _series_bound(problem, theta)
    return float(bound) if float(moved) <= MOVES_AT_MOST else math.inf


@jax.jit
def _series_bound(problem: "PopulationRisk", theta: Array) -> tuple[Array, Array]:
    assert problem.order is not None
    neurons, scale = neurons_of(problem, theta), problem.network.chain.output_scale
    sets = [(problem.network.activation, neurons.incoming, neurons.biases, scale * neurons.outgoing)]
    if isinstance(problem.target, TeacherTarget):
        teacher = problem.target
        sets.append((teacher.activation, teacher.incoming, teacher.biases, teacher.outgoing))
    directions, sizes, moves = [], [], []
    for activation, incoming, biases, outgoing in sets:
        lengths, direction = lengths_and_directions(problem.inputs.whiten(incoming))
        terms, power = coefficients(activation, lengths, biases, order=problem.order)
        moves.append(step_change(activation, lengths, biases, order=problem.order))
        directions.append(direction)
        rest = jnp.sqrt(jnp.maximum(power - jnp.sum(terms * terms, axis=1), 0.0))
        sizes.append(rest * jnp.abs(outgoing))
    every, size = jnp.concatenate(directions), jnp.concatenate(sizes)
    bounds = jnp.minimum(jnp.abs(every @ every.T), 1.0) ** problem.order * size[:, None] * size[None, :]
    return 0.5 * (jnp.sum(bounds) - jnp.trace(bounds)), jnp.max(jnp.stack(moves))


def cubature_rule(dimension: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Tensor Gauss–Hermite nodes (n^d, d) and weights (n^d,) for N(0, I)."""
    x, w = roots_hermitenorm(order)
    grids = np.meshgrid(*[x] * dimension, indexing="ij")
    weights = np.ones(())
    for _ in range(dimension):
        weights = np.multiply.outer(weights, w / w.sum())
    return np.stack([grid.ravel() for grid in grids], axis=1), weights.ravel()


def cubature_risk(problem: "PopulationRisk", theta: Array) -> Array:
    """½Σ w(f(x) − f*(x))² over the nodes."""
    network = problem.network
    predicted = jax.vmap(lambda one: network.evaluate(theta, one))(problem.nodes)
    return 0.5 * (problem.weights @ (predicted.reshape(-1) - problem.values) ** 2)
