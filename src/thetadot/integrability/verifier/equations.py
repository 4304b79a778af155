"""Checks of statements about y'' = r(x) y: everything local is computed again, every rank is taken again."""

import itertools
import math
from fractions import Fraction
from typing import Any

from thetadot.integrability.verifier import polynomials as ring
from thetadot.integrability.verifier.poles import Pole, nonresidue, total
from thetadot.integrability.verifier.polynomials import Poly, require
from thetadot.integrability.verifier.rational_functions import (
    Rational,
    keys,
    plus,
    rational_function,
    reduced,
    slope,
    times,
)


class Equation:
    """r with poles and infinity, computed again and compared with the certificate."""

    def __init__(self, data: dict[str, Any]):
        record = keys(data["equation"], {"variable", "numerator", "denominator"})
        name = record["variable"]
        require(isinstance(name, str) and name.isidentifier(), "the variable has no name")
        self.r = rational_function({k: record[k] for k in ("numerator", "denominator")})
        require(isinstance(data["poles"], list), "poles is not a list")
        self.poles = [Pole(entry, self.r) for entry in data["poles"]]
        product: Poly = [Fraction(1)]
        for pole in self.poles:
            product = ring.mul(product, ring.power(pole.factor, pole.order))
        require(product == self.r[1], "the factors do not multiply to the denominator")
        place = keys(data["infinity"], {"order", "discriminant", "root"})
        self.zero = not self.r[0]
        self.order = 10**9 if self.zero else len(self.r[1]) - len(self.r[0])
        require(place["order"] == (None if self.zero else self.order), "the order at infinity is wrong")
        self.discriminant: Fraction | None = None
        if self.order >= 2:
            self.discriminant = 1 + 4 * self.r[0][-1] if self.order == 2 else Fraction(1)
        stated = place["discriminant"]
        require(
            stated == (None if self.discriminant is None else str(self.discriminant)),
            "the discriminant at infinity is wrong",
        )
        self.root = None if self.discriminant is None else ring.rational_root(self.discriminant)
        require(
            place["root"] == (None if self.root is None else str(self.root)), "the root at infinity is wrong"
        )

    def power_bound(self, m: int) -> tuple[list[int], int] | None:
        """Exponents and degree bound of a polynomial factor, None if an exponent is no integer."""
        exponents = []
        for pole in self.poles:
            if pole.order == 1:
                exponents.append(m)
            elif pole.order == 2:
                exponents.append(min(_integers(m, pole.rational)))
            elif pole.order * m % 4:
                return None
            else:
                exponents.append(pole.order * m // 4)
        if self.order >= 2:
            top = max(_integers(m, self.root))
        elif self.order * m % 4:
            return None
        else:
            top = self.order * m // 4
        return exponents, top - sum(e * pole.degree for e, pole in zip(exponents, self.poles, strict=True))

    def recursion(self, exponents: list[int]) -> tuple[Poly, Poly, Poly]:
        """S, S E'/E and S² r."""
        s: Poly = [Fraction(1)]
        for pole in self.poles:
            s = ring.mul(s, ring.power(pole.factor, -(-pole.order // 2)))
        theta: Poly = []
        for pole, e in zip(self.poles, exponents, strict=True):
            theta = ring.add(
                theta, ring.scale(e, ring.mul(ring.exact(s, pole.factor), ring.derivative(pole.factor)))
            )
        return s, theta, ring.exact(ring.mul(ring.mul(s, s), self.r[0]), self.r[1])

    def excluded_power(self, m: int, record: Any) -> None:
        """The m-th symmetric power has no rational solution."""
        keys(record, {"excluded_by"}, {"degree_bound", "prime"})
        require(not self.zero, "r = 0 has rational solutions")
        local, how = self.power_bound(m), record["excluded_by"]
        if how == "exponent":
            require(
                local is None and set(record) == {"excluded_by"}, f"power {m}: every exponent is an integer"
            )
            return
        require(local is not None, f"power {m}: an exponent is no integer")
        assert local is not None
        exponents, bound = local
        require(record.get("degree_bound") == bound, f"power {m}: the degree bound is {bound}")
        if how == "degree":
            require(bound < 0 and "prime" not in record, f"power {m}: the degree bound is not negative")
            return
        require(how == "rank" and bound >= 0, f"power {m}: unknown way of exclusion")
        require(
            self.corank(m, exponents, bound, record.get("prime")) == 0, f"power {m}: the rank is not full"
        )

    def corank(self, m: int, exponents: list[int], bound: int, prime: Any) -> int:
        """Dimension bound of the solutions, modulo a prime."""
        prime = ring.prime_number(prime)
        s, theta, potential = (ring.modular(p, prime) for p in self.recursion(exponents))
        change = [k * c % prime for k, c in enumerate(s)][1:]

        def last(p: list[int]) -> list[int]:
            above: list[int] = []
            current = [-c % prime for c in p]
            for i in range(m, -1, -1):
                slope_ = [k * c % prime for k, c in enumerate(current)][1:]
                factor = ring.mod_add([(m - i) * c for c in change], [-c for c in theta], prime)
                below = ring.mod_add(
                    ring.mod_mul([-c for c in s], slope_, prime), ring.mod_mul(factor, current, prime), prime
                )
                if i < m:
                    weight = -(m - i) * (i + 1)
                    below = ring.mod_add(
                        below, ring.mod_mul([weight * c for c in potential], above, prime), prime
                    )
                above, current = current, below
            return current

        return ring.corank(last, bound, prime)

    def excluded_riccati(self, record: Any) -> None:
        """u' + u² = r has no rational solution with equal signs at conjugate poles."""
        keys(record, {"excluded_by"}, {"pole", "nonresidue", "patterns"})
        how = record["excluded_by"]
        if how == "pole order":
            order = self._pole(record).order
            require(order > 2 and order % 2 == 1, "the pole has no odd order above 2")
        elif how == "infinity order":
            require(self.order < 2 and self.order % 2 != 0, "the order at infinity is even, or at least 2")
        elif how == "infinity square":
            require(self._infinity() is None, "there is a square root at infinity")
        elif how == "pole square":
            pole = self._pole(record)
            require(
                pole.order % 2 == 0 and pole.square is not None and pole.root is None,
                "the pole has a square root",
            )
            assert pole.square is not None
            if pole.degree == 1 and "nonresidue" not in record:
                value = pole.square[0] if pole.square else Fraction(0)
                require(ring.rational_root(value) is None, "the value is a square")
            else:
                nonresidue(record.get("nonresidue"), pole.square, pole.factor)
        else:
            require(how == "patterns", "unknown way of exclusion")
            self._patterns(record.get("patterns"))

    def _pole(self, record: Any) -> Pole:
        index = ring.whole(record.get("pole"))
        require(0 <= index < len(self.poles), "no such pole")
        return self.poles[index]

    def _infinity(self) -> list[tuple[int, Fraction, Poly]] | None:
        """(sign, coefficient of 1/x, polynomial part) of every choice."""
        if self.order > 2:
            return [(1, Fraction(1), []), (-1, Fraction(0), [])]
        if self.order == 2:
            if self.root is None:
                return None
            if self.root == 0:
                return [(0, Fraction(1, 2), [])]
            return [(1, (1 + self.root) / 2, []), (-1, (1 - self.root) / 2, [])]
        require(self.order % 2 == 0, "the order at infinity is odd")
        half, terms = -self.order // 2, -self.order // 2 + 2
        top, bottom = self.r[0][::-1], self.r[1][::-1]
        pad = [Fraction(0)] * terms
        top, bottom, series = (top + pad)[:terms], (bottom + pad)[:terms], []
        for k in range(terms):
            series.append((top[k] - sum(series[i] * bottom[k - i] for i in range(k))) / bottom[0])
        lead = ring.rational_root(series[0])
        if lead is None:
            return None
        a = [lead]
        for k in range(1, half + 1):
            a.append((series[k] - sum(a[i] * a[k - i] for i in range(1, k))) / (2 * lead))
        beta = (series[half + 1] - sum(a[i] * a[half + 1 - i] for i in range(1, half + 1))) / lead
        part = a[::-1]
        return [(1, (beta - half) / 2, ring.trim(list(part))), (-1, (-beta - half) / 2, ring.scale(-1, part))]

    def _choices(self, pole: Pole) -> list[tuple[int, Fraction, Rational]]:
        f = pole.factor
        if pole.order == 1:
            return [(0, Fraction(pole.degree), _traces([Fraction(1)], f, 1))]
        require(pole.order % 2 == 0 and pole.root is not None, "a root is missing at a pole")
        assert pole.root is not None
        if pole.order == 2:
            signs = (1, -1) if pole.root else (0,)
            residues = [
                ring.scale(Fraction(1, 2), ring.add([Fraction(1)], ring.scale(s, pole.root))) for s in signs
            ]
            return [(s, _trace(r, f), _traces(r, f, 1)) for s, r in zip(signs, residues, strict=True)]
        half = pole.order // 2
        series, a = pole.expansion(self.r, half), [pole.root]
        inverted = ring.inverse(ring.scale(2, pole.root), f)
        for k in range(1, half - 1):
            known = total(ring.mul(a[i], a[k - i]) for i in range(1, k))
            a.append(ring.mod(ring.mul(ring.sub(series[k], known), inverted), f))
        square = total(ring.mul(a[i], a[half - 1 - i]) for i in range(1, half - 1))
        ratio = ring.mod(ring.mul(ring.sub(series[half - 1], square), ring.scale(2, inverted)), f)
        found = []
        for sign in (1, -1):
            residue = ring.scale(Fraction(1, 2), ring.add(ring.scale(sign, ratio), [Fraction(half)]))
            part = _traces(residue, f, 1)
            for k, c in enumerate(a):
                part = plus(part, _traces(ring.scale(sign, c), f, half - k))
            found.append((sign, _trace(residue, f), part))
        return found

    def _patterns(self, records: Any) -> None:
        require(isinstance(records, list), "patterns is not a list")
        require(all(p.order == 1 or p.order % 2 == 0 for p in self.poles), "a pole has an odd order")
        infinity = self._infinity()
        require(infinity is not None, "there is no square root at infinity")
        assert infinity is not None
        tables = [self._choices(pole) for pole in self.poles]
        complete = math.prod(len(choices) for choices in (*tables, infinity))
        require(len(records) == complete, "the patterns of signs are not complete")
        for record, chosen in zip(records, itertools.product(*tables, infinity), strict=True):
            keys(record, {"signs"}, {"degree", "prime"})
            require(
                isinstance(record["signs"], list)
                and [ring.whole(s) for s in record["signs"]] == [choice[0] for choice in chosen],
                "a pattern of signs is missing, or not in its place",
            )
            degree = chosen[-1][1] - sum((choice[1] for choice in chosen[:-1]), Fraction(0))
            if "degree" in record:
                require(
                    "prime" not in record and record["degree"] == str(degree),
                    "the degree of a pattern is wrong",
                )
                require(
                    degree.denominator != 1 or degree < 0, "a pattern with a possible degree is not excluded"
                )
                continue
            require(
                degree.denominator == 1 and degree >= 0, "a pattern with an impossible degree has a prime"
            )
            theta: Rational = (list(chosen[-1][2]), [Fraction(1)])
            for choice in chosen[:-1]:
                theta = plus(theta, choice[2])
            self._no_polynomial(theta, int(degree), ring.prime_number(record.get("prime")))

    def _no_polynomial(self, theta: Rational, degree: int, prime: int) -> None:
        twice = times(([Fraction(2)], [Fraction(1)]), theta)
        minus: Rational = (ring.scale(-1, self.r[0]), self.r[1])
        last = plus(plus(slope(theta), times(theta, theta)), minus)
        common = ring.exact(ring.mul(twice[1], last[1]), ring.gcd(twice[1], last[1]))
        parts = (
            common,
            ring.mul(twice[0], ring.exact(common, twice[1])),
            ring.mul(last[0], ring.exact(common, last[1])),
        )
        second, first, zeroth = (ring.modular(p, prime) for p in parts)

        def image(p: list[int]) -> list[int]:
            once = [k * c % prime for k, c in enumerate(p)][1:]
            again = [k * c % prime for k, c in enumerate(once)][1:]
            found = ring.mod_add(ring.mod_mul(second, again, prime), ring.mod_mul(first, once, prime), prime)
            return ring.mod_add(found, ring.mod_mul(zeroth, p, prime), prime)

        require(ring.corank(image, degree, prime) == 0, "a pattern of signs has a solution modulo its prime")

    def solves_power(self, invariant: Rational, m: int) -> None:
        """F solves the m-th symmetric power, m solutions multiplied."""
        require(bool(invariant[0]), "the solution is zero")
        s: Poly = [Fraction(1)]
        for pole in self.poles:
            s = ring.mul(s, ring.power(pole.factor, -(-pole.order // 2)))
        potential = ring.exact(ring.mul(ring.mul(s, s), self.r[0]), self.r[1])
        change, bottom = ring.derivative(s), invariant[1]
        theta = ring.scale(-1, ring.divide(ring.mul(s, ring.derivative(bottom)), bottom)[0])
        require(
            ring.mul(theta, bottom) == ring.scale(-1, ring.mul(s, ring.derivative(bottom))),
            "the solution has a pole where r has none",
        )
        above: Poly = []
        current = ring.scale(-1, invariant[0])
        for i in range(m, -1, -1):
            factor = ring.sub(ring.scale(m - i, change), theta)
            below = ring.sub(ring.mul(factor, current), ring.mul(s, ring.derivative(current)))
            if i < m:
                below = ring.sub(below, ring.scale((m - i) * (i + 1), ring.mul(potential, above)))
            above, current = current, below
        require(not current, f"the function does not solve the symmetric power {m}")

    def wronskian(self, f: Rational) -> Rational:
        """F'² − 2FF'' + 4rF²."""
        first = slope(f)
        found = plus(times(first, first), times(([Fraction(-2)], [Fraction(1)]), times(f, slope(first))))
        return plus(found, times(([Fraction(4)], [Fraction(1)]), times(self.r, times(f, f))))


def _integers(m: int, root: Fraction | None) -> list[int]:
    if root is None:
        return [m // 2]
    candidates = (m // 2 + Fraction(j, 2) * root for j in range(-m, m + 1, 2))
    return [int(c) for c in candidates if c.denominator == 1]


def _traces(c: Poly, f: Poly, order: int) -> Rational:
    """Σ over the roots α of f of c(α)/(x − α)^order."""
    found = reduced(ring.mod(ring.mul(c, ring.derivative(f)), f), f)
    for k in range(1, order):
        found = times(([Fraction(-1, k)], [Fraction(1)]), slope(found))
    return found


def _trace(c: Poly, f: Poly) -> Fraction:
    top = ring.mod(ring.mul(c, ring.derivative(f)), f)
    return top[len(f) - 2] if len(top) == len(f) - 1 else Fraction(0)
