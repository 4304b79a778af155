"""Monodromy against closed forms, and Cartan's criterion against exact decisions."""

import numpy as np
import pytest
import sympy

from tests.integrability.networks import common_block, mirrored
from tests.oracles.second_order import bessel, hypergeometric, x
from thetadot.integrability import (
    CartanStatus,
    GaloisGroup,
    cartan_criterion,
    decide_block,
    monodromy,
    prove_non_solvable,
)
from thetadot.integrability.monodromy import float_monodromy

R = sympy.Rational


def companion(r):
    return sympy.Matrix([[0, 1], [r, 0]])


def symmetric_square(r):
    return sympy.Matrix([[0, 2, 0], [r, 0, 1], [0, 2 * r, 0]])


def test_a_diagonal_system_has_the_exponentials_of_its_residues():
    found = monodromy(sympy.diag(R(1, 3), R(1, 2)) / x, x)
    assert np.abs(found.matrices[0] - np.diag([np.exp(2j * np.pi / 3), -1])).max() < 1e-10
    assert found.determinant_defect < 1e-12
    assert not found.irregular.any()


TRIPLES = {(0, 0, 0): 18.0, ("1/2", "1/3", "1/7"): 2.2469796037, ("1/2", "1/3", "1/5"): 1.6180339887}


def _exact_trace(triple):
    c = [np.cos(np.pi * float(R(v))) for v in triple]
    return 4 * sum(v**2 for v in c) + 8 * np.prod(c) - 2


@pytest.mark.parametrize("triple", TRIPLES)
def test_the_commutator_trace_is_the_closed_form(triple):
    assert abs(_exact_trace(triple) - TRIPLES[triple]) < 1e-9
    system = companion(hypergeometric(*triple))
    numeric = monodromy(system, x).commutator_trace(0, 1)
    assert abs(numeric.value - _exact_trace(triple)) < 1e-10
    proved = monodromy(system, x, rigorous=True, bits=128).commutator_trace(0, 1)
    assert proved.radius < 1e-20
    assert abs(proved.value - _exact_trace(triple)) < 1e-14


def test_numeric_and_proved_matrices_agree_within_their_radii():
    system = companion(hypergeometric("1/2", "1/3", "1/7"))
    numeric, proved = monodromy(system, x), monodromy(system, x, rigorous=True, bits=64)
    assert np.array_equal(numeric.loops, proved.loops)
    assert (np.abs(numeric.matrices - proved.matrices) < numeric.radius + proved.radius + 1e-11).all()
    assert proved.determinant_defect < 1e-12


@pytest.mark.parametrize("target", [1, 2, R(1, 3)])
def test_linear_networks_are_seen_by_cartan(target):
    _, block = common_block(mirrored("identity", target), 0)
    found = cartan_criterion(monodromy(block.system, block.parameter))
    assert found.status is CartanStatus.NON_SOLVABLE
    assert found.value > 10 * found.error


@pytest.mark.slow
def test_the_tanh_network_is_seen_by_cartan():
    _, block = common_block(mirrored("tanh", 1), 0)
    found = cartan_criterion(float_monodromy(block.entries))
    assert found.status is CartanStatus.NON_SOLVABLE
    proved = prove_non_solvable(block.entries)
    assert proved.rigorous
    assert proved.value > 10 * proved.error
    assert abs(proved.value - found.value) < proved.error + found.error


def test_a_rigorous_value_is_a_theorem_about_the_linear_network():
    _, block = common_block(mirrored("identity", 1), 0)
    found = cartan_criterion(monodromy(block.system, block.parameter, rigorous=True, bits=64))
    assert found.status is CartanStatus.NON_SOLVABLE
    assert found.rigorous
    assert found.error < 1e-6 * found.value


SOLVABLE = {
    "icosahedral": companion(hypergeometric("1/2", "1/3", "1/5")),
    "octahedral": companion(hypergeometric("1/2", "1/3", "1/4")),
    "tetrahedral": companion(hypergeometric("2/3", "1/3", "1/3")),
    "dihedral": companion(hypergeometric("1/2", "1/2", "1/7")),
    "complex exponents": companion(-2 / x**2),
    "triangular with complex residues": sympy.Matrix([[(1 + sympy.I) / x, 1], [0, (2 - sympy.I) / (x - 1)]]),
    "half-odd Bessel": companion(bessel(R(3, 2))),
}


@pytest.mark.parametrize("name", SOLVABLE)
def test_solvable_systems_are_never_called_non_solvable(name):
    found = cartan_criterion(monodromy(SOLVABLE[name], x))
    assert found.status is CartanStatus.INCONCLUSIVE


@pytest.mark.parametrize("target", [R(1, 2), R(1, 4), R(-1, 2)])
def test_solvable_leaves_of_linear_networks_stay_inconclusive(target):
    _, block = common_block(mirrored("identity", target), 0)
    assert decide_block(block).solvable is True
    assert cartan_criterion(float_monodromy(block.entries)).status is CartanStatus.INCONCLUSIVE


@pytest.mark.slow
def test_order_three_is_decided_in_balls():
    found = cartan_criterion(monodromy(symmetric_square(hypergeometric(0, 0, 0)), x, rigorous=True, bits=64))
    assert found.status is CartanStatus.NON_SOLVABLE
    finite = symmetric_square(hypergeometric("1/2", "1/3", "1/5"))
    assert cartan_criterion(monodromy(finite, x)).status is CartanStatus.INCONCLUSIVE


def _normalised(matrix):
    return matrix / np.sqrt(np.linalg.det(matrix))


def _equilibrium_loops(eta):
    _, block = common_block(mirrored("cube", eta / sympy.sqrt(3)), 0)
    found = float_monodromy(block.entries)
    kept = [k for k, place in enumerate(found.singularities) if abs(place) > 1e-9]
    return block, found, kept


def test_the_cubic_network_at_one_is_seen_only_by_long_words():
    block, found, kept = _equilibrium_loops(1)
    traces = []
    for i in kept:
        for j in kept:
            if i != j:
                traces.append(abs(found.commutator_trace(i, j).value - 23.99))
    assert min(traces) < 0.01
    assert cartan_criterion(found).status is CartanStatus.NON_SOLVABLE
    assert decide_block(block).group is GaloisGroup.SL2


def test_the_cubic_network_at_two_is_unitary_on_its_equilibria_but_sl2():
    block, found, kept = _equilibrium_loops(2)
    traces = [abs(np.trace(_normalised(found.matrices[k]))) for k in kept]
    assert all(min(abs(t - 1.748), abs(t - 0.972)) < 1e-3 for t in traces)
    brackets = [found.commutator_trace(i, j).value for i in kept for j in kept if i != j]
    assert min(abs(value - 1.286) for value in brackets) < 1e-3
    assert cartan_criterion(found).status is CartanStatus.INCONCLUSIVE
    assert decide_block(block).group is GaloisGroup.SL2
