"""What makes two runs the same run: the configuration with defaults filled in, the files it names, the
version."""

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import thetadot
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import Origin

# Raised by hand whenever a change may alter a bit of what `flow` or `descend` return: older runs then stay
# readable, and are not gone on with.
NUMERICS = 3
_FILES = (("problem", "file"), ("problem", "data", "path"), ("init", "file"))


def configuration(spec: StudySpec) -> dict[str, Any]:
    """The study as plain data, defaults filled in; reading it again gives an equal study."""
    data = spec.model_dump(mode="json", exclude_none=True)
    init = data["init"]
    for one, others in (("scales", ("scale", "members")), ("file", ("scale", "scales", "members", "seed"))):
        if one in init:
            data["init"] = {key: value for key, value in init.items() if key not in others}
    return data


def named_files(spec: StudySpec, origin: Origin) -> dict[str, Path]:
    """{dotted key: file} of all files that a study names."""
    data, found = configuration(spec), {}
    for key in _FILES:
        here: Any = data
        for part in key:
            here = here.get(part) if isinstance(here, Mapping) else None
        if isinstance(here, str):
            found[".".join(key)] = (origin.directory / Path(here).expanduser()).absolute()
    return found


def configuration_hash(spec: StudySpec, origin: Origin) -> str:
    """SHA-256 of what decides the numbers of a run, besides versions.

    Files count by their content, not by their place. The budget does not count: it decides when a session
    stops, and the next one goes on to the same bits. What is written for people does not
    count either.
    """
    data = configuration(spec)
    for left_out in ("budget", "description", "takes"):
        data.pop(left_out, None)
    for dotted, file in named_files(spec, origin).items():
        *parents, last = dotted.split(".")
        here = data
        for part in parents:
            here = here[part]
        found = file.stat()
        here[last] = _digest(file, found.st_mtime_ns, found.st_size)
    return hashlib.sha256(canonical(data).encode()).hexdigest()


@functools.cache
def _digest(file: Path, changed: int, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def canonical(data: Any) -> str:
    """JSON with sorted keys and no blanks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def run_id(configured: str) -> str:
    """Identity of a run: hash of the configuration and the package version."""
    return hashlib.sha256(f"{configured} thetadot {thetadot.__version__}".encode()).hexdigest()


@functools.cache
def numerics_version() -> str:
    """What decides the bits: our own numerics and the compiler of JAX."""
    return f"{NUMERICS}, jaxlib {importlib.metadata.version('jaxlib')}"


def versions() -> dict[str, str]:
    """Versions of what computes the numbers, and the kind of processor."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "equinox", "numpy", "scipy", "optax")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found, "processor": platform.machine()}


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, str, str]]:
    """(key, value there, value here) of every key in which two configurations differ; values as JSON."""
    found = []
    for key in sorted({*there, *here}, key=str):
        before, after = there.get(key), here.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append((f"{prefix}{key}", json.dumps(before), json.dumps(after)))
    return found
