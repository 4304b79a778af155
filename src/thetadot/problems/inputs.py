"""Laws of the inputs of a population risk: Gaussian, and uniform on a sphere."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.numerics.gaussian import chi_moment
from thetadot.problems.chain import whole_numbers
from thetadot.problems.checks import Numbers, as_float64, require_finite
from thetadot.problems.errors import DataError, ShapeError


class InputLaw(eqx.Module):
    """A law of inputs x in R^d."""

    dimension: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def second_moment(self) -> Float[Array, "d d"]:
        """E[xxᵀ]."""

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """A few words for summaries."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count d"]:
        """Independent draws."""

    @abc.abstractmethod
    def invariance_residual(self, matrix: Numbers) -> float:
        """How far the law of Tx is from that of x, relative: 0 where they are equal."""

    @abc.abstractmethod
    def whiten(self, rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Rows ũ with u·x = ũ·z for z ~ N(0, I) (Gaussian), or the rows themselves (sphere)."""

    @abc.abstractmethod
    def homogeneous_scale(self, degree: float) -> float:
        """E over this law / E over N(0, I) of a function of z that is homogeneous of this degree."""


class GaussianInputs(InputLaw):
    """x ~ N(0, Σ).

    Arguments:
        dimension: d.
        covariance: Σ: None for the identity, v for v·I, or (d, d), symmetric and positive semidefinite.

    Raises:
        ShapeError, DataError: a covariance of another shape, not symmetric, or with negative eigenvalues.

    Example:
        >>> GaussianInputs(3, 2.0).second_moment[0].tolist()
        [2.0, 0.0, 0.0]
    """

    dimension: int = eqx.field(static=True)
    covariance: Array | None
    _root: Array | None

    def __init__(self, dimension: int, covariance: Numbers | None = None):
        whole_numbers(dimension=dimension)
        self.dimension = int(dimension)
        if covariance is None:
            self.covariance = self._root = None
            return
        given = as_float64(covariance, "covariance")
        require_finite(given, "covariance")
        if given.shape not in ((), (dimension, dimension)):
            raise ShapeError(
                f"covariance has shape {given.shape}, expected a number or ({dimension}, {dimension})"
            )
        values = np.asarray(given)
        if values.ndim == 0:
            if not values > 0:
                raise DataError(f"covariance is {values}, expected a positive number")
            self.covariance, self._root = given, jnp.sqrt(given)
            return
        lowest, largest = np.linalg.eigvalsh(0.5 * (values + values.T))[[0, -1]]
        if np.abs(values - values.T).max() > 1e-12 * largest or lowest < -1e-12 * largest:
            raise DataError(
                f"covariance must be symmetric and positive semidefinite; its lowest eigenvalue is {lowest:.3g}"
            )
        roots, vectors = np.linalg.eigh(0.5 * (values + values.T))
        self.covariance = given
        self._root = jnp.asarray((vectors * np.sqrt(np.maximum(roots, 0))) @ vectors.T)

    @property
    def second_moment(self) -> Float[Array, "d d"]:
        """Σ."""
        if self.covariance is None:
            return jnp.eye(self.dimension)
        return self.covariance if self.covariance.ndim else self.covariance * jnp.eye(self.dimension)

    @property
    def description(self) -> str:
        """A few words for summaries."""
        kind = {None: "I", 0: "v·I", 2: "Σ"}[None if self.covariance is None else self.covariance.ndim]
        return f"Gaussian inputs N(0, {kind}) in {self.dimension} dimensions"

    def whiten(self, rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Rows times Σ^½."""
        if self._root is None:
            return rows
        return rows @ self._root if self._root.ndim else rows * self._root

    def homogeneous_scale(self, degree: float) -> float:
        """1.0: functions of z = Σ^{−½}x are over N(0, I)."""
        return 1.0

    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count d"]:
        """Independent draws (count, d)."""
        return self.whiten(jax.random.normal(key, (count, self.dimension)))

    def invariance_residual(self, matrix: Numbers) -> float:
        """max|TΣTᵀ − Σ|/max|Σ|."""
        t, sigma = np.asarray(as_float64(matrix, "matrix")), np.asarray(self.second_moment)
        return float(np.abs(t @ sigma @ t.T - sigma).max() / np.abs(sigma).max())


class SphereInputs(InputLaw):
    """x uniform on the sphere of radius R in R^d.

    Arguments:
        dimension: d ≥ 2.
        radius: R; √d if left out, so that E[xxᵀ] = I.

    Example:
        >>> SphereInputs(4).second_moment[0].tolist()
        [1.0, 0.0, 0.0, 0.0]
    """

    dimension: int = eqx.field(static=True)
    radius: float = eqx.field(static=True)

    def __init__(self, dimension: int, radius: float | None = None):
        whole_numbers(dimension=dimension)
        self.dimension = int(dimension)
        self.radius = math.sqrt(dimension) if radius is None else float(radius)
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise DataError(f"radius is {radius!r}, expected a positive number")

    @property
    def second_moment(self) -> Float[Array, "d d"]:
        """R²/d·I."""
        return self.radius**2 / self.dimension * jnp.eye(self.dimension)

    @property
    def description(self) -> str:
        """A few words for summaries."""
        return f"inputs on the sphere of radius {self.radius:.4g} in {self.dimension} dimensions"

    def whiten(self, rows: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """The rows themselves."""
        return rows

    def homogeneous_scale(self, degree: float) -> float:
        """R^q/E|z|^q for z ~ N(0, I)."""
        return self.radius**degree / chi_moment(self.dimension, degree)

    def sample(self, key: PRNGKeyArray, count: int) -> Float[Array, "count d"]:
        """Independent draws (count, d)."""
        normal = jax.random.normal(key, (count, self.dimension))
        return self.radius * normal / jnp.linalg.norm(normal, axis=1, keepdims=True)

    def invariance_residual(self, matrix: Numbers) -> float:
        """max|TTᵀ − I|."""
        t = np.asarray(as_float64(matrix, "matrix"))
        return float(np.abs(t @ t.T - np.eye(self.dimension)).max())
