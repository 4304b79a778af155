"""Cartan's criterion on monodromy: tr(X[Y, Z]) ≠ 0 in the Lie algebra proves that G⁰ is not solvable."""

import dataclasses
import enum
import itertools
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np
from scipy.linalg import matrix_balance

from thetadot.integrability.ball_monodromy import ball_loops, ball_monodromy, precision
from thetadot.integrability.loops import polynomial_system
from thetadot.integrability.monodromy import Monodromy, float_monodromy

_KEPT = 16
_MOST_WORDS = 3000
_MOST_BITS = 1536
_CLEAR = 10.0
_MARGIN = 0.95
_SMALLEST_SPREAD = 1e-6

Word = tuple[int, ...]
"""Loops in the order in which they are gone through: k + 1 for loop k, −(k + 1) for its inverse."""


class CartanStatus(enum.Enum):
    """NON_SOLVABLE: a value beyond its error. INCONCLUSIVE: none; this never means solvable."""

    NON_SOLVABLE = "non-solvable"
    INCONCLUSIVE = "inconclusive"


@dataclasses.dataclass(frozen=True)
class CartanResult:
    """Outcome of the test.

    Attributes:
        status: see `CartanStatus`. value: |tr(D_U[D_V, D_W])| divided by the spreads of the three. error: bound of its
            error (proved if rigorous). words: (U, V, W). rigorous: whether it is a theorem. proof: data for a
            certificate, if it is.
    """

    status: CartanStatus
    value: float
    error: float
    words: tuple[Word, ...]
    rigorous: bool
    proof: dict[str, Any] | None = None


def words(letters: int, length: int) -> list[Word]:
    """Reduced words up to a length, commutators of pairs and their conjugates by a letter."""
    alphabet = [s * (k + 1) for k in range(letters) for s in (1, -1)]
    found: list[Word] = []
    layer: list[Word] = [()]
    for _ in range(length):
        layer = [(*w, a) for w in layer for a in alphabet if not w or w[-1] != -a]
        if len(found) + len(layer) > _MOST_WORDS:
            break
        found += layer
    for i, j in itertools.combinations(range(1, letters + 1), 2):
        for a, b in ((i, j), (i, -j), (-i, j), (-i, -j)):
            bracket = (a, b, -a, -b)
            found.append(bracket)
            found += [(c, *bracket, -c) for c in alphabet if c not in (a, -a, b, -b)]
    return list(dict.fromkeys(found))


def _product(word: Word, matrices: Sequence[Any], inverses: Sequence[Any]) -> Any:
    total = None
    for letter in word:
        factor = matrices[letter - 1] if letter > 0 else inverses[-letter - 1]
        total = (
            factor if total is None else factor @ total if isinstance(factor, np.ndarray) else factor * total
        )
    return total


def _float_logarithm(matrix: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    """(D, spread, condition) of a word in floating point."""
    with np.errstate(all="ignore"):
        values, vectors = np.linalg.eig(matrix)
        if not np.all(np.isfinite(values)) or np.any(values == 0):
            return None
        condition = float(np.linalg.cond(vectors))
        if not condition < 1e7:
            return None
        sizes = np.log(np.abs(values))
        spread = float(sizes.max() - sizes.min())
        return (vectors * sizes) @ np.linalg.inv(vectors), spread, condition * float(np.linalg.cond(matrix))


def cartan_criterion(monodromy: Monodromy, *, word_length: int = 3) -> CartanResult:
    """Look for words U, V, W in the monodromy with tr(D_U[D_V, D_W]) ≠ 0, D_W = P diag(log|λ|) P⁻¹.

    D_W lies in the Lie algebra of the Galois group: every multiplicative relation among the eigenvalues is a linear
    one among log|λ|. A solvable Lie algebra has trace 0 throughout.

    Arguments:
        monodromy: of `monodromy`; a rigorous one makes the answer a theorem, with more bits if they are needed.
        word_length: of the words; commutators of pairs and their conjugates are always added.

    Example:
        >>> import sympy
        >>> from thetadot.integrability import hypergeometric_equation, monodromy
        >>> x = sympy.Symbol("x")
        >>> r = hypergeometric_equation("1/2", "1/3", "1/5", x)
        >>> cartan_criterion(monodromy([[0, 1], [r, 0]], x)).status.name  # a finite group
        'INCONCLUSIVE'
    """
    listed = words(len(monodromy.matrices), word_length)
    if monodromy.rigorous:
        return _rigorous(monodromy, listed)
    assert monodromy.second is not None
    triples = _ranked(monodromy.matrices, monodromy.second, listed, monodromy.irregular)
    if not triples:
        return CartanResult(CartanStatus.INCONCLUSIVE, 0.0, float("inf"), (), False)
    value, error, chosen = triples[0]
    clear = value > _CLEAR * error
    return CartanResult(
        CartanStatus.NON_SOLVABLE if clear else CartanStatus.INCONCLUSIVE, value, error, chosen, False
    )


def _logarithms(matrices: np.ndarray, second: np.ndarray, listed: list[Word]):
    with np.errstate(all="ignore"):
        pairs = [(list(m), [np.linalg.inv(a) for a in m]) for m in (matrices, second)]
        kept = []
        for word in listed:
            parts = [_float_logarithm(_product(word, *pair)) for pair in pairs]
            if parts[0] is None or parts[1] is None:
                continue
            d, spread, condition = parts[0]
            change = float(np.abs(d - parts[1][0]).max()) + 1e-15 * condition * max(
                1.0, float(np.abs(d).max())
            )
            if spread < _SMALLEST_SPREAD or spread < 1e3 * change:
                continue
            kept.append((condition, word, d / spread, parts[1][0] / parts[1][1], change / spread))
    kept.sort(key=lambda item: (item[0], len(item[1]), item[1]))
    return kept


def _distinct(items: list[Any], number: int) -> list[Any]:
    """The first items whose directions D differ by more than a sign."""
    found: list[Any] = []
    for item in items:
        if len(found) == number:
            break
        size = 1e-5 * float(np.abs(item[2]).max())
        if all(min(np.abs(item[2] - o[2]).max(), np.abs(item[2] + o[2]).max()) > size for o in found):
            found.append(item)
    return found


def _balanced_basis(matrices: np.ndarray) -> np.ndarray:
    """A basis in which the matrices are as well-conditioned as eigenvectors of one and a scaling can make them."""
    k = matrices.shape[1]

    def worst(basis: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            if not np.linalg.cond(basis) < 1e12:
                return float("inf")
            return max(float(np.linalg.cond(m)) for m in np.linalg.inv(basis) @ matrices @ basis)

    candidates = [np.eye(k, dtype=complex)]
    for first, other in itertools.permutations(range(len(matrices)), 2):
        vectors = np.linalg.eig(matrices[first])[1]
        if np.linalg.cond(vectors) < 1e12:
            turned = np.linalg.inv(vectors) @ matrices[other] @ vectors
            _, (scale, _) = matrix_balance(turned, permute=False, separate=True)
            candidates.append(vectors * scale)
    return min(candidates, key=worst)


def _ranked(matrices, second, listed, irregular) -> list[tuple[float, float, tuple[Word, ...]]]:
    basis = _balanced_basis(matrices)
    inverse = np.linalg.inv(basis)
    kept = _logarithms(inverse @ matrices @ basis, inverse @ second @ basis, listed)
    found = []
    tame = [item for item in kept if not any(irregular[abs(a) - 1] for a in item[1])]
    commutators = [item for item in tame if len(item[1]) >= 4]
    chosen = _distinct(kept, _KEPT // 2) + _distinct(tame, _KEPT // 2) + _distinct(commutators, _KEPT // 2)
    chosen = _distinct(chosen, len(chosen))
    for a, b, c in itertools.combinations(chosen, 3):
        values = [np.trace(x @ (y @ z - z @ y)) for x, y, z in ((a[2], b[2], c[2]), (a[3], b[3], c[3]))]
        sizes = [float(np.abs(item[2]).max()) * item[2].shape[0] for item in (a, b, c)]
        own = sum(
            item[4] * 2 * sizes[0] * sizes[1] * sizes[2] / size
            for item, size in zip((a, b, c), sizes, strict=True)
        )
        error = float(abs(values[0] - values[1])) + own
        found.append((float(abs(values[1])), error, (a[1], b[1], c[1])))
    found.sort(key=lambda item: -item[0] / max(item[1], 1e-300))
    return found


def _ball_logarithm(matrix: flint.acb_mat) -> flint.acb_mat | None:
    """D of a word divided by its spread, from its eigenvalues alone (Lagrange's formula)."""
    k = matrix.nrows()
    identity = flint.acb_mat(k, k, [int(i == j) for i in range(k) for j in range(k)])
    if k == 2:
        trace, determinant = matrix.trace(), matrix.det()
        root = (trace * trace - 4 * determinant).sqrt()
        values = [(trace + root) / 2, (trace - root) / 2]
    else:
        try:
            values = matrix.eig()
        except (ValueError, ZeroDivisionError):
            return None
    sizes = [abs(value).log() for value in values]
    total = flint.acb_mat(k, k)
    for i in range(k):
        term = identity
        for j in range(k):
            if j == i:
                continue
            gap = values[i] - values[j]
            if gap.contains(0):
                return None
            term = term * (matrix - identity * values[j]) * (1 / gap)
        total += term * sizes[i]
    mids = [float(size.mid()) for size in sizes]
    spread = sizes[mids.index(max(mids))] - sizes[mids.index(min(mids))]
    if not bool(spread > 0):
        return None
    return total * (1 / spread)


def ball_value(enclosures: Sequence[flint.acb_mat], chosen: Sequence[Word]) -> flint.arb | None:
    """|tr(D_U[D_V, D_W])| over the spreads, as a ball."""
    try:
        inverses = [m.inv() for m in enclosures]
    except ZeroDivisionError:
        return None
    logs = [_ball_logarithm(_product(word, enclosures, inverses)) for word in chosen]
    if any(log is None for log in logs):
        return None
    x, y, z = logs
    return abs((x * (y * z - z * y)).trace())


def _rigorous(monodromy: Monodromy, listed: list[Word]) -> CartanResult:
    ranked = _ranked(monodromy.matrices, monodromy.matrices, listed, monodromy.irregular)
    best = CartanResult(CartanStatus.INCONCLUSIVE, 0.0, float("inf"), (), True)
    current = monodromy
    candidates = [t for t in ranked if t[0] > 1e-9][:5]
    while candidates:
        with precision(3 * current.bits + 64):
            for _, _, chosen in candidates:
                value = ball_value(current.enclosures, chosen)
                if value is None or not value.is_finite():
                    continue
                middle, radius = float(value.mid()), float(value.rad().upper())
                if bool(value > 0) and middle > _CLEAR * radius:
                    bound = float(value.lower()) * _MARGIN
                    return CartanResult(
                        CartanStatus.NON_SOLVABLE,
                        middle,
                        radius,
                        chosen,
                        True,
                        _proof(current.loops, chosen, current.bits, bound),
                    )
                if radius < best.error:
                    best = dataclasses.replace(best, value=middle, error=radius, words=chosen)
        if 2 * current.bits > _MOST_BITS:
            break
        current = ball_monodromy(current.entries, base=current.base, bits=2 * current.bits)
    return best


def prove_non_solvable(
    entries: Any, *, word_length: int = 3, bits: int = 64, most_bits: int = 256
) -> CartanResult:
    """The same test in ball arithmetic on the loops of the best words only, which floating point has chosen.

    Arguments:
        entries: a matrix of rational functions.
        word_length: of the words.
        bits: to begin with.
        most_bits: up to which they are doubled; beyond it the answer is the floating-point one, not rigorous.
    """
    numeric = float_monodromy(entries)
    found = cartan_criterion(numeric, word_length=word_length)
    if found.status is not CartanStatus.NON_SOLVABLE:
        return found
    used = sorted({abs(letter) - 1 for word in found.words for letter in word})
    short = [tuple((1 if a > 0 else -1) * (used.index(abs(a) - 1) + 1) for a in w) for w in found.words]
    system = polynomial_system(entries)
    while bits <= most_bits:
        try:
            enclosures = ball_loops(system, [numeric.loops[k] for k in used], bits)
        except ZeroDivisionError:  # the balls are too wide for an inverse
            bits *= 2
            continue
        with precision(3 * bits + 64):
            value = ball_value(enclosures, short)
            if value is not None and value.is_finite() and bool(value > 0):
                middle, radius = float(value.mid()), float(value.rad().upper())
                if middle > _CLEAR * radius:
                    bound = float(value.lower()) * _MARGIN
                    proof = _proof(numeric.loops, found.words, bits, bound)
                    return CartanResult(CartanStatus.NON_SOLVABLE, middle, radius, found.words, True, proof)
        bits *= 2
    return found


def _proof(loops: Sequence[Any], chosen: Sequence[Word], bits: int, bound: float) -> dict[str, Any]:
    used = sorted({abs(letter) - 1 for word in chosen for letter in word})
    return {
        "loops": [[[str(x), str(y)] for x, y in loops[k]] for k in used],
        "words": [[(1 if a > 0 else -1) * (used.index(abs(a) - 1) + 1) for a in word] for word in chosen],
        "bits": bits,
        "lower_bound": repr(bound),
    }
