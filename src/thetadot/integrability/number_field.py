"""Square roots in Q(α), α a root of an irreducible polynomial: found exactly, or refuted by one prime."""

import dataclasses
import math

import flint

from thetadot.integrability.quotients import Polynomial, monic, square_root

_PRIMES = 60


def inverse_mod(element: flint.fmpq_poly, modulus: flint.fmpq_poly) -> flint.fmpq_poly:
    """1/element in Q[x]/(modulus)."""
    common, inverse, _ = element.xgcd(modulus)
    if common.degree() != 0:
        raise ZeroDivisionError("not invertible modulo this polynomial")
    return inverse % modulus


@dataclasses.dataclass(frozen=True)
class SquareRoot:
    """A root z(α) with z² = D(α), or a prime with a simple root of f where D is a non-residue, or neither."""

    root: flint.fmpq_poly | None
    prime: int | None = None
    point: int | None = None


def field_square_root(element: flint.fmpq_poly, modulus: flint.fmpq_poly) -> SquareRoot:
    """The square root of element(α) in Q(α) = Q[x]/(modulus), or a witness that there is none.

    A prime at which f has a simple root and D a non-residue refutes; otherwise the characteristic polynomial of
    kα + z on Q(α)[z]/(z² − D) splits if D is a square, and a factor h of degree deg f gives z = −A/B from
    h(kα + z) ≡ A + Bz.

    Example:
        >>> from thetadot.integrability.quotients import polynomial
        >>> found = field_square_root(polynomial(2), polynomial(-2, 0, 1))  # √2 in Q(√2)
        >>> (found.root * found.root) % polynomial(-2, 0, 1)
        2
    """
    element = element % modulus
    if element.is_zero():
        return SquareRoot(Polynomial([0]))
    if element.degree() == 0:
        root = square_root(element[0])
        if root is not None:
            return SquareRoot(Polynomial([root]))
        if modulus.degree() == 1 or modulus.degree() % 2:
            return _refuted(element, modulus) or SquareRoot(None)
    return _refuted(element, modulus) or SquareRoot(_constructed(element, modulus))


def _refuted(element: flint.fmpq_poly, modulus: flint.fmpq_poly) -> SquareRoot | None:
    """A prime p and a simple root a of f mod p with D(a) a non-residue: then D is no square in Q(α)."""
    f, numerator, denominator = modulus.numer(), element.numer(), int(element.denom())
    bad = denominator * int(f.leading_coefficient())
    prime, tried = 10007, 0
    while tried < _PRIMES:
        prime = _next_prime(prime)
        if bad % prime == 0:
            continue
        tried += 1
        reduced = flint.nmod_poly([int(c) for c in f.coeffs()], prime)
        slope = reduced.derivative()
        top = flint.nmod_poly([int(c) for c in numerator.coeffs()], prime)
        for factor, power in reduced.factor()[1]:
            if factor.degree() != 1 or power != 1:
                continue
            point = int(-factor[0] / factor[1])
            value = int(top(point)) * pow(denominator, -1, prime) % prime
            if int(slope(point)) and value and pow(value, (prime - 1) // 2, prime) == prime - 1:
                return SquareRoot(None, prime, point)
    return None


def _next_prime(number: int) -> int:
    number += 2
    while not flint.fmpz(number).is_prime():
        number += 2
    return number


def _constructed(element: flint.fmpq_poly, modulus: flint.fmpq_poly) -> flint.fmpq_poly | None:
    n = modulus.degree()
    x = Polynomial([0, 1])
    for k in range(1, 6):
        # Rows: images of x^i and x^i z under multiplication by k·x + z.
        rows = []
        for i in range(n):
            rows.append(_row(k * x * x**i % modulus, x**i % modulus, n))
        for i in range(n):
            rows.append(_row(element * x**i % modulus, k * x * x**i % modulus, n))
        characteristic = flint.fmpq_mat(2 * n, 2 * n, [c for row in rows for c in row]).charpoly()
        split = [
            monic(Polynomial(h)) for h, power in characteristic.numer().factor()[1] for _ in range(power)
        ]
        if len(split) == 1:
            return None
        for h in split:
            if h.degree() != n:
                continue
            constant, linear = _evaluate_pair(h, Polynomial([0, k]) % modulus, element, modulus)
            if linear.is_zero():
                continue
            try:
                root = (-constant * inverse_mod(linear, modulus)) % modulus
            except ZeroDivisionError:
                continue
            if (root * root - element) % modulus == 0:
                return root
    return None


def _row(plain: flint.fmpq_poly, rooted: flint.fmpq_poly, n: int) -> list:
    return [plain[i] for i in range(n)] + [rooted[i] for i in range(n)]


def _evaluate_pair(h, shift, element, modulus):
    """h(shift + z) = A + B z with z² = element, modulo f."""
    plain, rooted = Polynomial([0]), Polynomial([0])
    for coefficient in reversed(h.coeffs()):
        plain, rooted = (
            (plain * shift + rooted * element) % modulus + coefficient,
            (plain + rooted * shift) % modulus,
        )
    return plain, rooted


def square_free(value: int) -> tuple[int, int]:
    """(s, D) with value = s²·D and D square-free.

    Example:
        >>> square_free(12)
        (2, 3)
    """
    square, rest = 1, int(math.copysign(1, value))
    for prime, power in flint.fmpz(abs(value)).factor():
        square *= int(prime) ** (power // 2)
        rest *= int(prime) ** (power % 2)
    return square, rest
