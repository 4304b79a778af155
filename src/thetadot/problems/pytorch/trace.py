"""PyTorch modules taken apart by `torch.fx`: operations by name, parameters by their names in the state_dict."""

# pyright: reportMissingImports=false

import copy
import inspect
import operator
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.fx
from torch import nn

from thetadot.problems.checks import first_line
from thetadot.problems.errors import NetworkError, ShapeError
from thetadot.problems.pytorch.dense import dense_chain
from thetadot.problems.pytorch.errors import UnsupportedLayerError
from thetadot.problems.pytorch.layers import Made, NotKnownError, binds, layer, made
from thetadot.problems.pytorch.operations import ARITHMETIC, ELEMENTWISE, SHAPES
from thetadot.problems.pytorch.program import Part, Step, Stored, TorchNetwork, Value

_RENAMED = {
    "view": "reshape", "contiguous": "identity", "div": "truediv", "true_divide": "truediv", "divide": "truediv",
    "concat": "cat", "subtract": "sub", "multiply": "mul", "iadd": "add", "imul": "mul", "isub": "sub",
    "relu_": "relu", "tanh_": "tanh", "sigmoid_": "sigmoid", "add_": "add", "mul_": "mul", "clone": "identity",
    "dropout": "identity", "dropout1d": "identity", "dropout2d": "identity", "alpha_dropout": "identity",
    "swapaxes": "transpose", "hardtanh_": "hardtanh", "negative": "neg",
}  # fmt: skip
_SPECIALISED = (
    "_assert",
    "_assert_is_none",
)  # what torch.fx writes for an argument that is left at its default
_WAY_OUT = "; write the layer in JAX (an Equinox module goes to from_equinox), or replace it"


def network_of(module: nn.Module, x: np.ndarray) -> tuple[TorchNetwork, nn.Module, torch.fx.GraphModule]:
    """A module as a network of JAX; its copy in float64 and evaluation mode; that copy taken apart.

    Arguments:
        module: PyTorch's. x: a batch of samples (N, …) that it takes.

    Raises:
        UnsupportedLayerError: an operation that is not known here.
        ShapeError: the module cannot take these samples.
        NetworkError: no trainable parameters, or parameters that do not exist yet.
    """
    kind = type(module).__name__
    if any(nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
        raise NetworkError(f"{kind} has lazy layers without parameters yet: call it once on a batch")
    double = copy.deepcopy(module).double().cpu().eval()
    trained = {name: p for name, p in double.named_parameters() if p.requires_grad}
    if not trained:
        raise NetworkError(f"{kind} has no trainable parameters (requires_grad)")
    graph = _taken_apart(double)
    state, names = double.state_dict(keep_vars=True), _names(double)
    reader = _Reader(graph, names)
    steps, output = reader.read()
    shapes, sizes = tuple((name, tuple(p.shape)) for name, p in trained.items()), _sizes(graph, double, x[:2])
    stored = {
        name: p for name, p in (*double.named_parameters(), *double.named_buffers()) if name not in trained
    }
    network = TorchNetwork(
        parameters=jnp.asarray(np.concatenate([_array(p).ravel() for p in trained.values()])),
        constants={name: jnp.asarray(_array(p)) for name, p in stored.items() if torch.is_floating_point(p)},
        name=kind,
        steps=steps,
        output=output,
        shapes=shapes,
        others=tuple((name, str(p.tolist())) for name, p in stored.items() if not torch.is_floating_point(p)),
        keys=tuple(
            (key, names[id(value)]) for key, value in state.items() if isinstance(value, torch.Tensor)
        ),
        sizes=sizes,
        chain=dense_chain(steps, output, shapes, sizes),
    )
    return network, double, graph


def _names(module: nn.Module) -> dict[int, str]:
    """{identity of a parameter or stored array: its first name}."""
    found: dict[int, str] = {}
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        found.setdefault(id(value), name)
    return found


def _taken_apart(module: nn.Module) -> torch.fx.GraphModule:
    """The module as a graph; what `forward` takes beside the batch stays at its default."""
    given = inspect.signature(module.forward).parameters
    fixed = {name: one.default for name, one in given.items() if one.default is not inspect.Parameter.empty}
    try:
        graph = torch.fx.symbolic_trace(module, concrete_args=fixed or None)
    except Exception as error:
        raise UnsupportedLayerError(
            f"{type(module).__name__} cannot be taken apart by torch.fx ({first_line(error)}): its forward must not "
            "branch on values" + _WAY_OUT
        ) from error
    for node in reversed(graph.graph.nodes):
        if getattr(node.target, "__name__", "") in _SPECIALISED or (
            node.target is operator.eq and not node.users
        ):
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def recorded(graph: torch.fx.GraphModule, x: np.ndarray) -> list[Any]:
    """What PyTorch computes for a batch, step by step."""
    found: list[Any] = []

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            value = super().run_node(n)
            if n.op in ("call_module", "call_function", "call_method"):
                # A copy: a later step may write into the same memory.
                found.append(value.clone() if isinstance(value, torch.Tensor) else value)
            return value

    with torch.no_grad():
        Recorder(graph).run(torch.tensor(x))
    return found


def _sizes(
    graph: torch.fx.GraphModule, module: nn.Module, x: np.ndarray
) -> tuple[tuple[int, ...] | None, ...]:
    """Shape of one sample, and of every step's result for it; None for what is no array."""
    try:
        found = recorded(graph, x)
    except Exception as error:
        raise ShapeError(
            f"{type(module).__name__} cannot take samples of shape {x.shape[1:]}: {first_line(error)}"
        ) from error
    return tuple(x.shape[1:]), *(tuple(v.shape[1:]) if isinstance(v, torch.Tensor) else None for v in found)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(float)


class _Reader:
    """Turns the nodes of a graph into steps."""

    def __init__(self, graph: torch.fx.GraphModule, names: Mapping[int, str]):
        self.graph, self.names = graph, names
        self.numbers: dict[torch.fx.Node, Any] = {}
        self.steps: list[Step] = []

    def read(self) -> tuple[tuple[Step, ...], Any]:
        """All steps, and the template of the output."""
        output = None
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                if node.users and Value(0) in self.numbers.values():
                    raise UnsupportedLayerError(
                        f"forward takes several inputs ({node.target}): expected one batch"
                    )
                self.numbers[node] = Value(0)
            elif node.op == "get_attr":
                self.numbers[node] = Stored(self._stored(node.target))
            elif node.op == "output":
                output = self._template(node.args[0])
            else:
                step = self._module(node) if node.op == "call_module" else self._function(node)
                self.steps.append(step)
                self.numbers[node] = Value(len(self.steps))
        if not isinstance(output, Value):
            raise UnsupportedLayerError("forward must return one tensor, it returns several")
        return tuple(self.steps), output

    def _stored(self, target: str) -> str:
        here: Any = self.graph
        for part in target.split("."):
            here = getattr(here, part)
        return self.names.get(id(here), target)

    def _template(self, given: Any) -> Any:
        if isinstance(given, torch.fx.Node):
            return self.numbers[given]
        if isinstance(given, (tuple, list)):
            return tuple(self._template(item) for item in given)
        if isinstance(given, slice):
            return Part(*(self._template(item) for item in (given.start, given.stop, given.step)))
        return given

    def _module(self, node: torch.fx.Node) -> Step:
        target = str(node.target)
        found = self.graph.get_submodule(target)
        source = f"{target} ({type(found).__name__})"
        own = {**dict(found.named_parameters(recurse=False)), **dict(found.named_buffers(recurse=False))}

        def stored(name: str) -> Stored | None:
            return Stored(self.names[id(own[name])]) if name in own else None

        try:
            return _step(layer(found, self._template((*node.args, *node.kwargs.values())[0]), stored), source)
        except NotKnownError as error:
            raise _unknown(f"layer {source}", error) from None

    def _function(self, node: torch.fx.Node) -> Step:
        target = node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        source = f"{node.name} ({name})"
        arguments = self._template(node.args)
        settings = {key: self._template(value) for key, value in node.kwargs.items()}
        settings.pop("inplace", None)
        operation = _RENAMED.get(name, name)
        if operation == "identity":
            return Step("identity", arguments[:1] or (settings["input"],), (), source)
        if name == "t":
            return Step("transpose", (*arguments, 0, 1), (), source)
        if operation in ("softmax", "log_softmax"):
            settings = {key: value for key, value in settings.items() if key in ("input", "dim")}
        try:
            if binds(name):
                return _step(made(name, arguments, settings), source)
            if operation not in _FREE:
                raise NotKnownError("")
            if not node.users and (name.endswith("_") or node.kwargs.get("inplace")):
                raise NotKnownError("in place, its result not used by name,")
        except NotKnownError as error:
            raise _unknown(f"operation {source}", error) from None
        if "input" in settings:
            arguments = (settings.pop("input"), *arguments)
        return Step(operation, arguments, tuple(settings.items()), source)


_FREE = {*ELEMENTWISE, *ARITHMETIC, *SHAPES, "prelu"}


def _step(found: Made, source: str) -> Step:
    operation, arguments, settings = found
    return Step(operation, arguments, tuple(settings.items()), source)


def _unknown(what: str, error: NotKnownError) -> UnsupportedLayerError:
    reason = f" {error}" if str(error) else ""
    return UnsupportedLayerError(f"{what}{reason} is not known to from_torch{_WAY_OUT}")
