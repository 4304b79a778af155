"""A path in one .npz file: arrays to the bit, everything else as JSON, never pickle."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import Path, RecordedEvent
from thetadot.dynamics.polish import Polished
from thetadot.dynamics.snapshot import Snapshot
from thetadot.errors import ThetadotError
from thetadot.problems.layout_json import layout_from_json, layout_to_json

FORMAT = 1
_ROWS = ("ts", "thetas", "losses", "grad_norms", "steps")


class PathFileError(ThetadotError):
    """A file that is not a path which this version can read."""


def save_path(path: Path, file: FilePath) -> None:
    """Write a path, its state for resuming included, to one .npz file; an existing file is replaced at once
    or not at all. Dense output is not kept.

    Arguments:
        path: the path.
        file: where to; the name is taken as it is.
    """
    arrays: dict[str, Any] = {f"rows/{name}": np.asarray(getattr(path, name)) for name in _ROWS}
    arrays |= {f"observed/{name}": np.asarray(values) for name, values in path.observed.items()}
    size = path.thetas.shape[1]
    thetas = [event.theta for event in path.events]
    arrays["events/theta"] = np.array(thetas, path.thetas.dtype).reshape(len(thetas), size)
    arrays["events/time"] = np.array([event.time for event in path.events], np.float64)
    arrays["events/value"] = np.array([event.value for event in path.events], np.float64)
    meta: dict[str, Any] = {
        "format": FORMAT,
        "observed": list(path.observed),
        "events": [[event.name, event.kind] for event in path.events],
        "outcome": path.outcome.name,
        "reason": path.reason,
        "degenerate": path.degenerate,
        "accuracy": dataclasses.asdict(path.accuracy),
        "stats": dataclasses.asdict(path.stats),
        "info": dict(path.info),
    }
    if path.state is not None:
        arrays |= {f"state/{name}": np.asarray(values) for name, values in path.state.arrays.items()}
        meta["state"] = {"names": list(path.state.arrays), "meta": dict(path.state.meta)}
    if path.polished is not None:
        arrays["polished/theta"] = path.polished.theta
        facts = dataclasses.asdict(path.polished)
        meta["polished"] = {name: value for name, value in facts.items() if name != "theta"}
    if path.layout is not None:
        meta["layout"] = layout_to_json(path.layout)
    arrays["meta"] = np.frombuffer(json.dumps(meta, default=_plain).encode(), np.uint8)
    partial = file.with_name(file.name + ".partial")
    with open(partial, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


def load_path(file: FilePath) -> Path:
    """Read a path that `save_path` wrote; arrays come back to the bit.

    Raises:
        PathFileError: the file is not such a file, or a newer version of thetadot wrote it.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as problem:
        raise PathFileError(f"{file} is not a path saved by thetadot: {problem}") from problem
    if "meta" not in arrays:
        raise PathFileError(f"{file} is an .npz file, but not of a path: it has no entry 'meta'")
    meta = json.loads(arrays["meta"].tobytes())
    if meta["format"] > FORMAT:
        raise PathFileError(
            f"{file} has format {meta['format']}, this version of thetadot reads up to {FORMAT}: "
            "update thetadot"
        )
    events = zip(
        meta["events"], arrays["events/time"], arrays["events/theta"], arrays["events/value"], strict=True
    )
    rows: dict[str, Any] = {name: arrays[f"rows/{name}"] for name in _ROWS}
    return Path(
        **rows,
        observed={name: arrays[f"observed/{name}"] for name in meta["observed"]},
        events=tuple(
            RecordedEvent(name, kind, float(t), theta, float(v)) for (name, kind), t, theta, v in events
        ),
        outcome=Outcome[meta["outcome"]],
        reason=meta["reason"],
        degenerate=meta["degenerate"],
        accuracy=Accuracy(**meta["accuracy"]),
        stats=Stats(**meta["stats"] | {"solvers": tuple((t, name) for t, name in meta["stats"]["solvers"])}),
        state=_snapshot(meta.get("state"), arrays),
        info=meta["info"],
        layout=layout_from_json(meta["layout"]) if "layout" in meta else None,
        polished=Polished(arrays["polished/theta"], **meta["polished"]) if "polished" in meta else None,
    )


def _plain(value: Any) -> Any:
    """What JSON does not know of itself: numpy's numbers and arrays as lists, the rest as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _snapshot(stored: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> Snapshot | None:
    if stored is None:
        return None
    return Snapshot({name: arrays[f"state/{name}"] for name in stored["names"]}, stored["meta"])
