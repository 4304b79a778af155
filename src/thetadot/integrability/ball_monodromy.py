"""Monodromy in ball arithmetic: every entry with a proved radius (FLINT's acb)."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.loops import Point, PolynomialSystem, plan_loops, polynomial_system, singularities
from thetadot.integrability.monodromy import Enclosure, Monodromy

_SHARE = 0.4
_MOST_GROWTH = 12.0
_MOST_HALVINGS = 60

Exact = tuple[flint.fmpq, flint.fmpq]
"""Real and imaginary part of a corner."""


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """FLINT's working precision inside the block."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


class _Balls:
    """The system at one working precision, with certified roots."""

    def __init__(self, system: PolynomialSystem):
        self.order = k = system.order
        self.q = flint.acb_poly(system.denominator)
        root = flint.acb(system.radicand).sqrt() if system.radicand else flint.acb(0)
        length = max(len(system.plain), len(system.rooted))
        zero = ((flint.fmpq(0),) * k,) * k
        self.p = []
        for i, j in itertools.product(range(k), repeat=2):
            coefficients = []
            for n in range(length):
                plain = (system.plain[n] if n < len(system.plain) else zero)[i][j]
                rooted = (system.rooted[n] if n < len(system.rooted) else zero)[i][j]
                coefficients.append(flint.acb(plain) + root * flint.acb(rooted))
            self.p.append(flint.acb_poly(coefficients))
        self.roots = [
            (enclosure, power) for factor, power in system.factors for enclosure, _ in factor.complex_roots()
        ]

    def distance(self, centre: flint.acb) -> flint.arb:
        """A lower bound of the distance to the nearest singular point."""
        return min(((centre - root).abs_lower() for root, _ in self.roots), key=float)

    def step(self, here: Exact, there: Exact, bits: int) -> tuple[Exact, flint.acb_mat]:
        """A point on the way from `here` to `there`, and Y there for Y(here) = I, the series' tail enclosed."""
        k, centre = self.order, _acb(here)
        shift = flint.acb_poly([centre, 1])
        q = [self.q(shift)[n] for n in range(self.q.length())]
        shifted = [poly(shift) for poly in self.p]
        length = max(1, *(poly.length() for poly in shifted))
        p = [flint.acb_mat(k, k, [poly[n] for poly in shifted]) for n in range(length)]
        rho, exponent = self._disc(centre, p)
        target = _towards(here, there, _SHARE * float(rho))
        h = _acb((target[0] - here[0], target[1] - here[1]))
        x = abs(h) / rho
        if not bool(x < 0.5):
            raise IntegrabilityError("a step is too long for its disc of convergence")
        terms = int((bits * math.log(2) + float(exponent.upper())) / -math.log(float(x.upper()))) + 2
        powers = [flint.acb(1)]
        for _ in range(max(len(q), length) + 1):
            powers.append(powers[-1] * h)
        q = [c * powers[n] for n, c in enumerate(q)]
        p = [c * powers[n + 1] for n, c in enumerate(p)]
        identity = _identity(k)
        series, total = [identity], identity
        inverse = 1 / q[0]
        for n in range(terms):
            new = flint.acb_mat(k, k)
            for i in range(min(n + 1, length)):
                new += p[i] * series[n - i]
            for i in range(1, min(n, len(q) - 1) + 1):
                new -= series[n + 1 - i] * (q[i] * (n + 1 - i))
            new = new * (inverse / (n + 1))
            series.append(new)
            total = total + new
        tail = exponent.exp() * x ** (terms + 1) / (1 - x)
        ball = flint.acb(_around_zero(tail), _around_zero(tail))
        return target, total + flint.acb_mat(k, k, [ball] * (k * k))

    def _disc(self, centre: flint.acb, p: list[flint.acb_mat]) -> tuple[flint.arb, flint.arb]:
        """A radius ρ, at most half the distance to the nearest singular point, with a bound of ρ·max‖B‖ on the disc.

        The solution is at most exp of that bound, so that a large one would have to be paid for in terms of the
        series: the disc shrinks until it is small. |q| is bounded below by its roots.
        """
        rho = self.distance(centre) / 2
        sizes = [sum((abs(entry) for entry in matrix.entries()), flint.arb(0)) for matrix in p]
        for _ in range(_MOST_HALVINGS):
            top = sum((size * rho**n for n, size in enumerate(sizes)), flint.arb(0))
            bottom = flint.arb(1)
            for root, power in self.roots:
                bottom *= ((centre - root).abs_lower() - rho) ** power
            exponent = rho * top / bottom
            if bool(exponent < _MOST_GROWTH):
                return rho, exponent
            rho /= 2
        raise IntegrabilityError("a loop runs too near to a singular point for a bound of its solutions")


def _around_zero(size: flint.arb) -> flint.arb:
    """A ball that holds [−size, size]."""
    return size.upper().union(-size.upper())


def _identity(k: int) -> flint.acb_mat:
    return flint.acb_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])


def _acb(z: Exact) -> flint.acb:
    return flint.acb(flint.arb(z[0]), flint.arb(z[1]))


def _fmpq(point: Point) -> Exact:
    return tuple(flint.fmpq(c.numerator, c.denominator) for c in point)  # pyright: ignore[reportReturnType]


def _towards(here: Exact, there: Exact, reach: float) -> Exact:
    """`there`, or a point with a short fraction at most `reach` away from `here` on the line to it."""
    across = (there[0] - here[0], there[1] - here[1])
    away = math.hypot(float(Fraction(str(across[0]))), float(Fraction(str(across[1]))))
    if away <= reach:
        return there
    share = Fraction(math.floor(reach / away * 2**20), 2**20)
    ratio = flint.fmpq(share.numerator, share.denominator)
    return tuple(
        flint.fmpq(((h + a * ratio) * 2**30).floor(), 2**30) for h, a in zip(here, across, strict=True)
    )  # pyright: ignore[reportReturnType]


def _around(balls: _Balls, loop: tuple[Point, ...], bits: int) -> flint.acb_mat:
    total = _identity(balls.order)
    known: dict[Any, flint.acb_mat] = {}
    for begin, end in itertools.pairwise(loop):
        if (end, begin) in known:
            total = known[end, begin].inv() * total
            continue
        part = _identity(balls.order)
        here, there = _fmpq(begin), _fmpq(end)
        while here != there:
            here, step = balls.step(here, there, bits)
            part = step * part
        known[begin, end] = part
        total = part * total
    return total


def ball_monodromy(entries: Any, *, base: complex | None = None, bits: int = 192) -> Monodromy:
    """Monodromy of a matrix of rational functions with proved radii; asks for about `bits` bits.

    Interval arithmetic loses about a bit in every term of the series, so it works at about three times as many.
    """
    system = polynomial_system(entries)
    points = singularities(system)
    if not points:
        raise IntegrabilityError("the system has no finite singular point: nothing to go around")
    start, loops = plan_loops(points, base)
    with precision(3 * bits + 64):
        balls = _Balls(system)
        found = [_around(balls, loop, bits) for loop in loops]
        matrices = np.array(
            [[[_complex(m[i, j]) for j in range(balls.order)] for i in range(balls.order)] for m in found]
        )
        radius = np.array(
            [[[_radius(m[i, j]) for j in range(balls.order)] for i in range(balls.order)] for m in found]
        )
        from thetadot.integrability.monodromy import _Numeric

        numeric, defect = _Numeric(system), 0.0
        for matrix, s in zip(matrices, points, strict=True):
            wanted = np.exp(2j * np.pi * numeric.trace_residue(s.place, s.reach))
            defect = max(defect, float(abs(np.linalg.det(matrix) - wanted)))
    return Monodromy(
        complex(float(start[0]), float(start[1])),
        np.array([s.place for s in points]),
        np.array([s.order > 1 for s in points]),
        loops,
        matrices,
        radius,
        True,
        defect,
        tuple(found),
        None,
        bits,
        entries,
    )


def ball_loops(
    system: PolynomialSystem, loops: Sequence[tuple[Point, ...]], bits: int
) -> list[flint.acb_mat]:
    """The matrices of some loops, as balls of about `bits` bits."""
    with precision(3 * bits + 64):
        balls = _Balls(system)
        return [_around(balls, loop, bits) for loop in loops]


def _complex(z: flint.acb) -> complex:
    return complex(float(z.real.mid()), float(z.imag.mid()))


def _radius(z: flint.acb) -> float:
    return float(z.real.rad().upper()) + float(z.imag.rad().upper())


def ball_commutator_trace(a: flint.acb_mat, b: flint.acb_mat, bits: int) -> Enclosure:
    """tr(A B A⁻¹ B⁻¹) with its proved radius."""
    with precision(3 * bits + 64):
        value = (a * b * a.inv() * b.inv()).trace()
        return Enclosure(_complex(value), _radius(value))
