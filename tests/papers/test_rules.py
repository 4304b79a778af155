"""Rules decide, and can fail: on misses, on NaN, and never on nothing."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.papers import (
    ClaimError,
    Judgement,
    Verdict,
    above,
    all_of,
    at_least,
    at_most,
    below,
    between,
    decreasing,
    equals_prediction,
    holds_if,
    increasing,
    is_true,
    part,
    within,
)

CASES = {
    "at most": (at_most(1.0), [1.0, [0.5, 1.0], {"a": 0.2}], [1.1, [0.5, 1.1], {"a": 0.2, "b": 3.0}]),
    "at least": (at_least(1.0), [1.0, [2.0, 1.0]], [0.9, [2.0, 0.9]]),
    "below": (below(1.0), [0.9], [1.0, [0.1, 1.0]]),
    "above": (above(1.0), [1.1], [1.0, [3.0, 1.0]]),
    "between": (between(1.0, 2.0), [1.0, 2.0, [1.2, 1.8]], [0.9, 2.1, [1.5, 2.5]]),
    "within absolute": (within(absolute=0.1), [3.05, 2.95], [3.2, 2.8]),
    "within relative": (within(relative=0.1), [3.25, 2.75, [3.0, 3.1]], [3.4, 2.6, [3.0, 3.4]]),
    "equal": (equals_prediction(), [3.0, 3], [3.1, "3"]),
    "increasing": (increasing(), [[1.0, 2.0, 3.0]], [[1.0, 1.0], [2.0, 1.0, 3.0]]),
    "decreasing": (decreasing(), [[3.0, 2.0]], [[1.0, 1.0], [2.0, 3.0]]),
    "part": (part("x", at_most(1.0)), [{"x": 0.5, "y": 9.0}], [{"x": 1.5, "y": 0.0}]),
    "all of": (all_of(at_least(1.0), at_most(2.0)), [1.5], [0.5, 2.5]),
    "own": (holds_if("even", lambda measured, predicted: measured % 2 == 0), [2, 4], [3]),
    "true": (is_true(), [True, [True, True], {"a": True}], [False, [True, False], {"a": True, "b": False}]),
}


@pytest.mark.parametrize(("rule", "passing", "missing"), CASES.values(), ids=CASES.keys())
def test_each_rule_passes_what_it_should_and_fails_what_it_should(rule, passing, missing):
    for measured in passing:
        assert rule.decide(measured, 3.0) == Judgement(Verdict.HOLDS)
    for measured in missing:
        judged = rule.decide(measured, 3.0)
        assert judged.verdict is Verdict.FAILS
        assert "measured" in judged.why


NUMERICAL = (
    "at most",
    "at least",
    "below",
    "above",
    "between",
    "within absolute",
    "within relative",
    "increasing",
)


@pytest.mark.parametrize("name", NUMERICAL)
def test_nan_never_passes(name):
    assert CASES[name][0].decide([1.5, math.nan, 2.0], 3.0).verdict is Verdict.FAILS


@pytest.mark.parametrize("name", [*NUMERICAL, "true"])
@pytest.mark.parametrize("nothing", [[], {}, None, "words", [[]], ["words"]], ids=repr)
def test_nothing_measured_is_an_error_and_not_a_pass(name, nothing):
    with pytest.raises(ClaimError):
        CASES[name][0].decide(nothing, 3.0)


def test_a_trend_of_one_number_is_an_error():
    with pytest.raises(ClaimError, match="at least two"):
        increasing().decide([1.0], None)


def test_arrays_of_numpy_and_jax_are_judged_entry_by_entry():
    assert at_most(1.0).decide(np.array([[0.1, 0.9]]), None).verdict is Verdict.HOLDS
    assert at_most(1.0).decide(jnp.array([0.1, 1.9]), None).verdict is Verdict.FAILS


def test_within_compares_entry_by_entry_and_refuses_other_lengths():
    rule = within(absolute=0.1)
    assert rule.decide([1.0, 2.0], [1.05, 1.95]).verdict is Verdict.HOLDS
    assert rule.decide([1.0, 2.0], [1.05, 2.5]).verdict is Verdict.FAILS
    with pytest.raises(ClaimError, match="2 entries"):
        rule.decide([1.0, 2.0], [1.0, 2.0, 3.0])


def test_within_needs_exactly_one_tolerance():
    for arguments in ({}, {"absolute": 1.0, "relative": 1.0}):
        with pytest.raises(ClaimError, match="exactly one"):
            within(**arguments)


def test_a_miss_can_mean_not_confirmed_but_never_holds():
    judged = at_most(1.0).otherwise(Verdict.NOT_CONFIRMED).decide(2.0, None)
    assert judged.verdict is Verdict.NOT_CONFIRMED
    assert judged.why == "measured 2, rule: ≤ 1"
    assert at_most(1.0).otherwise(Verdict.NOT_CONFIRMED).decide(0.5, None).verdict is Verdict.HOLDS
    with pytest.raises(ClaimError, match="cannot fail"):
        at_most(1.0).otherwise(Verdict.HOLDS)


def test_the_worst_miss_decides_and_all_misses_are_told():
    rule = all_of(part("a", at_most(1.0)).otherwise(Verdict.NOT_CONFIRMED), part("b", at_most(1.0)))
    assert rule.decide({"a": 0.0, "b": 0.0}, None).verdict is Verdict.HOLDS
    assert rule.decide({"a": 2.0, "b": 0.0}, None).verdict is Verdict.NOT_CONFIRMED
    both = rule.decide({"a": 2.0, "b": 3.0}, None)
    assert both.verdict is Verdict.FAILS
    assert both.why == "a: measured 2, rule: ≤ 1; b: measured 3, rule: ≤ 1"


def test_parts_compare_with_their_own_prediction():
    rule = all_of(part("t", within(absolute=0.1)), part("k", equals_prediction()))
    assert rule.decide({"t": 1.05, "k": [1, 2]}, {"t": 1.0, "k": [1, 2]}).verdict is Verdict.HOLDS
    assert rule.decide({"t": 1.05, "k": [1, 3]}, {"t": 1.0, "k": [1, 2]}).verdict is Verdict.FAILS
    with pytest.raises(ClaimError, match="asks for 't'"):
        rule.decide({"k": [1, 2]}, {"t": 1.0, "k": [1, 2]})


def test_rules_that_cannot_decide_say_so():
    with pytest.raises(ClaimError, match="true or false"):
        holds_if("vague", lambda measured, predicted: measured).decide(0.3, None)
    with pytest.raises(ClaimError, match="at least one"):
        all_of()
