"""Monodromy of a linear system around its singular points, by Taylor series in floating point."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import sympy
from jaxtyping import Bool, Complex, Float

from thetadot.integrability.algebrization import Evaluator
from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.loops import PolynomialSystem, plan_loops, polynomial_system, singularities

_TERMS = (44, 56)
_STEP = (0.24, 0.2)


@dataclasses.dataclass(frozen=True)
class Enclosure:
    """A complex value and a bound of its error (proved if the monodromy is rigorous)."""

    value: complex
    radius: float


@dataclasses.dataclass(frozen=True)
class Monodromy:
    """Continuation of the fundamental matrix Y(base) = I around every singular point.

    Attributes:
        base: where the loops begin. singularities (S,): finite poles. irregular (S,): poles of order above one.
        loops: closed polygons with rational corners. matrices (S, k, k): Y after the loop. radius (S, k, k): error of
            each entry. rigorous: whether the radius is proved. determinant_defect: largest |det M − exp(2πi Res tr B)|.
        enclosures: the matrices as balls, if rigorous. second: matrices of a rerun, if not.
    """

    base: complex
    singularities: Complex[np.ndarray, " S"]
    irregular: Bool[np.ndarray, " S"]
    loops: tuple[Any, ...]
    matrices: Complex[np.ndarray, "S k k"]
    radius: Float[np.ndarray, "S k k"]
    rigorous: bool
    determinant_defect: float
    enclosures: tuple[Any, ...] = ()
    second: Complex[np.ndarray, "S k k"] | None = None
    bits: int = 53
    entries: Any = None

    def commutator_trace(self, i: int, j: int) -> Enclosure:
        """tr(A B A⁻¹ B⁻¹) of the loops i and j; 2 for a reducible pair in SL₂."""
        if self.rigorous:
            from thetadot.integrability.ball_monodromy import ball_commutator_trace

            return ball_commutator_trace(self.enclosures[i], self.enclosures[j], self.bits)
        assert self.second is not None
        values = []
        for matrices in (self.matrices, self.second):
            a, b = matrices[i], matrices[j]
            values.append(complex(np.trace(a @ b @ np.linalg.inv(a) @ np.linalg.inv(b))))
        scale = float(np.linalg.norm(self.matrices[i]) * np.linalg.norm(self.matrices[j])) ** 2
        return Enclosure(values[1], abs(values[1] - values[0]) + 1e-15 * scale)


def monodromy(
    system: Any,
    variable: sympy.Symbol,
    *,
    base: complex | None = None,
    rigorous: bool = False,
    tolerance: float = 1e-11,
    bits: int = 192,
) -> Monodromy:
    """Monodromy matrices of ξ' = B(x) ξ around all finite singular points.

    Arguments:
        system: B (k, k), rational in the variable over Q or one quadratic field, complex ones too. variable: x.
        base: where the loops begin (chosen if left out). rigorous: in ball arithmetic, with proved radii.
        tolerance: wanted accuracy of the floating-point matrices relative to their size; missing it raises.
        bits: wanted accuracy of the rigorous ones.

    Raises:
        IntegrabilityError: a base on a singular point, or an accuracy that was missed.
        NotAlgebrizableError, SymbolicParameterError: entries that are not rational functions.

    Example:
        >>> x = sympy.Symbol("x")
        >>> found = monodromy([[1 / (2 * x)]], x)
        >>> bool(abs(found.matrices[0, 0, 0] + 1) < 1e-12)
        True
    """
    matrix = sympy.Matrix(system)
    if matrix.rows != matrix.cols or not matrix.rows:
        raise IntegrabilityError(f"system has shape {matrix.shape}: expected a square matrix")
    evaluator = Evaluator({}, variable)
    entries = tuple(
        tuple(evaluator.surd(matrix[i, j]) for j in range(matrix.cols)) for i in range(matrix.rows)
    )
    if rigorous:
        from thetadot.integrability.ball_monodromy import ball_monodromy

        return ball_monodromy(entries, base=base, bits=bits)
    found = float_monodromy(entries, base)
    scale = np.maximum(1.0, np.abs(found.matrices).max(axis=(1, 2), initial=0.0))
    worst = float((found.radius.max(axis=(1, 2), initial=0.0) / scale).max(initial=0.0))
    if worst > tolerance:
        raise IntegrabilityError(
            f"the monodromy is known to {worst:.1g} only, asked was {tolerance:.1g}: choose rigorous=True"
        )
    return found


def float_monodromy(entries: Any, base: complex | None = None) -> Monodromy:
    """The same of a matrix of rational functions, without asking for an accuracy."""
    system = polynomial_system(entries)
    points = singularities(system)
    if not points:
        raise IntegrabilityError("the system has no finite singular point: nothing to go around")
    start, loops = plan_loops(points, base)
    numeric = _Numeric(system)
    places = np.array([s.place for s in points])
    first, second = (
        np.array([_around(numeric, places, loop, terms, step) for loop in loops])
        for terms, step in zip(_TERMS, _STEP, strict=True)
    )
    rounding = 1e-15 * np.abs(second).max(axis=(1, 2), keepdims=True)
    defect = 0.0
    for k, s in enumerate(points):
        wanted = np.exp(2j * np.pi * numeric.trace_residue(s.place, s.reach))
        defect = max(defect, float(abs(np.linalg.det(second[k]) - wanted)))
    return Monodromy(
        complex(float(start[0]), float(start[1])),
        places,
        np.array([s.order > 1 for s in points]),
        loops,
        second,
        np.abs(second - first) + rounding,
        False,
        defect,
        (),
        first,
        53,
        entries,
    )


class _Numeric:
    """The system in floating point."""

    def __init__(self, system: PolynomialSystem):
        self.order = system.order
        self.q = np.array([_float(c) for c in system.denominator.coeffs()], complex)
        length = max(len(system.plain), len(system.rooted))
        root = np.sqrt(complex(system.radicand))
        self.p = np.zeros((length, self.order, self.order), complex)
        for factor, part in ((1.0, system.plain), (root, system.rooted)):
            for n, rows in enumerate(part):
                self.p[n] += factor * np.array([[_float(c) for c in row] for row in rows])

    def shifted(self, centre: complex) -> tuple[np.ndarray, np.ndarray]:
        return _shift(self.q, centre), _shift(self.p, centre)

    def trace_residue(self, place: complex, reach: float) -> complex:
        angles = np.exp(2j * np.pi * np.arange(256) / 256)
        zs = place + reach * angles
        top = sum(np.trace(c) * zs**n for n, c in enumerate(self.p))
        return complex(np.mean(top / np.polyval(self.q[::-1], zs) * reach * angles))


def _float(value: Any) -> float:
    return float(int(value.p) / int(value.q))


def _shift(coefficients: np.ndarray, centre: complex) -> np.ndarray:
    """Taylor coefficients at the centre, by repeated synthetic division."""
    shifted = coefficients.copy()
    for start, n in itertools.product(range(len(shifted) - 1), range(1)):
        for k in range(len(shifted) - 2, start - 1 + n, -1):
            shifted[k] = shifted[k] + centre * shifted[k + 1]
    return shifted


def _around(numeric: _Numeric, places: np.ndarray, loop, terms: int, step: float) -> np.ndarray:
    total = np.eye(numeric.order, dtype=complex)
    corners = [complex(float(x), float(y)) for x, y in loop]
    for here, there in itertools.pairwise(corners):
        while here != there:
            reach = step * float(np.abs(places - here).min())
            away = abs(there - here)
            target = there if away <= reach else here + (there - here) * (reach / away)
            total = _advance(numeric, here, target - here, terms) @ total
            here = target
    return total


def _advance(numeric: _Numeric, centre: complex, h: complex, terms: int) -> np.ndarray:
    q, p = numeric.shifted(centre)
    # Scaled by h: Y = Σ c_n with c_n = Y_n hⁿ, so that nothing overflows.
    q = q * h ** np.arange(len(q))
    p = p * (h ** np.arange(1, len(p) + 1))[:, None, None]
    k = numeric.order
    coefficients = np.zeros((terms + 1, k, k), complex)
    coefficients[0] = np.eye(k)
    for n in range(terms):
        m = min(n + 1, len(p))
        total = np.einsum("aij,ajk->ik", p[:m], coefficients[n - m + 1 : n + 1][::-1])
        m = min(n, len(q) - 1)
        if m:
            weights = q[1 : m + 1] * (n + 1 - np.arange(1, m + 1))
            total = total - np.einsum("a,ajk->jk", weights, coefficients[n + 1 - m : n + 1][::-1])
        coefficients[n + 1] = total / (q[0] * (n + 1))
    return coefficients.sum(axis=0)
