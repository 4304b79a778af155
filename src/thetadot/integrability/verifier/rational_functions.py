"""Rational functions over Q as pairs of polynomials, and records with known keys."""

from typing import Any

from thetadot.integrability.verifier import polynomials as ring
from thetadot.integrability.verifier.polynomials import Poly, require

Rational = tuple[Poly, Poly]


def keys(record: Any, needed: set[str], allowed: set[str] = frozenset()) -> dict[str, Any]:  # pyright: ignore[reportArgumentType]
    """A record with all of the needed keys and none beyond the allowed ones."""
    require(isinstance(record, dict), "a record is not an object")
    missing, unknown = needed - set(record), set(record) - needed - allowed
    require(not missing, f"missing: {', '.join(sorted(missing))}")
    require(not unknown, f"unknown: {', '.join(sorted(map(str, unknown)))}")
    return record


def rational_function(record: Any) -> Rational:
    """Numerator and monic denominator without common factor."""
    keys(record, {"numerator", "denominator"})
    top, bottom = ring.poly(record["numerator"]), ring.poly(record["denominator"])
    require(bool(bottom) and bottom[-1] == 1, "a denominator is not monic")
    require(ring.coprime(top, bottom), "a fraction is not in lowest terms")
    return top, bottom


def plus(a: Rational, b: Rational) -> Rational:
    return reduced(ring.add(ring.mul(a[0], b[1]), ring.mul(b[0], a[1])), ring.mul(a[1], b[1]))


def times(a: Rational, b: Rational) -> Rational:
    return reduced(ring.mul(a[0], b[0]), ring.mul(a[1], b[1]))


def slope(a: Rational) -> Rational:
    top = ring.sub(ring.mul(ring.derivative(a[0]), a[1]), ring.mul(a[0], ring.derivative(a[1])))
    return reduced(top, ring.mul(a[1], a[1]))


def reduced(top: Poly, bottom: Poly) -> Rational:
    common = ring.gcd(bottom, top)
    top, bottom = ring.exact(top, common), ring.exact(bottom, common)
    return ring.scale(1 / bottom[-1], top), ring.scale(1 / bottom[-1], bottom)
