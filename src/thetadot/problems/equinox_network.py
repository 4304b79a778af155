"""Equinox modules as networks: every inexact array leaf is a parameter, in tree order; the rest is static."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.errors import ThetadotError
from thetadot.problems.activations import Activation, as_activation
from thetadot.problems.carried import Carried, Structure, carry, skeleton
from thetadot.problems.chain import Chain, chain_layout, existing
from thetadot.problems.checks import Numbers, as_float64, as_vector, require_finite
from thetadot.problems.errors import NetworkError
from thetadot.problems.layout import Layout, path_name, tree_layout


class EquinoxNetwork(eqx.Module):
    """An Equinox module as a network; build it with `of`, or let `from_equinox` do it.

    Attributes:
        parameters: the module's own parameters (P,), which `initial` scales.
        chain: the equal chain of dense layers, if the module is an `eqx.nn.MLP`; else None.
    """

    parameters: Array
    _others: Carried
    _tree: Structure = eqx.field(static=True)
    _shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)
    _dense: tuple[tuple[int, ...], tuple[bool, ...]] | None = eqx.field(static=True)
    chain: Chain | None = eqx.field(static=True)

    @classmethod
    def of(cls, module: eqx.Module) -> "EquinoxNetwork":
        """Take a module apart.

        Raises:
            NetworkError: the module cannot be called or has no parameters.
            PrecisionError: parameters that are not float64.
        """
        if not callable(module):
            raise NetworkError(
                f"{type(module).__name__} cannot be called: give a module with __call__(self, x)"
            )
        given, others = eqx.partition(module, eqx.is_inexact_array)
        paths = jax.tree.leaves_with_path(given)
        if not paths:
            raise NetworkError(f"{type(module).__name__} has no inexact array leaf, that is, no parameters")
        named = [(path_name(path), as_float64(leaf, path_name(path))) for path, leaf in paths]
        flat = jnp.concatenate([jnp.ravel(leaf) for _, leaf in named])
        require_finite(flat, f"the parameters of {type(module).__name__}")
        shapes = tuple((name, leaf.shape) for name, leaf in named)
        dense = _dense_layers(module, shapes)
        return cls(flat, carry(others, "the module"), skeleton(given), shapes, dense, _chain(module, dense))

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.parameters.shape[-1]

    @property
    def layout(self) -> Layout:
        """One slice per array leaf, named by its path; for an `eqx.nn.MLP` the names and neurons of `mlp`."""
        return tree_layout(self._shapes) if self._dense is None else chain_layout(*self._dense)

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Name of the module's class and number of parameters."""
        return f"Equinox {type(self._others.value).__name__} of {self.size} parameters"

    @property
    def activation(self) -> Activation:
        """That of a chain of dense layers; other modules do not have this attribute."""
        return existing(self.chain).activation

    @property
    def preactivations(self) -> Callable[[Array, Array], dict[int, Array]]:
        """(θ, x) → {hidden layer: arguments of its activation} of a chain; other modules do not have it."""
        return existing(self.chain).preactivations

    def initial(self, key: PRNGKeyArray | None = None, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """The module's own parameters × scale; the key is not used."""
        return self.parameters * scale

    def unravel(self, theta: Numbers) -> Any:
        """The module with the parameters θ (P,)."""
        theta = as_vector(theta, self.size, "theta")
        arrays = list(tree_layout(self._shapes).split(theta).values())
        return eqx.combine(jax.tree.unflatten(self._tree.tree, arrays), self._others.value)

    def evaluate(self, theta: Float[Array, " P"], x: Float[Array, "..."]) -> Any:
        """Output of the module for one sample x."""
        return self.unravel(theta)(x)


def _dense_layers(
    module: Any, shapes: tuple[tuple[str, tuple[int, ...]], ...]
) -> tuple[tuple[int, ...], tuple[bool, ...]] | None:
    """(widths, biases) if the parameters are exactly those of a chain of dense layers."""
    if not isinstance(module, eqx.nn.MLP):
        return None
    weights = [layer.weight.shape for layer in module.layers]
    widths = (weights[0][1], *(shape[0] for shape in weights))
    biases = tuple(layer.bias is not None for layer in module.layers)
    if list(chain_layout(widths, biases).shapes.values()) != [shape for _, shape in shapes]:
        return None
    return widths, biases


def _chain(module: Any, dense: tuple[tuple[int, ...], tuple[bool, ...]] | None) -> Chain | None:
    if dense is None or "scalar" in (module.in_size, module.out_size):
        return None
    plain_end = inspect.signature(eqx.nn.MLP).parameters["final_activation"].default
    if getattr(module.final_activation, "__name__", "") != plain_end.__name__:
        return None
    try:
        return Chain(*dense, as_activation(module.activation))
    except ThetadotError:
        return None
