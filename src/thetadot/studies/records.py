"""A path as the columns of the store and back; names and dimensions are those of `Path.to_xarray`."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from thetadot.dynamics.labels import TIME_UNITS, extra_dimensions, layers_and_roles, observed_label
from thetadot.dynamics.path import Path, RecordedEvent
from thetadot.dynamics.snapshot import Snapshot
from thetadot.studies.arrays import Column

CODED = ("event_name", "event_kind", "layer", "role")
COORDINATES = ("time", "event_time", *CODED)


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
        axes = extra_dimensions(label, values.ndim - 1)
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
        layers, roles = layers_and_roles(path.layout)
        labels |= {"layer": _unique(layers), "role": _unique(roles)}
        per_parameter = {
            "layer": _codes(layers, labels["layer"], "parameter"),
            "role": _codes(roles, labels["role"], "parameter"),
        }
    return {**per_save, **per_event, **per_parameter}, labels


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
