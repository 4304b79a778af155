"""PyTorch modules as problems, and back; every import is checked against PyTorch itself."""

# pyright: reportMissingImports=false

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems.checks import as_vector
from thetadot.problems.empirical import EmpiricalRisk
from thetadot.problems.errors import MissingExtraError, NetworkError
from thetadot.problems.pytorch.errors import ImportMismatchError
from thetadot.problems.pytorch.program import TorchNetwork, outputs, pulled_back

TOLERANCE = 1e-10
_SEED = 0


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
        state_dict. A plain stack of dense layers has the layers, hidden neurons and the structured Hessian of `mlp`.

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

    network, double, graph = network_of(module)
    problem = EmpiricalRisk(network, _loss(loss), _numbers(x), _numbers(y), name=name)
    _verify(network, double, graph, problem.x)
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
    state = {name: torch.tensor(np.array(value)) for name, value in network.constants.items()}
    state |= {name: torch.tensor(ast.literal_eval(text)) for name, text in network.buffers}
    state |= {name: torch.tensor(np.array(value)) for name, value in network.split(theta).items()}
    return state | {name: state[own] for name, own in network.aliases}


def load_torch(problem: EmpiricalRisk, state: Mapping[str, Any]) -> Float[np.ndarray, " P"]:
    """The parameters in a state_dict (of a checkpoint, say) as θ (P,).

    Only trained parameters are read: stored statistics stay those of the module that was imported.

    Raises:
        NetworkError: the problem does not come from `from_torch`.
        ShapeError: a parameter is missing, or has another shape.
    """
    return _imported(problem).flatten(state)


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

    if not isinstance(loss, nn.Module):
        return loss
    plain = isinstance(loss, nn.CrossEntropyLoss) and loss.weight is None and loss.label_smoothing == 0.0
    if plain and loss.reduction == "mean" and loss.ignore_index == -100:
        return "cross_entropy"
    raise NetworkError(
        f"{loss} has no equal here: give `squared` (½‖f − y‖² of one sample, the mean over samples), `cross_entropy`, "
        "`logistic`, or a function (prediction, label) of one sample"
    )


def _verify(network: TorchNetwork, module: Any, graph: Any, x: Array) -> None:
    """Compare outputs, and gradients of a drawn combination of them, on the whole batch."""
    import torch

    theta = network.parameters
    ours = np.asarray(outputs(network, theta, x))
    batch = torch.tensor(np.asarray(x))
    theirs = module(batch)
    wanted = theirs.detach().numpy()
    if ours.shape != wanted.shape or _distance(ours, wanted) > TOLERANCE:
        raise ImportMismatchError(_first_difference(network, graph, theta, x[:64]))
    weights = np.random.default_rng(_SEED).standard_normal(wanted.shape)
    (theirs * torch.tensor(weights)).sum().backward()
    parameters = dict(module.named_parameters())
    gradients = network.split(pulled_back(network, theta, x, jnp.asarray(weights)))
    for name, found in gradients.items():
        grad = parameters[name].grad
        expected = np.zeros(found.shape) if grad is None else grad.numpy()
        off = _distance(np.asarray(found), expected)
        if off > TOLERANCE:
            raise ImportMismatchError(
                f"the gradient with respect to {name} differs from PyTorch's by {off:.1e} (relative; at most "
                f"{TOLERANCE:.0e} is let through): outputs agree, so a derivative is another one, perhaps at a kink"
            )


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest entry."""
    if not wanted.size:
        return 0.0
    off = np.abs(found - wanted).max() / max(np.abs(wanted).max(), np.finfo(float).tiny)
    return float(off) if np.isfinite(off) else float("inf")


def _first_difference(network: TorchNetwork, graph: Any, theta: Array, x: Array) -> str:
    """The first layer whose result differs, in words."""
    import torch
    import torch.fx

    theirs: list[Any] = []

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: Any) -> Any:
            found = super().run_node(n)
            if n.op in ("call_module", "call_function", "call_method"):
                theirs.append(found)
            return found

    with torch.no_grad():
        Recorder(graph).run(torch.tensor(np.asarray(x)))
    for step, ours, wanted in zip(network.steps, network.values(theta, x)[1:], theirs, strict=False):
        if not isinstance(wanted, torch.Tensor):
            continue
        expected, found = wanted.numpy(), np.asarray(ours)
        if found.shape != expected.shape:
            return f"layer {step.source} gives shape {found.shape}, PyTorch's gives {expected.shape}"
        if (off := _distance(found, expected)) > TOLERANCE:
            return f"layer {step.source} is the first that differs from PyTorch's, by {off:.1e} (relative)"
    return (
        "the module's outputs depend on the other samples of a batch (batch statistics?): a problem needs the output "
        "of one sample"
    )
