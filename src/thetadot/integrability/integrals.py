"""First integrals and Darboux polynomials, and fields that one common factor makes independent planar ones."""

import dataclasses
import itertools
import random
from collections.abc import Sequence
from typing import Any

import flint
import sympy

from thetadot.integrability.activations import Z
from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.identities import is_zero
from thetadot.integrability.symbolic import SymbolicFlow
from thetadot.numerics.exact import rational as reconstructed

_PRIME = 2**61 - 1
_MOST_MONOMIALS = 3000


@dataclasses.dataclass(frozen=True)
class DarbouxPolynomial:
    """P with V(P) = K·P: the set P = 0 is invariant."""

    polynomial: sympy.Expr
    cofactor: sympy.Expr


@dataclasses.dataclass(frozen=True)
class PlanarSplit:
    """V = R·v with v a sum of fields in separate planes or lines, each plane with a first integral.

    Attributes:
        factor: R. planes: variables of each. field: v. integrals: one for each plane of two variables.
    """

    factor: sympy.Expr
    planes: tuple[tuple[sympy.Symbol, ...], ...]
    field: tuple[sympy.Expr, ...]
    integrals: tuple[sympy.Expr, ...]


class _Kernels:
    """Replaces σ(argument), exponentials, roots and irrational numbers by independent symbols."""

    def __init__(self):
        self.symbols: dict[sympy.Expr, sympy.Symbol] = {}

    def of(self, expression: Any) -> sympy.Expr:
        if expression.is_Rational or expression.is_Symbol:
            return expression
        if expression.is_Add or expression.is_Mul:
            return expression.func(*map(self.of, expression.args))
        if expression.is_Pow:
            base, exponent = expression.as_base_exp()
            if base is not sympy.E and exponent.is_Integer:
                return self.of(base) ** exponent
            if base is not sympy.E and exponent.is_Rational:
                return self._named(sympy.Pow(base, sympy.Rational(1, exponent.q))) ** exponent.p
        if isinstance(expression, sympy.exp) and expression.args[0].could_extract_minus_sign():
            return 1 / self._named(sympy.exp(-expression.args[0]))
        return self._named(expression)

    def _named(self, expression) -> sympy.Symbol:
        if expression not in self.symbols:
            self.symbols[expression] = sympy.Dummy(f"k{len(self.symbols)}")
        return self.symbols[expression]


def _modular(expression: Any, point: dict[Any, int]) -> int:
    known = point.get(expression)
    if known is not None:
        return known
    if expression.is_Rational:
        return int(expression.p) * pow(int(expression.q), -1, _PRIME) % _PRIME
    if expression.is_Add:
        value = sum(_modular(e, point) for e in expression.args) % _PRIME
    elif expression.is_Mul:
        value = 1
        for e in expression.args:
            value = value * _modular(e, point) % _PRIME
    else:
        value = pow(_modular(expression.base, point), int(expression.exp), _PRIME)
    point[expression] = value
    return value


def first_integrals(flow: SymbolicFlow, degree: int = 2) -> tuple[sympy.Expr, ...]:
    """A basis of the polynomial first integrals up to a degree, without the constant; each verified exactly.

    Every σ(argument) counts as an independent symbol: what is found is conserved, but for transcendental
    activations not everything need be found.

    Arguments:
        flow: the flow. degree: largest degree, at least 1.

    Raises:
        IntegrabilityError: more than 3000 monomials.

    Example:
        >>> from thetadot.integrability import network_flow
        >>> first_integrals(network_flow([1, 1, 1], "identity", [(1, 1)], bias=False))
        (w1_1_1**2 - w2_1_1**2,)
    """
    return _polynomial_integrals(flow.parameters, flow.field, degree)


def _polynomial_integrals(variables: Sequence[sympy.Symbol], field, degree: int) -> tuple[sympy.Expr, ...]:
    size = len(variables)
    exponents = [e for total in range(1, degree + 1) for e in _exponents(size, total)]
    if degree < 1 or len(exponents) > _MOST_MONOMIALS:
        raise IntegrabilityError(
            f"degree {degree} in {size} parameters has {len(exponents)} monomials: "
            f"expected degree ≥ 1 and at most {_MOST_MONOMIALS}"
        )
    kernels = _Kernels()
    plain = [kernels.of(component) for component in field]
    free = [*variables, *kernels.symbols.values()]
    chance, rows = random.Random(1), []
    while len(rows) < len(exponents) + 8:
        point: dict[Any, int] = {symbol: chance.randrange(2, _PRIME) for symbol in free}
        try:
            speed = [_modular(component, point) for component in plain]
        except ValueError:
            continue
        base = [point[symbol] for symbol in variables]
        rows.append([_derivative(e, base, speed) for e in exponents])
    matrix = flint.nmod_mat(len(rows), len(exponents), [entry for row in rows for entry in row], _PRIME)
    reduced, rank = matrix.rref()
    pivots, column = [], 0
    for row in range(rank):
        while int(reduced[row, column]) == 0:
            column += 1
        pivots.append(column)
    found = []
    for free_column in (c for c in range(len(exponents)) if c not in set(pivots)):
        terms = {free_column: sympy.Integer(1)}
        for row, pivot in enumerate(pivots):
            value = reconstructed(-int(reduced[row, free_column]) % _PRIME, _PRIME)
            if value is None:
                break
            terms[pivot] = sympy.Rational(value.numerator, value.denominator)
        else:
            integral = sympy.Add(*(c * _monomial(variables, exponents[k]) for k, c in terms.items()))
            change = sum(sympy.diff(integral, s) * v for s, v in zip(variables, plain, strict=True))
            if sympy.expand(change) == 0 or sympy.cancel(sympy.together(change)) == 0:
                found.append(_normalised(integral, variables))
    return tuple(found)


def _exponents(size: int, total: int):
    for chosen in itertools.combinations_with_replacement(range(size), total):
        yield tuple(chosen.count(i) for i in range(size))


def _derivative(exponent, base, speed) -> int:
    value = 0
    for i, power in enumerate(exponent):
        if power:
            term = power * speed[i]
            for j, other in enumerate(exponent):
                term = term * pow(base[j], other - (i == j), _PRIME) % _PRIME
            value += term
    return value % _PRIME


def _monomial(variables, exponent) -> sympy.Expr:
    return sympy.Mul(*(s**e for s, e in zip(variables, exponent, strict=True) if e))


def _normalised(integral: sympy.Expr, variables) -> sympy.Expr:
    poly = sympy.Poly(integral, *variables)
    return (poly / poly.LC()).as_expr() if hasattr(poly, "LC") and poly.LC() != 0 else integral


def darboux_polynomials(flow: SymbolicFlow, degree: int = 1) -> tuple[DarbouxPolynomial, ...]:
    """Polynomials P of degree ≤ `degree` with V(P) divisible by P, with their cofactors.

    Tried are coordinates, θᵢ ± θⱼ, and factors of the field's components, of their sums and differences. Sound, not
    complete; first integrals are not repeated.

    Raises:
        IntegrabilityError: the field is not polynomial.

    Example:
        >>> a, w = sympy.symbols("a w")
        >>> from thetadot.integrability import symbolic_flow
        >>> [d.polynomial for d in darboux_polynomials(symbolic_flow((a * w - 1) ** 2 / 2, [a, w]))]
        [a + w, a - w]
    """
    if degree not in (1, 2):
        raise IntegrabilityError(f"degree is {degree}: expected 1 or 2")
    if not all(component.is_polynomial(*flow.parameters) for component in flow.field):
        raise IntegrabilityError("Darboux polynomials need a polynomial field")
    trials = list(flow.parameters)
    for first, second in itertools.combinations(range(flow.size), 2):
        trials += [
            flow.parameters[first] - flow.parameters[second],
            flow.parameters[first] + flow.parameters[second],
        ]
    sums = [
        flow.field[i] + s * flow.field[j]
        for i, j in itertools.combinations(range(flow.size), 2)
        for s in (1, -1)
    ]
    for component in (*flow.field, *sums):
        trials += [factor for factor, _ in sympy.factor_list(component, *flow.parameters)[1]]
    found: dict[Any, DarbouxPolynomial] = {}
    for trial in trials:
        poly = sympy.Poly(trial, *flow.parameters)
        if not 1 <= poly.total_degree() <= degree:
            continue
        poly = poly / poly.LC()
        change = sympy.Add(
            *(poly.diff(s).as_expr() * v for s, v in zip(flow.parameters, flow.field, strict=True))
        )
        quotient, rest = sympy.div(sympy.Poly(change, *flow.parameters), poly)
        if rest.is_zero and not quotient.is_zero:
            found.setdefault(poly, DarbouxPolynomial(poly.as_expr(), quotient.as_expr()))
    return tuple(sorted(found.values(), key=lambda d: str(d.polynomial)))


def full_rank_point(
    integrals: Sequence[sympy.Expr], parameters: Sequence[sympy.Symbol]
) -> dict[sympy.Symbol, sympy.Rational] | None:
    """A rational point where the gradients of polynomial integrals have rank P − 1, or None."""
    if len(integrals) < len(parameters) - 1:
        return None
    chance = random.Random(2)
    gradient = sympy.Matrix(integrals).jacobian(list(parameters))
    for _ in range(3):
        point = {s: sympy.Rational(chance.randint(1, 30), chance.randint(1, 9)) for s in parameters}
        if gradient.subs(point).rank() == len(parameters) - 1:
            return point
    return None


def planar_split(flow: SymbolicFlow) -> PlanarSplit | None:
    """V = R·v with v in separate planes that have first integrals: then the flow is solved by quadratures."""
    kernels = _Kernels()
    plain = [sympy.fraction(sympy.together(kernels.of(component))) for component in flow.field]
    moving = [top for top, _ in plain if top != 0]
    common = sympy.Integer(1)
    if moving:
        common = sympy.gcd_list([sympy.expand(top) for top in moving])
    back = {symbol: kernel for kernel, symbol in kernels.symbols.items()}
    # A common factor in the variables of one plane only stays with it.
    reduced = [sympy.cancel(top / common / bottom).xreplace(back) for top, bottom in plain]
    factor = common.xreplace(back)
    planes = _planes(flow.parameters, reduced)
    integrals = []
    for plane in planes:
        if len(plane) > 2:
            return None
        if len(plane) == 2:
            part = [reduced[flow.parameters.index(s)] for s in plane]
            integral = _plane_integral(flow, plane, part)
            if integral is None:
                return None
            integrals.append(integral)
    return PlanarSplit(factor, planes, tuple(reduced), tuple(integrals))


def _planes(parameters, field) -> tuple[tuple[sympy.Symbol, ...], ...]:
    groups = [{symbol} for symbol in parameters]
    for symbol, component in zip(parameters, field, strict=True):
        touched = component.free_symbols | {symbol}
        joined = [group for group in groups if group & touched]
        groups = [group for group in groups if not group & touched] + [set().union(*joined)]
    ordered = [tuple(s for s in parameters if s in group) for group in groups]
    return tuple(sorted(ordered, key=lambda group: parameters.index(group[0])))


def _plane_integral(flow: SymbolicFlow, plane, field) -> sympy.Expr | None:
    first, second = plane
    trials = []
    if flow.network is not None and flow.network.activation.potential is not None:
        sizes = {abs(v) for x, _ in flow.network.data for v in x if v != 0}
        potential = flow.network.activation.potential
        if flow.network.activation.kind == "quadratic":
            sizes = {sympy.Integer(1)}
        trials += [second**2 / 2 - potential.subs(Z, s * first) / s**2 for s in sizes]
    for trial in trials:
        change = sympy.diff(trial, first) * field[0] + sympy.diff(trial, second) * field[1]
        if is_zero(change):
            return trial
    found = _polynomial_integrals(plane, field, 2)
    return found[0] if found else None
