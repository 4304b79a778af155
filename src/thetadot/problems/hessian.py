"""The exact Hessian of a mean loss over a chain of dense layers, layer pair by layer pair.

With pre-activations z_l, ã = (a, 1) where a layer has a bias, g_l = ∂ℓ/∂z_l and K_{ml} = ∂²ℓ/∂z_m∂z_l of
one sample,

    ∂²ℓ/∂W_m[p,q]∂W_l[i,j] = K_{ml}[p,i] ã_{m−1}[q] ã_{l−1}[j] + g_m[p] ∂a_{m−1}[q]/∂z_l[i] ã_{l−1}[j],   l
    ≤ m,

the second term only for l < m. Going down from the output, with W = W_l, σ′, σ″ of layer l−1 and K_{LL} =
∂²ℓ/∂z_L²,

    K_{m,l−1} = K_{ml} W diag(σ′),   K_{l−1,l−1} = diag(σ′) Wᵀ K_{l,l−1} + diag(σ″ ∘ Wᵀ g_l).

This is JᵀAJ and the residual term e·∇²f in one: outputs are contracted before the products with the
inputs, so that a layer pair costs one matrix product of N · P_m · P_l terms, however many outputs there are.
"""

import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems.chain import Chain
from thetadot.problems.columns import WORKING_MEMORY

_log = logging.getLogger("thetadot.problems")


def chain_hessian(
    chain: Chain,
    loss: Callable,
    theta: Float[Array, " P"],
    x: Float[Array, "N d"],
    y: Array,
    *,
    memory: int = WORKING_MEMORY,
) -> Float[Array, "P P"]:
    """∇² (1/N) Σ_n loss(f(θ, x_n), y_n) for a chain f of dense layers, exact to rounding.

    Arguments:
        chain: the network.
        loss: (prediction, label) of one sample → scalar, twice differentiable.
        theta: parameters (P,).
        x: samples (N, d).
        y: labels (N, …).
        memory: bytes that intermediate results may take beside P²·8; samples are worked off in chunks that
            fit.
    """
    samples = x.shape[0]
    chunk = max(1, memory // (8 * _floats_per_sample(chain)))
    if samples <= chunk:
        weights = jnp.full((samples,), 1.0 / samples)
        return _assemble(chain, _blocks(chain, loss, theta, x, y, weights))
    count = -(-samples // chunk)
    chunk = -(-samples // count)
    filled = count * chunk - samples
    _log.info("Hessian: %d of %d samples at a time (memory cap %d MiB)", chunk, samples, memory // 2**20)
    weights = jnp.concatenate([jnp.full((samples,), 1.0 / samples), jnp.zeros(filled)])

    def part(array: Array) -> Array:
        # Filling up with copies of the first sample, at weight 0, keeps every value finite.
        tail = jnp.broadcast_to(array[:1], (filled, *array.shape[1:]))
        return jnp.concatenate([array, tail]).reshape(count, chunk, *array.shape[1:])

    def add(total, piece):
        return jax.tree.map(jnp.add, total, _blocks(chain, loss, theta, *piece)), None

    pieces = (part(x), part(y), weights.reshape(count, chunk))
    shapes = jax.eval_shape(
        lambda piece: _blocks(chain, loss, theta, *piece), jax.tree.map(lambda a: a[0], pieces)
    )
    start = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return _assemble(chain, jax.lax.scan(add, start, pieces)[0])


def _floats_per_sample(chain: Chain) -> int:
    """Numbers that one sample's intermediate results hold, summed over layer pairs."""
    total = 0
    for m, (in_m, out_m) in enumerate(zip(chain.widths[:-1], chain.widths[1:], strict=True)):
        for low, (in_l, out_l) in enumerate(zip(chain.widths[:-1], chain.widths[1:], strict=True)):
            if low <= m:
                total += 2 * out_m * out_l + (in_m + 1) * (in_l + 1)
                total += out_m * (in_l + 1) + 2 * in_m * out_l if low < m - 1 else 0
                total += out_l * (in_l + 1) if low == m - 1 else 0
    return total


def _blocks(
    chain: Chain, loss: Callable, theta: Array, x: Array, y: Array, weights: Float[Array, " N"]
) -> dict[tuple[int, int], Array]:
    """{(m, l): (out_m, in_m + bias_m, out_l, in_l + bias_l)}, l ≤ m counted from 0, summed over samples.

    Samples are the last axis throughout: rows of N contiguous numbers make every product a fast one.
    """
    layers = chain.layers(theta)
    inputs, slopes, curvatures = [x.T], [], []  # a_{l−1} of every layer; σ′ and σ″ after every hidden layer
    for number, (weight, bias) in enumerate(layers):
        z = weight @ inputs[-1]
        if bias is not None:
            z = z + bias[:, None]
        if number < len(layers) - 1:
            value, slope, curvature = chain.activation.with_derivatives(z)
            inputs.append(value)
            slopes.append(slope)
            curvatures.append(curvature)

    def of_output(z, label, sample_weight):
        return sample_weight * loss(chain.output_scale * z, label)

    last = len(layers) - 1
    gradients = {last: jax.vmap(jax.grad(of_output), (1, 0, 0), -1)(z, y, weights)}
    k = {(last, last): jax.vmap(jax.hessian(of_output), (1, 0, 0), -1)(z, y, weights)}
    for low in range(last - 1, -1, -1):
        weight, slope = layers[low + 1][0], slopes[low]
        for m in range(low + 1, last + 1):
            k[m, low] = jnp.einsum("pan,ai->pin", k[m, low + 1], weight) * slope[None]
        back = weight.T @ gradients[low + 1]
        gradients[low] = slope * back
        through = jnp.einsum("ap,ain->pin", weight, k[low + 1, low]) * slope[:, None]
        k[low, low] = through + jnp.eye(len(back))[:, :, None] * (curvatures[low] * back)[None]

    augmented = [
        value if bias is None else jnp.concatenate([value, jnp.ones((1, value.shape[1]))])
        for value, (_, bias) in zip(inputs, layers, strict=True)
    ]
    blocks = {}
    for m, upper in enumerate(augmented):
        blocks[m, m] = _own(k[m, m], upper)
        for low, lower in enumerate(augmented[:m]):
            moved = _moved(m, low, layers, slopes)
            blocks[m, low] = _pair(k[m, low], upper, lower) + _through_input(
                gradients[m], moved, lower, len(upper)
            )
    return blocks


def _rows(*arrays: Array) -> Array:
    """Rows of all products of rows, (a, N), (b, N) → (a·b, N)."""
    first, second = arrays
    return (first[:, None] * second[None]).reshape(-1, first.shape[-1])


def _own(k: Float[Array, "p p N"], value: Float[Array, "q N"]) -> Float[Array, "p q p q"]:
    """Σ_n K_n[p,i] value_n[q] value_n[j] as (p, q, i, j), by one product of the pairs p ≤ i and q ≤ j."""
    outs, ins, samples = k.shape[0], value.shape[0], k.shape[2]
    (p, i), place_out = _triangle(outs)
    (q, j), place_in = _triangle(ins)
    product = k.reshape(outs * outs, samples)[p * outs + i] @ (value[q] * value[j]).T
    full = product[place_out][:, place_in]
    return full.reshape(outs, outs, ins, ins).transpose(0, 2, 1, 3)


def _triangle(size: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Pairs a ≤ b of 0 … size−1, and the place in that list of every pair, ordered or not (row-major)."""
    pairs = np.triu_indices(size)
    place = np.zeros((size, size), dtype=np.int64)
    place[pairs] = place[pairs[::-1]] = np.arange(len(pairs[0]))
    return pairs, place.ravel()


def _pair(
    k: Float[Array, "p i N"], upper: Float[Array, "q N"], lower: Float[Array, "j N"]
) -> Float[Array, "p q i j"]:
    """Σ_n K_n[p,i] upper_n[q] lower_n[j] as (p, q, i, j), by one product."""
    product = k.reshape(-1, k.shape[2]) @ _rows(upper, lower).T
    return product.reshape(k.shape[0], k.shape[1], len(upper), len(lower)).transpose(0, 2, 1, 3)


def _moved(m: int, low: int, layers: list, slopes: list) -> Array:
    """∂a_{m−1}/∂z_low: its diagonal (i, N) if low = m − 1, else (q, i, N)."""
    if low == m - 1:
        return slopes[low]
    moved = layers[m - 1][0][:, :, None] * slopes[m - 1][:, None]
    for level in range(m - 2, low, -1):
        moved = jnp.einsum("qan,ai->qin", moved * slopes[level][None], layers[level][0])
    return moved * slopes[low][None]


def _through_input(
    g: Float[Array, "p N"], moved: Array, lower: Float[Array, "j N"], rows: int
) -> Float[Array, "p q i j"]:
    """Σ_n g_n[p] ∂a_n[q]/∂z_n[i] lower_n[j] as (p, q, i, j), with a zero row q for a bias."""
    if moved.ndim == 2:
        product = (g @ _rows(moved, lower).T).reshape(len(g), 1, len(moved), len(lower))
        return product * jnp.eye(rows, len(moved))[None, :, :, None]
    product = _rows(g, lower) @ moved.reshape(-1, moved.shape[2]).T
    block = product.reshape(len(g), len(lower), moved.shape[0], moved.shape[1]).transpose(0, 2, 3, 1)
    return jnp.pad(block, ((0, 0), (0, rows - len(moved)), (0, 0), (0, 0)))


def _assemble(chain: Chain, blocks: dict[tuple[int, int], Array]) -> Float[Array, "P P"]:
    """The symmetric matrix in the order of θ: weight row-major, then bias."""
    count = len(chain.biases)

    def in_order(block: Array, m: int, low: int) -> Array:
        def first_two(array: Array, fan_in: int, has_bias: bool) -> Array:
            rest = array.shape[2:]
            weight = array[:, :fan_in].reshape(-1, *rest)
            return jnp.concatenate([weight, array[:, fan_in]]) if has_bias else weight

        rows = first_two(block, chain.widths[m], chain.biases[m])
        columns = first_two(jnp.moveaxis(rows, 0, -1), chain.widths[low], chain.biases[low])
        return columns.T

    ordered = {place: in_order(block, *place) for place, block in blocks.items()}
    rows = [
        jnp.concatenate([ordered[m, low] if low <= m else ordered[low, m].T for low in range(count)], axis=1)
        for m in range(count)
    ]
    matrix = jnp.concatenate(rows)
    return 0.5 * (matrix + matrix.T)
