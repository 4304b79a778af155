"""From a problem to its lift: which network, which activation, which loss."""

from typing import Any

import numpy as np

from thetadot.conservation.errors import UnsupportedArchitectureError
from thetadot.conservation.lift import Lift, LinearLift, MonomialLift
from thetadot.conservation.path_graph import PathGraph, layered_graph
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.restricted import zero_sum
from thetadot.problems import EmpiricalRisk, Problem, cross_entropy
from thetadot.problems.activations import Activation
from thetadot.problems.chain import Chain
from thetadot.problems.conv import Conv
from thetadot.problems.diagonal import Diagonal
from thetadot.problems.residual import Residual

_GATED = ("relu", "leaky_relu")
_WAY_OUT = (
    "outer_laws(problem) names what it keeps all the same, FunctionLift(function, size) takes any function"
)


def lift_of(problem: Problem, loss: str = "own") -> Lift:
    """The lift of a problem's network, in the parameter order of `problem.layout`.

    Linear networks give a `LinearLift`, networks of ReLU or leaky ReLU (MLP, two-layer, residual, convolutional,
    `eqx.nn.MLP`) a `PathLift`, diagonal ones a `MonomialLift`. Constant factors of the output are left out.

    Arguments:
        problem: what is trained.
        loss: "own": softmax cross-entropy, whose gradients sum to zero over the outputs, restricts the lift;
            "any": laws that hold for every loss.

    Raises:
        UnsupportedArchitectureError: another activation, another kind of network, or no network at all.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
        >>> lift_of(td.EmpiricalRisk(td.mlp([2, 3, 2], "relu"), td.cross_entropy, x, y)).size
        17
    """
    if loss not in ("own", "any"):
        raise UnsupportedArchitectureError(f'loss is {loss!r}: expected "own" or "any"')
    if not isinstance(problem, EmpiricalRisk):
        raise UnsupportedArchitectureError(
            f"{getattr(problem, 'description', type(problem).__name__)} has no network to lift: {_WAY_OUT}"
        )
    lift = _network_lift(problem.network, problem.description)
    return zero_sum(lift) if loss == "own" and problem.sample_loss is cross_entropy else lift


def _network_lift(network: Any, description: str) -> Lift:
    chain = getattr(network, "chain", None)
    if isinstance(chain, Chain):
        return _chain_lift(chain)
    if isinstance(network, Diagonal):
        return MonomialLift(np.tile(np.eye(network.dimension, dtype=np.int64), network.depth))
    if isinstance(network, Residual):
        return PathLift(_residual_graph(network))
    if isinstance(network, Conv):
        return PathLift(_conv_graph(network))
    raise UnsupportedArchitectureError(f"{description}: no lift is known for this network; {_WAY_OUT}")


def _gates(activation: Activation, where: str) -> bool:
    """True for gated, False for linear nodes."""
    if activation.name in _GATED:
        return True
    if activation.name == "identity":
        return False
    raise UnsupportedArchitectureError(
        f"{where} has activation {activation.name}: only relu, leaky_relu and identity have a lift; {_WAY_OUT}"
    )


def _chain_lift(chain: Chain) -> Lift:
    hidden = len(chain.widths) > 2
    gated = hidden and _gates(chain.activation, "the hidden layer")
    if not gated and not any(chain.biases):
        return LinearLift(chain.widths)
    biases = chain.biases
    bias: bool | str = biases[-1] if len(set(biases)) == 1 else "hidden"
    return PathLift(layered_graph(chain.widths, bias, linear=hidden and not gated))


class _Columns:
    """A graph in the making: dense, shared and frozen connections between arrays of node numbers."""

    def __init__(self):
        self.nodes = 0
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, float]] = []
        self.linear: list[np.ndarray] = []
        self.names: list[str] = []

    def add(self, name: str, shape: tuple[int, ...], linear: bool = False) -> np.ndarray:
        """Nodes of a layer."""
        found = np.arange(self.nodes, self.nodes + int(np.prod(shape))).reshape(shape)
        self.names += [f"{name}.{'.'.join(map(str, place))}" for place in np.ndindex(shape)]
        self.nodes += found.size
        if linear:
            self.linear.append(found.ravel())
        return found

    def join(self, tail: Any, head: Any, parameter: Any, coefficient: float = 1.0) -> None:
        """Edges tail → head; parameter −1 is frozen."""
        columns = np.broadcast_arrays(tail, head, parameter)
        tails, heads, parameters = (np.ravel(column) for column in columns)
        self.parts.append((tails, heads, parameters, coefficient))

    def graph(self, inputs: np.ndarray, outputs: np.ndarray, size: int) -> PathGraph:
        """The finished graph."""
        tail, head, parameter = (np.concatenate([part[k] for part in self.parts]) for k in range(3))
        constants = np.concatenate([np.full(part[0].size, part[3]) for part in self.parts])
        linear = np.concatenate(self.linear) if self.linear else ()
        return PathGraph.from_columns(
            self.names,
            inputs.ravel(),
            outputs.ravel(),
            tail,
            head,
            parameter.astype(np.int64),
            None if np.all(constants == 1) else constants,
            linear,
            size,
        )


def _residual_graph(network: Residual) -> PathGraph:
    gated = _gates(network.activation, "the residual block")
    layout, columns = network.layout, _Columns()
    state = columns.add("x", (network.dimension,))
    inputs = state
    one = columns.add("one", (1,)) if network.bias else None
    if one is not None:
        inputs = np.concatenate([inputs, one])

    def dense(name: str, below: np.ndarray, above: np.ndarray) -> None:
        columns.join(below[None, :], above[:, None], layout.indices(f"{name}.weight"))
        if one is not None:
            columns.join(one[0], above, layout.indices(f"{name}.bias"))

    if network.embedded:
        above = columns.add("embedding", (network.stream,), linear=True)
        dense("embedding", state, above)
        state = above
    for number in range(1, network.blocks + 1):
        hidden = columns.add(f"block{number}", (network.width,), linear=not gated)
        dense(f"block{number}.layer1", state, hidden)
        end = number == network.blocks and network.outputs is None
        above = columns.add(f"stream{number}", (network.stream,), linear=not end)
        columns.join(state, above, -1)
        dense(f"block{number}.layer2", hidden, above)
        state = above
    if network.outputs is not None:
        above = columns.add("y", (network.outputs,))
        dense("readout", state, above)
        state = above
    return columns.graph(inputs, state, network.size)


def _conv_graph(network: Conv) -> PathGraph:
    gated = _gates(network.activation, "the convolution")
    layout, columns = network.layout, _Columns()
    state = columns.add("x", network.image)
    inputs = state
    one = columns.add("one", (1,)) if network.bias else None
    if one is not None:
        inputs = np.concatenate([inputs.ravel(), one])
    for number, channels in enumerate(network.channels, start=1):
        ways = [_taps(size, network) for size in state.shape[1:]]
        above = columns.add(f"layer{number}", (channels, ways[0][1], ways[1][1]), linear=not gated)
        weight = layout.indices(f"layer{number}.weight")
        (row_tap, _), (column_tap, _) = ways
        (i, a), (j, b) = (np.nonzero(row_tap >= 0), np.nonzero(column_tap >= 0))
        tails = state[:, row_tap[i, a][:, None], column_tap[j, b][None, :]]
        heads = above[:, i[:, None], j[None, :]]
        taps = weight[:, :, a[:, None], b[None, :]]
        columns.join(tails[None], heads[:, None], taps)
        if one is not None:
            columns.join(one[0], above, layout.indices(f"layer{number}.bias")[:, None, None])
        state = above
    if network.pooling == "mean":
        pooled = columns.add("pool", (state.shape[0],), linear=True)
        columns.join(state, pooled[:, None, None], -1, 1.0 / (state.shape[1] * state.shape[2]))
        state = pooled
    last = f"layer{len(network.channels) + 1}"
    outputs = columns.add("y", (network.outputs,))
    columns.join(state.ravel()[None, :], outputs[:, None], layout.indices(f"{last}.weight"))
    if one is not None:
        columns.join(one[0], outputs, layout.indices(f"{last}.bias"))
    return columns.graph(inputs, outputs, network.size)


def _taps(size: int, network: Conv) -> tuple[np.ndarray, int]:
    """(outputs, kernel) array of the input position that each tap of each output reads, −1 in the padding."""
    kernel, stride = network.kernel, network.stride
    if network.padding == "same":
        count = -(-size // stride)
        before = max((count - 1) * stride + kernel - size, 0) // 2
    else:
        count, before = -(-(size - kernel + 1) // stride), 0
    positions = np.arange(count)[:, None] * stride - before + np.arange(kernel)[None, :]
    return np.where((positions >= 0) & (positions < size), positions, -1), count
