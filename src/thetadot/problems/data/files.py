"""A user's own data from a CSV, NPZ or Parquet file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thetadot.problems.checks import known_name
from thetadot.problems.data.dataset import Dataset, one_column, split_indices, standardised
from thetadot.problems.errors import (
    ConstantColumnError,
    DataError,
    MissingExtraError,
    ShapeError,
    UnknownNameError,
)

TASKS = ("auto", "classification", "regression")
_MISSING = ("", "nan", "na", "n/a", "null", "none", "?")


def from_file(
    path: str | Path,
    target: str | int | Sequence[str | int] | None = None,
    *,
    task: str = "auto",
    standardise: bool = True,
    split: str = "all",
) -> Dataset:
    """Your own data from a .csv, .npz or .parquet file.

    Arguments:
        path: the file. CSV: comma, semicolon or tab separated, with or without a line of column names.
            NPZ: an array of samples named "x" (or the only one besides the target).
        target: CSV and Parquet: name or 0-based number of the label column, or a sequence of several for
            regression; None: the last column. NPZ: name of the label array; None: "y".
        task: "classification" numbers the labels' sorted distinct values 0, 1, …; "regression" takes them
            as numbers (N, k). "auto" is classification if the labels are text or were written as whole
            numbers (stored as integers, in NPZ and Parquet), else regression.
        standardise: give every column of x (and y, for regression) mean 0 and variance 1 over the whole file,
            whatever the split.
        split: "all", "train" or "test": every fifth sample (of each class) is a test sample.

    Returns:
        x (N, d) (NPZ: any shape (N, …)) in float64, y (N, k) or integer classes (N,); `details` holds the
        names of `columns` and, for classification, the `classes`.

    Raises:
        DataError: the file is missing, empty or of another kind, or an entry is missing or not a number.
        ConstantColumnError: standardise is asked for and a column has zero variance.
        UnknownNameError: no such column, array, task or split.
        MissingExtraError: Parquet needs the extra `parquet`.
    """
    path = Path(path)
    known_name(task, TASKS, "task")
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path.name}: files of kind {path.suffix!r} are not read; give {', '.join(readers)}")
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    x, labels, columns = readers[path.suffix.lower()](path, target)
    if len(x) == 0:
        raise DataError(f"{path.name} holds no samples")
    if len(labels) != len(x):
        raise ShapeError(f"{path.name}: {len(x)} samples and {len(labels)} labels")
    classify = task == "classification" or (task == "auto" and labels.dtype.kind in "iubUSO")
    details: dict[str, Any] = {"columns": columns, "standardised": standardise, "file": path.name}
    if classify:
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ShapeError(f"{path.name}: labels of classes have shape {labels.shape}, expected one column")
        classes, y = np.unique(labels, return_inverse=True)
        details["classes"] = tuple(str(one) for one in classes)
        y = y.astype(np.int64)
    else:
        y = one_column(_as_numbers(labels, path.name, "the target"))
    if standardise:
        x = _standardised(x, path.name, columns)
        y = y if classify else _standardised(y, path.name, ("the target",) * y.shape[1])
    rows = split_indices(split, y)
    return Dataset(x[rows], y[rows], name=path.name, split=split, details=details)


def _standardised(values: np.ndarray, file: str, columns: Sequence[str]) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    if not np.isfinite(flat).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(flat))[0])
        raise DataError(
            f"{file}: sample {row} has {flat[row, column]} in {_column(columns, column)}: remove it or fill "
            "it in"
        )
    scaled, constant = standardised(flat)
    if constant.any():
        first = int(np.flatnonzero(constant)[0])
        more = f" (and {int(constant.sum()) - 1} more)" if constant.sum() > 1 else ""
        raise ConstantColumnError(
            f"{file}: {_column(columns, first)}{more} has the same value {flat[0, first]:g} in all "
            f"{len(flat)} "
            "samples and cannot be given variance 1: drop it, or load with standardise=False"
        )
    return scaled.reshape(values.shape)


def _column(columns: Sequence[str], number: int) -> str:
    return f"column {columns[number]!r}" if number < len(columns) else f"column {number}"


def _as_numbers(values: np.ndarray, file: str, what: str) -> np.ndarray:
    try:
        return np.asarray(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: {what} holds something that is not a number: {error}") from None


def _positions(target: Any, columns: Sequence[str], file: str) -> list[int]:
    """0-based numbers of the label columns."""
    wanted = [len(columns) - 1] if target is None else target
    wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    positions = []
    for one in wanted:
        if isinstance(one, str):
            positions.append(list(columns).index(known_name(one, columns, f"column of {file}")))
        elif 0 <= one < len(columns):
            positions.append(int(one))
        else:
            raise UnknownNameError(f"{file} has columns 0 … {len(columns) - 1}, the target is given as {one}")
    if len(set(positions)) >= len(columns):
        raise DataError(f"{file} has only the target's columns: there is nothing left for x")
    return positions


def _read_csv(path: Path, target: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        text = stream.read()
    head = text[: text.find("\n") if "\n" in text else None]
    delimiter = max(",;\t", key=head.count)
    table = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    if not table:
        raise DataError(f"{path.name} is empty")
    has_header = not any(_is_number(cell) for cell in table[0])
    columns = tuple(cell.strip() if has_header else str(place) for place, cell in enumerate(table[0]))
    body = table[has_header:]
    for number, row in enumerate(body, start=1 + has_header):
        if len(row) != len(columns):
            raise DataError(f"{path.name}, line {number}: {len(row)} cells, expected {len(columns)}")
        for name, cell in zip(columns, row, strict=True):
            if cell.strip().lower() in _MISSING:
                raise DataError(
                    f"{path.name}, line {number}: nothing in column {name!r}: remove the line or fill it in"
                )
    if not body:
        raise DataError(f"{path.name} holds no samples, only the names of the columns")
    positions = _positions(target, columns, path.name)
    names = tuple(name for place, name in enumerate(columns) if place not in positions)
    x = np.empty((len(body), len(names)))
    for number, row in enumerate(body):
        cells = [cell for place, cell in enumerate(row) if place not in positions]
        for place, cell in enumerate(cells):
            if not _is_number(cell):
                raise DataError(
                    f"{path.name}, line {number + 1 + has_header}: {cell.strip()!r} in column "
                    f"{names[place]!r} is not a number: encode the column, or name it as the target"
                )
            x[number, place] = float(cell)
    labels = np.array([[row[place].strip() for place in positions] for row in body])
    labels = labels[:, 0] if len(positions) == 1 else labels
    return x, _narrowed(labels), names


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _narrowed(labels: np.ndarray) -> np.ndarray:
    """Text labels as integers if all are whole numbers in writing, else as floats if all are numbers."""
    for kind in (np.int64, np.float64):
        try:
            return labels.astype(kind)
        except ValueError:
            continue
    return labels


def _read_npz(path: Path, target: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as an NPZ file of plain arrays: {error}") from None
    label_name = known_name("y" if target is None else str(target), arrays, f"array of {path.name}")
    others = [name for name in arrays if name != label_name]
    if "x" not in others and len(others) != 1:
        raise UnknownNameError(f"{path.name} holds the arrays {', '.join(arrays)}: name the samples 'x'")
    samples = arrays["x" if "x" in others else others[0]]
    x = _as_numbers(samples, path.name, "x")
    if x.ndim == 0:
        raise ShapeError(f"{path.name}: x is a single number, expected samples (N, …)")
    x = one_column(x)
    return x, arrays[label_name], tuple(map(str, range(int(np.prod(x.shape[1:])))))


def _read_parquet(path: Path, target: Any) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    try:
        import pyarrow.parquet as parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError(
            f"{path.name}: Parquet files need the extra: pip install 'thetadot[parquet]'"
        ) from None
    table = parquet.read_table(path)
    columns = tuple(table.column_names)
    for name in columns:
        if table.column(name).null_count:
            raise DataError(f"{path.name}: column {name!r} has missing entries: remove them or fill them in")
    positions = _positions(target, columns, path.name)
    names = tuple(name for place, name in enumerate(columns) if place not in positions)
    parts = [_as_numbers(table.column(name).to_numpy(), path.name, f"column {name!r}") for name in names]
    labels = [table.column(columns[place]).to_numpy() for place in positions]
    return np.stack(parts, axis=1), labels[0] if len(labels) == 1 else np.stack(labels, axis=1), names
