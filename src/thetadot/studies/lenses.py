"""The lenses that a study file may name: those of thetadot, imported when a study names them, and a user's own."""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from thetadot.studies.errors import LensError

PACKAGED = (
    "stability",
    "saddles",
    "conservation",
    "symmetry",
    "integrability",
    "fluctuations",
    "simulators",
)
"""Names of the packages whose module `study` binds a lens: `Options`, `analyse` and, if wanted, `COMPARED`."""

RESERVED = "compare"


@dataclasses.dataclass(frozen=True)
class Lens:
    """A lens as a study uses it.

    Attributes:
        options: pydantic model of its options, which forbids unknown keys.
        analyse: (problem, path, options) → result with `to_xarray()` and `summary()`; a keyword argument `rule`
            receives the learning rule of the path, None for a flow. Its package's `ThetadotError` says that it does
            not apply.
        compared: kinds of comparison rules ("gradient_descent", …) whose paths it looks at beside the main ones.
    """

    options: type[BaseModel]
    analyse: Callable[..., Any]
    compared: tuple[str, ...] = ()

    def __call__(self, problem: Any, path: Any, options: BaseModel, rule: Any) -> Any:
        """The result on one path."""
        wants = "rule" in inspect.signature(self.analyse).parameters
        return self.analyse(problem, path, options, **({"rule": rule} if wants else {}))


_registered: dict[str, Lens] = {}


def register_lens(
    name: str, options: type[BaseModel], analyse: Callable[..., Any], compared: Sequence[str] = ()
) -> None:
    """Make a lens available to study files as `lenses: {name: {option: value}}`.

    Arguments:
        name: key in the study file: letters, digits and underscores.
        options: pydantic model of the lens's options, which forbids unknown keys.
        analyse: (problem, path, options) → result with `to_xarray()` and `summary()`; if it has an argument `rule`,
            it gets the learning rule too (None for a flow). A `ThetadotError` says that the lens does not apply.
        compared: kinds of comparison rules whose paths it looks at too, as ("gradient_descent",).

    Raises:
        LensError: another lens has this name, or the name cannot be one.

    Example:
        >>> import pydantic
        >>> class Options(pydantic.BaseModel, extra="forbid"):
        ...     power: int = 2
        >>> register_lens("lengths", Options, lambda problem, path, options: ...)
        >>> lens_options("lengths")().power
        2
    """
    if not name.isidentifier() or name == RESERVED:
        raise LensError(f"a lens cannot be named {name!r}: expected letters, digits, underscores")
    lens = Lens(options, analyse, tuple(compared))
    if name in PACKAGED or _registered.get(name, lens) != lens:
        raise LensError(f"a lens named {name} is registered already: choose another name")
    _registered[name] = lens


def lens_names() -> tuple[str, ...]:
    """Names of the lenses of this version, and of those that were registered."""
    return (*PACKAGED, *_registered)


def own_lenses() -> dict[str, Lens]:
    """The lenses that users registered."""
    return dict(_registered)


def adopt_lenses(lenses: Mapping[str, Lens]) -> None:
    """Register what another process registered."""
    _registered.update(lenses)


def find_lens(name: str) -> Lens:
    """A lens by its name; its package is imported.

    Raises:
        LensError: this version has no such lens; the message says which it has.
    """
    if name in _registered:
        return _registered[name]
    if name not in PACKAGED:
        raise LensError(f"unknown lens `{name}`: this version of thetadot has {', '.join(lens_names())}")
    return _packaged(name)


@functools.cache
def _packaged(name: str) -> Lens:
    module = importlib.import_module(f"thetadot.{name}.study")
    return Lens(module.Options, module.analyse, tuple(getattr(module, "COMPARED", ())))


def lens_options(name: str) -> type[BaseModel]:
    """The options of a lens.

    Raises:
        LensError: this version has no such lens.
    """
    return find_lens(name).options
