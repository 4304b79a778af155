"""Many starts of one problem."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from thetadot.dynamics.executor import Executor, InProcess, Processes, available_cores
from thetadot.dynamics.flow import flow
from thetadot.dynamics.path import Path
from thetadot.dynamics.prepare import FlowArgumentError
from thetadot.problems import Problem

_WORTH_PROCESSES = 15.0  # seconds of work that outweigh starting interpreters and compiling in each
_SHORTEST_BUDGET = 1e-3


@dataclasses.dataclass(frozen=True)
class PathEnsemble:
    """Paths of all members, in the order of the starts.

    Attributes:
        paths: one `Path` a member; a member that diverged is there with its outcome.
        executor: how they were run. Members are separate runs of one compiled function; spread over processes they
            use one XLA thread each: the same bits whichever process has them, but the last bits may differ from a
            sequential run with several threads.
        seconds: wall-clock time.
    """

    paths: tuple[Path, ...]
    executor: str
    seconds: float

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, member: int) -> Path:
        return self.paths[member]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)

    def to_xarray(self) -> Any:
        """One `xarray.Dataset` with a dimension `member`; members with fewer rows are filled with NaN."""
        import xarray

        parts = [path.to_xarray() for path in self.paths]
        names = [{key: part.attrs[key] for key in ("outcome", "reason")} for part in parts]
        rows = max(part.sizes["save"] for part in parts)
        padded = [
            part.drop_attrs().reset_coords("time").pad(save=(0, rows - part.sizes["save"])) for part in parts
        ]
        joined = xarray.concat(padded, dim="member", join="override", coords="minimal", compat="override")
        joined["outcome"] = ("member", [name["outcome"] for name in names])
        joined["reason"] = ("member", [name["reason"] for name in names])
        return joined.assign_attrs(executor=self.executor)

    def __repr__(self) -> str:
        lines = [f"PathEnsemble of {len(self.paths)} members, {self.executor}, {self.seconds:.1f} s"]
        for number, path in enumerate(self.paths):
            lines.append(
                f"  {number:4d}  {path.outcome.name:13s}  loss {path.losses[-1]:.4g}  {path.accuracy}"
            )
        return "\n".join(lines)


def _member(
    problem: Problem, theta0: Any, keywords: dict[str, Any], deadline: float | None, before: Path | None
) -> Path:
    if deadline is not None:
        keywords = keywords | {"budget": max(deadline - time.time(), _SHORTEST_BUDGET)}
    return flow(problem, theta0, progress=False, resume=before, **keywords)


def flow_ensemble(
    problem: Problem,
    thetas0: Any,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    budget: float | None = None,
    progress: bool | Callable = True,
    resume: PathEnsemble | None = None,
    **keywords: Any,
) -> PathEnsemble:
    """Follow the flow from many starts.

    Arguments:
        problem: what is trained.
        thetas0 (R, P): starts, float64.
        workers: processes; 1 runs members one after another here; None decides after the first member: processes
            if what is left would take longer than starting them.
        executor: what runs the members, in place of `workers`; `DaskExecutor(client)` is a cluster.
        budget: wall-clock seconds for all members together; each comes back with what it has.
        progress: True, False, or a function (fraction, text).
        resume: an ensemble that an earlier call with the same arguments returned.
        keywords: as in `flow` (until, accuracy, saves, observe, certify, …).

    Returns:
        The ensemble, members in the order of thetas0.

    Example:
        >>> import jax.numpy as jnp, thetadot as td
        >>> bowl = td.FunctionRisk(lambda theta: 0.5 * jnp.sum(theta**2), jnp.ones(2))
        >>> paths = td.flow_ensemble(bowl, jnp.array([[1.0, 1.0], [2.0, 0.0]]), until=td.Until(time=1.0))
        >>> len(paths), paths[1].outcome.name
        (2, 'REACHED_TIME')
    """
    starts = np.asarray(thetas0)
    if starts.ndim != 2 or starts.shape[0] == 0 or starts.shape[1] != problem.size:
        raise FlowArgumentError(f"thetas0 has shape {starts.shape}: expected (members, {problem.size})")
    if workers is not None and not workers >= 1:
        raise FlowArgumentError(f"workers = {workers}: expected at least 1, or None")
    if workers is not None and executor is not None:
        raise FlowArgumentError("workers and executor are both given: give one of them")
    if resume is not None and len(resume) != len(starts):
        raise FlowArgumentError(
            f"resume has {len(resume)} members and thetas0 {len(starts)}: they must agree"
        )
    from thetadot.dynamics.clock import Clock

    clock = Clock(budget, progress, "ensemble")
    deadline = None if budget is None else time.time() + budget
    before = [None] * len(starts) if resume is None else list(resume.paths)
    work = [(problem, start, keywords, deadline, old) for start, old in zip(starts, before, strict=True)]
    paths: list[Path | None] = [None] * len(work)
    first = 0
    try:
        if workers is None and executor is None:
            # The first two run here: the first compiles, the second tells what a member costs.
            for first in range(min(2, len(work))):
                lap = time.perf_counter()
                paths[first] = _member(*work[first])
                cost = time.perf_counter() - lap
                clock.report((first + 1) / len(work), f"member {first + 1} of {len(work)}")
            first += 1
            cores = available_cores()
            worth = cost * (len(work) - first) > _WORTH_PROCESSES and cores > 1
            workers = cores if worth else 1
        executor = executor or (InProcess() if workers == 1 else Processes(workers or 1))
        done = first
        for index, path in executor.run(_member, work[first:]):
            paths[first + index] = path
            done += 1
            clock.report(done / len(work), f"{done} of {len(work)} members")
    finally:
        clock.close()
    return PathEnsemble(tuple(path for path in paths if path is not None), executor.name, clock.seconds)
