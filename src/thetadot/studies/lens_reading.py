"""What the lenses of a run found, read from its store."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.studies.errors import DamagedChunkError, StoreError
from thetadot.studies.lens_records import DONE, LensRecord, dataset_of
from thetadot.studies.lenses import RESERVED
from thetadot.studies.view import chunk_file, damages

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class LensSummary:
    """A lens on one path.

    Attributes:
        member: number of the member.
        compare: number of the comparison rule; None for the main rule.
        lens: its name.
        status: "done", "does not apply", "failed" or "not begun".
        summary: the result in one line, or why there is none.
        notes: warnings that it gave.
        seconds: what it cost.
    """

    member: int
    compare: int | None
    lens: str
    status: str
    summary: str
    notes: tuple[str, ...]
    seconds: float

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.status == DONE

    def __str__(self) -> str:
        rule = "" if self.compare is None else f", comparison {self.compare}"
        told = self.summary if self.done else f"{self.status}{': ' if self.summary else ''}{self.summary}"
        return f"{self.lens}, member {self.member}{rule}: {told}"


def lens_group(member: int, name: str, compare: int | None = None) -> str:
    """Group of a lens in the store."""
    return f"{member}/lenses/{name}" if compare is None else f"{member}/lenses/{RESERVED}/{compare}/{name}"


def lens_table(run: Any) -> list[LensSummary]:
    """One line per lens and path, in the order of members."""
    return [_line(group, record) for group, record in run.manifest.lenses.items()]


def _line(group: str, record: LensRecord | None) -> LensSummary:
    member, _, *between, lens = group.split("/")
    compare = int(between[1]) if between else None
    if record is None:
        return LensSummary(int(member), compare, lens, "not begun", "", (), 0.0)
    told = record.summary if record.status == DONE else record.reason
    return LensSummary(int(member), compare, lens, record.status, told, record.notes, record.seconds)


def read_lens(run: Any, member: int, name: str, compare: int | None = None) -> "xarray.Dataset":
    """What a lens found on a path; see `Run.lens`."""
    group, directory, manifest = lens_group(member, name, compare), run.directory, run.manifest
    if group not in manifest.lenses:
        there = ", ".join(dict.fromkeys(str(line).partition(":")[0] for line in lens_table(run))) or "none"
        rule = "" if compare is None else f", comparison {compare}"
        raise StoreError(f"{directory} has no lens {name} on member {member}{rule}: it has {there}")
    record = manifest.lenses[group]
    if record is None:
        raise StoreError(f"{directory}: lens {name} was not run yet on member {member}; status {run.status}")
    if record.status != DONE:
        raise StoreError(f"{directory}: lens {name} has no result on member {member}: {record.words}")
    wrong = damages(directory, manifest, group)
    if wrong:
        raise DamagedChunkError(
            f"{wrong[0]}: the rest is readable; `thetadot run … --repair` runs this lens again"
        )
    values = {}
    for array, columns in record.arrays.items():
        files = [
            chunk_file(directory, manifest, f"{group}/{array}/{columns.chunk_key(index)}")
            for index in range(len(columns.checksums))
        ]
        blocks = [columns.decode(file.read_bytes(), index) for index, file in enumerate(files)]
        values[array] = np.concatenate([columns.empty(), *(block for block in blocks if block is not None)])
    return dataset_of(record, values)
