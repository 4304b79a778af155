"""The report of a run, read as a browser reads it."""

import base64
import hashlib
import os
import pathlib
import re

import numpy as np
import pytest

from tests.report.markup import Page
from tests.report.runs import HOSTILE, StandIn, broken, descent, flow
from thetadot.dynamics import Accuracy, Outcome
from thetadot.dynamics.wording import number
from thetadot.report import write_report


def report(directory, *args, **settings):
    """The text of a report."""
    file = write_report(StandIn(directory, *args, **settings), directory / "out" / "report.html")
    assert isinstance(file, pathlib.Path)
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory):
    """Two members under a flow and two descents."""
    starts = (0, 1)
    compared = [[descent(0.5, 120, seed) for seed in starts], [descent(1.5, 40, seed) for seed in starts]]
    study = "name: stand-in\nproblem: {kind: empirical}\n"
    return report(tmp_path_factory.mktemp("run"), [flow(seed) for seed in starts], compared, study=study)


@pytest.fixture(scope="module")
def page(ordinary):
    return Page(ordinary)


def test_the_page_refers_to_nothing_outside_of_itself(page):
    assert page.references, "the page has links to its own parts, so some references must be found"
    assert [reference for reference in page.references if not reference.startswith("#")] == []
    for tag in ("link", "iframe", "object", "embed", "base", "form", "img", "image", "audio", "video"):
        assert page.all(tag) == []


def test_every_link_within_the_page_has_a_target(page):
    assert {reference[1:] for reference in page.references} <= set(page.ids)


def test_no_id_occurs_twice(page):
    assert len(page.ids) == len(set(page.ids))


def test_the_page_is_smaller_than_four_megabytes(ordinary):
    assert len(ordinary.encode()) < 4_000_000


def test_only_the_scripts_named_by_their_hash_may_run_and_nothing_may_be_fetched(page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "http" not in policy
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.executable]
    assert rules["script-src"].split() == [f"'sha256-{value}'" for value in hashes]
    assert len(hashes) == 3


def test_scripts_need_no_eval(page):
    """What the policy forbids must not be needed: no callback that is compiled from text."""
    kinds = re.findall(r'"name": ?"(CustomJS\w*)"', str(page.json("figures")))
    assert kinds == []


def test_every_picture_says_what_it_shows(page):
    pictures = [place for place, (tag, _, _) in enumerate(page.elements) if tag == "svg"]
    assert len(pictures) >= 8
    for place in pictures:
        attributes = page.elements[place][1]
        titled = page.elements[place + 1][0] == "title"
        assert attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and titled)
    assert all(len(text) > 40 for text in page.texts["title"][1:] if not text.startswith("Network"))
    live = [a for a in page.all("div") if a.get("class") == "live"]
    assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in live)


def test_every_figure_is_there_interactive_and_still(page):
    figures = [a["id"] for a in page.all("figure")]
    assert figures == ["loss", "gradient", "sharpness", "distance", "neurons", "plane", "final-losses"]
    assert list(page.json("figures")) == [f"{name}-figure" for name in figures]
    stills = [
        stack
        for tag, a, stack in page.elements
        if tag == "svg" and a.get("role") == "img" and "figure" in stack
    ]
    assert len(stills) == len(figures)


def test_the_parts_come_in_the_order_in_which_a_reader_asks(page):
    assert page.texts["h1"] == ["stand-in"]
    assert page.texts["h2"] == [
        "What was run", "What happened", "Figures", "Members", "Cost", "Configuration and sources"
    ]  # fmt: skip


def test_sentences_are_computed_from_this_run(page):
    paths = [flow(0), flow(1)]
    first, last = (number(np.median([path.losses[row] for path in paths])) for row in (0, -1))
    assert f"The loss went from {first} to {last} (median of 2 members)" in page.body
    assert "Gradient flow of mlp 3-5-2 tanh, squared, 20 samples, from 2 initialisations" in page.body
    assert "gradient descent (learning rate 0.5) and gradient descent (learning rate 1.5)." in page.body
    assert "accuracy certified: global error 2.5×10⁻⁶, asked 10⁻⁴" in page.body
    assert "energy identity kept to 3×10⁻⁹" in page.body


def test_the_page_tells_where_everything_came_from(page):
    for words in (
        "0123abcd",
        "2026-01-02T03:04:05+00:00",
        "9.9.9",
        "problem: {kind: empirical}",
        "@software{thetadot",
    ):
        assert words in page.body
    assert "tsitouras2011" in page.body
    assert "princedormand1981" not in page.body


def test_the_members_table_can_be_sorted_by_numbers(page):
    tables = page.all("table")
    assert len(tables) == 3
    keys = [a["data-key"] for a in page.all("td") if "data-key" in a]
    assert keys
    assert all(np.isfinite(float(key)) for key in keys)
    assert sum(1 for tag, _, stack in page.elements if tag == "button" and "th" in stack) == 9


def test_hostile_names_are_shown_as_text_and_never_as_markup(tmp_path):
    path = flow()
    events = tuple(type(event)(HOSTILE, HOSTILE, event.time, event.theta, 0.0) for event in path.events)
    path = flow(
        info={"kind": HOSTILE, "problem": HOSTILE, "method": HOSTILE, "normalisation": HOSTILE},
        reason=HOSTILE,
        events=events,
        observed={HOSTILE: np.linspace(0, 1, len(path.ts))},
        accuracy=Accuracy(None, None, float("nan"), 1e-6, HOSTILE),
    )
    text = report(tmp_path, [path], name=HOSTILE, study=HOSTILE)
    hostile = Page(text)
    assert hostile.texts["h1"] == [HOSTILE]
    assert hostile.body.count(HOSTILE) >= 5
    assert hostile.all("img") == []
    assert [a for a in hostile.all("script") if "src" in a] == []
    assert len(hostile.executable) == 3
    assert not any("alert(" in script for script in hostile.executable if "Bokeh.embed" in script)
    assert all(reference.startswith("#") for reference in hostile.references)
    assert "$$a$$" not in str(hostile.json("figures")), "Bokeh would typeset it"


def test_one_member_without_comparison_or_sharpness_has_a_shorter_report(tmp_path):
    page = Page(report(tmp_path, [flow(observed={})]))
    assert [a["id"] for a in page.all("figure")] == ["loss", "gradient", "neurons", "plane"]
    assert "from 1 initialisation." in page.body
    assert "median of" not in page.body


def test_a_member_that_diverged_is_told_and_does_not_hide_the_others(tmp_path):
    page = Page(report(tmp_path, [flow(0), broken(1), flow(2)], [[descent(0.5, 100), broken(1), broken(2)]]))
    assert "2 end time reached, 1 diverged" in page.body
    assert "✗ diverged" in page.body
    assert "3 paths broke down" in page.body
    for figure in page.json("figures").values():
        ranges = re.findall(r"'name': 'Range1d'.*?'start': ([-\d.e+]+), 'end': ([-\d.e+]+)", str(figure))
        assert len(ranges) == 2
        assert all(abs(float(end)) < 1e6 for pair in ranges for end in pair)


def test_numbers_that_are_not_finite_do_not_break_the_page(tmp_path):
    wild = flow()
    rows = len(wild.ts)
    wild = flow(
        losses=np.full(rows, np.nan),
        grad_norms=np.full(rows, np.inf),
        thetas=np.full_like(wild.thetas, np.nan),
        observed={"sharpness": np.full(rows, -np.inf)},
        outcome=Outcome.STALLED,
    )
    page = Page(report(tmp_path, [wild]))
    assert page.json("figures") == {}
    assert "There is no loss to draw" in page.body
    assert "stalled" in page.body


def test_a_run_with_nothing_committed_says_so(tmp_path):
    page = Page(report(tmp_path, [None, None], status="running"))
    assert "Nothing of this run is committed yet." in page.body
    assert "its status is “running”" in page.body
    assert page.body.count("nothing is committed yet") == 2


def test_a_run_with_a_single_row_has_a_report(tmp_path):
    path = flow()
    first = {name: getattr(path, name)[:1] for name in ("ts", "thetas", "losses", "grad_norms", "steps")}
    page = Page(
        report(tmp_path, [flow(**first, observed={}, outcome=Outcome.INTERRUPTED)], status="resumable")
    )
    assert "interrupted" in page.body


def test_a_large_ensemble_is_drawn_as_a_fan_and_stays_small(tmp_path):
    text = report(tmp_path, [flow(seed % 3, losses=(1 + seed) * flow(seed % 3).losses) for seed in range(12)])
    page = Page(text)
    assert {"fan", "final-losses"} <= {a["id"] for a in page.all("figure")}
    assert len(text.encode()) < 4_000_000
    assert page.body.count("end time reached") >= 12


def test_a_missed_accuracy_is_flagged_at_the_top(tmp_path):
    page = Page(report(tmp_path, [flow(accuracy=Accuracy(1e-6, 4e-5, 1e-9, 1e-8)), flow(1)]))
    assert "✗ accuracy missed by 1 of 2" in page.body
    assert "✗ missed 4×10⁻⁵" in page.body


def test_a_report_replaces_an_older_one(tmp_path):
    run = StandIn(tmp_path, [flow()])
    file = tmp_path / "report.html"
    file.write_text("old")
    assert write_report(run, str(file)) == file
    assert "<h1>stand-in</h1>" in file.read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path)) == ["report.html", "study.yaml"]
