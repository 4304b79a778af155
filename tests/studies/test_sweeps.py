"""Sweeps: every member at every point once, with the bits of an ordinary run, whatever is stopped or refused."""

import json
import os
import re
import time

import numpy as np
import pytest
import typer.testing

import thetadot as td
from tests.studies.sweeping import TEXT, assert_all_once, bits, member_bits, study
from thetadot import cli
from thetadot.dynamics import InProcess, Processes
from thetadot.dynamics.wording import number
from thetadot.report import FigureError, figures, write_report
from thetadot.studies import (
    ClusterError,
    DifferentStudyError,
    LockedError,
    NotARunError,
    StoreError,
    Study,
    StudyError,
    cluster,
    lock,
    open_sweep,
)
from thetadot.studies.sweep_plan import make_plan, write_plan
from thetadot.studies.sweep_session import run_sweep


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep, run without interruption in two processes."""
    place = tmp_path_factory.mktemp("whole")
    td.sweep(study(place), place / "sweep", executor=Processes(2), progress=False)
    return open_sweep(place / "sweep")


def test_a_plan_has_every_member_at_every_point_in_order(tmp_path):
    plan = make_plan(study(tmp_path))
    assert dict(plan.dims) == {"rule.learning_rate": 2, "init.scale": 2, "member": 3}
    assert [task.cell for task in plan.tasks] == list(np.ndindex(2, 2, 3))
    assert plan.values(plan.tasks[4]) == {"rule.learning_rate": 0.05, "init.scale": 1.0}
    assert plan.title(plan.tasks[-1]) == "rule.learning_rate = 1e+06, init.scale = 1, member 2"
    assert len({task.name for task in plan.tasks}) == 12
    together = make_plan(study(tmp_path, text=TEXT.replace("sweep:", "zip:")))
    assert dict(together.dims) == {"point": 2, "member": 3}
    assert together.values(together.tasks[3]) == {"rule.learning_rate": 1e6, "init.scale": 1.0}
    assert {task.name for task in together.tasks} < {task.name for task in plan.tasks}


def test_a_widened_sweep_finds_the_tasks_that_it_had(tmp_path):
    names = [task.name for task in make_plan(study(tmp_path)).tasks]
    wide = make_plan(study(tmp_path, text=WIDE))
    assert set(names) < {task.name for task in wide.tasks}
    assert wide.base == make_plan(study(tmp_path)).base


WIDE = TEXT.replace("init.scale: [0.5, 1.0]", "init.scale: [0.1, 0.5, 1.0]").replace(
    "members: 3", "members: 4"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("init.scale: [0.5, 1.0]", "init.scale: [0.5, 0.5]", r"rates.yaml:\d+: .*0.5 is given twice"),
        ("init.scale: [0.5, 1.0]", "name: [a, b]", "name does not change what is computed"),
        ("init.scale: [0.5, 1.0]", "budget.wall: [1, 2]", "does not change what is computed"),
        (
            "init.scale: [0.5, 1.0]",
            "problem.network.widths: [[3, 2, 1], [4, 2, 1]]",
            r"given 4, but .* has 3 inputs.*\(at rule.learning_rate = 0.05, problem.network.widths = \[4, 2, 1\]\)",
        ),
        ("init.scale: [0.5, 1.0]", "init.only: [0, 1]", "does not change"),
    ],
    ids=["twice", "name", "budget", "shapes", "only"],
)  # fmt: skip
def test_what_cannot_be_swept_is_named_before_anything_is_written(tmp_path, old, new, message):
    fixed = TEXT.replace("samples: 12", "samples: 12, dimension: 3")
    with pytest.raises(StudyError, match=message):
        td.sweep(study(tmp_path, text=fixed.replace(old, new)), tmp_path / "sweep", progress=False)
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_holds_what_ordinary_runs_hold_to_the_bit(whole, tmp_path):
    for place, (rate, scale) in enumerate([(0.05, 0.5), (0.05, 1.0)]):
        text = TEXT.partition("sweep:")[0].replace("learning_rate: 0.05, b", f"learning_rate: {rate}, b")
        run = study(tmp_path, f"init.scale={scale}", text=text).run(tmp_path / f"run{place}", progress=False)
        for member in range(3):
            assert bits(whole.run(3 * place + member)) == member_bits(run, member)


def test_the_table_has_a_row_for_every_task_also_for_those_that_diverged(whole):
    table = whole.table
    assert dict(table.sizes) == {"rule.learning_rate": 2, "init.scale": 2, "member": 3}
    np.testing.assert_array_equal(table["rule.learning_rate"], [0.05, 1e6])
    assert set(table.outcome.sel({"rule.learning_rate": 0.05}).values.ravel()) == {"REACHED_STEPS"}
    assert set(table.outcome.sel({"rule.learning_rate": 1e6}).values.ravel()) == {"DIVERGED"}
    assert set(table.status.values.ravel()) == {"done"}
    index = int(table.run.sel({"rule.learning_rate": 0.05, "init.scale": 1.0, "member": 2}))
    path = whole.run(index).path(0)
    assert float(table.loss.values.ravel()[index]) == path.losses[-1]
    assert float(table.gradients.values.ravel()[index]) == path.stats.gradients
    assert "12 runs, 12 done" in repr(whole)


def test_a_sweep_that_is_done_is_left_as_it_is_and_a_wider_one_keeps_it(whole, tmp_path):
    stamps = {file: file.stat().st_mtime_ns for file in whole.directory.rglob("manifest.json")}

    def refuse():
        raise AssertionError("nothing is left to run")

    ended = run_sweep(study(tmp_path), whole.directory, refuse, progress=False)
    assert ended.how == "already done"
    assert {file: file.stat().st_mtime_ns for file in whole.directory.rglob("manifest.json")} == stamps
    narrow = TEXT.replace("init.scale: [0.5, 1.0]", "init.scale: [1.0]").replace("members: 3", "members: 2")
    assert (
        run_sweep(study(tmp_path, text=narrow), whole.directory, refuse, progress=False).how == "already done"
    )
    assert_all_once(open_sweep(whole.directory), whole)
    run_sweep(study(tmp_path), whole.directory, refuse, progress=False)
    with pytest.raises(DifferentStudyError, match="sweep of another study"):
        run_sweep(study(tmp_path, "problem.data.seed=1"), whole.directory, refuse, progress=False)


def test_places_that_cannot_hold_a_sweep_are_refused(whole, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"something else \(thesis.tex\)"):
        td.sweep(study(tmp_path), tmp_path / "own", progress=False)
    with pytest.raises(StoreError, match="holds a run, not a sweep"):
        td.sweep(study(tmp_path), whole.run(0).directory, progress=False)
    with pytest.raises(NotARunError, match=r"has no sweep.json"):
        open_sweep(tmp_path)
    with pytest.raises(StoreError, match=r"has no run 12: it has runs 0 … 11"):
        whole.run(12)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sweep.json").write_text("{")
    with pytest.raises(NotARunError, match="cannot be read"):
        open_sweep(tmp_path / "broken")


def test_a_second_sweep_of_a_directory_is_refused_by_the_name_of_the_first(whole, tmp_path):
    with lock.writing(whole.directory):
        assert whole.status == "running"
        (whole.directory / "lock").write_text(json.dumps({"pid": 1, "started": "", "host": "elsewhere"}))
        with pytest.raises(LockedError, match="is being written by process 1 on elsewhere"):
            td.sweep(study(tmp_path), whole.directory, progress=False)
    silent = time.time() - lock.STALE_SECONDS - 1
    os.utime(whole.directory / "lock", (silent, silent))
    td.sweep(study(tmp_path), whole.directory, executor=Processes(1), progress=False)


def test_a_task_that_fails_is_tried_again_reported_and_loses_nothing_of_the_others(whole, tmp_path):
    small = study(tmp_path, "init.members=1", "sweep={rule.learning_rate: [0.05, 0.1]}", "compare=[]")
    plan = make_plan(small)
    place = tmp_path / "sweep"
    (place / "runs").mkdir(parents=True)
    obstacle = place / "runs" / plan.tasks[1].name
    obstacle.write_text("in the way")
    lines = []

    class Told:
        def show(self, standing):
            self.last = str(standing)

        def line(self, text):
            lines.append(text)

        def close(self):
            pass

    write_plan(place, plan)
    told = Told()
    ended = run_sweep(small, place, InProcess, progress=told, retries=1)
    assert ended.how == "failed"
    assert ended.attempts == 3
    assert "failed 2 times: rule.learning_rate = 0.1, member 0" in lines[0]
    assert ended.sweep.states() == ["done", "failed"]
    row = ended.sweep.table.isel(member=0)
    assert list(row.status.values) == ["done", "failed"]
    assert "is a file" in str(row.reason.values[1])
    assert np.isnan(float(row.loss[1]))
    obstacle.unlink()
    again = run_sweep(small, place, InProcess, progress=told)
    assert (again.how, again.attempts) == ("done", 1), (place / "log.jsonl").read_text()


POISON = """\
import multiprocessing, os, signal
import jax.numpy as jnp
import thetadot as td


def make_problem(deadly=False):
    if deadly and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
"""
POISONED = """\
name: poisoned
problem: {kind: python, file: poison.py, function: make_problem, arguments: {deadly: false}}
rule: {kind: gradient_descent, learning_rate: 0.1, steps: 5}
sweep: {problem.arguments.deadly: [true, false]}
"""


def test_a_task_that_kills_its_workers_is_given_up_with_the_reason(tmp_path):
    (tmp_path / "poison.py").write_text(POISON)
    (tmp_path / "poisoned.yaml").write_text(POISONED)
    table = td.sweep(
        tmp_path / "poisoned.yaml", tmp_path / "sweep", executor=Processes(1), progress=False, retries=1
    )
    found = dict(
        zip(
            table["problem.arguments.deadly"].values.tolist(), table.isel(member=0).status.values, strict=True
        )
    )
    assert found == {"true": "failed", "false": "done"}
    assert "killed by SIGKILL" in str(table.reason.values.ravel()[0])


def test_a_budget_stops_a_sweep_and_the_same_call_finishes_it(whole, tmp_path):
    place = tmp_path / "sweep"
    ended = run_sweep(study(tmp_path, "budget.wall=0.001"), place, lambda: Processes(1), progress=False)
    assert ended.how == "budget"
    assert ended.sweep.status == "resumable"
    assert not (place / "stop").exists()
    run_sweep(study(tmp_path), place, lambda: Processes(2), progress=False)
    assert_all_once(open_sweep(place), whole)


def test_a_cluster_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    small = study(tmp_path)
    with pytest.raises(ClusterError, match="scheduler and workers are given"):
        td.sweep(small, tmp_path / "a", scheduler="tcp://127.0.0.1:1", workers=2, progress=False)
    with pytest.raises(ClusterError, match="expected at least 1"):
        td.sweep(small, tmp_path / "b", workers=0, progress=False)
    with pytest.raises(ClusterError, match="does not exist: start the scheduler with"):
        td.sweep(small, tmp_path / "c", scheduler_file=tmp_path / "none.json", progress=False)
    monkeypatch.setattr(cluster, "has_dask", lambda: False)
    with pytest.raises(ClusterError, match=r"pip install 'thetadot\[sweep\]'"):
        td.sweep(small, tmp_path / "d", scheduler="tcp://127.0.0.1:1", progress=False)
    with cluster.executor_for(workers=3) as executor:
        assert isinstance(executor, Processes)


def test_damaged_chunks_of_a_run_are_computed_again_on_request(whole, tmp_path):
    chunks = sorted((whole.run(4).directory / "data.zarr" / "0" / "path" / "theta" / "c").rglob("*"))
    damaged = next(file for file in chunks if file.is_file())
    sound = damaged.read_bytes()
    damaged.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
    assert "theta" in whole.run(4).damages()[0]
    td.sweep(study(tmp_path), whole.directory, executor=Processes(2), progress=False, repair=True)
    assert not whole.run(4).damages()
    assert damaged.read_bytes() == sound


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command line in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        result = typer.testing.CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output
        return result

    return invoke


def test_the_command_plans_shows_and_reports(whole, call, tmp_path):
    study(tmp_path)
    planned = call("sweep", "rates.yaml", "--dry-run")
    assert planned.exit_code == 0
    assert "12 runs (rule.learning_rate: 2 × init.scale: 2 × member: 3)" in planned.output
    assert not (tmp_path / "runs").exists()
    plan = json.loads(call("sweep", "rates.yaml", "--dry-run", "--json", "-o", whole.directory).output)
    assert (plan["tasks"], plan["done"]) == (12, 12)
    assert plan["runs"][4] | {"directory": ""} == {
        "run": 4, "rule.learning_rate": 0.05, "init.scale": 1.0, "member": 1, "directory": "",
    }  # fmt: skip
    shown = call("show", whole.directory)
    assert "12 runs, 12 done: done" in shown.output
    assert "3 DIVERGED" in shown.output
    listed = json.loads(call("show", whole.directory, "--json").output)
    assert [row["outcome"] for row in listed["runs"]] == ["REACHED_STEPS"] * 6 + ["DIVERGED"] * 6
    assert call("report", whole.directory, "-o", "page.html").exit_code == 0
    assert "already done" in call("sweep", "rates.yaml", "-o", whole.directory, "--no-report").output
    refused = call("run", "rates.yaml")
    assert refused.exit_code == 2
    assert "`thetadot sweep` runs them" in refused.output
    wrong = call("sweep", "rates.yaml", "--scheduler", "tcp://127.0.0.1:1", "--workers", "2")
    assert wrong.exit_code == 2
    assert "scheduler and workers are given" in wrong.output


def test_the_report_shows_maps_curves_fans_and_every_run(whole, tmp_path):
    page = write_report(whole, tmp_path / "page.html").read_text()
    assert "12 runs, 2 values of rule.learning_rate × 2 values of init.scale × 3 members" in page
    assert "6 diverged" in page
    table = whole.table
    median = float(table.loss.sel({"rule.learning_rate": 0.05, "init.scale": 1.0}).median())
    assert f">{number(median)}<" in page
    assert page.count("<figure") >= 2
    assert page.count("<tr>") >= 12
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="https?:', outside)


def test_hostile_keys_are_shown_as_text(tmp_path):
    text = POISONED.replace(
        "sweep: {problem.arguments.deadly: [true, false]}",
        'sweep: {"problem.arguments.<script>alert(1)</script>": ["<img src=x>", "b"]}',
    )
    (tmp_path / "poison.py").write_text(POISON.replace("deadly=False", "deadly=False, **more"))
    (tmp_path / "poisoned.yaml").write_text(text)
    plan = make_plan(Study.load(tmp_path / "poisoned.yaml"))
    (tmp_path / "sweep").mkdir()
    write_plan(tmp_path / "sweep", plan)
    page = write_report(open_sweep(tmp_path / "sweep"), tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_figures_of_a_table_are_labelled(whole):
    table = whole.table.sel({"rule.learning_rate": [0.05]})
    axes = figures.plot_sweep(table, "loss")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("init.scale", "last loss L")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), table.loss.median("member").values.ravel())
    grid = figures.plot_sweep(whole.table, "gradients")
    assert {grid.get_xlabel(), grid.get_ylabel()} == {"init.scale", "rule.learning_rate"}
    with pytest.raises(FigureError, match=r"no variable 'speed': it has .*loss"):
        figures.plot_sweep(table, "speed")
    with pytest.raises(FigureError, match="nowhere a number"):
        figures.plot_sweep(table, "global_error")
    with pytest.raises(FigureError, match="expected one or two"):
        figures.plot_sweep(table.isel({"init.scale": [0]}), "loss")
