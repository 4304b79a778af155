"""A run: what is committed in its directory, as paths, labelled arrays and a table."""

import contextlib
import dataclasses
import functools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.dynamics.accuracy import Accuracy
from thetadot.dynamics.drive import polished_in
from thetadot.dynamics.path import Path
from thetadot.dynamics.snapshot import Snapshot
from thetadot.problems import Layout
from thetadot.problems.layout_json import layout_from_json
from thetadot.studies.arrays import checksum
from thetadot.studies.errors import DamagedChunkError, DamagedRowsWarning, StoreError
from thetadot.studies.lens_records import MEANINGS, texts
from thetadot.studies.lock import owner
from thetadot.studies.manifest import MANIFEST_FILE, Manifest, SeriesRecord, read_manifest
from thetadot.studies.records import COORDINATES, rebuild, unpack_state
from thetadot.studies.view import DATA, CommittedStore, chunk_file, damage, damages

if TYPE_CHECKING:
    import xarray

    from thetadot.studies.lens_reading import LensSummary
    from thetadot.studies.study import Study


@dataclasses.dataclass(frozen=True)
class MemberSummary:
    """One line of a run's table: a member under one rule.

    Attributes:
        member: number of the member.
        compare: number of the comparison rule; None for the study's main rule.
        rule: what moved it, in words.
        outcome, reason: how it ended (or stands); None before its first commit.
        time, loss, grad_norm: of the last committed row.
        accuracy: why one may believe it.
        gradients, seconds: what it cost.
    """

    member: int
    compare: int | None
    rule: str
    outcome: str | None
    reason: str
    time: float
    loss: float
    grad_norm: float
    accuracy: Accuracy | None
    gradients: int
    seconds: float


class Run:
    """A run directory, read-only. It shows the last commit at the time it is opened; `refresh` looks again.

    Example:
        >>> run = open_run("runs/quickstart")            # doctest: +SKIP
        >>> run.status, len(run.members)                 # doctest: +SKIP
        ('done', 4)
        >>> run.path(0)                                  # doctest: +SKIP
        Path: flow of mlp 64-32-10 tanh, …
    """

    def __init__(self, directory: str | FilePath):
        self.directory = FilePath(directory)
        self.manifest: Manifest = read_manifest(self.directory)

    def refresh(self) -> "Run":
        """The run as it is committed now."""
        return Run(self.directory)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.manifest.name

    @property
    def members(self) -> range:
        """Numbers of the members."""
        return range(self.manifest.members)

    @property
    def compared(self) -> range:
        """Numbers of the comparison rules."""
        return range(sum(1 for name in self.manifest.series if name.startswith("0/compare/")))

    @property
    def status(self) -> str:
        """ "done", "running" (a living process writes), "resumable" or "failed"."""
        if owner(self.directory) is not None:
            return "running"
        records = [self.manifest.series[_series(member, None)] for member in self.members]
        if self.manifest.error is not None or all(r is not None and r.outcome.failed for r in records):
            return "failed"
        return "done" if self.manifest.finished else "resumable"

    @functools.cached_property
    def study(self) -> "Study":
        """The resolved study that ran."""
        from thetadot.studies.study import Study

        return Study.load(self.directory / "study.yaml")

    def path(self, member: int = 0, compare: int | None = None, *, skip_damaged: bool = False) -> Path:
        """The path of a member as it was returned by `flow` or `descend`, to the bit (without dense output).

        Arguments:
            member: number of the member.
            compare: number of a comparison rule; None for the main rule.
            skip_damaged: leave out rows whose chunk is damaged, with a `DamagedRowsWarning`, instead of
                raising.

        Raises:
            StoreError: there is no such series, or nothing of it is committed yet.
            DamagedChunkError: a committed chunk changed since it was written; it is named.
        """
        name, record = self._record(member, compare)
        values = self._read(name, record, skip_damaged)
        state = self._state(record)
        facts = {
            "outcome": record.outcome,
            "reason": record.reason,
            "degenerate": record.degenerate,
            "accuracy": record.accuracy,
            "stats": record.stats,
            "state": state,
            "polished": None if state is None else polished_in(state),
            "info": record.info,
            "layout": self.layout,
        }
        return rebuild(values, record.labels, facts)

    def paths(self, compare: int | None = None) -> list[Path]:
        """The committed paths of all members, in order, under the main rule or a comparison rule."""
        return [
            self.path(member, compare)
            for member in self.members
            if self.manifest.series.get(_series(member, compare)) is not None
        ]

    @functools.cached_property
    def layout(self) -> Layout | None:
        """Names of the slices of θ."""
        document = json.loads((self.directory / DATA / "zarr.json").read_bytes())
        described = document.get("attributes", {}).get("layout")
        return None if described is None else layout_from_json(described)

    @functools.cached_property
    def tree(self) -> "xarray.DataTree":
        """All committed arrays, lazily, as an `xarray.DataTree`: groups `{member}/path`, `{member}/compare/{k}`,
        `{member}/lenses/{lens}`, `{member}/lenses/compare/{k}/{lens}`."""
        import xarray
        from zarr.storage import LocalStore

        files = LocalStore(self.directory / DATA, read_only=True)
        store: Any = CommittedStore(files, self.directory, self.manifest)
        tree = xarray.open_datatree(store, engine="zarr", consolidated=False)
        return tree.map_over_datasets(_with_texts)  # pyright: ignore[reportReturnType]

    def damaged_series(self) -> list[str]:
        """Names of the series and lenses with damaged chunks, and of series without the state that going on with
        them needs."""
        return [
            name
            for name, record in self.manifest.committed.items()
            if damages(self.directory, self.manifest, name)
            or (isinstance(record, SeriesRecord) and not record.finished and self._state(record) is None)
        ]

    def damages(self) -> list[str]:
        """Every committed chunk that is missing or changed, named; empty if the run is sound."""
        return [
            wrong
            for name in self.manifest.committed
            for wrong in damages(self.directory, self.manifest, name)
        ]

    def lens(self, member: int, name: str, compare: int | None = None) -> "xarray.Dataset":
        """What a lens found on a path, as its `to_xarray()` gave it.

        Arguments:
            member: number of the member.
            name: of the lens, as in the study file.
            compare: number of a comparison rule; None for the main rule.

        Raises:
            StoreError: the study has no such lens on this path, or it has no result; the message says why.
            DamagedChunkError: a committed chunk changed since it was written; it is named.
        """
        from thetadot.studies.lens_reading import read_lens

        return read_lens(self, member, name, compare)

    def lenses(self) -> "list[LensSummary]":
        """One line per lens and path: its summary, or why there is none."""
        from thetadot.studies.lens_reading import lens_table

        return lens_table(self)

    def table(self) -> list[MemberSummary]:
        """One line per member and rule: outcome, loss, gradient norm, accuracy, cost."""
        return [self._line(name, record) for name, record in self.manifest.series.items()]

    def _line(self, name: str, record: SeriesRecord | None) -> MemberSummary:
        member, _, rest = name.partition("/")
        compare = None if rest == "path" else int(rest.rpartition("/")[2])
        if record is None:
            nan = float("nan")
            return MemberSummary(int(member), compare, "", None, "not begun", nan, nan, nan, None, 0, 0.0)
        last = {key: self._last(name, record, key) for key in ("time", "loss", "grad_norm")}
        return MemberSummary(
            member=int(member),
            compare=compare,
            rule=str(record.info.get("method", "")),
            outcome=record.outcome.name,
            reason=record.reason or record.outcome.value,
            accuracy=record.accuracy,
            gradients=record.stats.gradients,
            seconds=record.stats.seconds,
            **last,
        )

    def _last(self, name: str, record: SeriesRecord, key: str) -> float:
        columns = record.arrays[key]
        if not columns.rows:
            return float("nan")
        index = len(columns.checksums) - 1
        with contextlib.suppress(OSError):
            file = chunk_file(self.directory, self.manifest, f"{name}/{key}/{columns.chunk_key(index)}")
            rows = columns.decode(file.read_bytes(), index)
            if rows is not None:
                return float(rows[-1])
        return float("nan")

    def _record(self, member: int, compare: int | None) -> tuple[str, SeriesRecord]:
        name = _series(member, compare)
        if name not in self.manifest.series:
            rules = (
                f", comparison rules 0 … {len(self.compared) - 1}"
                if self.compared
                else ", no comparison rules"
            )
            which = f"member {member}" + ("" if compare is None else f", comparison rule {compare}")
            raise StoreError(
                f"{self.directory} has no {which}: it has members 0 … {self.manifest.members - 1}{rules}"
            )
        record = self.manifest.series[name]
        if record is None:
            raise StoreError(f"{self.directory}: nothing of {name} is committed yet; status {self.status}")
        return name, record

    def _read(self, name: str, record: SeriesRecord, skip_damaged: bool) -> dict[str, np.ndarray]:
        blocks: dict[str, list[np.ndarray | None]] = {}
        dropped = set()
        for array, columns in record.arrays.items():
            blocks[array] = []
            for index in range(len(columns.checksums)):
                wrong = damage(self.directory, self.manifest, f"{name}/{array}", columns, index)
                if wrong and not skip_damaged:
                    raise DamagedChunkError(
                        f"{wrong}: the rest is readable with run.path(…, skip_damaged=True); "
                        "`thetadot run … --repair` computes this series again"
                    )
                if wrong:
                    warnings.warn(f"{wrong}; its rows are left out", DamagedRowsWarning, stacklevel=3)
                    axis = "event" if array.startswith("event_") else "save"
                    first = index * columns.chunk_rows
                    dropped |= {
                        (axis, row) for row in range(first, first + columns.chunk_rows_committed(index))
                    }
                    shape = (columns.chunk_rows_committed(index), *columns.tail)
                    blocks[array].append(np.zeros(shape, columns.dtype))
                    continue
                file = chunk_file(self.directory, self.manifest, f"{name}/{array}/{columns.chunk_key(index)}")
                blocks[array].append(columns.decode(file.read_bytes(), index))
        values = {
            array: np.concatenate([columns.empty(), *(block for block in blocks[array] if block is not None)])
            for array, columns in record.arrays.items()
        }
        for axis in {axis for axis, _ in dropped}:
            for array in values:
                if array.startswith("event_") == (axis == "event") and array not in ("layer", "role"):
                    keep = [row for row in range(len(values[array])) if (axis, row) not in dropped]
                    values[array] = values[array][keep]
        return values

    def _state(self, record: SeriesRecord) -> Snapshot | None:
        """The state, if its files are what was committed; a live writer may have replaced them since."""
        if record.state is None:
            return None
        stem, *expected = record.state
        try:
            files = [self.directory / "state" / f"{stem}{ending}" for ending in (".npz", ".json")]
            arrays, document = (file.read_bytes() for file in files)
        except OSError:
            return None
        return unpack_state(arrays, document) if [checksum(arrays), checksum(document)] == expected else None

    def __repr__(self) -> str:
        lines = [f"Run: {self.name}, {self.status}, in {self.directory}"]
        for line in self.table():
            rule = "" if line.compare is None else f", comparison {line.compare}"
            accuracy = "" if line.accuracy is None else f"; {line.accuracy}"
            loss = "" if np.isnan(line.loss) else f", loss {line.loss:.3e} at t = {line.time:.3g}"
            lines.append(f"  member {line.member}{rule}: {line.outcome or 'not begun'}{loss}{accuracy}")
        lines += [f"  {found}" for found in self.lenses()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from thetadot.studies.summary import as_html

        return as_html(self)


def open_run(directory: str | FilePath) -> Run:
    """Open a run directory (or its manifest.json) for reading, whether or not it is still being written.

    Raises:
        NotARunError: it is not a run directory.
    """
    place = FilePath(directory)
    return Run(place.parent if place.name == MANIFEST_FILE else place)


def _series(member: int, compare: int | None) -> str:
    return f"{member}/path" if compare is None else f"{member}/compare/{compare}"


def _with_texts(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """Texts in place of codes, and coordinates marked as such (Zarr v3 has no type for texts)."""
    coded = {name: dataset[name] for name in dataset.variables if MEANINGS in dataset[name].attrs}
    spelt: Mapping[Any, Any] = {
        name: (item.dims, texts(item.attrs[MEANINGS], item.values)) for name, item in coded.items()
    }
    named = [name for name in COORDINATES if name in dataset and "series" in dataset.attrs]
    coordinates = {name: spelt[name] for name in spelt if name in dataset.coords or name in named}
    variables = {name: spelt[name] for name in spelt if name not in coordinates}
    return dataset.assign(variables).assign_coords(coordinates).set_coords(named)
