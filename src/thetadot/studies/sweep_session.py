"""Sweeping: the tasks of a plan over workers, until every one is done or was given up.

The client hands out tasks and keeps count; workers write, each to the run directory of its task. So the runs are
the only truth: whatever is killed, the same command finishes what is left, and repeats nothing that is committed.
"""

import collections
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import thetadot
from thetadot.dynamics.executor import Executor, Lost
from thetadot.studies import identity
from thetadot.studies.durable import append_line, make_directory, replace_file
from thetadot.studies.errors import DifferentStudyError, StoreError, WritingError
from thetadot.studies.lenses import own_lenses
from thetadot.studies.lock import LOCK_FILE, writing
from thetadot.studies.manifest import MANIFEST_FILE, read_manifest
from thetadot.studies.runner import COMMIT_SECONDS, Stop
from thetadot.studies.study import Study
from thetadot.studies.sweep_plan import (
    RUNS,
    SWEEP_FILE,
    Plan,
    Studies,
    Task,
    make_plan,
    read_plan,
    write_plan,
)
from thetadot.studies.sweep_progress import Standing, SweepProgress, sweep_progress
from thetadot.studies.sweep_record import FAILURES_FILE, ROWS_FILE, Sweep
from thetadot.studies.sweep_task import (
    DONE,
    FAILED,
    STOP_FILE,
    Order,
    Told,
    run_task,
    stopping,
)

if TYPE_CHECKING:
    import xarray

LOG_FILE, STUDY_FILE = "log.jsonl", "study.yaml"
RETRIES = 3
_OURS = {
    LOG_FILE,
    STUDY_FILE,
    SWEEP_FILE,
    RUNS,
    LOCK_FILE,
    STOP_FILE,
    FAILURES_FILE,
    ROWS_FILE,
    "report.html",
}


@dataclasses.dataclass(frozen=True)
class Swept:
    """How a call of `run_sweep` ended.

    Attributes:
        sweep: the sweep.
        how: "done", "already done", "failed" (tasks were given up), "budget" or "interrupted".
        seconds: how long it took.
        executor: what ran the tasks.
        attempts: tasks handed out in this session, with those that were repeated.
    """

    sweep: Sweep
    how: str
    seconds: float
    executor: str
    attempts: int


def sweep(
    study: Study | str | FilePath,
    directory: str | FilePath | None = None,
    *,
    scheduler: str | None = None,
    scheduler_file: str | FilePath | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    set: Sequence[str] | Mapping[str, Any] = (),
    progress: bool | SweepProgress = True,
    commit_every: float = COMMIT_SECONDS,
    retries: int = RETRIES,
    repair: bool = False,
) -> "xarray.Dataset":
    """Run every member at every combination of a study's swept values, or go on with what is left of them.

    One run directory per member and point, below `<directory>/runs`; killed workers, a killed scheduler, and this
    process being killed lose nothing that is committed: call again. A sweep that is widened (more values, more
    members) keeps what it has. A script must call this under `if __name__ == "__main__":`.

    Arguments:
        study: the study, a study file, or the name of a bundled study; its keys `sweep` or `zip` say what is swept.
        directory: of the sweep; by default runs/<name>. All workers must see it.
        scheduler: address of a Dask scheduler ("tcp://host:8786").
        scheduler_file: its scheduler file, instead.
        workers: processes on this machine, if there is no scheduler (default: one per core); a local Dask cluster
            if the extra `sweep` is installed, plain processes otherwise.
        executor: anything that runs the tasks, in place of these.
        set: overrides, as in `Study.load`.
        progress: True (a table on a terminal, lines elsewhere), False, or an object with the methods of
            `SweepProgress`.
        commit_every: seconds between the commits of a run.
        retries: how often a task that failed, or whose worker died, is tried again.
        repair: compute series again whose stored data are damaged.

    Returns:
        The table of the sweep (see `Sweep.table`): tasks that failed are there with `status` "failed" and a reason.

    Raises:
        StudyError: the study is not valid; nothing is written.
        LockedError, DifferentStudyError, StoreError, WritingError: the directory cannot be used.
        SchedulerLostError, ClusterError: the cluster does not answer.

    Example:
        >>> table = td.sweep("scales.yaml", workers=8)                        # doctest: +SKIP
        >>> table.loss.median("member").plot()                                # doctest: +SKIP
    """
    from thetadot.studies.cluster import executor_for

    if not isinstance(study, Study):
        study = Study.load(study, set=set)
    elif set:
        study = study.with_settings(set)
    with contextlib.ExitStack() as stack:

        def made() -> Executor:
            return executor or stack.enter_context(executor_for(scheduler, scheduler_file, workers))

        ended = run_sweep(
            study,
            directory,
            made,
            progress=progress,
            commit_every=commit_every,
            retries=retries,
            repair=repair,
        )
    return ended.sweep.table


def run_sweep(
    study: Study,
    directory: str | FilePath | None,
    make_executor: Any,
    *,
    progress: bool | SweepProgress = True,
    commit_every: float = COMMIT_SECONDS,
    retries: int = RETRIES,
    repair: bool = False,
) -> Swept:
    """As `sweep`; `make_executor()` is called if there is something to run."""
    began = time.perf_counter()
    plan, place, _ = planned(study, directory)
    make_directory(place / RUNS)
    with writing(place), Stop() as stop, stopping(place) as tell_workers:
        replace_file(place / STUDY_FILE, study.to_yaml().encode())
        write_plan(place, plan)
        found = Sweep(place)
        left = [task for task in plan.tasks if repair or not _finished(place, task)]
        replace_file(place / FAILURES_FILE, b"{}")
        if not left:
            found.keep_rows()
            return Swept(found, "already done", time.perf_counter() - began, "", 0)
        wall = study.spec.budget.wall
        session = _Session(
            study, plan, place, stop, tell_workers,
            Standing(len(plan), len(plan) - len(left)), sweep_progress(progress, study.name),
            commit_every, retries, repair, float("inf") if wall is None else time.time() + wall,
        )  # fmt: skip
        try:
            runner = make_executor()
            session.log("session", version=thetadot.__version__, tasks=len(left), executor=runner.name)
            how = session.all(left, runner)
        finally:
            session.progress.close()
        session.log("session ended", how=how, seconds=round(time.perf_counter() - began, 3))
        found.keep_rows()
    return Swept(Sweep(place), how, time.perf_counter() - began, runner.name, session.attempts)


def planned(study: Study, directory: str | FilePath | None) -> tuple[Plan, FilePath, int]:
    """The plan of a sweep, its directory, and how many of its tasks are done; nothing is written."""
    place = (FilePath("runs") / study.name if directory is None else FilePath(directory)).absolute()
    plan = make_plan(study)
    _check_place(place, plan)
    return plan, place, sum(_finished(place, task) for task in plan.tasks)


def _check_place(place: FilePath, plan: Plan) -> None:
    """Raise unless the directory is empty, new, or holds a sweep of the same study."""
    if place.exists() and not place.is_dir():
        raise StoreError(f"{place} is a file: choose another directory with -o DIR")
    if (place / MANIFEST_FILE).exists():
        raise StoreError(f"{place} holds a run, not a sweep: choose another directory with -o DIR")
    names = {file.name for file in place.iterdir()} if place.is_dir() else set()
    strange = sorted(name for name in names - _OURS if not name.endswith(".new"))
    if strange and SWEEP_FILE not in names:
        raise StoreError(
            f"{place} holds files of something else ({', '.join(strange[:3])}): choose another directory with -o DIR"
        )
    if SWEEP_FILE in names and read_plan(place).base != plan.base:
        raise DifferentStudyError(
            f"{place} holds the sweep of another study (another problem, rule or lens, or other keys): "
            "choose another directory with -o DIR, or another name"
        )


def _finished(place: FilePath, task: Task) -> bool:
    try:
        return read_manifest(place / RUNS / task.name).finished
    except StoreError:
        return False


@dataclasses.dataclass
class _Session:
    study: Study
    plan: Plan
    place: FilePath
    stop: Stop
    tell_workers: Any
    standing: Standing
    progress: SweepProgress
    commit_every: float
    retries: int
    repair: bool
    deadline: float
    lost: int = 0
    lost_before: int = 0
    answers: int = 0

    def all(self, tasks: list[Task], executor: Executor) -> str:
        """Run tasks until each is done, was given up, or the session ends."""
        failures: dict[str, str] = {}
        tried: collections.Counter[str] = collections.Counter()
        while tasks:
            again = []
            for task, told, attempts in self._round(tasks, executor):
                tried[task.name] += attempts
                tries = tried[task.name]
                if told.state == DONE:
                    self.standing.done += 1
                elif tries <= self.retries:
                    self.log("task failed", task=task.name, error=told.reason, traceback=told.trace)
                    self.standing.repeated += 1
                    again.append(task)
                    continue
                else:
                    self.standing.failed += 1
                    failures[task.name] = told.reason
                    replace_file(
                        self.place / FAILURES_FILE, json.dumps(failures, ensure_ascii=False).encode()
                    )
                    self.log("task given up", task=task.name, error=told.reason, traceback=told.trace)
                    self.progress.line(f"failed {tries} times: {self.plan.title(task)}: {told.reason}")
                self.standing.ended()
            if why := self._over():
                return why
            tasks = again
        return "failed" if failures else "done"

    def _over(self) -> str | None:
        if self.stop.requested:
            return "interrupted"
        return "budget" if time.time() >= self.deadline else None

    def _round(self, tasks: list[Task], executor: Executor) -> Iterator[tuple[Task, Told, int]]:
        """Each task once, and again if its worker died; what is said of those that came to an end, and how many
        attempts that took."""
        self.lost_before += self.lost
        self.lost = 0
        orders = _Orders(self, tasks)
        for index, told in executor.run(run_task, orders, attempts=self.retries + 1, tick=self._tick):
            if isinstance(told, Lost):
                yield tasks[index], Told(FAILED, told.reason), told.attempts
                continue
            self.answers += 1
            if told.state in (DONE, FAILED):
                yield tasks[index], told, 1

    @property
    def attempts(self) -> int:
        """How often a worker was given a task."""
        return self.answers + self.lost_before + self.lost

    def _tick(self, running: int, lost: int) -> bool:
        self.standing.running = running
        self.standing.repeated += lost - self.lost
        self.lost = lost
        self.progress.show(self.standing)
        over = self._over()
        if over == "interrupted":
            self.tell_workers()
        return over is None

    def log(self, event: str, **fields: Any) -> None:
        """Add a line to log.jsonl."""
        import datetime

        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(WritingError):
            append_line(self.place / LOG_FILE, json.dumps({"at": stamp, "event": event, **fields}))


class _Orders(Sequence):
    """The orders of tasks, made when they are handed out."""

    def __init__(self, session: _Session, tasks: list[Task]):
        self._session, self._tasks = session, tasks
        self._studies = Studies(session.study, session.plan)

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: Any) -> Any:
        session, task = self._session, self._tasks[index]
        document = json.dumps(self._studies.of(task).resolved())
        return (
            Order(
                str(session.place), task.name, document, identity.numerics_version(), session.deadline,
                session.commit_every, session.repair, own_lenses(),
            ),
        )  # fmt: skip
