"""A paper as data: its claims, each with a prediction, a way to measure and a rule that can fail."""

import dataclasses
from collections.abc import Callable
from typing import Any

from thetadot.papers.errors import ClaimError
from thetadot.papers.rules import Rule
from thetadot.papers.workbench import Workbench

Measure = Callable[[Workbench], Any]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One statement, what it predicts, how it is measured, and the rule that gives the verdict.

    Arguments:
        statement: the claim in one sentence.
        source: who says so: a paper and where in it, "re-derived", or "ours".
        prediction: the predicted value, in words or numbers; or workbench → value where it must be computed.
        measure: workbench → the measured value, or a `Measurement` with more to tell; it never sees the rule.
        rule: see `thetadot.papers.rules`.
        setup: network, data, sizes, seeds: what was measured on.
        why: only for a claim that cannot be decided here (then measure and rule are None): the reason.

    Raises:
        ClaimError: something is missing or does not fit together.

    Example:
        >>> from thetadot.papers import at_most
        >>> claim = Claim("e is small", "ours", 0.0, lambda workbench: 1e-13, at_most(1e-12))
        >>> claim.rule.text
        '≤ 1e-12'
    """

    statement: str
    source: str
    prediction: Any
    measure: Measure | None
    rule: Rule | None
    setup: str = ""
    why: str = ""

    def __post_init__(self):
        if not self.statement.strip() or not self.source.strip():
            raise ClaimError(
                f"claim {self.statement!r} from {self.source!r}: both statement and source are needed"
            )
        if self.measure is None and self.rule is None:
            if not self.why.strip():
                raise ClaimError(f"claim {self.statement!r} is not testable here: say why")
        elif self.measure is None or self.rule is None or self.why:
            raise ClaimError(f"claim {self.statement!r}: give measure and rule, or neither and a why")

    @classmethod
    def not_testable(
        cls, statement: str, source: str, why: str, *, prediction: Any = None, setup: str = ""
    ) -> "Claim":
        """A claim that cannot be decided here, and why; its verdict is NOT TESTABLE HERE."""
        return cls(statement, source, prediction, None, None, setup, why)


@dataclasses.dataclass(frozen=True)
class Paper:
    """A reproduced paper; a module of `thetadot.papers` that binds one to `PAPER` is in the registry.

    Arguments:
        title: what the table is headed with.
        reference: authors, title, identifier; for `thetadot cite` and the report.
        claims: in the order of the table.
        scope: what rests on the paper's text and what on our own derivation, in a sentence or two.
        bibtex: the entry to cite, if there is one.
    """

    title: str
    reference: str
    claims: tuple[Claim, ...]
    scope: str = ""
    bibtex: str = ""

    def __post_init__(self):
        statements = [claim.statement for claim in self.claims]
        if not statements or len(set(statements)) != len(statements):
            raise ClaimError(f"paper {self.title!r} needs claims, each with a statement of its own")
