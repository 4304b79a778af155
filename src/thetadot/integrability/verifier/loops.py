"""Monodromy integrated again, in balls: a non-zero Cartan value is a theorem."""

import itertools
from fractions import Fraction
from typing import Any

import flint
import sympy

from thetadot.integrability.verifier.expressions import parse
from thetadot.integrability.verifier.polynomials import InvalidError, number, require, whole
from thetadot.integrability.verifier.rational_functions import keys

_MOST_BITS = 3072
_MOST_CORNERS = 2000
_MOST_STEPS = 20_000
_MOST_GROWTH = 12

Corner = tuple[Fraction, Fraction]


class _System:
    """q Y' = P Y over Q(√D) in balls."""

    def __init__(self, entries: list[list[sympy.Expr]], p: sympy.Symbol):
        self.order = len(entries)
        fractions = [[sympy.fraction(sympy.cancel(e)) for e in row] for row in entries]
        common = sympy.Poly(1, p, extension=True)
        for row in fractions:
            for _, bottom in row:
                common = sympy.lcm(common, sympy.Poly(bottom, p, extension=True))
        self.q = _balls(common)
        self.p = [
            [
                _balls(sympy.Poly(top, p, extension=True) * common.quo(sympy.Poly(bottom, p, extension=True)))
                for top, bottom in row
            ]
            for row in fractions
        ]
        # Roots over Q: the norm of the denominator has them among its own.
        norm = common.norm() if common.get_domain().is_Algebraic else common
        self.roots = []
        for factor, _ in sympy.Poly(norm.as_expr(), p, domain="QQ").factor_list()[1]:
            exact = flint.fmpq_poly(
                [flint.fmpq(int(c.p), int(c.q)) for c in map(sympy.Rational, reversed(factor.all_coeffs()))]
            )
            self.roots += [root for root, _ in exact.complex_roots()]
        self.degree = self.q.degree()

    def step(self, here: Corner, end: Corner, bits: int) -> tuple[Corner, flint.acb_mat]:
        """How far one series leads from `here` towards `end`, and the solution there that begins with 1."""
        k, centre = self.order, _point(here)
        shift = flint.acb_poly([centre, 1])
        q = self.q(shift)
        rows = [[poly(shift) for poly in row] for row in self.p]
        length = max([1] + [poly.length() for row in rows for poly in row])
        p = [flint.acb_mat([[poly[n] for poly in row] for row in rows]) for n in range(length)]
        rho, exponent = self.disc(centre, q[0].abs_lower(), p)
        across = (end[0] - here[0], end[1] - here[1])
        away, reach = float(across[0] ** 2 + across[1] ** 2) ** 0.5, float(rho.lower()) / 3
        target = end
        if away > reach:
            share = Fraction(int(reach / away * 2**16), 2**16)
            require(share > 0, "a loop runs into a singular point")
            x, y = (
                Fraction(round((a + b * share) * 2**40), 2**40) for a, b in zip(here, across, strict=True)
            )
            target = (x, y)
        h = _point((target[0] - here[0], target[1] - here[1]))
        x = abs(h) / rho
        require(bool(x < flint.arb(0.5)), "a step of a loop is too long")
        growth, terms = exponent.exp(), 8
        while bool((growth * x ** (terms + 1) / (1 - x)) > flint.arb(2) ** (-bits)):
            terms += 8
        series = [flint.acb_mat([[int(i == j) for j in range(k)] for i in range(k)])]
        total, current = series[0], flint.acb(1)
        for n in range(terms):
            new = flint.acb_mat(k, k)
            for i in range(min(n + 1, length)):
                new += p[i] * series[n - i]
            for i in range(1, min(n, self.degree) + 1):
                new -= series[n + 1 - i] * (q[i] * (n + 1 - i))
            series.append(new * (1 / (q[0] * (n + 1))))
            current *= h
            total += series[-1] * current
        tail = (growth * x ** (terms + 1) / (1 - x)).upper()
        ball = flint.acb(tail.union(-tail), tail.union(-tail))
        return target, total + flint.acb_mat([[ball] * k for _ in range(k)])

    def disc(
        self, centre: flint.acb, value: flint.arb, p: list[flint.acb_mat]
    ) -> tuple[flint.arb, flint.arb]:
        """A radius ρ and a bound of ρ·max‖P/q‖ on the disc: solutions there are at most its exponential.

        With s = ρ/(distance to the nearest root), |q| ≥ |q(centre)| (1 − s)^degree on the disc.
        """
        gap = min(((centre - root).abs_lower() for root in self.roots), key=float)
        require(bool(gap > 0) and bool(value > 0), "a loop runs into a singular point")
        for halvings in range(1, 60):
            rho = gap / 2**halvings
            top = flint.arb(0)
            for n, matrix in enumerate(p):
                top += sum((abs(entry) for entry in matrix.entries()), flint.arb(0)) * rho**n
            exponent = rho * top / (value * (1 - flint.arb(2) ** -halvings) ** self.degree)
            if bool(exponent < _MOST_GROWTH):
                return rho, exponent
        raise InvalidError("a corner of a loop is too near a singular point")

    def around(self, corners: list[Corner], bits: int) -> flint.acb_mat:
        k, steps = self.order, 0
        total = flint.acb_mat([[int(i == j) for j in range(k)] for i in range(k)])
        for here, end in itertools.pairwise(corners):
            while here != end:
                here, part = self.step(here, end, bits)
                total, steps = part * total, steps + 1
                require(steps <= _MOST_STEPS, "a loop takes too many steps")
        return total


def _point(z: Any) -> flint.acb:
    return flint.acb(*(flint.arb(flint.fmpq(c.numerator, c.denominator)) for c in z))


def _balls(poly: sympy.Poly) -> flint.acb_poly:
    return flint.acb_poly([_constant(c) for c in reversed(poly.all_coeffs())])


def _constant(value: Any) -> flint.acb:
    """a + b√D as a ball."""
    total = flint.acb(0)
    for term in sympy.Add.make_args(sympy.expand(value)):
        product = flint.acb(1)
        for factor in sympy.Mul.make_args(term):
            if factor.is_Rational:
                product *= flint.acb(flint.fmpq(int(factor.p), int(factor.q)))
            elif factor.is_Pow and factor.base.is_Integer and factor.exp == sympy.Rational(1, 2):
                product *= flint.acb(int(factor.base)).sqrt()
            else:
                require(factor == sympy.I, "a coefficient is not in a quadratic field")
                product *= flint.acb(0, 1)
        total += product
    return total


def _logarithm(matrix: flint.acb_mat) -> flint.acb_mat:
    """P diag(log|λ|) P⁻¹ divided by the largest difference of log|λ|."""
    k = matrix.nrows()
    identity = flint.acb_mat([[int(i == j) for j in range(k)] for i in range(k)])
    if k == 2:
        half = matrix.trace() / 2
        root = (half * half - matrix.det()).sqrt()
        values = [half + root, half - root]
    else:
        try:
            values = list(matrix.eig())
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidError("the eigenvalues of a word do not separate") from error
    sizes = [abs(v).log() for v in values]
    total = flint.acb_mat(k, k)
    for i, j_others in ((i, [j for j in range(k) if j != i]) for i in range(k)):
        term = identity * sizes[i]
        for j in j_others:
            gap = values[i] - values[j]
            require(not gap.contains(0), "the eigenvalues of a word do not separate")
            term = term * (matrix - identity * values[j]) * (1 / gap)
        total += term
    spreads = sorted((s for s in sizes), key=lambda s: float(s.mid()))
    spread = spreads[-1] - spreads[0]
    require(bool(spread > 0), "the eigenvalues of a word have equal sizes")
    return total * (1 / spread)


def check_monodromy(data: dict[str, Any]) -> None:
    """tr(D_U[D_V, D_W]) is at least the stated bound: G⁰ of the system is not solvable."""
    keys(data, {"format", "kind", "variable", "system", "loops", "words", "bits", "lower_bound"})
    name, rows = data["variable"], data["system"]
    require(isinstance(name, str) and name.isidentifier(), "the variable has no name")
    require(
        isinstance(rows, list)
        and 1 < len(rows) <= 12
        and all(isinstance(r, list) and len(r) == len(rows) for r in rows),
        "the system is not square",
    )
    entries = [[parse(text, [name]) for text in row] for row in rows]
    bits = whole(data["bits"])
    require(32 <= bits <= _MOST_BITS, "bits is out of bounds")
    loops = []
    require(isinstance(data["loops"], list) and bool(data["loops"]), "there are no loops")
    for loop in data["loops"]:
        require(
            isinstance(loop, list) and 2 < len(loop) <= _MOST_CORNERS,
            "a loop has too few or too many corners",
        )
        require(all(isinstance(c, list) and len(c) == 2 for c in loop), "a corner is not a pair")
        loops.append([(number(x), number(y)) for x, y in loop])
    base = loops[0][0]
    require(all(loop[0] == base and loop[-1] == base for loop in loops), "a loop does not close at the base")
    words = data["words"]
    require(isinstance(words, list) and len(words) == 3, "there are not three words")
    for word in words:
        require(isinstance(word, list) and 0 < len(word) <= 64, "a word is empty or too long")
        require(all(0 < abs(whole(a)) <= len(loops) for a in word), "a word names no loop")
    bound = data["lower_bound"]
    require(isinstance(bound, str), "the bound is not a text")
    try:
        stated = float(bound)
    except ValueError as error:
        raise InvalidError("the bound is not a number") from error
    require(0 < stated < float("inf"), "the bound is not positive")
    before = flint.ctx.prec
    flint.ctx.prec = 3 * bits + 64
    try:
        system = _System(entries, sympy.Symbol(name))
        matrices = [system.around(loop, bits) for loop in loops]
        logs = []
        for word in words:
            total = flint.acb_mat([[int(i == j) for j in range(system.order)] for i in range(system.order)])
            for a in word:
                total = (matrices[a - 1] if a > 0 else matrices[-a - 1].inv()) * total
            logs.append(_logarithm(total))
        x, y, z = logs
        value = abs((x * (y * z - z * y)).trace())
        require(bool(value.lower() >= flint.arb(stated)), "the value is below the stated bound")
    finally:
        flint.ctx.prec = before
