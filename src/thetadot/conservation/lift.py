"""Lifts z = φ(θ): what a network computes, as a function of its parameters, for every data set at once."""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import sympy
from jaxtyping import Array, Float, Int

from thetadot.conservation.dual_numbers import DualRing
from thetadot.conservation.errors import ConservationError, NotPolynomialError, PathExplosionError
from thetadot.conservation.polynomials import Polynomials, shifted, stacked

Residues = Int[np.ndarray, "..."]

_MOST_TERMS = 2_000_000


class Lift(abc.ABC):
    """A map φ: R^P → R^d through which the loss sees the parameters, L(θ) = f(φ(θ)).

    The span W of its gradients ∇φ_i holds every direction in which training can push, whatever data and loss. `size`
    is P, `dimension` is d (exact; it may be too large to list the components).
    """

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """P, the number of parameters."""

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """d, the number of components."""

    @abc.abstractmethod
    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """φ(θ), traceable by JAX."""

    @property
    def cotangent_size(self) -> int:
        """How many numbers pick one member of W (see `pullback`)."""
        return self.dimension

    def pullback(self, ring: DualRing, theta: Residues, picked: Residues) -> Residues:
        """Members of W over a ring: theta (D, B, P), picked (B, cotangent_size) residues → (D, B, P).

        Members picked at random span W with overwhelming probability.
        """
        return self.polynomials().pullback(ring, theta, ring.lift(picked))

    def polynomials(self) -> Polynomials:
        """The components as polynomials with integer coefficients (each up to a factor).

        Raises:
            NotPolynomialError: they are none.
            PathExplosionError: they have too many monomials to list.
        """
        raise NotPolynomialError(
            f'{type(self).__name__} has no polynomial form: count with arithmetic="float64"'
        )

    def definition(self) -> dict:
        """The lift as JSON-able data, from which a certificate is checked."""
        table = self.polynomials()
        return {"kind": "polynomial", "size": self.size, "components": table.listed()}


class LinearLift(Lift):
    """The product z = U_L ⋯ U_1 of a deep linear network.

    Arguments:
        widths: (n_0, …, n_L), input first. θ = U_1 row-major, then U_2, …; z row-major (n_L, n_0).

    Example:
        >>> LinearLift((2, 3, 1))(jnp.ones(9)).tolist()
        [3.0, 3.0]
    """

    def __init__(self, widths: Sequence[int]):
        if len(widths) < 2 or min(widths) < 1:
            raise ConservationError(f"widths is {tuple(widths)}: expected at least two positive widths")
        self.widths = tuple(int(width) for width in widths)

    def __repr__(self) -> str:
        return f"LinearLift({self.widths})"

    @property
    def depth(self) -> int:
        """L, the number of factors."""
        return len(self.widths) - 1

    @property
    def size(self) -> int:
        """P."""
        return sum(a * b for a, b in zip(self.widths[:-1], self.widths[1:], strict=True))

    @property
    def dimension(self) -> int:
        """n_L · n_0."""
        return self.widths[-1] * self.widths[0]

    def factors(self, theta: Any) -> list[Any]:
        """[U_1, …, U_L] of θ (…, P), each (…, n_i, n_{i−1})."""
        found, start = [], 0
        for fan_in, fan_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            part = theta[..., start : start + fan_in * fan_out]
            found.append(part.reshape(*part.shape[:-1], fan_out, fan_in))
            start += fan_in * fan_out
        return found

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """The product, row-major."""
        return functools.reduce(
            lambda product, factor: factor @ product, self.factors(jnp.asarray(theta))
        ).ravel()

    def pullback(self, ring: DualRing, theta: Residues, picked: Residues) -> Residues:
        """∂_{U_i} = (U_L…U_{i+1})ᵀ w (U_{i−1}…U_1)ᵀ with w (n_L, n_0) row-major."""
        factors = self.factors(theta)
        transposed = [np.swapaxes(factor, -1, -2) for factor in factors]
        w = ring.lift(picked).reshape(1, picked.shape[0], self.widths[-1], self.widths[0])
        left = [w]  # (U_L…U_{i+1})ᵀ w, from the last layer down
        for factor in transposed[:0:-1]:
            left.append(ring.matmul(factor, left[-1]))
        gradients = [left[-1]]
        right = transposed[0]
        for i in range(1, self.depth):
            gradients.append(ring.matmul(left[self.depth - 1 - i], right))
            if i + 1 < self.depth:
                right = ring.matmul(right, transposed[i])
        length = max(part.shape[0] for part in gradients)
        whole = np.zeros((length, picked.shape[0], self.size), np.int64)
        start = 0
        for part in gradients:
            flat = part.reshape(part.shape[0], picked.shape[0], -1)
            whole[: part.shape[0], :, start : start + flat.shape[-1]] = flat
            start += flat.shape[-1]
        return whole

    def polynomials(self) -> Polynomials:
        """Each entry as the sum over its paths."""
        return self._table

    @functools.cached_property
    def _table(self) -> Polynomials:
        inner = int(np.prod(self.widths[1:-1], dtype=object)) * self.dimension
        if inner > _MOST_TERMS:
            raise PathExplosionError(f"{self} has {inner} monomials, at most {_MOST_TERMS} are listed")
        numbers = self.factors(np.arange(self.size))
        index = np.indices(self.widths[::-1]).reshape(self.depth + 1, -1)  # n_L … n_0
        factors = np.stack(
            [numbers[self.depth - 1 - k][index[k], index[k + 1]] for k in range(self.depth)], axis=1
        )
        owner = index[0] * self.widths[0] + index[-1]
        return Polynomials(
            self.size, self.dimension, owner, factors[:, ::-1].copy(), np.ones(len(owner), np.int64)
        )

    def definition(self) -> dict:
        """Widths."""
        return {"kind": "linear", "widths": list(self.widths)}


class PolynomialLift(Lift):
    """A lift given by polynomials with rational coefficients.

    Arguments:
        expressions: SymPy expressions, one per component.
        symbols: their variables, in the order of θ.

    Raises:
        NotPolynomialError: an expression is none.

    Example:
        >>> x, y = sympy.symbols("x y")
        >>> PolynomialLift([x**2 + 2 * y**2], [x, y])(jnp.array([1.0, 2.0])).tolist()
        [9.0]
    """

    def __init__(self, expressions: Sequence[Any], symbols: Sequence[Any]):
        self.symbols = tuple(symbols)
        self.expressions = tuple(sympy.sympify(expression) for expression in expressions)
        self._table, self._scales = Polynomials.from_expressions(self.expressions, self.symbols)

    @property
    def size(self) -> int:
        """P, the number of symbols."""
        return len(self.symbols)

    @property
    def dimension(self) -> int:
        """d, the number of expressions."""
        return len(self.expressions)

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """Values of the expressions."""
        return self._table(theta) / np.array(self._scales, float)

    def polynomials(self) -> Polynomials:
        """The expressions, each times its common denominator (which changes no span)."""
        return self._table


class MonomialLift(Lift):
    """A lift of monomials, φ_i = c_i Π_k θ_k^{A_ik}: diagonal networks, tied networks, listed paths.

    Arguments:
        exponents (d, P): integers ≥ 0, dense or sparse.
        coefficients (d,): c_i, not zero; 1 by default. They matter for values only, not for laws.

    Example:
        >>> MonomialLift(np.array([[1, 1, 1]]))(jnp.array([2.0, 3.0, 4.0])).tolist()
        [24.0]
    """

    def __init__(self, exponents: Any, coefficients: Any = None):
        matrix: Any = scipy.sparse.csr_array(exponents)
        if matrix.ndim != 2 or np.any(matrix.data < 0) or np.any(matrix.data != np.round(matrix.data)):
            raise NotPolynomialError("exponents must be a matrix of whole numbers ≥ 0, one row per component")
        self.exponents: Any = matrix.astype(np.int64)
        self.exponents.eliminate_zeros()
        scale = np.ones(self.exponents.shape[0]) if coefficients is None else np.asarray(coefficients, float)
        if scale.shape != (self.exponents.shape[0],) or np.any(scale == 0):
            raise NotPolynomialError("coefficients must be one number per component, none of them zero")
        self.coefficients = scale

    @property
    def size(self) -> int:
        """P."""
        return self.exponents.shape[1]

    @property
    def dimension(self) -> int:
        """d."""
        return self.exponents.shape[0]

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """Values of the monomials."""
        return self.polynomials()(theta) * self.coefficients

    def polynomials(self) -> Polynomials:
        """The monomials without their coefficients."""
        return self._table

    @functools.cached_property
    def _table(self) -> Polynomials:
        lengths = np.asarray(self.exponents.sum(axis=1)).ravel()
        coo = self.exponents.tocoo()
        variables = np.repeat(coo.col, coo.data)
        rows = np.repeat(coo.row, coo.data)
        factors = np.full((self.dimension, max(int(lengths.max(initial=0)), 1)), self.size, np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        factors[rows, np.arange(rows.size) - starts[rows]] = variables
        ones = np.ones(self.dimension, np.int64)
        return Polynomials(self.size, self.dimension, np.arange(self.dimension), factors, ones)


class FunctionLift(Lift):
    """Any JAX function (P,) → (d,) as a lift; counted in float64 only.

    Arguments:
        function: traceable, of θ (P,); returns an array of one axis.
        size: P.
        laws: `Laws` that are known of it, if any; they are believed.

    Example:
        >>> FunctionLift(lambda theta: jnp.sum(theta**2, keepdims=True), 3).dimension
        1
    """

    def __init__(self, function: Callable[[Array], Array], size: int, laws: Any = None):
        out = jax.eval_shape(function, jax.ShapeDtypeStruct((size,), np.float64))
        if getattr(out, "ndim", None) != 1:
            raise ConservationError(f"the function returns {out}: expected one array with one axis")
        self.function, self._size, self._dimension = function, size, out.shape[0]
        self.laws = laws

    @property
    def size(self) -> int:
        """P."""
        return self._size

    @property
    def dimension(self) -> int:
        """d."""
        return self._dimension

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """function(θ)."""
        return self.function(jnp.asarray(theta))


class BlockLift(Lift):
    """Several lifts side by side, each of its own consecutive slice of θ.

    Example:
        >>> BlockLift([LinearLift((1, 1)), LinearLift((2, 1))]).size
        3
    """

    def __init__(self, lifts: Sequence[Lift]):
        if not lifts:
            raise ConservationError("lifts is empty: give at least one lift")
        self.lifts = tuple(lifts)
        self.starts = np.concatenate([[0], np.cumsum([lift.size for lift in self.lifts])])

    @property
    def size(self) -> int:
        """P, the sum over the blocks."""
        return int(self.starts[-1])

    @property
    def dimension(self) -> int:
        """d, the sum over the blocks."""
        return sum(lift.dimension for lift in self.lifts)

    def parts(self, theta: Any) -> list[Any]:
        """θ (…, P) cut into the blocks' own parameters."""
        return [theta[..., a:b] for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def __call__(self, theta: Float[Array | np.ndarray, " P"]) -> Float[Array, " d"]:
        """The blocks' values, one after another."""
        return jnp.concatenate(
            [lift(part) for lift, part in zip(self.lifts, self.parts(jnp.asarray(theta)), strict=True)]
        )

    @property
    def cotangent_size(self) -> int:
        """The sum over the blocks."""
        return sum(lift.cotangent_size for lift in self.lifts)

    def pullback(self, ring: DualRing, theta: Residues, picked: Residues) -> Residues:
        """The blocks' members of W, one after another."""
        found, start = [], 0
        for lift, part in zip(self.lifts, self.parts(theta), strict=True):
            found.append(lift.pullback(ring, part, picked[:, start : start + lift.cotangent_size]))
            start += lift.cotangent_size
        length = max(part.shape[0] for part in found)
        padding = [((0, length - part.shape[0]), (0, 0), (0, 0)) for part in found]
        return np.concatenate([np.pad(p, pad) for p, pad in zip(found, padding, strict=True)], axis=-1)

    def polynomials(self) -> Polynomials:
        """The blocks' polynomials, one after another."""
        pairs = zip(self.lifts, self.starts[:-1], strict=True)
        return stacked([shifted(lift.polynomials(), int(start), self.size) for lift, start in pairs])

    def definition(self) -> dict:
        """The blocks' definitions."""
        return {"kind": "blocks", "lifts": [lift.definition() for lift in self.lifts]}


def attention_lift(model_width: int, head_width: int, heads: int = 1) -> BlockLift:
    """What an attention layer computes with its parameters: QK and OV of every head.

    θ runs head by head: K (r, m), Q (m, r), V (r, m), O (m, r), row-major; z = QK and OV, m the model width, r the head
    width.

    Example:
        >>> attention_lift(3, 2).dimension
        18
    """
    return BlockLift([LinearLift((model_width, head_width, model_width)) for _ in range(2 * heads)])
