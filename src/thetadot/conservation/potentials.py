"""The rescalings of a gated network: integer vectors y with A·y = 0, A the incidence of its paths.

y_e = s(head) − s(tail) for a potential s of the nodes that vanishes at inputs and outputs, is equal at both ends of a
frozen edge, and gives all edges of one parameter the same y. No path is ever listed.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Int

from thetadot.conservation.errors import GraphError
from thetadot.conservation.path_graph import PathGraph
from thetadot.numerics.exact import PRIME, integral, null_space_mod

_LARGEST_TIED = 6000


class Potentials(NamedTuple):
    """What `potentials_of` found.

    Attributes:
        matrix: csr (P, laws), integers: one rescaling a column; rows of dead parameters are zero.
        nodes: for each column the number of the first node whose potential is not zero.
    """

    matrix: Any
    nodes: Int[np.ndarray, " laws"]


def potentials_of(graph: PathGraph) -> Potentials:
    """The rescalings of a graph whose hidden nodes are all gated; O(edges) without tied edges."""
    tail, head, parameter, component, count = _trainable_edges(graph)
    above, below = component[head], component[tail]
    first, extra = _first_edges(parameter, graph.size)
    differences = _differences(above[first], below[first], parameter[first], (graph.size, count))
    representative = np.zeros(count, np.int64)
    owned = np.flatnonzero(component >= 0)[::-1]
    representative[component[owned]] = owned
    if extra.size == 0:
        return Potentials(differences, representative)
    basis = _tied_basis(above, below, parameter, extra, first, graph.size, count)
    columns = scipy.sparse.csr_array(basis.T)
    leading = np.array([int(np.argmax(row != 0)) for row in basis], np.int64)
    return Potentials(scipy.sparse.csr_array(differences @ columns), representative[leading])


def count_potentials(graph: PathGraph) -> tuple[int, int]:
    """(rescalings, dead parameters) of a graph whose hidden nodes are all gated, without listing them."""
    tail, head, parameter, component, count = _trainable_edges(graph)
    uses = np.bincount(parameter, minlength=graph.size)
    dead = int(np.sum(uses == 0))
    if uses.max(initial=0) <= 1:
        return count, dead
    first, extra = _first_edges(parameter, graph.size)
    above, below = component[head], component[tail]
    return len(_tied_basis(above, below, parameter, extra, first, graph.size, count)), dead


def _trainable_edges(graph: PathGraph) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Tails, heads and parameters of the live trainable edges; component of each node, number of components."""
    live, live_nodes = graph.live
    edges = slice(None) if live.all() else np.flatnonzero(live)
    tail, head, parameter = graph.tail[edges], graph.head[edges], graph.parameter[edges]
    component, count = components_of(graph, tail, head, parameter, live_nodes)
    trainable = parameter >= 0
    if not trainable.all():
        tail, head, parameter = tail[trainable], head[trainable], parameter[trainable]
    return tail, head, parameter, component, count


def components_of(graph, tail, head, parameter, live_nodes) -> tuple[np.ndarray, int]:
    """Component of each node under frozen edges: −1 if grounded or dead, else a number in the order of nodes."""
    component = np.full(graph.nodes, -1, np.int64)
    hidden = np.zeros(graph.nodes, bool)
    hidden[graph.hidden] = True
    hidden &= live_nodes
    frozen = parameter < 0
    if not frozen.any():
        count = int(hidden.sum())
        component[hidden] = np.arange(count)
        return component, count
    ground = graph.nodes
    outer = np.concatenate([graph.inputs, graph.outputs])
    rows = np.concatenate([tail[frozen], outer])
    columns = np.concatenate([head[frozen], np.full(outer.size, ground)])
    joined = scipy.sparse.coo_array((np.ones(rows.size, np.int8), (rows, columns)), shape=(ground + 1,) * 2)
    _, label = scipy.sparse.csgraph.connected_components(joined, directed=False)
    free = hidden & (label[:-1] != label[ground])
    found, seen = np.unique(label[:-1][free], return_index=True)
    rank = np.empty(found.size, np.int64)
    rank[np.argsort(seen)] = np.arange(found.size)
    component[free] = rank[np.searchsorted(found, label[:-1][free])]
    return component, found.size


def _first_edges(parameter: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the first edge of every parameter that has one, and of all the others."""
    seen = np.full(size, -1, np.int64)
    seen[parameter[::-1]] = np.arange(parameter.size)[::-1]
    first = seen[seen >= 0]
    extra = np.flatnonzero(seen[parameter] != np.arange(parameter.size))
    return first, extra


def _differences(above, below, rows, shape) -> Any:
    """Rows s(above) − s(below), grounded entries left out."""
    up, down = above >= 0, below >= 0
    values = np.concatenate([np.ones(int(up.sum()), np.int64), -np.ones(int(down.sum()), np.int64)])
    places = (np.concatenate([rows[up], rows[down]]), np.concatenate([above[up], below[down]]))
    matrix = scipy.sparse.csr_array((values, places), shape=shape)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _tied_basis(above, below, parameter, extra, first, size, count) -> np.ndarray:
    """Integer basis (laws, components) of the potentials that give tied edges equal differences.

    A sample of the equations gives a null space modulo a prime that is at least as large as the true one. Its
    rational form is checked against every equation in integers: then it is the true one.
    """
    if count == 0:
        return np.zeros((0, 0), np.int64)
    if count > _LARGEST_TIED:
        raise GraphError(f"{count} hidden nodes with tied edges: this is limited to {_LARGEST_TIED} of them")
    where = np.zeros(size, np.int64)
    where[parameter[first]] = first
    reference = where[parameter[extra]]
    rows = np.arange(extra.size)
    equations = _differences(above[extra], below[extra], rows, (extra.size, count)) - _differences(
        above[reference], below[reference], rows, (extra.size, count)
    )
    equations: Any = scipy.sparse.csr_array(equations)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(extra.size)[: 2 * count]
    while True:
        residues = null_space_mod(equations[chosen].toarray(), PRIME)
        vectors = [integral(row, PRIME) for row in residues]
        basis = np.array([v for v in vectors if v is not None], np.int64).reshape(-1, count)
        violated = np.flatnonzero(np.abs(equations @ basis.T).max(axis=1, initial=0))
        if len(basis) == len(residues) and violated.size == 0:
            return basis
        if violated.size == 0:
            raise GraphError("potentials of tied edges could not be written as small integers")
        chosen = np.concatenate([chosen, rng.permutation(violated)[:count]])
