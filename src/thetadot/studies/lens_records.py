"""What a lens found on a path, as the manifest and the store keep it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.studies.arrays import ArrayRecord, Column

if TYPE_CHECKING:
    import xarray

DONE, NOT_APPLICABLE, FAILED = "done", "does not apply", "failed"
MEANINGS = "meanings"
_KINDS = "biufc"


@dataclasses.dataclass(frozen=True)
class VariableRecord:
    """One array of a result.

    Attributes:
        dimensions: a name for each axis.
        attributes: text and numbers; `meanings` are the texts behind an array of codes.
        array: its committed rows.
    """

    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]
    array: ArrayRecord


@dataclasses.dataclass(frozen=True)
class LensRecord:
    """What is committed of one lens on one path ("0/lenses/stability", "0/lenses/compare/1/stability").

    Attributes:
        status: "done", "does not apply", or "failed" (an error that its package did not foresee; the next session
            tries again).
        reason: why it does not apply, or what failed.
        summary: the result in one line.
        notes: warnings that it gave.
        seconds: what it cost.
        attributes: of the result as a whole.
        coordinates: names of those variables that are coordinates.
        variables: {name: record}.
    """

    status: str
    reason: str = ""
    summary: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    coordinates: tuple[str, ...] = ()
    variables: Mapping[str, VariableRecord] = dataclasses.field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the lens is not to be tried again."""
        return self.status != FAILED

    @property
    def words(self) -> str:
        """The summary, or why there is none."""
        return self.summary if self.status == DONE else f"{self.status}: {self.reason}"

    @property
    def arrays(self) -> dict[str, ArrayRecord]:
        """{name: record} of the arrays, as of a series."""
        return {name: variable.array for name, variable in self.variables.items()}

    @property
    def group_attributes(self) -> dict[str, Any]:
        """Attributes of the group in the store; `coordinates` as xarray reads them."""
        named = {"coordinates": " ".join(self.coordinates)} if self.coordinates else {}
        return {**self.attributes, **named}


def lens_record(document: Mapping[str, Any]) -> LensRecord:
    """The record that a manifest holds."""
    variables = {
        name: VariableRecord(
            tuple(item["dimensions"]), item["attributes"], ArrayRecord.from_document(item["array"])
        )
        for name, item in document["variables"].items()
    }
    texts = {name: tuple(document[name]) for name in ("notes", "coordinates")}
    seconds = float(document["seconds"])
    return LensRecord(**{**document, **texts, "seconds": seconds, "variables": variables})


def dataset_columns(dataset: "xarray.Dataset") -> dict[str, Column]:
    """The variables of a Dataset as columns of the store; texts become codes.

    Raises:
        TypeError: a variable that is neither numbers nor texts, or whose name cannot be one in the store.
    """
    columns = {}
    for name, variable in dataset.variables.items():
        if not isinstance(name, str) or not name or name.startswith((".", "_")) or "/" in name or name == "c":
            raise TypeError(f"a result holds a variable named {name!r}, which the store cannot hold")
        values, attributes = np.asarray(variable.values), _plain(variable.attrs)
        if values.dtype.kind in "UO" and all(isinstance(text, str) for text in values.ravel()):
            meanings, codes = np.unique(values.astype(str), return_inverse=True)
            values = codes.reshape(values.shape).astype(np.int32)
            attributes[MEANINGS] = meanings.tolist()
        if values.dtype.kind not in _KINDS or values.dtype.itemsize > 16 or values.dtype == np.longdouble:
            raise TypeError(f"a result holds {name!r} of type {values.dtype}: expected numbers or texts")
        columns[name] = Column(values, tuple(str(dim) for dim in variable.dims), attributes)
    return columns


def _plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    from thetadot.studies.manifest import plain

    return plain(attributes)


def with_dataset(record: LensRecord, dataset: "xarray.Dataset") -> tuple[LensRecord, dict[str, Column]]:
    """The record with what a Dataset holds, and the columns to store."""
    from thetadot.studies.arrays import record_of

    columns = dataset_columns(dataset)
    variables = {
        name: VariableRecord(column.dimensions, column.attributes, record_of(column.values))
        for name, column in columns.items()
    }
    whole = dataclasses.replace(
        record,
        attributes=_plain(dataset.attrs),
        coordinates=tuple(str(name) for name in dataset.coords),
        variables=variables,
    )
    return whole, columns


def dataset_of(record: LensRecord, values: Mapping[str, np.ndarray]) -> "xarray.Dataset":
    """The Dataset whose columns hold these values."""
    import xarray

    variables = {}
    for name, variable in record.variables.items():
        array = values[name][0] if variable.array.scalar else values[name]
        attributes = dict(variable.attributes)
        if MEANINGS in attributes:
            array = texts(attributes.pop(MEANINGS), array)
        variables[name] = (variable.dimensions, array, attributes)
    dataset = xarray.Dataset(variables, attrs=dict(record.attributes))
    return dataset.set_coords([name for name in record.coordinates if name not in dataset.dims])


def texts(meanings: Any, codes: Any) -> np.ndarray:
    """The texts behind codes."""
    return np.asarray(np.array([*meanings, ""], dtype=str)[np.asarray(codes)])
