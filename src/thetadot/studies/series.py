"""One member under one rule, and how it is followed in slices with a commit after each."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path
from thetadot.problems import Problem
from thetadot.studies import build
from thetadot.studies.errors import DamagedChunkError
from thetadot.studies.run import Run
from thetadot.studies.schema import StudySpec


@dataclasses.dataclass(frozen=True)
class Series:
    """One member under one rule.

    Attributes:
        name: group in the store: "0/path", "0/compare/1".
        member: number of the member in the run.
        rule: the rule's part of the study.
        draw: number of the member in the study, which decides its random numbers; another than `member` if the run
            has only one of the study's members.
    """

    name: str
    member: int
    rule: Any
    draw: int

    @property
    def title(self) -> str:
        """How progress calls it."""
        return f"member {self.draw}, {self.rule.kind.replace('_', ' ')}"


def all_series(spec: StudySpec, members: int) -> list[Series]:
    """The series of a study in the order in which they run: per member the main rule, then the
    comparisons."""
    first = spec.init.only or 0
    return [
        Series(
            f"{member}/path" if index is None else f"{member}/compare/{index}", member, rule, first + member
        )
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
    made = build.make_rule(rule, series.draw)
    return dynamics.descend(problem, theta0, made, rule.steps, **ends, **shared)


@runtime_checkable
class Session(Protocol):
    """What a series asks while it is followed: when to stop, and where to leave its path."""

    def ended(self) -> str | None:
        """Why the session must end ("interrupted", "budget"), if it must."""

    def left(self) -> float:
        """Seconds that are left of the budget."""
        ...

    def commit(self, series: str, path: Path) -> None:
        """Commit a path."""

    def report(self, fraction: float | None, text: str) -> None:
        """How far the series is; raises `KeyboardInterrupt` to stop it between two chunks."""


def follow(
    problem: Problem,
    theta0: np.ndarray,
    series: Series,
    observe: dict[str, str],
    path: Path | None,
    commit_every: float,
    session: Session,
) -> Path | None:
    """Go on with a series to its end, or to the end of the session; None if nothing of it is computed yet.

    One slice is computed and committed even if the budget is spent already: sessions of any budget come to an end.
    """
    interval, steps, begun = commit_every, -1, False
    while session.ended() != "interrupted" and not (begun and session.ended()):
        begun = True
        budget = max(min(interval, session.left()), 1e-3)
        path = advance(problem, theta0, series, observe, path, budget, session.report)
        lap = time.perf_counter()
        session.commit(series.name, path)
        committing = time.perf_counter() - lap
        if not path.outcome.resumable:
            return path
        # Slices must be long against what starting and committing one costs.
        stuck = path.stats.accepted == steps
        interval = max(interval * (2 if stuck else 1), 10 * committing)
        steps = path.stats.accepted
    if session.ended() == "interrupted" and path is not None and path.outcome is not Outcome.INTERRUPTED:
        reason = f"interrupted at t = {path.ts[-1]:.6g}" if len(path.ts) else "interrupted at the start"
        path = dataclasses.replace(path, outcome=Outcome.INTERRUPTED, reason=reason)
        session.commit(series.name, path)
    return path


def committed(directory: FilePath, series: Series) -> Path | None:
    """The committed path of a series, with the state from which it goes on; None before its first commit.

    Raises:
        DamagedChunkError: it cannot be gone on with.
    """
    run = Run(directory)
    if run.manifest.series[series.name] is None:
        return None
    compare = None if series.name.endswith("/path") else int(series.name.rpartition("/")[2])
    path = run.path(series.member, compare)
    if path.state is None:
        raise DamagedChunkError(
            f"{directory}: the state of {series.name} is missing or damaged: "
            "`thetadot run … --repair` computes this series again"
        )
    return path
