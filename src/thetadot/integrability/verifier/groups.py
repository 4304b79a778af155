"""Checks of statements about the Galois group of y'' = r(x) y."""

from fractions import Fraction
from typing import Any

import sympy

from thetadot.integrability.verifier import polynomials as ring
from thetadot.integrability.verifier.equations import Equation
from thetadot.integrability.verifier.polynomials import require
from thetadot.integrability.verifier.rational_functions import (
    Rational,
    keys,
    rational_function,
    reduced,
    slope,
)

POWERS = (2, 4, 6, 8, 12)
_BEFORE = {"dihedral": (2,), "tetrahedral": (2, 4), "octahedral": (2, 4, 6), "icosahedral": (2, 4, 6, 8)}
_POWER = {"torus": 2, "unipotent": 2, "dihedral": 4, "tetrahedral": 6, "octahedral": 8, "icosahedral": 12}


def check_sl2(data: dict[str, Any]) -> Equation:
    """The Galois group of y'' = r y is SL₂."""
    keys(data, {"format", "kind", "equation", "poles", "infinity", "riccati", "symmetric_powers"})
    equation = Equation(data)
    record = keys(data["symmetric_powers"], {str(m) for m in POWERS})
    for m in POWERS:
        equation.excluded_power(m, record[str(m)])
    equation.excluded_riccati(data["riccati"])
    return equation


def check_liouville(data: dict[str, Any]) -> tuple[Equation, bool]:
    """The stated Liouvillian solution and group; whether G⁰ is abelian."""
    needed = {"format", "kind", "equation", "poles", "infinity", "group", "solution", "symmetric_powers"}
    keys(data, needed, {"riccati"})
    equation, group, solution = Equation(data), data["group"], data["solution"]
    stated = data["symmetric_powers"]
    if group == "Borel":
        keys(solution, {"log_derivative"})
        keys(stated, {"2"})
        require("riccati" not in data, "unknown: riccati")
        equation.excluded_power(2, stated["2"])
        u = rational_function(solution["log_derivative"])
        top, bottom = u
        left = ring.sub(ring.mul(ring.derivative(top), bottom), ring.mul(top, ring.derivative(bottom)))
        left = ring.mul(ring.add(left, ring.mul(top, top)), equation.r[1])
        require(left == ring.mul(equation.r[0], ring.mul(bottom, bottom)), "u' + u² is not r")
        return equation, _algebraic_line(u)
    require(group in _POWER, "unknown group")
    keys(solution, {"power", "invariant"}, {"corank", "second"})
    m = ring.whole(solution["power"])
    require(m == _POWER[group], f"the power of the group is {_POWER[group]}")
    invariant = rational_function(solution["invariant"])
    equation.solves_power(invariant, m)
    before = _BEFORE.get(group, ())
    keys(stated, {str(k) for k in before})
    for k in before:
        equation.excluded_power(k, stated[str(k)])
    require(
        ("riccati" in data) == bool(before), "the exclusion of a rational y'/y is missing, or superfluous"
    )
    if before:
        equation.excluded_riccati(data["riccati"])
        require("corank" not in solution and "second" not in solution, "unknown key of the solution")
        return equation, True
    constant = equation.wronskian(invariant)
    if group == "torus":
        require("corank" not in solution, "unknown: corank")
        if not constant[0]:
            second = rational_function(solution.get("second"))
            equation.solves_power(second, 2)
            require(
                bool(slope(_ratio(second, invariant))[0]), "the second solution is a multiple of the first"
            )
        else:
            require(
                "second" not in solution or bool(rational_function(solution["second"])), "unknown: second"
            )
            if "second" in solution:
                equation.solves_power(rational_function(solution["second"]), 2)
        return equation, True
    require(not constant[0] and "second" not in solution, "the solution is not unipotent")
    record = keys(solution.get("corank"), {"degree_bound", "prime"})
    local = equation.power_bound(2)
    require(local is not None and record["degree_bound"] == local[1], "the degree bound is wrong")
    assert local is not None
    require(
        equation.corank(2, local[0], local[1], record["prime"]) == 1, "more than one solution is possible"
    )
    return equation, True


def _ratio(a: Rational, b: Rational) -> Rational:
    return reduced(ring.mul(a[0], b[1]), ring.mul(a[1], b[0]))


def _algebraic_line(u: Rational) -> bool:
    top, bottom = u
    if not top:
        return True
    if len(top) >= len(bottom) or not ring.coprime(bottom, ring.derivative(bottom)):
        return False
    x = sympy.Symbol("x")
    terms = [sympy.Rational(c.numerator, c.denominator) for c in reversed(bottom)]
    for factor, _ in sympy.Poly(terms, x, domain="QQ").factor_list()[1]:
        f = [Fraction(int(c.p), int(c.q)) for c in map(sympy.Rational, reversed(factor.all_coeffs()))]
        residue = ring.mod(ring.mul(top, ring.inverse(ring.derivative(bottom), f)), f)
        if len(residue) > 1:
            return False
    return True
