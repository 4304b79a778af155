"""Layers and their functional forms as operations: PyTorch's own signatures, so that both bind alike."""

# pyright: reportMissingImports=false

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from thetadot.problems.pytorch.program import Stored

Made = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Operation, arguments, settings."""


class NotKnownError(Exception):
    """A layer does something that is not known here; the message says what, or is empty."""


def binds(name: str) -> bool:
    """Whether a function of PyTorch has a form of its own here."""
    return name in _FORMS


def made(name: str, arguments: tuple[Any, ...], given: dict[str, Any]) -> Made:
    """What a call of PyTorch's function `name` is here.

    Raises:
        NotKnownError: with arguments that are not known.
    """
    form = _FORMS[name]
    try:
        bound = inspect.signature(form).bind(*arguments, **given)
    except TypeError as error:
        raise NotKnownError(f"with these arguments: {error}") from None
    return form(*bound.args, **bound.kwargs)


def layer(module: nn.Module, x: Any, own: Callable[[str], Stored | None]) -> Made:
    """What a layer is here, applied to x; `own` finds its parameters and stored arrays.

    Raises:
        NotKnownError: it is not known.
    """
    if getattr(module, "parametrizations", None):
        raise NotKnownError(
            "with a parametrisation of its weights (remove_parametrizations makes them plain)"
        )
    if isinstance(module, nn.Linear):
        return _linear(x, own("weight"), own("bias"))
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        if module.padding_mode != "zeros":
            raise NotKnownError(f"with padding_mode={module.padding_mode!r}")
        sizes = (module.stride, module.padding, module.dilation, module.groups)
        return _convolution(len(module.kernel_size))(x, own("weight"), own("bias"), *sizes)
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        if module.running_mean is None:
            raise NotKnownError("with track_running_stats=False: it mixes the samples of a batch")
        stored = (own("running_mean"), own("running_var"), own("weight"), own("bias"))
        return "batch_norm", (x, *stored), {"eps": module.eps}
    if isinstance(module, nn.LayerNorm):
        return _layer_norm(x, module.normalized_shape, own("weight"), own("bias"), module.eps)
    if isinstance(module, nn.GroupNorm):
        return _group_norm(x, module.num_groups, own("weight"), own("bias"), module.eps)
    if isinstance(module, nn.PReLU):
        return "prelu", (x, own("weight")), {}
    if type(module) in _PLAIN:
        operation, names = _PLAIN[type(module)]
        return operation, (x,), {name: getattr(module, name) for name in names}
    form = _POOLS.get(type(module).__name__)
    if form is None:
        raise NotKnownError("")
    wanted = [name for name in inspect.signature(_FORMS[form]).parameters if hasattr(module, name)]
    return _FORMS[form](x, **{name: getattr(module, name) for name in wanted})


# CELU and Hardsigmoid are left out: PyTorch computes their derivatives with constants in float32.
_PLAIN: dict[type, tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()), nn.ReLU6: ("relu6", ()), nn.Tanh: ("tanh", ()), nn.Sigmoid: ("sigmoid", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)), nn.GELU: ("gelu", ("approximate",)),
    nn.Softplus: ("softplus", ("beta", "threshold")), nn.SiLU: ("silu", ()), nn.Mish: ("mish", ()),
    nn.ELU: ("elu", ("alpha",)), nn.SELU: ("selu", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.Hardswish: ("hardswish", ()), nn.LogSigmoid: ("logsigmoid", ()), nn.Softsign: ("softsign", ()),
    nn.Tanhshrink: ("tanhshrink", ()), nn.Identity: ("identity", ()), nn.Dropout: ("identity", ()),
    nn.Dropout1d: ("identity", ()), nn.Dropout2d: ("identity", ()), nn.Dropout3d: ("identity", ()),
    nn.AlphaDropout: ("identity", ()), nn.FeatureAlphaDropout: ("identity", ()), nn.Softmax: ("softmax", ("dim",)),
    nn.LogSoftmax: ("log_softmax", ("dim",)), nn.Flatten: ("flatten", ("start_dim", "end_dim")),
}  # fmt: skip
_POOLS = {
    f"{kind}Pool{dims}d": f"{form}_pool{dims}d"
    for kind, form in (
        ("Max", "max"),
        ("Avg", "avg"),
        ("AdaptiveAvg", "adaptive_avg"),
        ("AdaptiveMax", "adaptive_max"),
    )
    for dims in (1, 2)
}


def _every(value: Any, dims: int) -> tuple[Any, ...]:
    """One number per axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _linear(input: Any, weight: Any, bias: Any = None) -> Made:
    return "linear", (input, weight, bias), {}


def _convolution(dims: int) -> Callable[..., Made]:
    def form(
        input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Made:  # fmt: skip
        settings = {"stride": _every(stride, dims), "dilation": _every(dilation, dims), "groups": groups,
                    "padding": padding if isinstance(padding, str) else _every(padding, dims)}  # fmt: skip
        return "convolution", (input, weight, bias), settings

    return form


def _batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: Any = False,
    momentum: Any = 0.1, eps: float = 1e-5,
) -> Made:  # fmt: skip
    if training or running_mean is None:
        raise NotKnownError("with statistics of the batch: it mixes samples")
    return "batch_norm", (input, running_mean, running_var, weight, bias), {"eps": eps}


def _layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Made:
    return "layer_norm", (input, weight, bias), {"axes": len(_every(normalized_shape, 1)), "eps": eps}


def _group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Made:
    return "group_norm", (input, weight, bias), {"groups": num_groups, "eps": eps}


def _maximum(dims: int) -> Callable[..., Made]:
    def form(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Made:  # fmt: skip
        _refuse(ceil_mode=ceil_mode, return_indices=return_indices)
        kernel = _every(kernel_size, dims)
        settings = {"kernel": kernel, "stride": _every(stride, dims) if stride not in (None, ()) else kernel,
                    "padding": _every(padding, dims), "dilation": _every(dilation, dims)}  # fmt: skip
        return "maximum_pool", (input,), settings

    return form


def _average(dims: int) -> Callable[..., Made]:
    def form(
        input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Made:  # fmt: skip
        _refuse(ceil_mode=ceil_mode, divisor_override=divisor_override)
        kernel = _every(kernel_size, dims)
        settings = {"kernel": kernel, "stride": _every(stride, dims) if stride not in (None, ()) else kernel,
                    "padding": _every(padding, dims), "count_padding": bool(count_include_pad)}  # fmt: skip
        return "average_pool", (input,), settings

    return form


def _adaptive_average(dims: int) -> Callable[..., Made]:
    def form(input: Any, output_size: Any) -> Made:
        return "adaptive_average_pool", (input,), {"size": _every(output_size, dims)}

    return form


def _adaptive_maximum(dims: int) -> Callable[..., Made]:
    def form(input: Any, output_size: Any, return_indices: bool = False) -> Made:
        _refuse(return_indices=return_indices)
        return "adaptive_maximum_pool", (input,), {"size": _every(output_size, dims)}

    return form


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise NotKnownError(f"with {name}={value!r}")


_FORMS: dict[str, Callable[..., Made]] = {
    "linear": _linear, "batch_norm": _batch_norm, "layer_norm": _layer_norm, "group_norm": _group_norm,
} | {
    f"{name}{dims}d": form(dims)
    for name, form in (
        ("conv", _convolution), ("max_pool", _maximum), ("avg_pool", _average),
        ("adaptive_max_pool", _adaptive_maximum), ("adaptive_avg_pool", _adaptive_average),
    )
    for dims in (1, 2)
}  # fmt: skip
