"""All polynomial laws of a given degree, by exact linear algebra."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import scipy.sparse
import sympy

from thetadot.conservation.brackets import random_point
from thetadot.conservation.dual_numbers import DualRing, random_residues
from thetadot.conservation.errors import ConservationError, NotPolynomialError, PathExplosionError
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import FunctionLift, Lift, PolynomialLift
from thetadot.conservation.polynomials import Polynomials
from thetadot.numerics.exact import PRIME, integral, null_space_mod, pivots_mod

_PRIMES = (PRIME, 2147483629, 2147483587)


@dataclasses.dataclass(frozen=True)
class PolynomialLaws:
    """What `polynomial_laws` found.

    Attributes:
        laws: a basis of all polynomial laws of the degree, with integer coefficients.
        expressions: the same in SymPy, in the lift's symbols or theta_0, theta_1, ….
        space_dimension: their number. It counts products of laws of lower degree too.
        independent: generic rank of their gradients: how many are independent as functions.
        system_shape: (equations, unknown coefficients).
        proof: "identity" (each is a law, as an identity of polynomials) or "random" (at random points only).
    """

    laws: Laws
    expressions: tuple[Any, ...]
    space_dimension: int
    independent: int
    system_shape: tuple[int, int]
    proof: str


def polynomial_laws(
    lift: Lift, degree: int, homogeneous: bool = True, max_monomials: int = 20_000
) -> PolynomialLaws:
    """All polynomials h of a degree with ⟨∇h, ∇φ_i⟩ = 0 for every component of a lift.

    Arguments:
        degree: of h.
        homogeneous: only monomials of exactly this degree; False: of degree 1 up to it.
        max_monomials: largest number of unknown coefficients.

    Raises:
        ConservationError: more unknowns than that.
        NotPolynomialError: a lift without polynomial form.

    Source: the linear system is that of arXiv 2307.00144.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> polynomial_laws(LinearLift((1, 1, 1)), 2).expressions
        (-theta_0**2 + theta_1**2,)
    """
    if isinstance(lift, FunctionLift):
        raise NotPolynomialError("a FunctionLift has no polynomial form: give a PolynomialLift")
    if degree < 1:
        raise ConservationError(f"degree is {degree}, expected at least 1")
    degrees = [degree] if homogeneous else list(range(1, degree + 1))
    unknowns = sum(math.comb(lift.size + k - 1, k) for k in degrees)
    if unknowns > max_monomials:
        raise ConservationError(
            f"{unknowns} monomials of degree {degree} in {lift.size} variables, at most {max_monomials}: lower "
            "the degree or raise max_monomials"
        )
    monomials = [m for k in degrees for m in itertools.combinations_with_replacement(range(lift.size), k)]
    try:
        system = _system(lift.polynomials(), monomials)
        vectors, proof = _integer_null_space(system), "identity"
    except PathExplosionError:
        system = _sampled(lift, monomials)
        vectors, proof = _integer_null_space(system, residues=True), "random"
    components = [[(c, _powers(monomials[k])) for k, c in enumerate(vector) if c] for vector in vectors]
    table = Polynomials.from_terms(lift.size, components)
    symbols = lift.symbols if isinstance(lift, PolynomialLift) else sympy.symbols(f"theta_0:{lift.size}")
    expressions = tuple(table.as_sympy(symbols))
    laws = Laws(table, [str(e) for e in expressions], proof="identity" if proof == "identity" else "")
    shape = (int(system.shape[0]), len(monomials))
    return PolynomialLaws(laws, expressions, len(vectors), laws.independent(), shape, proof)


def _powers(monomial: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((variable, monomial.count(variable)) for variable in sorted(set(monomial)))


def _system(table: Polynomials, monomials: list[tuple[int, ...]]) -> Any:
    """One row per monomial that occurs in some ⟨∇h, ∇φ_i⟩, one column per coefficient of h."""
    slopes: list[dict[int, list[tuple[int, tuple[int, ...]]]]] = []
    for terms in table.terms:
        by_variable: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for coefficient, powers in terms:
            whole = tuple(v for v, e in powers for _ in range(e))
            for variable, power in powers:
                place = whole.index(variable)
                rest = whole[:place] + whole[place + 1 :]
                by_variable.setdefault(variable, []).append((coefficient * power, rest))
        slopes.append(by_variable)
    rows: dict[tuple, int] = {}
    entries: dict[tuple[int, int], int] = {}
    for column, monomial in enumerate(monomials):
        for variable in set(monomial):
            place = monomial.index(variable)
            rest = monomial[:place] + monomial[place + 1 :]
            factor = monomial.count(variable)
            for i, by_variable in enumerate(slopes):
                for coefficient, other in by_variable.get(variable, ()):
                    row = rows.setdefault((i, tuple(sorted(rest + other))), len(rows))
                    entries[row, column] = entries.get((row, column), 0) + factor * coefficient
    places = np.array(list(entries), np.int64).reshape(-1, 2)
    data = np.array(list(entries.values()), np.int64)
    matrix = scipy.sparse.csr_array((data, (places[:, 0], places[:, 1])), shape=(len(rows), len(monomials)))
    return matrix


def _sampled(lift: Lift, monomials: list[tuple[int, ...]]) -> Any:
    """Equations at random points modulo the prime, for lifts whose components cannot be listed."""
    ring, size = DualRing(PRIME), lift.size
    table = Polynomials.from_terms(size, [[(1, _powers(monomial))] for monomial in monomials])
    rows: list[np.ndarray] = []
    number = 0
    while sum(len(part) for part in rows) < len(monomials) + 3 * size:
        point = random_point(size, PRIME, 100 + number)
        labels = np.arange(size + 2) + number * (size + 2)
        picked = random_residues(labels, lift.cotangent_size, PRIME)
        state = np.repeat(ring.lift(point)[:, None], len(labels), axis=1)
        fields = lift.pullback(ring, state, picked)[0]
        fields = fields[pivots_mod(fields)]  # more equations at one point say nothing new
        if not len(fields):
            break
        rows.append(ring.matmul(fields[None], table.jacobian_mod(point, PRIME).T[None])[0])
        number += 1
    return scipy.sparse.csr_array(np.concatenate(rows) if rows else np.zeros((0, len(monomials)), np.int64))


def _integer_null_space(system: Any, residues: bool = False) -> list[list[int]]:
    """Integer basis of the null space: found modulo a prime, made rational, checked against every equation.

    Entries that are residues modulo the default prime can be solved and checked modulo that prime only.
    """
    dense = system.toarray()
    for prime in _PRIMES[:1] if residues else _PRIMES:
        vectors = [integral(row, prime) for row in null_space_mod(dense, prime)]
        whole = [vector for vector in vectors if vector is not None]
        if len(whole) < len(vectors):
            continue
        matrix = np.array(whole, dtype=object).reshape(-1, system.shape[1])
        if residues:
            ring = DualRing(prime)
            columns = np.array(matrix % prime, np.int64).T
            products = ring.matmul(ring.lift(dense), ring.lift(columns))
        else:
            products = system @ matrix.astype(np.int64).T
        if not np.any(products):
            return whole
    raise ConservationError("the null space has no small rational basis: lower the degree")
