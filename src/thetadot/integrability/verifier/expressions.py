"""Expressions from strangers: parsed without evaluating anything, and identities on a curve proved at enough points."""

import ast
import dataclasses
import functools
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import sympy

from thetadot.integrability.verifier.polynomials import MOST_DEGREE, InvalidError, rational_root, require

FUNCTIONS = {
    name: getattr(sympy, name)
    for name in ["exp", "log", "sqrt", "tanh", "sinh", "cosh", "sin", "cos", "atan", "erf"]
}
_MOST_TEXT = 2_000_000
_MOST_NODES = 200_000
_MOST_BITS = 100_000


def parse(text: Any, names: Iterable[str]) -> sympy.Expr:
    """An expression in + − * / **, parentheses, numbers, declared names and a few functions."""
    require(isinstance(text, str) and len(text) <= _MOST_TEXT, "an expression is not a text, or too long")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidError(f"not an expression: {text[:60]!r}") from error
    require(sum(1 for _ in ast.walk(tree)) <= _MOST_NODES, "an expression is too large")
    try:
        return _built(tree.body, set(names))
    except (RecursionError, ZeroDivisionError, ValueError, TypeError) as error:
        raise InvalidError(f"not an expression: {text[:60]!r}") from error


def _built(node: ast.AST, names: set[str]) -> Any:
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool):
            return sympy.Integer(value)
        raise InvalidError(f"{value!r:.40} is not a whole number")
    if isinstance(node, ast.Name):
        require(node.id in names, f"{node.id!r:.40} is not declared")
        return sympy.Symbol(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        inner = _built(node.operand, names)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        left, right = _built(node.left, names), _built(node.right, names)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            require(right != 0, "an expression divides by zero")
            return left / right
        if isinstance(node.op, ast.Pow):
            small = right.is_Rational and right.q in (1, 2) and abs(right.p) <= MOST_DEGREE
            require(bool(small), "an exponent is not a small half of a whole number")
            require(not left.is_number or abs(right.p) <= 64, "a power of a number is too large")
            if left.is_Rational:
                bits = max(int(left.p).bit_length(), int(left.q).bit_length())
                require(bits * abs(right.p) <= _MOST_BITS, "a power of a number is too large")
            require(left != 0 or right > 0, "an expression divides by zero")
            found = left**right
            if found.is_Pow and found.exp.is_Rational:
                require(bool(abs(found.exp) <= MOST_DEGREE), "an exponent is too large")
            return found
    if isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        require(
            named and len(node.args) == 1 and not node.keywords,
            "a call of something that is no known function",
        )
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id](_built(node.args[0], names))
    raise InvalidError(f"{type(node).__name__} is not allowed in an expression")


Number = tuple[Fraction, Fraction]
"""a + b√D."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """A bound: degree of the numerator over a product of powers of named denominators."""

    degree: int
    bottom: Mapping[Any, int]


class Curve:
    """Expressions in named symbols on a curve in one parameter p, of Q(√D)(p).

    An identity in p holds if it holds at more points than the degree of its numerator. Each square root of a function
    takes its positive value; with k of them one choice of signs holds at a 2⁻ᵏ-th of the points, so 2ᵏ times as many
    are taken.
    """

    def __init__(self, curve: Mapping[sympy.Symbol, sympy.Expr], parameter: sympy.Symbol):
        self.curve, self.parameter = dict(curve), parameter
        self.radicand = 0
        self.roots: set[Any] = set()
        self.degrees: dict[Any, int] = {}
        self.shapes: dict[Any, Shape] = {}

    def require_zero(self, expressions: Iterable[sympy.Expr], what: str) -> None:
        """Every expression vanishes on the curve."""
        listed = [e for e in expressions if e != 0]
        if not listed:
            return
        degrees = [self._shape(e).degree for e in listed]
        needed = (max(degrees) + 1) * 2 ** len(self.roots)
        require(needed <= MOST_DEGREE, f"{what}: the degree is too large to check")
        good, t = 0, 2
        while good < needed:
            require(t < 4 * needed + 100, f"{what}: too many singular points")
            try:
                point = _Point(self, Fraction(t))
                for e in listed:
                    require(point.value(e) == (0, 0), f"{what}: the identity does not hold")
                good += 1
            except ZeroDivisionError:
                pass
            t += 1

    def vanishes(self, expression: sympy.Expr) -> bool:
        """Whether the expression vanishes on the curve."""
        try:
            self.require_zero([expression], "identity")
        except InvalidError as error:
            if "does not hold" in str(error):
                return False
            raise
        return True

    @functools.cache  # noqa: B019 (one curve lives as long as one check)
    def logarithm(self, argument: sympy.Expr) -> int:
        """q with argument = q·log p on the curve."""
        p = self.parameter
        placed = sympy.expand(argument.subs(self.curve))
        q = placed.coeff(sympy.log(p))
        require(
            q.is_Integer and sympy.expand(placed - q * sympy.log(p)) == 0,
            "an exponential is not rational on the curve",
        )
        return int(q)

    def _shape(self, e: Any) -> Shape:
        if e not in self.shapes:
            self.shapes[e] = self._computed(e)
        return self.shapes[e]

    def _degree(self, bottom: Mapping[Any, int]) -> int:
        return sum(self.degrees[atom] * count for atom, count in bottom.items())

    def _computed(self, e: Any) -> Shape:
        if e.is_Rational:
            return Shape(0, {})
        if e == self.parameter:
            return Shape(1, {})
        if e.is_Symbol:
            require(e in self.curve, f"{e} is not declared")
            return self._shape(self.curve[e])
        if e.is_Add:
            parts = [self._shape(a) for a in e.args]
            bottom: dict[Any, int] = {}
            for part in parts:
                for atom, count in part.bottom.items():
                    bottom[atom] = max(bottom.get(atom, 0), count)
            whole = self._degree(bottom)
            return Shape(max(part.degree + whole - self._degree(part.bottom) for part in parts), bottom)
        if e.is_Mul:
            degree, bottom = 0, {}
            for part in (self._shape(a) for a in e.args):
                degree += part.degree
                for atom, count in part.bottom.items():
                    bottom[atom] = bottom.get(atom, 0) + count
            return Shape(degree, bottom)
        if e.is_Pow and e.base != sympy.E:
            return self._power_shape(e)
        return self._function_shape(e)

    def _power_shape(self, e: Any) -> Shape:
        base, exponent = e.base, e.exp
        require(exponent.is_Rational and exponent.q in (1, 2), "an exponent is not rational on the curve")
        inner, count = self._shape(base), int(exponent.p)
        if exponent.q == 2:
            if base.is_Rational:
                self._adjoin(base)
                return Shape(0, {})
            self.roots.add(base)
            inner = Shape(-(-(inner.degree + self._degree(inner.bottom)) // 2), inner.bottom)
        if count > 0:
            return Shape(inner.degree * count, {atom: k * count for atom, k in inner.bottom.items()})
        atom = (base, exponent.q)
        self.degrees[atom] = inner.degree
        return Shape(self._degree(inner.bottom) * -count, {atom: -count} if inner.degree else {})

    def _adjoin(self, value: Any) -> None:
        found = _square_free(int(value.p) * int(value.q))
        if found != 1:
            require(self.radicand in (0, found), "more than one square root of a number")
            self.radicand = found

    def _function_shape(self, e: Any) -> Shape:
        name = type(e).__name__
        require(name in ("exp", "tanh", "sinh", "cosh"), f"{name} is not rational on the curve")
        q = self.logarithm(e.args[0])
        if name == "exp":
            atom = "p"
            self.degrees[atom] = 1
            return Shape(q, {}) if q >= 0 else Shape(0, {atom: -q})
        size = abs(q)
        atom = ("tanh", size) if name == "tanh" else "p"
        self.degrees[atom] = 2 * size if name == "tanh" else 1
        return Shape(2 * size, {atom: 1 if name == "tanh" else size})


def _square_free(value: int) -> int:
    found = 1 if value > 0 else -1
    for prime, power in sympy.factorint(abs(value)).items():
        if power % 2:
            found *= prime
    return found


class _Point:
    """Values at one rational point p > 1."""

    def __init__(self, curve: Curve, t: Fraction):
        self.curve, self.t = curve, t
        self.known: dict[Any, Number] = {curve.parameter: (t, Fraction(0))}

    def value(self, e: Any) -> Number:
        found = self.known.get(e)
        if found is None:
            found = self.known[e] = self._computed(e)
        return found

    def _times(self, a: Number, b: Number) -> Number:
        if not (a[1] or b[1]):
            return a[0] * b[0], Fraction(0)
        return a[0] * b[0] + self.curve.radicand * a[1] * b[1], a[0] * b[1] + a[1] * b[0]

    def _power(self, a: Number, count: int) -> Number:
        if count < 0:
            norm = a[0] ** 2 - self.curve.radicand * a[1] ** 2
            if norm == 0:
                raise ZeroDivisionError
            a, count = (a[0] / norm, -a[1] / norm), -count
        if not a[1]:
            return a[0] ** count, Fraction(0)
        found: Number = (Fraction(1), Fraction(0))
        for _ in range(count):
            found = self._times(found, a)
        return found

    def _computed(self, e: Any) -> Number:
        if e.is_Rational:
            return Fraction(int(e.p), int(e.q)), Fraction(0)
        if e.is_Symbol:
            return self.value(self.curve.curve[e])
        if e.is_Add:
            parts = [self.value(a) for a in e.args]
            return sum((a for a, _ in parts), Fraction(0)), sum((b for _, b in parts), Fraction(0))
        if e.is_Mul:
            found: Number = (Fraction(1), Fraction(0))
            for a in e.args:
                found = self._times(found, self.value(a))
            return found
        if e.is_Pow and e.base != sympy.E:
            base = self.value(e.base)
            if e.exp.q == 2:
                base = self._root(base)
            return self._power(base, int(e.exp.p))
        up = self.t ** self.curve.logarithm(e.args[0])
        name = type(e).__name__
        if name == "exp":
            return up, Fraction(0)
        if name == "tanh":
            return (up - 1 / up) / (up + 1 / up), Fraction(0)
        return (up - 1 / up if name == "sinh" else up + 1 / up) / 2, Fraction(0)

    def _root(self, a: Number) -> Number:
        require(not a[1], "a square root of an irrational function")
        root = rational_root(a[0])
        if root is not None:
            return root, Fraction(0)
        require(self.curve.radicand != 0, "a square root is not rational on the curve")
        root = rational_root(a[0] / self.curve.radicand)
        require(root is not None, "a square root is not rational on the curve")
        assert root is not None
        return Fraction(0), root
