"""Arithmetic of the certificate checker in Python's own integers: slow, short, and shared with nothing else.

A polynomial is a dict {sorted tuple of variables, repeated by power: coefficient}. A nested dual number is a list of
2^k residues whose second half belongs to the newest unit.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

Polynomial = dict[tuple[int, ...], Any]
Dual = list[int]


class NotIndependentError(Exception):
    """Fields that were claimed to be independent are not."""


def is_prime(number: int) -> bool:
    """Whether a number below 2³² is a prime, by Miller and Rabin with bases that decide there."""
    if number < 5 or number >= 2**32 or number % 2 == 0:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7):
        if base % number == 0:
            continue
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def polynomial(terms: Sequence[Any]) -> Polynomial:
    """From [[coefficient, [[variable, power], …]], …]."""
    found: Polynomial = {}
    for coefficient, powers in terms:
        key = tuple(sorted(v for variable, power in powers for v in [variable] * power))
        found[key] = found.get(key, 0) + coefficient
    return {key: c for key, c in found.items() if c}


def add(a: dict[Any, Any], b: dict[Any, Any], sign: int = 1) -> dict[Any, Any]:
    """a + sign·b, of polynomials, matrices or sparse rows."""
    found = dict(a)
    for key, c in b.items():
        total = found.get(key, 0) + sign * c
        if total:
            found[key] = total
        else:
            found.pop(key, None)
    return found


def scale(a: Polynomial, factor: Any) -> Polynomial:
    """factor·a."""
    return {key: c * factor for key, c in a.items()} if factor else {}


def multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    """a·b."""
    found: Polynomial = {}
    for key, c in a.items():
        for other, d in b.items():
            both = tuple(sorted(key + other))
            found[both] = found.get(both, 0) + c * d
    return {key: c for key, c in found.items() if c}


def derivative(a: Polynomial, variable: int) -> Polynomial:
    """∂a/∂variable."""
    found = {}
    for key, c in a.items():
        power = key.count(variable)
        if power:
            place = key.index(variable)
            found[key[:place] + key[place + 1 :]] = c * power
    return found


def degree(a: Polynomial) -> int:
    """Total degree; 0 for zero."""
    return max((len(key) for key in a), default=0)


def residue(number: Any, prime: int) -> int:
    """An integer or a fraction modulo a prime."""
    return number.numerator * pow(number.denominator, -1, prime) % prime


def value(a: Polynomial, point: Sequence[int], prime: int) -> int:
    """a(point) modulo a prime."""
    total = 0
    for key, c in a.items():
        term = residue(c, prime)
        for variable in key:
            term = term * point[variable] % prime
        total += term
    return total % prime


def rank_mod(rows: Sequence[Sequence[int]], prime: int) -> int:
    """Rank over GF(prime), by elimination."""
    kept: dict[int, list[int]] = {}
    for row in rows:
        row = [entry % prime for entry in row]
        for pivot, other in kept.items():
            if row[pivot]:
                factor = row[pivot]
                row = [(a - factor * b) % prime for a, b in zip(row, other, strict=True)]
        pivot = next((k for k, entry in enumerate(row) if entry), None)
        if pivot is not None:
            inverse = pow(row[pivot], -1, prime)
            kept[pivot] = [entry * inverse % prime for entry in row]
    return len(kept)


def rank(rows: Sequence[Any]) -> int:
    """Rank over the rationals, of rows given as lists or as dicts {place: entry}."""
    kept: dict[Any, dict] = {}
    for row in rows:
        reduced = _reduced(row, kept)
        if reduced:
            pivot = min(reduced)
            first = Fraction(reduced[pivot])
            kept[pivot] = {k: x / first for k, x in reduced.items()}
    return len(kept)


def _reduced(row: Any, kept: dict[Any, dict]) -> dict:
    entries = row.items() if isinstance(row, dict) else enumerate(row)
    left = {k: x for k, x in entries if x}
    for pivot, other in kept.items():
        if pivot in left:
            factor = left[pivot]
            for k, x in other.items():
                total = left.get(k, 0) - factor * x
                if total:
                    left[k] = total
                else:
                    left.pop(k, None)
    return left


def dual_multiply(a: Dual, b: Dual, prime: int) -> Dual:
    """a·b; a number without units multiplies every part."""
    if len(a) == 1:
        return [a[0] * x % prime for x in b]
    if len(b) == 1:
        return [x * b[0] % prime for x in a]
    half = len(a) // 2
    low = dual_multiply(a[:half], b[:half], prime)
    mixed = zip(
        dual_multiply(a[:half], b[half:], prime), dual_multiply(a[half:], b[:half], prime), strict=True
    )
    return low + [(x + y) % prime for x, y in mixed]


def dual_add(a: Dual, b: Dual, prime: int) -> Dual:
    """a + b."""
    a, b = _padded(a, b)
    return [(x + y) % prime for x, y in zip(a, b, strict=True)]


def dual_dot(a: Sequence[Dual], b: Sequence[Dual], prime: int) -> Dual:
    """Σ a_k·b_k."""
    total: Dual = [0]
    for x, y in zip(a, b, strict=True):
        total = dual_add(total, dual_multiply(x, y, prime), prime)
    return total


def _padded(a: Dual, b: Dual) -> tuple[Dual, Dual]:
    length = max(len(a), len(b))
    return a + [0] * (length - len(a)), b + [0] * (length - len(b))


def bracket(
    evaluate: Callable[[list[Dual], int], list[Dual]], word: Sequence[int], state: list[Dual], prime: int
) -> list[Dual]:
    """[X₁,[X₂,…]] at a state: the parts of the newest unit of X(state + e·direction) are derivatives."""
    length = max(len(entry) for entry in state)
    here = [entry + [0] * (length - len(entry)) for entry in evaluate(state, word[0])]
    if len(word) == 1:
        return here

    def beside(direction: list[Dual]) -> list[Dual]:
        return [
            x + [0] * (length - len(x)) + v + [0] * (length - len(v))
            for x, v in zip(state, direction, strict=True)
        ]

    def newest(numbers: list[Dual]) -> list[Dual]:
        return [(x + [0] * (2 * length - len(x)))[length:] for x in numbers]

    there = bracket(evaluate, word[1:], state, prime)
    along = newest(bracket(evaluate, word[1:], beside(here), prime))
    back = newest(evaluate(beside(there), word[0]))
    return [[(x - y) % prime for x, y in zip(a, b, strict=True)] for a, b in zip(along, back, strict=True)]


Matrix = dict[tuple[int, ...], Any]


def affine_matrix(field: list[Polynomial]) -> Matrix:
    """The matrix of an affine field on (state, 1); column len(field) is the constant part."""
    size = len(field)
    found = {}
    for row, entry in enumerate(field):
        for key, c in entry.items():
            found[row, key[0] if key else size] = c
    return found


def matrix_bracket(x: Matrix, y: Matrix) -> Matrix:
    """The matrix of [X, Y] = DY·X − DX·Y, which is YX − XY."""
    return add(_product(y, x), _product(x, y), -1)


def _product(a: Matrix, b: Matrix) -> Matrix:
    rows: dict[int, list[tuple[int, Any]]] = {}
    for (i, j), c in b.items():
        rows.setdefault(i, []).append((j, c))
    found: Matrix = {}
    for (i, k), c in a.items():
        for j, d in rows.get(k, ()):
            total = found.get((i, j), 0) + c * d
            if total:
                found[i, j] = total
            else:
                found.pop((i, j), None)
    return found


def word_matrix(matrices: list[Matrix], word: Sequence[int]) -> Matrix:
    """The left-normed bracket of generators with these numbers."""
    found = matrices[word[-1]]
    for number in reversed(word[:-1]):
        found = matrix_bracket(matrices[number], found)
    return found


def apply(matrix: Matrix, point: Sequence[int], prime: int | None) -> list[int]:
    """The field at a point, modulo a prime or exactly."""
    found = [0] * len(point)
    for (i, j), c in matrix.items():
        found[i] += c * (point[j] if j < len(point) else 1)
    return [residue(entry, prime) for entry in found] if prime else found


def closed_algebra(matrices: list[Matrix]) -> list[Matrix]:
    """A basis over the rationals of the Lie algebra of matrices."""
    kept: dict[Any, dict] = {}
    basis: list[Matrix] = []
    waiting = list(matrices)
    while waiting:
        found = waiting.pop()
        reduced = _reduced(found, kept)
        if not reduced:
            continue
        pivot = min(reduced)
        kept[pivot] = {k: Fraction(x) / Fraction(reduced[pivot]) for k, x in reduced.items()}
        basis.append(found)
        waiting += [matrix_bracket(generator, found) for generator in matrices]
    return basis


def word_field(fields: list[list[Polynomial]], word: Sequence[int]) -> list[Polynomial]:
    """The left-normed bracket of polynomial fields with these numbers."""
    found = fields[word[-1]]
    for number in reversed(word[:-1]):
        found = field_bracket(fields[number], found)
    return found


def field_bracket(x: list[Polynomial], y: list[Polynomial]) -> list[Polynomial]:
    """DY·X − DX·Y."""
    found = []
    for a, b in zip(x, y, strict=True):
        total: Polynomial = {}
        for k in range(len(x)):
            slope, other = derivative(b, k), derivative(a, k)
            if slope and x[k]:
                total = add(total, multiply(slope, x[k]))
            if other and y[k]:
                total = add(total, multiply(other, y[k]), -1)
        found.append(total)
    return found


def spans(basis: list[list[Polynomial]], others: list[list[Polynomial]]) -> bool:
    """Whether fields lie in the span of independent ones over the function field: all bordered minors vanish.

    Raises:
        NotIndependentError: the basis is not independent.
    """
    prime = 2**31 - 1
    size = len(basis[0])
    point = [pow(3, 7 * k + 5, prime) for k in range(size)]
    rows = [[value(entry, point, prime) for entry in field] for field in basis]
    by_length = sorted(range(size), key=lambda c: sum(len(field[c]) for field in basis))
    columns: list[int] = []
    for c in by_length:
        trial = [*columns, c]
        if rank_mod([[row[k] for k in trial] for row in rows], prime) == len(trial):
            columns = trial
    if len(columns) != len(basis):
        raise NotIndependentError
    rest = [c for c in range(size) if c not in columns]
    minor = _determinant([[field[c] for c in columns] for field in basis])
    cofactors = []
    for j in range(len(basis)):
        others_j = [field for i, field in enumerate(basis) if i != j]
        line = []
        for k in range(len(columns)):
            kept = [c for i, c in enumerate(columns) if i != k]
            sign = -1 if (j + k) % 2 else 1
            line.append(scale(_determinant([[field[c] for c in kept] for field in others_j]), sign))
        cofactors.append(line)
    for field in others:
        weights = []
        for j in range(len(basis)):
            weight: Polynomial = {}
            for k, c in enumerate(columns):
                if field[c] and cofactors[j][k]:
                    weight = add(weight, multiply(field[c], cofactors[j][k]))
            weights.append(weight)
        for c in rest:
            total = multiply(minor, field[c])
            for j, weight in enumerate(weights):
                if weight and basis[j][c]:
                    total = add(total, multiply(weight, basis[j][c]), -1)
            if total:
                return False
    return True


def _determinant(matrix: list[list[Polynomial]]) -> Polynomial:
    """By expansion along the first row; 1 for the empty matrix."""
    if not matrix:
        return {(): 1}
    total: Polynomial = {}
    for k, entry in enumerate(matrix[0]):
        if entry:
            rest = _determinant([row[:k] + row[k + 1 :] for row in matrix[1:]])
            total = add(total, multiply(entry, rest), -1 if k % 2 else 1)
    return total
