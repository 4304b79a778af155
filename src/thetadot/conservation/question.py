"""What is asked of a count, and the parts of an answer that every method shares."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from thetadot.conservation.certificate_issue import certificate_of
from thetadot.conservation.fields import GradientFields, VectorFields
from thetadot.conservation.known_laws import known_laws, rescalings_of
from thetadot.conservation.law_count import CountStatus
from thetadot.conservation.laws import Laws
from thetadot.conservation.lift import Lift, MonomialLift
from thetadot.conservation.path_lift import PathLift
from thetadot.conservation.restricted import ZeroSumLift


@dataclasses.dataclass(frozen=True)
class Question:
    """Fields, laws given as known, point, limits, seed and prime of `count_laws`."""

    fields: VectorFields
    given: Laws | None
    theta: np.ndarray | None
    max_depth: int
    max_size: int
    seed: int
    prime: int

    @functools.cached_property
    def laws(self) -> Laws:
        """The laws that count as known."""
        return known_laws(self.fields) if self.given is None else self.given

    @property
    def lift(self) -> Lift:
        """The lift behind the fields."""
        return self.fields.lift

    @property
    def gradient(self) -> bool:
        """Whether the fields are those of gradient flow."""
        return isinstance(self.fields, GradientFields)

    @functools.cached_property
    def dead(self) -> tuple[int, ...]:
        """Parameters on no path."""
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


def certifier(question: Question, method: str, lie_dimension: int, law_rank: int, **more: Any) -> Callable:
    """A function that writes the certificate when it is asked for."""
    return lambda: certificate_of(
        question.fields,
        question.laws,
        method,
        lie_dimension,
        law_rank,
        local=question.theta is not None,
        **more,
    )
