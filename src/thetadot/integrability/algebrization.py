"""Expressions on a curve as rational functions of its parameter p: logarithms may appear inside exponentials only."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flint
import sympy

from thetadot.integrability.errors import (
    AlgebraicCoefficientError,
    InexactDataError,
    NotAlgebrizableError,
    SymbolicParameterError,
)
from thetadot.integrability.number_field import square_free
from thetadot.integrability.quotients import ONE, VARIABLE, Polynomial, Quotient, Surd, rational


@dataclasses.dataclass(frozen=True)
class Value:
    """plain + logarithm·log p; `logarithm` is a constant of the field."""

    plain: Surd
    logarithm: Surd | None = None


_UNIT = Surd(ONE)
_NIL = Surd(Quotient(0))
_I = Surd(Quotient(0), ONE, -1)


def constant_surd(value: Any) -> Surd:
    """A rational number as an element of the field."""
    return Surd(Quotient(Polynomial([rational(value)])))


class Evaluator:
    """Evaluates expressions of sympy on a curve, each subexpression once.

    Arguments:
        curve: {symbol: expression in `parameter`}, or {symbol: Value}.
        parameter: p.
    """

    def __init__(self, curve: Mapping[sympy.Symbol, Any], parameter: sympy.Symbol):
        self.known: dict[Any, Value] = {parameter: Value(Surd(VARIABLE))}
        self.parameter = parameter
        for symbol, expression in curve.items():
            value = expression if isinstance(expression, Value) else self.value(sympy.sympify(expression))
            self.known[symbol] = value

    def surd(self, expression: sympy.Expr) -> Surd:
        """The expression as an element of Q(√D)(p).

        Raises:
            NotAlgebrizableError: it is not rational in p.
        """
        value = self.value(expression)
        if value.logarithm is not None:
            raise NotAlgebrizableError(
                f"{_short(expression)} contains log({self.parameter}) outside an exponential"
            )
        return value.plain

    def value(self, expression: sympy.Expr) -> Value:
        """The expression as plain + logarithm·log p."""
        if expression not in self.known:
            self.known[expression] = self._compute(expression)
        return self.known[expression]

    def _compute(self, e: Any) -> Value:
        if e.is_Float:
            raise InexactDataError(
                f"{e} is a float where exact numbers are needed: write {sympy.nsimplify(e, rational=True)} "
                "if that is meant"
            )
        if e.is_Rational:
            return Value(constant_surd(e))
        if e is sympy.I:
            return Value(_I)
        if e.is_Symbol:
            raise SymbolicParameterError(f"free symbol {e}: give it an exact value")
        if e.is_Add:
            plain, logarithm = _NIL, _NIL
            for part in map(self.value, e.args):
                plain = plain + part.plain
                logarithm = logarithm + (part.logarithm or _NIL)
            return Value(plain, None if logarithm.zero else logarithm)
        if e.is_Mul:
            return self._product(e)
        if e.is_Pow:
            return self._power(e)
        if isinstance(e, sympy.log):
            return self._logarithm(e)
        return Value(self._function(e))

    def _product(self, e: sympy.Expr) -> Value:
        plain, logged = _UNIT, None
        for part in map(self.value, e.args):
            if part.logarithm is None:
                plain = plain * part.plain
            elif logged is None:
                logged = part
            else:
                raise NotAlgebrizableError(f"{_short(e)} has a product of logarithms")
        if logged is None or plain.zero:
            return Value(plain)
        if not is_constant(plain):
            raise NotAlgebrizableError(f"{_short(e)}: log({self.parameter}) times a function of it")
        assert logged.logarithm is not None
        return Value(plain * logged.plain, plain * logged.logarithm)

    def _power(self, e: Any) -> Value:
        base, exponent = e.as_base_exp()
        if base is sympy.E:
            return Value(self._exponential(self.value(exponent)))
        if exponent.is_Integer:
            inner = self.surd(base)
            if inner.zero and exponent < 0:
                raise NotAlgebrizableError(f"{_short(e)} is infinite on the whole curve")
            return Value(inner ** int(exponent))
        if exponent.is_Rational and int(exponent.q) == 2:
            return Value(surd_root(self.surd(base)) ** int(exponent.p))
        raise NotAlgebrizableError(f"{_short(e)} is not rational on the curve")

    def _logarithm(self, e: Any) -> Value:
        inner = self.surd(e.args[0])
        if not inner.radicand:
            top, bottom = inner.plain.numerator, inner.plain.denominator
            degree = int(top.degree() - bottom.degree())
            if inner.plain == VARIABLE**degree:
                return Value(_NIL, constant_surd(degree) if degree else None)
        raise NotAlgebrizableError(f"{_short(e)}: only log({self.parameter}) itself can be algebrized")

    def _exponential(self, argument: Value) -> Surd:
        if not argument.plain.zero:
            raise NotAlgebrizableError("an exponential of a function that is not a multiple of log p")
        power = argument.logarithm or _NIL
        exponent = power.plain.constant
        if power.radicand or exponent is None or exponent.q != 1:
            raise NotAlgebrizableError("an exponential whose power of p is not an integer: choose p finer")
        return Surd(VARIABLE ** int(exponent.p))

    def _function(self, e: Any) -> Surd:
        name = type(e).__name__
        if name not in _EXPONENTIAL:
            raise NotAlgebrizableError(f"{name} is not rational on this curve")
        argument = self.value(e.args[0])
        if name in ("sin", "cos", "tan"):
            argument = Value(_I * argument.plain, _I * (argument.logarithm or _NIL))
        up = self._exponential(argument)
        down = up.inverse()
        return _EXPONENTIAL[name](up, down)


_TWO = constant_surd(2)
_EXPONENTIAL = {
    "exp": lambda up, down: up,
    "sinh": lambda up, down: (up - down) / _TWO,
    "cosh": lambda up, down: (up + down) / _TWO,
    "tanh": lambda up, down: (up - down) / (up + down),
    "coth": lambda up, down: (up + down) / (up - down),
    "sech": lambda up, down: _TWO / (up + down),
    "csch": lambda up, down: _TWO / (up - down),
    "sin": lambda up, down: (up - down) / (_TWO * _I),
    "cos": lambda up, down: (up + down) / _TWO,
    "tan": lambda up, down: (up - down) / (_I * (up + down)),
}


def is_constant(value: Surd) -> bool:
    """Whether it does not depend on p."""
    return value.plain.constant is not None and value.rooted.constant is not None


def surd_root(value: Surd) -> Surd:
    """A square root in Q(√D)(p), positive at p = 2 where it is real there.

    Raises:
        NotAlgebrizableError: there is none.
    """
    if value.zero:
        return value
    if not value.radicand:
        top, bottom = value.plain.numerator, value.plain.denominator
        lead = top.leading_coefficient()
        inner = Quotient(top / lead, bottom).root()
        if inner is not None:
            square, rest = square_free(int(lead.p * lead.q))
            if inner.numerator(2) * inner.denominator(2) < 0:
                inner = -inner
            scaled = Quotient(flint.fmpq(square, lead.q)) * inner
            return Surd(scaled) if rest == 1 else Surd(Quotient(0), scaled, rest)
    raise NotAlgebrizableError(f"the square root of {value} is not rational on the curve")


def to_expression(value: Quotient | Surd, variable: sympy.Symbol) -> sympy.Expr:
    """A rational function as an expression of sympy."""
    if isinstance(value, Surd):
        plain = to_expression(value.plain, variable)
        if not value.radicand:
            return plain
        return plain + to_expression(value.rooted, variable) * sympy.sqrt(value.radicand)
    return _polynomial(value.numerator, variable) / _polynomial(value.denominator, variable)


def _polynomial(poly: flint.fmpq_poly, variable: sympy.Symbol) -> sympy.Expr:
    return sympy.Add(
        *(sympy.Rational(int(c.p), int(c.q)) * variable**k for k, c in enumerate(poly.coeffs()) if c != 0)
    )


def quotient_of(expression: Any, variable: sympy.Symbol) -> Quotient:
    """An expression as a rational function over Q.

    Raises:
        SymbolicParameterError: it has other free symbols.
        AlgebraicCoefficientError: its coefficients are not rational.
        InexactDataError: it contains a float.
        NotAlgebrizableError: it is not a rational function.
    """
    return plain_quotient(Evaluator({}, variable).surd(sympy.sympify(expression)))


def plain_quotient(value: Surd) -> Quotient:
    """The rational function, if no square root is left in it."""
    if value.radicand:
        raise AlgebraicCoefficientError(
            f"the equation has coefficients in Q(√{value.radicand}): rescale the data so that the root cancels"
        )
    return value.plain


def _short(expression: Any) -> str:
    text = str(expression)
    return text if len(text) <= 60 else text[:57] + "…"
