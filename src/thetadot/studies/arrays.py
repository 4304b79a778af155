"""Arrays of a run on disk: Zarr v3, chunked by rows, uncompressed.

Chunks are written directly, not through a Zarr library, for control over the order in which bytes become
durable. They are not compressed (trajectories in float64 hardly are compressible), so the bytes of a chunk
are its rows, and the checksum of the rows committed so far stays valid while further rows are appended to
the same chunk.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xxhash

CHUNK_BYTES = 2**18
MOST_CHUNK_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Column:
    """One array of a run, with its labels.

    Attributes:
        values (rows, …): what is stored.
        dimensions: a name for each axis.
        attributes: text and numbers for readers of the store.
    """

    values: np.ndarray
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ArrayRecord:
    """What the manifest says of an array: the rows that exist, and what their bytes were.

    Attributes:
        rows: committed rows.
        chunk_rows: rows in a full chunk.
        tail: shape of one row.
        dtype: NumPy's name of the type, little-endian on disk.
        checksums: xxh3-64 of the committed rows of each chunk.
        scalar: it is a single number without axes, kept as one row.
    """

    rows: int
    chunk_rows: int
    tail: tuple[int, ...]
    dtype: str
    checksums: tuple[str, ...]
    scalar: bool = False

    @classmethod
    def from_document(cls, item: Mapping[str, Any]) -> "ArrayRecord":
        """The record that a manifest holds."""
        return cls(
            item["rows"], item["chunk_rows"], tuple(item["tail"]), item["dtype"], tuple(item["checksums"]),
            item.get("scalar", False),
        )  # fmt: skip

    @property
    def shape(self) -> list[int]:
        """Shape of the whole array."""
        return [] if self.scalar else [self.rows, *self.tail]

    def chunk_key(self, index: int) -> str:
        """Key of a chunk below its array."""
        if self.scalar:
            return "c"
        return "/".join(["c", str(index), *["0"] * len(self.tail)])

    def chunk_rows_committed(self, index: int) -> int:
        """Committed rows of a chunk."""
        return min(self.chunk_rows, self.rows - index * self.chunk_rows)

    def decode(self, chunk: bytes, index: int) -> np.ndarray | None:
        """Committed rows of a chunk from its bytes; None if they are not those that were committed."""
        rows = self.chunk_rows_committed(index)
        dtype = np.dtype(self.dtype).newbyteorder("<")
        committed = chunk[: rows * _row_bytes(self.tail, dtype)]
        if checksum(committed) != self.checksums[index]:
            return None
        return np.frombuffer(committed, dtype).reshape(rows, *self.tail).astype(self.dtype)

    def empty(self) -> np.ndarray:
        """An array of this type without rows."""
        return np.zeros((0, *self.tail), self.dtype)


def checksum(content: bytes | memoryview) -> str:
    """xxh3-64 in hexadecimal."""
    return xxhash.xxh3_64_hexdigest(content)


def _row_bytes(tail: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(tail, dtype=np.int64)) * dtype.itemsize


def record_of(values: np.ndarray) -> ArrayRecord:
    """The record of an array of which all rows are committed."""
    scalar, values = values.ndim == 0, np.atleast_1d(values)
    tail, dtype = values.shape[1:], values.dtype
    fitting = max(1, min(MOST_CHUNK_ROWS, CHUNK_BYTES // max(1, _row_bytes(tail, dtype))))
    chunk_rows = 1 if scalar else fitting
    blank = ArrayRecord(len(values), chunk_rows, tail, dtype.name, (), scalar)
    return dataclasses.replace(blank, checksums=tuple(checksum(rows) for rows in _blocks(values, chunk_rows)))


def _blocks(values: np.ndarray, chunk_rows: int) -> Iterator[bytes]:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    for start in range(0, len(values), chunk_rows):
        yield np.ascontiguousarray(little[start : start + chunk_rows]).tobytes()


@dataclasses.dataclass(frozen=True)
class ChunkChange:
    """A chunk to write: its index, its bytes (padded to a full chunk), and whether the bytes that the last
    commit counted stay as they are (then a reader of the old manifest is not disturbed)."""

    index: int
    content: bytes
    appends: bool


def changes(values: np.ndarray, new: ArrayRecord, old: ArrayRecord | None) -> Iterator[ChunkChange]:
    """Chunks in which `values` differ from what is committed."""
    values = np.atleast_1d(values)
    row = _row_bytes(new.tail, values.dtype)
    for index, content in enumerate(_blocks(values, new.chunk_rows)):
        appends = True
        if old is not None and index < len(old.checksums):
            before = old.checksums[index]
            if before == new.checksums[index] and old.chunk_rows_committed(index) == len(content) // max(
                row, 1
            ):
                continue
            kept = content[: old.chunk_rows_committed(index) * row]
            appends = checksum(kept) == before and len(kept) == old.chunk_rows_committed(index) * row
        yield ChunkChange(index, content.ljust(new.chunk_rows * row, b"\0"), appends)


def array_metadata(column: Column, record: ArrayRecord) -> bytes:
    """The Zarr v3 metadata document of an array."""
    kind = column.values.dtype.kind
    fill: Any = {"f": "NaN", "c": ["NaN", "NaN"], "b": False}.get(kind, 0)
    return _document(
        node_type="array",
        shape=record.shape,
        data_type=record.dtype,
        chunk_grid={
            "name": "regular",
            "configuration": {
                "chunk_shape": []
                if record.scalar
                else [record.chunk_rows, *(max(1, size) for size in record.tail)]
            },
        },
        chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}},
        fill_value=fill,
        codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
        attributes=dict(column.attributes),
        dimension_names=list(column.dimensions),
    )


def group_metadata(attributes: Mapping[str, Any]) -> bytes:
    """The Zarr v3 metadata document of a group."""
    return _document(node_type="group", attributes=dict(attributes))


def _document(**fields: Any) -> bytes:
    return json.dumps({"zarr_format": 3, **fields}, indent=1, ensure_ascii=False, allow_nan=False).encode()
