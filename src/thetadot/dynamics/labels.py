"""A path as labelled arrays: every number with its dimension, its unit and the part of the network it belongs
to."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.dynamics.path import Path
from thetadot.problems import Layout

if TYPE_CHECKING:
    import xarray

TIME_UNITS = "units of the loss gradient: d theta/dt = -time_scale * grad L"
_TAKEN = ("theta", "loss", "grad_norm", "step", "time", "layer", "role")
_TAKEN += ("event_theta", "event_value", "event_time", "event_name", "event_kind")


def path_to_dataset(path: Path) -> "xarray.Dataset":
    """A path as a Dataset with dimensions `save`, `parameter` and `event`.

    Variables: `theta (save, parameter)`, `loss`, `grad_norm`, `step` and every observable `(save, …)`, and
    `event_theta (event, parameter)`, `event_value (event)`. Coordinates: `time (save)`; `layer` and `role`
    (parameter) where the system has a layout; `event_time`, `event_name`, `event_kind` (event). Attributes
    are text and numbers only, so that any file format takes them: `outcome`, `reason`, `degenerate`, and as
    JSON `accuracy`, `stats` and `settings`.
    """
    import xarray  # with pandas it takes a third of a second, which no worker process needs to wait for

    variables: dict[str, Any] = {
        "theta": (("save", "parameter"), path.thetas, {"long_name": "parameters θ"}),
        "loss": ("save", path.losses, {"long_name": "loss L", "normalisation": _normalisation(path)}),
        "grad_norm": ("save", path.grad_norms, {"long_name": "norm of the loss gradient"}),
        "step": ("save", path.steps, {"long_name": "accepted steps up to this row"}),
    }
    for name, values in path.observed.items():
        label = observed_label(name)
        variables[label] = (("save", *extra_dimensions(label, values.ndim - 1)), values)
    size = path.thetas.shape[1]
    states = [event.theta for event in path.events]
    variables["event_theta"] = (("event", "parameter"), np.array(states, float).reshape(len(states), size))
    variables["event_value"] = ("event", np.array([event.value for event in path.events], float))
    coordinates: dict[str, Any] = {
        "time": ("save", path.ts, {"long_name": "time t", "units": TIME_UNITS}),
        "event_time": (
            "event",
            np.array([event.time for event in path.events], float),
            {"units": TIME_UNITS},
        ),
        "event_name": ("event", _texts(event.name for event in path.events)),
        "event_kind": ("event", _texts(event.kind for event in path.events)),
    }
    if path.layout is not None:
        layers, roles = layers_and_roles(path.layout)
        coordinates |= {"layer": ("parameter", _texts(layers)), "role": ("parameter", _texts(roles))}
    return xarray.Dataset(variables, coordinates, _attributes(path))


def strict_json(value: Any) -> str:
    """JSON that any reader takes: numbers that are not finite become null, unknown objects their text."""
    return json.dumps(_strict(value), ensure_ascii=False)


def _strict(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _strict(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _attributes(path: Path) -> dict[str, Any]:
    return {
        "outcome": path.outcome.name,
        "reason": path.reason,
        "degenerate": int(path.degenerate),
        "accuracy": strict_json(path.accuracy),
        "stats": strict_json(path.stats),
        "settings": strict_json(path.info),
    }


def _normalisation(path: Path) -> str:
    return str(path.info.get("normalisation", ""))


def observed_label(name: str) -> str:
    """Name of the variable of an observable."""
    return f"observed_{name}" if name in _TAKEN else name


def extra_dimensions(name: str, amount: int) -> tuple[str, ...]:
    """Names of the dimensions that an observable has beyond `save`."""
    if amount == 1:
        return (f"{name}_component",)
    return tuple(f"{name}_axis{axis}" for axis in range(amount))


def _texts(items) -> np.ndarray:
    return np.array([str(item) for item in items], dtype=object)


def layers_and_roles(layout: Layout) -> tuple[list[str], list[str]]:
    """Layer and role of every parameter, from the names `layer.role` of the slices."""
    layers: list[str] = []
    roles: list[str] = []
    for name, where in layout.slices.items():
        layer, _, role = name.rpartition(".")
        length = where.stop - where.start
        layers += [layer or name] * length
        roles += [role] * length
    return layers, roles
