"""Polynomials over Q as lists of Fractions, lowest coefficient first, without trailing zeros; ranks modulo a prime."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

MOST_DEGREE = 10_000
Poly = list[Fraction]


class InvalidError(Exception):
    """A certificate that does not prove what it says; the message says where."""


def require(truth: bool, message: str) -> None:
    """Raise `InvalidError` unless `truth`."""
    if not truth:
        raise InvalidError(message)


def number(value: Any) -> Fraction:
    """A rational from its string "n" or "n/d"."""
    require(isinstance(value, str) and len(value) < 100_000, f"{value!r:.40} is not the text of a rational")
    top, _, bottom = value.partition("/")
    plain = top.removeprefix("-")
    require(
        plain.isascii() and plain.isdigit() and (not bottom or (bottom.isascii() and bottom.isdigit())),
        f"{value:.40} is not a rational",
    )
    require(bottom == "" or int(bottom) != 0, f"{value:.40} divides by zero")
    return Fraction(int(top), int(bottom or 1))


def whole(value: Any) -> int:
    """A whole number that JSON wrote as one."""
    require(isinstance(value, int) and not isinstance(value, bool), f"{value!r:.40} is not a whole number")
    return value


def poly(value: Any) -> Poly:
    """A polynomial from its list of strings."""
    require(isinstance(value, list) and len(value) <= MOST_DEGREE, "a polynomial is not a list, or too long")
    found = [number(entry) for entry in value]
    require(not found or found[-1] != 0, "a polynomial has a leading zero")
    return found


def trim(p: Poly) -> Poly:
    while p and p[-1] == 0:
        p.pop()
    return p


def add(p: Poly, q: Poly) -> Poly:
    short, long = sorted((p, q), key=len)
    return trim([a + b for a, b in zip(short, long, strict=False)] + long[len(short) :])


def scale(c: Any, p: Poly) -> Poly:
    return [c * a for a in p] if c else []


def sub(p: Poly, q: Poly) -> Poly:
    return add(p, scale(-1, q))


def _integers(p: Poly) -> tuple[list[int], int]:
    common = math.lcm(*(a.denominator for a in p))
    return [int(a * common) for a in p], common


def mul(p: Poly, q: Poly) -> Poly:
    if not p or not q:
        return []
    (a, m), (b, n) = _integers(p), _integers(q)
    found = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                found[i + j] += x * y
    return [Fraction(c, m * n) for c in found]


def power(p: Poly, exponent: int) -> Poly:
    found = [Fraction(1)]
    for _ in range(exponent):
        found = mul(found, p)
    return found


def divide(p: Poly, q: Poly) -> tuple[Poly, Poly]:
    require(bool(q), "division by the zero polynomial")
    rest, quotient = list(p), [Fraction(0)] * max(0, len(p) - len(q) + 1)
    while len(rest) >= len(q):
        factor, shift = rest[-1] / q[-1], len(rest) - len(q)
        quotient[shift] = factor
        for i, c in enumerate(q):
            rest[shift + i] -= factor * c
        rest.pop()
        trim(rest)
    return trim(quotient), rest


def mod(p: Poly, q: Poly) -> Poly:
    return divide(p, q)[1]


def exact(p: Poly, q: Poly) -> Poly:
    quotient, rest = divide(p, q)
    require(not rest, "a division leaves a rest")
    return quotient


def gcd(p: Poly, q: Poly) -> Poly:
    while q:
        p, q = q, mod(p, q)
    return scale(1 / p[-1], p) if p else []


def coprime(p: Poly, q: Poly) -> bool:
    """Whether two polynomials have no common factor; one prime usually proves it."""
    prime = 2**61 - 1
    if (
        p
        and q
        and all(c.denominator % prime for c in (*p, *q))
        and p[-1].numerator % prime
        and q[-1].numerator % prime
    ):
        a, b = modular(p, prime), modular(q, prime)
        while b:
            inverted = pow(b[-1], -1, prime)
            while len(a) >= len(b):
                factor, shift = a[-1] * inverted % prime, len(a) - len(b)
                for i, c in enumerate(b):
                    a[shift + i] = (a[shift + i] - factor * c) % prime
                while a and a[-1] == 0:
                    a.pop()
            a, b = b, a
        if len(a) == 1:
            return True
    return len(gcd(p, q)) <= 1


def inverse(p: Poly, modulus: Poly) -> Poly:
    """1/p modulo an irreducible polynomial."""
    old, new, old_factor, new_factor = modulus, mod(p, modulus), [], [Fraction(1)]
    while new:
        quotient, rest = divide(old, new)
        old, new, old_factor, new_factor = new, rest, new_factor, sub(old_factor, mul(quotient, new_factor))
    require(len(old) == 1, "an element is not invertible")
    return mod(scale(1 / old[0], old_factor), modulus)


def derivative(p: Poly) -> Poly:
    return [k * c for k, c in enumerate(p)][1:]


def rational_root(value: Fraction) -> Fraction | None:
    """The non-negative rational square root, or None."""
    if value < 0:
        return None
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    return Fraction(top, bottom) if Fraction(top, bottom) ** 2 == value else None


def modular(p: Poly, prime: int) -> list[int]:
    """The polynomial modulo a prime that divides none of its denominators."""
    require(all(c.denominator % prime for c in p), f"{prime} divides a denominator")
    found = [c.numerator * pow(c.denominator, -1, prime) % prime for c in p]
    while found and found[-1] == 0:
        found.pop()
    return found


def prime_number(value: Any) -> int:
    """A prime below 2⁶⁴."""
    import sympy

    found = whole(value)
    require(2 < found < 2**64 and bool(sympy.isprime(found)), f"{found} is not a prime below 2**64")
    return found


def corank(operator: Callable[[list[int]], list[int]], degree: int, prime: int) -> int:
    """degree + 1 less the rank modulo the prime of a map of polynomials of degree ≤ `degree`."""
    require(0 <= degree <= MOST_DEGREE, "a degree is out of bounds")
    rows: list[tuple[int, list[int]]] = []
    missing = 0
    for j in range(degree + 1):
        image = operator([0] * j + [1])
        for lead, row in rows:
            if lead < len(image) and image[lead]:
                factor = image[lead]
                image = [
                    (a - factor * b) % prime
                    for a, b in zip(
                        image + [0] * (len(row) - len(image)),
                        row + [0] * (len(image) - len(row)),
                        strict=True,
                    )
                ]
        lead = next((i for i, c in enumerate(image) if c), None)
        if lead is None:
            missing += 1
            continue
        inverted = pow(image[lead], -1, prime)
        rows.append((lead, [c * inverted % prime for c in image]))
    return missing


def mod_mul(p: Sequence[int], q: Sequence[int], prime: int) -> list[int]:
    if not p or not q:
        return []
    found = [0] * (len(p) + len(q) - 1)
    for i, x in enumerate(p):
        if x:
            for j, y in enumerate(q):
                found[i + j] += x * y
    return [c % prime for c in found]


def mod_add(p: Sequence[int], q: Sequence[int], prime: int) -> list[int]:
    short, long = sorted((list(p), list(q)), key=len)
    return [(a + b) % prime for a, b in zip(short, long, strict=False)] + long[len(short) :]
