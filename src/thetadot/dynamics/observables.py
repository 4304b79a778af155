"""What can be watched along a run besides the loss."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from thetadot.errors import ThetadotError
from thetadot.numerics.linalg import lanczos
from thetadot.problems import EmpiricalRisk, Problem


class ObservableError(ThetadotError):
    """An observable that is unknown or does not apply to the system."""


_SHARPNESS_RESIDUAL = 1e-4  # relative; the eigenvalue's own error is of the order of its square
_SHARPNESS_PRODUCTS = 48  # the tridiagonal eigenproblem, not the products, is what costs beyond this


def _push(vector: Float[Array, " P"], push: Callable) -> Float[Array, " P"]:
    return push(vector)


def sharpness(theta: Float[Array, " P"], problem: Problem) -> Float[Array, ""]:
    """Largest (algebraic) eigenvalue of the Hessian, by Lanczos with full reorthogonalisation on one
    linearisation of the gradient."""
    _, _, push = problem.linearize(theta)
    found = lanczos(
        _push,
        theta.size,
        args=push,
        ends="largest",
        tolerance=_SHARPNESS_RESIDUAL,
        iterations=_SHARPNESS_PRODUCTS,
    )
    return found.largest


def layer_norms(theta: Float[Array, " P"], problem: Problem) -> Float[Array, " slices"]:
    """Euclidean norm of each slice of the layout, in its order."""
    return jnp.stack([jnp.linalg.norm(theta[part]) for part in problem.layout.slices.values()])


def balancedness(theta: Float[Array, " P"], problem: Problem) -> Float[Array, " neurons"]:
    """‖incoming‖² + bias² − ‖outgoing‖² of each hidden neuron: conserved by the gradient flow of networks that are
    homogeneous of degree one in each neuron (ReLU, linear)."""
    return jnp.stack(
        [
            jnp.sum(theta[neuron.incoming] ** 2)
            + jnp.sum(theta[neuron.bias] ** 2)
            - jnp.sum(theta[neuron.outgoing] ** 2)
            for neuron in problem.layout.neurons
        ]
    )


def alignment(theta: Float[Array, " P"], problem: Problem) -> Float[Array, ""]:
    """Cosine between θ and −∇L: 1 where the weights grow along their own direction (a KKT direction)."""
    gradient = problem.value_and_grad(theta)[1]
    sizes = jnp.linalg.norm(theta) * jnp.linalg.norm(gradient)
    return -jnp.dot(theta, gradient) / jnp.where(sizes > 0, sizes, 1.0)


def held_out_loss(theta: Float[Array, " P"], problem: EmpiricalRisk) -> Float[Array, ""]:
    """Mean loss over the held-out samples."""
    return problem.test_loss(theta)


def accuracy(theta: Float[Array, " P"], problem: EmpiricalRisk) -> Float[Array, ""]:
    """Share of the samples whose class is predicted."""
    return problem.accuracy(theta)


def held_out_accuracy(theta: Float[Array, " P"], problem: EmpiricalRisk) -> Float[Array, ""]:
    """Share of the held-out samples whose class is predicted."""
    return problem.accuracy(theta, "test")


_OF_SAMPLES = ("test_loss", "accuracy", "test_accuracy")

BUILT_IN = {
    "sharpness": sharpness,
    "layer_norms": layer_norms,
    "balancedness": balancedness,
    "alignment": alignment,
    "test_loss": held_out_loss,
    "accuracy": accuracy,
    "test_accuracy": held_out_accuracy,
}


def resolve_observables(
    observe: Sequence[str] | Mapping[str, str | Callable], problem: Problem | None
) -> tuple[tuple[str, Callable], ...]:
    """(name, fn(theta, args)) of each observable.

    Raises:
        ObservableError: unknown name, no problem to observe, no hidden neurons for `balancedness`, no held-out samples
            or no classes for those that need them.
    """
    if isinstance(observe, str):
        observe = (observe,)
    named = dict(observe) if isinstance(observe, Mapping) else {name: name for name in observe}
    resolved = []
    for name, fn in named.items():
        if isinstance(fn, str):
            if fn not in BUILT_IN:
                raise ObservableError(
                    f"observable {fn!r} is not known: choose {', '.join(BUILT_IN)}, or give {{name: fn(theta, args)}}"
                )
            if problem is None:
                raise ObservableError(
                    f"observable {fn!r} needs a problem; this system has none: give a function"
                )
            if fn == "balancedness" and not problem.layout.neurons:
                raise ObservableError("balancedness needs hidden neurons; this problem's layout names none")
            if fn in _OF_SAMPLES:
                _require_samples(fn, problem)
            fn = BUILT_IN[fn]
        elif not callable(fn):
            raise ObservableError(
                f"observable {name!r} must be a name or a function (theta, args), got {fn!r}"
            )
        resolved.append((name, fn))
    return tuple(resolved)


def _require_samples(name: str, problem: Problem) -> None:
    """Raise `ObservableError` unless the problem has the samples and the classes that an observable looks at."""
    if not isinstance(problem, EmpiricalRisk):
        raise ObservableError(f"{name} looks at samples, and this problem ({problem.description}) has none")
    try:
        theta = jax.ShapeDtypeStruct((problem.size,), jnp.float64)
        jax.eval_shape(BUILT_IN[name], theta, problem)
    except ThetadotError as error:
        raise ObservableError(f"{name} cannot be observed: {error}") from error


def check_observables(observe: tuple[tuple[str, Callable], ...], y: Float[Array, " n"], args: Any) -> None:
    """Trace each observable once per shape, so that a wrong one fails early and by name."""
    arrays, rest = eqx.partition((y, args), eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    for name, fn in observe:
        try:
            out = _shape(fn, shapes, structure, Static(rest))
        except Exception as error:
            raise ObservableError(f"observable {name!r} cannot be evaluated: {error}") from error
        if not hasattr(out, "shape"):
            raise ObservableError(f"observable {name!r} must return one array, got {type(out).__name__}")


class Static:
    """The part of a pytree that is no array, hashed by its leaves."""

    def __init__(self, tree: Any):
        self.tree = tree
        leaves, structure = jax.tree.flatten(tree)
        self._key = (tuple(leaves), structure)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._key == other._key


@functools.lru_cache(maxsize=256)
def _shape(fn: Callable, shapes: tuple, structure: Any, rest: Static) -> Any:
    arrays = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*shape) for shape in shapes])

    def evaluate(arrays: Any) -> Any:
        return fn(*eqx.combine(arrays, rest.tree))

    return jax.eval_shape(evaluate, arrays)
