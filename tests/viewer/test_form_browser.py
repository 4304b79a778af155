"""The form of a new run in a real browser: messages beside fields, hostile text as text, a run that starts."""

import itertools

import pytest

from tests.viewer.form_studies import empirical
from thetadot.studies import Study, open_run

TINY = empirical(
    network={"kind": "linear", "widths": [3, 1]},
    rule={"kind": "gradient_descent", "learning_rate": 0.1, "steps": 3},
)


@pytest.fixture
def page(scratch_viewer, open_page):
    """The page, open."""
    page = open_page(scratch_viewer.at("/new"))
    page.get_by_role("button", name="Check").wait_for()
    return page


def fill(page, label, text):
    """Type into the first field with this label, and leave it."""
    field = page.get_by_label(label).first
    field.fill(text)
    field.press("Tab")


def choose(page, label, name):
    """Choose from the first list with this label."""
    page.get_by_label(label, exact=True).first.select_option(name)


def test_wrong_input_is_told_beside_its_field_and_hostile_text_stays_text(page):
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    fill(page, "name", hostile)
    fill(page, "description", hostile)
    fill(page, "widths", "3, four, 1")
    fill(page, "time", "-1")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("things are to be mended").wait_for()
    for label, message in {"widths": "given 'four'", "name": "given '<img", "time": "greater than 0"}.items():
        field = page.get_by_label(f"✗ {label}").first.bounding_box()
        said = page.get_by_role("alert").filter(has_text=message).first
        said.wait_for()
        told = next(
            box
            for box in (one.bounding_box() for one in page.get_by_text(message).all())
            if abs(box["x"] - field["x"]) < 20
        )
        assert 0 <= told["y"] - (field["y"] + field["height"]) < 20
    assert page.get_by_text(hostile).count() >= 1
    assert page.locator("img").count() == 0


def test_the_form_starts_a_run_and_leads_to_its_page_which_follows_it(page, scratch):
    fill(page, "name", "tiny")
    choose(page, "network *", "linear")
    page.get_by_text("A fully connected network without activation.").wait_for()
    fill(page, "widths", "3, 1")
    choose(page, "data *", "teacher student")
    fill(page, "samples", "12")
    choose(page, "loss *", "squared")
    choose(page, "rule *", "gradient descent")
    fill(page, "learning rate", "0.1")
    fill(page, "steps", "3")
    start = page.get_by_role("button", name="Start", exact=True)
    start.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="tiny").wait_for()
    assert page.url.endswith("/run?run=tiny")
    page.get_by_text("✓ done").first.wait_for()
    page.get_by_text("3 of 3").wait_for()
    assert Study.load(scratch / "tiny") == Study(**{**TINY, "name": "tiny"})
    assert open_run(scratch / "tiny").status == "done"


def test_a_run_fills_the_form_of_the_next(viewer, open_page):
    page = open_page(viewer.at("/new?from=curve"))
    page.get_by_text("Named curve-2: curve is there already.").wait_for()
    assert page.get_by_label("widths").first.input_value() == "1, 4, 1"


def test_on_a_phone_the_fields_stand_in_one_column(page):
    page.set_viewport_size({"width": 380, "height": 800})
    page.get_by_label("Start from").select_option("quickstart (comes with thetadot)")
    page.get_by_label("description").first.wait_for()
    page.get_by_label("compare 2").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    boxes = [box for box in (one.bounding_box() for one in page.get_by_role("textbox").all()) if box]
    assert len(boxes) > 10
    assert max(box["x"] + box["width"] for box in boxes) <= 380
    tops = sorted(box["y"] for box in boxes)
    assert all(after - before > 20 for before, after in itertools.pairwise(tops))
