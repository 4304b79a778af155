"""Checking certificates, in plain Python integers: this file shares nothing with the code that counts.

Whoever wants to check the checker reads this file and `plain_algebra.py` alone. A certificate holds the target's
definition, and a claim of three numbers: the dimension of the Lie algebra, the rank of the laws, and the size.
"""

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from thetadot.conservation import plain_algebra as plain
from thetadot.conservation.plain_fields import generators, picked_member, splitmix
from thetadot.conservation.plain_graphs import count_column_sums, count_incidence

_KEYS = {
    "version", "target", "method", "size", "lie_dimension", "law_rank", "laws", "prime", "point", "brackets", "local",
    "digest",
}  # fmt: skip
_CLAIMS = ("size", "lie_dimension", "law_rank")
_BLOCK_KEYS = {"version", "method", "parts", "digest", *_CLAIMS}


def seal(certificate: dict[str, Any]) -> dict[str, Any]:
    """The certificate with a digest of everything else in it, so that an altered one is recognised."""
    body = {key: value for key, value in certificate.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return body | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def check_certificate(certificate: dict[str, Any]) -> bool:
    """Whether a certificate proves what it claims, recomputed from the target's definition.

    Ranks are evaluated anew with another implementation (nested dual numbers in Python's integers), laws are verified
    as identities of polynomials, closures as identities of minors. Large certificates take long.

    Arguments:
        certificate: `count.certificate`, as it is or read back from JSON.

    Returns:
        True only if the recomputed ranks equal the claimed ones and the method's conclusion follows from them.

    Example:
        >>> from thetadot.conservation import LinearLift, count_laws
        >>> certificate = count_laws(LinearLift((2, 2, 2))).certificate
        >>> check_certificate(certificate), check_certificate(certificate | {"law_rank": 4})
        (True, False)
    """
    try:
        blocks = certificate.get("method") == "blocks"
        if set(certificate) != (_BLOCK_KEYS if blocks else _KEYS):
            return False
        if certificate["version"] != 1 or seal(certificate) != certificate:
            return False
        return _CHECKS[certificate["method"]](certificate)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, plain.NotIndependentError):
        return False


def _blocks(certificate: dict[str, Any]) -> bool:
    """Lifts of disjoint parameters: every part is proved, and the numbers add."""
    parts = certificate["parts"]
    sums = all(certificate[name] == sum(part[name] for part in parts) for name in _CLAIMS)
    return bool(parts) and sums and all(check_certificate(part) for part in parts)


def _no_points(certificate: dict[str, Any]) -> bool:
    empty = not certificate["point"] and not certificate["brackets"] and not certificate["laws"]
    return empty and certificate["prime"] == 0


def _conclusion(certificate: dict[str, Any], laws: int) -> bool:
    size, dimension = certificate["size"], certificate["lie_dimension"]
    return dimension == size - laws and certificate["law_rank"] == laws


def _incidence(certificate: dict[str, Any]) -> bool:
    size, laws = count_incidence(certificate["target"])
    return _no_points(certificate) and certificate["size"] == size and _conclusion(certificate, laws)


def _column_sums(certificate: dict[str, Any]) -> bool:
    if certificate["target"]["kind"] != "zero-sum":
        return False
    size, laws = count_column_sums(certificate["target"]["lift"])
    return _no_points(certificate) and certificate["size"] == size and _conclusion(certificate, laws)


def _laws_hold(certificate: dict[str, Any], fields: list[list[dict]]) -> bool:
    """Whether every generator leaves every law alone, as identities."""
    for law in certificate["laws"]:
        polynomial = plain.polynomial(law["terms"])
        rate = Fraction(*law["rate"])
        slopes = {k: plain.derivative(polynomial, k) for k in range(certificate["size"])}
        for field in fields:
            total: dict = {}
            for k, slope in slopes.items():
                if field[k] and slope:
                    total = plain.add(total, plain.multiply(field[k], slope))
            if rate:
                total = plain.add(total, plain.scale(plain.multiply(field[0], polynomial), rate))
            if total:
                return False
    return True


def _law_rank(certificate: dict[str, Any], point: list[int], prime: int) -> int:
    rows = []
    for law in certificate["laws"]:
        polynomial = plain.polynomial(law["terms"])
        row = [plain.value(plain.derivative(polynomial, k), point, prime) for k in range(certificate["size"])]
        up, down = law["rate"]
        if up:
            growth = up * pow(down, -1, prime)
            row[0] = (row[0] + growth * plain.value(polynomial, point, prime)) % prime
        rows.append(row)
    return plain.rank_mod(rows, prime)


def _well_posed(certificate: dict[str, Any]) -> bool:
    return (
        len(certificate["point"]) == certificate["size"]
        and plain.is_prime(certificate["prime"])
        and len(certificate["brackets"]) == certificate["lie_dimension"]
    )


def _brackets_and_laws(certificate: dict[str, Any]) -> bool:
    target, prime, size = certificate["target"], certificate["prime"], certificate["size"]
    fields = generators(target)
    if not _well_posed(certificate) or len(fields[0]) != size or not _laws_hold(certificate, fields):
        return False
    member = picked_member(target, prime)

    def evaluate(state: list, label: int) -> list:
        return member(state, lambda count: splitmix(label, count, prime))

    rows = [
        [
            entry[0]
            for entry in plain.bracket(evaluate, word, [[x % prime] for x in certificate["point"]], prime)
        ]
        for word in certificate["brackets"]
    ]
    ranks = plain.rank_mod(rows, prime), _law_rank(certificate, certificate["point"], prime)
    claimed = certificate["lie_dimension"], certificate["law_rank"]
    return ranks == claimed and sum(ranks) == size


def _matrix_algebra(certificate: dict[str, Any]) -> bool:
    """The words span the claimed dimension at the point; more is impossible, by the laws or by the algebra's size."""
    size, prime, point = certificate["size"], certificate["prime"], certificate["point"]
    fields = generators(certificate["target"])
    linear = all(plain.degree(entry) <= 1 for field in fields for entry in field)
    if len(point) != size or not linear or not plain.is_prime(prime):
        return False
    if not _laws_hold(certificate, fields):
        return False
    residues = [entry % prime for entry in point]
    if _law_rank(certificate, residues, prime) != certificate["law_rank"]:
        return False
    matrices = [plain.affine_matrix(field) for field in fields]
    if not certificate["local"]:
        rows = [
            plain.apply(plain.word_matrix(matrices, word), residues, prime)
            for word in certificate["brackets"]
        ]
        dimension = certificate["lie_dimension"]
        reached = plain.rank_mod(rows, prime) == len(rows) == dimension
        if reached and dimension + certificate["law_rank"] == size:
            return True
        return reached and dimension == len(plain.closed_algebra(matrices))
    algebra = plain.closed_algebra(matrices)
    exact = plain.rank([plain.apply(matrix, point, None) for matrix in algebra])
    rows = [plain.apply(plain.word_matrix(matrices, word), point, None) for word in certificate["brackets"]]
    return plain.rank(rows) == len(rows) == exact == certificate["lie_dimension"]


def _closure(certificate: dict[str, Any]) -> bool:
    """The words are independent, and every generator and every bracket with one lies in their span."""
    fields = generators(certificate["target"])
    words, size = certificate["brackets"], certificate["size"]
    if len(words) != certificate["lie_dimension"] or len(fields[0]) != size:
        return False
    if certificate["point"] or certificate["prime"] or certificate["laws"]:
        return False
    basis = [plain.word_field(fields, word) for word in words]
    others = fields + [plain.field_bracket(generator, field) for generator in fields for field in basis]
    bound = size - certificate["lie_dimension"]
    return plain.spans(basis, others) and 0 <= certificate["law_rank"] <= bound


_CHECKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "incidence": _incidence,
    "column sums": _column_sums,
    "brackets and laws": _brackets_and_laws,
    "matrix algebra": _matrix_algebra,
    "closure": _closure,
    "blocks": _blocks,
}
