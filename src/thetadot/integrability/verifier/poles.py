"""Poles of r in y'' = r(x) y, one irreducible factor of the denominator each, computed again."""

from fractions import Fraction
from typing import Any

import sympy

from thetadot.integrability.verifier import polynomials as ring
from thetadot.integrability.verifier.polynomials import Poly, require
from thetadot.integrability.verifier.rational_functions import Rational, keys


class Pole:
    """One irreducible factor of the denominator with what was computed about it."""

    def __init__(self, record: Any, equation: Rational):
        keys(record, {"factor", "order"}, {"discriminant", "root", "nonresidue"})
        self.factor, self.order = ring.poly(record["factor"]), ring.whole(record["order"])
        require(len(self.factor) > 1 and self.factor[-1] == 1, "a factor is not monic of positive degree")
        require(self.order >= 1, "the order of a pole is not positive")
        require(_irreducible(self.factor), "a factor is reducible")
        self.degree = len(self.factor) - 1
        require(self.order * self.degree < len(equation[1]), "the order of a pole is too large")
        self.rest = ring.exact(equation[1], ring.power(self.factor, self.order))
        require(bool(ring.mod(self.rest, self.factor)), "a factor occurs with a higher power")
        self.square: Poly | None = None
        self.root: Poly | None = None
        if self.order == 2:
            change = ring.derivative(self.factor)
            bottom = ring.mod(ring.mul(self.rest, ring.mul(change, change)), self.factor)
            b = ring.mod(ring.mul(equation[0], ring.inverse(bottom, self.factor)), self.factor)
            self.square = ring.add([Fraction(1)], ring.scale(4, b))
            require(
                ring.poly(record.get("discriminant")) == self.square, "the discriminant at a pole is wrong"
            )
            require(("root" in record) != ("nonresidue" in record), "a pole needs a root or a non-residue")
        else:
            require("discriminant" not in record and "nonresidue" not in record, "unknown key at a pole")
            if self.order % 2 == 0:
                self.square = self.expansion(equation, 1)[0]
            require(self.order % 2 == 0 or "root" not in record, "a root at a pole of odd order")
        if "root" in record:
            self.root = ring.poly(record["root"])
            require(len(self.root) <= self.degree, "a root is not reduced")
            square = ring.mod(ring.mul(self.root, self.root), self.factor)
            require(square == self.square, "a root is not a square root")
        elif "nonresidue" in record:
            assert self.square is not None
            nonresidue(record["nonresidue"], self.square, self.factor)

    @property
    def rational(self) -> Fraction | None:
        """The square root at order 2, if it is rational."""
        if self.root is None or len(self.root) > 1:
            return None
        return abs(self.root[0]) if self.root else Fraction(0)

    def expansion(self, equation: Rational, terms: int) -> list[Poly]:
        """First coefficients in Q(α) of (x − α)^order r."""
        f = self.factor
        top, bottom = _taylor(equation[0], f, terms), _taylor(self.rest, f, terms)
        linear = _taylor(f, f, terms + 1)[1:]
        for _ in range(self.order):
            bottom = [
                ring.mod(total(ring.mul(bottom[i], linear[k - i]) for i in range(k + 1)), f)
                for k in range(terms)
            ]
        first, found = ring.inverse(bottom[0], f), []
        for k in range(terms):
            known = total(ring.mul(found[i], bottom[k - i]) for i in range(k))
            found.append(ring.mod(ring.mul(ring.sub(top[k], known), first), f))
        return found


def total(polys: Any) -> Poly:
    found: Poly = []
    for p in polys:
        found = ring.add(found, p)
    return found


def _taylor(p: Poly, f: Poly, terms: int) -> list[Poly]:
    found, current, factor = [], p, Fraction(1)
    for k in range(terms):
        found.append(ring.scale(factor, ring.mod(current, f)))
        current, factor = ring.derivative(current), factor / (k + 1)
    return found


def _irreducible(p: Poly) -> bool:
    x = sympy.Symbol("x")
    terms = [sympy.Rational(c.numerator, c.denominator) for c in reversed(p)]
    return bool(sympy.Poly(terms, x, domain="QQ").is_irreducible)


def nonresidue(record: Any, square: Poly, factor: Poly) -> None:
    """A prime with a simple root of f where D is a non-residue: D is no square in Q(α)."""
    keys(record, {"prime", "point"})
    prime, point = ring.prime_number(record["prime"]), ring.whole(record["point"])

    def value(p: Poly) -> int:
        return sum(c * pow(point, k, prime) for k, c in enumerate(ring.modular(p, prime))) % prime

    require(value(factor) == 0 and value(ring.derivative(factor)) != 0, "the point is no simple root")
    at = value(square)
    require(at != 0 and pow(at, (prime - 1) // 2, prime) == prime - 1, "the value is no non-residue")
