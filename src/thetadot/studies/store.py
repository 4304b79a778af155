"""Writing a run: commits that a crash at any instant cannot spoil.

A commit writes, in this order: chunks, array metadata, the solver's state (under a new name), the manifest.
Only the manifest's atomic replacement makes them count. Chunks to which rows are appended are replaced in
place, since their committed rows stay as they are; chunks whose committed rows change (a certified run that
starts again at a tighter tolerance) wait beside, below state/, until the manifest counts them, and are then
moved into place.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from thetadot.dynamics.path import Path
from thetadot.studies.arrays import Column, array_metadata, changes, checksum, group_metadata, record_of
from thetadot.studies.durable import append_line, make_directory, refusal, replace_file, sync_directory
from thetadot.studies.errors import StoreError, WritingError
from thetadot.studies.lens_records import DONE, LensRecord
from thetadot.studies.lock import LOCK_FILE, check_ours, writing
from thetadot.studies.manifest import MANIFEST_FILE, Manifest, SeriesRecord, read_manifest, write_manifest
from thetadot.studies.records import columns, pack_state
from thetadot.studies.view import DATA, series_attributes

STUDY_FILE, LOG_FILE, STATE = "study.yaml", "log.jsonl", "state"
_OURS = {LOCK_FILE, STUDY_FILE, LOG_FILE, STATE, DATA, MANIFEST_FILE}


class RunWriter:
    """The one writer of a run directory; made by `open_writer`.

    Attributes:
        directory: the run directory.
        manifest: what is committed.
    """

    def __init__(self, directory: FilePath, manifest: Manifest):
        self.directory = directory
        self.manifest = manifest

    def commit(self, series: str, path: Path) -> None:
        """Commit all rows of a path, its events and its state.

        Raises:
            WritingError: the file system refused; the last commit stands.
        """
        old = self.manifest.series[series]
        number = 1 if old is None else old.commits + 1
        table, labels = columns(path)
        records, waiting, touched = {}, {}, set()
        group = self.directory / DATA / series
        stem = f"{series.replace('/', '-')}-{number}"
        self._make_groups(series, self._series_attributes(series, None), touched)
        for name, column in table.items():
            before = None if old is None else old.arrays.get(name)
            record = records[name] = record_of(column.values)
            for change in changes(column.values, record, before):
                key = f"{series}/{name}/{record.chunk_key(change.index)}"
                if change.appends:
                    file = self.directory / DATA / key
                else:
                    waiting[key] = f"{stem}-{len(waiting)}.chunk"
                    file = self.directory / STATE / waiting[key]
                make_directory(file.parent, touched)
                replace_file(file, change.content)
                touched.add(file.parent)
        for name, record in records.items():
            if old is None or old.arrays.get(name) is None or old.arrays[name].rows != record.rows:
                make_directory(group / name, touched)
                replace_file(group / name / "zarr.json", array_metadata(table[name], record))
                touched.add(group / name)
        state = self._write_state(stem, path)
        for directory in (*touched, self.directory / STATE):
            sync_directory(directory)
        record = SeriesRecord(
            number, path.outcome, path.reason, path.degenerate, path.accuracy, path.stats, path.info, records,
            labels, state,
        )  # fmt: skip
        self._replace_manifest(self.manifest.with_series(series, record, waiting))
        if record.finished:
            replace_file(group / "zarr.json", group_metadata(self._series_attributes(series, record)))
        self._settle()
        rows, last = len(path.ts), float(path.ts[-1]) if len(path.ts) else None
        self.log("committed", series=series, rows=rows, time=last, outcome=path.outcome.name)

    def commit_lens(self, name: str, record: LensRecord, table: Mapping[str, Column]) -> None:
        """Commit what a lens found; nothing of it may be committed before.

        Raises:
            WritingError: the file system refused; the last commit stands.
        """
        group = self.directory / DATA / name
        try:
            shutil.rmtree(group, ignore_errors=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refusal(group, error) from error
        touched: set[FilePath] = set()
        if record.status == DONE:
            self._make_groups(name, record.group_attributes, touched)
        for variable, column in table.items():
            array = record.variables[variable].array
            make_directory(group / variable, touched)
            replace_file(group / variable / "zarr.json", array_metadata(column, array))
            touched.add(group / variable)
            for change in changes(column.values, array, None):
                file = group / variable / array.chunk_key(change.index)
                make_directory(file.parent, touched)
                replace_file(file, change.content)
                touched.add(file.parent)
        for directory in touched:
            sync_directory(directory)
        self._replace_manifest(self.manifest.with_lens(name, record))
        self.log("lens", lens=name, status=record.status, words=record.words, notes=list(record.notes))

    def restart(self, name: str) -> None:
        """Forget a series or what a lens found, so that it is computed again from its start."""
        lens = name in self.manifest.lenses
        changed = self.manifest.with_lens(name, None) if lens else self.manifest.with_series(name, None)
        self._replace_manifest(changed)
        self._settle()
        self.log("restarted", series=name)

    def note_error(self, message: str | None) -> None:
        """Record in the manifest how the session ended; None clears it."""
        if message != self.manifest.error:
            self._replace_manifest(dataclasses.replace(self.manifest, error=message))

    def note_executor(self, executor: str) -> None:
        """Record in the manifest how the members are computed."""
        self._replace_manifest(dataclasses.replace(self.manifest, executor=executor))

    def log(self, event: str, **fields: Any) -> None:
        """Add a line to log.jsonl; a log that cannot be written does not stop a run."""
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(WritingError):
            append_line(self.directory / LOG_FILE, json.dumps({"at": stamp, "event": event, **fields}))

    def _replace_manifest(self, manifest: Manifest) -> None:
        check_ours(self.directory)
        write_manifest(self.directory, manifest)
        self.manifest = manifest

    def _make_groups(self, name: str, attributes: Mapping[str, Any], touched: set[FilePath]) -> None:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            group = self.directory / DATA / "/".join(parts[:depth])
            file = group / "zarr.json"
            if file.exists():
                continue
            make_directory(group, touched)
            replace_file(file, group_metadata(attributes if depth == len(parts) else {}))
            touched.add(group)

    def _series_attributes(self, series: str, record: SeriesRecord | None) -> dict[str, Any]:
        attributes: dict[str, Any] = {"series": series, "run": self.manifest.run}
        return attributes if record is None else {**attributes, **series_attributes(record)}

    def _write_state(self, stem: str, path: Path) -> tuple[str, str, str] | None:
        if path.state is None:
            return None
        arrays, document = pack_state(path.state)
        replace_file(self.directory / STATE / f"{stem}.npz", arrays)
        replace_file(self.directory / STATE / f"{stem}.json", document)
        return stem, checksum(arrays), checksum(document)

    def _settle(self) -> None:
        """Move chunks that the manifest counts into place, and remove what nothing refers to any more."""
        state = self.directory / STATE
        for key, name in self.manifest.pending.items():
            if (state / name).exists():
                os.replace(state / name, self.directory / DATA / key)
                sync_directory((self.directory / DATA / key).parent)
        needed = {
            f"{record.state[0]}{ending}"
            for record in self.manifest.series.values()
            if record is not None and record.state is not None
            for ending in (".npz", ".json")
        }
        for file in state.iterdir():
            if file.name not in needed:
                file.unlink(missing_ok=True)

    def recover(self) -> None:
        """Clear away what a killed writer left behind."""
        self._settle()
        for name, record in self.manifest.series.items():
            if record is None or not record.finished:
                for leftover in (self.directory / DATA / name).rglob(".*.new"):
                    leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def open_writer(
    directory: FilePath, fresh: Manifest, study_text: str, attributes: Mapping[str, Any]
) -> Iterator[RunWriter]:
    """The writer of a run directory, which is created if it does not exist.

    Arguments:
        directory: the run directory.
        fresh: manifest of a run that has not begun.
        study_text: resolved study, for study.yaml.
        attributes: what readers of data.zarr find at its root: layout, versions, seed.

    Raises:
        LockedError: another process writes.
        WritingError: read-only, or the disk is full.
        StoreError: the directory holds something else.
    """
    if directory.exists() and not directory.is_dir():
        raise StoreError(f"{directory} is a file: choose another directory with -o DIR")
    strange = _strange_files(directory)
    if strange:
        raise StoreError(
            f"{directory} holds files of something else ({', '.join(strange[:3])}): "
            "choose another directory with -o DIR"
        )
    make_directory(directory)
    with writing(directory):
        if (directory / MANIFEST_FILE).exists():
            writer = RunWriter(directory, read_manifest(directory))
            writer.recover()
        else:
            for part in (STATE, DATA):
                make_directory(directory / part)
            replace_file(directory / STUDY_FILE, study_text.encode())
            replace_file(directory / DATA / "zarr.json", group_metadata(attributes))
            sync_directory(directory / DATA)
            write_manifest(directory, fresh)
            writer = RunWriter(directory, fresh)
        yield writer


def _strange_files(directory: FilePath) -> list[str]:
    if not directory.is_dir() or (directory / MANIFEST_FILE).exists():
        return []
    names = sorted(file.name for file in directory.iterdir())
    return [name for name in names if name not in _OURS and not name.endswith(".new")]
