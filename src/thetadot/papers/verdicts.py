"""The four answers that a claim can get."""

import dataclasses
import enum


class Verdict(enum.Enum):
    """What a rule decided about a claim; the value is the word in tables."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    NOT_CONFIRMED = "NOT CONFIRMED"
    NOT_TESTABLE_HERE = "NOT TESTABLE HERE"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict and, unless the claim holds, what spoke against it."""

    verdict: Verdict
    why: str = ""
