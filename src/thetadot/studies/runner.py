"""Running a study: series after series, each in slices of a few seconds with a commit after each.

One process writes: it holds the lock, and every commit passes through it, so a run directory needs no other
coordination. What is computed between two commits is one call of `advance`, which takes and returns plain
values.
"""

import dataclasses
import datetime
import signal
import threading
import time
import traceback
import warnings
from pathlib import Path as FilePath
from typing import Any

import numpy as np

import thetadot
from thetadot.dynamics.path import Path
from thetadot.errors import ThetadotError
from thetadot.problems import Problem
from thetadot.problems.layout_json import layout_to_json
from thetadot.studies import build, identity
from thetadot.studies.errors import (
    DifferentStudyError,
    KeptExecutorWarning,
    LensFailedWarning,
    StudyError,
    VersionSkewError,
)
from thetadot.studies.lens_records import FAILED
from thetadot.studies.lens_work import LensTask, Looked, lens_tasks, look
from thetadot.studies.manifest import MANIFEST_FILE, Manifest, read_manifest
from thetadot.studies.progress import Progress, progress_for
from thetadot.studies.run import Run
from thetadot.studies.schema import StudySpec
from thetadot.studies.series import Series, all_series, committed, follow
from thetadot.studies.store import LOG_FILE, RunWriter, open_writer

COMMIT_SECONDS = 5.0
ONE_PROCESS = "one process, all XLA threads"
PROCESSES = "processes of one XLA thread"
_LOOK_SECONDS = 1.0


class Stop:
    """Turns SIGINT and SIGTERM into a request that is met at the next chunk; a second signal stops at
    once, as does the first while a lens looks (nothing of it is kept until it is done).

    Arguments:
        file: a file whose existence is such a request too, from a process that cannot send signals here.
    """

    def __init__(self, file: FilePath | None = None):
        self.at_once = False
        self._file = file
        self._asked = False
        self._looked = 0.0

    @property
    def requested(self) -> bool:
        """Whether the session is to stop."""
        if self._file is not None and not self._asked and time.perf_counter() - self._looked > _LOOK_SECONDS:
            self._looked = time.perf_counter()
            self._asked = self._file.exists()
        return self._asked

    def request(self) -> None:
        """Ask for the session's end."""
        self._asked = True

    def __enter__(self) -> "Stop":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _signalled(self, number: int, frame: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self.at_once:
            self.at_once = False
            raise KeyboardInterrupt


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a sweep asks of the session in which a worker computes one of its runs.

    Attributes:
        wall: seconds that it may take, in place of the study's budget.
        stop_file: it ends when this file exists.
        threads: how the worker computes, for the manifest.
    """

    wall: float
    stop_file: FilePath
    threads: str = PROCESSES


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a call of `run_study` ended.

    Attributes:
        run: the run.
        how: "done", "already done", "failed" (a lens), "budget" or "interrupted"; after the last three the same
            call goes on.
        seconds: how long it took.
    """

    run: Run
    how: str
    seconds: float


def run_study(
    study: Any,
    directory: str | FilePath | None = None,
    *,
    progress: bool | Progress = True,
    commit_every: float = COMMIT_SECONDS,
    workers: int = 1,
    repair: bool = False,
    terms: Terms | None = None,
) -> Ended:
    """Run a study, or go on with it, until it is done, its budget is spent, or it is interrupted.

    Arguments:
        study: the study.
        directory: run directory; by default runs/<name>.
        progress: True, False, or an object with the methods of `Progress`.
        commit_every: seconds between commits.
        workers: processes over which the series are spread, each with one XLA thread; 1 runs them here, one
            after another, with all of XLA's threads. A run goes on in the way in which it began.
        repair: compute series again whose committed chunks or state are damaged.
        terms: given by a sweep.

    Raises:
        StudyError: the study is not valid; nothing is written.
        LockedError, DifferentStudyError, VersionSkewError, DamagedChunkError, WritingError: the directory
            cannot be used; what is committed stays.
    """
    began = time.perf_counter()
    spec: StudySpec = study.spec
    if spec.sweeps:
        way = "sweep" if spec.sweep else "zip"
        raise study.origin.error(
            (way,),
            "this study is a sweep, whose runs are many: `thetadot sweep` runs them (or remove the key)",
        )
    place = FilePath("runs") / spec.name if directory is None else FilePath(directory)
    done = _finished_before(study, place, repair)
    if done is not None:
        return Ended(done, "already done", time.perf_counter() - began)
    problem = study.problem
    starts = build.starts(spec, problem, study.origin)
    build.check_rules(spec, problem, study.origin)
    series = all_series(spec, len(starts))
    tasks = lens_tasks(spec, series)
    fresh = _fresh_manifest(study, series, tasks, len(starts))
    attributes = {
        "name": spec.name, "run": fresh.run, "problem": problem.description, "versions": dict(fresh.versions),
        "thetadot": thetadot.__version__, "seed": spec.init.seed, "layout": layout_to_json(problem.layout),
    }  # fmt: skip
    with (
        Stop(terms and terms.stop_file) as stop,
        open_writer(place, fresh, study.to_yaml(), attributes) as writer,
    ):
        _check_same(study, writer.manifest, place)
        there = writer.manifest
        if there.series.keys() != fresh.series.keys() or there.lenses.keys() != fresh.lenses.keys():
            raise DifferentStudyError(
                f"{place} holds other series or lenses than this study: choose another directory with -o DIR"
            )
        wall = spec.budget.wall if terms is None else terms.wall
        work = Work(study, writer, problem, starts, commit_every, progress_for(progress), stop, began, wall)
        try:
            how = work.all([*series, *tasks], workers, repair, terms and terms.threads)
        except ThetadotError as error:
            writer.log("stopped", error=str(error))
            raise
        except Exception as error:
            writer.log("error", error=repr(error), traceback=traceback.format_exc())
            writer.note_error(f"{type(error).__name__}: {error}")
            raise
        finally:
            work.progress.close()
        writer.log("session ended", how=how, seconds=round(time.perf_counter() - began, 3))
    return Ended(Run(place), how, time.perf_counter() - began)


def _finished_before(study: Any, place: FilePath, repair: bool) -> Run | None:
    """The run, if it was finished by an earlier session with this configuration."""
    if not (place / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(place)
    _check_same(study, manifest, place)
    return Run(place) if manifest.finished and not repair else None


def _check_same(study: Any, manifest: Manifest, place: FilePath) -> None:
    """Raise unless the directory holds a run of this study that this version can go on with."""
    if manifest.configuration != identity.configuration_hash(study.spec, study.origin):
        raise DifferentStudyError(
            f"{place} holds the run of another configuration ({_difference(study, place)}): "
            "choose another directory with -o DIR, or another name"
        )
    begun = any(record is not None for record in manifest.series.values())
    if begun and not manifest.finished and manifest.numerics != identity.numerics_version():
        raise VersionSkewError(
            f"{place} was computed by thetadot {manifest.package} (numerics {manifest.numerics}), this is "
            f"{thetadot.__version__} (numerics {identity.numerics_version()}), which would not go on to the "
            "same bits: it stays readable; resume it with that version, or start anew with -o DIR"
        )


def _difference(study: Any, place: FilePath) -> str:
    """The first keys in which a study differs from the one that ran."""
    from thetadot.studies.source import read_file

    try:
        there = read_file(place / "study.yaml")[0]
    except StudyError:
        return "its study.yaml cannot be read"
    here = identity.configuration(study.spec)
    named = {"budget", "description", "takes", *identity.named_files(study.spec, study.origin)}
    found = [f"{key} is {old} there and {new} here" for key, old, new in identity.differences(there, here)
             if key.partition(".")[0] not in named and key not in named]  # fmt: skip
    if not found:
        return "a file that it names has another content"
    return "; ".join(found[:2]) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")


def _fresh_manifest(study: Any, series: list[Series], tasks: list[LensTask], members: int) -> Manifest:
    configured = identity.configuration_hash(study.spec, study.origin)
    return Manifest(
        run=identity.run_id(configured),
        name=study.spec.name,
        configuration=configured,
        package=thetadot.__version__,
        numerics=identity.numerics_version(),
        versions=identity.versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        members=members,
        series={one.name: None for one in series},
        lenses={task.name: None for task in tasks},
    )


@dataclasses.dataclass
class Work:
    """What a session does."""

    study: Any
    writer: RunWriter
    problem: Problem
    starts: np.ndarray
    commit_every: float
    progress: Progress
    stop: Stop
    began: float
    wall: float | None

    def all(self, pieces: list[Series | LensTask], workers: int, repair: bool, threads: str | None) -> str:
        """Run what is unfinished; how the session ended. `threads`: how this process computes, if not with all."""
        begun = any(record is not None for record in self.writer.manifest.series.values())
        if threads is None:
            workers = self._workers(workers, begun)
        else:
            self.writer.note_executor(threads)
        self.writer.note_error(None)
        self.writer.log("session", version=thetadot.__version__, resumed=begun, workers=workers)
        if repair:
            for name in Run(self.writer.directory).damaged_series():
                self.writer.restart(name)
        if workers > 1:
            from thetadot.studies.spread import spread

            return spread(self, pieces, workers) or self._verdict()
        worked = False
        # Stable: of each member its series first, then its lenses.
        pieces = sorted(
            pieces, key=lambda one: one.series.member if isinstance(one, LensTask) else one.member
        )
        for number, one in enumerate(pieces, 1):
            if self.finished(one):
                continue
            if worked and (why := self.ended()):
                return why
            worked = True
            self.progress.begin(one.title, number, len(pieces))
            ended = self._look(one) if isinstance(one, LensTask) else self._follow(one)
            if not ended:
                return self.ended() or "interrupted"
        return self._verdict()

    def _follow(self, one: Series) -> bool:
        """Go on with a series; whether it reached its end."""
        path, observe = committed(self.writer.directory, one), self.study.spec.observed
        path = follow(self.problem, self.starts[one.member], one, observe, path, self.commit_every, self)
        if path is not None:
            self.progress.end(one.title, f"{path.outcome.name}, {path.reason}")
        return path is not None and not path.outcome.resumable

    def _look(self, task: LensTask) -> bool:
        """Run a lens; whether it was not interrupted."""
        try:
            self.stop.at_once = not self.stop.requested
            self.report(None, "looking")
            looked = look(self.problem, self.writer.directory, task, self.study.spec)
        except KeyboardInterrupt:
            if not self.stop.requested:
                raise
            return False
        finally:
            self.stop.at_once = False
        self.commit_lens(task, looked)
        return True

    def commit_lens(self, task: LensTask, looked: Looked) -> None:
        """Commit what a lens found."""
        if looked.trace:
            self.writer.log("lens failed", lens=task.name, error=looked.record.reason, traceback=looked.trace)
        self.writer.commit_lens(task.name, looked.record, looked.columns)
        self.progress.end(task.title, looked.record.words)

    def _verdict(self) -> str:
        """How a session ended in which everything was run: "done", or "failed" if a lens did."""
        found = self.writer.manifest.lenses
        failed = {name: one for name, one in found.items() if one is not None and one.status == FAILED}
        if not failed:
            return "done"
        name, record = next(iter(failed.items()))
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        self.writer.note_error(f"lens {name} failed{more}: {record.reason}")
        text = (
            f"lens {name} failed{more}: {record.reason}; everything else is stored, the traceback is in "
            f"{self.writer.directory / LOG_FILE}; the same command tries it again"
        )
        warnings.warn(text, LensFailedWarning, stacklevel=2)
        return "failed"

    def _workers(self, wanted: int, begun: bool) -> int:
        """Processes to use: as wanted, unless the run began in another way, which may differ in the last
        bits."""
        how = ONE_PROCESS if wanted == 1 else PROCESSES
        before = self.writer.manifest.executor
        if not begun:
            self.writer.note_executor(how)
            return wanted
        if before != how:
            text = f"this run began with {before} and goes on so: {how} may differ in the last bits"
            warnings.warn(text, KeptExecutorWarning, stacklevel=2)
        return 1 if before == ONE_PROCESS else max(2, wanted)

    def finished(self, one: Series | LensTask) -> bool:
        """Whether a series reached its end, or a lens was run, in an earlier session."""
        record = self.writer.manifest.committed.get(one.name)
        return record is not None and record.finished

    def ended(self) -> str | None:
        """Why the session must end, if it must."""
        if self.stop.requested:
            return "interrupted"
        return None if self.left() > 0 else "budget"

    def left(self) -> float:
        """Seconds that are left of the budget."""
        return float("inf") if self.wall is None else self.wall - (time.perf_counter() - self.began)

    def commit(self, series: str, path: Path) -> None:
        """Commit a path."""
        self.writer.commit(series, path)

    def report(self, fraction: float | None, text: str) -> None:
        """Show how far the series is; stop it if the session is interrupted."""
        self.progress.advance(fraction, text)
        if self.stop.requested:
            raise KeyboardInterrupt
