"""Kimura's table: solvability of a hypergeometric equation from its three exponent differences."""

import dataclasses
import itertools
from fractions import Fraction
from typing import Any

import sympy

from thetadot.integrability.local_data import local_data
from thetadot.integrability.quotients import Quotient, polynomial, rational

_F = Fraction
TABLE: tuple[tuple[tuple[Fraction | None, ...], bool], ...] = (
    ((_F(1, 2), _F(1, 2), None), False),
    ((_F(1, 2), _F(1, 3), _F(1, 3)), False),
    ((_F(2, 3), _F(1, 3), _F(1, 3)), True),
    ((_F(1, 2), _F(1, 3), _F(1, 4)), False),
    ((_F(2, 3), _F(1, 4), _F(1, 4)), True),
    ((_F(1, 2), _F(1, 3), _F(1, 5)), False),
    ((_F(2, 5), _F(1, 3), _F(1, 3)), True),
    ((_F(2, 3), _F(1, 5), _F(1, 5)), True),
    ((_F(1, 2), _F(2, 5), _F(1, 5)), False),
    ((_F(3, 5), _F(1, 3), _F(1, 5)), True),
    ((_F(2, 5), _F(2, 5), _F(2, 5)), True),
    ((_F(2, 3), _F(1, 3), _F(1, 5)), True),
    ((_F(4, 5), _F(1, 5), _F(1, 5)), True),
    ((_F(1, 2), _F(2, 5), _F(1, 3)), False),
    ((_F(3, 5), _F(2, 5), _F(1, 3)), True),
)
"""Rows 1 to 15: the triple (None: anything), and whether the integers added to it must have an even sum."""


@dataclasses.dataclass(frozen=True)
class KimuraResult:
    """Whether the equation has Liouvillian solutions, and why: reducible, or a row (1 to 15) of the table."""

    solvable: bool
    reducible: bool
    row: int | None


def kimura(first: Any, second: Any, third: Any) -> KimuraResult:
    """Decide the equation with three regular singular points and these exponent differences.

    Arguments:
        first, second, third: rational exponent differences (int, Fraction, "n/d", or a rational of sympy).

    Source: T. Kimura, Funkcial. Ekvac. 12 (1969) 269; signs and order do not matter.

    Example:
        >>> kimura("1/2", "1/3", "1/5").row, kimura("1/2", "1/3", "1/7").solvable
        (6, False)
    """
    triple = [_exact(value) for value in (first, second, third)]
    for signs in itertools.product((1, -1), repeat=3):
        total = sympy.expand(sum(s * t for s, t in zip(signs, triple, strict=True)))
        if total.is_Integer and int(total) % 2:
            return KimuraResult(True, True, None)
    for number, (row, even) in enumerate(TABLE, start=1):
        if any(_matches(values, row, even) for values in itertools.permutations(triple)):
            return KimuraResult(True, False, number)
    return KimuraResult(False, False, None)


def _exact(value: Any) -> Any:
    if isinstance(value, sympy.Expr) and not value.is_Rational:
        # Sums of square roots of rationals are in normal form in sympy: whether one is an integer is decided.
        return sympy.expand(value)
    exact = rational(value)
    return sympy.Rational(int(exact.p), int(exact.q))


def _matches(values: tuple[Any, ...], row: tuple[Fraction | None, ...], even: bool) -> bool:
    shifts = []
    for value, target in zip(values, row, strict=True):
        if target is None:
            continue
        if not value.is_Rational:
            return False
        gaps = (s * value - sympy.Rational(target.numerator, target.denominator) for s in (1, -1))
        fits = [gap for gap in gaps if gap.is_Integer]
        if not fits:
            return False
        shifts.append(int(fits[0]))
    # Both signs of a value fit only if the target is a half, whose rows ask for no parity.
    return not even or sum(shifts) % 2 == 0


def exponent_differences(equation: Any, variable: sympy.Symbol) -> tuple[sympy.Expr, ...] | None:
    """The exponent differences √(1 + 4b) of y'' = r y with at most three singular points, all regular.

    Returns:
        Three numbers (a singular point that is missing counts 1), or None for other equations.

    Example:
        >>> x = sympy.Symbol("x")
        >>> exponent_differences(2 / x**2, x)
        (3, 3, 1)
    """
    from thetadot.integrability.algebrization import quotient_of

    data = local_data(quotient_of(equation, variable))
    if data.order < 2 or any(pole.order > 2 for pole in data.poles):
        return None
    found: list[sympy.Expr] = []
    for pole in data.poles:
        if pole.order == 1:
            found += [sympy.Integer(1)] * pole.degree
            continue
        if pole.discriminant is None or pole.discriminant.degree() > 0:
            return None
        value = pole.discriminant[0]
        found += [sympy.sqrt(sympy.Rational(int(value.p), int(value.q)))] * pole.degree
    if data.order < 4:
        assert data.discriminant is not None
        found.append(sympy.sqrt(sympy.Rational(data.discriminant.numerator, data.discriminant.denominator)))
    if len(found) > 3:
        return None
    return tuple(found + [sympy.Integer(1)] * (3 - len(found)))


def hypergeometric_equation(first: Any, second: Any, third: Any, variable: sympy.Symbol) -> sympy.Expr:
    """r(x) with regular singular points 0, 1, ∞ and these exponent differences.

    r = (l²−1)/4x² + (m²−1)/4(x−1)² + (1−l²−m²+n²)/4x(x−1).

    Example:
        >>> hypergeometric_equation(1, 1, 1, sympy.Symbol("x"))
        0
    """
    from thetadot.integrability.algebrization import to_expression

    return to_expression(hypergeometric_quotient(first, second, third), variable)


def hypergeometric_quotient(first: Any, second: Any, third: Any) -> Quotient:
    """The same as a rational function."""
    m, n, q = (rational(value) for value in (first, second, third))
    at_zero = Quotient(polynomial((m * m - 1) / 4), polynomial(0, 0, 1))
    at_one = Quotient(polynomial((n * n - 1) / 4), polynomial(1, -2, 1))
    mixed = Quotient(polynomial((1 - m * m - n * n + q * q) / 4), polynomial(0, -1, 1))
    return at_zero + at_one + mixed
