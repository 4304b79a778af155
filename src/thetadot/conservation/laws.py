"""Laws: functions of the parameters that training conserves."""

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float

from thetadot.conservation.brackets import random_point
from thetadot.conservation.errors import ConservationError, NotALawError, NotPolynomialError
from thetadot.conservation.fields import VectorFields
from thetadot.conservation.polynomials import Polynomials, flint_context, stacked
from thetadot.numerics.exact import PRIME, rank_mod


class Laws:
    """Functions h_1, …, h_K of a state, each a polynomial, times e^{rate·t} for momentum.

    Build them with `known_laws`, `polynomial_laws`, `Laws.quadratic` or `Laws.polynomial`.

    Arguments:
        table: the polynomials.
        names: one per law.
        scales (K,): what each polynomial is divided by (1 by default).
        rates: factor e^{rate·t} of each law, t being the first entry of the state; None for none.

    Attributes:
        size: length of the state: P, or 2P + 1 for momentum, whose state is (t, θ, v).
    """

    def __init__(
        self,
        table: Polynomials,
        names: Sequence[str],
        scales: Any = None,
        rates: Sequence[Fraction] | None = None,
        proof: str = "",
    ):
        if len(names) != table.outputs:
            raise ConservationError(f"{len(names)} names were given for {table.outputs} laws")
        self.table, self.names, self.proof = table, tuple(names), proof
        self.scales = np.ones(len(names)) if scales is None else np.asarray(scales, float)
        self.rates = tuple(rates) if rates is not None and any(rates) else None

    def __len__(self) -> int:
        return self.table.outputs

    def __repr__(self) -> str:
        return f"{len(self)} laws of {self.size} numbers"

    @property
    def size(self) -> int:
        """Length of the state."""
        return self.table.size

    @classmethod
    def quadratic(cls, forms: Sequence[Any], names: Sequence[str] | None = None) -> "Laws":
        """θᵀQθ for each symmetric form Q (size, size), dense or sparse.

        Raises:
            ConservationError: a form that is not symmetric or has another size.

        Example:
            >>> float(Laws.quadratic([np.diag([1.0, -1.0])])(jnp.array([2.0, 1.0]))[0])
            3.0
        """
        matrices: list[Any] = [scipy.sparse.coo_array(form) for form in forms]
        if not matrices:
            raise ConservationError("forms is empty: give at least one symmetric matrix")
        size = matrices[0].shape[0]
        components, scales = [], []
        for number, matrix in enumerate(matrices):
            if matrix.shape != (size, size) or abs(matrix - matrix.T).max() > 0:
                raise ConservationError(f"form {number} is not a symmetric ({size}, {size}) matrix")
            entries = [Fraction(float(value)) for value in matrix.data]
            scale = max((entry.denominator for entry in entries), default=1)
            terms = [
                (int(entry * scale), ((int(i), 1), (int(j), 1)) if i != j else ((int(i), 2),))
                for entry, i, j in zip(entries, matrix.row, matrix.col, strict=True)
            ]
            components.append(terms)
            scales.append(float(scale))
        return cls(Polynomials.from_terms(size, components), names or _numbered(len(matrices)), scales)

    @classmethod
    def polynomial(
        cls, expressions: Sequence[Any], symbols: Sequence[Any], names: Sequence[str] | None = None
    ) -> "Laws":
        """SymPy polynomials with rational coefficients in the given symbols, which are the state in its order.

        Raises:
            NotPolynomialError: an expression is none.
        """
        table, scales = Polynomials.from_expressions(expressions, symbols)
        chosen = names or [str(expression) for expression in expressions]
        return cls(table, chosen, [float(scale) for scale in scales])

    def __call__(self, state: Float[Array | np.ndarray, " n"]) -> Float[Array, " K"]:
        """Values (K,) at a state, traceable."""
        return self.table(state) / self.scales * self._growth(state)

    def _growth(self, state: Any) -> Any:
        if self.rates is None:
            return jnp.ones(len(self))
        return jnp.exp(np.array([float(rate) for rate in self.rates]) * state[0])

    def gradient(self, state: Float[Array | np.ndarray, " n"]) -> Float[Array, "K n"]:
        """Gradients (K, size) at a state."""
        return jax.jacrev(self.__call__)(jnp.asarray(state))

    def values(self, states: Float[np.ndarray, "S n"]) -> Float[np.ndarray, "S K"]:
        """Values at many states, by sparse products in NumPy: O(monomials) each."""
        found = self.table.values(np.asarray(states, float)) / self.scales
        if self.rates is None:
            return found
        return found * np.exp(np.asarray(states)[:, :1] * np.array([float(rate) for rate in self.rates]))

    @functools.cached_property
    def quadratic_forms(self) -> tuple[scipy.sparse.csr_array, ...] | None:
        """The symmetric matrices Q of the quadratic parts; None if a law is of higher degree or depends on t."""
        table = self.table
        if self.rates is not None or table.degree > 2:
            return None
        forms = []
        for number in range(len(self)):
            mine = np.flatnonzero((table.owner == number) & (table.degrees == 2))
            i, j = table.factors[mine, 0], table.factors[mine, min(1, table.factors.shape[1] - 1)]
            half = table.coefficients[mine] / (2 * self.scales[number])
            forms.append(
                scipy.sparse.csr_array(
                    (np.concatenate([half, half]), (np.concatenate([i, j]), np.concatenate([j, i]))),
                    shape=(self.size, self.size),
                )
            )
        return tuple(forms)

    def independent(self, state: Any = None) -> int:
        """Rank of the gradients: generic (exact modulo a prime, thus never too large), or at a state.

        Arguments:
            state: (size,); floats count as the fractions that they are. None: a random point.
        """
        point = random_point(self.size, PRIME, 7) if state is None else residues_of(state, PRIME)
        return rank_mod(self.rows_mod(point, PRIME), PRIME) if len(self) else 0

    def rows_mod(self, point: np.ndarray, prime: int) -> np.ndarray:
        """Gradients at an integer point modulo a prime, each up to the factor e^{rate·t}/scale."""
        rows = self.table.jacobian_mod(point, prime)
        if self.rates is not None:
            from thetadot.conservation.dual_numbers import DualRing

            ring = DualRing(prime)
            values = self.table.evaluate(ring, ring.lift(point)[:, None])[0, 0]
            rates = [r.numerator * pow(r.denominator, -1, prime) % prime for r in self.rates]
            rows[:, 0] = (rows[:, 0] + values * np.array(rates, np.int64)) % prime
        return rows

    def __add__(self, other: "Laws") -> "Laws":
        """These laws and then the others."""
        if not len(other) or not len(self):
            return self if len(self) else other
        none = [Fraction(0)]
        rates = list(self.rates or none * len(self)) + list(other.rates or none * len(other))
        scales = np.concatenate([self.scales, other.scales])
        proof = self.proof if self.proof == other.proof else ""
        return Laws(stacked([self.table, other.table]), self.names + other.names, scales, rates, proof)


def _numbered(count: int) -> list[str]:
    return [f"law {k}" for k in range(count)]


def no_laws(size: int) -> Laws:
    """An empty list of laws."""
    return Laws(Polynomials.from_terms(size, []), [])


def residues_of(state: Any, prime: int) -> np.ndarray:
    """A real point scaled by a power of two to integers, modulo a prime; see `integers_of`."""
    return np.array([entry % prime for entry in integers_of(state)], np.int64)


def integers_of(state: Any) -> list[int]:
    """The integers k_i with state_i = k_i/2^m for the smallest common m (floats are dyadic fractions)."""
    fractions = [Fraction(float(entry)) for entry in np.asarray(state)]
    scale = max(entry.denominator for entry in fractions)
    return [int(entry * scale) for entry in fractions]


def verify_laws(fields: VectorFields, laws: Laws) -> None:
    """Prove that laws are conserved, as identities of polynomials.

    Raises:
        NotALawError: one is not, or the lift is too large for a proof.
    """
    if laws.size != fields.size:
        raise NotALawError(f"the laws are of {laws.size} numbers, the state has {fields.size}")
    try:
        generators = fields.generators()
    except ConservationError as error:
        raise NotALawError(f"laws of your own cannot be proved here: {error}") from error
    context = flint_context(laws.size)
    polynomials = laws.table.as_flint(context)
    for number, law in enumerate(polynomials):
        slopes = {k: law.derivative(k) for k in range(laws.size)}
        slopes = {k: slope for k, slope in slopes.items() if slope != 0}
        rate = Fraction(0) if laws.rates is None else laws.rates[number]
        if rate:
            slopes[0] = rate.denominator * slopes.get(0, 0) + rate.numerator * law
            slopes |= {k: rate.denominator * slope for k, slope in slopes.items() if k}
        for generator in generators:
            total = context.constant(0)
            for k, slope in slopes.items():
                if generator[k]:
                    part = Polynomials.from_terms(laws.size, [generator[k]]).as_flint(context)[0]
                    total += part * slope
            if total != 0:
                raise NotALawError(
                    f"{laws.names[number]!r} is not conserved: J(θ)∇h is not zero; hand in laws only, or leave "
                    "`laws` out"
                )


def require_polynomial(laws: Laws, degree: int, what: str) -> None:
    """Raise `NotPolynomialError` unless all laws are time-independent and of at most this degree."""
    if laws.rates is not None or laws.table.degree > degree:
        raise NotPolynomialError(f"{what} needs laws of degree at most {degree} that do not depend on time")
