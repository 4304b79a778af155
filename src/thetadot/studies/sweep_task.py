"""One task of a sweep, as a worker runs it: a run of its own directory, and of nothing else."""

import contextlib
import dataclasses
import json
import os
import socket
import time
import traceback
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from thetadot.errors import ThetadotError
from thetadot.studies import identity
from thetadot.studies.errors import LockedError
from thetadot.studies.explain import validated
from thetadot.studies.lenses import Lens, adopt_lenses
from thetadot.studies.lock import STALE_SECONDS
from thetadot.studies.source import Origin
from thetadot.studies.study import Study
from thetadot.studies.sweep_plan import RUNS, SWEEP_FILE

STOP_FILE = "stop"
DONE, FAILED, STOPPED, WAITING = "done", "failed", "stopped", "waiting"


@dataclasses.dataclass(frozen=True)
class Order:
    """What a worker is told.

    Attributes:
        sweep: the sweep's directory, absolute, on a file system that all workers share.
        name: of the task.
        document: its study, as JSON.
        numerics: version that the results must have.
        deadline: when the session ends, in seconds since the epoch.
        commit_every: seconds between commits.
        repair: compute damaged series again.
        lenses: those that the user registered.
    """

    sweep: str
    name: str
    document: str
    numerics: str
    deadline: float
    commit_every: float
    repair: bool
    lenses: Mapping[str, Lens]


@dataclasses.dataclass(frozen=True)
class Told:
    """What a worker answers.

    Attributes:
        state: "done"; "failed"; "stopped" with a part committed; "waiting" if nothing was begun.
        reason: one line about a failure.
        trace: its traceback, if it is a defect.
        seconds: how long the task took here.
        worker: host and process.
    """

    state: str
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0
    worker: str = ""


def run_task(order: Order) -> Told:
    """Run a task, or go on with it; what is done already is not computed again. Nothing is raised."""
    began = time.perf_counter()

    def told(state: str, reason: str = "", trace: str = "") -> Told:
        seconds = time.perf_counter() - began
        return Told(state, " ".join(reason.split()), trace, seconds, f"{socket.gethostname()}:{os.getpid()}")

    try:
        return told(*_run(order))
    except ThetadotError as error:
        return told(FAILED, str(error))
    except Exception as error:
        return told(FAILED, f"{type(error).__name__}: {error}", traceback.format_exc())


def _run(order: Order) -> tuple[str, str]:
    from thetadot.studies.runner import Terms, run_study

    sweep = FilePath(order.sweep)
    if not (sweep / SWEEP_FILE).exists():
        return FAILED, (
            f"worker on {socket.gethostname()} does not see {sweep}: choose a directory with -o DIR on a file system "
            "that all workers share"
        )
    if identity.numerics_version() != order.numerics:
        return FAILED, (
            f"worker on {socket.gethostname()} has numerics {identity.numerics_version()}, the sweep {order.numerics}: "
            "install the same versions on all workers"
        )
    stop, place = sweep / STOP_FILE, sweep / RUNS / order.name
    patience = time.time() + 1.5 * STALE_SECONDS
    origin = Origin(f"{SWEEP_FILE}, task {order.name}", sweep)
    study = Study.of(validated(json.loads(order.document), origin), origin)
    adopt_lenses(order.lenses)
    while True:
        left = order.deadline - time.time()
        if left <= 0 or stop.exists():
            return WAITING, ""
        try:
            ended = run_study(
                study, place, progress=False, commit_every=order.commit_every, repair=order.repair,
                terms=Terms(left, stop),
            )  # fmt: skip
        except LockedError:
            # A worker that was lost may still write, or be silent for too short a time to count as gone.
            if time.time() > patience:
                raise
            time.sleep(1.0)
            continue
        if ended.how == "failed":
            return FAILED, ended.run.manifest.error or "a lens failed"
        return (STOPPED if ended.how in ("budget", "interrupted") else DONE), ""


@contextlib.contextmanager
def stopping(directory: FilePath) -> Any:
    """The stop file of a session: called, it is made, and workers that see it end at their next chunk; it is removed
    when the session begins and when it ends."""
    file = directory / STOP_FILE
    file.unlink(missing_ok=True)
    try:
        yield lambda: file.touch() if not file.exists() else None
    finally:
        file.unlink(missing_ok=True)
