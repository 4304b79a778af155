"""Linear and affine sets of parameters that the flow does not leave."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sympy

from thetadot.integrability.errors import IntegrabilityError, NotInvariantError
from thetadot.integrability.identities import is_zero
from thetadot.integrability.symbolic import SymbolicFlow, network_parameters

_MOST_NEURONS = 4
_MOST_PLAIN = 10


@dataclasses.dataclass(frozen=True)
class InvariantManifold:
    """An affine set M that the flow keeps.

    Attributes:
        kind: where it comes from. substitution: {parameter: expression in the coordinates} of the others.
        coordinates: the parameters that stay free (d,). tangent: (P, d). normal: (P, P−d), orthogonal to it.
        residuals: normal components of the field on M, all 0.
    """

    kind: str
    substitution: dict[sympy.Symbol, sympy.Expr]
    coordinates: tuple[sympy.Symbol, ...]
    tangent: sympy.ImmutableMatrix
    normal: sympy.ImmutableMatrix
    residuals: tuple[sympy.Expr, ...]

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.coordinates)

    @property
    def name(self) -> str:
        """The kind and the equations."""
        equations = ", ".join(f"{k} = {v}" for k, v in self.substitution.items())
        return f"{self.kind}: {equations}" if equations else self.kind


def invariant_manifold(
    flow: SymbolicFlow, substitution: Mapping[sympy.Symbol, Any], kind: str = "given"
) -> InvariantManifold:
    """The set where the given parameters are affine functions of the others, if the flow keeps it.

    Arguments:
        flow: the flow. substitution: {parameter: expression}; affine in the other parameters. kind: a name.

    Raises:
        NotInvariantError: the field points out of it; the message shows the component.
        IntegrabilityError: not affine, or not of parameters of the flow.

    Example:
        >>> from thetadot.integrability import network_flow
        >>> flow = network_flow([1, 1, 1], "tanh", [(1, 1), (-1, -1)])
        >>> w, b, a, c = flow.parameters
        >>> invariant_manifold(flow, {b: 0, c: 0}).coordinates
        (w1_1_1, w2_1_1)
    """
    given = {key: sympy.sympify(value) for key, value in substitution.items()}
    unknown = [key for key in given if key not in flow.parameters]
    if unknown:
        raise IntegrabilityError(
            f"{unknown[0]} is no parameter: expected some of {', '.join(map(str, flow.parameters))}"
        )
    coordinates = tuple(symbol for symbol in flow.parameters if symbol not in given)
    whole = sympy.Matrix([given.get(symbol, symbol) for symbol in flow.parameters])
    tangent = whole.jacobian(coordinates) if coordinates else sympy.zeros(flow.size, 0)
    if tangent.free_symbols or any(value.free_symbols - set(coordinates) for value in given.values()):
        raise IntegrabilityError("the substitution must be affine in the parameters that it leaves free")
    if not coordinates:
        raise IntegrabilityError("the substitution leaves no parameter free: nothing moves on a point")
    vectors = tangent.T.nullspace()
    normal = sympy.Matrix.hstack(*vectors) if vectors else sympy.zeros(flow.size, 0)
    on_it = [component.subs(given, simultaneous=True) for component in flow.field]
    residuals = []
    for k, vector in enumerate(vectors):
        component = sympy.Add(*(v * c for v, c in zip(vector, on_it, strict=True) if v != 0))
        if not is_zero(component):
            shown = str(sympy.expand(component))
            raise NotInvariantError(
                f"the field leaves this set: its component along normal direction {k} is "
                f"{shown if len(shown) < 120 else shown[:117] + '…'}, expected 0"
            )
        residuals.append(sympy.Integer(0))
    return InvariantManifold(
        kind,
        given,
        coordinates,
        sympy.ImmutableMatrix(tangent),
        sympy.ImmutableMatrix(normal),
        tuple(residuals),
    )


Constraint = tuple[tuple[int, ...], sympy.Expr]
"""(coefficients, right side) of one affine equation in the parameters."""


def invariant_manifolds(flow: SymbolicFlow) -> tuple[InvariantManifold, ...]:
    """Invariant sets from symmetries (reflections, equal and dead neurons) and their intersections.

    Without metadata of a network: sets of zeros and equalities θᵢ = ±θⱼ for P ≤ 10. Each one is verified exactly;
    that all are found is not claimed.

    Example:
        >>> from thetadot.integrability import network_flow
        >>> [m.dimension for m in invariant_manifolds(network_flow([1, 1, 1], "tanh", [(1, 1), (-1, -1)]))]
        [2]
    """
    screen = _Screen(flow)
    candidates = _network_candidates(flow) if flow.network is not None else _plain_candidates(flow, screen)
    found: dict[Any, InvariantManifold] = {}
    for kind, constraints in candidates:
        solved = _solve(flow, constraints)
        if solved is None or not 0 < flow.size - len(solved) < flow.size:
            continue
        key = tuple(sorted((str(k), str(v)) for k, v in solved.items()))
        if key in found or not screen.passes(solved):
            continue
        try:
            found[key] = invariant_manifold(flow, solved, kind)
        except NotInvariantError:
            continue
    return tuple(sorted(found.values(), key=lambda m: (m.dimension, m.name)))


class _Screen:
    """Refuses candidates by the field at two random points, before anything exact is done."""

    def __init__(self, flow: SymbolicFlow):
        self.flow = flow
        self.field = sympy.lambdify(flow.parameters, flow.field, modules=["scipy", "numpy"])
        self.values = np.random.default_rng(0).uniform(0.3, 0.9, (2, flow.size))

    def passes(self, solved: Mapping[sympy.Symbol, sympy.Expr]) -> bool:
        index = {symbol: i for i, symbol in enumerate(self.flow.parameters)}
        rows = []
        for symbol, expression in solved.items():
            linear = expression.as_coefficients_dict()
            rows.append((index[symbol], {k: float(v) for k, v in linear.items()}))
        for point in self.values:
            point = point.copy()
            for i, terms in rows:
                point[i] = sum(v * (point[index[k]] if k in index else float(k)) for k, v in terms.items())
            field = self.field(*point)
            for i, terms in rows:
                wanted = sum(v * field[index[k]] for k, v in terms.items() if k in index)
                if abs(field[i] - wanted) > 1e-9:
                    return False
        return True


def _solve(flow: SymbolicFlow, constraints: Iterable[Constraint]) -> dict[sympy.Symbol, sympy.Expr] | None:
    """Later parameters in terms of earlier ones, or None if the equations contradict each other."""
    rows = [[*reversed(coefficients), right] for coefficients, right in constraints]
    if not rows:
        return {}
    reduced, pivots = sympy.Matrix(rows).rref()
    backwards = tuple(reversed(flow.parameters))
    if flow.size in pivots:
        return None
    solved = {}
    for row, pivot in enumerate(pivots):
        rest = sympy.Add(
            *(-reduced[row, j] * backwards[j] for j in range(flow.size) if j != pivot),
            reduced[row, flow.size],
        )
        solved[backwards[pivot]] = rest
    return dict(sorted(solved.items(), key=lambda item: flow.parameters.index(item[0])))


def _zero(flow: SymbolicFlow, symbol: sympy.Symbol, value: Any = 0) -> Constraint:
    return tuple(int(p == symbol) for p in flow.parameters), sympy.sympify(value)


def _equal(flow: SymbolicFlow, first: sympy.Symbol, second: sympy.Symbol, sign: int = 1) -> Constraint:
    return tuple(int(p == first) - sign * int(p == second) for p in flow.parameters), sympy.Integer(0)


def _network_candidates(flow: SymbolicFlow) -> Iterable[tuple[str, list[Constraint]]]:
    network = flow.network
    assert network is not None
    records = network_parameters(network.widths, network.biases)
    hidden = [s for r in records[:-1] for s in r["bias"]]
    mean = [sum(y[k] for _, y in network.data) / len(network.data) for k in range(network.widths[-1])]
    no_bias = [_zero(flow, s) for s in hidden]
    settings: list[tuple[str, list[Constraint]]] = [("", [])]
    if any(network.biases):
        last = records[-1]["bias"]
        settings.append(("reflection", no_bias + [_zero(flow, s) for s in last]))
        if last and any(mean):
            shifts = [_zero(flow, s, value / network.scale) for s, value in zip(last, mean, strict=True)]
            settings.append(("centred", no_bias + shifts))
        if hidden and last:
            settings.append(("hidden biases zero", no_bias))
    structures: list[tuple[str, list[Constraint]]] = [("", [])]
    if len(network.widths) == 3:
        structures += _two_layer_structures(flow, records)
    if set(network.widths) == {1} and len(network.widths) > 3:
        chain = [r["weight"][0][0] for r in records]
        for signs in itertools.product((1, -1), repeat=len(chain) - 1):
            pairs = zip(itertools.pairwise(chain), signs, strict=True)
            structures.append(("equal layers", [_equal(flow, a, b, s) for (a, b), s in pairs]))
    for (first, one), (second, two) in itertools.product(settings, structures):
        if one or two:
            yield " and ".join(filter(None, (first, second))), one + two


def _two_layer_structures(flow, records) -> list[tuple[str, list[Constraint]]]:
    neurons = []
    for k, row in enumerate(records[0]["weight"]):
        outgoing = [out[k] for out in records[1]["weight"]]
        neurons.append([*row, *records[0]["bias"][k : k + 1], *outgoing])
    width, found = len(neurons), []
    incoming = [_zero(flow, w) for row in records[0]["weight"] for w in row]
    found.append(("incoming weights zero", incoming))
    dead_counts = range(width) if width <= _MOST_NEURONS else (0,)
    for dead in dead_counts:
        zeros = [_zero(flow, s) for neuron in neurons[width - dead :] for s in neuron]
        alive = width - dead
        partitions = _partitions(alive) if width <= _MOST_NEURONS else [[alive]]
        for sizes in partitions:
            start, equalities = 0, []
            for size in sizes:
                group = neurons[start : start + size]
                for first, second in itertools.pairwise(group):
                    equalities += [_equal(flow, a, b) for a, b in zip(first, second, strict=True)]
                start += size
            if not (zeros or equalities):
                continue
            words = [f"{dead} dead neurons"] if dead else []
            words += [f"equal neurons {'+'.join(map(str, sizes))}"] if equalities else []
            found.append((" and ".join(words), zeros + equalities))
    return found


def _partitions(number: int, largest: int | None = None) -> list[list[int]]:
    if number == 0:
        return [[]]
    top = min(number, largest or number)
    return [[k, *rest] for k in range(top, 0, -1) for rest in _partitions(number - k, k)]


def _plain_candidates(flow: SymbolicFlow, screen: _Screen) -> Iterable[tuple[str, list[Constraint]]]:
    if flow.size > _MOST_PLAIN:
        return
    atoms = [_zero(flow, s) for s in flow.parameters]
    for first, second in itertools.combinations(flow.parameters, 2):
        atoms += [_equal(flow, first, second), _equal(flow, first, second, -1)]
    deepest = min(3 if flow.size <= 6 else 2, flow.size - 1)
    accepted: list[list[Constraint]] = []
    for depth in range(1, deepest + 1):
        for chosen in itertools.combinations(atoms, depth):
            solved = _solve(flow, chosen)
            if solved is not None and len(solved) == depth and screen.passes(solved):
                accepted.append(list(chosen))
                yield "zeros and equalities", list(chosen)
    for first, second in itertools.combinations(accepted[:40], 2):
        yield "intersection", first + second
