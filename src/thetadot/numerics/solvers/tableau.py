"""Coefficients of Runge–Kutta pairs as hashable data."""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tableau:
    """A Runge–Kutta pair; tuples of floats, so that it is static under jit.

    Attributes:
        name: the method's name.
        a: rows of the strictly lower triangle, row i for stage i+1.
        diagonal: diagonal entries (s,), all zero for explicit methods.
        b, b_error: weights of the solution and of the error estimate (s,).
        c: stage times (s,).
        order: order of the solution; `error_order` is the power of h of the error estimate.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    diagonal: tuple[float, ...]
    b: tuple[float, ...]
    b_error: tuple[float, ...]
    c: tuple[float, ...]
    order: int

    @property
    def error_order(self) -> int:
        return self.order

    @property
    def ends_at_solution(self) -> bool:
        """Whether the last stage is the solution (first-same-as-last)."""
        last = np.zeros(len(self.b))
        last[: len(self.a[-1])] = self.a[-1]
        last[-1] += self.diagonal[-1]
        return bool(np.allclose(last, self.b, rtol=0, atol=1e-15))

    @property
    def measures_stiffness(self) -> bool:
        """Whether the last two stages lie at the end of the step."""
        return self.ends_at_solution and len(self.c) > 2 and self.c[-2] == 1.0 == self.c[-1]

    @property
    def stability_limit(self) -> float:
        """Largest stable h·ρ on the negative real axis, from the stability function."""
        return _stability_limit(self)

    def matrix(self) -> np.ndarray:
        """The full matrix A (s, s)."""
        stages = len(self.b)
        full = np.diag(np.asarray(self.diagonal, float))
        for index, row in enumerate(self.a):
            full[index + 1, : len(row)] = row
        assert full.shape == (stages, stages)
        return full

    def extended(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, b, b_error of the explicit method with the solution as its last stage."""
        a, b, b_error = self.matrix(), np.asarray(self.b, float), np.asarray(self.b_error, float)
        if self.ends_at_solution:
            return a, b, b_error
        grown = np.zeros((b.size + 1, b.size + 1))
        grown[:-1, :-1] = a
        grown[-1, :-1] = b
        return grown, np.append(b, 0.0), np.append(b_error, 0.0)


@functools.lru_cache(maxsize=64)
def _stability_limit(tableau: Tableau) -> float:
    a, b, _ = tableau.extended()
    identity, ones = np.eye(b.size), np.ones(b.size)
    for z in np.linspace(0.01, 30.0, 3000):
        if abs(1 - z * b @ np.linalg.solve(identity + z * a, ones)) > 1 + 1e-9:
            return float(z)
    return float("inf")


def from_diffrax(solver) -> Tableau:
    """The coefficients of a diffrax Runge–Kutta solver (explicit, or singly diagonally implicit)."""
    source = solver.tableau
    stages = len(source.b_sol)
    diagonal = np.zeros(stages)
    implicit = getattr(source, "a_diagonal", None)
    if implicit is not None:
        diagonal[:] = implicit
    times = [0.0] * stages
    for index, time in enumerate(np.asarray(source.c, float)):
        times[index + 1] = float(time)
    return Tableau(
        name=type(solver).__name__,
        a=tuple(tuple(float(v) for v in row) for row in source.a_lower),
        diagonal=tuple(diagonal.tolist()),
        b=tuple(np.asarray(source.b_sol, float).tolist()),
        b_error=tuple(np.asarray(source.b_error, float).tolist()),
        c=tuple(times),
        order=int(solver.order(None)),
    )
