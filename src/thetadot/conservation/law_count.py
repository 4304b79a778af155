"""The answer to how many quantities training conserves."""

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any

import numpy as np


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
        if self.laws is None and self.upper == self.size:
            return f"{self.size} parameters, at least {self.lower} independent laws: OPEN"
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
