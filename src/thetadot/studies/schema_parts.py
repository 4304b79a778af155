"""What every part of a study file shares: strict models, and the types of their values."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(
    r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m(?:in)?)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)


class Part(BaseModel):
    """A mapping in a study file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def seconds(value: Any) -> Any:
    """A duration (20m, 1h30m, 90s, or a number of seconds) in seconds.

    Example:
        >>> seconds("1h30m"), seconds("90s"), seconds(5)
        (5400.0, 90.0, 5.0)
    """
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.replace(" ", ""))
        if not found or not any(found.groups()):
            raise ValueError("expected a duration such as 20m, 1h30m, 90s, or a number of seconds")
        hours, minutes, rest = (float(part or 0) for part in found.groups())
        return 3600 * hours + 60 * minutes + rest
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _finite(value: float) -> float:
    if not abs(value) < float("inf"):
        raise ValueError("expected a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Positive = Annotated[float, AfterValidator(_finite), Field(gt=0)]
NonNegative = Annotated[float, AfterValidator(_finite), Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Duration = Annotated[float, BeforeValidator(seconds), AfterValidator(_finite), Field(gt=0)]
FileName = Annotated[str, Field(min_length=1)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Activation = Literal[
    "tanh",
    "sigmoid",
    "erf",
    "softplus",
    "gelu",
    "relu",
    "leaky_relu",
    "squared_relu",
    "square",
    "cube",
    "identity",
]
