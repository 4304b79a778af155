"""What a method is, and the compiled derivatives that every peer is given."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.problems import Case


@dataclasses.dataclass
class Counts:
    """What a run evaluated; None where a library does not tell."""

    gradients: int | None = None
    hvps: int | None = None
    hessians: int | None = None
    factorisations: int | None = None
    accepted: int | None = None
    rejected: int | None = None


class RunFailedError(RuntimeError):
    """An integrator gave up; the message is its own."""


@dataclasses.dataclass(frozen=True)
class Method:
    """An integrator.

    Attributes:
        name: for tables.
        run: (case, rtol) → thetas (S, P) at the case's save times, and the counts. Raises `RunFailedError`.
        rtols: the tolerances of a work–precision sweep, loosest first.
        unfit: case → why it is not run there, or None.
    """

    name: str
    run: Callable[[Case, float], tuple[np.ndarray, Counts]]
    rtols: tuple[float, ...]
    unfit: Callable[[Case], str | None] = lambda case: None


PREFIX = "thetadot "
"""How the names of our own methods begin."""
FINE = tuple(10.0**-k for k in range(3, 12))
COARSE = (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)


def absolute(case: Case, rtol: float) -> float:
    """The absolute tolerance of every peer, rtol·‖θ0‖/√P.

    A tenth to a hundred times as much was tried on P1 and P4 with CVODE and LSODA: at equal error the time changes by
    less than a third, and this is as good as any.
    """
    theta0 = case.posed[1]
    return rtol * float(np.linalg.norm(theta0)) / np.sqrt(theta0.size)


class Derivatives:
    """Compiled −∇L, −∇²L and −∇²L·v for NumPy callers, counted.

    The data are arguments, handed over as a flat tuple: a `Problem` as an argument would cost its flattening in
    Python at every call, which peers are spared.
    """

    def __init__(self, case: Case):
        leaves, tree = jax.tree.flatten(case.posed[0])
        self._leaves = tuple(leaves)
        self._field, self._jacobian, self._linearise, self._push = _compiled(tree)
        self._gradients = self._hvps = self._hessians = 0

    def counts(self, **further: int) -> Counts:
        """What was evaluated so far; `further` are the integrator's own counts."""
        return Counts(gradients=self._gradients, hvps=self._hvps, hessians=self._hessians, **further)

    def field(self, theta: np.ndarray) -> np.ndarray:
        """−∇L (P,)."""
        self._gradients += 1
        return np.asarray(self._field(theta, self._leaves))

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """−∇²L (P, P), by the structured Hessian."""
        self._hessians += 1
        return np.asarray(self._jacobian(theta, self._leaves))

    def linearise(self, theta: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """v ↦ −∇²L·v at θ; costs a gradient now and about one more each time it is applied."""
        self._gradients += 1
        linear = self._linearise(theta, self._leaves)

        def apply(v: np.ndarray) -> np.ndarray:
            self._hvps += 1
            return np.asarray(self._push(linear, v))

        return apply


@functools.cache
def _compiled(tree: Any):
    """The functions for all problems that differ in their data only."""

    @jax.jit
    def field(theta, leaves):
        return -jax.tree.unflatten(tree, leaves).value_and_grad(theta)[1]

    @jax.jit
    def jacobian(theta, leaves):
        return -jax.tree.unflatten(tree, leaves).hessian(theta)

    @jax.jit
    def linearise(theta, leaves):
        return jax.linearize(lambda point: field(point, leaves), theta)[1]

    @jax.jit
    def push(linear, v):
        return linear(v)

    return field, jacobian, linearise, push
