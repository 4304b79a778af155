"""What a sweep consists of: one task for each combination of swept values and each member."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import thetadot
from thetadot.studies import build, identity
from thetadot.studies.durable import replace_file
from thetadot.studies.errors import NotARunError, StudyError
from thetadot.studies.explain import validated
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import Origin, override
from thetadot.studies.study import Study

SWEEP_FILE, RUNS = "sweep.json", "runs"
FORMAT = 1
_POINT, _MEMBER = "point", "member"
_KEPT = ("name", "description", "takes", "budget")


@dataclasses.dataclass(frozen=True)
class Task:
    """One member at one point of the grid: one run.

    Attributes:
        cell: its place along each dimension of the plan, the member last.
        name: of its directory below runs/: the hash of its configuration, so that a sweep which is widened finds
            what it has.
    """

    cell: tuple[int, ...]
    name: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The tasks of a sweep.

    Attributes:
        name: of the study.
        base: hash of what all tasks share; a directory holds sweeps of one base.
        keys: {swept key: its values}.
        dims: {dimension: its length}: one for each key, or "point" for keys that go together; then "member".
        tasks: in the order in which they run.
    """

    name: str
    base: str
    keys: Mapping[str, tuple[Any, ...]]
    dims: Mapping[str, int]
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def together(self) -> bool:
        """Whether the keys go together (`zip`)."""
        return _POINT in self.dims

    def values(self, task: Task) -> dict[str, Any]:
        """{swept key: its value in a task}."""
        places = itertools.repeat(task.cell[0]) if self.together else task.cell
        return {key: values[place] for (key, values), place in zip(self.keys.items(), places, strict=False)}

    def title(self, task: Task) -> str:
        """How progress calls a task."""
        told = [f"{key} = {short(value)}" for key, value in self.values(task).items()]
        return ", ".join([*told, f"member {task.cell[-1]}"])


def short(value: Any) -> str:
    """A swept value in a few characters."""
    text = (
        f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )
    return text if len(text) <= 40 else f"{text[:39]}…"


def make_plan(study: Study) -> Plan:
    """The tasks of a study, all of them validated.

    Raises:
        StudyError: one line that names a key; nothing was written.
    """
    spec, origin = study.spec, study.origin
    keys = {key: tuple(values) for key, values in (spec.sweep or spec.zip or {}).items()}
    _check_keys(spec, keys, origin)
    base = _base(spec)
    cells = _cells(keys, bool(spec.zip))
    _trace(study, base, keys)
    tasks, most = [], 0
    for cell in cells:
        point = _point(base, origin, keys, cell, bool(spec.zip))
        count = _members(point, origin)
        most = max(most, count)
        tasks += [
            Task((*cell, member), identity.configuration_hash(_only(point, member, count), origin)[:20])
            for member in range(count)
        ]
    sizes = {key: len(values) for key, values in keys.items()}
    dims = {_POINT: len(cells)} if spec.zip else sizes
    shared = {**identity.configuration(base), "swept": sorted(keys)}
    shared["init"] = {key: value for key, value in shared["init"].items() if key != "members"}
    for key in (*keys, *_KEPT[1:]):
        _drop(shared, key.split("."))
    digest = hashlib.sha256(identity.canonical(shared).encode()).hexdigest()
    return Plan(spec.name, digest, keys, {**dims, _MEMBER: most}, tuple(tasks))


class Studies:
    """The studies of a plan's tasks, one after another: points are validated once as long as tasks come in order."""

    def __init__(self, study: Study, plan: Plan):
        self._study, self._plan = study, plan
        self._at: tuple[tuple[int, ...], StudySpec, int] | None = None

    def of(self, task: Task) -> Study:
        """The study of one task."""
        cell, origin = task.cell[:-1], self._study.origin
        if self._at is None or self._at[0] != cell:
            point = _point(_base(self._study.spec), origin, self._plan.keys, cell, self._plan.together)
            self._at = cell, point, _members(point, origin)
        return Study.of(_only(self._at[1], task.cell[-1], self._at[2]), origin)


def write_plan(directory: FilePath, plan: Plan) -> None:
    """Write sweep.json, atomically."""
    document = {
        "format": FORMAT, "thetadot": thetadot.__version__, "name": plan.name, "base": plan.base,
        "keys": {key: list(values) for key, values in plan.keys.items()}, "dims": dict(plan.dims),
        "tasks": [[*task.cell, task.name] for task in plan.tasks],
    }  # fmt: skip
    replace_file(directory / SWEEP_FILE, json.dumps(document, ensure_ascii=False).encode())


def read_plan(directory: FilePath) -> Plan:
    """The plan of a sweep's directory.

    Raises:
        NotARunError: there is none, or it cannot be understood.
    """
    file = directory / SWEEP_FILE
    try:
        document = json.loads(file.read_bytes())
        if document["format"] != FORMAT:
            raise NotARunError(
                f"{file} has format {document['format']!r}, this version of thetadot reads {FORMAT}: "
                "open it with the version that wrote it, or a newer one"
            )
        return Plan(
            document["name"], document["base"], {key: tuple(values) for key, values in document["keys"].items()},
            document["dims"], tuple(Task(tuple(cell), name) for *cell, name in document["tasks"]),
        )  # fmt: skip
    except FileNotFoundError:
        raise NotARunError(
            f"{directory} has no {SWEEP_FILE}: expected a directory that `thetadot sweep` wrote"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, NotARunError):
            raise
        raise NotARunError(
            f"{file} cannot be read ({error}): `thetadot sweep` of the same study restores it"
        ) from None


def _base(spec: StudySpec) -> StudySpec:
    return spec.model_copy(update={"sweep": None, "zip": None})


def _check_keys(spec: StudySpec, keys: Mapping[str, tuple[Any, ...]], origin: Origin) -> None:
    way = "zip" if spec.zip else "sweep"
    for key, values in keys.items():
        if key.partition(".")[0] in (*_KEPT, "sweep", "zip") or key == "init.only":
            raise origin.error((way, key), f"{key} does not change what is computed: remove it")
        texts = [identity.canonical(value) for value in values]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None and not spec.zip:
            raise origin.error((way, key), f"{twice} is given twice: remove one")
    points = list(zip(*keys.values(), strict=True)) if spec.zip else []
    told = [identity.canonical(list(point)) for point in points]
    if len(set(told)) < len(told):
        raise origin.error(
            (way,), f"the point {next(one for one in told if told.count(one) > 1)} is given twice"
        )


def _cells(keys: Mapping[str, tuple[Any, ...]], together: bool) -> list[tuple[int, ...]]:
    lengths = [len(values) for values in keys.values()]
    if together:
        return [(place,) for place in range(lengths[0])]
    return list(itertools.product(*map(range, lengths)))


def _point(
    base: StudySpec,
    origin: Origin,
    keys: Mapping[str, tuple[Any, ...]],
    cell: tuple[int, ...],
    together: bool,
) -> StudySpec:
    """The study at one point of the grid."""
    places = cell * len(keys) if together else cell
    settings = [
        f"{key}={json.dumps(values[place])}"
        for (key, values), place in zip(keys.items(), places, strict=True)
    ]
    if not settings:
        return base
    try:
        data, there = override(identity.configuration(base), Origin("", origin.directory), settings)
        return validated(data, there)
    except StudyError as error:
        told = str(error).removeprefix(": ")
        raise StudyError(f"{origin.name}: with {', '.join(settings)}: {told}") from None


def _members(spec: StudySpec, origin: Origin) -> int:
    if spec.init.only is not None:
        return 1
    if spec.init.amount is not None:
        return spec.init.amount
    problem = build.make_problem(spec, origin)
    return len(build.starts(spec, problem, origin))


def _only(spec: StudySpec, member: int, count: int) -> StudySpec:
    """The study of one member alone; its hash does not depend on how many others there are."""
    if count == 1:
        return spec
    change: dict[str, Any] = {"only": member}
    if "members" in spec.init.model_fields_set:
        change["members"] = member + 1
    return spec.model_copy(update={"init": spec.init.model_copy(update=change)})


def _trace(study: Study, base: StudySpec, keys: Mapping[str, tuple[Any, ...]]) -> None:
    """A dry trace of the problem at every swept value, the other keys at their first: shapes are checked before
    anything is written."""
    lengths = [len(values) for values in keys.values()]
    if study.spec.zip:
        cells = [(place,) for place in range(lengths[0])]
    else:
        first = (0,) * len(lengths)
        cells = list(
            dict.fromkeys(
                (*first[:at], place, *first[at + 1 :]) for at, n in enumerate(lengths) for place in range(n)
            )
        ) or [first]
    problems: dict[str, Any] = {}
    checked = set()
    for cell in cells:
        spec = _point(base, study.origin, keys, cell, bool(study.spec.zip))
        shape = identity.canonical(spec.problem.model_dump(mode="json"))
        whole = identity.canonical({**identity.configuration(spec), "init": None})
        if whole in checked:
            continue
        checked.add(whole)
        try:
            if shape not in problems:
                problems[shape] = build.make_problem(spec, study.origin)
            build.check_rules(spec, problems[shape], study.origin)
        except StudyError as error:
            values = [f"{key} = {short(all_[cell[0] if study.spec.zip else place])}"
                      for (key, all_), place in zip(keys.items(), cell * len(keys), strict=False)]  # fmt: skip
            raise StudyError(f"{error} (at {', '.join(values)})" if values else str(error)) from None


def _drop(data: Any, parts: list[str]) -> None:
    """Remove a dotted key, if it is there."""
    *parents, last = parts
    for part in parents:
        data = data.get(part) if isinstance(data, dict) else data[int(part)]
        if data is None:
            return
    if isinstance(data, dict):
        data.pop(last, None)
