"""A network as a list of PyTorch's operations, run by JAX: what an import makes, and all that its runs need."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.activations import Activation
from thetadot.problems.chain import Chain, existing
from thetadot.problems.checks import first_line
from thetadot.problems.errors import ShapeError
from thetadot.problems.layout import Layout
from thetadot.problems.pytorch.operations import OPERATIONS


@dataclasses.dataclass(frozen=True)
class Value:
    """The result of an earlier step, by its number; 0 is the input."""

    number: int


@dataclasses.dataclass(frozen=True)
class Stored:
    """A parameter, or a stored array that is not trained, by its name in the state_dict."""

    name: str


@dataclasses.dataclass(frozen=True)
class Part:
    """A slice of an axis."""

    start: Any
    stop: Any
    step: Any


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        operation: its name.
        arguments: values, stored arrays, numbers, and tuples of these.
        settings: further arguments by name.
        source: how PyTorch calls the layer or function, for messages.
    """

    operation: str
    arguments: tuple[Any, ...]
    settings: tuple[tuple[str, Any], ...]
    source: str


class TorchNetwork(eqx.Module):
    """A PyTorch module as a network; `from_torch` builds it.

    Attributes:
        parameters: the module's own parameters (P,), which `initial` scales.
        constants: {name in the state_dict: array} of what the module stores and does not train.
        keys: (name in the state_dict, name of the parameter or stored array that it is), of all its entries.
        others: (name, value as text) of stored whole numbers.
        sizes: shape of a sample, and of every step's result for it; None for what is no array.
        chain: the equal chain of dense layers, if the module is one; else None.
    """

    parameters: Array
    constants: dict[str, Array]
    name: str = eqx.field(static=True)
    steps: tuple[Step, ...] = eqx.field(static=True)
    output: Any = eqx.field(static=True)
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)
    keys: tuple[tuple[str, str], ...] = eqx.field(static=True)
    others: tuple[tuple[str, str], ...] = eqx.field(static=True)
    sizes: tuple[tuple[int, ...] | None, ...] = eqx.field(static=True)
    chain: Chain | None = eqx.field(static=True)

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.parameters.shape[-1]

    @property
    def layout(self) -> Layout:
        """One slice per parameter, named as in the state_dict, and the hidden neurons that can be told apart; for a
        chain of dense layers the names and neurons of `mlp`."""
        if self.chain is not None:
            return self.chain.layout
        from thetadot.problems.pytorch.neurons import named_layout

        return named_layout(self.steps, self.output, self.shapes, self.sizes)

    @property
    def activation(self) -> Activation:
        """That of a chain of dense layers; other modules do not have this attribute."""
        return existing(self.chain).activation

    @property
    def preactivations(self) -> Callable[[Array, Array], dict[int, Array]]:
        """(θ, x) → {hidden layer: arguments of its activation} of a chain; other modules do not have it."""
        return existing(self.chain).preactivations

    @property
    def readout(self) -> str | None:
        """Name of the dense layer whose results are the outputs, if its weights do nothing else; None otherwise."""
        last = self.steps[self.output.number - 1] if self.output.number else None
        if last is None or last.operation != "linear":
            return None
        uses = [one.name for step in self.steps for one in step.arguments if isinstance(one, Stored)]
        weight, bias = last.arguments[1:]
        given = [one for one in (weight, bias) if one is not None]
        if any(not isinstance(one, Stored) or uses.count(one.name) > 1 for one in given):
            return None
        name, _, role = weight.name.rpartition(".")
        return name if role == "weight" and weight.name in dict(self.shapes) else None

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Name of the module's class and number of parameters."""
        return f"PyTorch {self.name} of {self.size} parameters"

    def initial(self, key: PRNGKeyArray | None = None, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """The module's own parameters × scale; the key is not used."""
        return self.parameters * scale

    def split(self, theta: Float[Array | np.ndarray, " P"]) -> dict[str, Any]:
        """{name in the state_dict: array} of the parameters θ."""
        return Layout(dict(self.shapes)).split(theta)

    def flatten(self, state: Mapping[str, Any]) -> Float[np.ndarray, " P"]:
        """The parameters in a state_dict as θ.

        Raises:
            ShapeError: a parameter is missing, or has another shape.
        """
        parts = []
        for name, shape in self.shapes:
            if name not in state:
                raise ShapeError(f"the state_dict has no {name}: it has {', '.join(list(state)[:6])} …")
            values = as_numbers(state[name])
            if values.shape != shape:
                raise ShapeError(f"{name} has shape {values.shape} in the state_dict, {shape} in the problem")
            parts.append(values.ravel())
        return np.concatenate(parts)

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Any:
        """Output of the module for one sample x."""
        if self.chain is not None:
            return self.chain.evaluate(theta, x)
        return self.values(theta, x[None])[-1][0]

    def values(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> list[Any]:
        """The result of every step for a batch x (N, …), and the output."""
        stored = {**self.constants, **self.split(theta)}
        found: list[Any] = [x]
        for step in self.steps:
            arguments = _filled(step.arguments, found, stored)
            settings = {name: _filled(value, found, stored) for name, value in step.settings}
            try:
                found.append(OPERATIONS[step.operation](*arguments, **settings))
            except Exception as error:
                raise ShapeError(
                    f"{step.source} cannot take what it is given: {first_line(error)}"
                ) from error
        found.append(_filled(self.output, found, stored))
        return found


def as_numbers(given: Any) -> np.ndarray:
    """A tensor of PyTorch, or an array, as float64."""
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, float)


def _filled(given: Any, found: list[Any], stored: Mapping[str, Any]) -> Any:
    """A template with its values in place."""
    if isinstance(given, Value):
        return found[given.number]
    if isinstance(given, Stored):
        return jnp.asarray(stored[given.name])
    if isinstance(given, Part):
        return slice(*(_filled(item, found, stored) for item in (given.start, given.stop, given.step)))
    if isinstance(given, tuple):
        return tuple(_filled(item, found, stored) for item in given)
    return given


@jax.jit
def outputs(network: TorchNetwork, theta: Array, x: Array) -> Array:
    """Outputs for a batch, as training computes them: sample by sample, or of all samples by a chain."""
    if network.chain is not None:
        return network.chain.evaluate_all(theta, x).T
    return jax.vmap(lambda one: network.evaluate(theta, one))(x)


@jax.jit
def pulled_back(network: TorchNetwork, theta: Array, x: Array, weights: Array) -> Array:
    """Gradient of Σ weights · outputs with respect to θ."""
    return jax.grad(lambda at: jnp.sum(weights * outputs(network, at, x)))(theta)
