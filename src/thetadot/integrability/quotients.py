"""Rational functions of one variable over Q, and over Q with one square root adjoined (FLINT's polynomials below)."""

from fractions import Fraction
from typing import Any

import flint

Polynomial = flint.fmpq_poly


def rational(value: Any) -> flint.fmpq:
    """An int, a Fraction, a rational of sympy or a string "n/d" as FLINT's rational.

    Example:
        >>> rational("1/2") + rational(Fraction(1, 3))
        5/6
    """
    if isinstance(value, flint.fmpq):
        return value
    if isinstance(value, (int, flint.fmpz)):
        return flint.fmpq(value)
    if isinstance(value, str):
        value = Fraction(value)
    if isinstance(value, Fraction):
        return flint.fmpq(value.numerator, value.denominator)
    return flint.fmpq(int(value.p), int(value.q))


def fraction(value: flint.fmpq) -> Fraction:
    """FLINT's rational as a Fraction."""
    return Fraction(int(value.p), int(value.q))


def polynomial(*coefficients: Any) -> flint.fmpq_poly:
    """The polynomial with these coefficients, lowest first."""
    return Polynomial([rational(entry) for entry in coefficients])


def monic(poly: flint.fmpq_poly) -> flint.fmpq_poly:
    """`poly` divided by its leading coefficient."""
    return poly / poly.leading_coefficient()


def factors(poly: flint.fmpq_poly) -> list[tuple[flint.fmpq_poly, int]]:
    """Monic irreducible factors over Q with their multiplicities, in a fixed order."""
    if poly.degree() <= 0:
        return []
    found = [(monic(Polynomial(factor)), int(power)) for factor, power in poly.numer().factor()[1]]
    return sorted(found, key=lambda pair: (pair[0].degree(), [fraction(c) for c in pair[0].coeffs()]))


def square_root(value: flint.fmpq) -> flint.fmpq | None:
    """The non-negative rational square root, or None."""
    if value < 0:
        return None
    root = flint.fmpq(value.p.isqrt(), value.q.isqrt())
    return root if root * root == value else None


class Quotient:
    """A rational function over Q in lowest terms with monic denominator; immutable."""

    __slots__ = ("denominator", "numerator")

    def __init__(self, numerator: Any, denominator: Any = 1):
        top = numerator if isinstance(numerator, Polynomial) else polynomial(numerator)
        bottom = denominator if isinstance(denominator, Polynomial) else polynomial(denominator)
        if bottom.is_zero():
            raise ZeroDivisionError("a rational function with denominator 0")
        if bottom.degree() > 0:
            common = top.gcd(bottom)
            if common.degree() > 0:
                top, bottom = top // common, bottom // common
        lead = bottom.leading_coefficient()
        self.numerator, self.denominator = (top, bottom) if lead == 1 else (top / lead, bottom / lead)

    def __add__(self, other: "Quotient") -> "Quotient":
        if self.denominator == other.denominator:
            return Quotient(self.numerator + other.numerator, self.denominator)
        return Quotient(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )

    def __neg__(self) -> "Quotient":
        return Quotient(-self.numerator, self.denominator)

    def __sub__(self, other: "Quotient") -> "Quotient":
        return self + (-other)

    def __mul__(self, other: "Quotient") -> "Quotient":
        return Quotient(self.numerator * other.numerator, self.denominator * other.denominator)

    def __truediv__(self, other: "Quotient") -> "Quotient":
        return Quotient(self.numerator * other.denominator, self.denominator * other.numerator)

    def __pow__(self, power: int) -> "Quotient":
        if power < 0:
            return Quotient(self.denominator**-power, self.numerator**-power)
        return Quotient(self.numerator**power, self.denominator**power)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Quotient)
            and self.numerator == other.numerator
            and self.denominator == other.denominator
        )

    def __hash__(self) -> int:
        return hash((str(self.numerator), str(self.denominator)))

    def __repr__(self) -> str:
        return f"({self.numerator})/({self.denominator})"

    @property
    def zero(self) -> bool:
        """Whether it vanishes identically."""
        return bool(self.numerator.is_zero())

    @property
    def constant(self) -> flint.fmpq | None:
        """Its value if it is constant, otherwise None."""
        if self.denominator.degree() > 0 or self.numerator.degree() > 0:
            return None
        return self.numerator[0]

    def derivative(self) -> "Quotient":
        """d/dx."""
        n, d = self.numerator, self.denominator
        return Quotient(n.derivative() * d - n * d.derivative(), d * d)

    def root(self) -> "Quotient | None":
        """A rational square root (positive leading coefficient above), or None."""
        if self.zero:
            return self
        halves = []
        for poly in (self.numerator, self.denominator):
            half = Polynomial([1])
            for factor, power in factors(poly):
                if power % 2:
                    return None
                half *= factor ** (power // 2)
            halves.append(half)
        scale = square_root(self.numerator.leading_coefficient())
        return None if scale is None else Quotient(halves[0] * scale, halves[1])


ZERO, ONE, VARIABLE = Quotient(0), Quotient(1), Quotient(polynomial(0, 1))


class Surd:
    """a + b√D with rational functions a, b over Q and a square-free integer D (0 while no root has appeared)."""

    __slots__ = ("plain", "radicand", "rooted")

    def __init__(self, plain: Quotient, rooted: Quotient = ZERO, radicand: int = 0):
        self.plain, self.rooted = plain, rooted
        self.radicand = 0 if rooted.zero else radicand

    def _field(self, other: "Surd") -> int:
        if self.radicand and other.radicand and self.radicand != other.radicand:
            raise ArithmeticError(f"√{self.radicand} and √{other.radicand} together")
        return self.radicand or other.radicand

    def __add__(self, other: "Surd") -> "Surd":
        return Surd(self.plain + other.plain, self.rooted + other.rooted, self._field(other))

    def __neg__(self) -> "Surd":
        return Surd(-self.plain, -self.rooted, self.radicand)

    def __sub__(self, other: "Surd") -> "Surd":
        return self + (-other)

    def __mul__(self, other: "Surd") -> "Surd":
        if not (self.radicand or other.radicand):
            return Surd(self.plain * other.plain)
        root = self._field(other)
        plain = self.plain * other.plain
        if self.radicand and other.radicand:
            plain += Quotient(root) * self.rooted * other.rooted
        return Surd(plain, self.plain * other.rooted + self.rooted * other.plain, root)

    def inverse(self) -> "Surd":
        """1/self."""
        if not self.radicand:
            return Surd(ONE / self.plain)
        norm = self.plain * self.plain - Quotient(self.radicand) * self.rooted * self.rooted
        return Surd(self.plain / norm, -self.rooted / norm, self.radicand)

    def __truediv__(self, other: "Surd") -> "Surd":
        return self * other.inverse()

    def __pow__(self, power: int) -> "Surd":
        if not self.radicand:
            return Surd(self.plain**power)
        base = self if power >= 0 else self.inverse()
        result = Surd(ONE)
        for _ in range(abs(power)):
            result = result * base
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surd) and (self - other).zero

    def __hash__(self) -> int:
        return hash((self.plain, self.rooted))

    def __repr__(self) -> str:
        return f"{self.plain} + {self.rooted}·√{self.radicand}" if self.radicand else repr(self.plain)

    @property
    def zero(self) -> bool:
        """Whether it vanishes identically."""
        return self.plain.zero and self.rooted.zero

    def derivative(self) -> "Surd":
        """d/dx."""
        return Surd(self.plain.derivative(), self.rooted.derivative(), self.radicand)
