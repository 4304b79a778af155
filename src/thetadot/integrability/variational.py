"""Normal variational equations along an orbit, split into blocks that do not talk to each other."""

import dataclasses
import itertools
from collections.abc import Iterable
from functools import cached_property

import flint
import sympy

from thetadot.integrability.algebrization import to_expression
from thetadot.integrability.orbits import Orbit
from thetadot.integrability.quotients import Polynomial, Quotient, Surd, rational
from thetadot.integrability.symbolic import SymbolicFlow

Entries = tuple[tuple[Surd, ...], ...]


@dataclasses.dataclass(frozen=True)
class VariationalBlock:
    """dξ/dp = B(p) ξ for perturbations Σ ξ_j directions[:, j].

    Attributes:
        parameter: p. directions: (P, k), constant. order: k. entries: B as rational functions.
    """

    parameter: sympy.Symbol
    directions: sympy.ImmutableMatrix
    order: int
    entries: Entries

    @cached_property
    def system(self) -> sympy.ImmutableMatrix:
        """B(p), (k, k)."""
        return sympy.ImmutableMatrix(
            [[to_expression(entry, self.parameter) for entry in row] for row in self.entries]
        )


def normal_blocks(flow: SymbolicFlow, orbit: Orbit) -> tuple[VariationalBlock, ...]:
    """The normal variational equation dξ/dp = −(NᵀN)⁻¹NᵀHN ξ/ṗ, split by constant matrices, smallest blocks first.

    Example:
        >>> from thetadot.integrability import invariant_manifolds, network_flow, orbits
        >>> flow = network_flow([1, 1, 1], "identity", [(1, 1), (-1, -1)])
        >>> first = orbits(flow, invariant_manifolds(flow)[0])[0]
        >>> [block.order for block in normal_blocks(flow, first)]
        [2]
    """
    normal = orbit.manifold.normal
    if normal.cols == 0:
        return ()
    columns = [[rational(entry) for entry in normal.col(k)] for k in range(normal.cols)]
    on_orbit = _jacobian_on(flow, orbit)
    pairs = {}
    for i, j in itertools.combinations_with_replacement(range(len(columns)), 2):
        pairs[i, j] = pairs[j, i] = _bilinear(columns[i], on_orbit, columns[j])
    gram = flint.fmpq_mat([[_dot(u, v) for v in columns] for u in columns]).inv()
    k = len(columns)
    matrix = [
        [_sum(_scaled(gram[i, m], pairs[m, j]) for m in range(k) if gram[i, m] != 0) for j in range(k)]
        for i in range(k)
    ]
    blocks = []
    inverse_speed = orbit.speed.inverse()
    for basis in _split(matrix):
        directions = [[_dot_column(columns, vector, row) for vector in basis] for row in range(flow.size)]
        inner = _restricted(matrix, basis)
        entries = tuple(tuple(entry * inverse_speed for entry in row) for row in inner)
        exact = sympy.ImmutableMatrix(
            [[sympy.Rational(int(c.p), int(c.q)) for c in row] for row in directions]
        )
        blocks.append(VariationalBlock(orbit.parameter, exact, len(basis), entries))
    return tuple(sorted(blocks, key=lambda block: block.order))


def identity_defects(flow: SymbolicFlow, orbit: Orbit, block: VariationalBlock) -> dict[str, int]:
    """How many components of each identity behind a block do not vanish, in exact arithmetic; all 0 unless it is wrong.

    The field along the manifold's normal directions; V(θ(p)) − ṗ dθ/dp; DV D − ṗ D B for the directions D.
    """
    size, k = flow.size, block.order
    motion = [orbit.evaluator.surd(component) for component in flow.field]
    slopes = [orbit.evaluator.surd(sympy.diff(orbit.curve[s], orbit.parameter)) for s in flow.parameters]
    on_orbit = _jacobian_on(flow, orbit)
    directions = [[rational(entry) for entry in block.directions.row(i)] for i in range(size)]
    gaps = []
    for i in range(size):
        for c in range(k):
            left = _sum(
                _scaled(directions[j][c], on_orbit[i, j]) for j in range(size) if directions[j][c] != 0
            )
            right = _sum(
                _scaled(directions[i][m], block.entries[m][c]) for m in range(k) if directions[i][m] != 0
            )
            gaps.append(left - orbit.speed * right)
    return {
        "tangency of the manifold": sum(not residual.is_zero for residual in orbit.manifold.residuals),
        "orbit identity": sum(not (v - orbit.speed * s).zero for v, s in zip(motion, slopes, strict=True)),
        "block identity": sum(not gap.zero for gap in gaps),
    }


def _jacobian_on(flow: SymbolicFlow, orbit: Orbit) -> dict[tuple[int, int], Surd]:
    jacobian, found = flow.jacobian(), {}
    for i, j in itertools.combinations_with_replacement(range(flow.size), 2):
        found[i, j] = found[j, i] = orbit.evaluator.surd(jacobian[i, j])
    return found


def _dot(u, v) -> flint.fmpq:
    return sum((a * b for a, b in zip(u, v, strict=True)), flint.fmpq(0))


def _dot_column(columns, vector, row: int) -> flint.fmpq:
    return sum((c * columns[m][row] for m, c in enumerate(vector)), flint.fmpq(0))


def _scaled(factor: flint.fmpq, value: Surd) -> Surd:
    return value if factor == 1 else Surd(Quotient(Polynomial([factor]))) * value


def _sum(values: Iterable[Surd]) -> Surd:
    total = Surd(Quotient(0))
    for value in values:
        total = total + value
    return total


def _bilinear(u, matrix, v) -> Surd:
    terms = (
        _scaled(a * b, matrix[i, j])
        for i, a in enumerate(u)
        if a != 0
        for j, b in enumerate(v)
        if b != 0 and not matrix[i, j].zero
    )
    return _sum(terms)


def _restricted(matrix: list[list[Surd]], basis: list[list[flint.fmpq]]) -> list[list[Surd]]:
    """The matrix in a basis of an invariant subspace."""
    width, k = len(matrix), len(basis)
    tall = flint.fmpq_mat([[vector[i] for vector in basis] for i in range(width)])
    left = (tall.transpose() * tall).inv() * tall.transpose()
    images = [
        [_sum(_scaled(vector[m], matrix[i][m]) for m in range(width) if vector[m] != 0) for vector in basis]
        for i in range(width)
    ]
    return [
        [_sum(_scaled(left[r, i], images[i][c]) for i in range(width) if left[r, i] != 0) for c in range(k)]
        for r in range(k)
    ]


def _split(matrix: list[list[Surd]]) -> list[list[list[flint.fmpq]]]:
    """Bases of subspaces that the matrix keeps for every p, as fine as constants over Q allow."""
    k = len(matrix)
    pending, done = [], []
    for component in _components(matrix):
        pending.append([[flint.fmpq(int(i == index)) for i in range(k)] for index in component])
    while pending:
        basis = pending.pop()
        parts = None
        if len(basis) > 1:
            inner = _restricted(matrix, basis)
            parts = _split_once(_constant_matrices(inner), len(basis))
        if parts is None:
            done.append(basis)
            continue
        for part in parts:
            pending.append(
                [
                    [sum((c * basis[m][i] for m, c in enumerate(vector)), flint.fmpq(0)) for i in range(k)]
                    for vector in part
                ]
            )
    return done


def _components(matrix: list[list[Surd]]) -> list[list[int]]:
    left, found = set(range(len(matrix))), []
    while left:
        reached, frontier = set(), [min(left)]
        while frontier:
            i = frontier.pop()
            if i in reached:
                continue
            reached.add(i)
            frontier += [j for j in left if not matrix[i][j].zero or not matrix[j][i].zero]
        left -= reached
        found.append(sorted(reached))
    return found


def _constant_matrices(matrix: list[list[Surd]]) -> list[flint.fmpq_mat]:
    """Independent constant matrices whose span over the functions of p holds the matrix."""
    k = len(matrix)
    parts = [[e.plain for row in matrix for e in row], [e.rooted for row in matrix for e in row]]
    common = Polynomial([1])
    for entry in itertools.chain(*parts):
        common = common * (entry.denominator // common.gcd(entry.denominator))
    rows = []
    for part in parts:
        tops = [entry.numerator * (common // entry.denominator) for entry in part]
        for power in range(max((top.length() for top in tops), default=0)):
            rows.append([top[power] for top in tops])
    if not rows:
        return []
    reduced, rank = flint.fmpq_mat(rows).rref()
    return [flint.fmpq_mat(k, k, [reduced[r, c] for c in range(k * k)]) for r in range(rank)]


def _split_once(constants: list[flint.fmpq_mat], k: int) -> list[list[list[flint.fmpq]]] | None:
    equations = []
    for m in constants:
        for i, j in itertools.product(range(k), repeat=2):
            row = [flint.fmpq(0)] * (k * k)
            for n in range(k):
                row[i * k + n] += m[n, j]
                row[n * k + j] -= m[i, n]
            equations.append(row)
    commutant = (
        _kernel(flint.fmpq_mat(equations))
        if equations
        else [[flint.fmpq(int(i == j)) for i in range(k * k)] for j in range(k * k)]
    )
    trials = list(commutant)
    trials += [
        [a + b for a, b in zip(u, v, strict=True)] for u, v in itertools.combinations(commutant[:6], 2)
    ]
    for entries in trials:
        x = flint.fmpq_mat(k, k, entries)
        pieces = x.charpoly().numer().factor()[1]
        if len(pieces) < 2:
            continue
        return [_kernel(_evaluate(Polynomial(factor) ** power, x)) for factor, power in pieces]
    return None


def _evaluate(poly: flint.fmpq_poly, x: flint.fmpq_mat) -> flint.fmpq_mat:
    k = x.nrows()
    identity = flint.fmpq_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])
    total = identity * flint.fmpq(0)
    for coefficient in reversed(poly.coeffs()):
        total = total * x + identity * coefficient
    return total


def _kernel(matrix: flint.fmpq_mat) -> list[list[flint.fmpq]]:
    reduced, rank = matrix.rref()
    width, pivots, column = matrix.ncols(), [], 0
    for row in range(rank):
        while reduced[row, column] == 0:
            column += 1
        pivots.append(column)
    vectors = []
    for free in (c for c in range(width) if c not in set(pivots)):
        vector = [flint.fmpq(0)] * width
        vector[free] = flint.fmpq(1)
        for row, pivot in enumerate(pivots):
            vector[pivot] = -reduced[row, free]
        vectors.append(vector)
    return vectors
