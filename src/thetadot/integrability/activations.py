"""Activations for exact work: expression, parity, and the function S with S' = σ/σ' that shapes the leaves."""

import dataclasses

import sympy

from thetadot.integrability.errors import NotAnalyticError, UnsupportedFlowError

Z = sympy.Symbol("z")
"""The argument of an activation."""

KINKED = (sympy.Abs, sympy.Max, sympy.Min, sympy.Piecewise, sympy.sign, sympy.Heaviside)


@dataclasses.dataclass(frozen=True)
class ExactActivation:
    """One activation.

    Attributes:
        name: as in `thetadot.problems`, or the expression's text. expression: σ(z). odd: σ(−z) = −σ(z).
        potential: S with S' = σ/σ', S(0) = 0, or None. kind: "quadratic" (S a multiple of z²), "tanh", "algebraic"
            (z/√(1+z²)), or "none". no_leaf: why there is no algebraic leaf, if there is none.
    """

    name: str
    expression: sympy.Expr
    odd: bool
    potential: sympy.Expr | None
    kind: str
    no_leaf: str = ""

    def at(self, argument: sympy.Expr) -> sympy.Expr:
        """σ(argument)."""
        return self.expression.subs(Z, argument)


_NAMED = {
    "identity": Z,
    "square": Z**2,
    "cube": Z**3,
    "tanh": sympy.tanh(Z),
    "sigmoid": 1 / (1 + sympy.exp(-Z)),
    "erf": sympy.erf(Z),
    "softplus": sympy.log(1 + sympy.exp(Z)),
    "gelu": Z * (1 + sympy.erf(Z / sympy.sqrt(2))) / 2,
    "algebraic": Z / sympy.sqrt(1 + Z**2),
    "sin": sympy.sin(Z),
}
_POTENTIALS = {"sigmoid": Z + sympy.exp(Z) - 1, "sin": -sympy.log(sympy.cos(Z))}
_NO_LEAF = {
    "sigmoid": "2S = 2z + 2 exp(z) holds z and exp(z) together, which no rational curve does",
    "erf": "σ/σ' = erf(z) exp(z²)√π/2 has no elementary integral",
    "softplus": "σ/σ' has no elementary integral",
    "gelu": "σ/σ' has no elementary integral",
    "sin": "2S = −2 log cos z is a logarithm",
}


def exact_activation(activation: str | sympy.Expr) -> ExactActivation:
    """An activation by name, or an expression of sympy in one symbol.

    Raises:
        NotAnalyticError: relu and its family, or an expression with a kink.
        UnsupportedFlowError: an unknown name, or an expression without exactly one symbol.

    Example:
        >>> exact_activation("cube").potential
        z**2/6
    """
    if isinstance(activation, str):
        if "relu" in activation:
            raise NotAnalyticError(
                f"activation {activation} is not analytic: the theory needs an analytic one, such as tanh"
            )
        if activation not in _NAMED:
            raise UnsupportedFlowError(
                f"activation {activation!r} is unknown here: expected one of {', '.join(_NAMED)}, or an expression"
            )
        name, expression = activation, _NAMED[activation]
    else:
        free = sorted(activation.free_symbols, key=str)
        if len(free) != 1:
            raise UnsupportedFlowError(
                f"activation {activation}: expected an expression in exactly one symbol"
            )
        name, expression = str(activation), activation.subs(free[0], Z)
    if expression.has(*KINKED):
        raise NotAnalyticError(f"activation {name} is not analytic: the theory needs an analytic one")
    odd = sympy.expand(expression.subs(Z, -Z) + expression) == 0
    power = expression.as_coeff_exponent(Z)
    if power[0].is_Rational and power[1].is_Integer and power[1] > 0:
        return ExactActivation(name, expression, odd, Z**2 / (2 * power[1]), "quadratic")
    if expression == sympy.tanh(Z):
        return ExactActivation(name, expression, odd, sympy.sinh(Z) ** 2 / 2, "tanh")
    if expression == _NAMED["algebraic"]:
        return ExactActivation(name, expression, odd, Z**2 / 2 + Z**4 / 4, "algebraic")
    reason = _NO_LEAF.get(name, "no algebraic leaf is known")
    return ExactActivation(name, expression, odd, _POTENTIALS.get(name), "none", reason)
