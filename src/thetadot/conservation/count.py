"""How many independent quantities training conserves: proved where that is possible, bounded otherwise."""

import dataclasses
import enum
import functools
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from thetadot.conservation.brackets import grow, grow_real, numerical_rank, random_point
from thetadot.conservation.certificate_issue import certificate_of
from thetadot.conservation.closure import prove_closure
from thetadot.conservation.errors import ConservationError, NotPolynomialError, RankAmbiguousWarning
from thetadot.conservation.fields import GradientFields, VectorFields, fields_of
from thetadot.conservation.known_laws import (
    feeders_of,
    independent_mod,
    known_laws,
    rescalings_of,
)
from thetadot.conservation.laws import Laws, integers_of, residues_of, verify_laws
from thetadot.conservation.lift import BlockLift, FunctionLift, Lift, MonomialLift
from thetadot.conservation.matrix_algebra import close, linear_action, orbit_rows, ranks_by_depth
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.potentials import count_potentials
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.numerics.exact import PRIME, pivots_mod, rank, rank_mod, require_prime

METHODS = ("incidence", "column sums", "matrix algebra", "brackets and laws", "closure", "float64")
_TRIALS = 2
_CLEAR_GAP = 1e3


class CountStatus(enum.Enum):
    """How sure a count is.

    PROVED: no probability of error. CLOSED: brackets stopped growing at independent random points (or, in float64,
    with a clear gap). OPEN: only the bounds hold.
    """

    PROVED = "proved"
    CLOSED = "closed"
    OPEN = "open"


@dataclasses.dataclass(frozen=True)
class LawCount:
    """What `count_laws` found.

    Attributes:
        size: length of the state, P for gradient flow.
        lie_dimension: dimension of the Lie algebra of the fields at a generic point (or at the given one).
        laws: number of independent laws, size − lie_dimension; None if OPEN.
        known: generic number of independent laws among the known ones. extra: laws − known; None if OPEN.
        lower, upper: proved bounds on the number of laws (float64: not proved).
        ranks: dimension reached by brackets up to depth 1, 2, ….
        status, method: how sure, and what decided it.
        dead: parameters on no path.
        gap: smallest ratio at the cut of singular values, float64 only.
        error_probability: 0.0 if PROVED; a bound if CLOSED exactly; None otherwise.
        local: whether it was counted at a given point.
        seconds: time spent.
        note: one sentence, if there is something to know.
    """

    size: int
    lie_dimension: int
    laws: int | None
    known: int
    extra: int | None
    lower: int
    upper: int
    ranks: tuple[int, ...]
    status: CountStatus
    method: str
    dead: tuple[int, ...]
    gap: float | None
    error_probability: float | None
    local: bool
    seconds: float
    note: str = ""
    certify: Callable[[], dict] | None = dataclasses.field(default=None, repr=False, compare=False)

    @functools.cached_property
    def certificate(self) -> dict | None:
        """JSON-able proof for `check_certificate`; None unless PROVED."""
        return None if self.status is not CountStatus.PROVED or self.certify is None else self.certify()

    def __str__(self) -> str:
        if self.laws is None:
            return f"{self.size} parameters, between {self.lower} and {self.upper} independent laws: OPEN"
        more = f", {self.extra} beyond the known {self.known}" if self.extra else ", all known"
        word = "law" if self.laws == 1 else "laws"
        return f"{self.size} parameters, {self.laws} independent {word}, {self.status.name} by {self.method}{more}"

    def to_xarray(self):
        """The count as an `xarray.Dataset`: `rank (depth)`; all the rest in its attributes."""
        import xarray

        attributes: dict[str, Any] = {"status": self.status.name, "dead": len(self.dead)}
        for name in ("size", "lie_dimension", "laws", "known", "extra", "lower", "upper", "method", "gap"):
            value = getattr(self, name)
            attributes[name] = "unknown" if value is None else value
        probability = self.error_probability
        attributes |= {"error_probability": "unknown" if probability is None else probability}
        attributes |= {"seconds": self.seconds, "note": self.note, "source": "arXiv 2307.00144"}
        depth = np.arange(1, len(self.ranks) + 1)
        ranks = ("depth", np.array(self.ranks, np.int64), {"long_name": "dimension spanned by brackets"})
        return xarray.Dataset({"rank": ranks}, {"depth": depth}, attributes)


@dataclasses.dataclass(frozen=True)
class _Question:
    fields: VectorFields
    given: Laws | None
    theta: np.ndarray | None
    max_depth: int
    max_size: int
    seed: int
    prime: int

    @functools.cached_property
    def laws(self) -> Laws:
        return known_laws(self.fields) if self.given is None else self.given

    @property
    def lift(self) -> Lift:
        return self.fields.lift

    @property
    def gradient(self) -> bool:
        return isinstance(self.fields, GradientFields)

    @functools.cached_property
    def dead(self) -> tuple[int, ...]:
        lift = self.lift.lift if isinstance(self.lift, ZeroSumLift) else self.lift
        if isinstance(lift, MonomialLift):
            return rescalings_of(lift).dead
        return lift.dead if isinstance(lift, PathLift) else ()

    def answer(self, lie_dimension: int, known: int, method: str, **changes: Any) -> dict[str, Any]:
        """The arguments of a proved `LawCount`, with changes."""
        laws = self.fields.size - lie_dimension
        found = {
            "size": self.fields.size, "lie_dimension": lie_dimension, "laws": laws, "known": known,
            "extra": laws - known, "lower": laws, "upper": laws, "ranks": (lie_dimension,),
            "status": CountStatus.PROVED, "method": method, "dead": self.dead, "gap": None,
            "error_probability": 0.0, "local": self.theta is not None,
        }  # fmt: skip
        return found | changes


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
        from thetadot.conservation.architecture import lift_of

        target = lift_of(target)
    fields = fields_of(target)
    point = None if theta is None else np.asarray(theta, float)
    if point is not None and (point.shape != (fields.size,) or not np.isfinite(point).all()):
        raise ConservationError(
            f"theta has shape {point.shape}: expected finite numbers of shape ({fields.size},)"
        )
    if laws is not None:
        verify_laws(fields, laws)
    question = _Question(fields, laws, point, max_depth, max_size, seed, require_prime(prime))
    if arithmetic == "float64" or method == "float64":
        found = _by_floats(question)
    elif isinstance(fields.lift, FunctionLift):
        raise NotPolynomialError('a FunctionLift has no exact form: count with arithmetic="float64"')
    else:
        found = _exactly(question, method)
    return LawCount(**found, seconds=time.perf_counter() - start)


def _exactly(question: _Question, method: str) -> dict[str, Any]:
    closed_forms = {
        "incidence": _by_incidence,
        "column sums": _by_column_sums,
        "matrix algebra": _by_matrices,
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
        return _too_large(question)
    return _by_brackets(question, closure=method in ("auto", "closure"), only_closure=method == "closure")


def _by_incidence(question: _Question) -> dict[str, Any] | None:
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
        size - total, known, "incidence", certify=_certifier(question, "incidence", size - total, total)
    )


def _is_monomial(lift: Lift) -> bool:
    return isinstance(lift, MonomialLift) or (isinstance(lift, PathLift) and lift.gated)


def _has_zero(question: _Question) -> bool:
    if question.theta is None:
        return False
    live = np.ones(question.theta.size, bool)
    live[list(question.dead)] = False
    return bool(np.any(question.theta[live] == 0))


def _by_column_sums(question: _Question) -> dict[str, Any] | None:
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
        size - total, known, "column sums", certify=_certifier(question, "column sums", size - total, total)
    )


def _by_matrices(question: _Question) -> dict[str, Any] | None:
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
    certify = _certifier(
        question, "matrix algebra", dimension, law_rank, point=point, words=words, prime=PRIME
    )
    return question.answer(dimension, known, "matrix algebra", ranks=ranks or (0,), certify=certify)


def _by_blocks(question: _Question) -> dict[str, Any]:
    """Lifts of disjoint parameters: everything adds."""
    lift = question.lift
    assert isinstance(lift, BlockLift)
    thetas = lift.parts(question.theta) if question.theta is not None else [None] * len(lift.lifts)
    options = {"max_depth": question.max_depth, "max_size": question.max_size}
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
        changes["certify"] = lambda: {
            "version": 1,
            "method": "blocks",
            "parts": [part() for part in parts if part is not None],
        }
    else:
        probabilities = [count.error_probability for count in counts]
        known_risks = all(p is not None for p in probabilities)
        changes["error_probability"] = sum(p or 0.0 for p in probabilities) if known_risks else None
        if status is CountStatus.OPEN:
            changes |= {"laws": None, "extra": None}
    return question.answer(sum(count.lie_dimension for count in counts), known, methods, **changes)


def _by_brackets(question: _Question, closure: bool, only_closure: bool) -> dict[str, Any]:
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
            certify = _certifier(
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
            certify = _certifier(question, "closure", proof.dimension, law_rank, words=proof.words)
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
    import flint

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


def _too_large(question: _Question) -> dict[str, Any]:
    """Only the bounds that need no brackets."""
    size = question.fields.size
    dead = len(question.dead)
    return question.answer(
        0, 0, "brackets and laws", laws=None, extra=None, lower=dead, upper=size, ranks=(0,),
        status=CountStatus.OPEN, error_probability=None,
        note=f"{size} numbers exceed max_size={question.max_size}: raise it, or use known_laws, law_drift and "
        "recover, which have no limit",
    )  # fmt: skip


def _by_floats(question: _Question) -> dict[str, Any]:
    fields, size = question.fields, question.fields.size
    if size > question.max_size:
        return _too_large(question) | {"method": "float64"}
    key = jax.random.key(question.seed)
    point = np.asarray(jax.random.normal(key, (size,))) if question.theta is None else question.theta
    ranks, closed, gap, basis = grow_real(fields, point, seed=question.seed, max_depth=question.max_depth)
    laws = question.laws
    gradients = np.asarray(laws.gradient(jax.numpy.asarray(point))) if len(laws) else np.zeros((0, size))
    known = numerical_rank(gradients)[0]
    changes: dict[str, Any] = {
        "ranks": ranks or (0,), "gap": gap, "error_probability": None, "lower": known,
        "upper": size - len(basis), "status": CountStatus.CLOSED,
    }  # fmt: skip
    if gap < _CLEAR_GAP or not closed:
        changes |= {"status": CountStatus.OPEN, "laws": None, "extra": None}
        if gap < _CLEAR_GAP:
            warnings.warn(
                f"singular values of the brackets have no clear gap (ratio {gap:.3g}, wanted {_CLEAR_GAP:g}): "
                'count with arithmetic="exact", or at another point',
                RankAmbiguousWarning,
                stacklevel=3,
            )
    return question.answer(len(basis), known, "float64", **changes)


def _certifier(question: _Question, method: str, lie_dimension: int, law_rank: int, **more: Any) -> Callable:
    return lambda: certificate_of(
        question.fields,
        question.laws,
        method,
        lie_dimension,
        law_rank,
        local=question.theta is not None,
        **more,
    )
