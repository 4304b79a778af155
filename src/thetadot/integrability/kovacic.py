"""The differential Galois group of y'' = r(x) y over Q(x): every case, with a certificate."""

import dataclasses
import enum
from typing import Any

import sympy

from thetadot.integrability.algebrization import plain_quotient, quotient_of, to_expression
from thetadot.integrability.certificate import Certificate
from thetadot.integrability.equation_proof import equation_proof
from thetadot.integrability.errors import IntegrabilityError, TriangularSystemError
from thetadot.integrability.local_data import local_data
from thetadot.integrability.quotients import Quotient, Surd
from thetadot.integrability.riccati import RiccatiSearch, abelian_line, search_riccati
from thetadot.integrability.symmetric_power import PowerSearch, search_power


class GaloisGroup(enum.Enum):
    """What the Galois group G of y'' = r y is, up to conjugation in SL₂.

    TORUS and UNIPOTENT: diagonal, or ±1 times unipotent matrices; BOREL: triangular and none of these; DIHEDRAL:
    in the normaliser of a torus; the three finite primitive groups; SL2: everything.
    """

    TORUS = "torus"
    UNIPOTENT = "unipotent"
    BOREL = "Borel"
    DIHEDRAL = "dihedral"
    TETRAHEDRAL = "tetrahedral"
    OCTAHEDRAL = "octahedral"
    ICOSAHEDRAL = "icosahedral"
    SL2 = "SL2"
    UNDECIDED = "undecided"


_BY_POWER = {
    4: GaloisGroup.DIHEDRAL,
    6: GaloisGroup.TETRAHEDRAL,
    8: GaloisGroup.OCTAHEDRAL,
    12: GaloisGroup.ICOSAHEDRAL,
}


@dataclasses.dataclass(frozen=True)
class LiouvillianSolution:
    """A solution by quadratures.

    Attributes:
        log_derivative: u = y'/y, rational, with u' + u² = r. power, invariant: m and F, a rational product of m
            solutions. constant: c² = F'² − 2FF'' + 4rF² at m = 2; then y = √F exp(±½∫c/F).
    """

    log_derivative: sympy.Expr | None = None
    power: int | None = None
    invariant: sympy.Expr | None = None
    constant: sympy.Expr | None = None


@dataclasses.dataclass(frozen=True)
class GaloisResult:
    """The group of y'' = r y.

    Attributes:
        equation: r. group: see `GaloisGroup`. solvable, abelian: whether G⁰ is (None: not decided). solution: if G⁰
            is solvable. certificate: checkable by `thetadot verify-certificate`. reason: one sentence.
    """

    equation: sympy.Expr
    group: GaloisGroup
    solvable: bool | None
    abelian: bool | None
    solution: LiouvillianSolution | None
    certificate: Certificate | None
    reason: str


@dataclasses.dataclass(frozen=True)
class SymmetricPowerResult:
    """A rational solution of the m-th symmetric power, or what excludes it: "exponent", "degree" or "rank" modulo
    `prime` ("limit": not decided)."""

    invariant: sympy.Expr | None
    excluded_by: str | None
    degree_bound: int | None
    prime: int | None


@dataclasses.dataclass(frozen=True)
class RiccatiResult:
    """A rational u with u' + u² = r, or what excludes it, with the patterns of signs that were tried."""

    log_derivative: sympy.Expr | None
    excluded_by: str | None
    patterns: tuple[Any, ...]


def second_order_galois(equation: Any, variable: sympy.Symbol, *, degree_limit: int = 5000) -> GaloisResult:
    """The differential Galois group of y'' = r y, r ∈ Q(x): complete, exact, certified.

    Arguments:
        equation: r, an expression over Q. variable: x. degree_limit: largest degree of a polynomial that is looked
            for; beyond it the answer is UNDECIDED.

    Raises:
        SymbolicParameterError, AlgebraicCoefficientError, InexactDataError, NotAlgebrizableError: r ∉ Q(x).

    Source: J. J. Kovacic, J. Symb. Comput. 2 (1986) 3; F. Ulmer, J.-A. Weil, J. Symb. Comput. 22 (1996) 179.

    Example:
        >>> x = sympy.Symbol("x")
        >>> second_order_galois(x, x).group, second_order_galois(x**2 + 1, x).solution.log_derivative
        (<GaloisGroup.SL2: 'SL2'>, x)
    """
    return decide(quotient_of(equation, variable), variable, degree_limit)


def decide(r: Quotient, variable: sympy.Symbol, degree_limit: int = 5000) -> GaloisResult:
    """`second_order_galois` of a rational function."""
    data = local_data(r)
    searches: dict[int, PowerSearch] = {}
    riccati: RiccatiSearch | None = None

    def result(group: GaloisGroup, abelian: bool | None, solution: LiouvillianSolution | None, reason: str):
        proof = equation_proof(data, group.value, searches, riccati, variable.name)
        solvable = group is not GaloisGroup.SL2
        return GaloisResult(
            to_expression(r, variable), group, solvable, abelian, solution, Certificate.sealed(proof), reason
        )

    def undecided(what: str) -> GaloisResult:
        expression = to_expression(r, variable)
        return GaloisResult(expression, GaloisGroup.UNDECIDED, None, None, None, None, what)

    for power in (2, 4, 6, 8, 12):
        if power == 4:
            riccati = search_riccati(data, degree_limit)
            if riccati.solution is not None:
                abelian = abelian_line(riccati.solution)
                u = to_expression(riccati.solution, variable)
                solution = LiouvillianSolution(log_derivative=u)
                return result(
                    GaloisGroup.BOREL, abelian, solution, "one invariant line, u = y'/y is rational"
                )
            if not riccati.none:
                return undecided(
                    f"the search for a rational y'/y went beyond the degree limit {degree_limit}"
                )
        search = searches[power] = search_power(data, power, degree_limit)
        if search.excluded_by == "limit":
            return undecided(
                f"symmetric power {power}: degree bound {search.degree_bound} above the limit {degree_limit}"
            )
        if search.none:
            continue
        group, constant = _BY_POWER.get(power), None
        invariant = search.invariants[0]
        if group is None:
            constant = wronskian_constant(invariant, r)
            torus = not constant.zero or len(search.invariants) > 1
            group = GaloisGroup.TORUS if torus else GaloisGroup.UNIPOTENT
        solution = LiouvillianSolution(
            power=power,
            invariant=to_expression(invariant, variable),
            constant=None if constant is None else to_expression(constant, variable),
        )
        return result(group, True, solution, f"a product of {power} solutions is rational")
    return result(GaloisGroup.SL2, False, None, "no Liouvillian solutions: all cases are excluded")


def wronskian_constant(invariant: Quotient, r: Quotient) -> Quotient:
    """c² = F'² − 2FF'' + 4rF², constant for a solution F of the second symmetric power."""
    slope = invariant.derivative()
    found = (
        slope * slope - Quotient(2) * invariant * slope.derivative() + Quotient(4) * r * invariant * invariant
    )
    assert found.constant is not None
    return found


def symmetric_power_invariant(equation: Any, power: int, variable: sympy.Symbol) -> SymmetricPowerResult:
    """A rational solution of the symmetric power of y'' = r y: a product of `power` solutions.

    Arguments:
        equation: r ∈ Q(x). power: m, even and positive. variable: x.

    Example:
        >>> x = sympy.Symbol("x")
        >>> symmetric_power_invariant(1 / x - sympy.Rational(3, 16) / x**2, 4, x).invariant
        x
    """
    if power < 2 or power % 2:
        raise IntegrabilityError(f"power is {power}: expected an even number, at least 2")
    found = search_power(local_data(quotient_of(equation, variable)), power)
    first = to_expression(found.invariants[0], variable) if found.invariants else None
    return SymmetricPowerResult(first, found.excluded_by, found.degree_bound, found.prime)


def riccati_solution(equation: Any, variable: sympy.Symbol) -> RiccatiResult:
    """A rational solution u of u' + u² = r with the same signs at conjugate poles.

    Example:
        >>> x = sympy.Symbol("x")
        >>> riccati_solution(x**4 + 2 * x, x).log_derivative
        x**2
    """
    found = search_riccati(local_data(quotient_of(equation, variable)))
    u = None if found.solution is None else to_expression(found.solution, variable)
    return RiccatiResult(u, found.excluded_by, found.patterns)


def reduce_equation(p: Any, q: Any, variable: sympy.Symbol) -> sympy.Expr:
    """r of y'' = r y for y'' + p y' + q y = 0: r = p'/2 + p²/4 − q.

    Example:
        >>> x = sympy.Symbol("x")
        >>> reduce_equation(0, -x, x)
        x
    """
    first, zeroth = quotient_of(p, variable), quotient_of(q, variable)
    return to_expression(_reduced(Surd(first), Surd(zeroth)).plain, variable)


def _reduced(first: Surd, zeroth: Surd) -> Surd:
    half = Surd(Quotient(1, 2))
    return half * first.derivative() + half * half * first * first - zeroth


def normal_form(system: Any, variable: sympy.Symbol, component: int = 0) -> sympy.Expr:
    """r of the equation that one component of ξ' = B ξ, B of order 2, satisfies up to a factor.

    Arguments:
        system: B, a matrix of sympy (2, 2). variable: its independent variable. component: 0 or 1.

    Raises:
        TriangularSystemError: the other component does not enter this one's equation.
        AlgebraicCoefficientError: r ∉ Q(x).

    Example:
        >>> x = sympy.Symbol("x")
        >>> normal_form(sympy.Matrix([[0, 1], [x, 0]]), x)
        x
    """
    from thetadot.integrability.algebrization import Evaluator

    matrix = sympy.Matrix(system)
    if matrix.shape != (2, 2) or component not in (0, 1):
        raise IntegrabilityError(
            f"system has shape {matrix.shape}, component is {component}: expected (2, 2), 0 or 1"
        )
    evaluator = Evaluator({}, variable)
    entries = [[evaluator.surd(matrix[i, j]) for j in range(2)] for i in range(2)]
    return to_expression(normal_quotient(entries, component), variable)


def normal_quotient(entries: list[list[Surd]], component: int = 0) -> Quotient:
    """`normal_form` of a matrix of rational functions."""
    i, j = component, 1 - component
    own, coupling, back, other = entries[i][i], entries[i][j], entries[j][i], entries[j][j]
    if coupling.zero:
        raise TriangularSystemError(
            f"entry ({i}, {j}) of the system vanishes: take the other component, or solve by quadratures"
        )
    ratio = coupling.derivative() / coupling
    first = -(own + other + ratio)
    zeroth = own * other - coupling * back - own.derivative() + own * ratio
    return plain_quotient(_reduced(first, zeroth))
