"""Monodromy in ball arithmetic: every entry with a proved radius (FLINT's acb)."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
# pyright: reportCallIssue=false, reportOperatorIssue=false, reportIndexIssue=false, reportOptionalOperand=false
# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (sympy's annotations know expressions as Basic or Expr only, FLINT's have gaps)

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

_PER_TERM = math.log2(1 / 0.4)


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

    def step(self, centre: flint.acb, h: flint.acb, terms: int) -> flint.acb_mat:
        """Y(centre + h) for Y(centre) = I, with the tail of the series enclosed."""
        k = self.order
        shift = flint.acb_poly([centre, 1])
        q = [self.q(shift)[n] for n in range(self.q.length())]
        shifted = [poly(shift) for poly in self.p]
        length = max(1, *(poly.length() for poly in shifted))
        p = [flint.acb_mat(k, k, [poly[n] for poly in shifted]) for n in range(length)]
        rho = self.distance(centre) / 2
        bound = self._growth(centre, rho, p)
        terms = self._enough(terms, bound, abs(h) / rho)
        powers = [flint.acb(1)]
        for _ in range(max(len(q), length) + 1):
            powers.append(powers[-1] * h)
        q = [c * powers[n] for n, c in enumerate(q)]
        p = [c * powers[n + 1] for n, c in enumerate(p)]
        identity = flint.acb_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])
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
        x = abs(h) / rho
        tail = bound * x ** (terms + 1) / (1 - x)
        if not bool(x < 1) or not tail.is_finite():
            raise IntegrabilityError("a step is too long for its disc of convergence")
        ball = flint.acb(_around_zero(tail), _around_zero(tail))
        return total + flint.acb_mat(k, k, [ball] * (k * k))

    @staticmethod
    def _enough(terms: int, bound: flint.arb, x: flint.arb) -> int:
        """As many terms more as the bound of the solution on the disc asks for."""
        gain = -math.log(float(x.upper()))
        return terms + min(6 * terms, int(float(bound.log().upper()) / gain) + 1)

    def _growth(self, centre: flint.acb, rho: flint.arb, p: list[flint.acb_mat]) -> flint.arb:
        """exp(ρ·max‖B‖) on the disc, with |q| bounded below by its roots."""
        top = flint.arb(0)
        for n, matrix in enumerate(p):
            size = sum((abs(entry) for entry in matrix.entries()), flint.arb(0))
            top += size * rho**n
        bottom = flint.arb(1)
        for root, power in self.roots:
            bottom *= ((centre - root).abs_lower() - rho) ** power
        return (rho * top / bottom).exp()


def _around_zero(size: flint.arb) -> flint.arb:
    """A ball that holds [−size, size]."""
    return size.upper().union(-size.upper())


def _acb(z: tuple[flint.fmpq, flint.fmpq]) -> flint.acb:
    return flint.acb(flint.arb(z[0]), flint.arb(z[1]))


def _fmpq(point: Point) -> tuple[flint.fmpq, flint.fmpq]:
    return tuple(flint.fmpq(c.numerator, c.denominator) for c in point)  # pyright: ignore[reportReturnType]


def _around(balls: _Balls, loop: tuple[Point, ...], terms: int) -> flint.acb_mat:
    k = balls.order
    total = flint.acb_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])
    steps: list[flint.acb_mat] = []
    known: dict[Any, flint.acb_mat] = {}
    for begin, end in itertools.pairwise(loop):
        if (end, begin) in known:
            steps.append(known[end, begin].inv())
            continue
        part = flint.acb_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])
        here, there = _fmpq(begin), _fmpq(end)
        while here != there:
            centre = _acb(here)
            reach = float(balls.distance(centre)) / 5
            across = (there[0] - here[0], there[1] - here[1])
            away = math.hypot(float(Fraction(str(across[0]))), float(Fraction(str(across[1]))))
            target = there
            if away > reach:
                share = Fraction(math.floor(reach / away * 2**20), 2**20)
                ratio = flint.fmpq(share.numerator, share.denominator)
                target = (here[0] + across[0] * ratio, here[1] + across[1] * ratio)
                target = tuple(flint.fmpq((c * 2**30).floor(), 2**30) for c in target)
            h = (target[0] - here[0], target[1] - here[1])
            part = balls.step(centre, _acb(h), terms) * part
            here = target
        known[begin, end] = part
        steps.append(part)
    for part in steps:
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
    terms = int(bits / _PER_TERM) + 12
    with precision(3 * bits + 64):
        balls = _Balls(system)
        found = [_around(balls, loop, terms) for loop in loops]
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
        return [_around(balls, loop, int(bits / _PER_TERM) + 12) for loop in loops]


def _complex(z: flint.acb) -> complex:
    return complex(float(z.real.mid()), float(z.imag.mid()))


def _radius(z: flint.acb) -> float:
    return float(z.real.rad().upper()) + float(z.imag.rad().upper())


def ball_commutator_trace(a: flint.acb_mat, b: flint.acb_mat, bits: int) -> Enclosure:
    """tr(A B A⁻¹ B⁻¹) with its proved radius."""
    with precision(3 * bits + 64):
        value = (a * b * a.inv() * b.inv()).trace()
        return Enclosure(_complex(value), _radius(value))
