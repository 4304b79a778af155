"""What a measure may return: numbers, text, lists and named parts, in a form that JSON keeps exactly."""

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from thetadot.papers.errors import ClaimError

_SHOWN = 8
_FLOAT = "__float__"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a measure found, when there is more to tell than the value that the rule judges.

    Arguments:
        value: what is judged: a number, a bool, text, an array, or {name: …} of these.
        beside: {name: …} shown beside the value, not judged.
        note: one sentence for the reader.
    """

    value: Any
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""


def plain(value: Any) -> Any:
    """The value in Python's own numbers, text, lists and dicts.

    Raises:
        ClaimError: it holds something else.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biufU":
            return array.tolist()
    raise ClaimError(
        f"a measure returned {type(value).__name__}: expected numbers, text, arrays, or {{name: …}} of these"
    )


def encode(value: Any) -> Any:
    """A plain value as strict JSON: a number that is not finite becomes {"__float__": its name}."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: repr(value)}
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return [encode(item) for item in value] if isinstance(value, list) else value


def decode(value: Any) -> Any:
    """Inverse of `encode`."""
    if isinstance(value, dict):
        if set(value) == {_FLOAT} and value[_FLOAT] in ("nan", "inf", "-inf"):
            return float(value[_FLOAT])
        return {key: decode(item) for key, item in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value


def words(value: Any) -> str:
    """A plain value as a reader wants it: three digits, long lists cut short."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {words(item)}" for key, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(words(item) for item in value[:_SHOWN])
        return f"[{shown}, … {len(value)} in all]" if len(value) > _SHOWN else f"[{shown}]"
    return str(value)
