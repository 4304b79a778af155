"""What the command line says of lenses."""

import json

import pytest
import typer.testing

from tests.studies import toy_lenses
from thetadot import cli
from thetadot.studies import lenses


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line in a directory of its own, with the toy lenses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lenses, "_registered", {})
    toy_lenses.register()

    def invoke(*arguments):
        result = typer.testing.CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output
        return result

    return invoke


def study(tmp_path, asked):
    """The small study with other lenses."""
    (tmp_path / "looked.yaml").write_text(toy_lenses.STUDY.replace("norms: {power: 3.0}", asked))
    return "looked.yaml"


def test_show_has_a_line_for_each_lens_and_path_and_says_why_one_does_not_apply(call, tmp_path):
    result = call("run", study(tmp_path, "norms: {}, fussy: {}"), "--no-report")
    assert result.exit_code == 0, result.output
    shown = call("show", "runs/looked").output
    for output in (result.output, shown):
        assert "norms, member 0: largest norm" in output
        assert "norms, member 1, comparison 0: largest norm" in output
        assert "does not apply: this path begins too high" in output
    data = json.loads(call("show", "runs/looked", "--json").output)
    told = [line for member in data["members"] for line in member["lenses"]]
    assert [line["lens"] for line in told].count("norms") == 4
    assert {line["status"] for line in told if line["lens"] == "fussy"} == {"done", "does not apply"}
    assert all(line["notes"] == ["the path is short"] for line in told if line["lens"] == "fussy")


@pytest.mark.filterwarnings("default::thetadot.studies.errors.LensFailedWarning")
def test_a_bug_in_a_lens_is_exit_code_4_with_its_name_and_the_rest_is_kept(call, tmp_path):
    name = study(tmp_path, "norms: {}, buggy: {place: gate}")
    result = call("run", name)
    assert result.exit_code == 4
    assert "warning: lens 0/lenses/buggy failed (and 1 more): KeyError" in result.output
    assert "a lens failed; the same command tries it again" in result.output
    shown = call("show", "runs/looked").output
    assert "buggy, member 0 and 1 more: failed: KeyError: 'no such thing'" in shown
    assert "norms, member 0: largest norm" in shown
    assert (tmp_path / "runs" / "looked" / "report.html").exists()
    (tmp_path / "gate").touch()
    again = call("run", name, "--no-report")
    assert again.exit_code == 0, again.output
    assert "buggy, member 1: largest norm" in again.output
