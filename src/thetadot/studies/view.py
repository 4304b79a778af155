"""The committed part of a run as a read-only Zarr store.

Rows beyond the manifest do not exist: shapes in array metadata are those of the manifest, series and arrays
that it does not name are hidden, and each chunk is checked against its checksum when it is read. Whatever a
killed writer left behind, a reader of this store sees the last commit.
"""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from thetadot.studies.arrays import ArrayRecord
from thetadot.studies.errors import DamagedChunkError
from thetadot.studies.lens_records import DONE, LensRecord
from thetadot.studies.manifest import Manifest, SeriesRecord, plain

DATA = "data.zarr"


def chunk_file(directory: Path, manifest: Manifest, key: str) -> Path:
    """Where the bytes of a key below data.zarr stand: in place, or beside if they wait to be moved there."""
    waiting = manifest.pending.get(key)
    if waiting is not None and (directory / "state" / waiting).exists():
        return directory / "state" / waiting
    return directory / DATA / key


def damage(directory: Path, manifest: Manifest, array: str, record: ArrayRecord, index: int) -> str | None:
    """What is wrong with a committed chunk, in words that name it; None if nothing is."""
    key = f"{array}/{record.chunk_key(index)}"
    first = index * record.chunk_rows
    rows = f"rows {first}–{first + record.chunk_rows_committed(index) - 1} of "
    name = f"{directory / DATA / key} ({'' if record.scalar else rows}{array})"
    try:
        content = chunk_file(directory, manifest, key).read_bytes()
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None if record.decode(content, index) is not None else f"{name} is damaged: its checksum differs"


def damages(directory: Path, manifest: Manifest, group: str) -> list[str]:
    """Every chunk of a committed series or lens that is missing or changed, named."""
    return [
        wrong
        for array, columns in manifest.committed[group].arrays.items()
        for index in range(len(columns.checksums))
        if (wrong := damage(directory, manifest, f"{group}/{array}", columns, index))
    ]


def series_attributes(record: SeriesRecord) -> dict[str, Any]:
    """Attributes of a series for readers of the store, as `Path.to_xarray` has them."""

    def text(value: Any) -> str:
        return json.dumps(plain(value), ensure_ascii=False)

    return {
        "outcome": record.outcome.name,
        "reason": record.reason,
        "degenerate": int(record.degenerate),
        "accuracy": text(record.accuracy),
        "stats": text(record.stats),
        "settings": text(record.info),
    }


class CommittedStore(WrapperStore[LocalStore]):
    """What the manifest counts, as a Zarr store.

    Arguments:
        store: the directory data.zarr of the run, read-only.
        directory: the run directory.
        manifest: what is committed.
    """

    def __init__(self, store: LocalStore, directory: Path, manifest: Manifest):
        super().__init__(store)
        self._directory = directory
        self._manifest = manifest
        self._series: Mapping[str, SeriesRecord | LensRecord] = {
            name: record
            for name, record in manifest.committed.items()
            if isinstance(record, SeriesRecord) or record.status == DONE
        }

    def _with_store(self, store: LocalStore) -> "CommittedStore":
        return CommittedStore(store, self._directory, self._manifest)

    def _split(self, key: str) -> tuple[str, str, str]:
        """Series (or lens), array and rest of a key; series "" if the key is above all of them."""
        for name in self._series:
            if key.startswith(f"{name}/"):
                array, _, rest = key[len(name) + 1 :].partition("/")
                return name, array, rest
        return "", "", key

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of a committed key; None if it does not exist."""
        series, array, rest = self._split(key)
        if not series:
            return await self._store.get(key, prototype, byte_range)
        record = self._series[series]
        if array == "zarr.json":
            lens = isinstance(record, LensRecord)
            attributes = record.group_attributes if lens else series_attributes(record)
            return self._patched(await self._store.get(key, prototype), prototype, attributes=attributes)
        if array not in record.arrays:
            return None
        columns = record.arrays[array]
        if rest == "zarr.json":
            return self._patched(await self._store.get(key, prototype), prototype, shape=columns.shape)
        if rest.split("/")[0] != "c":
            return None
        index = 0 if columns.scalar else int(rest.split("/")[1])
        if index >= len(columns.checksums):
            return None
        wrong = damage(self._directory, self._manifest, f"{series}/{array}", columns, index)
        if wrong:
            raise DamagedChunkError(f"{wrong}; every other chunk stays readable")
        content = chunk_file(self._directory, self._manifest, key).read_bytes()
        return prototype.buffer.from_bytes(content)

    @staticmethod
    def _patched(found: Buffer | None, prototype: BufferPrototype, **fields: Any) -> Buffer | None:
        if found is None:
            return None
        document = json.loads(found.to_bytes())
        if "attributes" in fields:
            fields["attributes"] = {**document.get("attributes", {}), **fields["attributes"]}
        return prototype.buffer.from_bytes(json.dumps({**document, **fields}).encode())

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names directly below a prefix, of committed nodes only."""
        below = prefix.strip("/")
        async for name in self._store.list_dir(prefix):
            path = f"{below}/{name}" if below else name
            if name == "zarr.json" or self._exists(path):
                yield name

    def _exists(self, path: str) -> bool:
        if any(name == path or name.startswith(f"{path}/") for name in self._series):
            return True
        series, array, _ = self._split(path)
        return bool(series) and array in self._series[series].arrays
