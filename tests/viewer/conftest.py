"""A directory of small runs, the viewer as a process of its own, and a real browser in front of it."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.needs import CHROMIUM_FLAGS
from thetadot.studies import Study

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<／script>"
CURVE = {
    "name": "curve",
    "problem": {
        "kind": "empirical",
        "network": {"kind": "mlp", "widths": [1, 4, 1], "activation": "tanh"},
        "data": {"kind": "sine_regression", "samples": 12},
        "loss": "squared",
    },
    "rule": {"kind": "flow", "until": {"time": 20.0}},
    "compare": [{"kind": "gradient_descent", "learning_rate": 0.5, "steps": 40}],
    "observe": ["sharpness"],
    "lenses": {"conservation": {}},
}
BLOBS = {
    "name": "blobs",
    "problem": {
        "kind": "empirical",
        "network": {"kind": "mlp", "widths": [2, 3, 3], "activation": "tanh"},
        "data": {"kind": "gaussian_blobs", "samples": 30, "classes": 3, "dimension": 2},
        "loss": "cross_entropy",
    },
    "init": {"members": 2},
    "rule": {"kind": "flow", "until": {"time": 20.0}},
}
# Starts so near to a saddle that the gradient norm asked for is reached there: the flow goes on, and notes a plateau.
SADDLE = {
    "name": "saddle",
    "problem": {
        "kind": "empirical",
        "network": {"kind": "linear", "widths": [2, 2, 1]},
        "data": {"kind": "teacher_student", "samples": 20, "dimension": 2},
        "loss": "squared",
    },
    "init": {"scale": 1e-4},
    "rule": {"kind": "flow", "until": {"time": 200.0, "grad_norm": 1e-3}},
    "lenses": {"conservation": {}},
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that are done, one in a folder, one hostile, one that cannot be read."""
    root = tmp_path_factory.mktemp("viewer") / "runs"
    for fields in (CURVE, BLOBS, SADDLE):
        Study(**fields).run(root / fields["name"], progress=False)
    shutil.copytree(root / "curve", root / "older" / "curve")
    hostile = root / HOSTILE
    shutil.copytree(root / "curve", hostile)
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["name"] = manifest["error"] = HOSTILE
    for record in manifest["series"].values():
        record["info"]["problem"] = record["info"]["method"] = record["reason"] = HOSTILE
    (hostile / "manifest.json").write_text(json.dumps(manifest))
    (root / "broken").mkdir()
    (root / "broken" / "manifest.json").write_text("{")
    return root


@dataclasses.dataclass
class Viewer:
    """A viewer that runs: its process, and its address."""

    process: subprocess.Popen[str]
    address: str

    def at(self, path: str) -> str:
        return self.address + path


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., Viewer]]:
    """(directory, *options) → viewer; ended with the session."""
    started: list[Viewer] = []

    def start(place: Path, *options: str) -> Viewer:
        command = [
            sys.executable,
            "-m",
            "thetadot.cli",
            "view",
            str(place),
            "--port",
            "0",
            "--no-browser",
            *options,
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"viewer of .*(http://[^/\s]+)/", line)
        if not found:
            process.kill()
        assert found, line + process.stdout.read()
        started.append(Viewer(process, found[1]))
        return started[-1]

    yield start
    for viewer in started:
        viewer.process.send_signal(signal.SIGINT)
    for viewer in started:
        assert viewer.process.wait(30) == 0
        assert viewer.process.stdout is not None
        viewer.process.stdout.close()


@pytest.fixture(scope="session")
def viewer(serve, runs: Path) -> Viewer:
    """The viewer of `runs`."""
    return serve(runs)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which tests make runs of their own, each under a name of its own."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def scratch_viewer(serve, scratch: Path) -> Viewer:
    """The viewer of `scratch`."""
    return serve(scratch)


@pytest.fixture(scope="module")
def browser(chromium: str):
    """A browser, closed with the module: while it is there its event loop runs in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """(address, **context) → page. At the end of the test no page may have told of an error."""
    contexts, errors = [], []

    def open_one(address: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(float(os.environ.get("BROWSER_PATIENCE", "60")) * 1000)
        page = context.new_page()
        page.on(
            "console", lambda told: errors.append(told.text) if told.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: _own(asked.url, address, errors))
        page.goto(address)
        until(page, "() => window.Bokeh?.documents?.length > 0")
        return page

    yield open_one
    for context in contexts:
        context.close()  # closing twice is nothing
    assert not errors


def until(page, condition: str, argument: object = None) -> None:
    """Wait for a condition in JavaScript. Playwright's own way evaluates text in the page, which the page forbids."""
    for _ in range(600):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {condition}")


def _own(url: str, address: str, errors: list[str]) -> None:
    """Note a request that goes elsewhere."""
    if not url.startswith((address[: address.index("/", 8)], "data:", "blob:")):
        errors.append(f"asked for {url}")
