"""Weighted directed graphs as lists of edges.

Everywhere adjacency[source, target]: node i listens to its in-neighbours j with weight adjacency[j, i].
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.problems.checks import is_concrete
from thetadot.simulators.checks import as_numbers, as_square, in_range
from thetadot.simulators.errors import GraphError


class Graph(eqx.Module):
    """A graph; node `targets[e]` listens to node `sources[e]` with weight `weights[e]`. Parallel edges add up.

    A pytree whose leaves are the edges, so that another graph with as many edges and nodes compiles nothing.

    Arguments:
        sources, targets: indices (E,), 0 … size − 1.
        weights: (E,), by default 1.
        size: number of nodes.

    Attributes:
        sources, targets, weights (E,): sorted by target.
        size: number of nodes.

    Raises:
        GraphError: indices out of range, lengths that differ, a size below 1, weights that are not finite.

    Example:
        >>> Graph([0, 1], [1, 2], size=3).dense()[0].tolist()
        [0.0, 1.0, 0.0]
    """

    sources: Int[Array, " E"]
    targets: Int[Array, " E"]
    weights: Float[Array, " E"]
    size: int = eqx.field(static=True)

    def __init__(self, sources: Any, targets: Any, weights: Any = None, *, size: int):
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise GraphError(f"size is {size!r}, expected a whole number of nodes, at least 1")
        ends = [
            _indices(given, name, int(size)) for given, name in ((sources, "sources"), (targets, "targets"))
        ]
        if weights is None:
            values = np.ones(len(ends[0]))
        else:
            try:
                values = as_numbers(weights, "weights", 1)
            except ValueError as error:
                raise GraphError(str(error)) from None
        if not len(ends[0]) == len(ends[1]) == len(values):
            raise GraphError(
                f"{len(ends[0])} sources, {len(ends[1])} targets and {len(values)} weights: expected as many of each"
            )
        order = np.argsort(ends[1], kind="stable")  # sums over a node's edges then read neighbouring memory
        self.sources, self.targets = (jnp.asarray(end[order]) for end in ends)
        self.weights = jnp.asarray(values[order])
        self.size = int(size)

    @classmethod
    def from_dense(cls, adjacency: Any) -> "Graph":
        """The graph of adjacency[source, target] (n, n); zeros are no edges.

        Example:
            >>> Graph.from_dense([[0.0, 2.0], [0.0, 0.0]]).in_degrees.tolist()
            [0.0, 2.0]
        """
        try:
            matrix = as_square(adjacency, "adjacency")
        except ValueError as error:
            raise GraphError(str(error)) from None
        sources, targets = np.nonzero(matrix)
        return cls(sources, targets, matrix[sources, targets], size=len(matrix))

    def dense(self) -> Float[Array, "n n"]:
        """adjacency[source, target] (n, n)."""
        return jnp.zeros((self.size, self.size)).at[self.sources, self.targets].add(self.weights)

    @property
    def edges(self) -> int:
        """E, parallel edges counted."""
        return self.sources.shape[0]

    @property
    def in_degrees(self) -> Float[np.ndarray, " n"]:
        """Sum of the weights of each node's incoming edges."""
        sums = np.bincount(np.asarray(self.targets), np.asarray(self.weights), minlength=self.size)
        return sums.astype(np.float64)  # of no edges NumPy makes integers

    @property
    def mean_degree(self) -> float:
        """Mean in-degree."""
        return float(self.in_degrees.mean())

    @property
    def degree_variation(self) -> float:
        """Coefficient of variation of the in-degrees.

        Raises:
            GraphError: the mean in-degree is 0.
        """
        return float(self.in_degrees.std() / abs(_mean_degree(self)))

    def permuted(self, order: Any) -> "Graph":
        """The same graph with its nodes renumbered: new node i is old node order[i], as in states[order].

        Raises:
            GraphError: `order` is no permutation.

        Example:
            >>> Graph([0], [1], size=3).permuted([2, 0, 1]).sources.tolist()
            [1]
        """
        order = np.asarray(order)
        if sorted(order.tolist()) != list(range(self.size)):
            raise GraphError(f"order is no permutation of the {self.size} nodes")
        place = np.argsort(order)
        return Graph(
            place[np.asarray(self.sources)],
            place[np.asarray(self.targets)],
            np.asarray(self.weights),
            size=self.size,
        )


def erdos_renyi(key: PRNGKeyArray, size: int, probability: float, *, directed: bool = False) -> Graph:
    """A random graph: every pair of nodes is joined with this probability, none to itself.

    Arguments:
        key: the draw. size: nodes. probability: of each pair, or of each ordered pair if `directed`.

    Returns:
        A graph with weights 1, an undirected pair as two edges. Memory and time grow with its edges, not with size².

    Raises:
        GraphError: a size below 1. SettingError: a probability outside [0, 1].

    Example:
        >>> graph = erdos_renyi(jax.random.key(0), 50, 0.1)
        >>> bool((graph.dense() == graph.dense().T).all()), float(np.trace(graph.dense()))
        (True, 0.0)
    """
    if size < 1:
        raise GraphError(f"size is {size}, expected at least 1 node")
    in_range(probability, "probability", 0.0, np.nextafter(1.0, 2.0))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    if directed:
        pairs = size * (size - 1)
        chosen = _some(rng, pairs, probability)
        sources, rest = np.divmod(chosen, max(size - 1, 1))
        return Graph(sources, rest + (rest >= sources), size=size)
    chosen = _some(rng, size * (size - 1) // 2, probability)
    # Pair number k is (i, j), j < i, with k = i(i−1)/2 + j; the root is mended where rounding misses.
    i = np.floor((1 + np.sqrt(1.0 + 8.0 * chosen)) / 2).astype(np.int64)
    i -= i * (i - 1) // 2 > chosen
    i += (i + 1) * i // 2 <= chosen
    j = chosen - i * (i - 1) // 2
    return Graph(np.concatenate([i, j]), np.concatenate([j, i]), size=size)


def degree_scale(training_graph: Graph, graph: Graph) -> float:
    """(k_train/k_test)² of the mean in-degrees: what to multiply d by on another graph.

    The sum of messages scales with the in-degree, hence d with its square. A mean-field correction: right for
    homogeneous graphs, wrong for heterogeneous ones.

    Raises:
        GraphError: a graph without edges, or whose weights add up to 0.

    Example:
        >>> ring = lambda k: Graph(
        ...     np.tile(np.arange(9), k), np.concatenate([np.arange(9) + s for s in range(1, k + 1)]) % 9, size=9)
        >>> degree_scale(ring(2), ring(4))
        0.25
    """
    return (_mean_degree(training_graph) / _mean_degree(graph)) ** 2


def _mean_degree(graph: Graph) -> float:
    degree = graph.mean_degree
    if degree == 0:
        raise GraphError("the graph has mean in-degree 0: a degree scale needs edges")
    return degree


def _some(rng: np.random.Generator, pairs: int, probability: float) -> Int[np.ndarray, " E"]:
    if pairs == 0:
        return np.zeros(0, np.int64)
    return np.sort(rng.choice(pairs, size=rng.binomial(pairs, probability), replace=False, shuffle=False))


def _indices(given: Any, name: str, size: int) -> Int[np.ndarray, " E"]:
    if not is_concrete(given):
        raise GraphError(f"{name} are traced: build the graph outside of jit and hand it in")
    array = np.asarray(given)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise GraphError(
            f"{name} have shape {array.shape} and dtype {array.dtype}, expected whole numbers (E,)"
        )
    if array.size and (array.min() < 0 or array.max() >= size):
        raise GraphError(f"{name} run from {array.min()} to {array.max()}, expected 0 to {size - 1}")
    return array.astype(np.int64)
