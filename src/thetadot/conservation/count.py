"""How many independent quantities training conserves: proved where that is possible, bounded otherwise."""

import time
from typing import Any

import numpy as np

from thetadot.conservation.architecture import lift_of
from thetadot.conservation.bracket_counts import by_brackets, by_floats, too_large
from thetadot.conservation.certificate_issue import certificate_of_blocks
from thetadot.conservation.closed_form_counts import by_column_sums, by_incidence, by_matrices
from thetadot.conservation.errors import ConservationError, NotPolynomialError
from thetadot.conservation.fields import VectorFields, fields_of
from thetadot.conservation.law_count import CountStatus, LawCount
from thetadot.conservation.laws import Laws, verify_laws
from thetadot.conservation.lift import BlockLift, FunctionLift, Lift
from thetadot.conservation.question import Question
from thetadot.numerics.exact import PRIME, require_prime

METHODS = ("incidence", "column sums", "matrix algebra", "brackets and laws", "closure", "float64")


def count_laws(
    target: Any,
    *,
    laws: Laws | None = None,
    theta: Any = None,
    method: str = "auto",
    arithmetic: str = "exact",
    max_depth: int = 8,
    max_size: int = 1000,
    seed: int = 0,
    prime: int = PRIME,
) -> LawCount:
    """Count the independent conservation laws of training.

    Arguments:
        target: a `Problem`, a `Lift` (for its gradient flow), or `VectorFields`.
        laws: laws to count as known, which are proved first; by default `known_laws(target)`.
        theta: None counts at a generic point; a state (size,) counts there.
        method: "auto" or one of "incidence", "column sums", "matrix algebra", "brackets and laws", "closure",
            "float64".
        arithmetic: "exact" or "float64" (for a `FunctionLift`, or to compare).
        max_depth: largest depth of brackets.
        max_size: largest state for which brackets are computed; closed forms have no limit.
        seed, prime: of the random points.

    Raises:
        ConservationError: arguments that do not fit; its kinds NotALawError (a law that is none),
            UnsupportedArchitectureError (no lift is known), NotPolynomialError (exact arithmetic on a `FunctionLift`).

    Source: the count by Lie algebras is that of arXiv 2307.00144; its certificates are derived here.

    Example:
        >>> from thetadot.conservation import LinearLift
        >>> print(count_laws(LinearLift((2, 2, 2))))
        8 parameters, 3 independent laws, PROVED by matrix algebra, all known
    """
    start = time.perf_counter()
    if method not in ("auto", *METHODS) or arithmetic not in ("exact", "float64"):
        raise ConservationError(
            f'method is {method!r} and arithmetic {arithmetic!r}: expected "auto" or one of {METHODS}, and '
            '"exact" or "float64"'
        )
    if not isinstance(target, (Lift, VectorFields)):
        target = lift_of(target)
    fields = fields_of(target)
    point = None if theta is None else np.asarray(theta, float)
    if point is not None and (point.shape != (fields.size,) or not np.isfinite(point).all()):
        raise ConservationError(
            f"theta has shape {point.shape}: expected finite numbers of shape ({fields.size},)"
        )
    if laws is not None:
        verify_laws(fields, laws)
    question = Question(fields, laws, point, max_depth, max_size, seed, require_prime(prime))
    if arithmetic == "float64" or method == "float64":
        found = by_floats(question)
    elif isinstance(fields.lift, FunctionLift):
        raise NotPolynomialError('a FunctionLift has no exact form: count with arithmetic="float64"')
    else:
        found = _exactly(question, method)
    return LawCount(**found, seconds=time.perf_counter() - start)


def _exactly(question: Question, method: str) -> dict[str, Any]:
    closed_forms = {
        "incidence": by_incidence,
        "column sums": by_column_sums,
        "matrix algebra": by_matrices,
    }
    if method in closed_forms:
        found = closed_forms[method](question)
        if found is None:
            raise ConservationError(f"method {method!r} does not apply to this target: take 'auto'")
        return found
    if method == "auto":
        if question.gradient and isinstance(question.lift, BlockLift) and question.given is None:
            return _by_blocks(question)
        for attempt in closed_forms.values():
            if (found := attempt(question)) is not None:
                return found
    if question.fields.size > question.max_size:
        return too_large(question)
    return by_brackets(question, closure=method in ("auto", "closure"), only_closure=method == "closure")


def _by_blocks(question: Question) -> dict[str, Any]:
    """Lifts of disjoint parameters: everything adds."""
    lift = question.lift
    assert isinstance(lift, BlockLift)
    thetas = lift.parts(question.theta) if question.theta is not None else [None] * len(lift.lifts)
    options: dict[str, Any] = {"max_depth": question.max_depth, "max_size": question.max_size}
    options |= {"seed": question.seed, "prime": question.prime}
    counts = [
        count_laws(block, theta=theta, **options) for block, theta in zip(lift.lifts, thetas, strict=True)
    ]
    order = (CountStatus.PROVED, CountStatus.CLOSED, CountStatus.OPEN)
    status = max((count.status for count in counts), key=order.index)
    depth = max(len(count.ranks) for count in counts)
    ranks = tuple(sum(count.ranks[min(k, len(count.ranks) - 1)] for count in counts) for k in range(depth))
    known = sum(count.known for count in counts)
    dead = tuple(int(s) + k for count, s in zip(counts, lift.starts, strict=False) for k in count.dead)
    methods = " + ".join(dict.fromkeys(count.method for count in counts))
    changes: dict[str, Any] = {"ranks": ranks, "status": status, "dead": dead}
    changes |= {"lower": sum(c.lower for c in counts), "upper": sum(c.upper for c in counts)}
    if status is CountStatus.PROVED:
        parts = [count.certify for count in counts]
        changes["certify"] = lambda: certificate_of_blocks([part() for part in parts if part is not None])
    else:
        probabilities = [count.error_probability for count in counts]
        known_risks = all(p is not None for p in probabilities)
        changes["error_probability"] = sum(p or 0.0 for p in probabilities) if known_risks else None
        if status is CountStatus.OPEN:
            changes |= {"laws": None, "extra": None}
    return question.answer(sum(count.lie_dimension for count in counts), known, methods, **changes)
