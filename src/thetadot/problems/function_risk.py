"""Any scalar JAX function as a problem."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.carried import Carried, Structure, carry, skeleton
from thetadot.problems.checks import Numbers, as_float64, as_vector, first_line, require_finite
from thetadot.problems.columns import hessian_by_columns, require_size
from thetadot.problems.errors import NetworkError, NoPredictionError, ShapeError
from thetadot.problems.layout import Layout, path_name, tree_layout
from thetadot.problems.problem import Problem


@jax.jit
def _value(problem: "FunctionRisk", theta: Array) -> Array:
    return problem.function(problem.unravel(theta))


@jax.jit
def _value_and_grad(problem: "FunctionRisk", theta: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(_value, argnums=1)(problem, theta)


@jax.jit
def _hessian(problem: "FunctionRisk", theta: Array) -> Array:
    return hessian_by_columns(problem, theta)


class FunctionRisk(Problem):
    """Any scalar JAX function of any pytree of parameters as a problem.

    Arguments:
        f: parameters (shaped like the example) → scalar. Data that f closes over is compiled in as
            constants; to have it travel as an argument, let f be an Equinox module or a
            `jax.tree_util.Partial` that holds it.
        theta_example: a pytree of float64 arrays, the start that `init` scales. θ is its leaves in tree
            order.

    Raises:
        PrecisionError: float32 leaves.
        DataError: NaN or infinite entries in the example.
        ShapeError: f does not return a float64 scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> scalar_net = lambda t: (t["a"] * t["b"] - 1.0) ** 2 / 2
        >>> problem = FunctionRisk(scalar_net, {"a": jnp.array(1.0), "b": jnp.array(1.0)})
        >>> problem.value_and_grad(jnp.array([2.0, 1.0]))[1].tolist()
        [1.0, 2.0]
    """

    example: Array
    _function: Carried
    _tree: Structure = eqx.field(static=True)
    _shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)

    def __init__(self, f: Callable, theta_example: Any):
        example = jax.tree.map(lambda leaf: as_float64(leaf, "theta_example"), theta_example)
        paths = jax.tree.leaves_with_path(example)
        if sum(leaf.size for _, leaf in paths) == 0:
            raise NetworkError("theta_example holds no parameters: give a pytree of float64 arrays")
        flat = jnp.concatenate([jnp.ravel(leaf) for _, leaf in paths])
        require_finite(flat, "theta_example")
        try:
            value = jax.eval_shape(f, example)
        except Exception as error:
            raise ShapeError(f"f cannot take theta_example: {first_line(error)}") from error
        if getattr(value, "shape", None) != () or value.dtype != np.float64:
            raise ShapeError(f"f must return a float64 scalar, it returns {value}")
        self.example = flat
        self._function = carry(f, "f")
        self._tree = skeleton(example)
        self._shapes = tuple((path_name(path), leaf.shape) for path, leaf in paths)

    @property
    def function(self) -> Callable:
        """f, as given."""
        return self._function.value

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.layout.size

    @property
    def layout(self) -> Layout:
        """One slice per leaf, named by its path in the example ("theta" if the example is one array)."""
        return tree_layout(self._shapes)

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Name of the function and number of parameters."""
        function = self.function
        name = getattr(function, "__name__", type(function).__name__)
        return f"function {name} of {self.size} parameters"

    @property
    def hessian_method(self) -> str:
        """How `hessian` works: "by columns"."""
        return "by columns"

    def init(self, key: PRNGKeyArray | None = None, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """The example × scale; the key is not used."""
        return self.example * scale

    def loss(self, theta: Numbers) -> Float[Array, ""]:
        """f(θ)."""
        return _value(self, as_vector(theta, self.size, "theta"))

    def value_and_grad(self, theta: Numbers) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """(f(θ), ∇f(θ)) at the cost of one gradient."""
        return _value_and_grad(self, as_vector(theta, self.size, "theta"))

    def hessian(self, theta: Numbers) -> Float[Array, "P P"]:
        """∇²f(θ) (P, P), by columns within a cap on memory; `HessianTooLargeError` beyond 16 GiB."""
        require_size(self.size)
        return _hessian(self, as_vector(theta, self.size, "theta"))

    def predict(self, theta: Numbers, x: Numbers) -> Any:
        """Raises `NoPredictionError`: a function of the parameters alone predicts nothing."""
        raise NoPredictionError(
            f"{self.description} has no network and predicts nothing; pose the problem as "
            "EmpiricalRisk(network, "
            "loss, x, y) to have predictions"
        )

    def unravel(self, theta: Numbers) -> Any:
        """θ as a pytree like the example."""
        theta = as_vector(theta, self.size, "theta")
        return jax.tree.unflatten(self._tree.tree, list(self.layout.split(theta).values()))
