"""The pages in a real browser, with the viewer as a process of its own."""

import json
import re
import shutil
from urllib.parse import quote

import numpy as np
import pytest

from tests.viewer.conftest import BLOBS, CURVE, HOSTILE, until
from thetadot.dynamics.wording import number
from thetadot.studies import Study, open_run

PAGES = (
    "/",
    "/run?run=curve",
    "/run?run=blobs&member=1",
    "/compare?a=curve&b=blobs",
    "/lenses?run=curve",
    "/new",
)

MODELS = "Bokeh.documents.flatMap((document) => [...document.all_models])"
COLUMN = "(model, name) => [...(model.data_source.data.get?.(name) ?? model.data_source.data[name])]"
MARKS = f"""() => {MODELS}.filter((model) => model.tags.includes("moment") && model.data_source)
    .map((model) => ["x", "y"].map((name) => ({COLUMN})(model, name)))"""
LINES = f"""() => {MODELS}.filter((model) => model.tags.includes("moment") && model.type === "Span" && model.visible)
    .map((model) => model.location)"""
SLIDER = f'{MODELS}.find((model) => model.tags.includes("save"))'


def titles(page):
    return page.locator("h3").all_inner_texts()


def row_of(page):
    """The saved row that the page says it shows."""
    return int(page.locator(".moment dd").nth(3).inner_text().split()[0])


def go_to(page, row):
    """Move the slider, and wait until the page says that it is there."""
    page.evaluate(f"(row) => {{ {SLIDER}.value = row }}", row)
    page.get_by_text(re.compile(rf"^{row} of ")).wait_for()


def test_every_page_loads_without_an_error_and_fits_a_desktop_and_a_phone(viewer, open_page):
    for path in PAGES:
        page = open_page(viewer.at(path))
        page.locator("h1").first.wait_for()
        assert page.title().endswith("· thetadot")
        for width in (1280, 380):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        page.context.close()


def test_the_table_shows_every_run_and_filters_as_one_types(viewer, open_page):
    page = open_page(viewer.at("/"))
    names = page.locator("tbody th")
    names.nth(5).wait_for()
    assert set(names.all_inner_texts()) == {"curve", "blobs", "saddle", "older/curve", "broken", HOSTILE}
    page.get_by_label("Filter by name or problem").press_sequentially("curve")
    page.get_by_text("2 runs of 6").wait_for()
    assert set(names.all_inner_texts()) == {"curve", "older/curve"}
    page.get_by_label("Filter by name or problem").fill("")
    page.get_by_label("Status").select_option("unreadable")
    page.get_by_text("1 run of 6").wait_for()
    assert "manifest.json" in page.locator("tbody").inner_text()
    page.get_by_label("Status").select_option("done")
    page.get_by_role("link", name="older/curve").click()
    page.get_by_role("heading", name="older/curve").wait_for()


def test_the_slider_moves_the_mark_on_every_figure_and_the_figures_of_the_moment(viewer, open_page, runs):
    path = open_run(runs / "curve").path(0)
    page = open_page(viewer.at("/run?run=curve"))
    page.get_by_text("Network function at t").wait_for()
    for row in (150, 60):
        go_to(page, row)
        time = path.ts[row]
        until(page, f"(time) => ({LINES})().every((place) => Math.abs(place / time - 1) < 1e-9)", float(time))
        assert len(page.evaluate(LINES)) == 4  # loss, gradient norm, sharpness, neuron norms
        heights = [y for xs, ys in page.evaluate(MARKS) for x, y in zip(xs, ys, strict=True) if x == time]
        for value in (path.losses[row], path.grad_norms[row], path.observed["sharpness"][row]):
            assert np.isclose(value, heights, rtol=1e-12).any(), (value, heights)
        for name in ("Hessian spectrum", "Neurons of layer 1", "Network function"):
            page.get_by_text(re.compile(rf"^{name} at t = {re.escape(number(time, 4))}")).wait_for()


def test_a_classifier_shows_its_confusion_matrix_and_its_regions(viewer, open_page, runs):
    problem, path = Study.load(runs / "blobs").problem, open_run(runs / "blobs").path(1)
    page = open_page(viewer.at("/run?run=blobs&member=1"))
    page.get_by_text("Confusion matrix at t").wait_for()
    page.get_by_text("Network function at t").wait_for()
    for row in (0, len(path.ts) - 1):
        go_to(page, row)
        right = float(np.mean(np.argmax(problem.predict(path.thetas[row], problem.x), axis=1) == problem.y))
        page.get_by_text(
            f"Confusion matrix at t = {number(path.ts[row], 4)}: {number(100 * right, 3)} % right"
        ).wait_for()


def test_arrows_step_space_plays_and_a_field_keeps_its_keys(viewer, open_page):
    page = open_page(viewer.at("/run?run=curve"))
    page.get_by_text(re.compile("^199 of ")).wait_for()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("198 of 199").wait_for()
    page.keyboard.press("ArrowRight")
    page.get_by_text("199 of 199").wait_for()
    page.keyboard.press(" ")
    page.get_by_text(re.compile(r"^[1-9]\d? of 199")).wait_for()
    page.keyboard.press(" ")
    page.get_by_text("▶ Play").wait_for()
    page.get_by_label("Slider follows").focus()
    before = row_of(page)
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert row_of(page) == before


def test_a_click_on_an_event_goes_to_its_time(viewer, open_page, runs):
    path = open_run(runs / "saddle").path(0)
    event = next(event for event in path.events if event.name == "plateau")
    page = open_page(viewer.at("/run?run=saddle"))
    last = len(path.ts) - 1
    page.get_by_text(f"{last} of {last}").wait_for()
    place = page.evaluate(
        f"""([time, loss]) => {{
            const view = Bokeh.index.find_one({MODELS}.find((model) => model.type === "Figure"));
            const box = view.el.getBoundingClientRect();
            return [box.x + view.frame.x_scale.compute(time), box.y + view.frame.y_scale.compute(loss)];
        }}""",
        [event.time, float(np.interp(np.log(event.time), np.log(path.ts[1:]), path.losses[1:]))],
    )
    page.mouse.click(*place)
    nearest = int(np.argmin(np.abs(path.ts - event.time)))
    page.get_by_text(re.compile(rf"^{nearest} of ")).wait_for()


def test_the_key_hides_a_rule_in_every_figure(viewer, open_page):
    page = open_page(viewer.at("/run?run=curve"))
    drawn = f'{MODELS}.filter((model) => model.tags.includes("rule:1") && "visible" in model)'
    visible = f"() => {drawn}.map((model) => model.visible)"
    page.get_by_text("Sharpness").wait_for()
    assert all(page.evaluate(visible))
    button = page.get_by_role("button", name="gradient descent (learning rate 0.5)")
    button.click()
    assert len(page.evaluate(visible)) > 3
    assert not any(page.evaluate(visible))
    assert button.get_attribute("aria-pressed") == "false"


def test_a_run_that_grows_is_followed_to_its_end(scratch, scratch_viewer, open_page):
    fields = CURVE | {"lenses": {}, "compare": [], "budget": {"wall": 0.001}}
    study = Study(**fields)
    place = scratch / "growing"
    assert study.run(place, progress=False, commit_every=0.01).status == "resumable"
    page = open_page(scratch_viewer.at("/run?run=growing"))
    page.get_by_text("resumable").first.wait_for()
    first = page.evaluate(f"() => {SLIDER}.end")
    study.run(place, set={"budget.wall": 600}, progress=False, commit_every=0.01)
    page.get_by_text(re.compile("^✓ done")).first.wait_for()
    page.get_by_text("199 of 199").wait_for()  # it stood at the end, and stays there
    assert first < 199
    path = open_run(place).path(0)
    assert [[path.ts[-1]], [path.losses[-1]]] in page.evaluate(MARKS)


def test_hostile_names_and_texts_are_shown_as_texts(viewer, open_page):
    for path in ("/", f"/run?run={quote(HOSTILE)}", f"/lenses?run={quote(HOSTILE)}", f"/compare?a={quote(HOSTILE)}",
                 f"/run?run={quote('<script>alert(3)</script>')}"):  # fmt: skip
        page = open_page(viewer.at(path))
        page.get_by_text("alert(").locator("visible=true").first.wait_for()
        page.wait_for_timeout(500)
        assert page.locator("img").count() == 0
        assert page.locator("script", has_text="alert(").count() == 0
        page.context.close()


@pytest.mark.parametrize("name", ["../outside", "/etc", "..%2Foutside"])
def test_names_that_lead_elsewhere_are_refused_on_every_page(viewer, open_page, name):
    for page_name in ("run", "lenses"):
        page = open_page(viewer.at(f"/{page_name}?run={quote(name)}"))
        page.get_by_role("alert").get_by_text("there is no run").wait_for()


def test_two_runs_are_compared_on_one_time_axis_with_what_differs(viewer, open_page):
    page = open_page(viewer.at("/compare?a=curve&b=blobs"))
    page.get_by_role("heading", name="Gradient norm").wait_for()
    table = page.get_by_role("region", name="Differences of the studies").inner_text()
    assert "problem.loss" in table
    assert '"squared"' in table
    assert '"cross_entropy"' in table
    ranges = page.evaluate(
        f'() => {MODELS}.filter((model) => model.type === "Figure").map((model) => model.x_range.id)'
    )
    assert len(ranges) == 3
    assert len(set(ranges)) == 1
    page.get_by_label("B: run").select_option("curve")
    page.get_by_label("B: rule").select_option("gradient descent (learning rate 0.5)")
    page.get_by_role("heading", name="Distance of B from A at equal time").wait_for()


def test_lenses_are_shown_with_their_figures_or_why_there_are_none(viewer, open_page):
    page = open_page(viewer.at("/lenses?run=saddle"))
    page.get_by_role("heading", name="Drift of the conserved quantities").wait_for()
    assert page.locator(".bk-Figure").count() > 0
    page = open_page(viewer.at("/lenses?run=curve"))
    page.get_by_text("Does not apply").wait_for()
    page = open_page(viewer.at("/lenses?run=blobs"))
    page.get_by_text("asks for no lens").wait_for()


def test_figures_follow_the_dark_theme(viewer, open_page):
    from thetadot.dynamics.palette import DARK, PAPER

    colour = f'() => {MODELS}.find((model) => model.type === "Figure").background_fill_color'
    page = open_page(viewer.at("/run?run=curve"), color_scheme="dark")
    until(page, f'() => ({colour})() === "{DARK[PAPER]}"')
    assert "rgb(14, 17, 20)" in page.evaluate("getComputedStyle(document.body).backgroundColor")


OWN_CODE = """\
import pathlib
import jax, thetadot as td

def make_problem():
    pathlib.Path(__file__).with_name("ran").touch()
    data = td.data.gaussian_blobs(jax.random.key(0), samples=30, classes=3)
    return td.EmpiricalRisk(td.mlp([2, 3, 3], "tanh"), td.cross_entropy, *data)
"""


def test_a_studys_own_code_is_run_only_when_the_reader_says_so(
    scratch, scratch_viewer, open_page, runs, tmp_path
):
    place = scratch / "own"
    shutil.copytree(runs / "blobs", place)
    (tmp_path / "own.py").write_text(OWN_CODE)
    study = json.loads(json.dumps(BLOBS)) | {
        "name": "own", "problem": {"kind": "python", "file": str(tmp_path / "own.py"), "function": "make_problem"},
    }  # fmt: skip
    (place / "study.yaml").write_text(json.dumps(study))
    page = open_page(scratch_viewer.at("/run?run=own"))
    page.get_by_text("Neurons of layer 1 at t").wait_for()
    assert not (tmp_path / "ran").exists()
    assert "Confusion matrix" not in " ".join(titles(page))
    page.get_by_role("button", name="Run the study's own code").click()
    page.get_by_text("Confusion matrix at t").wait_for()
    assert (tmp_path / "ran").exists()


def test_a_run_that_is_deleted_or_has_no_readable_study_is_told_and_the_page_stays(
    scratch, scratch_viewer, open_page, runs
):
    place = scratch / "doomed"
    shutil.copytree(runs / "curve", place)
    (place / "study.yaml").write_text("problem: [")
    page = open_page(scratch_viewer.at("/run?run=doomed"))
    page.get_by_text("Neurons of layer 1 at t").wait_for()
    page.get_by_text("Members, rules and cost").click()
    page.get_by_text("No confusion figure: the study cannot be read").wait_for()
    shutil.copytree(runs / "curve", scratch / "spare")
    compared = open_page(scratch_viewer.at("/compare?a=spare&b=spare"))
    compared.get_by_role("heading", name="Loss").wait_for()
    shutil.rmtree(place)
    compared.get_by_label("A: run").select_option("doomed")
    compared.get_by_text("A: nothing to show yet").wait_for()
    page.get_by_text("This run cannot be read any more").wait_for()
    assert page.get_by_role("heading", name="Loss").is_visible()
