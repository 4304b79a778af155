"""Counts by brackets at random points, exactly or in float64, and what they prove."""

import warnings
from typing import Any

import flint
import jax
import numpy as np

from thetadot.conservation.brackets import grow, grow_real, null_space, random_point
from thetadot.conservation.closure import prove_closure
from thetadot.conservation.errors import ConservationError, NotALawError, RankAmbiguousWarning
from thetadot.conservation.fields import VectorFields
from thetadot.conservation.known_laws import independent_mod
from thetadot.conservation.law_count import CountStatus
from thetadot.conservation.laws import residues_of
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.question import Question, certifier

_TRIALS = 2
_CLEAR_GAP = 1e3
_LISTED = 10_000_000


def by_brackets(question: Question, closure: bool, only_closure: bool) -> dict[str, Any]:
    fields, laws = question.fields, question.laws
    size, local = fields.size, question.theta is not None
    known = laws.independent()
    growths, risk, best = [], 1.0, 0
    for trial in range(_TRIALS):
        prime = question.prime if trial == 0 else _other_prime(question.prime, trial)
        seed = question.seed + 1000 * trial
        point = residues_of(question.theta, prime) if local else random_point(size, prime, seed)
        law_rank = independent_mod(laws, point, prime)
        growth = grow(
            fields, point, prime=prime, seed=seed, max_depth=question.max_depth, enough=size - law_rank
        )
        best = max(best, len(growth.rows))
        if len(growth.rows) + law_rank == size and not only_closure:
            certify = certifier(
                question, "brackets and laws", len(growth.rows), law_rank,
                point=point.tolist(), words=growth.labels, prime=prime,
            )  # fmt: skip
            return question.answer(
                len(growth.rows), known, "brackets and laws", ranks=growth.ranks or (0,), certify=certify
            )
        growths.append((growth, law_rank))
        degree = len(growth.ranks) * _field_degree(fields) + 1
        risk *= min(1.0, (len(growth.rows) + 1) * degree / prime)
    growth, law_rank = max(growths, key=lambda item: len(item[0].rows))
    lower = max(rank_ for _, rank_ in growths)
    settled = all(g.closed for g, _ in growths) and len({len(g.rows) for g, _ in growths}) == 1
    if settled and closure and not local and fields.size <= _CLOSURE_SIZE:
        proof = prove_closure(fields, len(growth.rows), question.seed)
        if proof is not None:
            certify = certifier(question, "closure", proof.dimension, law_rank, words=proof.words)
            return question.answer(proof.dimension, known, "closure", ranks=growth.ranks, certify=certify)
    open_ = {
        "lower": lower, "upper": size - best, "ranks": growth.ranks or (0,), "status": CountStatus.OPEN,
        "laws": None, "extra": None, "error_probability": None,
    }  # fmt: skip
    if local:
        open_["note"] = "at a single point stagnation proves nothing: count at a generic point too"
    elif settled:
        open_ |= {
            "status": CountStatus.CLOSED, "laws": size - best, "extra": size - best - known,
            "error_probability": risk,
        }  # fmt: skip
    else:
        open_["note"] = f"brackets still grew at depth {question.max_depth}: raise max_depth"
    return question.answer(best, known, "brackets and laws", **open_)


_CLOSURE_SIZE = 40


def _other_prime(prime: int, trial: int) -> int:
    found = prime
    for _ in range(trial):
        found -= 2
        while not flint.fmpz(found).is_prime():
            found -= 2
    return found


def _field_degree(fields: VectorFields) -> int:
    try:
        return max(1, fields.lift.polynomials().degree - 1)
    except ConservationError:
        return int(fields.lift.graph.levels.max()) if isinstance(fields.lift, PathLift) else fields.lift.size


def too_large(question: Question) -> dict[str, Any]:
    """Only the bounds that need no brackets."""
    size, laws = question.fields.size, question.laws
    known = laws.independent() if len(laws) * size <= _LISTED else len(question.dead)
    return question.answer(
        0, known, "brackets and laws", laws=None, extra=None, lower=known, upper=size, ranks=(0,),
        status=CountStatus.OPEN, error_probability=None,
        note=f"{size} numbers exceed max_size={question.max_size}: raise it, or use known_laws, law_drift and "
        "recover, which have no limit",
    )  # fmt: skip


def by_floats(question: Question) -> dict[str, Any]:
    fields, laws, size = question.fields, question.laws, question.fields.size
    if size > question.max_size:
        return too_large(question) | {"method": "float64"}
    if question.theta is None:
        point = np.asarray(jax.random.normal(jax.random.key(question.seed), (size,)))
        known = laws.independent()
    else:
        point = question.theta
        known = null_space(np.asarray(laws.gradient(jax.numpy.asarray(point))))[0] if len(laws) else 0
    growth = grow_real(fields, point, seed=question.seed, max_depth=question.max_depth, enough=size - known)
    rank, gap = len(growth.basis), growth.gap
    if rank + known > size and gap >= _CLEAR_GAP:
        raise NotALawError(
            f"training pushes in {rank} of {size} directions, so {known} independent laws cannot all be conserved"
        )
    changes: dict[str, Any] = {
        "ranks": growth.ranks or (0,), "gap": gap, "error_probability": None, "lower": known,
        "upper": size - rank, "status": CountStatus.CLOSED,
    }  # fmt: skip
    if gap < _CLEAR_GAP or not growth.closed:
        changes |= {"status": CountStatus.OPEN, "laws": None, "extra": None}
        if gap < _CLEAR_GAP:
            warnings.warn(
                f"singular values of the brackets have no clear gap (ratio {gap:.3g}, wanted {_CLEAR_GAP:g}): "
                'count with arithmetic="exact", or at another point',
                RankAmbiguousWarning,
                stacklevel=3,
            )
    return question.answer(rank, known, "float64", **changes)
