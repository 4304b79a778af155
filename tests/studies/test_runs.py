"""Running studies: the bits do not depend on how a run was cut, stopped, killed or moved."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import thetadot as td
from thetadot.dynamics import Outcome
from thetadot.studies import (
    DamagedChunkError,
    DifferentStudyError,
    KeptExecutorWarning,
    Study,
    StudyError,
    VersionSkewError,
    open_run,
    runner,
    series,
)
from thetadot.studies.manifest import write_manifest

VALLEY = """\
import jax.numpy as jnp

import thetadot as td


def rosenbrock(theta):
    return jnp.sum(100.0 * (theta[1:] - theta[:-1] ** 2) ** 2 + (1.0 - theta[:-1]) ** 2)


def make_problem(start=(-1.2, 1.0, 0.5)):
    return td.FunctionRisk(rosenbrock, jnp.asarray(start))


def fails():
    raise ZeroDivisionError("one over none")


def returns_text():
    return "a problem"
"""
STUDY = """\
name: valley
problem: {kind: python, file: valley.py, function: make_problem}
init: {scales: [1.0, 0.9]}
rule: {kind: flow, until: {time: 1.0}, accuracy: 1.0e-4, solver: Tsit5, certify: true}
compare:
- {kind: gradient_descent, learning_rate: 1.0e-3, steps: 300}
"""


@pytest.fixture
def valley(tmp_path):
    """A study whose two members take some hundred steps in a curved valley."""
    (tmp_path / "valley.py").write_text(VALLEY)
    file = tmp_path / "valley.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same study, run without interruption: {series: path}."""
    place = tmp_path_factory.mktemp("whole")
    (place / "valley.py").write_text(VALLEY)
    (place / "valley.yaml").write_text(STUDY)
    run = Study.load(place / "valley.yaml").run(place / "run", progress=False, commit_every=1e6)
    assert run.status == "done"
    return run


def assert_same_numbers(run, other):
    assert run.manifest.series.keys() == other.manifest.series.keys()
    for member in other.members:
        for compare in (None, *other.compared):
            found, expected = run.path(member, compare), other.path(member, compare)
            for name in ("ts", "thetas", "losses", "grad_norms", "steps"):
                assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), (
                    member,
                    compare,
                    name,
                )
            for name, values in expected.observed.items():
                assert found.observed[name].tobytes() == values.tobytes()
            assert found.outcome is expected.outcome
            assert str(found.accuracy) == str(expected.accuracy)
            assert found.stats.gradients == expected.stats.gradients
            assert found.stats.accepted == expected.stats.accepted


def test_a_run_holds_what_flow_and_descend_return(whole):
    namespace = {}
    exec(VALLEY, namespace)
    problem = namespace["make_problem"]()
    for member, scale in enumerate([1.0, 0.9]):
        theta0 = problem.init(jax.random.key(0), scale=scale)
        path = td.flow(
            problem,
            theta0,
            until=td.Until(time=1.0),
            accuracy=1e-4,
            solver="Tsit5",
            certify=True,
            progress=False,
        )
        assert whole.path(member).thetas.tobytes() == path.thetas.tobytes()
        assert whole.path(member).accuracy == path.accuracy
        beside = td.descend(problem, theta0, td.GradientDescent(1e-3), 300, progress=False)
        assert whole.path(member, 0).thetas.tobytes() == beside.thetas.tobytes()
    assert len(whole.paths()) == len(whole.paths(compare=0)) == 2
    assert "global error" in repr(whole)
    assert "<td" in whole._repr_html_()
    assert whole._repr_html_().count("<tr>") == 5


def test_slices_of_any_length_give_the_same_bits(whole, valley, tmp_path):
    run = Study.load(valley).run(tmp_path / "run", progress=False, commit_every=0.02)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "committed" for line in log) > 4
    assert_same_numbers(run, whole)


def test_members_over_processes_give_the_same_bits_and_go_on_as_they_began(whole, valley, tmp_path):
    study = Study.load(valley)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Work", stopping_after(2))
        cut = study.run(tmp_path / "cut", progress=False, commit_every=0.1, workers=2)
    assert cut.status == "resumable"
    assert cut.manifest.executor == "processes of one XLA thread"
    with pytest.warns(KeptExecutorWarning, match="began with processes of one XLA thread"):
        assert_same_numbers(study.run(tmp_path / "cut", progress=False), whole)


def test_a_budget_stops_and_the_same_call_resumes_to_the_same_bits(whole, valley, tmp_path):
    # A budget that no machine keeps, whatever is compiled already: each call does one piece and stops.
    study = Study.load(valley, set={"budget.wall": "0.001s"})
    for _ in range(4):
        assert study.run(tmp_path / "run", progress=False, commit_every=0.01).status == "resumable"
    run = Study.load(valley).run(tmp_path / "run", progress=False)
    assert run.status == "done"
    assert_same_numbers(run, whole)


def test_a_run_that_is_done_is_not_computed_again(whole, monkeypatch):
    before = (whole.directory / "manifest.json").stat()
    monkeypatch.setattr(series, "advance", None)
    monkeypatch.setattr(runner, "open_writer", None)
    session = runner.run_study(
        Study.load(whole.directory.parent / "valley.yaml"), whole.directory, progress=False
    )
    assert session.how == "already done"
    again = Study.load(whole.directory, set={"budget.wall": 5}).run(whole.directory, progress=False)
    assert again.status == "done"
    assert (whole.directory / "manifest.json").stat() == before


def test_another_configuration_in_the_same_directory_is_refused_by_its_difference(whole, valley):
    study = Study.load(valley, set={"rule.accuracy": 1e-5})
    with pytest.raises(DifferentStudyError, match=r"rule\.accuracy is 0\.0001 there and 1e-05 here.*-o DIR"):
        study.run(whole.directory, progress=False)
    valley.with_name("valley.py").write_text(VALLEY.replace("100.0", "99.0"))
    with pytest.raises(DifferentStudyError, match="a file that it names has another content"):
        Study.load(valley).run(whole.directory, progress=False)


def test_a_run_of_another_numerics_is_readable_but_not_resumed(whole, valley, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(whole.directory, directory)
    older = dataclasses.replace(whole.manifest, numerics="0, jaxlib 0.0.1", package="0.0.9")
    write_manifest(directory, older)
    assert Study.load(valley).run(directory, progress=False).status == "done"
    unfinished = dataclasses.replace(older.series["1/path"], outcome=Outcome.BUDGET_SPENT)
    write_manifest(directory, older.with_series("1/path", unfinished))
    assert open_run(directory).path(1).thetas.tobytes() == whole.path(1).thetas.tobytes()
    with pytest.raises(
        VersionSkewError, match=r"thetadot 0\.0\.9 \(numerics 0, jaxlib 0\.0\.1\).*stays readable"
    ):
        Study.load(valley).run(directory, progress=False)


def test_a_damaged_series_is_computed_again_on_request(whole, valley, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(whole.directory, directory)
    chunk = directory / "data.zarr" / "0" / "path" / "theta" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[::-1])
    with pytest.raises(DamagedChunkError, match="--repair"):
        open_run(directory).path(0)
    run = Study.load(valley).run(directory, progress=False, repair=True)
    assert not run.damages()
    assert_same_numbers(run, whole)


def test_a_state_that_is_lost_stops_the_run_with_the_way_out(whole, valley, tmp_path):
    directory = tmp_path / "run"
    study = Study.load(valley)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Work", stopping_after(1))
        assert study.run(directory, progress=False, commit_every=0.05).status == "resumable"
    for file in (directory / "state").iterdir():
        file.unlink()
    with pytest.raises(DamagedChunkError, match="--repair"):
        study.run(directory, progress=False)
    assert_same_numbers(study.run(directory, progress=False, repair=True), whole)


def stopping_after(commits):
    """A loop whose session is interrupted after some commits, as by a signal."""

    class Stopping(runner.Work):
        def ended(self):
            done = sum(record.commits for record in self.writer.manifest.series.values() if record)
            if done >= commits:
                self.stop.request()
            return super().ended()

    return Stopping


def test_an_internal_error_leaves_a_failed_run_that_can_be_resumed(whole, valley, tmp_path, monkeypatch):
    directory = tmp_path / "run"

    def broken(*_):
        raise ZeroDivisionError("oh")

    with monkeypatch.context() as patch:
        patch.setattr(series, "advance", broken)
        with pytest.raises(ZeroDivisionError):
            Study.load(valley).run(directory, progress=False)
    run = open_run(directory)
    assert run.status == "failed"
    assert run.manifest.error == "ZeroDivisionError: oh"
    assert "in broken" in (directory / "log.jsonl").read_text()
    assert_same_numbers(Study.load(valley).run(directory, progress=False), whole)


@pytest.mark.parametrize(
    ("old", "new", "fragments"),
    [
        ("file: valley.py", "file: gone.py", [":2:", "problem.file", "gone.py does not exist"]),
        ("file: valley.py", "file: valley.yaml", [":2:", "problem.file", "its name must end in .py"]),
        ("function: make_problem", "function: gone", [":2:", "problem.function", "has no function gone"]),
        ("function: make_problem", "function: fails", [":2:", "fails: ZeroDivisionError: one over none"]),
        (
            "function: make_problem",
            "function: returns_text",
            [":2:", "returned a str", "expected a thetadot Problem"],
        ),
        (
            "make_problem}",
            "make_problem, arguments: {start: x}}",
            [":2:", "problem.function", "make_problem fails"],
        ),
        ("{scales: [1.0, 0.9]}", "{file: gone.npz}", [":3:", "init.file", "gone.npz"]),
        ("{scales: [1.0, 0.9]}", "{file: valley.py}", [":3:", "init.file", "numpy.savez"]),
        ("{scales: [1.0, 0.9]}", "{file: starts.npz}", [":3:", "init.file", "(2, 4)", "P = 3"]),
        ("{scales: [1.0, 0.9]}", "{file: nameless.npz}", [":3:", "init.file", "no array `theta0`", "other"]),
        ("certify: true", "certify: true, saves: steps", [":4:", "rule.saves", "certify"]),
    ],
)
def test_files_that_a_study_names_are_checked_before_anything_is_written(
    old, new, fragments, valley, tmp_path
):
    np.savez(tmp_path / "starts.npz", theta0=np.zeros((2, 4)))
    np.savez(tmp_path / "nameless.npz", other=np.zeros(3))
    valley.write_text(STUDY.replace(old, new))
    with pytest.raises(StudyError) as refusal:
        Study.load(valley).run(tmp_path / "run", progress=False)
    for fragment in fragments:
        assert fragment in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_starts_come_from_a_file(valley, tmp_path):
    starts = np.array([[-1.0, 1.0, 0.0], [0.5, 0.5, 0.5]])
    np.savez(tmp_path / "starts.npz", theta0=starts)
    study = Study.load(valley, set=["init={file: starts.npz}", "rule.until={steps: 3}", "compare=[]"])
    run = study.with_settings({"rule.certify": False}).run(tmp_path / "run", progress=False)
    np.testing.assert_array_equal([path.thetas[0] for path in run.paths()], starts)


# Whatever a killed process had compiled is there for the next one.
ENVIRONMENT = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def command(valley, directory, *more):
    return [sys.executable, "-m", "thetadot.cli", "run", str(valley), "-o", str(directory), "--no-report",
            "--commit-every", "0.03", *more]  # fmt: skip


def kill_until_done(valley, directory, kills, seed):
    """Run and kill at random instants; how many processes were killed, and the exit code of the last."""
    draw, killed = random.Random(seed), 0
    for _ in range(4 * kills + 50):
        process = subprocess.Popen(command(valley, directory, "--quiet"), env=ENVIRONMENT)
        if killed < kills:
            log, before = directory / "log.jsonl", sessions(directory)
            while process.poll() is None and sessions(directory) == before:
                time.sleep(0.005)
            assert log.exists() or process.poll() is not None
            time.sleep(draw.uniform(0.0, 0.4))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if process.wait() == 0:
            return killed
        assert process.returncode == -signal.SIGKILL
    raise AssertionError("the run was never done")


def sessions(directory):
    log = directory / "log.jsonl"
    return log.read_text().count('"event": "session"') if log.exists() else 0


def test_a_run_killed_at_random_instants_ends_with_the_same_bits(whole, valley, tmp_path):
    killed = kill_until_done(valley, tmp_path / "run", kills=2, seed=1)
    assert killed == 2
    run = open_run(tmp_path / "run")
    assert run.status == "done"
    assert_same_numbers(run, whole)
    assert not list(run.directory.rglob("*.new"))


@pytest.mark.slow
def test_a_run_killed_at_fifty_random_instants_ends_with_the_same_bits(whole, valley, tmp_path):
    killed, attempt = 0, 0
    while killed < 50:
        attempt += 1
        killed += kill_until_done(valley, tmp_path / f"run{attempt}", kills=50 - killed, seed=attempt)
        assert_same_numbers(open_run(tmp_path / f"run{attempt}"), whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_and_the_run_resumes(number, whole, valley, tmp_path):
    directory = tmp_path / "run"
    # Not certified: a certified run replaces its rows when it restarts at a tighter tolerance.
    settings = ["rule.until.time=5000.0", "rule.certify=false"]
    longer = [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(
        command(valley, directory, *longer),
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (directory / "state").exists():
        time.sleep(0.01)
    while process.poll() is None and not list((directory / "state").glob("*.npz")):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    assert "the same command resumes it" in out
    run = open_run(directory)
    assert run.status == "resumable"
    assert run.path(0).outcome is Outcome.INTERRUPTED
    study = Study.load(valley, set=settings)
    before = run.path(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "Work", stopping_after(run.manifest.series["0/path"].commits + 2))
        resumed = study.run(directory, progress=False, commit_every=0.05).path(0)
    assert len(resumed.ts) >= len(before.ts)
    np.testing.assert_array_equal(resumed.thetas[: len(before.ts)], before.thetas)
