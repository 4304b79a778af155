"""A sweep: the runs of its directory, and a table of them."""

import collections
import contextlib
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.studies.durable import replace_file
from thetadot.studies.errors import NotARunError, StoreError, WritingError
from thetadot.studies.lens_records import DONE as LENS_DONE
from thetadot.studies.lens_records import MEANINGS
from thetadot.studies.lock import owner
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.run import Run
from thetadot.studies.sweep_plan import RUNS, SWEEP_FILE, Plan, Task, read_plan, short
from thetadot.studies.view import chunk_file

if TYPE_CHECKING:
    import xarray

    from thetadot.studies.study import Study

FAILURES_FILE, ROWS_FILE = "failures.json", "rows.json"
NUMBERS = ("time", "loss", "grad_norm", "global_error", "energy_defect", "gradients", "seconds")
_UNITS = {
    "time": "units of the loss gradient", "seconds": "s", "gradients": "evaluations",
    "global_error": "relative, of θ", "energy_defect": "relative",
}  # fmt: skip
TEXTS = ("status", "outcome", "reason", "directory")


class Sweep:
    """The directory of a sweep, read-only.

    Attributes:
        directory: where it is.
        plan: its dimensions, keys and tasks.

    Example:
        >>> sweep = open_sweep("runs/scales")                       # doctest: +SKIP
        >>> sweep.table.loss.median("member")                       # doctest: +SKIP
        >>> sweep.run(int(sweep.table.loss.argmin()))               # doctest: +SKIP
    """

    def __init__(self, directory: str | FilePath):
        self.directory = FilePath(directory)
        self.plan: Plan = read_plan(self.directory)

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.plan.name

    @functools.cached_property
    def study(self) -> "Study":
        """The study that is swept."""
        from thetadot.studies.study import Study

        return Study.load(self.directory / "study.yaml")

    def place(self, task: Task) -> FilePath:
        """Run directory of a task."""
        return self.directory / RUNS / task.name

    def run(self, index: int) -> Run:
        """The run of a task.

        Arguments:
            index: its number, as in `table.run`.

        Raises:
            StoreError: there is no such task, or nothing of it is there yet.
        """
        if not -len(self) <= index < len(self):
            raise StoreError(f"{self.directory} has no run {index}: it has runs 0 … {len(self) - 1}")
        task = self.plan.tasks[index]
        try:
            return Run(self.place(task))
        except NotARunError:
            if self.place(task).exists() and (self.place(task) / MANIFEST_FILE).exists():
                raise
            raise StoreError(
                f"{self.directory}: run {index} ({self.plan.title(task)}) is not begun; "
                f"`thetadot sweep {self.directory}` goes on"
            ) from None

    @property
    def failures(self) -> dict[str, str]:
        """{task name: why it failed, in the last session}."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.directory / FAILURES_FILE).read_bytes()))
        return {}

    def states(self) -> list[str]:
        """State of every task: "done", "running", "stopped", "failed" or "waiting"."""
        return [row["status"] for row in self.rows()]

    @property
    def status(self) -> str:
        """ "done", "running" (a living process sweeps), "failed" (a task has) or "resumable"."""
        if owner(self.directory) is not None:
            return "running"
        states = set(self.states())
        return "done" if states == {"done"} else "failed" if "failed" in states else "resumable"

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per task: its numbers, texts, and "<lens>.<scalar>" for each scalar that a lens found.

        Runs that are done are read once: their rows are kept in rows.json, and there known by their manifest's
        size and time.
        """
        failures, kept = self.failures, self._kept
        found = []
        for task in self.plan.tasks:
            stamp = self._stamp(task)
            if stamp is not None and kept.get(task.name, [None])[0] == stamp:
                row = kept[task.name][1]
            else:
                row = self._row(task, failures)
                if row["status"] == "done":
                    kept[task.name] = [stamp, row]
            found.append(row)
        return found

    def keep_rows(self) -> None:
        """Write rows.json, so that the table of many runs opens at once."""
        self.rows()
        names = {task.name for task in self.plan.tasks}
        kept = {name: item for name, item in self._kept.items() if name in names}
        with contextlib.suppress(WritingError):
            replace_file(self.directory / ROWS_FILE, json.dumps(kept, ensure_ascii=False).encode())

    @property
    def table(self) -> "xarray.Dataset":
        """What the sweep found, over its dimensions.

        Returns:
            A Dataset with one dimension per swept key (or "point" for keys that go together, the keys then being
            coordinates over it) and "member". Variables: `run` (number for `Sweep.run`, −1 where a point has fewer
            members), `status`, `outcome`, `reason`, `directory`; `time`, `loss` and `grad_norm` of the last row,
            `global_error`, `energy_defect`, `gradients`, `seconds` of the main rule; "<lens>.<scalar>". Numbers that
            are not there are NaN.
        """
        import xarray

        dims, shape = list(self.plan.dims), tuple(self.plan.dims.values())
        rows = self.rows()
        numbers = {name: np.full(shape, np.nan) for name in NUMBERS}
        texts = {name: np.full(shape, "", dtype=object) for name in TEXTS}
        index = np.full(shape, -1)
        for number, (task, row) in enumerate(zip(self.plan.tasks, rows, strict=True)):
            index[task.cell] = number
            for name, value in row.items():
                if name in TEXTS:
                    texts[name][task.cell] = value
                    continue
                if name not in numbers:
                    numbers[name] = np.full(shape, np.nan)
                numbers[name][task.cell] = math.nan if value is None else value
        data: dict[str, Any] = {"run": (dims, index)}
        data |= {name: (dims, values.astype(str)) for name, values in texts.items()}
        data |= {
            name: (dims, values, {"units": _UNITS[name]} if name in _UNITS else {})
            for name, values in numbers.items()
        }
        coordinates: dict[str, Any] = {"member": np.arange(shape[-1])}
        for key, values in self.plan.keys.items():
            coordinates[key] = ("point" if self.plan.together else key, coordinate(values))
        attributes = {"name": self.name, "directory": str(self.directory), "status": self.status}
        return xarray.Dataset(data, coordinates, attributes)

    def summary(self) -> str:
        """How many tasks are in each state, in one line."""
        counts = collections.Counter(self.states())
        told = [f"{counts[state]} {state}" for state in ("done", "running", "stopped", "failed", "waiting")
                if counts[state]]  # fmt: skip
        return f"{self.name}: {len(self)} runs, {', '.join(told)}"

    def _row(self, task: Task, failures: Mapping[str, str]) -> dict[str, Any]:
        place = self.place(task)
        row: dict[str, Any] = {
            "status": "failed" if task.name in failures else "waiting", "outcome": "",
            "reason": failures.get(task.name, ""), "directory": f"{RUNS}/{task.name}",
        }  # fmt: skip
        if not (place / MANIFEST_FILE).exists():
            return row
        try:
            run = Run(place)
        except NotARunError as error:
            return {**row, "status": "failed", "reason": str(error)}
        if run.manifest.finished:
            row["status"], row["reason"] = "done", ""
        elif task.name not in failures:
            row["status"] = "running" if owner(place) is not None else "stopped"
        line = run.table()[0]
        told = line.accuracy
        if line.outcome is not None:
            row |= {
                "outcome": line.outcome, "reason": row["reason"] or line.reason, "gradients": line.gradients,
                "time": _finite(line.time), "loss": _finite(line.loss), "grad_norm": _finite(line.grad_norm),
                "seconds": line.seconds,
                "global_error": None if told is None else _finite(told.global_error),
                "energy_defect": None if told is None else _finite(told.energy_defect),
            }  # fmt: skip
        return row | _scalars(run)

    def _stamp(self, task: Task) -> list[int] | None:
        try:
            found = (self.place(task) / MANIFEST_FILE).stat()
        except OSError:
            return None
        return [found.st_mtime_ns, found.st_size]

    @functools.cached_property
    def _kept(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((self.directory / ROWS_FILE).read_bytes())
            if isinstance(kept, dict):
                return kept
        return {}

    def __repr__(self) -> str:
        keys = [f"  {key}: {', '.join(map(short, values[:8]))}{', …' if len(values) > 8 else ''}"
                for key, values in self.plan.keys.items()]  # fmt: skip
        return "\n".join([f"Sweep {self.summary()}, in {self.directory}", *keys])


def open_sweep(directory: str | FilePath) -> Sweep:
    """Open the directory of a sweep for reading, whether or not it is still running.

    Raises:
        NotARunError: it is not the directory of a sweep.
    """
    place = FilePath(directory)
    return Sweep(place.parent if place.name == SWEEP_FILE else place)


def is_sweep(directory: str | FilePath) -> bool:
    """Whether a directory is one of a sweep."""
    return (FilePath(directory) / SWEEP_FILE).exists() or FilePath(directory).name == SWEEP_FILE


def coordinate(values: tuple[Any, ...]) -> np.ndarray:
    """Swept values as a coordinate: numbers where all are, texts otherwise."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([value if isinstance(value, str) else json.dumps(value) for value in values])


def _scalars(run: Run) -> dict[str, float | None]:
    """{"<lens>.<scalar>": value} of what the lenses found on the main path."""
    found: dict[str, float | None] = {}
    for group, record in run.manifest.lenses.items():
        head, _, lens = group.rpartition("/")
        if record is None or record.status != LENS_DONE or head != "0/lenses":
            continue
        for name, variable in record.variables.items():
            array = variable.array
            if (
                not array.scalar
                or MEANINGS in variable.attributes
                or np.dtype(array.dtype).kind not in "biuf"
            ):
                continue
            file = chunk_file(run.directory, run.manifest, f"{group}/{name}/{array.chunk_key(0)}")
            with contextlib.suppress(OSError):
                value = array.decode(file.read_bytes(), 0)
                found[f"{lens}.{name}"] = None if value is None else _finite(float(value[0]))
        for name, value in record.attributes.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[f"{lens}.{name}"] = _finite(float(value))
    return found


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
