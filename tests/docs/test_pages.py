"""Every example of README, CONTRIBUTING and the site runs as its reader would run it, page by page."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.live.blocks import blocks_of, commands_of, missing_for, needs_of, run_page
from tests.needs import needs_torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
# `make docs` runs every page and fails with the first example that does; here the quick ones run under checked types.
QUICK = {"README.md", "docs/index.md", "docs/faq.md", "docs/hood.md"}
# Not ours to check.
PASSED_BY = {"git", "cd", "ssh", "export", "python", "pip", "source", "srun", "helm", "kubectl"}


def _pages(wanted, quick=None):
    """The pages that have such blocks; all but the quick ones are slow, if these are named."""
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        if any(wanted(block) for block in blocks_of(page.read_text())):
            yield pytest.param(page, id=name, marks=[pytest.mark.slow] if quick and name not in quick else [])


def _runs(block):
    return block.run


def _is_console(block):
    return block.language == "console"


def _is_study(block):
    return block.language == "yaml" and re.search(r"^problem:", block.text, re.MULTILINE) is not None


@functools.cache
def _help_status(command):
    program = Path(sys.executable).parent / "thetadot"
    return subprocess.run(
        [program, command, "--help"], capture_output=True, stdin=subprocess.DEVNULL
    ).returncode


@pytest.mark.parametrize("page", list(_pages(_runs, QUICK)))
def test_every_example_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in needs_of(page.read_text()):
        {"torch": needs_torch}[name]()
    shown = run_page(page.read_text(), page.name)
    assert len(shown) == len(blocks_of(page.read_text()))


@pytest.mark.parametrize("page", list(_pages(_is_console)))
def test_every_command_of_the_page_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in filter(_is_console, blocks_of(page.read_text())):
        for program, *words in commands_of(block):
            if program == "thetadot":
                assert _help_status(words[0]) == 0, (
                    f"{page.name}:{block.line}: no command `thetadot {words[0]}`"
                )
            elif program == "make":
                assert {word for word in words if "=" not in word} <= targets, (
                    f"{page.name}:{block.line}: make {words}"
                )
            else:
                assert program in PASSED_BY, f"{page.name}:{block.line}: {program} is not a command we know"


@pytest.mark.parametrize("page", list(_pages(_is_study)))
def test_every_study_file_of_the_page_is_valid(page, tmp_path):
    from thetadot import Study

    for block in filter(_is_study, blocks_of(page.read_text())):
        file = tmp_path / f"line{block.line}.yaml"
        file.write_text(block.text)
        assert Study.load(file).name


def test_blocks_are_found_with_their_options_indentation_and_place():
    page = (
        'one\n\n    ```yaml title="a.yaml"\n    x: 1\n    ```\n'
        '```python alt="A b"\nprint(2)\n```\n```text\nno\n```\n'
    )
    first, second, third = blocks_of(page)
    assert (first.language, first.text, first.options, first.run) == (
        "yaml",
        "x: 1\n",
        {"title": "a.yaml"},
        False,
    )
    assert (second.text, second.options, second.run, second.line) == ("print(2)\n", {"alt": "A b"}, True, 6)
    assert not third.run
    assert page[second.start : second.end] == '```python alt="A b"\nprint(2)\n```'


def test_a_page_is_one_session_and_shows_what_it_printed_and_drew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (
        '```text title="n.txt"\n4\n```\n'
        '```python\nfrom pathlib import Path\nn = int(Path("n.txt").read_text())\n```\n'
        "```python\nimport matplotlib.pyplot as plt\nplt.plot([n])\nprint(n + 1)\n```\n"
        "```python\nfrom matplotlib.figure import Figure\nFigure().subplots()\n```\n"
    )
    file, read, drawn, last_value = run_page(page, "page.md")
    assert (file.printed, read.printed, read.figures) == ("", "", [])
    assert drawn.printed == "5\n"
    assert [image[:4] for image in drawn.figures + last_value.figures] == [b"\x89PNG"] * 2


def test_a_failing_example_names_page_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError) as failure:
        run_page("text\n\n```python\nx = 1\nx / 0\n```\n", "page.md")
    innermost = failure.traceback[-1]
    assert (innermost.frame.code.raw.co_filename, innermost.lineno + 1) == ("page.md", 5)


def test_a_page_says_in_its_first_line_what_it_needs():
    assert needs_of("<!-- needs: torch, json -->\n# Title\n") == ["torch", "json"]
    assert missing_for("<!-- needs: json, no_such_package -->\n") == ["no_such_package"]
    assert needs_of("# Title\n<!-- needs: torch -->\n") == []


@pytest.fixture
def session(monkeypatch, tmp_path):
    """The module that runs pages for the site, with a root of its own."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "live"))
    import session

    monkeypatch.setattr(session, "ROOT", tmp_path)
    monkeypatch.setattr(session, "KEPT", tmp_path / "kept")
    (tmp_path / "src").mkdir()
    (tmp_path / "constraints.txt").write_text("")
    return session


def test_a_page_without_its_package_shows_nothing_and_is_run_once_the_package_is_there(
    session, tmp_path, monkeypatch
):
    page = tmp_path / "page.md"
    page.write_text("<!-- needs: made_up -->\n```python\nimport made_up\nprint(made_up.WORD)\n```\n")
    (absent,) = session.shown_on(page, page.read_text())
    before = session._fingerprint(page.read_text())
    assert (absent.printed, absent.figures) == ("", [])
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "made_up.py").write_text("WORD = 'here'\n")
    (tmp_path / "more" / "made_up-2.1.dist-info").mkdir()
    (tmp_path / "more" / "made_up-2.1.dist-info" / "METADATA").write_text("Name: made-up\nVersion: 2.1\n")
    (tmp_path / "more" / "made_up-2.1.dist-info" / "top_level.txt").write_text("made_up\n")
    monkeypatch.syspath_prepend(str(tmp_path / "more"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    (shown,) = session.shown_on(page, page.read_text())
    assert shown.printed == "here\n"
    assert session._fingerprint(page.read_text()) != before


def test_pages_of_the_same_name_in_two_folders_keep_their_results_side_by_side(session, tmp_path):
    for folder in ("lenses", "tutorials"):
        (tmp_path / folder).mkdir()
        page = tmp_path / folder / "x.md"
        page.write_text(f"```python\nprint('{folder}')\n```\n")
        assert session.shown_on(page, page.read_text())[0].printed == f"{folder}\n"
    assert len(list((tmp_path / "kept").iterdir())) == 2
    page.write_text("```python\nprint('anew')\n```\n")
    session.shown_on(page, page.read_text())
    kept = sorted(file.name.rpartition("-")[0] for file in (tmp_path / "kept").iterdir())
    assert kept == ["lenses--x", "tutorials--x"]
