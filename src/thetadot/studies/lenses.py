"""The lenses that a study file may name; each lens package adds itself."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from thetadot.studies.errors import LensError

_registered: dict[str, tuple[type[BaseModel], Callable[..., Any]]] = {}


def register_lens(name: str, options: type[BaseModel], analyse: Callable[..., Any]) -> None:
    """Make a lens available to study files as `lenses: {name: {option: value}}`.

    Arguments:
        name: key in the study file.
        options: pydantic model of the lens's options, which forbids unknown keys.
        analyse: (problem, path, options) → result with `to_xarray()`.

    Raises:
        LensError: another lens has this name.
    """
    if name in _registered and _registered[name] != (options, analyse):
        raise LensError(f"a lens named {name} is registered already: choose another name")
    _registered[name] = (options, analyse)


def lens_names() -> tuple[str, ...]:
    """Names of the lenses of this version."""
    return tuple(_registered)


def lens_options(name: str) -> type[BaseModel]:
    """The options of a lens.

    Raises:
        LensError: this version has no such lens; the message says which it has.
    """
    if name not in _registered:
        have = f"has {', '.join(_registered)}" if _registered else "has no lenses yet"
        raise LensError(f"unknown lens `{name}`: this version of thetadot {have}")
    return _registered[name][0]
