"""Loops around the singular points of a linear system: polygons with rational corners that generate every other."""

import dataclasses
import itertools
import math
from fractions import Fraction

import flint
import numpy as np

from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.quotients import Polynomial, Quotient, Surd, factors

_CORNERS = 12
_GRID = 2**24
Point = tuple[Fraction, Fraction]


@dataclasses.dataclass(frozen=True)
class PolynomialSystem:
    """q(p) Y' = P(p) Y with P = A + √D·B.

    Attributes:
        order: k. denominator: q over Q, monic. plain, rooted: coefficients of A and B, one (k, k) list for each power
            of p. radicand: D. factors: irreducible factors of q with multiplicities.
    """

    order: int
    denominator: flint.fmpq_poly
    plain: tuple[tuple[tuple[flint.fmpq, ...], ...], ...]
    rooted: tuple[tuple[tuple[flint.fmpq, ...], ...], ...]
    radicand: int
    factors: tuple[tuple[flint.fmpq_poly, int], ...]


def polynomial_system(entries: tuple[tuple[Surd, ...], ...]) -> PolynomialSystem:
    """The matrix over one common denominator."""
    k = len(entries)
    flat = [entry for row in entries for entry in row]
    common, radicand = Polynomial([1]), 0
    for entry in flat:
        radicand = radicand or entry.radicand
        for part in (entry.plain, entry.rooted):
            common = common * (part.denominator // common.gcd(part.denominator))

    def coefficients(parts: list[Quotient]):
        tops = [part.numerator * (common // part.denominator) for part in parts]
        length = max(1, *(top.length() for top in tops))
        return tuple(
            tuple(tuple(tops[i * k + j][n] for j in range(k)) for i in range(k)) for n in range(length)
        )

    return PolynomialSystem(
        k,
        common,
        coefficients([entry.plain for entry in flat]),
        coefficients([entry.rooted for entry in flat]),
        radicand,
        tuple(factors(common)),
    )


@dataclasses.dataclass(frozen=True)
class Singularity:
    """A pole of the system: where, of which order, and the radius that loops around others keep."""

    place: complex
    order: int
    reach: float


def singularities(system: PolynomialSystem) -> tuple[Singularity, ...]:
    """The finite poles, sorted by real and imaginary part."""
    places = []
    for factor, order in system.factors:
        for root, _ in factor.complex_roots():
            places.append((complex(float(root.real.mid()), float(root.imag.mid())), order))
    # Real parts of conjugates agree exactly in exact arithmetic; rounding must not reorder them.
    places.sort(key=lambda pair: (round(pair[0].real, 12), pair[0].imag))
    found = []
    for place, order in places:
        reaches = [
            _share(order > 1, other_order > 1) * abs(place - other)
            for other, other_order in places
            if other != place
        ]
        found.append(Singularity(place, order, min(reaches, default=1.0)))
    return tuple(found)


def _share(own: bool, other: bool) -> float:
    """Part of a gap that a point keeps free around itself: solutions explode near irregular points."""
    return 0.5 if own == other else (0.72 if own else 0.26)


def plan_loops(
    points: tuple[Singularity, ...], base: complex | None = None
) -> tuple[Point, tuple[tuple[Point, ...], ...]]:
    """A base point and one closed polygon for each singular point.

    A loop follows the straight line from the base and passes every other singular point on the line's side of it, at
    half the gap to its neighbour, more near irregular ones. Such loops generate the fundamental group.
    """
    start = _chosen_base(points) if base is None else base
    if any(abs(start - s.place) < 1e-9 * (1 + abs(s.place)) for s in points):
        raise IntegrabilityError(f"base {start} is a singular point: choose another, or leave it out")
    loops = []
    for k, target in enumerate(points):
        there = _approach(start, target, [s for j, s in enumerate(points) if j != k])
        arm = there[-1] - target.place
        circle = [target.place + arm * np.exp(2j * math.pi * m / _CORNERS) for m in range(1, _CORNERS)]
        corners = [_rational(z) for z in [*there, *circle]]
        back = corners[: len(there)]
        loops.append((*corners, *reversed(back)))
    return _rational(start), tuple(loops)


def _chosen_base(points: tuple[Singularity, ...]) -> complex:
    if not points:
        return 0j
    centre = sum(s.place for s in points) / len(points)
    size = max(max(abs(s.place - centre) for s in points), points[0].reach)

    def clearance(candidate: complex) -> float:
        worst = min(abs(candidate - s.place) / s.reach - 1 for s in points)
        for s, other in itertools.permutations(points, 2):
            worst = min(worst, _distance(candidate, s.place, other.place) / other.reach)
        return worst

    candidates = [
        centre + size * radius * np.exp(-2j * math.pi * (turn + 0.13) / 14)
        for radius in (1.25, 0.8, 0.55, 1.7)
        for turn in range(14)
    ]
    return complex(max(candidates, key=lambda z: (round(clearance(z), 6), -abs(z))))


def _distance(start: complex, end: complex, point: complex) -> float:
    along = ((point - start) * (end - start).conjugate()).real / abs(end - start) ** 2
    return abs(point - (start + min(max(along, 0.0), 1.0) * (end - start)))


def _approach(start: complex, target: Singularity, others: list[Singularity]) -> list[complex]:
    """Corners from the base to the rim of the target's disc."""
    end = target.place
    direction = (end - start) / abs(end - start)
    near = sorted(
        (s for s in others if _distance(start, end, s.place) < s.reach and abs(start - s.place) > s.reach),
        key=lambda s: ((s.place - start) * direction.conjugate()).real,
    )
    corners = [start]
    for s in near:
        across = ((s.place - start) * direction.conjugate()).imag
        middle = start + direction * ((s.place - start) * direction.conjugate()).real
        half = math.sqrt(max(s.reach**2 - across**2, 0.0))
        enter, leave = middle - direction * half, middle + direction * half
        # The line passes on the right of s if s lies on its left: the detour stays on that side.
        side = -1 if across >= 0 else 1
        first, last = np.angle(enter - s.place), np.angle(leave - s.place)
        turn = (last - first) % (2 * math.pi)
        if side > 0:
            turn -= 2 * math.pi
        steps = max(2, int(abs(turn) / (2 * math.pi / _CORNERS)) + 1)
        corners += [s.place + s.reach * np.exp(1j * (first + turn * m / steps)) for m in range(steps + 1)]
    radius = min(target.reach, abs(start - end))
    last_line = end - corners[-1]
    rim = end - last_line / abs(last_line) * radius
    if abs(rim - corners[-1]) > 1e-12:
        corners.append(rim)
    return [complex(z) for z in corners]


def _rational(z: complex) -> Point:
    return Fraction(round(z.real * _GRID), _GRID), Fraction(round(z.imag * _GRID), _GRID)
