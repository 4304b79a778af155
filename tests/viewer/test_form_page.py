"""The page of a new run without a browser: what fills it, what it says, what it starts."""

import html
import re
import sys
import time

import panel as pn
import pytest

from tests.viewer.form_studies import empirical
from thetadot.studies import Study, bundled_names, open_run
from thetadot.viewer import start_run
from thetadot.viewer.form_page import NewRun

LONGEST = 120.0
TINY = empirical(
    network={"kind": "linear", "widths": [3, 1]},
    rule={"kind": "gradient_descent", "learning_rate": 0.1, "steps": 3},
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A directory with one run, by name `one`, and what is no run."""
    root = tmp_path_factory.mktemp("viewer") / "runs"
    Study(**TINY).run(root / "one", progress=False)
    (root / "two").mkdir()
    Study(**{**TINY, "name": "outside"}).run(root.parent / "outside", progress=False)
    return root


def settled(page):
    """Look until nothing is under way."""
    end = time.monotonic() + LONGEST
    while page._checking is not None or page.child is not None:
        assert time.monotonic() < end
        page.look()
        time.sleep(0.02)


def shown(pane):
    """The text of a pane."""
    return html.unescape(re.sub(r"<[^>]*>", " ", pane.object))


def click(button):
    """A click, as the browser sends it."""
    button.clicks += 1


def test_the_form_starts_empty_or_from_a_study_or_from_a_run(root):
    page = NewRun(root, print)
    assert page.data()[0].keys() == {"problem", "rule"}
    names = [text.split(" (")[0] for text in page.source.options]
    assert names == ["an empty form", *bundled_names(), "one"]
    page.source.value = next(text for text in page.source.options if text.startswith("one"))
    assert page.data() == ({**TINY, "name": "one-2"}, [])
    assert "Named one-2: one is there already" in shown(page.source_note)
    page = NewRun(root, print, "quickstart")
    assert page.source.value.startswith("quickstart")
    assert Study(**page.data()[0]) == Study.load("quickstart")


@pytest.mark.parametrize(
    "name",
    [
        "gone",
        "two",
        "../outside",
        "/etc",
        "<script>alert(1)</script>",
        "one/../../outside",
        "one\0",
        "x" * 5000,
    ],
)
def test_what_is_no_run_here_leaves_the_form_empty_and_is_told_as_text(root, name):
    page = NewRun(root, print, name)
    assert page.data()[0].keys() == {"problem", "rule"}
    assert "cannot fill the form. There is no such run here" in shown(page.source_note)
    assert "<script" not in page.source_note.object


def test_a_run_of_own_code_and_a_sweep_do_not_fill_the_form_with_them(root, tmp_path):
    for name, change in {
        "code": {"problem": {"kind": "python", "file": "x.py", "function": "make"}},
        "swept": {"sweep": {"init.scale": [1.0, 2.0]}},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
        (tmp_path / name / "study.yaml").write_text(Study(**{**TINY, **change}).to_yaml())
    page = NewRun(tmp_path, print, "code")
    assert "problem: python is not offered" in shown(page.source_note)
    assert page.data()[0]["problem"]["kind"] == "empirical"
    page = NewRun(tmp_path, print, "swept")
    assert "sweeps over is left out" in shown(page.source_note)
    assert "sweep" not in page.data()[0]


def test_the_study_file_is_shown_as_it_grows(root):
    page = NewRun(root, print, "one")
    page.form["name"].widget.value = "a</pre><script>alert(1)</script>"
    assert "name: a</pre><script>alert(1)</script>" in html.unescape(page.preview.object)
    assert "<script" not in page.preview.object
    page.form["name"].widget.value = "three"
    assert f"thetadot run study.yaml -o {root}/three" in shown(page.preview)


def test_a_check_tells_every_mistake_at_its_field_and_in_a_list(root):
    page = NewRun(root, print, "one")
    network = page.form["problem"].inner["network"].inner
    network["widths"].widget.value = "[3"
    page.form["name"].widget.value = "<b>"
    click(page.check)
    settled(page)
    assert "2 things are to be mended" in shown(page.status)
    assert "name : given '<b>'" in shown(page.status)
    assert "not valid YAML" in network["widths"].note.pane.object
    assert "missing" not in network["widths"].note.pane.object
    network["widths"].widget.value = "4, 1"
    page.form["name"].widget.value = "b"
    page.form["problem"].inner["data"].inner["dimension"].widget.value = "3"
    click(page.check)
    settled(page)
    assert "given 4, but problem.data (teacher_student) has 3 inputs" in network["widths"].note.pane.object
    network["widths"].widget.value = "3, 1"
    click(page.check)
    settled(page)
    assert "✓ The study is valid" in shown(page.status)
    assert "wrong" not in network["widths"].note.pane.object


def test_start_begins_one_run_however_often_it_is_clicked_and_leads_to_it(root, monkeypatch):
    launched, followed = [], []
    launch = start_run._launch
    monkeypatch.setattr(start_run, "_launch", lambda *given: launched.append(given) or launch(*given))
    page = NewRun(root, followed.append, "one")
    page.form["name"].widget.value = "four"
    click(page.start)
    click(page.start)
    assert page.start.disabled
    other = NewRun(root, followed.append, "one")
    other.form["name"].widget.value = "four"
    click(other.start)
    settled(page)
    settled(other)
    assert len(launched) == 1
    assert followed == ["four", "four"]
    assert not page.start.disabled
    child = start_run._children[root / "four"]
    assert child.wait(LONGEST)
    assert open_run(root / "four").status == "done"


@pytest.mark.parametrize(
    ("words", "place", "told"),
    [
        (
            "thetadot: {0}: <b> is being written by process 7",
            "status",
            "✗ {0}: <b> is being written by process 7",
        ),
        ("thetadot: {1}:3: init.scale: given <b>", "field", "✗ given <b>"),
        ("thetadot: warning: unimportant\n", "status", "the process ended with code 2"),
    ],
)
def test_the_last_words_of_a_run_that_is_refused_are_told(root, monkeypatch, words, place, told):
    def command(file, directory):
        text = words.format(directory, file)
        return [sys.executable, "-c", f"import sys; print({text!r}, file=sys.stderr); sys.exit(2)"]

    monkeypatch.setattr(start_run, "_command", command)
    followed = []
    page = NewRun(root, followed.append, "one")
    page.form["name"].widget.value = "five"
    click(page.start)
    settled(page)
    assert followed == []
    pane = page.status if place == "status" else page.form["init"]["scale"].note.pane
    assert told.format(root / "five") in shown(pane)
    assert "<b>" not in pane.object
    assert not page.start.disabled


def test_what_the_viewer_has_started_can_be_stopped_from_any_page(root, monkeypatch):
    monkeypatch.setattr(
        start_run, "_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(1000)"]
    )
    child = start_run.start(Study(**TINY), root / "six")
    page = NewRun(root, print, "one")
    (button,) = page.running.select(pn.widgets.Button)
    assert button.label == "Stop six"
    click(button)
    assert child.stopping
    assert child.wait(LONGEST)
    page.refresh()
    assert page.running.select(pn.widgets.Button) == []
