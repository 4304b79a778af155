"""Rational solutions of the m-th symmetric power of y'' = r y, m even: products of m solutions."""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

import flint

from thetadot.integrability.linear_solutions import PRIMES, corank_mod, polynomial_kernel, to_modular
from thetadot.integrability.local_data import LocalData
from thetadot.integrability.quotients import Polynomial, Quotient


@dataclasses.dataclass(frozen=True)
class PowerSearch:
    """Outcome for one m.

    Attributes:
        power: m. invariants: basis of the rational solutions. excluded_by: "exponent", "degree" or "rank" if there
            are none, "limit" if the degree bound was too large to look. degree_bound: of the polynomial part, None
            if an exponent excludes. prime: modulo which the rank was full, or one short of full.
        corank: number of solutions modulo that prime (an upper bound).
    """

    power: int
    invariants: tuple[Quotient, ...]
    excluded_by: str | None
    degree_bound: int | None
    prime: int | None
    corank: int | None

    @property
    def none(self) -> bool:
        """Proved: there is no rational solution."""
        return self.excluded_by in ("exponent", "degree", "rank")


def _pole_exponent(order: int, root: Fraction | None, power: int) -> int | None:
    if order == 1:
        return power
    if order == 2:
        return min(_integers(power, root))
    return None if order * power % 4 else order * power // 4


def _integers(power: int, root: Fraction | None) -> list[int]:
    """The integers among m/2 + (j/2)·root, j = −m, −m+2, …, m."""
    half = power // 2
    if root is None:
        return [half]
    candidates = (half + Fraction(j, 2) * root for j in range(-power, power + 1, 2))
    return [int(c) for c in candidates if c.denominator == 1]


def exponents(data: LocalData, power: int) -> tuple[list[int], int] | None:
    """Exponents ε_f at the poles and the largest degree at infinity; None if one of them cannot be an integer."""
    found = []
    for pole in data.poles:
        root = pole.rational_root if pole.order == 2 else None
        exponent = _pole_exponent(pole.order, root, power)
        if exponent is None:
            return None
        found.append(exponent)
    if data.order >= 2:
        return found, max(_integers(power, data.root))
    if data.order * power % 4:
        return None
    return found, data.order * power // 4


def recursion(data: LocalData, power: int, found: list[int]) -> tuple[flint.fmpq_poly, ...]:
    """S, Sϑ and S²r of the recursion, polynomials."""
    s = Polynomial([1])
    for pole in data.poles:
        s *= pole.factor ** ((pole.order + 1) // 2)
    theta = Polynomial([0])
    for pole, exponent in zip(data.poles, found, strict=True):
        theta += exponent * (s // pole.factor) * pole.factor.derivative()
    potential = Quotient(s * s) * data.equation
    assert potential.denominator.degree() == 0
    return s, theta, potential.numerator


def operator(s, theta, potential, power: int) -> Callable:
    """P ↦ P₋₁ of P_m = −P, P_{i−1} = −S P_i' + ((m−i)S' − Sϑ) P_i − (m−i)(i+1) S² r P_{i+1}."""
    slope = s.derivative()

    def last(poly):
        above, current = poly * 0, -poly
        for i in range(power, -1, -1):
            below = -s * current.derivative() + ((power - i) * slope - theta) * current
            if i < power:
                below -= (power - i) * (i + 1) * potential * above
            above, current = current, below
        return current

    return last


def search_power(data: LocalData, power: int, degree_limit: int = 5000) -> PowerSearch:
    """All rational solutions of the symmetric power, or the proof that there are none."""
    if data.equation.zero:
        basis = tuple(Quotient(Polynomial([0] * j + [1])) for j in range(power + 1))
        return PowerSearch(power, basis, None, power, None, None)
    local = exponents(data, power)
    if local is None:
        return PowerSearch(power, (), "exponent", None, None, None)
    found, top = local
    degree = top - sum(e * pole.degree for e, pole in zip(found, data.poles, strict=True))
    if degree < 0:
        return PowerSearch(power, (), "degree", degree, None, None)
    if degree > degree_limit:
        return PowerSearch(power, (), "limit", degree, None, None)
    parts = recursion(data, power, found)
    bounds: list[tuple[int, int]] = []
    for prime in PRIMES:
        reduced = [to_modular(part, prime) for part in parts]
        if any(part is None for part in reduced):
            continue
        bounds.append((corank_mod(operator(*reduced, power), degree, prime), prime))
        if bounds[-1][0] == 0:
            return PowerSearch(power, (), "rank", degree, prime, 0)
        if len(bounds) == 2:
            break
    basis = polynomial_kernel(operator(*parts, power), degree)
    frame = Quotient(Polynomial([1]))
    for pole, exponent in zip(data.poles, found, strict=True):
        frame *= Quotient(pole.factor) ** exponent
    invariants = tuple(frame * Quotient(poly / _content(poly)) for poly in basis)
    corank, prime = min(bounds)
    return PowerSearch(power, invariants, None, degree, prime, corank)


def _content(poly: flint.fmpq_poly) -> flint.fmpq:
    return flint.fmpq(math.gcd(*(int(c) for c in poly.numer().coeffs())), poly.denom())
