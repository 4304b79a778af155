"""A data set: a tuple (x, y) that states what it is."""

import hashlib
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array

from thetadot.problems.checks import as_array, as_float64, known_name, require_finite
from thetadot.problems.errors import DataError

SPLITS = ("all", "train", "test")
TEST_EVERY = 5

# `EmpiricalRisk(network, loss, *data)` hands on bare arrays; this remembers whose they are.
_names: dict[int, tuple[weakref.ref, str]] = {}


class Dataset(tuple):
    """A tuple (x, y) with attributes that state what it is.

    Attributes:
        x: samples (N, …), float64.
        y: labels: numbers (N, k) in float64, or integer classes (N,).
        name: name of the data set, with its split if it is a part.
        split: "all", "train" or "test".
        N: number of samples.
        shapes: (x.shape, y.shape).
        hash: SHA-256 of dtypes, shapes and bytes, hexadecimal; equal data have equal hashes on every machine.
        details: what else is known: class or column names, the teacher's parameters, …
    """

    x: Array
    y: Array
    name: str
    split: str
    details: Mapping[str, Any]

    def __new__(
        cls, x: Any, y: Any, *, name: str, split: str = "all", details: Mapping[str, Any] | None = None
    ) -> "Dataset":
        x, y = as_float64(x, "x"), as_array(y, "y")
        require_finite(x, "x")
        require_finite(y, "y")
        if x.shape[0] == 0:
            raise DataError(f"the data set {name} has no samples")
        self = super().__new__(cls, (x, y))
        self.x, self.y, self.name, self.split = x, y, name, split
        self.details = dict(details or {})
        key = id(x)
        _names[key] = (weakref.ref(x, lambda _: _names.pop(key, None)), str(self))
        return self

    @property
    def N(self) -> int:  # noqa: N802  the paper's letter
        """Number of samples."""
        return self.x.shape[0]

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(x.shape, y.shape)."""
        return self.x.shape, self.y.shape

    @property
    def hash(self) -> str:
        """SHA-256 of dtypes, shapes and bytes, hexadecimal."""
        digest = hashlib.sha256()
        for array in (np.asarray(self.x), np.asarray(self.y)):
            digest.update(f"{array.dtype.newbyteorder('<')}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
        return digest.hexdigest()

    def __str__(self) -> str:
        return self.name if self.split == "all" else f"{self.name} ({self.split} part)"

    def __repr__(self) -> str:
        text = f"{self}: {self.N} samples, x {self.x.shape}, y {self.y.shape} {self.y.dtype}"
        return f"{text}, sha256 {self.hash[:12]}"

    def __reduce__(self):
        return _rebuild, (np.asarray(self.x), np.asarray(self.y), self.name, self.split, dict(self.details))


def _rebuild(x, y, name, split, details) -> Dataset:
    return Dataset(x, y, name=name, split=split, details=details)


def name_of(x: Any) -> str:
    """Name of the data set whose samples are this very array; "" if it is none."""
    reference, name = _names.get(id(x), (None, ""))
    return name if reference is not None and reference() is x else ""


def split_indices(split: str, y: np.ndarray) -> np.ndarray:
    """Rows of a split, ascending: every fifth sample (of each class, for integer labels) is a test sample.

    Deterministic, independent of any random generator, and stratified for classes.

    Raises:
        UnknownNameError: split is not "all", "train" or "test".
    """
    known_name(split, SPLITS, "split")
    rank = np.arange(len(y))
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer):
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            rank[rows] = np.arange(len(rows))
    is_test = rank % TEST_EVERY == TEST_EVERY - 1
    return np.flatnonzero({"all": np.ones(len(y), bool), "train": ~is_test, "test": is_test}[split])


def standardised(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns with mean 0 and variance 1 over all samples, and which are constant: those become 0."""
    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    constant = np.ptp(columns, axis=0) == 0
    scaled = np.where(constant, 0.0, (columns - mean) / np.where(constant, 1.0, deviation))
    return scaled, constant


def one_column(y: np.ndarray) -> np.ndarray:
    """(N,) numbers as (N, 1)."""
    return y[:, None] if y.ndim == 1 else y
