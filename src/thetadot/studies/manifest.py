"""The manifest: what of a run is committed. Its atomic replacement is the commit."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.outcome import Outcome
from thetadot.studies.arrays import ArrayRecord
from thetadot.studies.durable import replace_file, sync_directory
from thetadot.studies.errors import NotARunError
from thetadot.studies.lens_records import LensRecord, lens_record

MANIFEST_FILE = "manifest.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class SeriesRecord:
    """What is committed of one series: the main rule of a member ("0/path") or a comparison ("0/compare/1").

    Attributes:
        commits: how often the series was committed; numbers its state files.
        arrays: {name: record}.
        labels: names and kinds of events, by the codes that the arrays hold.
        state: stem of the state files below state/, with the checksums of the .npz and of the .json.
        info: what was run, in words (`Path.info`).
    """

    commits: int
    outcome: Outcome
    reason: str
    degenerate: bool
    accuracy: Accuracy
    stats: Stats
    info: Mapping[str, Any]
    arrays: Mapping[str, ArrayRecord]
    labels: Mapping[str, tuple[str, ...]]
    state: tuple[str, str, str] | None

    @property
    def finished(self) -> bool:
        """Whether the series reached its end (good or bad) and is not to be gone on with."""
        return not self.outcome.resumable


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The state of a run.

    Attributes:
        run: run id, the hash of configuration, input files and package version.
        configuration: hash of the configuration and the input files alone.
        package, numerics: version of thetadot, and of what decides the bits of its numbers.
        versions: the other packages that computed the numbers.
        series: {name: record}; all series of the study are named, None until their first commit.
        pending: {key below data.zarr: file below state/} for chunks whose committed rows were replaced: they
            move into place after the commit.
        executor: how the members were computed, since that may decide the last bits.
        lenses: {name: record} of what the lenses found; all that the study asks for are named, None until then.
        error: message of the error that ended the last session, None if there was none.
    """

    run: str
    name: str
    configuration: str
    package: str
    numerics: str
    versions: Mapping[str, str]
    created: str
    members: int
    series: Mapping[str, SeriesRecord | None]
    pending: Mapping[str, str] = dataclasses.field(default_factory=dict)
    executor: str = ""
    lenses: Mapping[str, LensRecord | None] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether every series reached its end, and every lens was run."""
        records = (*self.series.values(), *self.lenses.values())
        return all(record is not None and record.finished for record in records)

    @property
    def committed(self) -> dict[str, SeriesRecord | LensRecord]:
        """{group in the store: record} of all series and lenses of which something is committed."""
        return {name: one for name, one in {**self.series, **self.lenses}.items() if one is not None}

    def with_series(self, name: str, record: SeriesRecord | None, pending: Mapping[str, str] | None = None):
        """The manifest after a commit of one series."""
        return dataclasses.replace(self, series={**self.series, name: record}, pending=pending or {})

    def with_lens(self, name: str, record: LensRecord | None) -> "Manifest":
        """The manifest after a lens was run."""
        return dataclasses.replace(self, lenses={**self.lenses, name: record})


def plain(value: Any) -> Any:
    """A value as strict JSON takes it; numbers that are not finite become "nan", "inf", "-inf"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, Outcome):
        return value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest atomically: the commit."""
    document = {"format": FORMAT, **plain(manifest)}
    replace_file(directory / MANIFEST_FILE, json.dumps(document, indent=1, ensure_ascii=False).encode())
    sync_directory(directory)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a run directory.

    Raises:
        NotARunError: there is none, or it cannot be understood.
    """
    file = directory / MANIFEST_FILE
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        what = "has no manifest.json" if directory.is_dir() else "does not exist"
        raise NotARunError(f"{directory} {what}: expected a directory that `thetadot run` wrote") from None
    except (OSError, ValueError) as error:
        raise NotARunError(f"{file} cannot be read ({error}): restore it from a copy") from None
    written = document.get("format") if isinstance(document, dict) else None
    if not isinstance(written, int) or written > FORMAT:
        raise NotARunError(
            f"{file} has format {written!r}; this version of thetadot reads formats up to {FORMAT}: "
            "open it with the version that wrote it, or a newer one"
        )
    try:
        return _manifest(document)
    except (KeyError, TypeError, ValueError) as error:
        raise NotARunError(f"{file} is incomplete ({error!r}): restore it from a copy") from None


def _manifest(document: Mapping[str, Any]) -> Manifest:
    fields = {field.name for field in dataclasses.fields(Manifest)}
    values = {key: value for key, value in document.items() if key in fields}
    values["series"] = {
        name: None if record is None else _series(record) for name, record in document["series"].items()
    }
    values["lenses"] = {
        name: None if record is None else lens_record(record)
        for name, record in document.get("lenses", {}).items()
    }
    return Manifest(**values)


def _series(record: Mapping[str, Any]) -> SeriesRecord:
    accuracy, stats = dict(record["accuracy"]), dict(record["stats"])
    for name in ("target", "global_error", "energy_defect", "rtol"):
        accuracy[name] = None if accuracy[name] is None else float(accuracy[name])
    stats["seconds"] = float(stats["seconds"])
    stats["solvers"] = tuple((float(time), name) for time, name in stats["solvers"])
    arrays = {name: ArrayRecord.from_document(item) for name, item in record["arrays"].items()}
    return SeriesRecord(
        commits=record["commits"],
        outcome=Outcome[record["outcome"]],
        reason=record["reason"],
        degenerate=record["degenerate"],
        accuracy=Accuracy(**accuracy),
        stats=Stats(**stats),
        info=record["info"],
        arrays=arrays,
        labels={key: tuple(names) for key, names in record["labels"].items()},
        state=None if record["state"] is None else tuple(record["state"]),
    )
