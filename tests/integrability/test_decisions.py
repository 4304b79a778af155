"""The second-order decision against textbook groups, Kimura's table and equations made from their solutions."""

import itertools
import random
from fractions import Fraction

import pytest
import sympy
from sympy.solvers.ode.riccati import solve_riccati

from tests.oracles.second_order import GROUPS, NOT_ABELIAN, hypergeometric, reduced, x
from thetadot.integrability import (
    AlgebraicCoefficientError,
    GaloisGroup,
    InexactDataError,
    SymbolicParameterError,
    TriangularSystemError,
    exponent_differences,
    hypergeometric_equation,
    kimura,
    normal_form,
    reduce_equation,
    riccati_solution,
    second_order_galois,
    solvability_map,
    symmetric_power_invariant,
)
from thetadot.integrability.kimura import TABLE

R = sympy.Rational


@pytest.mark.parametrize("name", GROUPS)
def test_the_group_is_the_textbook_one(name):
    r, group = GROUPS[name]
    found = second_order_galois(r, x)
    assert found.group.name == group
    assert found.solvable is (group != "SL2")
    assert found.abelian is (group != "SL2" and name not in NOT_ABELIAN)
    solution = found.solution
    if solution is None:
        assert group == "SL2"
    elif solution.log_derivative is not None:
        assert _solves_riccati(solution.log_derivative, r)
    else:
        assert _symmetric_power(solution.invariant, r, solution.power) == 0


def _solves_riccati(u, r):
    """u' + u² = r, with polynomials of sympy."""
    (top, bottom), (above, below) = (
        [sympy.Poly(part, x) for part in sympy.fraction(sympy.together(e))] for e in (u, r)
    )
    left = top.diff(x) * bottom - top * bottom.diff(x) + top**2
    return (left * below - above * bottom**2).is_zero


def _symmetric_power(f, r, m):
    """The m-th symmetric power applied to F by its own recursion, with sympy alone."""
    above, current = sympy.S.Zero, -f
    for i in range(m, -1, -1):
        below = -sympy.diff(current, x) - (m - i) * (i + 1) * r * above
        above, current = current, sympy.cancel(sympy.together(below))
    return current


def test_the_recursion_of_the_oracle_annihilates_products_of_solutions():
    """y = exp(x) solves y'' = y, so that F = y² y⁻² = 1 is a product of four solutions."""
    assert _symmetric_power(sympy.S.One, sympy.S.One, 4) == 0
    assert _symmetric_power(sympy.exp(2 * x), sympy.S.One, 2) == 0
    assert _symmetric_power(x, sympy.S.One, 2) != 0


def test_the_dihedral_example_has_the_invariant_x():
    found = symmetric_power_invariant(1 / x - R(3, 16) / x**2, 4, x)
    assert found.invariant == x
    assert symmetric_power_invariant(x, 4, x).excluded_by == "degree"
    assert symmetric_power_invariant(x, 2, x).excluded_by == "exponent"


def test_rational_logarithmic_derivatives_are_the_known_ones():
    assert riccati_solution(x**4 + 2 * x, x).log_derivative == x**2
    assert sympy.expand(riccati_solution(R(1, 4) - 1 / x, x).log_derivative - (1 / x - R(1, 2))) == 0
    assert riccati_solution(x, x).excluded_by == "infinity order"


# Only with finite poles: of x² + 1 sympy 1.14 misses the solution u = x.
@pytest.mark.parametrize(
    "name",
    ["Kovacic's reducible", "Whittaker (1, 1/2)", "Whittaker (0, 0)", "Bessel 0", "reducible hypergeometric"],
)
def test_sympys_own_solver_of_riccati_equations_agrees(name):
    r, group = GROUPS[name]
    theirs = solve_riccati(sympy.Function("u")(x), x, r, sympy.S.Zero, -sympy.S.One)
    assert bool(theirs) is (group == "BOREL")
    ours = riccati_solution(r, x).log_derivative
    assert bool(theirs) is (ours is not None)
    assert not theirs or any(sympy.cancel(solution.rhs - ours) == 0 for solution in theirs)


def test_kimuras_table_and_the_decision_agree_on_random_triples():
    chance = random.Random(0)
    for _ in range(30):
        _agree(
            [Fraction(chance.randint(0, 9), chance.randint(2, 7)) + chance.randint(-2, 2) for _ in range(3)]
        )


@pytest.mark.slow
def test_kimuras_table_and_the_decision_agree_on_two_hundred_more_triples():
    chance = random.Random(1)
    for _ in range(200):
        _agree(
            [Fraction(chance.randint(0, 9), chance.randint(2, 7)) + chance.randint(-2, 2) for _ in range(3)]
        )


@pytest.mark.parametrize("number", range(1, 16))
def test_every_row_of_kimuras_table_and_its_odd_shifts(number):
    row, _ = TABLE[number - 1]
    triple = [Fraction(2, 7) if value is None else value for value in row]
    assert kimura(*triple).row is not None
    _agree(triple)
    for k in range(3):
        _agree([value + (i == k) for i, value in enumerate(triple)])


def _agree(triple):
    exact = second_order_galois(hypergeometric(*triple), x)
    table = kimura(*triple)
    assert exact.solvable is table.solvable, triple
    if table.reducible:
        assert exact.group.name in ("TORUS", "UNIPOTENT", "BOREL"), triple


def test_exponents_are_read_off_as_they_were_put_in():
    triple = (R(1, 2), R(1, 3), R(3, 7))
    assert set(exponent_differences(hypergeometric_equation(*triple, x), x)) == set(triple)
    assert hypergeometric_equation(*triple, x).equals(hypergeometric(*triple))
    assert exponent_differences(x, x) is None


def _random_logarithmic_derivative(chance):
    pieces = [
        lambda: R(chance.randint(-3, 3), chance.randint(1, 3)) / (x - chance.randint(-2, 2)),
        lambda: R(chance.randint(1, 3)) / (x - chance.randint(-2, 2)) ** 2,
        lambda: (chance.randint(1, 3) * x + chance.randint(-2, 2)) / (x**2 + chance.choice((1, 2, -2))),
        lambda: chance.randint(1, 2) / (x**2 - chance.choice((2, 3))) ** 2,
        lambda: chance.randint(-2, 2) * x + chance.randint(-1, 1),
    ]
    return sum((chance.choice(pieces)() for _ in range(chance.randint(1, 3))), sympy.S.Zero)


def test_equations_made_from_a_rational_logarithmic_derivative_are_solvable():
    chance = random.Random(5)
    for _ in range(12):
        u = _random_logarithmic_derivative(chance)
        r = sympy.cancel(sympy.together(sympy.diff(u, x) + u**2))
        found = second_order_galois(r, x)
        assert found.solvable is True, r
        own = found.solution
        if own.log_derivative is not None:
            assert _solves_riccati(own.log_derivative, r)
        else:
            assert _symmetric_power(own.invariant, r, own.power) == 0


@pytest.mark.parametrize("name", ["Airy", "icosahedral", "Lamé", "Weber 1", "modular"])
def test_solvability_does_not_change_under_pullback_and_moebius_maps(name):
    r, group = GROUPS[name]
    for map_ in ((2 * x + 1) / (x + 3), x**2 + 1):
        first, second, third = (sympy.diff(map_, x, k) for k in (1, 2, 3))
        pulled = (
            r.subs(x, map_) * first**2 + R(3, 4) * (second / first) ** 2 - third / (2 * first)
            if r.free_symbols
            else r
        )
        found = second_order_galois(sympy.cancel(sympy.together(pulled)), x)
        assert found.solvable is (group != "SL2")


def test_a_factor_of_the_solution_does_not_change_the_reduced_equation():
    # y = g·z in y'' = x y gives z'' + 2 g'/g z' + (g''/g − x) z = 0.
    g = x**2 + 1
    found = reduce_equation(2 * sympy.diff(g, x) / g, sympy.diff(g, x, 2) / g - x, x)
    assert sympy.cancel(found - x) == 0
    assert sympy.cancel(reduced(2 * sympy.diff(g, x) / g, sympy.diff(g, x, 2) / g - x) - x) == 0


def test_either_component_of_a_system_decides_the_same():
    system = sympy.Matrix([[1 / x, x + 1], [R(1, 3) / x**2, x]])
    found = [second_order_galois(normal_form(system, x, k), x).solvable for k in (0, 1)]
    assert found[0] is found[1]
    with pytest.raises(TriangularSystemError, match="other component"):
        normal_form([[1, 0], [x, 1]], x)


def test_a_large_degree_is_undecided_and_never_no():
    found = second_order_galois(x**2 + 401, x, degree_limit=50)
    assert found.group is GaloisGroup.UNDECIDED
    assert found.solvable is None
    assert "50" in found.reason


def test_bad_equations_are_refused_with_the_way_out():
    y = sympy.Symbol("y")
    with pytest.raises(SymbolicParameterError, match="y"):
        second_order_galois(x + y, x)
    with pytest.raises(AlgebraicCoefficientError, match="√2"):
        second_order_galois(x + sympy.sqrt(2), x)
    with pytest.raises(InexactDataError, match="1/2"):
        second_order_galois(0.5 * x, x)


def test_the_map_names_the_group_of_every_point():
    a, c = sympy.symbols("a c")
    found = solvability_map(a * x**2 + c, x, {a: [1, 4], c: ["1", "2", "3"]})
    expected = {(1, 1): True, (1, 2): False, (1, 3): True, (4, 1): False, (4, 2): True, (4, 3): False}
    for (i, p), (j, q) in itertools.product(enumerate((1, 4)), enumerate((1, 2, 3))):
        assert (found.groups.values[i, j] != "SL2") is expected[p, q]
    assert found.count(GaloisGroup.SL2) == 3
