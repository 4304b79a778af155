"""Whether an expression vanishes identically: refuted at random points, proved by normal forms."""

import random

import sympy

from thetadot.integrability.errors import IntegrabilityError

_DIGITS = 40


def refuted_zero(expression: sympy.Expr) -> bool:
    """Whether a value at a random point shows that the expression is not zero."""
    chance = random.Random(0)
    free = sorted(expression.free_symbols, key=str)
    for _ in range(2):
        point = {symbol: sympy.Rational(chance.randint(50, 400), 307) for symbol in free}
        value = expression.evalf(_DIGITS, subs=point, chop=False)
        if value.is_number and abs(value) > sympy.Float("1e-25"):
            return True
    return False


def is_zero(expression: sympy.Expr) -> bool:
    """Whether the expression vanishes identically.

    Raises:
        IntegrabilityError: neither a point that refutes it nor a proof was found.
    """
    if expression.is_zero:
        return True
    if refuted_zero(expression):
        return False
    if sympy.expand(expression) == 0:
        return True
    if sympy.cancel(sympy.together(expression.rewrite(sympy.exp))) == 0:
        return True
    if sympy.simplify(expression) == 0:
        return True
    raise IntegrabilityError(f"could not decide whether {expression} vanishes identically")
