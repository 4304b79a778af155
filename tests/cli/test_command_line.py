"""The command line: what it prints, what it returns, and that it never shows a traceback for bad input."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest
import typer.testing

from thetadot import __version__, cli
from thetadot.studies import WritingError, open_run, runner, series

STUDY = """\
name: tiny
problem:
  kind: empirical
  network: {kind: mlp, widths: [4, 3, 3]}
  data: {kind: iris}
  loss: cross_entropy
rule: {kind: flow, until: {time: 1.0}, accuracy: 1.0e-3, certify: true}
compare:
- {kind: gradient_descent, learning_rate: 0.1, steps: 10}
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line in this process, in a directory of its own that holds tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(STUDY)

    def invoke(*arguments):
        result = typer.testing.CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    place = tmp_path_factory.mktemp("done")
    (place / "tiny.yaml").write_text(STUDY)
    from thetadot.studies import Study

    return Study.load(place / "tiny.yaml").run(place / "run", progress=False)


def test_run_prints_the_table_and_writes_the_report(call, tmp_path):
    result = call("run", "tiny.yaml")
    assert result.exit_code == 0, result.output
    for words in (
        "REACHED_TIME",
        "certified",
        "REACHED_STEPS",
        "gradient descent",
        "runs/tiny",
        "report.html",
    ):
        assert words in result.stdout
    report = tmp_path / "runs" / "tiny" / "report.html"
    assert "<html" in report.read_text()
    again = call("run", "tiny.yaml")
    assert again.exit_code == 0
    assert "already done" in again.stdout
    assert call("run", "runs/tiny").exit_code == 0
    other = call("run", "tiny.yaml", "--set", "rule.accuracy=1e-4")
    assert other.exit_code == 2
    assert "rule.accuracy is 0.001 there and 0.0001 here" in other.stderr


def test_run_json_and_quiet_are_for_machines(call):
    result = call("run", "tiny.yaml", "--json", "--no-report", "-o", "out")
    told = json.loads(result.stdout)
    assert told["status"] == told["how"] == "done"
    assert told["members"][0]["accuracy"]["certified"]
    assert told["members"][0]["compare"][0]["outcome"] == "REACHED_STEPS"
    assert result.stderr == ""
    quiet = call("run", "tiny.yaml", "--quiet", "--no-report", "-o", "out")
    assert quiet.exit_code == 0
    assert quiet.output == ""


def test_a_spent_budget_is_exit_code_3_and_the_same_command_goes_on(call, tmp_path):
    # A budget that no machine keeps, whatever is compiled already: each call does one piece and stops.
    options = ("--set", "budget.wall=0.001s", "--no-report", "--commit-every", "0.01")
    for attempt in range(200):
        result = call("run", "tiny.yaml", *options)
        if result.exit_code == 0:
            break
        assert result.exit_code == 3
        assert "the same command resumes it" in result.stdout
        if attempt == 0:
            shown = json.loads(call("show", "runs/tiny", "--json").stdout)
            assert shown["status"] == "resumable"
    assert attempt > 0
    assert open_run(tmp_path / "runs" / "tiny").status == "done"


def test_a_missed_accuracy_is_exit_code_1(call):
    result = call(
        "run", "tiny.yaml", "--no-report", "--set", "rule.accuracy=1e-17", "--set", "rule.rtol=1e-3"
    )
    assert result.exit_code == 1
    assert "MISSED" in result.stdout


def test_bad_input_is_exit_code_2_with_one_line_and_nothing_written(call, tmp_path):
    (tmp_path / "bad.yaml").write_text(STUDY.replace("widths", "width"))
    before = sorted(tmp_path.rglob("*"))
    for arguments, words in [
        (("run", "bad.yaml"), "bad.yaml:4: problem.network.width: unknown key"),
        (("run", "gone.yaml"), "gone.yaml: no such file"),
        (("run", "quikstart"), "did you mean `quickstart`?"),
        (("run", "tiny.yaml", "--set", "init.scale=x"), "--set init.scale=x: init.scale"),
        (("run", "tiny.yaml", "--set", "name=../up"), "letters, digits"),
        (("run", "tiny.yaml", "--set", "sweep={init.scale: [1.0]}"), "`thetadot sweep` runs them"),
        (("show", "gone"), "does not exist"),
        (("report", "."), "has no manifest.json"),
        (("cite", "gone"), "does not exist"),
        (("reproduce", "gone"), "no paper is called 'gone'"),
        (("reproduce",), "name one paper, or give --all"),
    ]:
        result = call(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
    assert call("run").exit_code == 2
    assert call("nonsense").exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_an_internal_error_is_exit_code_4_with_one_line_and_a_log(call, monkeypatch, tmp_path):
    def broken(*_):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(series, "advance", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    result = call("run", "tiny.yaml", "--no-report", "--quiet")
    assert result.exit_code == 4
    assert result.stderr.count("\n") == 1
    assert "internal error: ZeroDivisionError: a b" in result.stderr
    log = next(tmp_path.glob("thetadot-error-*.log"))
    assert str(log) in result.stderr
    assert "in broken" in log.read_text()
    assert json.loads(call("show", "runs/tiny", "--json").stdout)["status"] == "failed"


def test_a_full_disk_is_exit_code_3(call, monkeypatch):
    def full(*_):
        raise WritingError("runs/tiny: no space; everything committed so far is intact")

    monkeypatch.setattr(runner.RunWriter, "commit", full)
    result = call("run", "tiny.yaml", "--no-report", "--quiet")
    assert result.exit_code == 3
    assert "no space" in result.stderr


def test_show_tells_status_members_accuracy_and_versions(call, done):
    told = json.loads(call("show", done.directory, "--json").stdout)
    assert told["status"] == "done"
    assert told["thetadot"] == __version__
    assert told["versions"]["jax"]
    (member,) = told["members"]
    assert member["outcome"] == "REACHED_TIME"
    assert member["accuracy"]["global_error"] <= member["accuracy"]["target"] == 1e-3
    assert member["loss"] == done.path(0).losses[-1]
    assert told["damaged"] == []
    text = call("show", done.directory)
    assert "tiny: done" in text.stdout
    assert "certified" in text.stdout


def test_report_goes_where_it_is_told(call, done, tmp_path):
    result = call("report", done.directory, "-o", tmp_path / "new" / "page.html")
    assert result.exit_code == 0, result.output
    assert "<html" in (tmp_path / "new" / "page.html").read_text()


def test_list_names_what_there_is(call):
    told = json.loads(call("list", "--json").stdout)
    assert told["studies"]["grokking_small"]["takes"]
    assert told["papers"]["analytic"] == "The flow against closed forms"
    table = call("list").stdout
    for words in (
        "grokking_small",
        "Grokking: a network",
        "The flow against closed forms",
        "homogeneous_escape",
    ):
        assert words in table


def test_list_prints_the_file_of_a_study_that_can_be_run_from_elsewhere(call, tmp_path):
    from thetadot.studies import Study

    for name in ("grokking_small", "integrability_narrow", "instabilities_rotation"):
        (tmp_path / "mine.yaml").write_text(call("list", name).stdout)
        study = Study.load(tmp_path / "mine.yaml")
        assert study.name == name
        assert study.problem.size > 0
    wrong = call("list", "grokking")
    assert wrong.exit_code == 2
    assert "there are quickstart" in wrong.output


def test_schema_is_json(call):
    assert json.loads(call("schema").stdout)["properties"]["rule"]


def test_cite_names_the_methods_that_a_run_used(call, done):
    assert "@software{thetadot" in call("cite").stdout
    assert "tsitouras" in call("cite", done.directory).stdout


def test_doctor_finds_this_installation_sound(call):
    result = call("doctor", "--json")
    told = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == 0, told
    assert told["float64"]["state"] == "ok"
    assert told["self-test"]["state"] == "ok"
    for extra, module in (("viewer", "panel"), ("torch", "torch")):
        there = importlib.util.find_spec(module) is not None
        words = f"{module} installed" if there else f"pip install 'thetadot[{extra}]'"
        assert (told[f"extra {extra}"]["state"] == "ok") == there
        assert told[f"extra {extra}"]["detail"].startswith(words)


def test_every_command_has_help_with_an_example(call):
    commands = ("run", "reproduce", "list", "schema", "show", "report", "doctor", "cite")
    overview = call("--help").stdout
    for name in commands:
        assert name in overview
        told = call(name, "--help")
        assert told.exit_code == 0
        assert f"Example: thetadot {name}" in told.stdout
    assert call("--version").stdout == f"thetadot {__version__}\n"


def test_help_imports_nothing_heavy_and_its_time_is_told(record_property):
    code = (
        "import sys, thetadot.cli as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'xarray', 'zarr', 'pydantic', 'matplotlib', 'yaml'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)\n"
    )
    began = time.perf_counter()
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    record_property("seconds", time.perf_counter() - began)
    assert process.returncode == 0, process.stderr
    assert "quickstart" in process.stdout


def test_reproduce_prints_the_claims_and_keeps_the_table(call, tmp_path, monkeypatch):
    from thetadot.papers import Claim, Paper, at_most, reproduction

    claims = (
        Claim("two is small", "us", 0, lambda workbench: 2, at_most(3)),
        Claim("four is small", "us", 0, lambda workbench: 4, at_most(3)),
    )
    for paper, code in ((Paper("Good", "us", claims[:1]), 0), (Paper("Bad", "us", claims), 1)):
        monkeypatch.setattr(reproduction, "load", lambda name, paper=paper: paper)
        result = call("reproduce", "mine", "--quick", "-o", "out")
        assert result.exit_code == code, result.output
        assert "HOLDS" in result.stdout
        assert ("FAILS" in result.stdout) == (code == 1)
        assert "two is small" in (tmp_path / "out" / "report.html").read_text()
        assert len(json.loads((tmp_path / "out" / "claims.json").read_text())["rows"]) == len(paper.claims)


def test_reproducing_all_goes_on_when_one_breaks_down_and_ends_with_a_line_for_each(
    call, tmp_path, monkeypatch
):
    from thetadot import papers
    from thetadot.papers import Claim, Paper, UnknownPaperError, at_most, reproduction

    good = Claim("two is small", "us", 0, lambda workbench: 2, at_most(3))
    known = {
        "bad": Paper("Bad", "us", (good, Claim("four is small", "us", 0, lambda workbench: 4, at_most(3)))),
        "broken": None,
        "good": Paper("Good", "us", (good, Claim.not_testable("who knows", "us", "no data here"))),
        "torn": Paper("Torn", "us", (good, Claim("odd", "us", 0, lambda workbench: 1 / 0, at_most(3)))),
    }

    def load(name):
        if known[name] is None:
            raise ImportError("this paper cannot be imported")
        return known[name]

    monkeypatch.setattr(reproduction, "load", load)
    monkeypatch.setattr(papers, "load", load)
    monkeypatch.setattr(papers, "names", lambda: tuple(known))
    monkeypatch.setattr(papers, "titles", lambda: dict.fromkeys(known, "a title"))
    result = call("reproduce", "--all", "--quick", "-o", "out")
    assert result.exit_code == 4, result.output
    table = result.stdout[result.stdout.index("All papers") :]
    lines = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
    assert lines["bad"][1:6] == ["1", "0", "1", "0", "0"]
    assert lines["broken"][1:6] == ["–"] * 5
    assert lines["good"][1:6] == ["1", "0", "0", "1", "0"]
    assert lines["torn"][1:6] == ["1", "0", "0", "0", "1"]
    assert lines["together"][1:6] == ["3", "0", "1", "1", "1"]
    for name in ("bad", "good", "torn"):
        assert (tmp_path / "out" / name / "report.html").exists()
        assert lines[name][-1] == f"out/{name}/report.html"
    assert "this paper cannot be imported" in result.output
    known["broken"], known["torn"] = known["good"], known["good"]
    assert call("reproduce", "--all", "-o", "out").exit_code == 1
    known["bad"] = known["good"]
    told = call("reproduce", "--all", "-o", "out", "--json")
    assert told.exit_code == 0
    assert [len(table["rows"]) for table in json.loads(told.stdout)] == [2, 2, 2, 2]
    monkeypatch.setattr(
        reproduction, "load", lambda name: (_ for _ in ()).throw(UnknownPaperError("no such paper"))
    )
    assert call("reproduce", "good", "-o", "out").exit_code == 2


def test_the_directory_of_a_run_is_not_overwritten_by_a_paper(call, done):
    before = (done.directory / "manifest.json").read_bytes()
    result = call("reproduce", "analytic", "--quick", "-o", done.directory)
    assert result.exit_code == 2
    assert "holds the run of a study: choose another directory with -o" in result.output
    assert (done.directory / "manifest.json").read_bytes() == before
