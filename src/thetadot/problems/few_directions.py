"""Targets that see few directions: the norm of a projection, a product of two coordinates, a ridge."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics import gaussian
from thetadot.numerics.gaussian.moments import half_line_rule
from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.checks import Numbers, as_float64, is_concrete, require_finite
from thetadot.problems.errors import ShapeError, UnsupportedExpectation
from thetadot.problems.inputs import GaussianInputs, InputLaw
from thetadot.problems.targets import Target, as_given


class NormTarget(Target):
    """f*(x) = |x_H|, the length of the projection of x on a subspace H.

    Arguments:
        basis (d, k): orthonormal columns that span H, 1 ≤ k < d.
    """

    basis: Array

    def __init__(self, basis: Numbers):
        self.basis = as_float64(basis, "basis")
        require_orthonormal(self.basis)

    @property
    def description(self) -> str:
        """A word for summaries."""
        return f"norm of {self.basis.shape[1]} of {self.basis.shape[0]} coordinates"

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """|x_H|."""
        return jnp.sqrt(jnp.sum((x @ self.basis) ** 2, axis=1))

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """tr(P_H Σ)."""
        return jnp.sum(self.basis * (inputs.second_moment @ self.basis))

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """0: the target is even."""
        return jnp.zeros(self.basis.shape[0])

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """√v·(c_k/π)|ũ|h(|ũ_⊥|/|ũ|) with ũ = Σ^½u; needs ΣP_H = vP_H."""
        stretch = self._stretch(inputs)

        def relu_moment(rows: Array) -> Array:
            found = gaussian.norm_moment(inputs.whiten(rows), self.basis)
            return stretch * inputs.homogeneous_scale(2) * found

        return self.folded(relu_moment, incoming, inputs, as_activation(activation, slope))

    def _stretch(self, inputs: InputLaw) -> Array:
        """√v, v the variance along H."""
        if not isinstance(inputs, GaussianInputs):
            return jnp.asarray(1.0)
        moved = inputs.second_moment @ self.basis
        variance = jnp.sum(self.basis * moved) / self.basis.shape[1]
        off = jnp.max(jnp.abs(moved - variance * self.basis))
        if is_concrete(off) and float(off) > 1e-10 * float(variance):
            raise UnsupportedExpectation(
                f"a norm target needs inputs that are isotropic along H and uncorrelated with the rest: ΣP_H − vP_H is "
                f"{float(off):.2g}; use a subspace of eigenvectors of one eigenvalue"
            )
        return jnp.sqrt(variance)


def require_orthonormal(basis: Array) -> None:
    """Raise `ShapeError` unless basis (d, k), 1 ≤ k < d, has orthonormal columns."""
    if basis.ndim != 2 or not 1 <= basis.shape[1] < basis.shape[0]:
        raise ShapeError(f"basis has shape {basis.shape}, expected (d, k) with 1 ≤ k < d")
    require_finite(basis, "basis")
    gap = np.abs(np.asarray(basis).T @ np.asarray(basis) - np.eye(basis.shape[1])).max()
    if gap > 1e-10:
        raise ShapeError(f"basis must have orthonormal columns, BᵀB − I is {gap:.2g}: use numpy.linalg.qr")


class ProductTarget(Target):
    """f*(x) = x_i x_j.

    Arguments:
        i, j: coordinates from 0, which may be equal.
    """

    i: int = eqx.field(static=True)
    j: int = eqx.field(static=True)

    def __post_init__(self):
        if min(self.i, self.j) < 0:
            raise ShapeError(f"coordinates are {self.i} and {self.j}, expected whole numbers from 0")

    @property
    def description(self) -> str:
        """A word for summaries."""
        return f"product x{self.i + 1}·x{self.j + 1}"

    def _check(self, inputs: InputLaw) -> None:
        if max(self.i, self.j) >= inputs.dimension:
            raise ShapeError(
                f"coordinates {self.i} and {self.j} do not exist in {inputs.dimension} dimensions"
            )

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """x_i x_j."""
        return x[:, self.i] * x[:, self.j]

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """Σ_iiΣ_jj + 2Σ_ij² (of the Gaussian of the same kind, scaled on the sphere)."""
        self._check(inputs)
        gaussian_inputs = isinstance(inputs, GaussianInputs)
        sigma = inputs.second_moment if gaussian_inputs else jnp.eye(inputs.dimension)
        found = sigma[self.i, self.i] * sigma[self.j, self.j] + 2.0 * sigma[self.i, self.j] ** 2
        return inputs.homogeneous_scale(4) * found

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """0: the target is even."""
        return jnp.zeros(inputs.dimension)

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """(Σ_ij|Σ^½u| + (Σu)_i(Σu)_j/|Σ^½u|)/√(2π)."""
        self._check(inputs)
        sigma = inputs.second_moment if isinstance(inputs, GaussianInputs) else None

        def relu_moment(rows: Array) -> Array:
            return inputs.homogeneous_scale(3) * gaussian.product_moment(rows, self.i, self.j, sigma)

        return self.folded(relu_moment, incoming, inputs, as_activation(activation, slope))


class RidgeTarget(Target):
    """f*(x) = g(e·x), for Gaussian inputs.

    Arguments:
        function: g, elementwise, smooth on each half-line.
        direction (d,): e, a unit vector.
    """

    direction: Array
    function: Callable = eqx.field(static=True)

    def __init__(self, function: Callable, direction: Numbers):
        self.direction = as_given(direction, "direction")
        self.function = function
        length = float(np.linalg.norm(np.asarray(self.direction)))
        if abs(length - 1) > 1e-10:
            raise ShapeError(f"direction has length {length:.6g}, expected a unit vector")

    @property
    def description(self) -> str:
        """A word for summaries."""
        return "ridge target"

    def _seen(self, inputs: InputLaw) -> tuple[Callable, Array, Array]:
        """z ↦ g(|Σ^½e|z), the unit vector of Σ^½e, and |Σ^½e|."""
        if not isinstance(inputs, GaussianInputs):
            raise UnsupportedExpectation(
                "a ridge target needs Gaussian inputs: on a sphere only homogeneous targets are known"
            )
        white = inputs.whiten(self.direction[None, :])[0]
        if inputs.covariance is None:
            return self.function, white, jnp.asarray(1.0)
        length = jnp.sqrt(white @ white)
        return jax.tree_util.Partial(_stretched, self.function, length), white / length, length

    def evaluate(self, x: Float[Array, "N d"]) -> Float[Array, " N"]:
        """g(e·x)."""
        return self.function(x @ self.direction)

    def power(self, inputs: InputLaw) -> Float[Array, ""]:
        """E[g²]."""
        nodes, weights = (jnp.asarray(part) for part in half_line_rule())
        return weights @ self._seen(inputs)[0](nodes) ** 2

    def correlation(self, inputs: InputLaw) -> Float[Array, " d"]:
        """Σe E[g(e·x)e·x]/(e·Σe)."""
        nodes, weights = (jnp.asarray(part) for part in half_line_rule())
        function, _, length = self._seen(inputs)
        return (inputs.second_moment @ self.direction) * ((weights * nodes) @ function(nodes)) / length

    def moment(
        self, incoming: Float[Array, "m d"], inputs: InputLaw, activation: Activation, slope: float = 0.01
    ) -> Float[Array, " m"]:
        """By quadrature on the two half-lines, to 2e-14."""
        function, direction, _ = self._seen(inputs)

        def relu_moment(rows: Array) -> Array:
            return gaussian.ridge_moment(function, direction, inputs.whiten(rows))

        return self.folded(relu_moment, incoming, inputs, as_activation(activation, slope))


def _stretched(function: Callable, length: Any, z: Array) -> Array:
    return function(length * z)
