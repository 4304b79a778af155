"""Rational solutions u of u' + u² = r, for equations without a rational solution of the second symmetric power."""

import dataclasses
import itertools
from collections.abc import Callable
from fractions import Fraction

import flint

from thetadot.integrability.linear_solutions import PRIMES, corank_mod, polynomial_kernel, to_modular
from thetadot.integrability.local_data import LocalData, Pole
from thetadot.integrability.number_field import SquareRoot, field_square_root, inverse_mod
from thetadot.integrability.quotients import ZERO, Polynomial, Quotient, factors, fraction, square_root

_MOST_PATTERNS = 2**16


@dataclasses.dataclass(frozen=True)
class LocalChoice:
    """What u may be near the roots of one factor, or at infinity: one entry for each sign.

    Attributes:
        signs: (0,) if there is no choice, else (1, −1). traces: Σ over the conjugates of the residue, by sign.
        parts: the part of u that it contributes, by sign.
    """

    signs: tuple[int, ...]
    traces: tuple[Fraction, ...]
    parts: tuple[Quotient, ...]


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One choice of signs, and why it yields no solution: a degree outside ℕ, or a prime with full rank."""

    signs: tuple[int, ...]
    degree: Fraction
    prime: int | None


@dataclasses.dataclass(frozen=True)
class RiccatiSearch:
    """u, or why there is none.

    Attributes:
        solution: u with u' + u² = r. excluded_by: "pole order", "infinity order", "pole square", "infinity square",
            "patterns", or "limit" (not decided). index: position of the pole that excludes. witness: of the square.
        patterns: all of them, when they exclude.
    """

    solution: Quotient | None
    excluded_by: str | None
    index: int | None = None
    witness: SquareRoot | None = None
    patterns: tuple[Pattern, ...] = ()

    @property
    def none(self) -> bool:
        """Proved: there is no rational solution."""
        return self.solution is None and self.excluded_by != "limit"


def trace_sum(coefficient: flint.fmpq_poly, factor: flint.fmpq_poly, power: int = 1) -> Quotient:
    """Σ over the roots α of f of c(α)/(x − α)^power."""
    total = Quotient(coefficient * factor.derivative() % factor, factor)
    for k in range(1, power):
        total = total.derivative() * Quotient(flint.fmpq(-1, k))
    return total


def _trace(coefficient: flint.fmpq_poly, factor: flint.fmpq_poly) -> Fraction:
    # The coefficient of 1/x at infinity of Σ c(α)/(x − α).
    return fraction((coefficient * factor.derivative() % factor)[factor.degree() - 1])


def expansion(data: LocalData, pole: Pole, terms: int) -> list[flint.fmpq_poly]:
    """The first `terms` coefficients c_k in Q(α) of (x−α)^e r at a root α of f."""
    f, n = pole.factor, terms
    top = _taylor(data.equation.numerator, f, n)
    bottom = _taylor(pole.rest, f, n)
    linear = _taylor(f, f, n + 1)[1:]
    for _ in range(pole.order):
        bottom = _series_product(bottom, linear, f, n)
    inverse = inverse_mod(bottom[0], f)
    quotient: list[flint.fmpq_poly] = []
    for k in range(n):
        known = sum((quotient[i] * bottom[k - i] for i in range(k)), Polynomial([0]))
        quotient.append((top[k] - known) * inverse % f)
    return quotient


def _taylor(poly: flint.fmpq_poly, f: flint.fmpq_poly, terms: int) -> list[flint.fmpq_poly]:
    found, derivative, scale = [], poly, flint.fmpq(1)
    for k in range(terms):
        found.append(derivative % f * scale)
        derivative, scale = derivative.derivative(), scale / (k + 1)
    return found


def _series_product(first, second, f, terms):
    return [sum((first[i] * second[k - i] for i in range(k + 1)), Polynomial([0])) % f for k in range(terms)]


def _at_pole(data: LocalData, pole: Pole) -> LocalChoice | SquareRoot | None:
    f = pole.factor
    if pole.order == 1:
        return LocalChoice((0,), (Fraction(pole.degree),), (trace_sum(Polynomial([1]), f),))
    if pole.order == 2:
        if pole.root.root is None:
            return pole.root
        root = pole.root.root
        residues = [Polynomial([flint.fmpq(1, 2)])] if root.is_zero() else [(1 + root) / 2, (1 - root) / 2]
        signs = (0,) if root.is_zero() else (1, -1)
        return LocalChoice(
            signs, tuple(_trace(r, f) for r in residues), tuple(trace_sum(r, f) for r in residues)
        )
    if pole.order % 2:
        return None
    half = pole.order // 2
    series = expansion(data, pole, half)
    leading = field_square_root(series[0], f)
    if leading.root is None:
        return leading
    a = [leading.root]
    inverse = inverse_mod(2 * leading.root % f, f)
    for k in range(1, half - 1):
        known = sum((a[i] * a[k - i] for i in range(1, k)), Polynomial([0]))
        a.append((series[k] - known) * inverse % f)
    square = sum((a[i] * a[half - 1 - i] for i in range(1, half - 1)), Polynomial([0]))
    ratio = (series[half - 1] - square) * 2 * inverse % f
    traces, parts = [], []
    for sign in (1, -1):
        residue = (sign * ratio + half) / 2
        part = trace_sum(residue, f)
        for k, coefficient in enumerate(a):
            part += trace_sum(sign * coefficient, f, half - k)
        traces.append(_trace(residue, f))
        parts.append(part)
    return LocalChoice((1, -1), tuple(traces), tuple(parts))


def _at_infinity(data: LocalData) -> LocalChoice | str:
    if data.order > 2:
        return LocalChoice((1, -1), (Fraction(1), Fraction(0)), (ZERO, ZERO))
    if data.order == 2:
        root = data.root
        if root is None:
            return "infinity square"
        if root == 0:
            return LocalChoice((0,), (Fraction(1, 2),), (ZERO,))
        return LocalChoice((1, -1), ((1 + root) / 2, (1 - root) / 2), (ZERO, ZERO))
    if data.order % 2:
        return "infinity order"
    half = -data.order // 2
    series = _series_at_infinity(data.equation, half + 2)
    lead = square_root(series[0])
    if lead is None:
        return "infinity square"
    a = [lead]
    for k in range(1, half + 1):
        known = sum((a[i] * a[k - i] for i in range(1, k)), flint.fmpq(0))
        a.append((series[k] - known) / (2 * lead))
    square = sum((a[i] * a[half + 1 - i] for i in range(1, half + 1)), flint.fmpq(0))
    ratio = fraction((series[half + 1] - square) / lead)
    part = Quotient(Polynomial(a[::-1]))
    return LocalChoice((1, -1), ((ratio - half) / 2, (-ratio - half) / 2), (part, -part))


def _series_at_infinity(equation: Quotient, terms: int) -> list[flint.fmpq]:
    top, bottom = equation.numerator.coeffs()[::-1], equation.denominator.coeffs()[::-1]
    pad = [flint.fmpq(0)] * terms
    top, bottom = (top + pad)[:terms], (bottom + pad)[:terms]
    found: list[flint.fmpq] = []
    for k in range(terms):
        found.append((top[k] - sum((found[i] * bottom[k - i] for i in range(k)), flint.fmpq(0))) / bottom[0])
    return found


def local_choices(data: LocalData) -> tuple[LocalChoice, ...] | RiccatiSearch:
    """The choices at every pole and at infinity (last), or why there are none."""
    for index, pole in enumerate(data.poles):
        if pole.order > 2 and pole.order % 2:
            return RiccatiSearch(None, "pole order", index)
    infinity = _at_infinity(data)
    if isinstance(infinity, str):
        return RiccatiSearch(None, infinity)
    choices: list[LocalChoice] = []
    for index, pole in enumerate(data.poles):
        choice = _at_pole(data, pole)
        if isinstance(choice, SquareRoot):
            decided = choice.prime is not None or pole.degree == 1
            return RiccatiSearch(None, "pole square" if decided else "limit", index, choice)
        assert choice is not None
        choices.append(choice)
    return (*choices, infinity)


def equation_parts(theta: Quotient, equation: Quotient) -> tuple[flint.fmpq_poly, ...]:
    """Polynomials (A, B, C) with A P'' + B P' + C P = 0 equivalent to P'' + 2θP' + (θ' + θ² − r)P = 0."""
    twice, last = theta + theta, theta.derivative() + theta * theta - equation
    common = twice.denominator * (last.denominator // twice.denominator.gcd(last.denominator))
    return (
        common,
        twice.numerator * (common // twice.denominator),
        last.numerator * (common // last.denominator),
    )


def operator(second, first, zeroth) -> Callable:
    """P ↦ A P'' + B P' + C P."""

    def applied(poly):
        slope = poly.derivative()
        return second * slope.derivative() + first * slope + zeroth * poly

    return applied


def search_riccati(data: LocalData, degree_limit: int = 5000) -> RiccatiSearch:
    """A rational u with u' + u² = r, or the proof that there is none fixed by the conjugations.

    Source: J. J. Kovacic, J. Symb. Comput. 2 (1986) 3, case 1, with the signs tied at conjugate poles.
    """
    if data.equation.zero:
        return RiccatiSearch(ZERO, None)
    choices = local_choices(data)
    if isinstance(choices, RiccatiSearch):
        return choices
    number = 1
    for choice in choices:
        number *= len(choice.signs)
    if number > _MOST_PATTERNS:
        return RiccatiSearch(None, "limit")
    patterns = []
    for selection in itertools.product(*(range(len(choice.signs)) for choice in choices)):
        picked = [choice.traces[k] for choice, k in zip(choices, selection, strict=True)]
        signs = tuple(choice.signs[k] for choice, k in zip(choices, selection, strict=True))
        degree = picked[-1] - sum(picked[:-1], Fraction(0))
        if degree.denominator != 1 or degree < 0:
            patterns.append(Pattern(signs, degree, None))
            continue
        if degree > degree_limit:
            return RiccatiSearch(None, "limit")
        theta = sum((c.parts[k] for c, k in zip(choices, selection, strict=True)), ZERO)
        prime, solution = _polynomial(theta, data.equation, int(degree))
        if solution is not None:
            return RiccatiSearch(solution, None)
        patterns.append(Pattern(signs, degree, prime))
    return RiccatiSearch(None, "patterns", None, None, tuple(patterns))


def _polynomial(theta: Quotient, equation: Quotient, degree: int) -> tuple[int | None, Quotient | None]:
    parts = equation_parts(theta, equation)
    for prime in PRIMES:
        reduced = [to_modular(part, prime) for part in parts]
        if any(part is None for part in reduced):
            continue
        if corank_mod(operator(*reduced), degree, prime) == 0:
            return prime, None
        break
    basis = polynomial_kernel(operator(*parts), degree)
    if not basis:
        for prime in PRIMES[1:]:
            reduced = [to_modular(part, prime) for part in parts]
            if None not in reduced and corank_mod(operator(*reduced), degree, prime) == 0:
                return prime, None
        raise ArithmeticError("every prime tried is unlucky")
    solution = theta + Quotient(basis[0].derivative(), basis[0])
    assert solution.derivative() + solution * solution == equation
    return None, solution


def abelian_line(solution: Quotient) -> bool:
    """Whether exp ∫u is algebraic: only simple poles, rational residues, no polynomial part."""
    top, bottom = solution.numerator, solution.denominator
    if solution.zero:
        return True
    if top.degree() >= bottom.degree() or bottom.gcd(bottom.derivative()).degree() > 0:
        return False
    for factor, _ in factors(bottom):
        residue = top * inverse_mod(bottom.derivative() % factor, factor) % factor
        if residue.degree() > 0:
            return False
    return True
