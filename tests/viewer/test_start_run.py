"""Runs in child processes: checked, started once, refused beside the field, stopped, gone on with, reaped."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.viewer.form_studies import empirical
from thetadot.studies import Study, StudyError, open_run
from thetadot.viewer import start_run
from thetadot.viewer.start_run import checked, start, started_below, stop_all

LONGEST = 120.0
TINY = empirical(
    network={"kind": "linear", "widths": [3, 1]},
    rule={"kind": "gradient_descent", "learning_rate": 0.1, "steps": 3},
)
ENDLESS = {
    **TINY,
    "rule": {"kind": "gradient_descent", "learning_rate": 1e-9, "steps": 10**9, "saves": [0.5]},
}


def wait_for(condition):
    """Wait until something holds; the length of time says nothing."""
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that was started and is done."""
    child = start(Study(**TINY), tmp_path_factory.mktemp("runs") / "one")
    assert child.wait(LONGEST)
    return child


def test_a_started_run_is_the_run_of_the_study(done):
    assert done.refused is None
    assert not done.alive
    run = open_run(done.directory)
    assert run.status == "done"
    assert Study.load(done.directory) == Study(**TINY)
    assert (done.directory / "report.html").exists()


def test_an_ended_process_leaves_no_zombie_and_no_file_behind(done):
    with pytest.raises(ChildProcessError):
        os.waitpid(done._process.pid, os.WNOHANG)
    assert not done._file.parent.exists()


def test_a_directory_with_another_run_refuses_in_the_words_of_the_library(done):
    other = Study(**{**TINY, "rule": {**TINY["rule"], "steps": 4}})
    child = start(other, done.directory)
    assert child.wait(LONGEST)
    key, message = child.refused
    assert key == ()
    assert "holds the run of another configuration" in message
    assert "rule.steps is 3 there and 4 here" in message
    assert open_run(done.directory).status == "done"


def test_what_only_the_run_can_find_is_told_with_its_key(tmp_path):
    np.savez(tmp_path / "theta0.npz", theta0=np.zeros(5))
    data = {**TINY, "init": {"file": str(tmp_path / "theta0.npz")}}
    study, problems = checked(data)
    assert problems == []
    child = start(study, tmp_path / "one")
    assert child.wait(LONGEST)
    key, message = child.refused
    assert key == ("init", "file")
    assert "theta0 is float64(1, 5), problem has P = 3" in message
    assert not (tmp_path / "one").exists()


@pytest.mark.slow
def test_a_run_is_started_once_stopped_cleanly_and_gone_on_with(tmp_path):
    study, place = Study(**ENDLESS), tmp_path / "one"
    child = start(study, place)
    assert start(study, place) is child
    assert started_below(tmp_path) == [child]
    assert started_below(tmp_path / "elsewhere") == []
    wait_for(lambda: child.writes or not child.alive)
    assert child.alive
    assert child.refused is None
    child.stop()
    assert child.stopping
    assert child.wait(LONGEST)
    assert child.refused is None
    assert open_run(place).status == "resumable"
    assert started_below(tmp_path) == []
    again = start(study, place)
    assert again is not child
    wait_for(lambda: again.writes or not again.alive)
    stop_all(LONGEST)
    assert not again.alive
    assert open_run(place).status == "resumable"


def test_a_run_that_is_stopped_before_it_began_says_so(tmp_path):
    child = start(Study(**TINY), tmp_path / "one")
    child.stop()
    assert child.wait(LONGEST)
    assert child.refused == ((), "stopped before it began: nothing was written")


def test_the_end_of_the_viewer_ends_its_runs(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from thetadot.studies import Study\n"
        "from thetadot.viewer.start_run import start\n"
        "child = start(Study.load(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(child._process.pid, flush=True)\n"
    )
    file = tmp_path / "study.yaml"
    file.write_text(Study(**ENDLESS).to_yaml())
    command = [sys.executable, "-c", code, str(file), str(tmp_path / "one")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(ended.stdout), 0)


def test_code_is_never_started(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('run')")
    data = {**TINY, "problem": {"kind": "python", "file": str(tmp_path / "mine.py"), "function": "make"}}
    study, problems = checked(data)
    assert study is None
    assert problems[0][0] == ("problem", "kind")
    assert "command line" in problems[0][1]
    with pytest.raises(StudyError, match="command line"):
        start(Study(**data), tmp_path / "one")
    assert start_run.started_below(tmp_path) == []


def test_without_files_a_study_that_names_one_is_refused(tmp_path):
    data = {**TINY, "init": {"file": str(tmp_path / "theta0.npz")}}
    assert checked(data, files=False)[1][0][0] == ("init", "file")
    sweeping = {**TINY, "sweep": {"init.scale": [1.0]}}
    assert checked(sweeping)[1][0][0] == ("sweep",)


def test_a_problem_is_traced_unless_it_is_too_large_for_the_viewer():
    wrong = empirical(network={"kind": "mlp", "widths": [2, 4, 1]}, data={"kind": "diabetes"})
    ((key, message),) = checked(wrong)[1]
    assert key == ("problem", "network", "widths", 0)
    assert "has 10 inputs" in message
    huge = empirical(
        network={"kind": "mlp", "widths": [3, 10**9, 1]}, data={"kind": "teacher_student", "samples": 10**9}
    )
    study, problems = checked(huge)
    assert problems == []
    assert study is not None
