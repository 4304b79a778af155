"""Explicit orbits on invariant manifolds, with all entries algebraic (up to a logarithm) in one parameter."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy

from thetadot.integrability.activations import Z
from thetadot.integrability.algebrization import Evaluator, Value, surd_root, to_expression
from thetadot.integrability.errors import (
    IntegrabilityError,
    NotAlgebrizableError,
    NotAnOrbitError,
    StationaryOrbitError,
)
from thetadot.integrability.identities import is_zero
from thetadot.integrability.manifolds import InvariantManifold
from thetadot.integrability.quotients import VARIABLE, Surd
from thetadot.integrability.symbolic import SymbolicFlow

LEVELS = (0, 1, sympy.Rational(1, 2), -1, 2)
"""Levels of the planar first integral that are tried unless others are named."""

PARAMETER = sympy.Symbol("p")


@dataclasses.dataclass(frozen=True)
class Orbit:
    """A curve θ(p) that the flow follows.

    Attributes:
        manifold: where it lies. parameter: p. curve: {parameter of the flow: expression in p}, all P.
        velocity: dp/dt. integral, level: the first integral on M and its value, if the orbit came from one.
    """

    manifold: InvariantManifold
    parameter: sympy.Symbol
    curve: dict[sympy.Symbol, sympy.Expr]
    velocity: sympy.Expr
    integral: sympy.Expr | None
    level: sympy.Expr | None

    @cached_property
    def evaluator(self) -> Evaluator:
        """Evaluates expressions in the flow's parameters on the curve."""
        return Evaluator(self.curve, self.parameter)

    @cached_property
    def speed(self) -> Surd:
        """dp/dt as a rational function."""
        return Evaluator({}, self.parameter).surd(self.velocity)

    @property
    def logarithmic(self) -> bool:
        """Whether a parameter is a logarithm of p: an infinite covering, if weights enter as such too."""
        return any(value.has(sympy.log) for value in self.curve.values())

    @property
    def name(self) -> str:
        """The level, or the curve."""
        return f"C = {self.level}" if self.level is not None else "the curve"


def orbit(
    flow: SymbolicFlow,
    manifold: InvariantManifold,
    curve: Mapping[sympy.Symbol, Any],
    parameter: sympy.Symbol,
) -> Orbit:
    """A curve in the manifold, verified to be an orbit: V(θ(p)) = ṗ dθ/dp.

    Arguments:
        flow: the flow. manifold: M. curve: {coordinate of M: expression in p}. parameter: p.

    Raises:
        StationaryOrbitError: nothing moves on it. NotAnOrbitError: the flow does not follow it.
        NotAlgebrizableError: the field is not rational in p.

    Example:
        >>> from thetadot.integrability import invariant_manifold, network_flow
        >>> flow = network_flow([1, 1, 1], "identity", [(1, 2), (-1, -2)])
        >>> w, b, a, c = flow.parameters
        >>> p = sympy.Symbol("p")
        >>> orbit(flow, invariant_manifold(flow, {b: 0, c: 0}), {a: p, w: p}, p).velocity
        -p**3 + 2*p
    """
    return _orbit(flow, manifold, curve, parameter, None, None)


def _orbit(flow, manifold, curve, parameter, integral, level) -> Orbit:
    given = {key: sympy.sympify(value) for key, value in curve.items()}
    missing = [c for c in manifold.coordinates if c not in given]
    if missing or len(given) != len(manifold.coordinates):
        named = ", ".join(map(str, manifold.coordinates))
        raise NotAnOrbitError(f"the curve must give exactly the manifold's coordinates {named}")
    whole = {
        s: given[s] if s in given else manifold.substitution[s].subs(given, simultaneous=True)
        for s in flow.parameters
    }
    evaluator = Evaluator(whole, parameter)
    field = [evaluator.surd(component) for component in flow.field]
    slopes = [_slope(evaluator.known[s]) for s in flow.parameters]
    if all(component.zero for component in field):
        raise StationaryOrbitError("nothing moves on this curve: it consists of equilibria, choose another")
    moving = [i for i, slope in enumerate(slopes) if not slope.zero]
    if not moving:
        raise StationaryOrbitError("the curve is a point: choose one that depends on the parameter")
    speed = field[moving[0]] / slopes[moving[0]]
    for symbol, component, slope in zip(flow.parameters, field, slopes, strict=True):
        if not (component - speed * slope).zero:
            raise NotAnOrbitError(
                f"the flow does not follow this curve: d{symbol}/dt differs from ṗ d{symbol}/dp"
            )
    found = Orbit(manifold, parameter, whole, to_expression(speed, parameter), integral, level)
    found.__dict__["evaluator"] = evaluator
    found.__dict__["speed"] = speed
    return found


def _slope(value: Value) -> Surd:
    slope = value.plain.derivative()
    return slope if value.logarithm is None else slope + value.logarithm / Surd(VARIABLE)


def orbits(
    flow: SymbolicFlow, manifold: InvariantManifold, levels: Sequence[Any] = LEVELS
) -> tuple[Orbit, ...]:
    """The orbits on M that can be written down: M itself (d = 1), or rational leaves of a first integral (d = 2).

    Example:
        >>> from thetadot.integrability import invariant_manifolds, network_flow
        >>> flow = network_flow([1, 1, 1], "tanh", [(1, 1), (-1, -1)])
        >>> [o.level for o in orbits(flow, invariant_manifolds(flow)[0])]
        [0, 1]
    """
    return tuple(found for _, found in leaves(flow, manifold, levels) if isinstance(found, Orbit))


def leaves(
    flow: SymbolicFlow, manifold: InvariantManifold, levels: Sequence[Any] = LEVELS
) -> Iterator[tuple[sympy.Expr | None, Orbit | str]]:
    """(level, orbit), or (level, reason why there is none), one after another."""
    if manifold.dimension == 1:
        coordinate = manifold.coordinates[0]
        try:
            yield None, _orbit(flow, manifold, {coordinate: PARAMETER}, PARAMETER, None, None)
        except IntegrabilityError as error:
            yield None, str(error)
        return
    if manifold.dimension > 2:
        yield None, f"{manifold.dimension} coordinates: no algebraic orbit is known"
        return
    integral = planar_integral(flow, manifold)
    if isinstance(integral, str):
        yield None, integral
        return
    wanted = [sympy.Rational(str(level)) for level in levels]
    wanted += [level for level in _square_levels(flow, integral, manifold) if level not in wanted]
    for level in wanted:
        curve = _curve(flow, manifold, integral, level)
        if isinstance(curve, str):
            yield level, curve
            continue
        try:
            yield level, _orbit(flow, manifold, curve, PARAMETER, integral, level)
        except IntegrabilityError as error:
            yield level, str(error)


def _spacing(flow: SymbolicFlow) -> sympy.Expr | None:
    """The one |x| of the data, or None."""
    network = flow.network
    if network is None or network.widths[0] != 1:
        return None
    sizes = {abs(x[0]) for x, _ in network.data}
    return sizes.pop() if len(sizes) == 1 else None


def planar_integral(flow: SymbolicFlow, manifold: InvariantManifold) -> sympy.Expr | str:
    """A first integral on a two-dimensional M, verified; or why none was found."""
    first, second = manifold.coordinates
    planar = [
        flow.field[flow.parameters.index(s)].subs(manifold.substitution, simultaneous=True)
        for s in (first, second)
    ]
    if all(component == 0 for component in planar):
        return "nothing moves on this manifold"
    reason = "no first integral of the planar flow was found"
    network = flow.network
    if network is not None:
        activation, size = network.activation, _spacing(flow)
        if activation.potential is not None:
            size = sympy.Integer(1) if activation.kind == "quadratic" else size
            if size:
                shaped = activation.potential.subs(Z, size * first) / size**2
                trial = second**2 - 2 * shaped
                if _conserved(trial, (first, second), planar):
                    return trial
            else:
                reason = "several |x|: the planar flow has in general no algebraic orbit"
        else:
            reason = f"{activation.name}: {activation.no_leaf}"
    separated = _separated(first, second, planar)
    return reason if separated is None else separated


def _conserved(integral, coordinates, field) -> bool:
    change = sympy.Add(*(sympy.diff(integral, s) * v for s, v in zip(coordinates, field, strict=True)))
    try:
        return is_zero(change)
    except IntegrabilityError:
        return False


def _separated(first, second, field) -> sympy.Expr | None:
    if not all(component.is_rational_function(first, second) for component in field):
        return None
    ratio = sympy.factor(sympy.cancel(field[0] / field[1])) if field[1] != 0 else None
    parts = None if ratio is None else sympy.separatevars(ratio, symbols=[first, second], dict=True)
    if not parts:
        return None
    # d first/d second = c·F(first)·G(second): ∫ 1/F − c ∫ G is constant.
    left = sympy.integrate(1 / parts[first], first)
    right = sympy.integrate(parts["coeff"] * parts[second], second)
    trial = 2 * (right - left)
    return sympy.expand(trial) if _conserved(trial, (first, second), field) else None


def _square_levels(flow, integral, manifold) -> list[sympy.Expr]:
    kind = flow.network.activation.kind if flow.network is not None else ""
    size = _spacing(flow)
    if kind == "tanh" and size:
        return [sympy.Integer(0), 1 / size**2]
    if kind == "algebraic" and size:
        return [1 / (2 * size**2)]
    return [sympy.Integer(0)]


def _curve(flow, manifold, integral, level) -> dict[sympy.Symbol, sympy.Expr] | str:
    w, a = manifold.coordinates
    p = PARAMETER
    poly = integral.as_poly(w, a)
    if poly is not None and poly.total_degree() == 2:
        return _conic(poly, level, w, a)
    kind = flow.network.activation.kind if flow.network is not None else ""
    size = _spacing(flow)
    if kind == "tanh" and size:
        if level == 0:
            return {w: sympy.log(p) / size, a: (p - 1 / p) / (2 * size)}
        if level * size**2 == 1:
            return {w: sympy.log(p) / size, a: (p + 1 / p) / (2 * size)}
        return f"a² = sinh²(xw)/x² + {level} is no square: the leaf is not rational in exp(w)"
    if kind == "algebraic" and size:
        inner = (p - 1 / p) / (2 * size)
        value = sympy.cancel(integral.subs(w, inner) * -1 + a**2 + level)
        try:
            root = surd_root(Evaluator({}, p).surd(value))
        except NotAlgebrizableError:
            return f"the level {level} is no rational curve together with √(1+z²)"
        return {w: inner, a: to_expression(root, p)}
    if flow.network is not None and flow.network.activation.no_leaf:
        return f"{flow.network.activation.name}: {flow.network.activation.no_leaf}"
    return f"no rational parametrisation of {integral} = {level} is known"


def _conic(poly, level, w, a) -> dict[sympy.Symbol, sympy.Expr] | str:
    """Rational points of α a² + β w² = C."""
    p = PARAMETER
    if poly.coeff_monomial(w * a) or poly.coeff_monomial(w) or poly.coeff_monomial(a):
        return "a conic with mixed or linear terms: name its curve"
    alpha, beta = poly.coeff_monomial(a**2), poly.coeff_monomial(w**2)
    level = (level - poly.coeff_monomial(1)) / alpha if alpha else level
    if not alpha or not beta:
        return "the first integral depends on one coordinate only: name its curve"
    slope = -beta / alpha
    if slope < 0 and level == 0:
        return "the leaf is a point"
    if level == 0:
        root = sympy.sqrt(slope)
        return {w: p, a: root * p}
    root = sympy.sqrt(slope)
    if root.is_Rational:
        return {w: (p - level / p) / (2 * root), a: (p + level / p) / 2}
    point = _rational_point(level, slope)
    if point is None:
        return f"no rational point of small height on a² − {slope}·w² = {level}"
    w0, a0 = point
    # The line a = a0 + p (w − w0) meets the conic once more.
    shift = (2 * slope * w0 - 2 * a0 * p) / (p**2 - slope)
    return {w: sympy.cancel(w0 + shift), a: sympy.cancel(a0 + p * shift)}


def _rational_point(level, slope, height: int = 12) -> tuple[sympy.Expr, sympy.Expr] | None:
    heights = sorted(
        {Fraction(n, d) for n, d in itertools.product(range(height + 1), range(1, height + 1))},
        key=lambda f: (f.denominator + f.numerator, f),
    )
    for value in heights:
        w0 = sympy.Rational(value.numerator, value.denominator)
        a0 = sympy.sqrt(level + slope * w0**2)
        if a0.is_Rational:
            return w0, a0
    return None
