"""A path as the columns of the store and back; names and dimensions are those of `Path.to_xarray`."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from thetadot.dynamics.path import Path, RecordedEvent
from thetadot.dynamics.snapshot import Snapshot
from thetadot.problems import Layout
from thetadot.problems.layout import Neuron
from thetadot.studies.arrays import Column

TIME_UNITS = "units of the loss gradient: d theta/dt = -time_scale * grad L"
CODED = ("event_name", "event_kind", "layer", "role")
COORDINATES = ("time", "event_time", *CODED)
_OWN = ("theta", "loss", "grad_norm", "step", "event_theta", "event_value", *COORDINATES)


def columns(path: Path) -> tuple[dict[str, Column], dict[str, tuple[str, ...]]]:
    """The columns of a path, and the texts behind those that hold codes (names are appended, never
    renumbered)."""
    size, amount = path.thetas.shape[1], len(path.events)
    normalisation = str(path.info.get("normalisation", ""))
    per_save = {
        "time": Column(path.ts, ("save",), {"long_name": "time t", "units": TIME_UNITS}),
        "theta": Column(path.thetas, ("save", "parameter"), {"long_name": "parameters θ"}),
        "loss": Column(path.losses, ("save",), {"long_name": "loss L", "normalisation": normalisation}),
        "grad_norm": Column(path.grad_norms, ("save",), {"long_name": "norm of the loss gradient"}),
        "step": Column(path.steps, ("save",), {"long_name": "accepted steps up to this row"}),
    }
    for name, values in path.observed.items():
        label = observed_label(name)
        extra = values.ndim - 1
        axes = (
            (f"{label}_component",) if extra == 1 else tuple(f"{label}_axis{axis}" for axis in range(extra))
        )
        per_save[label] = Column(np.asarray(values), ("save", *axes), {"observable": name})
    labels = {
        "observed": tuple(path.observed),
        "event_name": _unique(event.name for event in path.events),
        "event_kind": _unique(event.kind for event in path.events),
    }
    per_event = {
        "event_time": _per_event([event.time for event in path.events], {"units": TIME_UNITS}),
        "event_value": _per_event([event.value for event in path.events], {}),
        "event_theta": Column(
            np.array([event.theta for event in path.events], float).reshape(amount, size),
            ("event", "parameter"),
            {"long_name": "parameters θ at the event"},
        ),
        "event_name": _codes([event.name for event in path.events], labels["event_name"], "event"),
        "event_kind": _codes([event.kind for event in path.events], labels["event_kind"], "event"),
    }
    per_parameter = {}
    if path.layout is not None:
        layers, roles = _layers_and_roles(path.layout)
        labels |= {"layer": _unique(layers), "role": _unique(roles)}
        per_parameter = {
            "layer": _codes(layers, labels["layer"], "parameter"),
            "role": _codes(roles, labels["role"], "parameter"),
        }
    return {**per_save, **per_event, **per_parameter}, labels


def observed_label(name: str) -> str:
    """Name of the column of an observable."""
    return f"observed_{name}" if name in _OWN else name


def rebuild(
    values: Mapping[str, np.ndarray], labels: Mapping[str, tuple[str, ...]], facts: Mapping[str, Any]
) -> Path:
    """The path whose columns hold these values.

    Arguments:
        values: {column: array}.
        labels: texts behind the codes.
        facts: the other fields of `Path`: outcome, reason, degenerate, accuracy, stats, state, info, layout.
    """
    names, kinds = labels.get("event_name", ()), labels.get("event_kind", ())
    events = tuple(
        RecordedEvent(names[int(name)], kinds[int(kind)], float(time), theta, float(value))
        for name, kind, time, theta, value in zip(
            values["event_name"],
            values["event_kind"],
            values["event_time"],
            values["event_theta"],
            values["event_value"],
            strict=True,
        )
    )
    return Path(
        ts=values["time"],
        thetas=values["theta"],
        losses=values["loss"],
        grad_norms=values["grad_norm"],
        steps=values["step"],
        observed={name: values[observed_label(name)] for name in labels.get("observed", ())},
        events=events,
        **facts,
    )


def pack_state(state: Snapshot) -> tuple[bytes, bytes]:
    """The state of a run as the bytes of an .npz (without pickle) and of a JSON file."""
    buffer = io.BytesIO()
    names = list(state.arrays)
    arrays: dict[str, Any] = {f"a{index}": np.asarray(state.arrays[name]) for index, name in enumerate(names)}
    np.savez(buffer, **arrays)
    return buffer.getvalue(), json.dumps({"names": names, "meta": dict(state.meta)}, default=_listed).encode()


def unpack_state(arrays: bytes, document: bytes) -> Snapshot:
    """The state that `pack_state` packed."""
    described = json.loads(document)
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        values = {name: stored[f"a{index}"] for index, name in enumerate(described["names"])}
    return Snapshot(values, described["meta"])


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """A layout as JSON; index arrays that are arithmetic progressions (all of ours) shrink to three
    numbers."""
    return {
        "shapes": {name: list(shape) for name, shape in layout.shapes.items()},
        "neurons": [
            [neuron.layer, neuron.index, *map(_progression, (neuron.incoming, neuron.bias, neuron.outgoing))]
            for neuron in layout.neurons
        ],
    }


def layout_from_json(document: Mapping[str, Any]) -> Layout:
    """The layout that `layout_to_json` described."""
    neurons = tuple(
        Neuron(layer, index, *(_indices(part) for part in parts))
        for layer, index, *parts in document["neurons"]
    )
    return Layout({name: tuple(shape) for name, shape in document["shapes"].items()}, neurons)


def _progression(indices: np.ndarray) -> dict[str, list[int]] | list[int]:
    if indices.size > 3:
        steps = np.diff(indices)
        if np.all(steps == steps[0]):
            return {"range": [int(indices[0]), int(steps[0]), int(indices.size)]}
    return [int(index) for index in indices]


def _indices(part: Mapping[str, list[int]] | list[int]) -> np.ndarray:
    if isinstance(part, Mapping):
        start, step, amount = part["range"]
        return start + step * np.arange(amount, dtype=np.int64)
    return np.array(part, np.int64)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _per_event(values: list[float], attributes: Mapping[str, Any]) -> Column:
    return Column(np.array(values, np.float64), ("event",), attributes)


def _unique(texts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(text) for text in texts))


def _codes(texts: list[str], labels: tuple[str, ...], dimension: str) -> Column:
    number = {text: code for code, text in enumerate(labels)}
    codes = np.array([number[str(text)] for text in texts], np.int32)
    return Column(codes, (dimension,), {"meanings": list(labels)})


def _layers_and_roles(layout: Layout) -> tuple[list[str], list[str]]:
    layers: list[str] = []
    roles: list[str] = []
    for name, where in layout.slices.items():
        layer, _, role = name.rpartition(".")
        length = where.stop - where.start
        layers += [layer or name] * length
        roles += [role] * length
    return layers, roles
