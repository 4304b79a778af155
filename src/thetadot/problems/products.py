"""The risk of a chain of dense layers, linearised once for many Hessian–vector products.

Written out instead of left to `jax.linearize`: the products keep the samples last and form what depends on the point
only once, so that each costs about one gradient.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.problems.chain import Chain
from thetadot.problems.losses import losses_of


class ChainProduct(eqx.Module):
    """The product v ↦ H·v of the risk of a chain at one point, from what was stored there.

    Source: the R-operator of B. Pearlmutter, Neural Computation 6 (1994) 147.
    """

    chain: Chain = eqx.field(static=True)
    layers: list[tuple[Array, Array | None]]
    turned: list[Array]  # transposed weights
    inputs: list[Array]  # of each layer, samples last
    slopes: list[Array]  # σ′ of each hidden layer
    errors: list[Array]  # dL/d arguments of each layer
    bends: list[Array]  # dL/d hidden values times σ″
    of_outputs: Callable  # change of dL/d outputs along a change of the outputs

    def __call__(self, vector: Float[Array, " P"]) -> Float[Array, " P"]:
        """H·v."""
        return _product(self, vector)


@jax.jit
def _product(point: ChainProduct, vector: Float[Array, " P"]) -> Float[Array, " P"]:
    chain, moves = point.chain, point.chain.layers(vector)
    changes, moved = [], []  # of each layer's arguments and, from the second on, of its inputs
    for number, ((weight, _), (move, shift)) in enumerate(zip(point.layers, moves, strict=True)):
        change = _affine(move, shift, point.inputs[number])
        if number:
            moved.append(point.slopes[number - 1] * changes[-1])
            change = change + weight @ moved[-1]
        changes.append(change)
    _, turn = point.of_outputs(chain.output_scale * changes[-1])
    turns = [chain.output_scale * turn]
    for number in range(len(moves) - 1, 0, -1):
        back = moves[number][0].T @ point.errors[number] + point.turned[number] @ turns[0]
        turns.insert(0, back * point.slopes[number - 1] + point.bends[number - 1] * changes[number - 1])
    weights = [turn @ entered.T for turn, entered in zip(turns, point.inputs, strict=True)]
    for number, change in enumerate(moved, start=1):
        weights[number] = weights[number] + point.errors[number] @ change.T
    return _joined(chain, weights, turns)


def linearize_chain(
    chain: Chain, loss: Callable, theta: Float[Array, " P"], x: Float[Array, "N d"], y: Array
) -> tuple[Float[Array, ""], Float[Array, " P"], ChainProduct]:
    """Risk, gradient (P,), and the product v ↦ H·v at θ."""
    layers = chain.layers(theta)
    inputs, slopes, curvatures = [x.T], [], []
    for weight, bias in layers[:-1]:
        value, slope, curvature = chain.activation.with_derivatives(_affine(weight, bias, inputs[-1]))
        inputs.append(value)
        slopes.append(slope)
        curvatures.append(curvature)
    outputs = chain.output_scale * _affine(*layers[-1], inputs[-1])

    def risk_of(outputs):
        return jnp.mean(losses_of(loss, outputs, y))

    (risk, error), of_outputs = jax.linearize(jax.value_and_grad(risk_of), outputs)
    # XLA multiplies by Wᵀ at half its speed where W lies as (out, in).
    turned = [jax.lax.optimization_barrier(weight.T) for weight, _ in layers]
    errors, bends = [chain.output_scale * error], []
    for number in range(len(layers) - 1, 0, -1):
        back = turned[number] @ errors[0]
        errors.insert(0, back * slopes[number - 1])
        bends.insert(0, back * curvatures[number - 1])
    weights = [error @ entered.T for error, entered in zip(errors, inputs, strict=True)]
    product = ChainProduct(chain, layers, turned, inputs, slopes, errors, bends, of_outputs)
    return risk, _joined(chain, weights, errors), product


def _affine(weight: Array, bias: Array | None, entered: Float[Array, "i N"]) -> Float[Array, "o N"]:
    through = weight @ entered
    return through if bias is None else through + bias[:, None]


def _joined(chain: Chain, weights: list[Array], errors: list[Array]) -> Float[Array, " P"]:
    parts = []
    for weight, error, has_bias in zip(weights, errors, chain.biases, strict=True):
        parts.append(weight.ravel())
        if has_bias:
            parts.append(error.sum(axis=1))
    return jnp.concatenate(parts)
