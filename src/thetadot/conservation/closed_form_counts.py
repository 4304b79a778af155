"""Counts that need no brackets: rescalings of monomials, sums over outputs, matrix algebras."""

from typing import Any

import numpy as np

from thetadot.conservation.brackets import random_point
from thetadot.conservation.known_laws import feeders_of, independent_mod, rescalings_of
from thetadot.conservation.laws import integers_of, residues_of
from thetadot.conservation.lift import Lift, MonomialLift
from thetadot.conservation.matrix_algebra import close, linear_action, orbit_rows, ranks_by_depth
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.potentials import count_potentials
from thetadot.conservation.question import Question, certifier
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.numerics.exact import PRIME, pivots_mod, rank, rank_mod


def by_incidence(question: Question) -> dict[str, Any] | None:
    """P − rank A for lifts of monomials, where no live weight vanishes."""
    lift = question.lift
    if not question.gradient or not _is_monomial(lift) or _has_zero(question):
        return None
    if isinstance(lift, PathLift):
        rescalings, dead = count_potentials(lift.graph)
    else:
        found = rescalings_of(lift)
        rescalings, dead = found.matrix.shape[1], len(found.dead)
    total = rescalings + dead
    known = total if question.given is None else question.given.independent()
    size = question.fields.size
    return question.answer(
        size - total, known, "incidence", certify=certifier(question, "incidence", size - total, total)
    )


def _is_monomial(lift: Lift) -> bool:
    return isinstance(lift, MonomialLift) or (isinstance(lift, PathLift) and lift.gated)


def _has_zero(question: Question) -> bool:
    if question.theta is None:
        return False
    live = np.ones(question.theta.size, bool)
    live[list(question.dead)] = False
    return bool(np.any(question.theta[live] == 0))


def by_column_sums(question: Question) -> dict[str, Any] | None:
    """Rescalings plus one shift for each node that feeds the outputs."""
    lift = question.lift
    if not question.gradient or not isinstance(lift, ZeroSumLift) or not isinstance(lift.lift, PathLift):
        return None
    if not lift.lift.gated or question.theta is not None:
        return None
    feeders = feeders_of(lift.lift)
    if not feeders.all_complete:
        return None
    rescalings, dead = count_potentials(lift.lift.graph)
    total = rescalings + dead + len(feeders.complete)
    known = total if question.given is None else question.given.independent()
    size = question.fields.size
    return question.answer(
        size - total, known, "column sums", certify=certifier(question, "column sums", size - total, total)
    )


def by_matrices(question: Question) -> dict[str, Any] | None:
    """Linear fields: the rank of a closed matrix algebra at the point."""
    if question.fields.size > question.max_size:
        return None
    action = linear_action(question.fields)
    algebra = None if action is None else close(action)
    if action is None or algebra is None:
        return None
    known = question.laws.independent()
    if question.theta is not None:
        state = np.array(integers_of(question.theta), dtype=object)
        rows = orbit_rows(algebra, action, state)
        ranks = ranks_by_depth(algebra, rows, exact=True)
        dimension = rank(rows) if len(rows) else 0
        point, law_rank = state.tolist(), independent_mod(question.laws, residues_of(question.theta, PRIME))
    else:
        point = random_point(question.fields.size, PRIME, question.seed)
        rows = orbit_rows(algebra, action, point)
        ranks = ranks_by_depth(algebra, rows, exact=False)
        dimension, law_rank = rank_mod(rows, PRIME), independent_mod(question.laws, point)
        if dimension + law_rank != question.fields.size and dimension != len(algebra.words):
            return None
        point = point.tolist()
    residues = (rows % PRIME).astype(np.int64)
    words = [algebra.words[k] for k in pivots_mod(residues)]
    certify = certifier(
        question, "matrix algebra", dimension, law_rank, point=point, words=words, prime=PRIME
    )
    return question.answer(dimension, known, "matrix algebra", ranks=ranks or (0,), certify=certify)
