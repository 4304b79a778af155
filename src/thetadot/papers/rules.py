"""Rules that turn a measured value into a verdict, and that can fail.

Every rule looks at all entries of what it is given; an entry that is NaN never passes, and nothing measured
is an error, not a pass. A miss is FAILS unless the rule says `.otherwise(Verdict.NOT_CONFIRMED)`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from thetadot.papers.errors import ClaimError
from thetadot.papers.values import words
from thetadot.papers.verdicts import Judgement, Verdict


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule: its text for the table, and its decision.

    Arguments:
        text: the rule in words or signs, e.g. "≤ 1e-12".
        decide: (measured, predicted) → `Judgement`.
    """

    text: str
    decide: Callable[[Any, Any], Judgement]

    def otherwise(self, verdict: Verdict) -> "Rule":
        """The same rule with another verdict for a miss: NOT_CONFIRMED where that refutes nothing.

        Example:
            >>> at_most(0.1).otherwise(Verdict.NOT_CONFIRMED).decide(0.2, None).verdict.name
            'NOT_CONFIRMED'
        """
        if verdict is Verdict.HOLDS:
            raise ClaimError("a rule whose miss HOLDS cannot fail: choose FAILS or NOT_CONFIRMED")

        def decide(measured: Any, predicted: Any) -> Judgement:
            judged = self.decide(measured, predicted)
            return judged if judged.verdict is Verdict.HOLDS else Judgement(verdict, judged.why)

        return Rule(f"{self.text}, else {verdict.value}", decide)


def holds_if(text: str, test: Callable[[Any, Any], Any]) -> Rule:
    """A rule of your own: `test(measured, predicted)` is true or false; anything else is an error.

    Example:
        >>> even = holds_if("even", lambda measured, predicted: measured % 2 == 0)
        >>> even.decide(3, None)
        Judgement(verdict=<Verdict.FAILS: 'FAILS'>, why='measured 3, rule: even')
    """

    def decide(measured: Any, predicted: Any) -> Judgement:
        passed = test(measured, predicted)
        if not isinstance(passed, (bool, np.bool_)):
            raise ClaimError(f"rule {text!r} answered {passed!r}: a rule must answer true or false")
        return (
            Judgement(Verdict.HOLDS)
            if passed
            else Judgement(Verdict.FAILS, f"measured {words(measured)}, rule: {text}")
        )

    return Rule(text, decide)


def at_most(bound: float) -> Rule:
    """Every entry ≤ bound."""
    return holds_if(f"≤ {words(bound)}", lambda measured, _: np.all(numbers(measured) <= bound))


def at_least(bound: float) -> Rule:
    """Every entry ≥ bound."""
    return holds_if(f"≥ {words(bound)}", lambda measured, _: np.all(numbers(measured) >= bound))


def below(bound: float) -> Rule:
    """Every entry < bound."""
    return holds_if(f"< {words(bound)}", lambda measured, _: np.all(numbers(measured) < bound))


def above(bound: float) -> Rule:
    """Every entry > bound."""
    return holds_if(f"> {words(bound)}", lambda measured, _: np.all(numbers(measured) > bound))


def between(low: float, high: float) -> Rule:
    """Every entry in [low, high]."""
    return holds_if(
        f"in [{words(low)}, {words(high)}]",
        lambda measured, _: np.all((low <= numbers(measured)) & (numbers(measured) <= high)),
    )


def within(*, absolute: float | None = None, relative: float | None = None) -> Rule:
    """Every entry as near to the prediction as said; give exactly one of the two.

    Example:
        >>> within(relative=1e-3).decide([1.0005, 2.0], [1.0, 2.0]).verdict.name
        'HOLDS'
    """
    if (absolute is None) == (relative is None):
        raise ClaimError("within needs exactly one of absolute= and relative=")

    def near(measured: Any, predicted: Any) -> Any:
        found, expected = numbers(measured), numbers(predicted)
        if expected.size != 1 and expected.shape != found.shape:
            raise ClaimError(f"measured has {found.size} entries, the prediction {expected.size}")
        allowed = absolute if relative is None else relative * np.abs(expected)
        return np.all(np.abs(found - expected) <= allowed)

    text = f"{words(absolute)}" if relative is None else f"{words(relative)}·|predicted|"
    return holds_if(f"|measured − predicted| ≤ {text}", near)


def equals_prediction() -> Rule:
    """Exactly the prediction: numbers, text, lists or named parts."""
    return holds_if("= predicted", lambda measured, predicted: bool(measured == predicted))


def is_true() -> Rule:
    """Every entry is true."""

    def test(measured: Any, _: Any) -> bool:
        entries = list(measured.values()) if isinstance(measured, Mapping) else np.ravel(measured).tolist()
        if not entries or not all(isinstance(entry, bool) for entry in entries):
            raise ClaimError(f"measured {words(measured)}: expected true or false")
        return all(entries)

    return holds_if("true", test)


def increasing() -> Rule:
    """Each entry greater than the one before."""
    return holds_if("increasing", lambda measured, _: np.all(np.diff(_sequence(measured)) > 0))


def decreasing() -> Rule:
    """Each entry less than the one before."""
    return holds_if("decreasing", lambda measured, _: np.all(np.diff(_sequence(measured)) < 0))


def part(name: str, rule: Rule) -> Rule:
    """A rule on the measured value's part `name` (and on the prediction's, if it has parts)."""

    def decide(measured: Any, predicted: Any) -> Judgement:
        if not isinstance(measured, Mapping) or name not in measured:
            raise ClaimError(f"the rule asks for {name!r}, measured was {words(measured)}")
        expected = predicted.get(name) if isinstance(predicted, Mapping) else predicted
        judged = rule.decide(measured[name], expected)
        return dataclasses.replace(judged, why=f"{name}: {judged.why}") if judged.why else judged

    return Rule(f"{name} {rule.text}", decide)


def all_of(*rules: Rule) -> Rule:
    """Every rule must hold; a miss that FAILS outweighs one that is NOT CONFIRMED."""
    if not rules:
        raise ClaimError("all_of() without rules holds for everything: give at least one")

    def decide(measured: Any, predicted: Any) -> Judgement:
        missed = [
            judged
            for rule in rules
            if (judged := rule.decide(measured, predicted)).verdict is not Verdict.HOLDS
        ]
        if not missed:
            return Judgement(Verdict.HOLDS)
        why = "; ".join(judged.why for judged in missed)
        order = (Verdict.FAILS, Verdict.NOT_CONFIRMED, Verdict.NOT_TESTABLE_HERE)
        return Judgement(min((judged.verdict for judged in missed), key=order.index), why)

    return Rule("; ".join(rule.text for rule in rules), decide)


def numbers(value: Any) -> np.ndarray:
    """All numbers of a measured value as one float array.

    Raises:
        ClaimError: there are none, or something is not a number.
    """
    if isinstance(value, Mapping):
        return np.concatenate([np.ravel(numbers(item)) for item in value.values()] or [_no_numbers(value)])
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal lengths
        return _no_numbers(value)
    return array.astype(float) if array.size and array.dtype.kind in "biuf" else _no_numbers(value)


def _no_numbers(value: Any) -> np.ndarray:
    raise ClaimError(f"measured {words(value)}: the rule needs numbers and cannot pass on none")


def _sequence(value: Any) -> np.ndarray:
    entries = np.ravel(numbers(value))
    if entries.size < 2:
        raise ClaimError(f"measured {words(value)}: a trend needs at least two entries")
    return entries
