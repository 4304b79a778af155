"""Checks of statements about gradient flows, all derived from the loss: set, orbit, block, integrals."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import sympy

from thetadot.integrability.verifier.equations import Equation
from thetadot.integrability.verifier.expressions import Curve, parse
from thetadot.integrability.verifier.groups import check_liouville, check_sl2
from thetadot.integrability.verifier.loops import check_monodromy
from thetadot.integrability.verifier.polynomials import require
from thetadot.integrability.verifier.rational_functions import keys

_MOST_PARAMETERS = 40


def read_flow(record: Any) -> tuple[list[sympy.Symbol], sympy.Expr, list[sympy.Expr]]:
    """Parameters, loss and field −∇L."""
    keys(record, {"parameters", "loss"})
    names = record["parameters"]
    require(
        isinstance(names, list) and 0 < len(names) <= _MOST_PARAMETERS, "parameters is no list, or too long"
    )
    require(all(isinstance(n, str) and n.isidentifier() for n in names), "a parameter has no name")
    require(len(set(names)) == len(names), "a parameter occurs twice")
    loss = parse(record["loss"], names)
    symbols = [sympy.Symbol(name) for name in names]
    return symbols, loss, [-sympy.diff(loss, s) for s in symbols]


def _zero(expression: sympy.Expr) -> bool:
    if expression == 0 or sympy.expand(expression) == 0:
        return True
    return sympy.cancel(sympy.together(expression.rewrite(sympy.exp))) == 0


def _matrix(value: Any, names: Sequence[str], rows: int) -> sympy.Matrix:
    require(
        isinstance(value, list) and len(value) == rows and rows > 0, "a matrix has the wrong number of rows"
    )
    require(
        all(isinstance(row, list) and len(row) == len(value[0]) for row in value),
        "a matrix is not rectangular",
    )
    return sympy.Matrix(rows, len(value[0]), [parse(entry, names) for row in value for entry in row])


def _constant(matrix: sympy.Matrix, what: str) -> sympy.Matrix:
    require(all(entry.is_Rational for entry in matrix), f"{what} is not a matrix of rationals")
    return matrix


def check_manifold(
    record: Any, symbols: list[sympy.Symbol], field: list[sympy.Expr]
) -> dict[sympy.Symbol, sympy.Expr]:
    """The flow keeps the affine set; tangent and normal columns are its own."""
    keys(record, {"substitution", "tangent", "normal"})
    names = [s.name for s in symbols]
    require(isinstance(record["substitution"], dict), "substitution is not an object")
    given = {}
    for name, text in record["substitution"].items():
        require(name in names, f"{name} is no parameter")
        given[sympy.Symbol(name)] = parse(text, names)
    free = [s for s in symbols if s not in given]
    require(bool(free), "the manifold is a point")
    require(
        all(not (v.free_symbols - set(free)) for v in given.values()),
        "the substitution is not in free parameters",
    )
    whole = sympy.Matrix([given.get(s, s) for s in symbols])
    wanted = whole.jacobian(free)
    require(not wanted.free_symbols, "the substitution is not affine")
    tangent = _constant(_matrix(record["tangent"], names, len(symbols)), "tangent")
    normal = record["normal"]
    require(tangent == wanted, "the tangent columns are not those of the manifold")
    if len(free) == len(symbols):
        require(all(row == [] for row in normal), "there are no normal directions")
        return given
    across = _constant(_matrix(normal, names, len(symbols)), "normal")
    require(across.T * tangent == sympy.zeros(across.cols, tangent.cols), "a normal column is not orthogonal")
    require(across.rank() == across.cols == len(symbols) - len(free), "the normal columns are not complete")
    require(across.T.rref()[0] == across.T, "the normal columns are not in echelon form")
    on_it = sympy.Matrix([component.subs(given, simultaneous=True) for component in field])
    for component in across.T * on_it:
        require(_zero(component), "the field leaves the manifold")
    return given


def check_orbit(record: Any, symbols, field, given) -> tuple[Curve, sympy.Symbol, sympy.Expr]:
    """The flow follows the curve: V(θ(p)) = ṗ dθ/dp, and something moves."""
    keys(record, {"parameter", "curve", "velocity"})
    name = record["parameter"]
    require(
        isinstance(name, str) and name.isidentifier() and name not in [s.name for s in symbols],
        "no parameter",
    )
    require(
        isinstance(record["curve"], dict) and set(record["curve"]) == {s.name for s in symbols},
        "the curve does not give every parameter",
    )
    p = sympy.Symbol(name)
    placed = {s: parse(record["curve"][s.name], [name]) for s in symbols}
    velocity = parse(record["velocity"], [name])
    curve = Curve(placed, p)
    require(not curve.vanishes(velocity), "nothing moves on the curve")
    slopes = {s: sympy.diff(placed[s], p) for s in symbols}
    require(any(slope != 0 for slope in slopes.values()), "the curve is a point")
    for s, value in given.items():
        gap = sympy.expand(placed[s] - value.subs(placed))
        require(gap == 0 or curve.vanishes(gap), "the curve leaves the manifold")
    curve.require_zero(
        [component - velocity * slopes[s] for s, component in zip(symbols, field, strict=True)], "orbit"
    )
    return curve, p, velocity


def check_block(
    record: Any, symbols, field, manifold: Any, curve: Curve, p, velocity
) -> tuple[sympy.Matrix, int]:
    """DV·D = ṗ·D·B on the curve, with constant independent normal columns D."""
    keys(record, {"system", "directions", "component"})
    component = record["component"]
    require(component in (0, 1) and not isinstance(component, bool), "component is not 0 or 1")
    names = [s.name for s in symbols]
    directions = _constant(_matrix(record["directions"], [], len(symbols)), "directions")
    order = directions.cols
    require(directions.rank() == order, "the directions are dependent")
    tangent = _matrix(manifold["tangent"], names, len(symbols))
    require(directions.T * tangent == sympy.zeros(order, tangent.cols), "a direction is not normal")
    system = _matrix(record["system"], [p.name], order)
    require(system.cols == order, "the system is not square")
    jacobian = {}
    for i, j in itertools.combinations_with_replacement(range(len(symbols)), 2):
        jacobian[i, j] = jacobian[j, i] = sympy.diff(field[i], symbols[j])
    moved = directions * system
    gaps = []
    for i, k in itertools.product(range(len(symbols)), range(order)):
        left = sympy.Add(
            *(jacobian[i, j] * directions[j, k] for j in range(len(symbols)) if directions[j, k] != 0)
        )
        gaps.append(left - velocity * moved[i, k])
    curve.require_zero(gaps, "block")
    return system, component


def check_reduction(system: sympy.Matrix, component: int, equation: Equation, p: sympy.Symbol) -> None:
    """r is the normal form of the component's equation."""
    require(system.rows == 2, "the block has not order 2")
    i, j = component, 1 - component
    own, coupling, back, other = system[i, i], system[i, j], system[j, i], system[j, j]
    curve = Curve({}, p)
    require(not curve.vanishes(coupling), "the coupling vanishes")
    # ξ'' = a ξ' + b ξ with a = tr B + c'/c, so that r = (c-free normal form) a²/4 − a'/2 + b.
    change = sympy.diff(coupling, p) / coupling
    a = own + other + change
    b = coupling * back - own * other + sympy.diff(own, p) - own * change
    top = sum((_rational(c) * p**k for k, c in enumerate(equation.r[0])), sympy.Integer(0))
    bottom = sum((_rational(c) * p**k for k, c in enumerate(equation.r[1])), sympy.Integer(0))
    curve.require_zero([a**2 / 4 - sympy.diff(a, p) / 2 + b - top / bottom], "reduction to y'' = r y")


def _rational(value: Fraction) -> sympy.Rational:
    return sympy.Rational(value.numerator, value.denominator)


def excluded_integrals(equation: Equation, placed: dict[Any, sympy.Expr], p: sympy.Symbol) -> str:
    """Which integrals the singular points leave excluded."""
    worst = "MEROMORPHIC_NEAR_ORBIT"
    values = [sympy.together(value) for value in placed.values()]
    for pole in equation.poles:
        if pole.order <= 2:
            continue
        factor = sympy.Poly([_rational(c) for c in reversed(pole.factor)], p)
        for value in values:
            if value.has(sympy.log):
                require(
                    value.coeff(sympy.log(p)) * sympy.log(p) == sympy.expand(value),
                    "a logarithm is not alone",
                )
                if factor.as_expr() == p:
                    return "RATIONAL"
                continue
            bottom = sympy.fraction(sympy.cancel(value))[1]
            if (
                sympy.Poly(bottom, p, extension=True)
                .rem(sympy.Poly(factor.as_expr(), p, extension=True))
                .is_zero
            ):
                return "RATIONAL"
        worst = "MEROMORPHIC_NEAR_CLOSURE"
    if equation.order < 2:
        for value in values:
            top, bottom = sympy.fraction(sympy.cancel(value))
            if value.has(sympy.log) or sympy.degree(top, p) > sympy.degree(bottom, p):
                return "RATIONAL"
        worst = "MEROMORPHIC_NEAR_CLOSURE"
    return worst


def check_verdict(data: dict[str, Any], report: Any) -> str:
    """A flow that is not integrable, from the loss to the group."""
    needed = {"format", "kind", "flow", "manifold", "orbit", "block", "excluded"}
    keys(data, needed, {"galois", "monodromy"})
    require("galois" in data or "monodromy" in data, "a verdict needs galois or monodromy")
    symbols, _, field = report("flow", lambda: read_flow(data["flow"]))
    given = report("manifold", lambda: check_manifold(data["manifold"], symbols, field))
    curve, p, velocity = report("orbit", lambda: check_orbit(data["orbit"], symbols, field, given))
    system, component = report(
        "block", lambda: check_block(data["block"], symbols, field, data["manifold"], curve, p, velocity)
    )
    solvable, equation = False, None
    if "galois" in data:
        inner = data["galois"]
        keys(inner, {"kind", "format", "equation"}, set(inner))
        require(inner["format"] == data["format"], "galois has another format")
        if inner["kind"] == "sl2":
            equation = report("equation", lambda: check_sl2(inner))
        else:
            require(inner["kind"] == "liouville", "galois is neither sl2 nor liouville")
            equation, abelian = report("equation", lambda: check_liouville(inner))
            require(not abelian, "G⁰ is abelian: it proves nothing")
            require(
                not any(v.has(sympy.log) for v in curve.curve.values()),
                "an infinite covering hides whether G⁰ is abelian",
            )
            solvable = True
        require(inner["equation"]["variable"] == p.name, "galois has another variable")
        report("reduction", lambda: check_reduction(system, component, equation, p))
    if "monodromy" in data:
        inner = data["monodromy"]
        own = [[parse(entry, [p.name]) for entry in row] for row in inner.get("system", [])]
        require(
            sympy.Matrix(own) == system and inner.get("variable") == p.name,
            "the monodromy is of another system",
        )
        report("monodromy", lambda: check_monodromy(inner))
        solvable, reached = False, "MEROMORPHIC_NEAR_ORBIT"
    elif equation is not None:
        reached = excluded_integrals(equation, curve.curve, p)
    report("excluded", lambda: require(data["excluded"] == reached, f"what is excluded is {reached}"))
    words = {
        "MEROMORPHIC_NEAR_ORBIT": "integrals meromorphic near the orbit",
        "MEROMORPHIC_NEAR_CLOSURE": "integrals meromorphic near the orbit and its equilibria",
        "RATIONAL": "rational integrals",
    }[reached]
    if solvable:
        return (
            f"the flow is not Bogoyavlenskij-integrable with {words}; Liouvillian formulas are not excluded"
        )
    return f"the flow is not integrable with {words}, and has no Liouvillian formula near the orbit"


def check_integrals(data: dict[str, Any], report: Any) -> str:
    """A flow with enough integrals, or with one factor times planar fields that have them."""
    keys(data, {"format", "kind", "flow", "integrals"}, {"point", "split"})
    require(("point" in data) != ("split" in data), "integrals need a point or a split, not both")
    symbols, _, field = report("flow", lambda: read_flow(data["flow"]))
    names = [s.name for s in symbols]
    require(isinstance(data["integrals"], list), "integrals is not a list")
    integrals = [parse(text, names) for text in data["integrals"]]

    def conserved(integral: sympy.Expr, motion: Sequence[sympy.Expr]) -> None:
        change = sympy.Add(*(sympy.diff(integral, s) * v for s, v in zip(symbols, motion, strict=True)))
        require(_zero(change), "a function is not conserved")

    for k, integral in enumerate(integrals):
        report(f"integral {k + 1}", lambda integral=integral: conserved(integral, field))
    if "point" in data:
        report("independence", lambda: _independent(data["point"], symbols, integrals))
        return f"the flow has {len(symbols) - 1} independent integrals: it is solved by quadratures"
    report("split", lambda: _check_split(data["split"], symbols, field, integrals, conserved))
    return (
        "the flow is one factor times independent planar fields with integrals: it is solved by quadratures"
    )


def _independent(record: Any, symbols: list[sympy.Symbol], integrals: list[sympy.Expr]) -> None:
    require(
        isinstance(record, dict) and set(record) == {s.name for s in symbols},
        "the point does not give every parameter",
    )
    point = {s: parse(record[s.name], []) for s in symbols}
    gradient = sympy.Matrix(integrals).jacobian(symbols).subs(point)
    require(all(entry.is_Rational for entry in gradient), "a gradient is not rational at the point")
    require(gradient.rank() >= len(symbols) - 1, "the integrals are dependent at the point")


def _check_split(record: Any, symbols, field, integrals, conserved) -> None:
    keys(record, {"factor", "field", "planes"})
    names = [s.name for s in symbols]
    factor = parse(record["factor"], names)
    require(
        isinstance(record["field"], list) and len(record["field"]) == len(symbols),
        "the split has the wrong size",
    )
    inner = [parse(text, names) for text in record["field"]]
    for component, reduced in zip(field, inner, strict=True):
        require(_zero(component - factor * reduced), "the field is not the factor times the split field")
    planes = record["planes"]
    require(
        isinstance(planes, list) and sorted(n for plane in planes for n in plane) == sorted(names),
        "the planes do not partition the parameters",
    )
    left = list(integrals)
    for plane in planes:
        inside = {sympy.Symbol(name) for name in plane}
        require(len(plane) <= 2, "a plane has more than two parameters")
        for s, component in zip(symbols, inner, strict=True):
            require(
                s not in inside or not (component.free_symbols - inside), "the planes are not independent"
            )
        if len(plane) == 2:
            own = [h for h in left if h.free_symbols and not (h.free_symbols - inside)]
            require(bool(own), "a plane has no integral")
            require(not all(_zero(sympy.diff(own[0], s)) for s in inside), "an integral is a constant")
            conserved(own[0], inner)
            left.remove(own[0])
    require(not left, "there are integrals that belong to no plane")
