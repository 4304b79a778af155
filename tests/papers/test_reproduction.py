"""The claims mechanism: every verdict can be reached, and nothing but a rule gives one."""

import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.papers import (
    Claim,
    ClaimError,
    Measurement,
    MeasurementError,
    NotTestableHereError,
    Paper,
    Progress,
    UnknownPaperError,
    Verdict,
    Workbench,
    at_most,
    load,
    names,
    reproduce,
    within,
)


def paper_of(*claims):
    return Paper("Made up", "nobody", claims)


def claim(measure, rule=None, *, statement="small", prediction=None):
    return Claim(statement, "ours", prediction, measure, rule or at_most(1.0))


def verdict_of(*arguments, **keywords):
    return reproduce(paper_of(claim(*arguments, **keywords)))[0].verdict


def test_all_four_verdicts_can_be_reached():
    paper = paper_of(
        claim(lambda _: 0.5, statement="a"),
        claim(lambda _: 1.5, statement="b"),
        claim(lambda _: 1.5, at_most(1.0).otherwise(Verdict.NOT_CONFIRMED), statement="c"),
        Claim.not_testable("d", "a paper", "its text is unknown to us"),
    )
    table = reproduce(paper)
    assert [row.verdict for row in table.rows] == list(Verdict)
    assert [row.why for row in table.rows] == [
        "",
        "measured 1.5, rule: ≤ 1",
        "measured 1.5, rule: ≤ 1",
        "its text is unknown to us",
    ]
    assert table.fails
    assert table.summary == "1 of 4 claims hold, 1 fail, 1 not confirmed, 1 not testable here"


def test_not_confirmed_and_not_testable_are_no_failures():
    paper = paper_of(
        claim(lambda _: 1.5, at_most(1.0).otherwise(Verdict.NOT_CONFIRMED), statement="a"),
        Claim.not_testable("b", "a paper", "no data"),
    )
    assert not reproduce(paper).fails


@pytest.mark.parametrize("corrupted", [1.0 + 1e-9, -1e-9, math.nan, math.inf], ids=repr)
def test_a_corrupted_measurement_fails(corrupted):
    rule = within(absolute=0.5)
    assert verdict_of(lambda _: 0.7, rule, prediction=0.5) is Verdict.HOLDS
    assert verdict_of(lambda _: corrupted, rule, prediction=0.5) is Verdict.FAILS


def test_a_measure_may_find_that_it_cannot_be_tested_here_but_must_say_why():
    def without_browser(_):
        raise NotTestableHereError("needs a browser")

    row = reproduce(paper_of(claim(without_browser)))[0]
    assert (row.verdict, row.why) == (Verdict.NOT_TESTABLE_HERE, "needs a browser")
    with pytest.raises(ClaimError, match="needs a why"):
        NotTestableHereError("  ")
    with pytest.raises(ClaimError, match="say why"):
        Claim.not_testable("d", "a paper", "")


def test_a_measure_that_breaks_gets_no_verdict_and_the_others_keep_theirs():
    def broken(_):
        raise ZeroDivisionError("nothing to divide by\nand a page of details")

    paper = paper_of(
        claim(lambda _: 0.5, statement="a"), claim(broken, statement="b"), claim(lambda _: 2, statement="c")
    )
    with pytest.raises(
        MeasurementError, match=r"1 of 3 claims .*'b': ZeroDivisionError: nothing to divide by"
    ) as raised:
        reproduce(paper)
    table = raised.value.table
    assert [row.verdict for row in table.rows] == [Verdict.HOLDS, None, Verdict.FAILS]
    assert [row.word for row in table.errors] == ["ERROR"]
    assert "1 without a verdict (error)" in table.summary
    assert "details" not in table[1].why
    assert isinstance(raised.value.__cause__, ZeroDivisionError), "the traceback leads to the measure"


def test_a_rule_that_cannot_judge_what_was_measured_is_an_error_that_shows_the_measurement():
    with pytest.raises(MeasurementError, match="cannot pass on none") as raised:
        reproduce(paper_of(claim(lambda _: [])))
    assert raised.value.table[0].measured == []


def test_what_is_neither_number_nor_text_is_an_error():
    with pytest.raises(MeasurementError, match="a measure returned object"):
        reproduce(paper_of(claim(lambda _: object())))


def test_an_interrupt_is_not_a_broken_measure():
    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(paper_of(claim(interrupted)))


def test_predictions_may_be_computed_and_measurements_may_tell_more():
    def measure(_):
        return Measurement(jnp.array([1.0, 2.0]), beside={"raw": np.float64(7.0)}, note="rising")

    row = reproduce(
        paper_of(claim(measure, within(absolute=0.1), prediction=lambda _: np.array([1.0, 2.05])))
    )[0]
    assert row.verdict is Verdict.HOLDS
    assert (row.predicted, row.measured) == ([1.0, 2.05], [1.0, 2.0])
    assert row.found == "[1, 2] (raw: 7)"
    assert row.remark == "rising"


def test_a_number_is_shown_with_its_distance_from_a_predicted_number():
    row = reproduce(paper_of(claim(lambda _: 2.0002, within(relative=1e-3), prediction=2)))[0]
    assert row.found == "2 (off by 0.0001 relative)"
    row = reproduce(paper_of(claim(lambda _: 1e-3, at_most(1.0), prediction=0.0)))[0]
    assert row.found == "0.001"


def test_a_shared_set_up_runs_once_for_all_claims_and_once_per_argument():
    runs = []

    def expensive(workbench, size):
        runs.append((workbench.quick, size))
        return float(size)

    def measure(size):
        return lambda workbench: workbench.shared(expensive, size)

    paper = paper_of(
        claim(measure(1), statement="a"),
        claim(measure(1), statement="b"),
        claim(measure(0), statement="c", prediction=lambda workbench: workbench.shared(expensive, 0)),
    )
    assert reproduce(paper, quick=True).count(Verdict.HOLDS) == 3
    assert runs == [(True, 1), (True, 0)]
    reproduce(paper)
    assert runs == [(True, 1), (True, 0), (False, 1), (False, 0)]


def test_a_set_up_that_breaks_breaks_every_claim_on_it_after_one_run():
    runs = []

    def broken(_):
        runs.append(1)
        raise RuntimeError("no data")

    def measure(workbench):
        return workbench.shared(broken)

    paper = paper_of(claim(measure, statement="a"), claim(measure, statement="b"))
    with pytest.raises(MeasurementError, match="2 of 2") as raised:
        reproduce(paper)
    assert [row.why for row in raised.value.table.errors] == ["RuntimeError: no data"] * 2
    assert runs == [1]


def test_quick_mode_reaches_the_measures():
    def measure(workbench):
        return workbench.choose(full=2.0, quick=0.5)

    assert reproduce(paper_of(claim(measure)), quick=True)[0].verdict is Verdict.HOLDS
    assert reproduce(paper_of(claim(measure)))[0].verdict is Verdict.FAILS


def test_progress_tells_of_every_claim_its_start_its_words_and_its_row():
    told: list[Progress] = []

    def talkative(workbench):
        workbench.say("half way")
        return 0.5

    table = reproduce(
        paper_of(claim(talkative, statement="a"), claim(lambda _: 2, statement="b")), progress=told.append
    )
    seen = [(note.done, note.total, note.statement, note.message, note.result) for note in told]
    assert seen == [
        (0, 2, "a", "", None),
        (0, 2, "a", "half way", None),
        (1, 2, "a", "", table[0]),
        (1, 2, "b", "", None),
        (2, 2, "b", "", table[1]),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "ours", 0, lambda _: 1, at_most(1.0)),
        ("a", " ", 0, lambda _: 1, at_most(1.0)),
        ("a", "ours", 0, None, None),
        ("a", "ours", 0, None, at_most(1.0)),
        ("a", "ours", 0, lambda _: 1, None),
        ("a", "ours", 0, lambda _: 1, at_most(1.0), "", "why with a measure"),
    ],
)
def test_claims_that_are_not_whole_are_refused(arguments):
    with pytest.raises(ClaimError):
        Claim(*arguments)


def test_papers_need_claims_with_statements_of_their_own():
    for claims in ((), (claim(lambda _: 0), claim(lambda _: 1))):
        with pytest.raises(ClaimError, match="statement"):
            Paper("Made up", "nobody", claims)


def test_every_paper_of_the_registry_loads_and_states_its_sources():
    assert "analytic" in names()
    for name in names():
        paper = load(name)
        assert paper.title
        assert paper.reference
        assert all(one.source for one in paper.claims)


def test_mechanism_files_are_not_papers():
    assert not {"claims", "rules", "table", "registry", "reproduction", "closed_forms", "__init__"} & set(
        names()
    )


def test_a_wrong_name_is_told_the_nearest_right_one():
    with pytest.raises(UnknownPaperError, match=r"no paper is called 'analitic'. Did you mean 'analytic'\?"):
        reproduce("analitic")


def test_asking_for_names_imports_no_paper():
    script = "import sys, thetadot.papers as p; p.names(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_workbench_without_listener_stays_silent(capsys):
    Workbench().say("nobody hears this")
    assert capsys.readouterr() == ("", "")
