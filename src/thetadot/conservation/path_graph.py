"""A network as a directed acyclic graph whose edges carry trainable, shared or fixed weights."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from thetadot.conservation.errors import CyclicGraphError, GraphError


class Edge(NamedTuple):
    """One edge: `coefficient` times θ[parameter], or the constant `coefficient` (frozen) if parameter is None.

    Edges that name the same parameter are tied.
    """

    tail: str
    head: str
    parameter: int | None = None
    coefficient: float = 1.0


class PathGraph:
    """A network as a graph from inputs to outputs, stored in columns.

    Hidden nodes are gated (ReLU, leaky ReLU, max pooling) unless `linear` lists them (identity activation).
    A bias is an edge from an input node that is always one.

    Arguments:
        inputs, outputs: names of nodes; inputs have no incoming, outputs no outgoing edges.
        edges: `Edge`s; at most one between two nodes.
        linear: names of hidden nodes with identity activation.

    Attributes:
        tail, head (E,): node of each end. parameter (E,): index into θ, −1 if frozen. coefficient (E,).
        inputs, outputs: node numbers. linear (nodes,): mask. levels (nodes,): longest way from a start.
        size: P, one more than the largest parameter.

    Raises:
        CyclicGraphError: edges lead back to where they started.
        GraphError: unknown or doubled nodes, parallel edges, zero or infinite coefficients.

    Example:
        >>> skip = [Edge("x", "h", 0), Edge("h", "y", 1), Edge("x", "y")]
        >>> PathGraph(["x"], ["y"], skip).size
        2
    """

    def __init__(
        self, inputs: Sequence[str], outputs: Sequence[str], edges: Iterable[Edge], linear: Sequence[str] = ()
    ):
        edges = [Edge(*edge) for edge in edges]
        names = list(dict.fromkeys([*inputs, *(name for edge in edges for name in edge[:2]), *outputs]))
        number = {name: k for k, name in enumerate(names)}
        unknown = [name for name in linear if name not in number]
        if unknown or len(set(inputs)) + len(set(outputs)) != len({*inputs, *outputs}):
            raise GraphError(
                f"linear nodes {unknown} are on no edge: name nodes of the graph"
                if unknown
                else "a node is both an input and an output: put an edge between two nodes"
            )
        parameters = [-1 if edge.parameter is None else edge.parameter for edge in edges]
        self._set(
            names,
            [number[name] for name in inputs],
            [number[name] for name in outputs],
            np.array([number[edge.tail] for edge in edges], np.int64),
            np.array([number[edge.head] for edge in edges], np.int64),
            np.array(parameters, np.int64),
            np.array([edge.coefficient for edge in edges], float),
            [number[name] for name in linear],
        )
        for edge in edges:
            if edge.parameter is not None and edge.parameter < 0:
                raise GraphError(f"{edge}: parameters are numbered from 0; None stands for a frozen edge")
        self._check()

    @classmethod
    def from_columns(
        cls,
        names: Sequence[str],
        inputs: Sequence[int] | np.ndarray,
        outputs: Sequence[int] | np.ndarray,
        tail: Int[np.ndarray, " E"],
        head: Int[np.ndarray, " E"],
        parameter: Int[np.ndarray, " E"],
        coefficient: Float[np.ndarray, " E"] | None = None,
        linear: Sequence[int] | np.ndarray = (),
        size: int | None = None,
        levels: Int[np.ndarray, " nodes"] | None = None,
    ) -> "PathGraph":
        """A graph of numbered nodes whose edges are given as arrays (for millions of them); not checked for parallel
        edges."""
        graph = cls.__new__(cls)
        graph._set(names, inputs, outputs, tail, head, parameter, coefficient, linear, size, levels)
        return graph

    def _set(
        self, names, inputs, outputs, tail, head, parameter, coefficient, linear, size=None, levels=None
    ) -> None:
        self.names = names
        self.inputs, self.outputs = np.asarray(inputs, np.int64), np.asarray(outputs, np.int64)
        self.tail, self.head, self.parameter = tail, head, parameter
        self.coefficient = np.ones(1) if coefficient is None else coefficient  # ones, whatever the edge
        self.uniform = coefficient is None
        self.linear = np.zeros(len(names), bool)
        self.linear[np.asarray(linear, np.int64)] = True
        self.size = int(parameter.max(initial=-1)) + 1 if size is None else size
        self.levels = self._longest_ways() if levels is None else levels

    def _check(self) -> None:
        if np.isin(self.head, self.inputs).any():
            raise GraphError("an edge leads into an input: inputs have no incoming edges")
        if np.isin(self.tail, self.outputs).any():
            raise GraphError("an edge leaves an output: put a linear node before it")
        pairs = np.stack([self.tail, self.head])
        if np.unique(pairs, axis=1).shape[1] != pairs.shape[1]:
            raise GraphError(
                "two edges join the same two nodes: they act as one weight, which is no monomial; put a node "
                "into one of them"
            )
        bad = ~np.isfinite(self.coefficient) | (self.coefficient == 0)
        if bad.any():
            edge = int(np.argmax(bad))
            raise GraphError(
                f"the edge {self.names[self.tail[edge]]} → {self.names[self.head[edge]]} has coefficient "
                f"{self.coefficient[edge]}: leave it out instead"
            )

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.names)

    @functools.cached_property
    def out_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """(order, starts): the edges leaving node v are order[starts[v]:starts[v+1]]."""
        return _by_node(self.tail, self.nodes)

    @functools.cached_property
    def in_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """(order, starts): the edges entering node v are order[starts[v]:starts[v+1]]."""
        return _by_node(self.head, self.nodes)

    def _longest_ways(self) -> Int[np.ndarray, " nodes"]:
        waiting = np.bincount(self.head, minlength=self.nodes)
        levels = np.zeros(self.nodes, np.int64)
        frontier, level, placed = np.flatnonzero(waiting == 0), 0, 0
        order, starts = self.out_edges
        while frontier.size:
            levels[frontier] = level
            placed += frontier.size
            heads = self.head[order[_ranges(starts[frontier], starts[frontier + 1])]]
            waiting -= np.bincount(heads, minlength=self.nodes)
            frontier = np.unique(heads)
            frontier = frontier[waiting[frontier] == 0]
            level += 1
        if placed < self.nodes:
            name = self.names[int(np.argmax(waiting > 0))]
            raise CyclicGraphError(f"node {name} lies on or behind a cycle: a network must be acyclic")
        return levels

    @functools.cached_property
    def live(self) -> tuple[Bool[np.ndarray, " E"], Bool[np.ndarray, " nodes"]]:
        """Masks of the edges and of the nodes that lie on a path from an input to an output."""
        forward, backward = np.zeros(self.nodes, bool), np.zeros(self.nodes, bool)
        forward[self.inputs], backward[self.outputs] = True, True
        for _, edges in self.edges_by_level:
            reached = forward[self.tail[edges]]
            forward[self.head[edges] if reached.all() else self.head[edges][reached]] = True
        for _, edges in reversed(self.edges_by_level):
            # Heads of one level are final before any edge into a lower level is looked at.
            reached = backward[self.head[edges]]
            backward[self.tail[edges] if reached.all() else self.tail[edges][reached]] = True
        return forward[self.tail] & backward[self.head], forward & backward

    @functools.cached_property
    def edges_by_level(self) -> list[tuple[int, Any]]:
        """[(level, edges whose head has this level)], ascending; the edges as indices or as a slice."""
        level = self.levels.astype(np.int16)[self.head]
        last = int(self.levels.max(initial=0))
        if np.all(level[1:] >= level[:-1]):
            cuts = np.searchsorted(level, np.arange(1, last + 2, dtype=np.int16))
            parts: list[Any] = [slice(int(a), int(b)) for a, b in itertools.pairwise(cuts)]
        else:
            order = np.argsort(level, kind="stable")
            cuts = np.searchsorted(level[order], np.arange(1, last + 2, dtype=np.int16))
            parts = [order[a:b] for a, b in itertools.pairwise(cuts)]
        sizes = np.diff(cuts)
        return [(k + 1, part) for k, part in enumerate(parts) if sizes[k]]

    @functools.cached_property
    def hidden(self) -> Int[np.ndarray, " H"]:
        """Numbers of the hidden nodes, ascending."""
        outer = np.zeros(self.nodes, bool)
        outer[self.inputs] = outer[self.outputs] = True
        return np.flatnonzero(~outer)

    def definition(self) -> dict:
        """The graph as JSON-able data, from which a certificate is checked."""
        coefficients = [1.0] * self.tail.size if self.uniform else self.coefficient.tolist()
        return {
            "kind": "paths",
            "nodes": self.nodes,
            "size": self.size,
            "inputs": self.inputs.tolist(),
            "outputs": self.outputs.tolist(),
            "linear": np.flatnonzero(self.linear).tolist(),
            "edges": [
                [int(t), int(h), int(k), c]
                for t, h, k, c in zip(self.tail, self.head, self.parameter, coefficients, strict=True)
            ],
        }


def _by_node(ends: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    sorted_already = ends.size == 0 or bool(np.all(ends[1:] >= ends[:-1]))
    order = np.arange(ends.size) if sorted_already else np.argsort(ends, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=nodes))])


def _ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The concatenation of range(start, stop)."""
    lengths = stops - starts
    shift = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return shift + np.arange(lengths.sum())


class _LayerNames(Sequence):
    """Names "layer.index" of the nodes of a layered network, then "one", made on demand."""

    def __init__(self, widths: Sequence[int], one: bool):
        self._starts = np.concatenate([[0], np.cumsum(widths)])
        self._one = one

    def __len__(self) -> int:
        return int(self._starts[-1]) + self._one

    def __getitem__(self, node):
        if node == self._starts[-1] and self._one:
            return "one"
        layer = int(np.searchsorted(self._starts, node, side="right")) - 1
        return f"{layer}.{int(node - self._starts[layer])}"


def layered_graph(widths: Sequence[int], bias: bool | str = False, *, linear: bool = False) -> PathGraph:
    """A fully connected network as a graph.

    Arguments:
        widths: (inputs, hidden…, outputs).
        bias: True (every layer), False, or "hidden".
        linear: whether hidden nodes have identity activation.

    Returns:
        Nodes "0.0", "1.2", …, and "one" for biases; θ runs layer by layer, weight (out, in) row-major, then bias.

    Example:
        >>> layered_graph((2, 3, 2), bias="hidden").size
        15
    """
    if len(widths) < 2 or min(widths) < 1 or bias not in (True, False, "hidden"):
        raise GraphError(
            f"widths is {tuple(widths)} and bias {bias!r}: expected two or more positive widths, and True, "
            'False or "hidden"'
        )
    starts = np.concatenate([[0], np.cumsum(widths)])
    one, tails, heads = int(starts[-1]), [], []
    kind = np.int32 if starts[-1] < 2**31 else np.int64
    for layer in range(1, len(widths)):
        fan_in, fan_out = widths[layer - 1], widths[layer]
        before = np.arange(starts[layer - 1], starts[layer], dtype=kind)
        after = np.arange(starts[layer], starts[layer + 1], dtype=kind)
        tails.append(np.tile(before, fan_out))
        heads.append(np.repeat(after, fan_in))
        if bias is True or (bias == "hidden" and layer < len(widths) - 1):
            tails.append(np.full(fan_out, one, kind))
            heads.append(after)
    total = sum(part.size for part in tails)
    inputs = list(range(widths[0])) + ([one] if bias else [])
    outputs = np.arange(widths[-1]) + starts[-2]
    return PathGraph.from_columns(
        _LayerNames(widths, bool(bias)),
        inputs,
        outputs,
        np.concatenate(tails),
        np.concatenate(heads),
        np.arange(total, dtype=np.int32 if total < 2**31 else np.int64),
        linear=np.arange(starts[1], starts[-2]) if linear else (),
        size=total,
        levels=np.concatenate(
            [np.repeat(np.arange(len(widths)), widths), np.zeros(int(bool(bias)), np.int64)]
        ),
    )
