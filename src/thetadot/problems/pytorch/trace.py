"""PyTorch modules taken apart by `torch.fx`: operations by name, parameters by their names in the state_dict."""

# pyright: reportMissingImports=false

import copy
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.fx
from torch import nn

from thetadot.problems.activations import as_activation
from thetadot.problems.chain import Chain
from thetadot.problems.checks import first_line
from thetadot.problems.errors import NetworkError
from thetadot.problems.pytorch.errors import UnsupportedLayerError
from thetadot.problems.pytorch.operations import OPERATIONS
from thetadot.problems.pytorch.program import Part, Step, Stored, TorchNetwork, Value

_ACTIVATIONS: dict[type, tuple[str, tuple[str, ...]]] = {
    nn.ReLU: ("relu", ()), nn.ReLU6: ("relu6", ()), nn.Tanh: ("tanh", ()), nn.Sigmoid: ("sigmoid", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)), nn.GELU: ("gelu", ("approximate",)),
    nn.Softplus: ("softplus", ("beta", "threshold")), nn.SiLU: ("silu", ()), nn.Mish: ("mish", ()),
    nn.ELU: ("elu", ("alpha",)), nn.Hardtanh: ("hardtanh", ("min_val", "max_val")), nn.Softsign: ("softsign", ()),
    nn.Identity: ("identity", ()), nn.Dropout: ("identity", ()), nn.Dropout1d: ("identity", ()),
    nn.Dropout2d: ("identity", ()), nn.Softmax: ("softmax", ("dim",)), nn.LogSoftmax: ("log_softmax", ("dim",)),
    nn.Flatten: ("flatten", ("start_dim", "end_dim")),
}  # fmt: skip
_RENAMED = {
    "view": "reshape", "contiguous": "identity", "div": "truediv", "true_divide": "truediv", "divide": "truediv",
    "concat": "cat", "subtract": "sub", "multiply": "mul", "iadd": "add", "imul": "mul", "isub": "sub",
    "relu_": "relu", "tanh_": "tanh", "sigmoid_": "sigmoid", "add_": "add", "mul_": "mul", "clone": "identity",
    "dropout": "identity", "swapaxes": "transpose", "hardtanh_": "hardtanh", "negative": "neg",
}  # fmt: skip
_WAY_OUT = "; write the layer in JAX (an Equinox module goes to from_equinox), or replace it"


def network_of(module: nn.Module) -> tuple[TorchNetwork, nn.Module, torch.fx.GraphModule]:
    """A module as a network of JAX; its copy in float64 and evaluation mode; that copy taken apart.

    Raises:
        UnsupportedLayerError: an operation that is not known here.
        NetworkError: no trainable parameters.
    """
    double = copy.deepcopy(module).double().cpu().eval()
    try:
        graph = torch.fx.symbolic_trace(double)
    except Exception as error:
        raise UnsupportedLayerError(
            f"{type(module).__name__} cannot be taken apart by torch.fx ({first_line(error)}): its forward must not "
            "branch on values" + _WAY_OUT
        ) from error
    names = {id(parameter): name for name, parameter in double.named_parameters()}
    trained = {name: p for name, p in double.named_parameters() if p.requires_grad}
    if not trained:
        raise NetworkError(f"{type(module).__name__} has no trainable parameters (requires_grad)")
    reader = _Reader(graph, names)
    steps, output = reader.read()
    constants = {name: _array(p) for name, p in double.named_parameters() if not p.requires_grad}
    buffers = dict(double.named_buffers())
    constants |= {name: _array(b) for name, b in buffers.items() if torch.is_floating_point(b)}
    state = double.state_dict()
    aliases = tuple((name, names[id(p)]) for name, p in double.named_parameters(remove_duplicate=False)
                    if names[id(p)] != name)  # fmt: skip
    others = tuple((name, str(state[name].tolist())) for name in buffers
                   if name in state and not torch.is_floating_point(state[name]))  # fmt: skip
    shapes = tuple((name, tuple(p.shape)) for name, p in trained.items())
    flat = jnp.asarray(np.concatenate([_array(p).ravel() for p in trained.values()]))
    network = TorchNetwork(
        flat, {name: jnp.asarray(value) for name, value in constants.items()}, type(module).__name__, steps, output,
        shapes, others, aliases, _chain(steps, output, shapes),
    )  # fmt: skip
    return network, double, graph


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
                if self.numbers and any(isinstance(v, Value) for v in self.numbers.values()):
                    if node.args:
                        self.numbers[node] = node.args[0]
                        continue
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
        layer = self.graph.get_submodule(target)
        source = f"{target} ({type(layer).__name__})"
        arguments = self._template(node.args)
        own = {name: Stored(self.names[id(p)]) for name, p in layer.named_parameters(recurse=False)}
        weights = tuple(own.get(name) for name in ("weight", "bias"))
        if isinstance(layer, nn.Linear):
            return Step("linear", (*arguments, *weights), (), source)
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)) and layer.padding_mode == "zeros":
            padding = layer.padding if isinstance(layer.padding, str) else tuple(layer.padding)
            settings = {"stride": tuple(layer.stride), "padding": padding, "dilation": tuple(layer.dilation),
                        "groups": layer.groups}  # fmt: skip
            return Step("convolution", (*arguments, *weights), _items(settings), source)
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and layer.running_mean is not None:
            stored = (Stored(f"{target}.running_mean"), Stored(f"{target}.running_var"))
            return Step("batch_norm", (*arguments, *stored, *weights), (("eps", layer.eps),), source)
        if isinstance(layer, nn.LayerNorm):
            settings = {"axes": len(layer.normalized_shape), "eps": layer.eps}
            return Step("layer_norm", (*arguments, *weights), _items(settings), source)
        if isinstance(layer, nn.GroupNorm):
            settings = {"groups": layer.num_groups, "eps": layer.eps}
            return Step("group_norm", (*arguments, *weights), _items(settings), source)
        if type(layer) in _ACTIVATIONS:
            operation, names = _ACTIVATIONS[type(layer)]
            return Step(operation, arguments, tuple((name, getattr(layer, name)) for name in names), source)
        pooled = self._pool(layer, type(layer).__name__, arguments, source)
        if pooled is None:
            raise UnsupportedLayerError(f"layer {source} is not known to from_torch" + _WAY_OUT)
        return pooled

    def _pool(self, layer: Any, kind: str, arguments: tuple, source: str) -> Step | None:
        dims = int(kind[-2]) if kind.endswith("d") and kind[-2:-1].isdigit() else 0
        if kind.startswith("AdaptiveAvgPool") and dims:
            sizes = layer.output_size
            sizes = tuple(sizes) if isinstance(sizes, (tuple, list)) else (sizes,) * dims
            return Step("adaptive_average_pool", arguments, (("size", sizes),), source)
        if not kind.startswith(("AvgPool", "MaxPool")) or not dims or layer.ceil_mode:
            return None
        return pool_step(
            kind.startswith("Max"), dims, arguments, source, layer.kernel_size, layer.stride, layer.padding,
            getattr(layer, "dilation", 1), getattr(layer, "count_include_pad", True),
            getattr(layer, "divisor_override", None) or getattr(layer, "return_indices", None),
        )  # fmt: skip

    def _function(self, node: torch.fx.Node) -> Step:
        name = (
            node.target
            if isinstance(node.target, str)
            else getattr(node.target, "__name__", str(node.target))
        )
        source = f"{node.name} ({name})"
        arguments, settings = (
            self._template(node.args),
            {k: self._template(v) for k, v in node.kwargs.items()},
        )
        settings.pop("inplace", None)
        if (
            name in ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "boolean_dispatch")
            or "max_pool" in name
        ):
            step = self._functional_pool(name, arguments, settings, source)
            if step is not None:
                return step
        if name in ("adaptive_avg_pool1d", "adaptive_avg_pool2d"):
            dims, (x, sizes) = int(name[-2]), (arguments + tuple(settings.values()))[:2]
            sizes = sizes if isinstance(sizes, tuple) else (sizes,) * dims
            return Step("adaptive_average_pool", (x,), (("size", sizes),), source)
        operation = _RENAMED.get(name, name)
        if operation == "identity":
            return Step("identity", arguments[:1], (), source)
        if name == "t":
            return Step("transpose", (*arguments, 0, 1), (), source)
        if operation in ("softmax", "log_softmax"):
            settings = {k: v for k, v in settings.items() if k == "dim"}
        if operation not in OPERATIONS or operation in ("convolution", "average_pool", "maximum_pool"):
            raise UnsupportedLayerError(f"operation {source} is not known to from_torch" + _WAY_OUT)
        return Step(operation, arguments, _items(settings), source)

    def _functional_pool(
        self, name: str, arguments: tuple, settings: dict[str, Any], source: str
    ) -> Step | None:
        dims = 2 if "2d" in name else 1 if "1d" in name else 0
        order = ["kernel_size", "stride", "padding", *(["dilation"] if "max" in name else [])]
        given = dict(zip(order, arguments[1:], strict=False)) | settings
        if not dims or given.get("ceil_mode") or len(arguments) > 1 + len(order):
            return None
        return pool_step(
            "max" in name, dims, arguments[:1], source, given.get("kernel_size"), given.get("stride"),
            given.get("padding", 0), given.get("dilation", 1), given.get("count_include_pad", True),
            given.get("divisor_override") or given.get("return_indices"),
        )  # fmt: skip


def pool_step(
    maximum: bool, dims: int, arguments: tuple, source: str, kernel: Any, stride: Any, padding: Any, dilation: Any,
    count_padding: bool, special: Any,
) -> Step | None:  # fmt: skip
    """A pooling layer as a step; None if it does what is not known here."""
    if special:
        return None

    def every(value: Any) -> tuple[int, ...]:
        return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims

    step = kernel if stride in (None, (), []) else stride
    shared = {"kernel": every(kernel), "stride": every(step), "padding": every(padding)}
    if maximum:
        return Step("maximum_pool", arguments, _items(shared | {"dilation": every(dilation)}), source)
    return Step("average_pool", arguments, _items(shared | {"count_padding": bool(count_padding)}), source)


def _items(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(settings.items())


_PLAIN: dict[str, Callable[[dict], Any]] = {
    "tanh": lambda s: "tanh", "relu": lambda s: "relu", "sigmoid": lambda s: "sigmoid",
    "gelu": lambda s: "gelu" if s.get("approximate", "none") == "none" else None,
}  # fmt: skip


def _chain(
    steps: tuple[Step, ...], output: Any, shapes: tuple[tuple[str, tuple[int, ...]], ...]
) -> Chain | None:
    """The chain of dense layers that the steps are: linear, activation, linear, …, one activation throughout."""
    layers, kinds = [], set()
    kept = [step for step in steps if step.operation != "identity"]
    at: Any = Value(0)
    numbers = {id(step): number for number, step in enumerate(steps, 1)}
    skipped = {numbers[id(step)]: step.arguments[0] for step in steps if step.operation == "identity"}

    def source(value: Any) -> Any:
        while isinstance(value, Value) and value.number in skipped:
            value = skipped[value.number]
        return value

    for index, step in enumerate(kept):
        if source(step.arguments[0]) != at:
            return None
        at = Value(numbers[id(step)])
        if index % 2 == 0:
            if step.operation != "linear":
                return None
            layers.append(step)
        else:
            name = _PLAIN.get(step.operation, lambda s: None)(dict(step.settings))
            kinds.add(name)
    if source(output) != at or len(kept) % 2 == 0 or len(kinds) > 1 or None in kinds:
        return None
    wanted = [item.name for step in layers for item in step.arguments[1:] if isinstance(item, Stored)]
    if wanted != [name for name, _ in shapes]:
        return None
    sizes = dict(shapes)
    weights = [sizes[step.arguments[1].name] for step in layers]
    widths = (weights[0][1], *(shape[0] for shape in weights))
    return Chain(widths, tuple(step.arguments[2] is not None for step in layers),
                 as_activation(next(iter(kinds), "identity")))  # fmt: skip
