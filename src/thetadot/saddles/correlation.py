"""The neural correlation function: what moves weights that are infinitesimally small."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems import EmpiricalRisk, Problem
from thetadot.problems.losses import SampleLoss
from thetadot.saddles.derivatives import hessian, require_float64, value_and_gradient
from thetadot.saddles.errors import NotHomogeneousError, SaddlesError
from thetadot.saddles.homogeneity import require_homogeneous
from thetadot.saddles.sparsity import is_zero_preserving, neuron_groups

_SMALL = 1e-5


def _minus_product(prediction, label):
    return -jnp.sum(prediction * label)


_correlate = SampleLoss("correlation", _minus_product, "numbers")


@jax.jit
def _residuals(problem: EmpiricalRisk, outputs: Any) -> Array:
    def one(output, label):
        return -jax.grad(problem.sample_loss)(output, label)

    return jax.vmap(one)(outputs, problem.y)


@jax.jit
def _outputs(problem: EmpiricalRisk, theta: Array):
    return problem.predict(theta, problem.x)


@jax.jit
def _product(problem: Problem, theta: Array, vector: Array):
    return jax.jvp(lambda point: problem.value_and_grad(point)[1], (theta,), (vector,))[1]


@dataclasses.dataclass(frozen=True)
class NeuralCorrelation:
    """𝒩(u) = (1/N) Σ ⟨r_i, H(x_i; c, u)⟩: correlation of what small weights add to the output with what it lacks.

    H is the leading homogeneous part in the free weights, r_i = −∂ℓ/∂f at the base c (pseudo-labels at the origin).

    Attributes:
        degree: D, of the leading part.
        pseudo_labels (N, k): r_i, or None for problems without a network.
        base (P,): the point c, zero at the free weights.
        free (F,): indices of the free weights.
        exact: whether 𝒩 comes from the outputs; otherwise from the loss's gradient at u/10⁵.
    """

    degree: int
    pseudo_labels: np.ndarray | None
    base: Float[np.ndarray, " P"]
    free: np.ndarray
    exact: bool
    _problem: Problem = dataclasses.field(repr=False)
    _size: float = dataclasses.field(repr=False)

    def embed(self, u: Float[np.ndarray, " F"]) -> Float[np.ndarray, " P"]:
        """u (F,) among zeros (P,); add `base` for a point of the network."""
        whole = np.zeros(self.base.size)
        whole[self.free] = u
        return whole

    def gradient(self, u: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
        """∇𝒩(u) (F,)."""
        slope = value_and_gradient(self._problem, self.base + self._size * self.embed(u))[1][self.free]
        return -slope / self._size ** (self.degree - 1)

    def value(self, u: Float[np.ndarray, " F"]) -> float:
        """𝒩(u) = ⟨u, ∇𝒩(u)⟩/D."""
        return float(np.dot(u, self.gradient(u)) / self.degree)

    def hessian(self, u: Float[np.ndarray, " F"]) -> Float[np.ndarray, "F F"]:
        """∇²𝒩(u) (F, F)."""
        whole = hessian(self._problem, self.base + self._size * self.embed(u))
        return -whole[np.ix_(self.free, self.free)] / self._size ** (self.degree - 2)

    def hvp(self, u: Float[np.ndarray, " F"], v: Float[np.ndarray, " F"]) -> Float[np.ndarray, " F"]:
        """∇²𝒩(u)·v (F,) without the matrix."""
        point = self.base + self._size * self.embed(u)
        product = np.asarray(_product(self._problem, point, self.embed(v)))
        return -product[self.free] / self._size ** (self.degree - 2)

    @functools.cached_property
    def quadratic(self) -> bool:
        """Whether 𝒩 is a quadratic form, whose flow is linear."""
        if self.degree != 2:
            return False
        rng = np.random.default_rng(0)
        first, second = (self.hessian(u) for u in rng.normal(size=(2, self.free.size)))
        return bool(np.abs(first - second).max() <= 1e-9 * max(np.abs(first).max(), 1e-300))


def neural_correlation(
    problem: Problem,
    at: Float[Array | np.ndarray, " P"] | None = None,
    free: np.ndarray | None = None,
) -> NeuralCorrelation:
    """The neural correlation function at the origin, or of the dead weights at a critical point.

    Arguments:
        problem: what is trained.
        at (P,): a critical point; None for the origin.
        free: indices of the weights that are small: zero in `at`, and zero-preserving. Default: all at the origin, the
            dead hidden neurons elsewhere.

    Raises:
        NotHomogeneousError, DegreeBelowTwoError: a network that the theory does not cover.
        SaddlesError: free weights that are not zero, or do not stay zero.

    Source: A. Kumar, J. Haupt, arXiv:2502.15952; 2403.08121. Re-derived for the mean loss and any sample loss.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 1, "square"), td.squared, np.eye(2), np.array([3.0, 0.0]))
        >>> correlation = neural_correlation(problem)
        >>> correlation.degree, correlation.value(np.array([1.0, 0.0, 1.0]))  # y₁ a w₁² / 2
        (3, 1.5)
    """
    require_float64()
    if at is None:
        report = require_homogeneous(problem)
        assert report.degree is not None
        base, free = np.zeros(problem.size), np.arange(problem.size) if free is None else np.asarray(free)
    else:
        base = np.asarray(at, float)
        free = _dead(problem, base) if free is None else np.asarray(free)
    if np.any(base[free] != 0.0):
        raise SaddlesError("the free weights are not zero at the base: pass at=critical_point(…).theta")
    if at is not None and not is_zero_preserving(problem, free, probes=2):
        raise SaddlesError("the free weights do not stay zero when they are: free whole neurons")
    return _build(problem, base, free)


def _build(problem: Problem, base: np.ndarray, free: np.ndarray) -> NeuralCorrelation:
    """Without checks: `free` is zero in `base` and zero-preserving."""
    labels, carrier = None, problem
    if isinstance(problem, EmpiricalRisk):
        labels = np.asarray(_residuals(problem, _outputs(problem, base)))
        carrier = EmpiricalRisk(problem.network, _correlate, problem.x, labels)
    exact = labels is not None
    degree, whole = _leading_degree(carrier, base, free, exact)
    return NeuralCorrelation(degree, labels, base, free, exact, carrier, 1.0 if whole else _SMALL)


def _leading_degree(carrier: Problem, base: np.ndarray, free: np.ndarray, exact: bool) -> tuple[int, bool]:
    """(degree of the leading part in the free weights, whether there is nothing else)."""
    if free.size == 0:
        return 2, True
    rng = np.random.default_rng(0)
    slopes, defects = [], []
    for direction in rng.normal(size=(3, free.size)):
        whole = np.zeros(base.size)
        whole[free] = direction
        norms = [
            np.linalg.norm(value_and_gradient(carrier, base + size * whole)[1][free])
            for size in (2 * _SMALL, _SMALL, 2.0, 1.0)
        ]
        if norms[1] > 0 and norms[3] > 0:
            slopes.append(np.log2(norms[0] / norms[1]) + 1.0)
            defects.append(abs(np.log2(norms[2] / norms[3]) + 1.0 - slopes[-1]))
    if not slopes:
        return 2, True
    degree = round(float(np.median(slopes)))
    if degree < 2 or np.max(np.abs(np.array(slopes) - degree)) > 1e-2:
        raise NotHomogeneousError(float(np.max(np.abs(np.array(slopes) - degree))), "the free weights")
    return degree, bool(exact and max(defects) < 1e-9)


def _dead(problem: Problem, base: np.ndarray) -> np.ndarray:
    dead = [group for group in neuron_groups(problem) if not np.any(base[group])]
    return np.unique(np.concatenate(dead)).astype(int) if dead else np.zeros(0, int)
