"""Exact linear algebra against constructions whose rank and null space are known."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thetadot.numerics.exact import (
    PRIME,
    ExactArithmeticError,
    integral,
    null_space_mod,
    pivots_mod,
    rank,
    rank_mod,
    rational,
    require_prime,
)


def of_rank(r, height, width, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-9, 10, (height, r)), rng.integers(-9, 10, (r, width))
    left[:r, :r], right[:r, :r] = np.eye(r), np.eye(r)
    return left @ right


@given(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.integers(0, 100))
def test_rank_pivots_and_null_space_agree_with_the_construction(r, more_rows, more_columns, seed):
    matrix = of_rank(r, r + more_rows + 1, r + more_columns + 1, seed)
    assert rank_mod(matrix) == rank(matrix) == r
    pivots = pivots_mod(matrix)
    assert len(pivots) == r == rank(matrix[pivots])
    assert pivots == sorted(pivots)
    null = null_space_mod(matrix)
    assert null.shape == (matrix.shape[1] - r, matrix.shape[1])
    assert rank_mod(null) == len(null)
    assert not np.any(matrix.astype(object) @ null.T.astype(object) % PRIME)


def test_a_rank_modulo_a_prime_may_be_too_small_but_never_too_large():
    matrix = np.array([[1, 0], [0, 7]])
    assert (rank_mod(matrix, 7), rank_mod(matrix), rank(matrix)) == (1, 2, 2)


def test_ranks_over_the_rationals_take_integers_of_any_size():
    big = 10**40
    assert rank([[big, big + 1], [big * big, big * (big + 1)]]) == 1
    assert rank([[big, big + 1], [big * big, big * (big + 1) + 1]]) == 2


@given(st.integers(-32_000, 32_000), st.integers(1, 32_000))
def test_small_fractions_are_read_back_from_their_residues(numerator, denominator):
    residue = numerator * pow(denominator, -1, PRIME) % PRIME
    assert rational(residue) == Fraction(numerator, denominator)
    lowest = Fraction(numerator, denominator)
    assert integral([residue, 1]) == [lowest.numerator, lowest.denominator]


def test_residues_of_no_small_fraction_are_refused():
    refused = [number for number in range(101) if rational(number, 101) is None]
    assert refused
    for number in set(range(101)) - set(refused):
        found = rational(number, 101)
        assert isinstance(found, Fraction)
        assert (found.numerator - number * found.denominator) % 101 == 0


@pytest.mark.parametrize("bad", [0, 3, 10, 2**31 + 11])
def test_moduli_that_are_no_primes_in_range_are_refused(bad):
    with pytest.raises(ExactArithmeticError, match="prime"):
        require_prime(bad)
