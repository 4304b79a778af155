"""Sweeps whose processes are really killed: nothing committed is lost, nothing is computed twice."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.studies.sweeping import TEXT, assert_all_once, study
from thetadot.dynamics import Processes
from thetadot.studies import cluster, lock, open_sweep
from thetadot.studies.sweep_session import run_sweep

LONG = (
    TEXT.replace("steps: 200, seed: 1", "steps: 20000, seed: 1")
    .replace("  rule.learning_rate: [0.05, 1.0e+6]\n", "")
    .replace("compare:\n- {kind: gradient_descent, learning_rate: 0.05, steps: 50}\n", "")
)


FEW = LONG.replace("members: 3", "members: 2")


@pytest.fixture(scope="module")
def peace(tmp_path_factory):
    """The sweep of four members that nobody disturbs; its tasks are those of smaller sweeps too."""
    place = tmp_path_factory.mktemp("peace")
    td.sweep(
        study(place, "init.members=4", text=LONG), place / "sweep", executor=Processes(2), progress=False
    )
    return open_sweep(place / "sweep")


class Killer:
    """Kills a worker that writes a run, whenever `every` more runs are done, in a thread of its own."""

    def __init__(self, place, every):
        self.place, self.every = pathlib.Path(place), every
        self.killed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _work(self):
        at = 0
        while not self._over.wait(0.01):
            runs = list((self.place / "runs").glob("*"))
            done = sum(1 for run in runs if self._finished(run))
            if done < at:
                continue
            for run in runs:
                writer = lock.owner(run)
                if writer is not None and writer.pid != os.getpid() and not self._finished(run):
                    os.kill(writer.pid, signal.SIGKILL)
                    self.killed += 1
                    at = done + self.every
                    break

    @staticmethod
    def _finished(run):
        log = run / "log.jsonl"
        return log.exists() and '"how": "done"' in log.read_text()


def sweep_under_fire(tmp_path, members, executor, every, peace=None):
    """A sweep of some members, with workers killed meanwhile, and the same sweep in peace, if it is not given."""
    shooting = study(tmp_path, f"init.members={members}", text=LONG)
    with Killer(tmp_path / "sweep", every) as killer, executor as workers:
        ended = run_sweep(
            shooting, tmp_path / "sweep", lambda: workers, progress=False, commit_every=0.05, retries=50
        )
    assert ended.how == "done"
    if peace is None:
        td.sweep(shooting, tmp_path / "peace", executor=Processes(2), progress=False)
        peace = open_sweep(tmp_path / "peace")
    assert_all_once(open_sweep(tmp_path / "sweep"), peace)
    return killer.killed


class Given:
    """An executor as a context."""

    def __init__(self, executor):
        self.executor = executor

    def __enter__(self):
        return self.executor

    def __exit__(self, *_):
        pass


def test_killed_workers_lose_nothing(tmp_path, peace):
    assert sweep_under_fire(tmp_path, 4, Given(Processes(2)), 2, peace) >= 3


@pytest.mark.slow
def test_sixty_four_members_over_four_processes_survive_ten_killed_workers(tmp_path):
    assert sweep_under_fire(tmp_path, 32, Given(Processes(4)), every=4) >= 10


@pytest.mark.slow
def test_sixty_four_members_over_four_workers_of_dask_survive_ten_killed_workers(tmp_path):
    pytest.importorskip("distributed", reason="needs the extra sweep")
    assert sweep_under_fire(tmp_path, 32, cluster.executor_for(workers=4), every=4) >= 10


def test_a_dask_cluster_computes_the_same_bits(tmp_path, peace):
    pytest.importorskip("distributed", reason="needs the extra sweep")
    small = study(tmp_path, "init.members=2", text=LONG)
    bowl = td.FunctionRisk(half_square, np.ones(2))
    starts = np.array([[1.0, 1.0], [2.0, 0.5], [0.1, 0.2]])
    with cluster.executor_for(workers=2) as workers:
        td.sweep(small, tmp_path / "dask", executor=workers, progress=False)
        followed = td.flow_ensemble(bowl, starts, executor=workers, until=td.Until(time=1.0), progress=False)
    assert_all_once(open_sweep(tmp_path / "dask"), peace)
    assert "2 workers of a Dask cluster" in (tmp_path / "dask" / "log.jsonl").read_text()
    assert "Dask cluster" in followed.executor
    twin = td.flow_ensemble(bowl, starts, executor=Processes(1), until=td.Until(time=1.0), progress=False)
    for one, other in zip(followed, twin, strict=True):
        assert one.thetas.tobytes() == other.thetas.tobytes()


def half_square(theta):
    return 0.5 * jnp.sum(theta**2)


@pytest.mark.slow
def test_a_sweep_survives_the_death_of_its_scheduler(tmp_path):
    pytest.importorskip("distributed", reason="needs the extra sweep")
    study(tmp_path, text=LONG.replace("steps: 20000", "steps: 4000000"))
    program, file = str(pathlib.Path(sys.executable).parent / "dask"), tmp_path / "scheduler.json"

    def start(*words):
        return subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cluster_of_one():
        file.unlink(missing_ok=True)
        scheduler = start(
            "scheduler", "--scheduler-file", str(file), "--port", "0", "--host", "127.0.0.1",
            "--dashboard-address", "127.0.0.1:0",
        )  # fmt: skip
        while not file.exists():
            time.sleep(0.05)
        return scheduler, start(
            "worker", "--scheduler-file", str(file), "--nthreads", "1", "--death-timeout", "5"
        )

    def sweep():
        words = [sys.executable, "-m", "thetadot.cli", "sweep", str(tmp_path / "rates.yaml"), "-o",
                 str(tmp_path / "sweep"), "--no-report", "--scheduler-file", str(file)]  # fmt: skip
        while True:
            process = subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
            if "has no workers" not in (line := process.stderr.readline()):
                return process, line

    scheduler, worker = cluster_of_one()
    try:
        process, _ = sweep()
        wait_for(process, tmp_path / "sweep", 1)
        scheduler.kill()
        _, told = process.communicate(timeout=200)
        assert process.returncode == 3
        assert "the scheduler of the cluster does not answer any more" in told
    finally:
        for one in (scheduler, worker):
            one.kill()
            one.wait()
    before = finished(tmp_path / "sweep")
    assert before
    scheduler, worker = cluster_of_one()
    try:
        process, _ = sweep()
        process.communicate(timeout=300)
        assert process.returncode == 0
    finally:
        for one in (scheduler, worker):
            one.kill()
            one.wait()
    after = finished(tmp_path / "sweep")
    assert len(after) == 6
    assert {name: after[name] for name in before} == before


ENVIRONMENT = {**os.environ, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def client(file, place, *more):
    """The command in a process and a process group of its own."""
    words = [sys.executable, "-m", "thetadot.cli", "sweep", str(file), "-o", str(place), "--no-report", "-j", "2",
             "--commit-every", "0.05", *more]  # fmt: skip
    return subprocess.Popen(
        words,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(place):
    """{run: when its manifest was written} of the runs that are done."""
    runs = [run for run in (place / "runs").glob("*") if Killer._finished(run)]
    return {run.name: (run / "manifest.json").stat().st_mtime_ns for run in runs}


def wait_for(process, place, amount):
    while process.poll() is None and len(finished(place)) < amount:
        time.sleep(0.02)


def test_a_killed_client_leaves_runs_that_the_same_command_finishes_without_repeating_any(tmp_path, peace):
    study(tmp_path, text=FEW)
    file, place = tmp_path / "rates.yaml", tmp_path / "sweep"
    process = client(file, place)
    wait_for(process, place, 2)
    process.kill()
    process.communicate()
    before = finished(place)
    assert before
    while any(lock.owner(run) is not None for run in (place / "runs").glob("*")):
        time.sleep(0.05)  # its workers end with it, a little later
    before = finished(place)
    second = client(file, place, "-j", "1")
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert "done in" in out
    after = finished(place)
    assert {name: after[name] for name in before} == before
    assert_all_once(open_sweep(place), peace)
    sessions = collections.Counter()
    for run in (place / "runs").glob("*"):
        for line in (run / "log.jsonl").read_text().splitlines():
            sessions[run.name] += json.loads(line)["event"] == "session"
    assert all(sessions[name] == 1 for name in before if name in after)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_stops_a_sweep_cleanly_and_the_same_command_goes_on(tmp_path, number):
    longer = LONG.replace("steps: 20000", "steps: 4000000")
    study(tmp_path, text=longer)
    file, place = tmp_path / "rates.yaml", tmp_path / "sweep"
    process = client(file, place)
    while process.poll() is None and not list((place / "runs").glob("*/state/*.npz")):
        time.sleep(0.02)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3, (out, err)
    assert "Traceback" not in err
    assert "the same command goes on" in out
    sweep = open_sweep(place)
    assert sweep.status == "resumable"
    assert "stopped" in sweep.states()
    assert not (place / "stop").exists()
