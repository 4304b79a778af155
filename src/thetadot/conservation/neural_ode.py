"""The infinitely deep linear network dX/ds = A(s)X, X(0) = I: its invariant, and its flow in Z = X(1) alone."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.conservation.errors import ConservationError

Gradient = Callable[[Float[Array, "n n"]], Float[Array, "n n"]]


@dataclasses.dataclass(frozen=True)
class Profile:
    """What `LinearNeuralODE.relaxed` found.

    Attributes:
        relaxed: H(s) = λ(s)I within the tolerance. imbalance (nodes,): λ = tr H/n.
        residual: largest ‖H − λI‖ relative to 1 + largest ‖A‖².
    """

    relaxed: bool
    imbalance: Float[np.ndarray, " nodes"]
    residual: float


class LinearNeuralODE(eqx.Module):
    """A linear network of infinite depth, its weights A(s) held at Chebyshev points of [0, 1].

    Arguments:
        width: n.
        nodes: number of points; 19 give about nine digits for smooth A of size 1.

    Attributes:
        positions (nodes,): ascending from 0 to 1. weights (nodes,): of Clenshaw–Curtis quadrature, the inner product
            ∫⟨A, B⟩ds in which training is a gradient flow.
        derivative (nodes, nodes): d/ds of polynomials.

    Source: the invariant and the closed flow are derived here; arXiv 2508.07370 (abstract) announces the latter.
        Collocation as in L. N. Trefethen, Spectral Methods in MATLAB (2000), chapters 6 and 12.

    Example:
        >>> ode = LinearNeuralODE(1)
        >>> bool(jnp.abs(ode.endpoint(jnp.ones((19, 1, 1)))[0, 0] - jnp.e) < 1e-12)
        True
    """

    width: int = eqx.field(static=True)
    positions: Float[Array, " nodes"]
    weights: Float[Array, " nodes"]
    derivative: Float[Array, "nodes nodes"]

    def __init__(self, width: int, nodes: int = 19):
        if width < 1 or nodes < 2:
            raise ConservationError(f"width is {width} and nodes {nodes}: expected at least 1 and 2")
        angles = np.pi * np.arange(nodes) / (nodes - 1)
        points = (1 - np.cos(angles)) / 2
        self.width = width
        self.positions = jnp.asarray(points)
        self.weights = jnp.asarray(_quadrature(nodes))
        self.derivative = jnp.asarray(_differentiation(points))

    @property
    def nodes(self) -> int:
        """Number of points."""
        return self.positions.shape[0]

    def transition(self, A: Float[Array, "nodes n n"]) -> Float[Array, "nodes n n"]:
        """X at the points, by one dense solve of size n·(nodes − 1)."""
        n, inner = self.width, self.nodes - 1
        system = jnp.einsum("ij,ab->iajb", self.derivative[1:, 1:], jnp.eye(n))
        system = system - jnp.einsum("ij,iab->iajb", jnp.eye(inner), A[1:])
        right = -jnp.einsum("i,ab->iab", self.derivative[1:, 0], jnp.eye(n))
        found = jnp.linalg.solve(system.reshape(inner * n, inner * n), right.reshape(inner * n, n))
        return jnp.concatenate([jnp.eye(n)[None], found.reshape(inner, n, n)])

    def endpoint(self, A: Float[Array, "nodes n n"]) -> Float[Array, "n n"]:
        """Z = X(1), what the network computes."""
        return self.transition(A)[-1]

    def invariant(self, A: Float[Array, "nodes n n"]) -> Float[Array, "nodes n n"]:
        """H(s) = d/ds(A + Aᵀ) + AᵀA − AAᵀ, which training conserves."""
        transposed = jnp.swapaxes(A, 1, 2)
        slope = jnp.einsum("ij,jab->iab", self.derivative, A + transposed)
        return slope + transposed @ A - A @ transposed

    def field(self, A: Float[Array, "nodes n n"], gradient: Gradient) -> Float[Array, "nodes n n"]:
        """dA(s)/dt = −Φ(1,s)ᵀ G Φ(s,0)ᵀ with G = ∇f(Z)."""
        states = self.transition(A)
        end = states[-1]
        onward = jnp.swapaxes(
            jnp.linalg.solve(jnp.swapaxes(states, 1, 2), jnp.swapaxes(end[None], 1, 2)), 1, 2
        )
        slope = gradient(end)
        return -jnp.swapaxes(onward, 1, 2) @ slope[None] @ jnp.swapaxes(states, 1, 2)

    def relaxed(self, A: Float[Array, "nodes n n"], tolerance: float = 1e-6) -> Profile:
        """Whether H(s) is a multiple of the identity at every s."""
        h = np.asarray(self.invariant(A))
        values = np.trace(h, axis1=1, axis2=2) / self.width
        off = np.linalg.norm(h - values[:, None, None] * np.eye(self.width), axis=(1, 2)).max()
        size = 1.0 + float(np.max(np.linalg.norm(np.asarray(A), axis=(1, 2)))) ** 2
        return Profile(bool(off <= tolerance * size), values, float(off / size))

    def relaxed_balanced(
        self,
        skew: Float[Array | np.ndarray, "n n"],
        symmetric: Float[Array | np.ndarray, "n n"],
        imbalance_integral: Float[Array | np.ndarray, " nodes"] | float = 0.0,
    ) -> Float[Array, "nodes n n"]:
        """A(s) = ½O(S₀ + (∫₀ˢλ)I)Oᵀ + Ω with O = e^{sΩ}, for which H(s) = λ(s)I exactly.

        Arguments:
            skew: Ω = −Ωᵀ. symmetric: S₀ = S₀ᵀ.
            imbalance_integral: ∫₀ˢλ at the points; 0 for balanced starts.

        Raises:
            ConservationError: Ω is not skew or S₀ not symmetric.
        """
        omega, start = jnp.asarray(skew), jnp.asarray(symmetric)
        if not (bool(jnp.allclose(omega, -omega.T)) and bool(jnp.allclose(start, start.T))):
            raise ConservationError(
                "skew must be skew-symmetric and symmetric symmetric: take (M − Mᵀ)/2, (M + Mᵀ)/2"
            )
        turns = jax.vmap(lambda s: jax.scipy.linalg.expm(s * omega))(self.positions)
        grown = jnp.broadcast_to(jnp.asarray(imbalance_integral), (self.nodes,))
        middle = start[None] + grown[:, None, None] * jnp.eye(self.width)[None]
        return 0.5 * turns @ middle @ jnp.swapaxes(turns, 1, 2) + omega[None]

    def finite_depth(self, A: Float[Array, "nodes n n"], depth: int) -> Float[Array, "depth n n"]:
        """The factors I + A(s_i)/depth at midpoints s_i: a deep linear network that approaches this one.

        Its factors move 1/depth as fast: dU_i/dt = −(1/depth)·∂f/∂U_i.
        """
        middles = (np.arange(depth) + 0.5) / depth
        interpolation = jnp.asarray(_interpolation(np.asarray(self.positions), middles))
        return jnp.eye(self.width)[None] + jnp.einsum("ij,jab->iab", interpolation, A) / depth


def _differentiation(points: np.ndarray) -> np.ndarray:
    count = points.size
    ends = np.ones(count)
    ends[[0, -1]] = 2.0
    signs = ends * (-1.0) ** np.arange(count)
    gaps = points[:, None] - points[None, :] + np.eye(count)
    matrix = np.outer(signs, 1 / signs) / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _quadrature(nodes: int) -> np.ndarray:
    """Clenshaw–Curtis weights on [0, 1]: exact for the Chebyshev polynomials up to degree nodes − 1."""
    k = np.arange(nodes)
    values = np.cos(np.pi * np.outer(k, k) / (nodes - 1))
    even = np.where(k % 2 == 0, 1.0 / (1.0 - np.where(k % 2 == 0, k, 0.0) ** 2.0), 0.0)
    return np.linalg.solve(values, even)


def _interpolation(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Barycentric interpolation from Chebyshev points."""
    weights = (-1.0) ** np.arange(points.size)
    weights[[0, -1]] /= 2
    gaps = at[:, None] - points[None, :]
    hit = gaps == 0
    terms = weights / np.where(hit, 1.0, gaps)
    rows = terms / terms.sum(axis=1, keepdims=True)
    exact = hit.any(axis=1)
    rows[exact] = hit[exact]
    return rows


def neural_ode_field(gradient: Gradient) -> Callable[[Float[Array, "n n"]], Float[Array, "n n"]]:
    """The flow of Z from relaxed-balanced starts: Z′ = −W[Λ∘(WᵀGY)]Yᵀ, Λ_ij the logarithmic mean of σ_i², σ_j².

    Z = W diag(σ) Yᵀ; the same as −∫₀¹(ZZᵀ)^{1−s} G (ZᵀZ)^s ds, whatever λ(s).

    Example:
        >>> neural_ode_field(lambda z: z)(jnp.array([[2.0]])).tolist()
        [[-8.0]]
    """

    def field(z: Float[Array, "n n"]) -> Float[Array, "n n"]:
        left, sigma, right_t = jnp.linalg.svd(z)
        logs = jnp.log(sigma)
        half = logs[:, None] - logs[None, :]  # half the difference of ln σ²
        means = sigma[:, None] * sigma[None, :] * _sinhc(half)
        return -left @ (means * (left.T @ gradient(z) @ right_t.T)) @ right_t

    return field


def _sinhc(x: Array) -> Array:
    """sinh(x)/x, by its series near 0."""
    near = jnp.abs(x) < 1e-3
    safe = jnp.where(near, 1.0, x)
    return jnp.where(near, 1.0 + x**2 / 6 + x**4 / 120, jnp.sinh(safe) / safe)
