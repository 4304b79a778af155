"""Looking at finished paths through lenses: which lens on which path, and what becomes of what it raises."""

import dataclasses
import time
import traceback
import warnings
from pathlib import Path as FilePath

from thetadot.errors import ThetadotError, ThetadotWarning
from thetadot.problems import Problem
from thetadot.studies import build
from thetadot.studies.arrays import Column
from thetadot.studies.lens_records import DONE, FAILED, NOT_APPLICABLE, LensRecord, with_dataset
from thetadot.studies.lenses import RESERVED, find_lens
from thetadot.studies.run import Run
from thetadot.studies.schema import StudySpec
from thetadot.studies.series import Series


@dataclasses.dataclass(frozen=True)
class LensTask:
    """One lens on the path of one series.

    Attributes:
        name: group in the store: "0/lenses/stability", "0/lenses/compare/1/stability".
        lens: name of the lens.
        series: whose path it looks at.
    """

    name: str
    lens: str
    series: Series

    @property
    def title(self) -> str:
        """How progress calls it."""
        return f"{self.series.title}: lens {self.lens}"


def lens_tasks(spec: StudySpec, series: list[Series]) -> list[LensTask]:
    """What the lenses of a study look at: the main path of every member, and the comparisons that each wants."""
    tasks = []
    for one in series:
        below = one.name.partition("/")[2]
        for lens in spec.lenses:
            if below == "path":
                tasks.append(LensTask(f"{one.member}/lenses/{lens}", lens, one))
            elif one.rule.kind in find_lens(lens).compared:
                number = below.rpartition("/")[2]
                tasks.append(LensTask(f"{one.member}/lenses/{RESERVED}/{number}/{lens}", lens, one))
    return tasks


@dataclasses.dataclass(frozen=True)
class Looked:
    """What a lens found on a path: its record, its arrays, and the traceback of an error that it did not foresee."""

    record: LensRecord
    columns: dict[str, Column]
    trace: str = ""


def look(problem: Problem, directory: FilePath, task: LensTask, spec: StudySpec) -> Looked:
    """Run a lens on a committed path.

    A `ThetadotError` of the lens says that it does not apply; any other error is recorded as its failure.

    Raises:
        DamagedChunkError: the path cannot be read.
    """
    rule = task.series.rule
    compare = None if task.series.name.endswith("/path") else int(task.series.name.rpartition("/")[2])
    path = Run(directory).path(task.series.member, compare)
    lens = find_lens(task.lens)
    options = lens.options.model_validate(spec.lenses[task.lens])
    made = None if rule.kind == "flow" else build.make_rule(rule, task.series.draw)
    began = time.perf_counter()

    def record(status: str, reason: str, caught: list[warnings.WarningMessage]) -> LensRecord:
        ours = [str(item.message) for item in caught if issubclass(item.category, ThetadotWarning)]
        notes = tuple(dict.fromkeys(_one_line(text) for text in ours))
        return LensRecord(status, _one_line(reason), notes=notes, seconds=time.perf_counter() - began)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ThetadotWarning)
        try:
            result = lens(problem, path, options, made)
            dataset, summary = result.to_xarray(), _one_line(result.summary())
            whole, columns = with_dataset(record(DONE, "", caught), dataset)
            looked = Looked(dataclasses.replace(whole, summary=summary), columns)
        except ThetadotError as error:
            looked = Looked(record(NOT_APPLICABLE, str(error), caught), {})
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            looked = Looked(record(FAILED, reason[:300], caught), {}, traceback.format_exc())
    for item in caught:
        if not issubclass(item.category, ThetadotWarning):
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    return looked


def _one_line(text: str) -> str:
    return " ".join(text.split())
