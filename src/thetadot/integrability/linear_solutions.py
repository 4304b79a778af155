"""Polynomial solutions of a linear map of polynomials: refuted by a rank modulo one prime, else found over Q."""

from collections.abc import Callable

import flint

from thetadot.integrability.quotients import Polynomial

PRIMES = (2**61 - 1, 2**60 - 93, 2**59 - 55, 2**58 - 27, 2**57 - 13)
"""Tried in this order; a prime that divides a denominator is skipped."""

Column = Callable[[flint.fmpq_poly], flint.fmpq_poly]


def to_modular(poly: flint.fmpq_poly, prime: int) -> flint.nmod_poly | None:
    """The polynomial modulo a prime, None if the prime divides its denominator."""
    denominator = int(poly.denom())
    if denominator % prime == 0:
        return None
    inverse = pow(denominator, -1, prime)
    return flint.nmod_poly([int(c) * inverse % prime for c in poly.numer().coeffs()], prime)


def corank_mod(operator: Callable, degree: int, prime: int) -> int:
    """Dimension over GF(prime) of the polynomials of degree ≤ `degree` that `operator` maps to zero."""
    x = flint.nmod_poly([0, 1], prime)
    power, columns = flint.nmod_poly([1], prime), []
    for _ in range(degree + 1):
        columns.append([int(c) for c in operator(power).coeffs()])
        power *= x
    height = max(1, max(len(column) for column in columns))
    flat = [entry for column in columns for entry in column + [0] * (height - len(column))]
    return degree + 1 - flint.nmod_mat(degree + 1, height, flat, prime).rank()


def polynomial_kernel(operator: Column, degree: int) -> list[flint.fmpq_poly]:
    """Basis over Q of the polynomials of degree ≤ `degree` that `operator` maps to zero."""
    columns = [operator(Polynomial([0] * j + [1])) for j in range(degree + 1)]
    height = max(1, max(column.length() for column in columns))
    scale = flint.fmpz(1)
    for column in columns:
        scale = scale.lcm(column.denom())
    rows = [[int(column[i] * scale) for column in columns] for i in range(height)]
    vectors, nullity = flint.fmpz_mat(rows).nullspace()
    return [Polynomial([vectors[i, k] for i in range(degree + 1)]) for k in range(nullity)]
