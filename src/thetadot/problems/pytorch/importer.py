"""PyTorch modules as problems, and back; every import is checked against PyTorch itself."""

# pyright: reportMissingImports=false

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems.checks import as_float64, as_vector, require_finite
from thetadot.problems.data.dataset import name_of
from thetadot.problems.empirical import EmpiricalRisk
from thetadot.problems.errors import MissingExtraError, NetworkError, ShapeError
from thetadot.problems.pytorch.errors import ImportMismatchError, UnsupportedLayerError
from thetadot.problems.pytorch.program import TorchNetwork, as_numbers, outputs, pulled_back

TOLERANCE = 1e-10
_SEED = 0
_ROUNDING = 1e-3  # of the largest gradient: below it roundings may exceed the tolerance


def from_torch(
    module: Any, loss: str | Callable, x: Any, y: Any, *, name: str | None = None
) -> EmpiricalRisk:
    """The mean loss of a PyTorch module over a data set, as a problem.

    The module is copied in float64 and evaluation mode (no dropout, stored statistics in batch normalisation), taken
    apart by `torch.fx`, and made anew in JAX: linear and convolutional layers, activations, normalisations, pooling,
    reshaping, arithmetic (residual connections). Then outputs and gradients of both are compared on the whole batch, to
    1e-10. Running the problem needs no PyTorch.

    Arguments:
        module: takes a batch (N, …) and returns one tensor. Parameters with `requires_grad=False` stay as they are.
        loss: as for `EmpiricalRisk`: the mean over samples of the loss of ONE sample, with ½ in `squared`; or
            `torch.nn.CrossEntropyLoss()`.
        x, y: samples and labels, tensors or arrays; tensors of any float type become float64.
        name: what summaries call the data.

    Returns:
        A problem whose `init(key, scale)` is the module's own parameters × scale, with slices named as in the
        state_dict, and with the hidden neurons and channels that can be told apart. A plain stack of dense layers has
        the names, neurons and the structured Hessian of `mlp`; if it flattens its samples first, the problem's samples
        are the flat ones.

    Raises:
        MissingExtraError: PyTorch is not installed.
        UnsupportedLayerError: an operation that is not known here; it is named.
        ImportMismatchError: outputs or gradients differ; the first layer that differs is named.
        NetworkError: no trainable parameters, or a loss of PyTorch that has no equal here.
        PrecisionError, DataError, ShapeError, LabelError: as for `EmpiricalRisk`.

    Example:
        >>> from torch.nn import Linear, Sequential, Tanh                    # doctest: +SKIP
        >>> module = Sequential(Linear(64, 32), Tanh(), Linear(32, 10))      # doctest: +SKIP
        >>> problem = from_torch(module, "cross_entropy", *data.digits())    # doctest: +SKIP
        >>> problem.description                                              # doctest: +SKIP
        'PyTorch Sequential of 2410 parameters, cross-entropy, 1797 samples of digits'
    """
    _require_torch()
    from thetadot.problems.pytorch.trace import network_of

    name = name if name is not None else name_of(x)
    x, loss = as_float64(_numbers(x), "x"), _loss(loss)
    if x.ndim < 2 or not len(x):
        raise ShapeError(f"x has shape {x.shape}: expected a batch (N, …) of samples, as the module takes it")
    require_finite(x, "x")
    network, double, graph = network_of(module, np.asarray(x))
    samples = x if network.chain is None else x.reshape(len(x), -1)
    try:
        jax.eval_shape(network.values, network.parameters, x[:1])
    except ShapeError as error:
        raise UnsupportedLayerError(f"from_torch does not know all that the module does: {error}") from error
    problem = EmpiricalRisk(network, loss, samples, _numbers(y), name=name)
    _verify(network, double, graph, np.asarray(x), samples)
    return problem


def to_torch(problem: EmpiricalRisk, theta: Float[Array | np.ndarray, " P"]) -> dict[str, Any]:
    """The parameters θ (P,) of an imported module as its state_dict, for `module.load_state_dict`.

    Returns:
        {name: tensor}, float64 (PyTorch casts them to the module's type), with what the module stores untrained.

    Raises:
        NetworkError: the problem does not come from `from_torch`.
        ShapeError: θ has another length.
    """
    network = _imported(problem)
    _require_torch()
    import ast

    import torch

    theta = as_vector(theta, network.size, "theta")
    arrays = {**network.constants, **network.split(theta)}
    state = {name: torch.tensor(np.array(value)) for name, value in arrays.items()}
    state |= {name: torch.tensor(ast.literal_eval(text)) for name, text in network.others}
    return {key: state[name] for key, name in network.keys}


def load_torch(problem: EmpiricalRisk, state: Mapping[str, Any]) -> Float[np.ndarray, " P"]:
    """The parameters in a state_dict (of a checkpoint, say) as θ (P,).

    Raises:
        NetworkError: the problem does not come from `from_torch`; or what the state_dict stores beside the parameters
            (statistics of batch normalisation, frozen weights) is not what the problem was made with, so that θ would
            not give that module's outputs.
        ShapeError: a parameter is missing, or has another shape.
    """
    network = _imported(problem)
    theta = network.flatten(state)
    for key, name in network.keys:
        if name in network.constants and key in state:
            given, own = as_numbers(state[key]), np.asarray(network.constants[name])
            if not np.array_equal(given, own):
                raise NetworkError(
                    f"{key} in the state_dict is not what the problem was made with: load the state_dict into the "
                    "module, and call from_torch again"
                )
    return theta


def _imported(problem: EmpiricalRisk) -> TorchNetwork:
    network = getattr(problem, "network", None)
    if not isinstance(network, TorchNetwork):
        raise NetworkError(
            f"{type(problem).__name__} of {type(network).__name__} does not come from from_torch"
        )
    return network


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError("PyTorch is not installed: pip install 'thetadot[torch]'")


def _numbers(values: Any) -> Any:
    import torch

    if not isinstance(values, torch.Tensor):
        return values
    array = values.detach().cpu().numpy()
    return array.astype(float) if torch.is_floating_point(values) else array


def _loss(loss: Any) -> Any:
    from torch import nn

    if loss is nn.functional.cross_entropy:
        return "cross_entropy"
    theirs = isinstance(loss, nn.Module) or str(getattr(loss, "__module__", "")).split(".")[0] == "torch"
    if not theirs:
        return loss
    plain = isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None and loss.label_smoothing == 0.0
    if plain and loss.reduction == "mean" and loss.ignore_index == -100:
        return "cross_entropy"
    raise NetworkError(
        f"{getattr(loss, '__name__', loss)} has no equal here: give `squared` (½‖f − y‖² of one sample, the mean over "
        "samples; MSELoss takes the mean over outputs too and has no ½), `cross_entropy` (also after a log_softmax, in "
        "the place of NLLLoss), `logistic` (labels ±1), or a function (prediction, label) of one sample"
    )


def _verify(network: TorchNetwork, module: Any, graph: Any, x: np.ndarray, samples: Array) -> None:
    """Compare outputs, and gradients of a drawn combination of them, on the whole batch."""
    import torch

    theta = network.parameters
    ours = np.asarray(outputs(network, theta, samples))
    theirs = module(torch.tensor(x))
    wanted = theirs.detach().numpy()
    if ours.shape != wanted.shape or _distance(ours, wanted) > TOLERANCE:
        raise ImportMismatchError(_first_difference(network, graph, x[:64]))
    weights = np.random.default_rng(_SEED).standard_normal(wanted.shape)
    (theirs * torch.tensor(weights)).sum().backward()
    parameters = dict(module.named_parameters())
    expected = {
        name: np.zeros(shape) if parameters[name].grad is None else parameters[name].grad.numpy()
        for name, shape in network.shapes
    }
    largest = max(np.abs(one).max(initial=0.0) for one in expected.values())
    found = network.split(pulled_back(network, theta, samples, jnp.asarray(weights)))
    for name, wanted in expected.items():
        # A gradient that is zero but for rounding is compared with the others' size.
        off = _distance(np.asarray(found[name]), wanted, _ROUNDING * largest)
        if off > TOLERANCE:
            raise ImportMismatchError(
                f"the gradient with respect to {name} differs from PyTorch's by {off:.1e} (relative; at most "
                f"{TOLERANCE:.0e} is let through): outputs agree, so a derivative is another one, perhaps at a kink"
            )


def _distance(found: np.ndarray, wanted: np.ndarray, least: float = 0.0) -> float:
    """Largest difference, relative to the largest entry, or to the least size given."""
    if not wanted.size:
        return 0.0
    off = np.abs(found - wanted).max() / max(np.abs(wanted).max(), least, np.finfo(float).tiny)
    return float(off) if np.isfinite(off) else float("inf")


def _first_difference(network: TorchNetwork, graph: Any, x: np.ndarray) -> str:
    """The first layer whose result differs, in words."""
    import torch

    from thetadot.problems.pytorch.trace import recorded

    values = network.values(network.parameters, jnp.asarray(x))[1:]
    for step, ours, wanted in zip(network.steps, values, recorded(graph, x), strict=False):
        if not isinstance(wanted, torch.Tensor):
            continue
        expected, found = wanted.numpy(), np.asarray(ours)
        if found.shape != expected.shape:
            return f"layer {step.source} gives shape {found.shape}, PyTorch's gives {expected.shape}"
        if (off := _distance(found, expected)) > TOLERANCE:
            return f"layer {step.source} is the first that differs from PyTorch's, by {off:.1e} (relative)"
    return (
        "every layer agrees by itself, the outputs do not: do they depend on the other samples of a batch (a problem "
        "needs the output of one sample), or does the module draw numbers or change a tensor in place?"
    )
