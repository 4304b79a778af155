"""What an imported network is made of: PyTorch's operations, in JAX, on a batch of one sample.

Each takes its settings (as PyTorch names them) and arrays; conventions, default values and what happens at kinks are
PyTorch's. They are twice differentiable by JAX (kinks: one-sided).
"""

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thetadot.numerics import elementwise

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x Wᵀ + b along the last axis."""
    out = x @ weight.T
    return out if bias is None else out + _spread(bias, out.ndim, -1)


def convolution(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Sequence[int],
    padding: str | Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Array:
    """Convolution of (1, C, …) by kernels (out, C/groups, …)."""
    given = padding.upper() if isinstance(padding, str) else [(p, p) for p in padding]
    out = jax.lax.conv_general_dilated(
        x, weight, tuple(stride), given, rhs_dilation=tuple(dilation), feature_group_count=groups
    )
    return out if bias is None else out + _spread(bias, out.ndim, 1)


def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    eps: float,
) -> Array:
    """Normalisation of the channels (axis 1) by stored mean and variance."""
    out = (x - _spread(mean, x.ndim, 1)) / jnp.sqrt(_spread(variance, x.ndim, 1) + eps)
    return _scaled(out, weight, bias, lambda values: _spread(values, x.ndim, 1))


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, axes: int, eps: float
) -> Array:
    """Normalisation over the last `axes` axes."""
    over = tuple(range(-axes, 0))
    out = _normalised(x, over, eps)
    return _scaled(out, weight, bias, lambda values: values.reshape((1,) * (x.ndim - axes) + values.shape))


def group_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, groups: int, eps: float
) -> Array:
    """Normalisation of (1, C, …) over groups of channels."""
    split = x.reshape(x.shape[0], groups, -1)
    out = _normalised(split, (2,), eps).reshape(x.shape)
    return _scaled(out, weight, bias, lambda values: _spread(values, x.ndim, 1))


def prelu(x: Array, weight: Array) -> Array:
    """x where positive, else weight · x, one weight for all or one per channel."""
    return jnp.where(x > 0, x, _spread(weight, x.ndim, 1 if x.ndim > 1 else 0) * x)


def average_pool(
    x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], count_padding: bool
) -> Array:
    """Means over windows of the last axes."""
    windows = _windows(x, kernel, stride, padding, (1,) * len(kernel), 0.0)
    if count_padding or not any(padding):
        return jnp.mean(windows, axis=0)
    inside = _windows(jnp.ones_like(x), kernel, stride, padding, (1,) * len(kernel), 0.0)
    return jnp.sum(windows, axis=0) / jnp.sum(inside, axis=0)


def maximum_pool(
    x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Array:
    """Maxima over windows of the last axes; of equal entries the first has the derivative."""
    windows = _windows(x, kernel, stride, padding, dilation, -jnp.inf)
    first = jnp.argmax(windows, axis=0)
    return jnp.take_along_axis(windows, first[None], axis=0)[0]


def adaptive_average_pool(x: Array, *, size: Sequence[int | None]) -> Array:
    """Means over windows that divide each of the last axes into `size` parts (None: the axis as it is)."""
    for axis, parts in zip(range(x.ndim - len(size), x.ndim), size, strict=True):
        if parts is not None:
            x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ _means(x.shape[axis], parts), -1, axis)
    return x


def adaptive_maximum_pool(x: Array, *, size: Sequence[int | None]) -> Array:
    """Maxima over the parts into which `size` divides the last axes; of equal entries the first has the derivative."""
    lead = x.ndim - len(size)
    cuts = [_spans(length, parts) for length, parts in zip(x.shape[lead:], size, strict=True)]
    found = []
    for spans in itertools.product(*cuts):
        part = x[(..., *(slice(*span) for span in spans))].reshape(*x.shape[:lead], -1)
        first = jnp.argmax(part, axis=-1)
        found.append(jnp.take_along_axis(part, first[..., None], axis=-1))
    return jnp.concatenate(found, axis=-1).reshape(*x.shape[:lead], *(len(spans) for spans in cuts))


def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """The axes from `start_dim` to `end_dim` as one."""
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])


def gelu(x: Array, approximate: str = "none") -> Array:
    """x Φ(x), or its approximation by tanh."""
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + exp(βx))/β, and x where βx exceeds the threshold."""
    scaled = beta * x
    return jnp.where(scaled > threshold, x, elementwise.softplus(jnp.minimum(scaled, threshold)) / beta)


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where positive, else slope · x."""
    return jnp.where(x > 0, x, negative_slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where positive, else α(exp x − 1)."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0.0)))


def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """x between the bounds; its slope at them is 0."""
    return jnp.where(x <= min_val, min_val, jnp.where(x >= max_val, max_val, x))


def selu(x: Array) -> Array:
    """The self-normalising unit: a scaled `elu`."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


def hardswish(x: Array) -> Array:
    """x(x + 3)/6 between the bounds −3 and 3; its slopes at ±3 are PyTorch's, 0 and 1."""
    return jnp.where(x <= -3.0, 0.0 * x, jnp.where(x >= 3.0, x, x * (x + 3.0) / 6.0))


ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "relu": jax.nn.relu,
    "relu6": lambda x: hardtanh(x, 0.0, 6.0),
    "leaky_relu": leaky_relu,
    "tanh": elementwise.tanh,
    "sigmoid": elementwise.sigmoid,
    "erf": elementwise.erf,
    "gelu": gelu,
    "softplus": softplus,
    "silu": lambda x: x * elementwise.sigmoid(x),
    "mish": lambda x: x * elementwise.tanh(softplus(x)),
    "elu": elu,
    "selu": selu,
    "hardtanh": hardtanh,
    "hardswish": hardswish,
    "logsigmoid": lambda x: -elementwise.softplus(-x),
    "tanhshrink": lambda x: x - elementwise.tanh(x),
    "softsign": lambda x: x / (1.0 + jnp.abs(x)),
    "square": jnp.square,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "abs": jnp.abs,
    "neg": jnp.negative,
    "identity": lambda x: x,
}
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: _both(operator.add, a, b),
    "sub": lambda a, b: _both(operator.sub, a, b),
    "mul": lambda a, b: _both(operator.mul, a, b),
    "truediv": lambda a, b: _both(operator.truediv, a, b),
    "pow": lambda a, b: a**b,
    "matmul": jnp.matmul,
    "floordiv": lambda a, b: a // b,
}
SHAPES: dict[str, Callable[..., Any]] = {
    "flatten": flatten,
    "reshape": lambda x, *shape: x.reshape(_sizes(shape)),
    "size": lambda x, axis=None: x.shape if axis is None else x.shape[axis],
    "getattr": lambda x, name: {"shape": x.shape, "T": x.T}[name],
    "getitem": lambda x, place: x[place],
    "transpose": jnp.swapaxes,
    "permute": lambda x, *axes: jnp.transpose(x, _sizes(axes)),
    "squeeze": lambda x, dim=None: jnp.squeeze(x, _ones(x) if dim is None else dim),
    "unsqueeze": lambda x, dim: jnp.expand_dims(x, dim),
    "cat": lambda parts, dim=0: jnp.concatenate(parts, dim),
    "mean": lambda x, dim=None, keepdim=False: jnp.mean(x, _axes(dim), keepdims=keepdim),
    "sum": lambda x, dim=None, keepdim=False: jnp.sum(x, _axes(dim), keepdims=keepdim),
    "softmax": lambda x, dim: jax.nn.softmax(x, dim),
    "log_softmax": lambda x, dim: jax.nn.log_softmax(x, dim),
}
LAYERS: dict[str, Callable[..., Array]] = {
    "linear": linear,
    "convolution": convolution,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "average_pool": average_pool,
    "maximum_pool": maximum_pool,
    "adaptive_average_pool": adaptive_average_pool,
    "adaptive_maximum_pool": adaptive_maximum_pool,
    "prelu": prelu,
}
OPERATIONS: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **ARITHMETIC, **SHAPES, **LAYERS}


def _spread(values: Array, dims: int, axis: int) -> Array:
    """A vector along one axis of an array of `dims` axes."""
    shape = [1] * dims
    shape[axis] = -1
    return values.reshape(shape)


def _both(function: Callable, a: Any, b: Any) -> Any:
    """An operation of two arrays (or numbers); axes of size 1 are put before the shorter shape, as PyTorch does."""
    dims = max(getattr(a, "ndim", 0), getattr(b, "ndim", 0))
    grown = [v.reshape((1,) * (dims - v.ndim) + v.shape) if isinstance(v, jax.Array) and 0 < v.ndim < dims else v
             for v in (a, b)]  # fmt: skip
    return function(*grown)


def _scaled(out: Array, weight: Array | None, bias: Array | None, spread: Callable) -> Array:
    out = out if weight is None else out * spread(weight)
    return out if bias is None else out + spread(bias)


def _normalised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + eps)


def _windows(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    fill: float,
) -> Array:
    """(entries of a window, …): entry by entry, the array of all windows over the last axes."""
    lead = x.ndim - len(kernel)
    padded = jnp.pad(x, [(0, 0)] * lead + [(p, p) for p in padding], constant_values=fill)
    counts = [
        (size - d * (k - 1) - 1) // s + 1
        for size, k, s, d in zip(padded.shape[lead:], kernel, stride, dilation, strict=True)
    ]
    parts = []
    for place in np.ndindex(*kernel):
        begin = [0] * lead + [p * d for p, d in zip(place, dilation, strict=True)]
        end = [*padded.shape[:lead],
               *(b + (c - 1) * s + 1 for b, c, s in zip(begin[lead:], counts, stride, strict=True))]  # fmt: skip
        parts.append(jax.lax.slice(padded, begin, end, [1] * lead + list(stride)))
    return jnp.stack(parts)


def _spans(length: int, parts: int | None) -> list[tuple[int, int]]:
    """Where the parts of an axis begin and end; they may overlap by one."""
    parts = length if parts is None else parts
    return [(part * length // parts, -(-(part + 1) * length // parts)) for part in range(parts)]


def _means(length: int, parts: int) -> np.ndarray:
    """(length, parts): the weights of adaptive means."""
    weights = np.zeros((length, parts))
    for part, (first, last) in enumerate(_spans(length, parts)):
        weights[first:last, part] = 1.0 / (last - first)
    return weights


def _ones(x: Array) -> tuple[int, ...]:
    """The axes of length 1, without the first: a batch of one sample stands for any number of them."""
    return tuple(axis for axis in range(1, x.ndim) if x.shape[axis] == 1)


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given


def _axes(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, list) else dim
