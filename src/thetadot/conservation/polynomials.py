"""Several integer polynomials at once, as one table of monomials: evaluated over any ring, differentiated exactly."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import sympy
from jaxtyping import Array, Float, Int

from thetadot.conservation.dual_numbers import DualRing, grouped
from thetadot.conservation.errors import NotPolynomialError

Term = tuple[int, tuple[tuple[int, int], ...]]
"""(coefficient, ((variable, power), …))."""


@dataclasses.dataclass(frozen=True, eq=False)
class Polynomials:
    """`outputs` polynomials in `size` variables.

    Attributes:
        size, outputs: number of variables and of polynomials.
        owner (M,): which polynomial each monomial belongs to.
        factors (M, degree): its variables, repeated by their powers; `size` stands for 1.
        coefficients (M,): integers; no monomial of a polynomial occurs twice.
    """

    size: int
    outputs: int
    owner: Int[np.ndarray, " M"]
    factors: Int[np.ndarray, "M degree"]
    coefficients: Int[np.ndarray, " M"]

    @classmethod
    def from_terms(cls, size: int, components: Sequence[Iterable[Term]]) -> "Polynomials":
        """From one list of (coefficient, ((variable, power), …)) per polynomial; equal monomials are added."""
        gathered: list[tuple[int, tuple[int, ...], int]] = []
        for number, terms in enumerate(components):
            sums: dict[tuple[int, ...], int] = {}
            for coefficient, powers in terms:
                key = tuple(sorted(v for variable, power in powers for v in [variable] * power))
                sums[key] = sums.get(key, 0) + int(coefficient)
            gathered += [(number, key, value) for key, value in sums.items() if value]
        degree = max((len(key) for _, key, _ in gathered), default=0)
        factors = np.full((len(gathered), max(degree, 1)), size, np.int64)
        for row, (_, key, _) in enumerate(gathered):
            factors[row, : len(key)] = key
        if any(abs(value) >= 2**62 for *_, value in gathered):
            raise NotPolynomialError("a coefficient exceeds 2**62: scale the expressions down")
        owner = np.array([number for number, *_ in gathered], np.int64)
        return cls(size, len(components), owner, factors, np.array([v for *_, v in gathered], np.int64))

    @classmethod
    def from_expressions(
        cls, expressions: Sequence[Any], symbols: Sequence[Any]
    ) -> tuple["Polynomials", tuple[int, ...]]:
        """From SymPy expressions, and the integer by which each was multiplied to clear its denominators.

        Raises:
            NotPolynomialError: an expression is not a polynomial with rational coefficients in the symbols.
        """
        components, scales = [], []
        for expression in expressions:
            try:
                polynomial = sympy.Poly(sympy.sympify(expression), *symbols, domain="QQ")
            except (sympy.PolynomialError, sympy.CoercionFailed, ValueError) as error:
                raise NotPolynomialError(
                    f"{expression} is not a polynomial with rational coefficients in "
                    f"{', '.join(map(str, symbols))}: write floats as sympy.Rational, or use FunctionLift"
                ) from error
            terms = [
                (Fraction(int(coefficient.p), int(coefficient.q)), exponents)
                for exponents, coefficient in polynomial.terms()
            ]
            scale = math.lcm(*(coefficient.denominator for coefficient, _ in terms))
            scales.append(scale)
            components.append(
                [
                    (int(coefficient * scale), tuple((v, e) for v, e in enumerate(exponents) if e))
                    for coefficient, exponents in terms
                ]
            )
        return cls.from_terms(len(symbols), components), tuple(scales)

    @property
    def degree(self) -> int:
        """The largest degree of a monomial."""
        return int(self.degrees.max(initial=0))

    @functools.cached_property
    def degrees(self) -> Int[np.ndarray, " M"]:
        """Degree of every monomial."""
        return np.sum(self.factors < self.size, axis=1)

    @functools.cached_property
    def terms(self) -> list[list[Term]]:
        """One list of (coefficient, ((variable, power), …)) per polynomial."""
        components: list[list[Term]] = [[] for _ in range(self.outputs)]
        for owner, factors, coefficient in zip(self.owner, self.factors, self.coefficients, strict=True):
            variables, powers = np.unique(factors[factors < self.size], return_counts=True)
            pairs = tuple(zip(variables.tolist(), powers.tolist(), strict=True))
            components[owner].append((int(coefficient), pairs))
        return components

    def listed(self) -> list[list[Any]]:
        """The terms as JSON-able lists [coefficient, [[variable, power], …]]."""
        return [[[c, [list(pair) for pair in powers]] for c, powers in terms] for terms in self.terms]

    @functools.cached_property
    def derivatives(self) -> tuple["Polynomials", Int[np.ndarray, " D"], Int[np.ndarray, " D"]]:
        """(table, polynomial, variable): row r of the table is ∂ polynomial[r] / ∂ variable[r], those not zero."""
        slots = self.factors.shape[1]
        owner, variable = np.repeat(self.owner, slots), self.factors.ravel()
        rest = np.stack([np.delete(self.factors, slot, axis=1) for slot in range(slots)], axis=1)
        rest = rest.reshape(-1, slots - 1) if slots > 1 else np.full((variable.size, 1), self.size)
        keep = variable < self.size
        coefficients = np.repeat(self.coefficients, slots)[keep]
        entries, row = np.unique(owner[keep] * self.size + variable[keep], return_inverse=True)
        table = Polynomials(self.size, entries.size, row, rest[keep], coefficients)
        return table, entries // self.size, entries % self.size

    def evaluate(self, ring: DualRing, state: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """Values over a ring of dual numbers."""
        products = ring.multiply(self._products(ring, state), ring.lift(self.coefficients)[:, None])
        return ring.segment_sum(products, *self._groups, self.outputs)

    def _products(self, ring: DualRing, state: np.ndarray) -> np.ndarray:
        one = np.zeros((*state.shape[:-1], 1), np.int64)
        one[0] = 1
        padded = np.concatenate([state, one], axis=-1)
        columns = [padded[..., column] for column in self.factors.T]
        return functools.reduce(ring.multiply, columns)

    @functools.cached_property
    def _groups(self):
        return grouped(self.owner)

    def pullback(
        self, ring: DualRing, state: Int[np.ndarray, "..."], cotangent: Int[np.ndarray, "..."]
    ) -> Int[np.ndarray, "..."]:
        """Σ_i cotangent_i ∇φ_i over a ring of dual numbers."""
        table, outputs, _ = self.derivatives
        values = ring.multiply(table.evaluate(ring, state), cotangent[..., outputs])
        return ring.segment_sum(values, *self._variable_groups, self.size)

    @functools.cached_property
    def _variable_groups(self):
        return grouped(self.derivatives[2])

    def jacobian_mod(self, point: Int[np.ndarray, " n"], prime: int) -> Int[np.ndarray, "outputs n"]:
        """The Jacobian at an integer point, modulo a prime."""
        table, outputs, variables = self.derivatives
        ring = DualRing(prime)
        dense = np.zeros((self.outputs, self.size), np.int64)
        dense[outputs, variables] = table.evaluate(ring, ring.lift(point)[:, None])[0, 0]
        return dense

    def jacobian(self, point: Float[np.ndarray, " n"]) -> scipy.sparse.csr_array:
        """The Jacobian at a real point, sparse."""
        table, outputs, variables = self.derivatives
        values = table.values(np.asarray(point)[None])[0]
        starts = np.concatenate([[0], np.cumsum(np.bincount(outputs, minlength=self.outputs))])
        return scipy.sparse.csr_array((values, variables, starts), shape=(self.outputs, self.size))

    def values(self, points: Float[np.ndarray, "S n"]) -> Float[np.ndarray, "S outputs"]:
        """Values at real points, by NumPy."""
        padded = np.concatenate([points, np.ones((points.shape[0], 1))], axis=1)
        products = functools.reduce(np.multiply, [padded[:, column] for column in self.factors.T])
        # Row by row: a sparse matrix times several columns is slower than one column at a time.
        return (
            np.stack([self.summation @ row for row in products])
            if len(points)
            else np.zeros((0, self.outputs))
        )

    @functools.cached_property
    def summation(self) -> scipy.sparse.csr_array:
        """(outputs, M): coefficients, which sum the products of factors."""
        entries = (self.coefficients.astype(float), (self.owner, np.arange(self.owner.size)))
        return scipy.sparse.csr_array(entries, shape=(self.outputs, self.owner.size))

    def __call__(self, point: Float[Array | np.ndarray, " n"]) -> Float[Array, " outputs"]:
        """Values at one real point, traceable by JAX."""
        padded = jnp.concatenate([point, jnp.ones(1)])
        products = functools.reduce(jnp.multiply, [padded[column] for column in self.factors.T])
        return jax.ops.segment_sum(
            products * self.coefficients.astype(float), self.owner, num_segments=self.outputs
        )

    def as_flint(self, context: Any) -> list[Any]:
        """As FLINT's sparse integer polynomials."""
        found = []
        for terms in self.terms:
            entries = {}
            for coefficient, powers in terms:
                exponents = [0] * self.size
                for variable, power in powers:
                    exponents[variable] = power
                entries[tuple(exponents)] = entries.get(tuple(exponents), 0) + coefficient
            found.append(context.from_dict(entries))
        return found

    def as_sympy(self, symbols: Sequence[Any]) -> list[Any]:
        """As SymPy expressions."""
        return [
            sympy.Add(*(c * sympy.Mul(*(symbols[v] ** e for v, e in powers)) for c, powers in terms))
            for terms in self.terms
        ]


def flint_context(size: int) -> Any:
    """FLINT's ring of integer polynomials in `size` variables."""
    return flint.fmpz_mpoly_ctx.get([f"t{i}" for i in range(size)], flint.Ordering.lex)


def stacked(parts: Sequence[Polynomials]) -> Polynomials:
    """The polynomials of several tables in the same variables, one after another."""
    slots = max(part.factors.shape[1] for part in parts)
    owner, factors, shift = [], [], 0
    for part in parts:
        padding = ((0, 0), (0, slots - part.factors.shape[1]))
        owner.append(part.owner + shift)
        factors.append(np.pad(part.factors, padding, constant_values=part.size))
        shift += part.outputs
    coefficients = np.concatenate([part.coefficients for part in parts])
    return Polynomials(parts[0].size, shift, np.concatenate(owner), np.concatenate(factors), coefficients)


def shifted(part: Polynomials, start: int, size: int) -> Polynomials:
    """The same polynomials in the variables start, start+1, … of `size`."""
    factors = np.where(part.factors < part.size, part.factors + start, size)
    return Polynomials(size, part.outputs, part.owner, factors, part.coefficients)
