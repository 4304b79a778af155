"""The laws that theory gives: balancedness, neurons, twins, column sums, dead parameters, momentum, mirrors."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.errors import ConservationError
from thetadot.conservation.fields import MirrorFields, MomentumFields, VectorFields
from thetadot.conservation.laws import Laws, no_laws
from thetadot.conservation.lift import BlockLift, FunctionLift, Lift, LinearLift, MonomialLift
from thetadot.conservation.path_graph import layered_graph
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.polynomials import Polynomials, shifted
from thetadot.conservation.potentials import components_of
from thetadot.conservation.restricted import RestrictedLift, ZeroSumLift
from thetadot.numerics.exact import PRIME, integral, null_space_mod, rank_mod


class Rescalings(NamedTuple):
    """Basis of ker A of a lift of monomials: `matrix` csr (P, laws), `names` of its columns; `dead` parameters."""

    matrix: Any
    names: list[str]
    dead: tuple[int, ...]


def rescalings_of(lift: Lift) -> Rescalings:
    """The rescalings of θ that leave a lift of monomials unchanged; dead parameters apart.

    Raises:
        ConservationError: the lift is not made of monomials.
    """
    if isinstance(lift, PathLift):
        return Rescalings(lift.potentials(), [f"neuron {name}" for name in lift.law_nodes], lift.dead)
    if not isinstance(lift, MonomialLift):
        raise ConservationError(
            f"{type(lift).__name__} is no lift of monomials: expected a PathLift or a MonomialLift"
        )
    exponents = lift.exponents.toarray()
    dead = np.flatnonzero(~exponents.any(axis=0))
    live = np.flatnonzero(exponents.any(axis=0))
    found = [integral(row) for row in null_space_mod(exponents[:, live])]
    vectors = np.array([row for row in found if row is not None], dtype=np.int64).reshape(-1, live.size)
    if len(vectors) != len(found) or np.any(exponents[:, live] @ vectors.T):
        raise ConservationError(
            "the rescalings of these exponents are no small integers: reduce the exponents"
        )
    basis = np.zeros((lift.size, len(vectors)), np.int64)
    basis[live] = vectors.T
    names = [f"rescaling {k}" for k in range(len(vectors))]
    return Rescalings(scipy.sparse.csr_array(basis), names, tuple(dead.tolist()))


def known_laws(target: Any) -> Laws:
    """The laws of a problem, a lift or vector fields that theory gives.

    Arguments:
        target: a `Problem`, a `Lift`, or what `momentum_fields` and `mirror_fields` return.

    Returns:
        Laws of the parameters θ (P,); for momentum of states (t, θ, v). Neuron laws come first, in the order of
        `PathLift.potentials`. They need not be all laws: see `count_laws`.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> known_laws(LinearLift((2, 2, 2))).names
        ('balance 1[0,0]', 'balance 1[0,1]', 'balance 1[1,1]')
    """
    if isinstance(target, MomentumFields):
        return _momentum(target)
    if isinstance(target, MirrorFields):
        return _mirror(target)
    if isinstance(target, VectorFields):
        return known_laws(target.lift)
    if not isinstance(target, Lift):
        return known_laws(lift_of(target))
    if isinstance(target, LinearLift):
        return _balance(target)
    if isinstance(target, ZeroSumLift):
        sums = _column_sums(target)
        below = known_laws(target.lift)
        dead = len(target.lift.dead) if isinstance(target.lift, PathLift) else 0
        return below + sums if not dead else _pick(below, 0, -dead) + sums + _pick(below, -dead, None)
    if isinstance(target, RestrictedLift):
        return known_laws(target.lift)
    if isinstance(target, (PathLift, MonomialLift)):
        return _rescaling_laws(target)
    if isinstance(target, BlockLift):
        return _blocks(target)
    if isinstance(target, FunctionLift) and target.laws is not None:
        return target.laws
    return no_laws(target.size)


def _pick(laws: Laws, start: int, stop: int | None) -> Laws:
    chosen = np.arange(len(laws))[start:stop]
    table = laws.table
    keep = np.isin(table.owner, chosen)
    owner = np.searchsorted(chosen, table.owner[keep])
    part = Polynomials(table.size, chosen.size, owner, table.factors[keep], table.coefficients[keep])
    return Laws(part, [laws.names[k] for k in chosen], laws.scales[chosen], None, laws.proof)


def _balance(lift: LinearLift) -> Laws:
    """Entries i ≤ j of U_{l+1}ᵀU_{l+1} − U_lU_lᵀ."""
    numbers = lift.factors(np.arange(lift.size))
    components, names = [], []
    for layer in range(1, lift.depth):
        below, above = numbers[layer - 1], numbers[layer]
        for i in range(lift.widths[layer]):
            for j in range(i, lift.widths[layer]):
                terms = [(1, _pair(above[k, i], above[k, j])) for k in range(above.shape[0])]
                terms += [(-1, _pair(below[i, k], below[j, k])) for k in range(below.shape[1])]
                components.append(terms)
                names.append(f"balance {layer}[{i},{j}]")
    return Laws(Polynomials.from_terms(lift.size, components), names, proof="theorem")


def _pair(a: Any, b: Any) -> tuple[tuple[int, int], ...]:
    return ((int(a), 2),) if a == b else ((int(a), 1), (int(b), 1))


def _rescaling_laws(lift: PathLift | MonomialLift) -> Laws:
    matrix, names, dead = rescalings_of(lift)
    entries = matrix.tocoo()
    factors = np.stack([entries.row, entries.row], axis=1).astype(np.int64)
    laws = Laws(
        Polynomials(lift.size, matrix.shape[1], entries.col.astype(np.int64), factors, entries.data),
        names,
        proof="theorem",
    )
    if isinstance(lift, PathLift) and not lift.gated:
        laws = laws + _twins(lift)
    return laws + _single(lift.size, dead)


def _single(size: int, dead: tuple[int, ...]) -> Laws:
    """Parameters that never move."""
    components = [[(1, ((k, 1),))] for k in dead]
    names = [f"dead parameter {k}" for k in dead]
    return Laws(Polynomials.from_terms(size, components), names, proof="theorem")


def _twins(lift: PathLift) -> Laws:
    """Σ_in θ_ua θ_ub − Σ_out θ_aw θ_bw of linear nodes a, b with equal neighbours through free edges.

    Frozen edges between linear nodes (a residual stream) make one node of them: then the sum runs over all of it.
    """
    graph, (live, nodes) = lift.graph, lift.graph.live
    edges = np.flatnonzero(live)
    component, _ = components_of(graph, graph.tail[edges], graph.head[edges], graph.parameter[edges], nodes)
    uses = np.bincount(graph.parameter[live & (graph.parameter >= 0)], minlength=graph.size)
    members: dict[int, list[int]] = {}
    for node in np.flatnonzero(component >= 0).tolist():
        members.setdefault(int(component[node]), []).append(node)
    alike: dict[tuple, list[tuple[str, list[int], list[int]]]] = {}
    for stream in members.values():
        found = _surroundings(graph, live, uses, stream)
        if found is not None:
            signature, into, out = found
            alike.setdefault(signature, []).append((graph.names[stream[0]], into, out))
    components, names = [], []
    for twins in alike.values():
        for k, (a, in_a, out_a) in enumerate(twins):
            for b, in_b, out_b in twins[k + 1 :]:
                pairs = [(1, x, y) for x, y in zip(in_a, in_b, strict=True)]
                pairs += [(-1, x, y) for x, y in zip(out_a, out_b, strict=True)]
                components.append([(sign, _pair(*sorted((x, y)))) for sign, x, y in pairs])
                names.append(f"twins {a}, {b}")
    return Laws(Polynomials.from_terms(lift.size, components), names, proof="theorem")


def _surroundings(graph, live, uses, stream: list[int]) -> tuple[tuple, list[int], list[int]] | None:
    """What twins share (neighbours, constants, inner frozen edges), and the free parameters into and out of them."""
    if not graph.linear[stream].all():
        return None
    stream = sorted(stream, key=lambda node: (int(graph.levels[node]), node))
    place = {node: k for k, node in enumerate(stream)}
    coefficients = np.broadcast_to(graph.coefficient, graph.tail.shape)
    signature: list[tuple] = []
    sides: tuple[list[int], list[int]] = ([], [])
    for node in stream:
        for side, ((order, starts), far) in enumerate(
            ((graph.in_edges, graph.tail), (graph.out_edges, graph.head))
        ):
            edges = [e for e in order[starts[node] : starts[node + 1]].tolist() if live[e]]
            for e in sorted(edges, key=lambda e, far=far: int(far[e])):
                other, parameter = int(far[e]), int(graph.parameter[e])
                if parameter < 0:
                    signature.append(("frozen", side, place[node], place[other], float(coefficients[e])))
                elif uses[parameter] > 1 or other in place:
                    return None
                else:
                    signature.append(("free", side, place[node], other, float(coefficients[e])))
                    sides[side].append(parameter)
    return tuple(signature), *sides


class Feeders(NamedTuple):
    """The nodes that feed the outputs: those whose shift of all outgoing weights changes no difference of outputs
    (`complete`: names and parameters), and whether these are all."""

    complete: list[tuple[str, list[int]]]
    all_complete: bool


def feeders_of(lift: PathLift) -> Feeders:
    """Nodes joined to every output by untied trainable edges of equal coefficients."""
    graph, (live, _) = lift.graph, lift.graph.live
    uses = np.bincount(graph.parameter[live & (graph.parameter >= 0)], minlength=graph.size)
    coefficients = np.broadcast_to(graph.coefficient, graph.tail.shape)
    leading: dict[int, list[int]] = {}
    for edge in np.flatnonzero(live & np.isin(graph.head, graph.outputs)).tolist():
        leading.setdefault(int(graph.tail[edge]), []).append(edge)
    complete = []
    for node, edges in sorted(leading.items()):
        parameters = graph.parameter[edges]
        free = np.all(parameters >= 0) and np.all(uses[parameters] == 1)
        if len(edges) == graph.outputs.size and free and np.ptp(coefficients[edges]) == 0:
            complete.append((graph.names[node], sorted(parameters.tolist())))
    return Feeders(complete, len(complete) == len(leading))


def _column_sums(lift: ZeroSumLift) -> Laws:
    if isinstance(lift.lift, LinearLift):
        last = lift.lift.factors(np.arange(lift.size))[-1]
        columns = [(f"{lift.lift.depth - 1}.{k}", column.tolist()) for k, column in enumerate(last.T)]
    else:
        columns = feeders_of(lift.lift).complete
    components = [[(1, ((k, 1),)) for k in parameters] for _, parameters in columns]
    names = [f"sum of weights from {name}" for name, _ in columns]
    return Laws(Polynomials.from_terms(lift.size, components), names, proof="theorem")


def _blocks(lift: BlockLift) -> Laws:
    total = no_laws(lift.size)
    for number, (block, start) in enumerate(zip(lift.lifts, lift.starts[:-1], strict=True)):
        laws = known_laws(block)
        names = [f"block {number}: {name}" for name in laws.names]
        total = total + Laws(
            shifted(laws.table, int(start), lift.size), names, laws.scales, laws.rates, laws.proof
        )
    return total


def _momentum(fields: MomentumFields) -> Laws:
    """Entries i < j of e^{friction·t}·skew(U_{l+1}ᵀU'_{l+1} + U_lU'_lᵀ) of linear networks; none for others."""
    lift = fields.lift
    if not isinstance(lift, LinearLift):
        return no_laws(fields.size)
    places = lift.factors(1 + np.arange(lift.size))
    components, names = [], []
    for layer in range(1, lift.depth):
        below, above = places[layer - 1], places[layer]
        for i in range(lift.widths[layer]):
            for j in range(i + 1, lift.widths[layer]):
                terms = []
                for x, y in [(above[k, i], above[k, j]) for k in range(above.shape[0])] + [
                    (below[i, k], below[j, k]) for k in range(below.shape[1])
                ]:
                    terms.append((1, ((int(x), 1), (int(y) + lift.size, 1))))
                    terms.append((-1, ((int(y), 1), (int(x) + lift.size, 1))))
                components.append(terms)
                names.append(f"rotation {layer}[{i},{j}]")
    table = Polynomials.from_terms(fields.size, components)
    return Laws(table, names, None, [fields.friction] * len(names), proof="theorem")


def _mirror(fields: MirrorFields) -> Laws:
    """Σ_k y_kθ_k for every rescaling y, if g⁻¹ = diag(θ); none for other metrics."""
    lift, table = fields.lift, fields.table
    plain = table.degree == 1 and all(terms == [(1, ((k, 1),))] for k, terms in enumerate(table.terms))
    if isinstance(lift, LinearLift) and plain:
        lift = PathLift(layered_graph(lift.widths))
    if not plain or not isinstance(lift, (PathLift, MonomialLift)):
        return no_laws(fields.size)
    matrix, names, dead = rescalings_of(lift)
    entries = matrix.tocoo()
    part = Polynomials(
        fields.size,
        matrix.shape[1],
        entries.col.astype(np.int64),
        entries.row[:, None].astype(np.int64),
        entries.data,
    )
    return Laws(part, names, proof="theorem") + _single(fields.size, dead)


def independent_mod(laws: Laws, point: np.ndarray, prime: int = PRIME) -> int:
    """Rank of the laws' gradients at a point modulo a prime."""
    return rank_mod(laws.rows_mod(point, prime), prime) if len(laws) else 0
