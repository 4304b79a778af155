"""Singular points of y'' = r(x) y: poles by irreducible factor, their orders and exponents, and infinity."""

import dataclasses
from fractions import Fraction
from functools import cached_property

import flint

from thetadot.integrability.number_field import SquareRoot, field_square_root, inverse_mod
from thetadot.integrability.quotients import Quotient, factors, fraction, square_root


@dataclasses.dataclass(frozen=True)
class Pole:
    """The poles of r at the roots α of one irreducible factor f.

    Attributes:
        factor: f, monic and irreducible over Q. order: e ≥ 1. rest: g with denominator f^e g.
        discriminant: 1 + 4b mod f at order 2 with b = lim (x−α)² r, otherwise None.
    """

    factor: flint.fmpq_poly
    order: int
    rest: flint.fmpq_poly
    discriminant: flint.fmpq_poly | None

    @property
    def degree(self) -> int:
        """Number of conjugate poles."""
        return int(self.factor.degree())

    @cached_property
    def root(self) -> SquareRoot:
        """√(1 + 4b) in Q(α), at order 2."""
        assert self.discriminant is not None
        return field_square_root(self.discriminant, self.factor)

    @property
    def rational_root(self) -> Fraction | None:
        """√(1 + 4b) if it is rational."""
        root = self.root.root
        return None if root is None or root.degree() > 0 else abs(fraction(root[0]))


@dataclasses.dataclass(frozen=True)
class LocalData:
    """What decides about y'' = r y locally.

    Attributes:
        equation: r. poles: one record for each irreducible factor. order: o = deg den − deg num of r.
        discriminant: 1 + 4b∞ with b∞ = lim x² r (1 if o > 2), None if o < 2.
    """

    equation: Quotient
    poles: tuple[Pole, ...]
    order: int
    discriminant: Fraction | None

    @property
    def root(self) -> Fraction | None:
        """√(1 + 4b∞) if it is rational."""
        if self.discriminant is None:
            return None
        found = square_root(flint.fmpq(self.discriminant.numerator, self.discriminant.denominator))
        return None if found is None else fraction(found)


def local_data(equation: Quotient) -> LocalData:
    """Poles and exponents of r; the denominator is factored once.

    Example:
        >>> from thetadot.integrability.quotients import Quotient, polynomial
        >>> data = local_data(Quotient(polynomial(2), polynomial(0, 0, 1)))  # r = 2/x²
        >>> data.poles[0].order, data.poles[0].rational_root, data.discriminant
        (2, Fraction(3, 1), Fraction(9, 1))
    """
    numerator, denominator = equation.numerator, equation.denominator
    poles = []
    for factor, power in factors(denominator):
        rest = denominator // factor**power
        discriminant = None
        if power == 2:
            slope = factor.derivative()
            b = numerator * inverse_mod(rest * slope * slope % factor, factor) % factor
            discriminant = 1 + 4 * b
        poles.append(Pole(factor, power, rest, discriminant))
    if equation.zero:
        return LocalData(equation, (), 10**9, Fraction(1))
    order = int(denominator.degree() - numerator.degree())
    at_infinity = None
    if order == 2:
        at_infinity = 1 + 4 * fraction(numerator.leading_coefficient())
    elif order > 2:
        at_infinity = Fraction(1)
    return LocalData(equation, tuple(poles), order, at_infinity)
