"""The path lift of a network of gated nodes: one monomial per path from an input to an output."""

import functools
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from thetadot.conservation.dual_numbers import DualRing, grouped
from thetadot.conservation.errors import PathExplosionError
from thetadot.conservation.lift import Lift
from thetadot.conservation.path_graph import PathGraph
from thetadot.conservation.polynomials import Polynomials
from thetadot.conservation.potentials import Potentials, potentials_of

_MOST_PATHS = 100_000


class _Paths(NamedTuple):
    """Listed paths: where each goes (output, gated nodes backwards, input), its parameters, its constant factor."""

    keys: list[tuple[int, ...]]
    parameters: list[tuple[int, ...]]
    coefficients: list[float]


class PathLift(Lift):
    """The path lift of a graph.

    If all hidden nodes are gated, there is one component per path, the product of its weights. Components with the
    same gated nodes are summed over the ways through linear nodes. Components are ordered by output, then by the nodes
    backwards to the input.

    Arguments:
        graph: the network.

    Example:
        >>> from thetadot.conservation.path_graph import layered_graph
        >>> lift = PathLift(layered_graph((2, 3, 2)))
        >>> lift.dimension, lift.potentials().shape
        (12, (12, 3))
    """

    def __init__(self, graph: PathGraph):
        self.graph = graph

    @property
    def size(self) -> int:
        """P."""
        return self.graph.size

    @functools.cached_property
    def dead(self) -> tuple[int, ...]:
        """Parameters on no path: their gradient vanishes, each is a law by itself."""
        graph, (live, _) = self.graph, self.graph.live
        parameters = graph.parameter if live.all() else graph.parameter[live]
        uses = np.bincount(parameters[parameters >= 0], minlength=self.size)
        return tuple(np.flatnonzero(uses == 0).tolist())

    @functools.cached_property
    def _potentials(self) -> Potentials:
        return potentials_of(self.graph)

    def potentials(self) -> scipy.sparse.csr_array:
        """(P, laws): integer basis of ker A, A the incidence of the fully gated graph; dead rows are zero."""
        return self._potentials.matrix

    @property
    def law_nodes(self) -> list[str]:
        """For every column of `potentials` the name of the first node that it rescales."""
        return [self.graph.names[node] for node in self._potentials.nodes]

    @functools.cached_property
    def _predecessors(self) -> dict[int, dict[int, int]]:
        """For gated nodes and outputs: {gated node or input before it: number of ways through linear nodes}."""
        graph, (live, _) = self.graph, self.graph.live
        ways: dict[int, dict[int, int]] = {}
        tails: dict[int, list[int]] = {}
        for edge in np.flatnonzero(live):
            tails.setdefault(int(graph.head[edge]), []).append(int(graph.tail[edge]))
        for node in np.argsort(graph.levels, kind="stable").tolist():
            found: dict[int, int] = {}
            for tail in tails.get(node, ()):
                for source, number in (ways[tail] if graph.linear[tail] else {tail: 1}).items():
                    found[source] = found.get(source, 0) + number
            ways[node] = found
        return ways

    @functools.cached_property
    def gated(self) -> bool:
        """Whether every component is one monomial: no two gated nodes are joined by two ways through linear ones."""
        graph, (_, nodes) = self.graph, self.graph.live
        if not (graph.linear & nodes).any():
            return True
        return all(
            number == 1
            for node, ways in self._predecessors.items()
            if not graph.linear[node]
            for number in ways.values()
        )

    @functools.cached_property
    def dimension(self) -> int:
        """Number of components, exact however large."""
        if not self.graph.linear.any():
            return self._paths_to(dict.fromkeys(self.graph.inputs.tolist(), 1))
        counts = dict.fromkeys(self.graph.inputs.tolist(), 1)
        for node in np.argsort(self.graph.levels, kind="stable").tolist():
            if node not in counts and not self.graph.linear[node]:
                counts[node] = sum(counts[source] for source in self._predecessors[node])
        return sum(counts[node] for node in self.graph.outputs.tolist())

    def _paths_to(self, counts: dict[int, int]) -> int:
        graph = self.graph
        number = np.zeros(graph.nodes, dtype=object)
        number[list(counts)] = 1
        for _, edges in graph.edges_by_level:
            np.add.at(number, graph.head[edges], number[graph.tail[edges]])
        return int(sum(number[graph.outputs]))

    def _paths(self, limit: int) -> _Paths:
        graph, (live, _) = self.graph, self.graph.live
        total = self._paths_to(dict.fromkeys(graph.inputs.tolist(), 1))
        if total > limit:
            raise PathExplosionError(
                f"the network has {total} paths, at most {limit} are listed: use potentials, known_laws and the "
                "gauge coordinates, which list none"
            )
        entering: dict[int, list[int]] = {}
        for edge in np.flatnonzero(live).tolist():
            entering.setdefault(int(graph.head[edge]), []).append(edge)
        memory: dict[int, list] = {int(node): [((int(node),), (), 1.0)] for node in graph.inputs}
        coefficients = np.broadcast_to(graph.coefficient, graph.tail.shape)

        def ways(node: int) -> list:
            if node not in memory:
                own = () if graph.linear[node] else (node,)
                memory[node] = [
                    (
                        own + key,
                        parameters + ((int(graph.parameter[edge]),) if graph.parameter[edge] >= 0 else ()),
                        constant * coefficients[edge],
                    )
                    for edge in entering.get(node, ())
                    for key, parameters, constant in ways(int(graph.tail[edge]))
                ]
            return memory[node]

        # From the first levels up, so that the recursion stays shallow in deep networks.
        for node in np.argsort(graph.levels, kind="stable").tolist():
            ways(node)
        found = sorted(item for node in graph.outputs.tolist() for item in memory.get(node, ()))
        return _Paths(*(list(column) for column in zip(*found, strict=True))) if found else _Paths([], [], [])

    def incidence(self, limit: int = _MOST_PATHS) -> scipy.sparse.csr_array:
        """(paths, P): how often each path uses each parameter, linear nodes taken as gated.

        Raises:
            PathExplosionError: more than `limit` paths.
        """
        paths = self._paths(limit)
        rows = [row for row, used in enumerate(paths.parameters) for _ in used]
        columns = [parameter for used in paths.parameters for parameter in used]
        places = (np.array(rows, np.int64), np.array(columns, np.int64))
        matrix = scipy.sparse.csr_array(
            (np.ones(len(rows), np.int64), places), shape=(len(paths.keys), self.size)
        )
        matrix.sum_duplicates()
        return matrix

    @functools.cached_property
    def component_keys(self) -> list[tuple[int, ...]]:
        """(output, gated nodes backwards, input) of every component."""
        return list(dict.fromkeys(self._listed.keys))

    @functools.cached_property
    def _listed(self) -> _Paths:
        return self._paths(_MOST_PATHS)

    @functools.cached_property
    def _scaled_table(self) -> tuple[Polynomials, Float[np.ndarray, " components"]]:
        """The components times the common denominator of their constants, and that denominator."""
        paths = self._listed
        place = {key: number for number, key in enumerate(self.component_keys)}
        groups: list[list[tuple[Fraction, tuple]]] = [[] for _ in place]
        for key, used, constant in zip(*paths, strict=True):
            variables, powers = np.unique(np.array(used, np.int64), return_counts=True)
            pairs = tuple(zip(variables.tolist(), powers.tolist(), strict=True))
            groups[place[key]].append((Fraction(constant), pairs))
        scales = []
        components = []
        for group in groups:
            # One monomial alone may drop its constant: it spans the same.
            alone = 1 / group[0][0] if len(group) == 1 else None
            scale = alone or Fraction(max(constant.denominator for constant, _ in group))
            scales.append(float(scale))
            components.append([(int(constant * scale), pairs) for constant, pairs in group])
        return Polynomials.from_terms(self.size, components), np.array(scales, float)

    def polynomials(self) -> Polynomials:
        """The components, each up to a factor."""
        return self._scaled_table[0]

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """Products of weights along paths; `PathExplosionError` above 100 000 paths."""
        table, scales = self._scaled_table
        return table(theta) / scales

    @property
    def cotangent_size(self) -> int:
        """Inputs, gates and outputs of one backward pass."""
        return self.graph.inputs.size + self.graph.hidden.size + self.graph.outputs.size

    def pullback(
        self, ring: DualRing, theta: Int[np.ndarray, "..."], picked: Int[np.ndarray, "..."]
    ) -> Int[np.ndarray, "..."]:
        """Gradients of the network at picked inputs, gates (1 at linear nodes) and outputs: no path is listed."""
        graph, batch = self.graph, picked.shape[0]
        weights = self._weights(ring, theta)
        cut = graph.inputs.size, graph.inputs.size + graph.hidden.size
        gates = np.ones((batch, graph.nodes), np.int64)
        gates[:, graph.hidden] = np.where(graph.linear[graph.hidden], 1, picked[:, cut[0] : cut[1]])
        length = weights.shape[0]
        ahead = np.zeros((length, batch, graph.nodes), np.int64)
        ahead[0][:, graph.inputs] = picked[:, : cut[0]]
        back = np.zeros_like(ahead)
        back[0][:, graph.outputs] = picked[:, cut[1] :]
        for edges, order, starts, filled in self._forward_plan:
            terms = ring.multiply(weights[..., edges], ahead[..., graph.tail[edges]])
            sums = np.add.reduceat(terms[..., order], starts, axis=-1) % ring.prime
            ahead[..., filled] = sums * gates[:, filled] % ring.prime
        for edges, order, starts, filled in self._backward_plan:
            terms = ring.multiply(weights[..., edges], back[..., graph.head[edges]])
            sums = np.add.reduceat(terms[..., order], starts, axis=-1) % ring.prime
            back[..., filled] = sums * gates[:, filled] % ring.prime
        trainable, groups = self._parameter_plan
        products = ring.multiply(ahead[..., graph.tail[trainable]], back[..., graph.head[trainable]])
        products = products * self._constants(ring.prime)[trainable] % ring.prime
        return ring.segment_sum(products, *groups, self.size)

    def _weights(self, ring: DualRing, theta: np.ndarray) -> np.ndarray:
        graph = self.graph
        one = np.zeros((*theta.shape[:-1], 1), np.int64)
        one[0] = 1
        padded = np.concatenate([theta, one], axis=-1)
        return padded[..., graph.parameter] * self._constants(ring.prime) % ring.prime

    def _constants(self, prime: int) -> np.ndarray:
        graph = self.graph
        if graph.uniform:
            return np.ones(graph.tail.size, np.int64)
        found = [Fraction(constant) for constant in graph.coefficient.tolist()]
        return np.array([c.numerator * pow(c.denominator, -1, prime) % prime for c in found], np.int64)

    @functools.cached_property
    def _forward_plan(self) -> list[tuple[np.ndarray, ...]]:
        graph = self.graph
        live = np.flatnonzero(graph.live[0])
        level = graph.levels[graph.head[live]]
        parts = [live[level == k] for k in range(1, int(level.max(initial=0)) + 1)]
        return [_plan(edges, graph.head[edges]) for edges in parts if edges.size]

    @functools.cached_property
    def _backward_plan(self) -> list[tuple[np.ndarray, ...]]:
        graph = self.graph
        live = np.flatnonzero(graph.live[0])
        level = graph.levels[graph.tail[live]]
        parts = [live[level == k] for k in range(int(level.max(initial=-1)), -1, -1)]
        return [_plan(edges, graph.tail[edges]) for edges in parts if edges.size]

    @functools.cached_property
    def _parameter_plan(self):
        trainable = np.flatnonzero(self.graph.live[0] & (self.graph.parameter >= 0))
        return trainable, grouped(self.graph.parameter[trainable])

    def path_norm(self, theta: Float[Array | np.ndarray, " P"], exponent: float = 2) -> Float[Array, ""]:
        """(Σ_paths |z_path|^exponent)^(1/exponent), linear nodes taken as gated; one forward pass, traceable."""
        graph = self.graph
        padded = jnp.concatenate([jnp.abs(theta), jnp.ones(1)])
        weights = (padded[graph.parameter] * np.abs(graph.coefficient)) ** exponent
        value = jnp.zeros(graph.nodes).at[graph.inputs].set(1.0)
        for _, edges in graph.edges_by_level:
            terms = weights[edges] * value[graph.tail[edges]]
            value = value + jax.ops.segment_sum(terms, graph.head[edges], num_segments=graph.nodes)
        return jnp.sum(value[graph.outputs]) ** (1 / exponent)

    def definition(self) -> dict[str, Any]:
        """The graph."""
        return self.graph.definition()


def _plan(edges: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, ...]:
    return (edges, *grouped(ends))
