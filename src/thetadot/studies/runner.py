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
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np

import thetadot
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path
from thetadot.errors import ThetadotError
from thetadot.problems import Problem
from thetadot.studies import build, identity
from thetadot.studies.errors import DamagedChunkError, DifferentStudyError, StudyError, VersionSkewError
from thetadot.studies.manifest import MANIFEST_FILE, Manifest, read_manifest
from thetadot.studies.progress import Progress, progress_for
from thetadot.studies.records import layout_to_json
from thetadot.studies.run import Run
from thetadot.studies.schema import StudySpec
from thetadot.studies.store import RunWriter, open_writer

COMMIT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Series:
    """One member under one rule.

    Attributes:
        name: group in the store: "0/path", "0/compare/1".
        member: number of the member.
        rule: the rule's part of the study.
    """

    name: str
    member: int
    rule: Any

    @property
    def title(self) -> str:
        """How progress calls it."""
        return f"member {self.member}, {self.rule.kind.replace('_', ' ')}"


def all_series(spec: StudySpec, members: int) -> list[Series]:
    """The series of a study in the order in which they run: per member the main rule, then the
    comparisons."""
    return [
        Series(f"{member}/path" if index is None else f"{member}/compare/{index}", member, rule)
        for member in range(members)
        for index, rule in [(None, spec.rule), *enumerate(spec.compare)]
    ]


def advance(
    problem: Problem,
    theta0: np.ndarray,
    series: Series,
    observe: dict[str, str],
    path: Path | None,
    budget: float,
    report: Callable[[float | None, str], None] | bool = False,
) -> Path:
    """Go on with a series for about `budget` seconds and return its whole path.

    The path depends on nothing but the study: neither on the budget nor on how often the series was resumed.
    """
    from thetadot import dynamics

    rule = series.rule
    saves = np.asarray(rule.saves) if isinstance(rule.saves, list) else rule.saves
    ends = {} if rule.until is None else {"until": dynamics.Until(**rule.until.model_dump())}
    shared: dict[str, Any] = {
        "saves": saves, "observe": observe, "budget": budget, "progress": report, "resume": path,
    }  # fmt: skip
    if rule.kind == "flow":
        return dynamics.flow(
            problem, theta0, accuracy=rule.accuracy, rtol=rule.rtol, atol=rule.atol, solver=rule.solver,
            certify=rule.certify, polish=rule.polish, perturb=rule.perturb, **ends, **shared,
        )  # fmt: skip
    made = build.make_rule(rule, series.member)
    return dynamics.descend(problem, theta0, made, rule.steps, **ends, **shared)


class Stop:
    """Turns SIGINT and SIGTERM into a request that is met at the next chunk; a second signal stops at
    once."""

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "Stop":
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@dataclasses.dataclass(frozen=True)
class Session:
    """How a call of `run_study` ended.

    Attributes:
        run: the run.
        how: "done", "already done", "budget" or "interrupted"; after the last two the same call resumes.
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
    repair: bool = False,
) -> Session:
    """Run a study, or go on with it, until it is done, its budget is spent, or it is interrupted.

    Arguments:
        study: the study.
        directory: run directory; by default runs/<name>.
        progress: True, False, or an object with the methods of `Progress`.
        commit_every: seconds between commits.
        repair: compute series again whose committed chunks or state are damaged.

    Raises:
        StudyError: the study is not valid; nothing is written.
        LockedError, DifferentStudyError, VersionSkewError, DamagedChunkError, WritingError: the directory
        cannot be
            used; what is committed stays.
    """
    began = time.perf_counter()
    spec: StudySpec = study.spec
    if spec.sweeps:
        way = "sweep" if spec.sweep else "zip"
        raise study.origin.error(
            (way,),
            "a study with `sweep` or `zip` needs the sweep command, which is coming: "
            "remove the key to `run` one member of it",
        )
    place = FilePath("runs") / spec.name if directory is None else FilePath(directory)
    done = _finished_before(study, place, repair)
    if done is not None:
        return Session(done, "already done", time.perf_counter() - began)
    problem = study.problem
    starts = build.starts(spec, problem, study.origin)
    build.check_rules(spec, problem, study.origin)
    series = all_series(spec, len(starts))
    fresh = _fresh_manifest(study, series, len(starts))
    attributes = {
        "name": spec.name, "run": fresh.run, "problem": problem.description, "versions": dict(fresh.versions),
        "thetadot": thetadot.__version__, "seed": spec.init.seed, "layout": layout_to_json(problem.layout),
    }  # fmt: skip
    with Stop() as stop, open_writer(place, fresh, study.to_yaml(), attributes) as writer:
        _check_same(study, writer.manifest, place)
        if writer.manifest.series.keys() != fresh.series.keys():
            raise DifferentStudyError(
                f"{place} holds other series than this study: choose another directory with -o DIR"
            )
        work = _Work(study, writer, problem, starts, commit_every, progress_for(progress), stop, began)
        try:
            how = work.all(series, repair)
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
    return Session(Run(place), how, time.perf_counter() - began)


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
    named = {"budget", "description", *identity.named_files(study.spec, study.origin)}
    found = [f"{key} is {old} there and {new} here" for key, old, new in identity.differences(there, here)
             if key.partition(".")[0] not in named and key not in named]  # fmt: skip
    if not found:
        return "a file that it names has another content"
    return "; ".join(found[:2]) + (f"; and {len(found) - 2} more" if len(found) > 2 else "")


def _fresh_manifest(study: Any, series: list[Series], members: int) -> Manifest:
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
    )


@dataclasses.dataclass
class _Work:
    """The loop of a session."""

    study: Any
    writer: RunWriter
    problem: Problem
    starts: np.ndarray
    commit_every: float
    progress: Progress
    stop: Stop
    began: float

    def all(self, series: list[Series], repair: bool) -> str:
        """Run what is unfinished; how the session ended."""
        self.writer.note_error(None)
        self.writer.log(
            "session",
            version=thetadot.__version__,
            resumed=self.writer.manifest.series[series[0].name] is not None,
        )
        if repair:
            self._forget_damaged()
        for number, one in enumerate(series, 1):
            record = self.writer.manifest.series[one.name]
            if record is not None and record.finished:
                continue
            self.progress.begin(one.title, number, len(series))
            path = self._follow(one)
            if path is not None:
                self.progress.end(one.title, path)
            if path is None or path.outcome.resumable:
                return self._ended() or "interrupted"
        return "done"

    def _ended(self) -> str | None:
        """Why the session must end, if it must."""
        if self.stop.requested:
            return "interrupted"
        return None if self._left() > 0 else "budget"

    def _left(self) -> float:
        wall = self.study.spec.budget.wall
        return float("inf") if wall is None else wall - (time.perf_counter() - self.began)

    def _follow(self, one: Series) -> Path | None:
        """Run a series to its end, or to the end of the session; None if nothing of it is computed yet."""
        path = self._committed(one)
        observe = self.study.spec.observed
        interval, steps = self.commit_every, -1
        while self._ended() is None:
            budget = min(interval, self._left())
            path = advance(self.problem, self.starts[one.member], one, observe, path, budget, self._report)
            lap = time.perf_counter()
            self.writer.commit(one.name, path)
            committing = time.perf_counter() - lap
            if not path.outcome.resumable:
                return path
            # Slices must be long against what starting and committing one costs.
            stuck = path.stats.accepted == steps
            interval = max(interval * (2 if stuck else 1), 10 * committing)
            steps = path.stats.accepted
        if self.stop.requested and path is not None and path.outcome is not Outcome.INTERRUPTED:
            reason = f"interrupted at t = {path.ts[-1]:.6g}" if len(path.ts) else "interrupted at the start"
            path = dataclasses.replace(path, outcome=Outcome.INTERRUPTED, reason=reason)
            self.writer.commit(one.name, path)
        return path

    def _committed(self, one: Series) -> Path | None:
        if self.writer.manifest.series[one.name] is None:
            return None
        compare = None if one.name.endswith("/path") else int(one.name.rpartition("/")[2])
        path = Run(self.writer.directory).path(one.member, compare)
        if path.state is None:
            raise DamagedChunkError(
                f"{self.writer.directory}: the state of {one.name} is missing or damaged: "
                "`thetadot run … --repair` computes this series again"
            )
        return path

    def _report(self, fraction: float | None, text: str) -> None:
        self.progress.advance(fraction, text)
        if self.stop.requested:
            raise KeyboardInterrupt

    def _forget_damaged(self) -> None:
        run = Run(self.writer.directory)
        for name in run.damaged_series():
            self.writer.restart(name)
