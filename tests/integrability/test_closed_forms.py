"""Closed forms against an independent integrator at 1e-13."""

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from thetadot.integrability import IntegrabilityError, closed_form, network_flow, symbolic_flow

a, w = sympy.symbols("a w")
R = sympy.Rational


def scalar(second, rho):
    return symbolic_flow(R(second) * (a * w) ** 2 / 2 - R(rho) * a * w, [a, w])


def chain(target=1, depth=3):
    return network_flow([1] * (depth + 1), "identity", [(1, target)], bias=False)


CASES = {
    "imbalanced": (scalar("13/10", "7/10"), [0.4, -0.1]),
    "balanced": (scalar(1, "1/2"), [0.2, 0.2]),
    "opposite signs": (scalar(1, "-1/2"), [0.5, 0.1]),
    "to the saddle": (scalar(1, "-1/2"), [0.3, 0.3]),
    "no correlation": (scalar(2, 0), [0.9, 0.9]),
    "deep": (chain(), [0.5, 0.3, -0.2]),
    "deep and balanced": (chain(), [0.3, 0.3, 0.3]),
    "deep towards the saddle": (chain(), [0.3, 0.3, -0.3]),
    "deeper": (chain(R(1, 2), 4), [0.7, 0.4, 0.9, 0.1]),
    "one residual": (network_flow([1, 2, 1], "tanh", [(1, 1)], bias=False), [0.5, 0.3, -0.2, 0.6]),
    "cubic neurons": (network_flow([1, 2, 1], "cube", [(1, 1), (2, 3)], bias=False), [0.5, 0.6, 0.4, 0.7]),
    "separate modes": (
        symbolic_flow((a * w - 1) ** 2 / 2 + (sympy.Symbol("u") - 2) ** 2, [a, w, sympy.Symbol("u")]),
        [0.3, 0.1, 0.0],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_formula_is_the_flow(name):
    flow, start = CASES[name]
    formula = closed_form(flow)
    times = np.array([0.0, 0.3, 1.0, 2.5, 6.0])
    field = sympy.lambdify(flow.parameters, flow.field)
    exact = solve_ivp(
        lambda _, theta: field(*theta), (0, 6), start, t_eval=times, method="DOP853", rtol=1e-13, atol=1e-15
    )
    found = formula(np.array(start), times)
    assert found.shape == (len(times), flow.size)
    assert np.abs(found - exact.y.T).max() < 1e-10


def test_what_a_formula_keeps_is_kept():
    flow, start = CASES["deep"]
    formula = closed_form(flow)
    rows = formula(np.array(start), np.linspace(0, 20, 7))
    for integral in formula.integrals:
        values = np.array([sympy.lambdify(flow.parameters, integral)(*row) for row in rows])
        assert np.abs(values - values[0]).max() < 1e-13


def test_flows_without_formula_have_none_and_bad_starts_are_refused():
    assert closed_form(network_flow([1, 1, 1], "tanh", [(1, 1), (-1, -1)])) is None
    formula = closed_form(chain())
    with pytest.raises(IntegrabilityError, match="expected"):
        formula(np.zeros(2), np.zeros(1))
