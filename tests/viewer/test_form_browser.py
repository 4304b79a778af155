"""The form of a new run in a real browser: messages beside fields, hostile text as text, a run that starts."""

import itertools
import shutil
import socket
import time

import panel as pn
import pytest
import tornado.web

from tests.viewer.form_studies import empirical
from thetadot.studies import Study, open_run
from thetadot.viewer import start_run
from thetadot.viewer.form_page import new_run_page

LONGEST = 120_000
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Nothing may need eval, or come from elsewhere. (The blob is how Panel's default template looks what a browser can.)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
TINY = empirical(
    network={"kind": "linear", "widths": [3, 1]},
    rule={"kind": "gradient_descent", "learning_rate": 0.1, "steps": 3},
)


def chromium_path():
    """The browser of the system, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


pytestmark = [
    pytest.mark.skipif(chromium_path() is None, reason="no Chromium on the PATH"),
    # Of Panel's server thread and Playwright's loop: their sockets are closed by the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The directory of runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def followed():
    """The runs to which the page has led."""
    return []


def listens(port):
    """Whether a server answers at this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def address(root, followed):
    """A server of the page alone, with the policy."""
    patch = pytest.MonkeyPatch()
    patch.setattr(
        tornado.web.RequestHandler,
        "set_default_headers",
        lambda handler: handler.set_header("Content-Security-Policy", POLICY),
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = pn.serve(
        {"new": lambda: new_run_page(root, followed.append)},
        port=port, address="127.0.0.1", show=False, threaded=True, title="New run",
        websocket_origin=[f"127.0.0.1:{port}"],
    )  # fmt: skip
    # The thread comes back before its server listens.
    end = time.monotonic() + LONGEST / 1000
    while not listens(port):
        assert time.monotonic() < end
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/new"
    server.stop()
    patch.undo()


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, open; it must leave the console without errors, and open no dialog."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(LONGEST)
    complaints = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))

    page.goto(address)
    page.get_by_role("button", name="Check").wait_for()
    yield page
    page.close()
    # A page without an icon is none of the form's business.
    assert [one for one in complaints if "favicon" not in one and "404" not in one] == []


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


def test_the_form_starts_a_run_and_leads_to_it(page, root, followed):
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
    page.get_by_text("tiny runs").wait_for()
    assert followed == ["tiny"]
    assert start_run._children[root / "tiny"].wait(LONGEST / 1000)
    assert Study.load(root / "tiny") == Study(**{**TINY, "name": "tiny"})
    assert open_run(root / "tiny").status == "done"


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
