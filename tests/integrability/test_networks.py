"""Networks: groups on every leaf, the verdict over all of them, errors, integrals."""

import re

import numpy as np
import pytest
import sympy

import thetadot as td
from tests.integrability.networks import Z, common_block, group_on, mirrored, reflection
from thetadot.integrability import (
    ExcludedClass,
    GaloisGroup,
    InexactDataError,
    Integrability,
    NotAnalyticError,
    NotAnOrbitError,
    NotInvariantError,
    StationaryOrbitError,
    UnsupportedFlowError,
    analyse,
    darboux_polynomials,
    decide_block,
    exponent_differences,
    first_integrals,
    flow_of_problem,
    invariant_manifold,
    invariant_manifolds,
    kimura,
    network_flow,
    normal_blocks,
    normal_form,
    orbit,
    orbits,
    second_order_galois,
    symbolic_flow,
)

R, sqrt = sympy.Rational, sympy.sqrt
p = sympy.Symbol("p")


@pytest.mark.parametrize("target", [1, 2, R(1, 3)])
def test_linear_networks_on_the_balanced_leaf_are_not_solvable(target):
    assert group_on(mirrored("identity", target), 0).group is GaloisGroup.SL2


@pytest.mark.parametrize("target", [R(1, 2), R(1, 4), R(-1, 2)])
def test_linear_networks_are_solvable_there_if_one_over_the_target_is_even(target):
    found = group_on(mirrored("identity", target), 0)
    assert found.solvable is True
    assert found.abelian is True


@pytest.mark.parametrize("target", [R(1, 2), 1])
def test_linear_networks_on_another_leaf_are_not_solvable(target):
    assert group_on(mirrored("identity", target), 1).group is GaloisGroup.SL2


def test_a_solvable_leaf_does_not_end_the_scan():
    found = analyse(mirrored("identity", R(1, 2)), numeric=False)
    assert found.status is Integrability.NON_INTEGRABLE
    assert found.closed_form_excluded
    trap = next(f for f in found.findings if f.level == "0")
    assert trap.solvable is True
    assert found.orbit.level == 1


def test_exhaustive_looks_at_every_leaf_and_says_why_one_is_not_usable():
    found = analyse(mirrored("cube", 1), numeric=False, exhaustive=True)
    assert found.status is Integrability.NON_INTEGRABLE
    reasons = [f.reason for f in found.findings if f.level == "0"]
    assert any("Q(√3)" in reason for reason in reasons)
    assert len({f.level for f in found.findings}) >= 5


@pytest.mark.parametrize(
    ("activation", "target", "excluded"),
    [
        ("identity", 1, ExcludedClass.MEROMORPHIC_NEAR_ORBIT),
        ("tanh", 1, ExcludedClass.MEROMORPHIC_NEAR_ORBIT),
        ("tanh", 0, ExcludedClass.MEROMORPHIC_NEAR_CLOSURE),
        ("cube", 1 / sqrt(3), ExcludedClass.MEROMORPHIC_NEAR_CLOSURE),
    ],
)
def test_what_is_excluded_follows_from_the_singular_points(activation, target, excluded):
    found = analyse(mirrored(activation, target), levels=(0,), numeric=False)
    assert found.status is Integrability.NON_INTEGRABLE
    assert found.excluded is excluded


@pytest.mark.parametrize("target", [-1, 0, R(1, 2), 1, R(3, 2), 2])
def test_tanh_networks_are_not_solvable_in_exponential_form(target):
    assert group_on(mirrored("tanh", target), 0).group is GaloisGroup.SL2


@pytest.mark.parametrize("y", [-1, 0, R(1, 2), 1, R(3, 2), 2])
def test_tanh_networks_are_not_solvable_in_the_form_with_cosh(y):
    """The same block by hand in u = cosh w, a = sinh w: β = db/a and dc."""
    u = sympy.Symbol("u")
    r = (u**2 - 1) / u - y
    velocity = -(u**2 - 1) * r / u**2
    rows = [[-(u**2 - 1) / u**4 + 2 * r * (u**2 - 1) / u**3 + r / u, -1 / u**2], [-(u**2 - 1) / u**2, -1]]
    system = sympy.Matrix(rows) / velocity
    assert second_order_galois(normal_form(system, u), u).group is GaloisGroup.SL2


@pytest.mark.parametrize(("power", "eta"), [(3, R(1, 2)), (3, 1), (3, 2), (3, 16), (5, 1), (5, 2)])
def test_monomial_networks_are_not_solvable_and_have_the_derived_block(power, eta):
    flow = mirrored(Z**power, eta / sqrt(power))
    leaf, block = common_block(flow, 0)
    own = decide_block(block)
    assert own.group is GaloisGroup.SL2
    # On C = 0 with y = η/√k and db = β/√k, ρ = w^(k+1) − η.
    w = leaf.parameter
    rho = w ** (power + 1) - eta
    rows = [[power * w**power / rho + (power - 1) / w, power / rho], [1 / rho, 1 / (rho * w**power)]]
    assert sympy.cancel(normal_form(sympy.Matrix(rows), w) - own.equation) == 0


def test_the_cubic_network_on_a_rational_leaf_is_not_solvable():
    flow = mirrored("cube", 1)
    leaf, block = common_block(flow, 1)
    w, a = leaf.manifold.coordinates
    assert sympy.cancel(leaf.curve[a] - (1 + p * leaf.curve[w])) == 0
    assert sympy.cancel(leaf.curve[w] + 2 * p / (p**2 - R(1, 3))) == 0
    found = decide_block(block)
    assert found.group is GaloisGroup.SL2
    assert any(len(pole["factor"]) == 9 for pole in found.certificate.data["poles"])


def _moments(rho, second):
    """A loss of the linear network with these moments, centred: L = ½(σ₂ m² − 2ϱ m) + ½(ab + c)², m = a w."""
    w, b, a, c = sympy.symbols("w b a c")
    loss = (second * (a * w) ** 2 - 2 * rho * a * w) / 2 + (a * b + c) ** 2 / 2
    return symbolic_flow(loss, [w, b, a, c]), (w, b, a, c)


@pytest.mark.parametrize(("rho", "second"), [(1, 1), (R(1, 2), 1), (1, 2), (R(2, 3), R(1, 2)), (R(-1, 4), 1)])
def test_two_deciders_agree_on_the_linear_family(rho, second):
    flow, (w, b, a, c) = _moments(sympy.sympify(rho), sympy.sympify(second))
    leaf = orbit(flow, invariant_manifold(flow, {b: 0, c: 0}), {a: p, w: p}, p)
    (block,) = normal_blocks(flow, leaf)
    exact = decide_block(block)
    # In s = a² the equation is hypergeometric, with singular points 0, s₀ and ∞.
    s = sympy.Symbol("s")
    zero = sympy.sympify(rho) / second
    first = [1 / (2 * s), 1 / (2 * second * (s - zero))]
    last = [1 / (2 * s), (s + 1) / (2 * second * s * (s - zero))]
    r = normal_form(sympy.Matrix([first, last]), s)
    assert kimura(*exponent_differences(r, s)).solvable is exact.solvable
    assert second_order_galois(r, s).solvable is exact.solvable


def test_equal_linear_neurons_have_the_block_of_one():
    """In s = K a² the equation does not depend on K."""
    forms = []
    for width in (1, 2, 3):
        _, block = common_block(mirrored("identity", 1, width), 0)
        found = decide_block(block)
        # Undo p = a: s = K p², so that r transforms with x = s.
        forms.append(sympy.cancel(found.equation.subs(p, p / sqrt(width)) / width))
    assert all(sympy.cancel(sympy.expand(form - forms[0])) == 0 for form in forms[1:])


def test_equal_tanh_neurons_have_another_block_for_every_width_and_none_is_solvable():
    found = [group_on(mirrored("tanh", 1, width), 0) for width in (1, 2)]
    assert all(f.group is GaloisGroup.SL2 for f in found)
    assert sympy.cancel(found[0].equation - found[1].equation) != 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("target", [R(1, 2), 1, 2])
def test_replicated_tanh_networks_are_not_solvable(width, target):
    assert group_on(mirrored("tanh", target, width), 0).group is GaloisGroup.SL2


def test_the_blocks_are_the_hessian_of_jax_along_the_orbit():
    flow = mirrored("tanh", 1, 2)
    leaf = orbits(flow, reflection(flow), (0,))[0]
    at = 1.7
    theta = np.array([float(leaf.curve[s].subs(p, at)) for s in flow.parameters])
    hessian = np.asarray(flow.problem().hessian(theta))
    speed = float(leaf.velocity.subs(p, at))
    for block in normal_blocks(flow, leaf):
        directions = np.array(block.directions.tolist(), float)
        system = np.array(block.system.subs(p, at).tolist(), float)
        assert (
            np.abs(-hessian @ directions - speed * directions @ system).max() < 1e-13 * np.abs(hessian).max()
        )


def test_a_dead_neuron_gives_blocks_of_order_one():
    flow = network_flow([1, 2, 1], "tanh", [(1, 1)], bias=False)
    _, w2, _, a2 = flow.parameters
    leaf = orbits(flow, invariant_manifold(flow, {w2: 0, a2: 0}), (0,))[0]
    assert [block.order for block in normal_blocks(flow, leaf)] == [1, 1]


def test_one_sample_is_integrable_and_the_integrals_hold_along_the_numeric_flow():
    flow = network_flow([1, 2, 1], "tanh", [(1, 1)], bias=False)
    found = analyse(flow)
    assert found.status is Integrability.INTEGRABLE
    assert found.certificate.kind == "integrals"
    assert found.closed_form is not None
    w1, w2, a1, a2 = flow.parameters
    path = td.flow(
        flow.problem(), np.array([0.5, -0.3, 0.4, 0.7]), until=td.Until(time=4.0), saves=np.linspace(0, 4, 9),
        rtol=1e-13, atol=1e-15, progress=False,
    )  # fmt: skip
    for w, a in ((w1, a1), (w2, a2)):
        integral = sympy.lambdify(flow.parameters, a**2 / 2 - sympy.sinh(w) ** 2 / 2)
        values = np.array([integral(*row) for row in np.asarray(path.thetas)])
        assert np.abs(values - values[0]).max() < 1e-11


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (network_flow([1, 1, 1], "tanh", [(1, 1), (-1, -1), (2, 1), (-2, -1)]), r"several \|x\|"),
        (network_flow([1, 1, 1], "sigmoid", [(1, 1), (-1, -1)]), "exp"),
        (network_flow([1, 2, 1], "tanh", [(1, 1), (2, 1)], bias=False), r"several \|x\|"),
    ],
)
def test_what_is_not_known_is_inconclusive_with_its_reason(flow, reason):
    found = analyse(flow, numeric=False)
    assert found.status is Integrability.INCONCLUSIVE
    assert found.certificate is None
    assert re.search(reason, found.reason)


def test_a_spent_time_limit_is_inconclusive_and_says_so():
    found = analyse(mirrored("tanh", 1), time_limit=1e-9)
    assert found.status is Integrability.INCONCLUSIVE
    assert "limit" in found.reason


def test_bad_flows_are_refused_with_the_way_out():
    with pytest.raises(NotAnalyticError, match="relu"):
        network_flow([1, 1, 1], "relu", [(1, 1)])
    with pytest.raises(InexactDataError, match="1/10"):
        network_flow([1, 1, 1], "tanh", [(0.1, 1)])
    a, w = sympy.symbols("a w")
    with pytest.raises(NotAnalyticError, match="Abs"):
        symbolic_flow(sympy.Abs(a * w), [a, w])
    with pytest.raises(UnsupportedFlowError, match="w"):
        symbolic_flow(a * w, [a])
    flow = network_flow([1, 1, 1], "identity", [(1, 1), (2, 1)])
    w, b, a, c = flow.parameters
    with pytest.raises(NotInvariantError, match="component"):
        invariant_manifold(flow, {b: 0, c: 0})
    good = mirrored("identity", 1)
    manifold = reflection(good)
    w, b, a, c = good.parameters
    with pytest.raises(StationaryOrbitError, match="equilibria"):
        orbit(good, manifold, {a: 1 / p, w: p}, p)
    with pytest.raises(NotAnOrbitError, match="does not follow"):
        orbit(good, manifold, {a: p**2, w: p}, p)


def test_first_integrals_are_all_the_known_ones_and_no_more():
    line = [(1, 1), (-1, -1)]
    assert len(first_integrals(network_flow([1, 1, 1], "identity", line, bias=False))) == 1
    biased = network_flow([1, 1, 1], "identity", line)
    w, b, a, _ = biased.parameters
    (only,) = first_integrals(biased)
    assert sympy.expand(only - (w**2 + b**2 - a**2)) == 0
    double = network_flow([1, 2, 1], "identity", line, bias=False)
    w1, w2, a1, a2 = double.parameters
    found = first_integrals(double)
    assert len(found) == 4
    assert any(sympy.expand(h - (w1 * a2 - w2 * a1)) == 0 for h in found)
    squares = network_flow([1, 1, 1], "square", [(1, 1), (2, 3)])
    w, b, a, _ = squares.parameters
    (only,) = first_integrals(squares)
    assert sympy.expand(only - (w**2 + b**2 - 2 * a**2)) == 0


def test_darboux_polynomials_are_invariant():
    a, w = sympy.symbols("a w")
    flow = symbolic_flow((a * w - 1) ** 2 / 2, [a, w])
    found = darboux_polynomials(flow, 2)
    assert {d.polynomial for d in found} == {a + w, a - w, a * w - 1}
    for d in found:
        change = sum(
            sympy.diff(d.polynomial, s) * v for s, v in zip(flow.parameters, flow.field, strict=True)
        )
        assert sympy.expand(change - d.cofactor * d.polynomial) == 0


def test_a_narrow_problem_becomes_the_exact_flow_in_the_same_order():
    problem = td.EmpiricalRisk(td.mlp([1, 2, 1], "tanh"), td.squared, [[1.0], [-0.5]], [[0.1], [0.75]])
    flow = flow_of_problem(problem)
    assert ("y[0] = 0.1", "1/10") in flow.adopted
    theta = np.linspace(-0.5, 0.9, problem.size)
    field = np.array([float(v.subs(dict(zip(flow.parameters, theta, strict=True)))) for v in flow.field])
    assert np.abs(field + np.asarray(problem.value_and_grad(theta)[1])).max() < 1e-14


def test_wide_problems_other_losses_and_irrational_data_are_refused():
    wide = td.EmpiricalRisk(td.mlp([4, 8, 1], "tanh"), td.squared, np.ones((2, 4)), np.ones((2, 1)))
    with pytest.raises(UnsupportedFlowError, match=r"P = 49.*widths"):
        flow_of_problem(wide)
    odd = td.EmpiricalRisk(td.mlp([1, 1, 1], "tanh"), td.squared, [[0.1234567]], [[1.0]])
    with pytest.raises(InexactDataError, match="1000"):
        flow_of_problem(odd)


def test_the_answer_does_not_depend_on_names_order_scale_or_sign():
    a, w, b, c = sympy.symbols("alpha omega beta gamma")

    def loss(y, scale):
        return scale * ((a * (w + b) + c - y) ** 2 + (a * (b - w) + c + y) ** 2) / 4

    for y, scale, order in ((1, 1, (c, a, b, w)), (1, 7, (a, w, b, c)), (-1, 1, (b, c, w, a))):
        flow = symbolic_flow(loss(y, scale), order)
        manifold = invariant_manifold(flow, {b: 0, c: 0})
        (block,) = normal_blocks(flow, orbit(flow, manifold, {a: p, w: p}, p))
        assert decide_block(block).group is GaloisGroup.SL2
    plain = analyse(symbolic_flow(loss(1, 1), (a, w, b, c)), numeric=False)
    assert plain.status is Integrability.NON_INTEGRABLE


def test_deep_chains_have_equal_layers_as_invariant_sets():
    flow = network_flow([1, 1, 1, 1], "identity", [(1, 1)], bias=False)
    kinds = {m.kind: m.dimension for m in invariant_manifolds(flow)}
    assert kinds["equal layers"] == 1
