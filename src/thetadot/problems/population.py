"""The risk of a network over infinitely many inputs of a known law: exact expectations, no sampling."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.numerics.gaussian import NotSmoothError
from thetadot.numerics.gaussian.hermite import require_smooth
from thetadot.numerics.gaussian.rows import lengths_and_directions
from thetadot.problems.carried import Carried, carry
from thetadot.problems.checks import Numbers, as_float64, as_vector, first_line, known_name
from thetadot.problems.columns import hessian_by_columns, require_size
from thetadot.problems.empirical import _as_network
from thetadot.problems.errors import ProblemError, ShapeError, UnsupportedExpectation
from thetadot.problems.expectations import closed_kernel
from thetadot.problems.inputs import GaussianInputs, InputLaw
from thetadot.problems.layout import Layout
from thetadot.problems.population_rules import (
    closed_hessian,
    closed_risk,
    cubature_risk,
    cubature_rule,
    potential,
    series_error,
    series_risk,
)
from thetadot.problems.problem import Problem
from thetadot.problems.targets import LinearTarget, Target
from thetadot.problems.teacher_target import TeacherTarget
from thetadot.problems.two_layer import TwoLayer

METHODS = ("auto", "closed", "series", "cubature")
_SERIES_ORDERS = (32, 64, 128, 256)
_CUBATURE_ORDERS = (20, 40, 80, 160)
_MOST_NODES = 5_000_000


@jax.jit
def _value_and_grad(problem: "PopulationRisk", theta: Array) -> tuple[Array, Array]:
    if problem.method == "closed":
        return closed_risk(problem, theta)
    rule = series_risk if problem.method == "series" else cubature_risk
    return jax.value_and_grad(lambda point: rule(problem, point))(theta)


@jax.jit
def _loss(problem: "PopulationRisk", theta: Array) -> Array:
    if problem.method == "closed":
        return closed_risk(problem, theta)[0]
    return (series_risk if problem.method == "series" else cubature_risk)(problem, theta)


@jax.jit
def _hessian(problem: "PopulationRisk", theta: Array) -> Array:
    if problem.method == "closed":
        return closed_hessian(problem, theta)
    return hessian_by_columns(problem, theta)


@jax.jit
def _predict(problem: "PopulationRisk", theta: Array, x: Array) -> Any:
    network = problem.network
    return jax.vmap(lambda one: network.evaluate(theta, one))(x)


class PopulationRisk(Problem):
    """F(θ) = ½E[(f(θ; x) − f*(x))²] over a law of inputs: infinitely many samples, expectations to rounding.

    Arguments:
        network: a `two_layer` network; for "cubature" any network with one output.
        target: a `Target`; for "cubature" also any function x (N, d) → (N,).
        inputs: `GaussianInputs` or `SphereInputs`.
        method: "closed" (ReLU, leaky ReLU and identity with every target; erf and squared ReLU with a teacher of the
            same activation; erf with a linear target), "series" (Hermite series for smooth activations with teacher or
            linear targets, biases allowed), "cubature" (tensor Gauss–Hermite in at most 3 dimensions), or "auto": the
            first of these that applies.
        order: terms of the series, or nodes per axis; None doubles it until `tolerance` is met, then fixes it.
        tolerance: wanted error of the risk for unit-norm neurons ("series", "cubature").

    Attributes:
        network, target, inputs, tolerance: as given. method: the one that is used. order: of it; None if closed.

    Raises:
        UnsupportedExpectation: no rule applies, or none meets the tolerance.
        ShapeError: dimensions differ.

    Source: closed kernels as in `thetadot.numerics.gaussian`; the risk, its gradient and Hessian are re-derived.

    Example:
        >>> import jax, thetadot as td
        >>> network = td.two_layer(5, 8, "relu", scaling="mean_field")
        >>> problem = td.PopulationRisk(network, td.ProductTarget(0, 1), td.GaussianInputs(5))
        >>> problem.method, f"{problem.loss(0 * problem.init(jax.random.key(0))):.3f}"
        ('closed', '0.500')
    """

    target: Any
    inputs: InputLaw
    power: Array
    nodes: Array | None
    weights: Array | None
    values: Array | None
    _network: Carried
    method: str = eqx.field(static=True)
    order: int | None = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)

    def __init__(
        self,
        network: Any,
        target: Target | Callable,
        inputs: InputLaw,
        *,
        method: str = "auto",
        order: int | None = None,
        tolerance: float = 1e-8,
    ):
        known_name(method, METHODS, "method")
        network = _as_network(network)
        if not isinstance(inputs, InputLaw):
            raise ProblemError(
                f"inputs is a {type(inputs).__name__}: expected GaussianInputs or SphereInputs"
            )
        if isinstance(network, TwoLayer) and network.dimension != inputs.dimension:
            raise ShapeError(
                f"the network takes {network.dimension} inputs, the law of the inputs has dimension {inputs.dimension}"
            )
        if order is not None and (
            isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 2
        ):
            raise ProblemError(f"order is {order!r}, expected a whole number of at least 2")
        self._network = carry(network, "the network")
        self.target = target if isinstance(target, Target) else carry(target, "the target")
        self.inputs, self.tolerance = inputs, float(tolerance)
        refused = []
        for candidate in ("closed", "series", "cubature") if method == "auto" else (method,):
            try:
                self._use(candidate, None if order is None else int(order))
                return
            except (UnsupportedExpectation, NotSmoothError) as error:
                refused.append(f"{candidate}: {first_line(error)}")
        raise UnsupportedExpectation(
            refused[0].partition(": ")[2]
            if len(refused) == 1
            else "no exact rule applies; " + "; ".join(refused)
        )

    def _use(self, method: str, order: int | None) -> None:
        self.nodes = self.weights = self.values = None
        self.method, self.order = method, None
        if method == "cubature":
            self._use_cubature(order)
            return
        network = self.network
        if not isinstance(network, TwoLayer):
            raise UnsupportedExpectation("a two_layer network is needed for exact expectations")
        if not isinstance(self.target, Target):
            raise UnsupportedExpectation("a Target is needed, not a function")
        probe = jnp.eye(1, network.dimension)
        if method == "closed":
            if network.bias:
                raise UnsupportedExpectation(
                    "biases have no closed expectation here: use a smooth activation or bias=False"
                )
            activation = network.activation
            closed_kernel(probe, probe, activation, activation, self.inputs)
            moment = self.target.moment(probe, self.inputs, activation, activation.slope)
            self.power = jnp.asarray(self.target.power(self.inputs))
            if moment.shape != (1,) or self.power.shape != ():
                raise ShapeError(
                    f"the target's moment of (1, d) weights has shape {moment.shape} and its power {self.power.shape}, "
                    "expected (1,) and ()"
                )
            return
        self._use_series(order)

    def _use_series(self, order: int | None) -> None:
        network = self.network
        if not isinstance(self.target, (LinearTarget, TeacherTarget)) or not isinstance(
            self.inputs, GaussianInputs
        ):
            raise UnsupportedExpectation("the series needs Gaussian inputs and a linear or teacher target")
        if network.activation.kinked:
            raise UnsupportedExpectation(
                f"{network.activation.name} has a kink, for which the series converges slowly"
            )
        require_smooth(network.activation, jnp.ones(1))
        if isinstance(self.target, TeacherTarget):
            lengths, _ = lengths_and_directions(self.inputs.whiten(self.target.incoming))
            require_smooth(self.target.activation, lengths, self.target.biases)
        probe = two_unit_neurons(network)
        self.power = jnp.asarray(0.0)
        for candidate in _SERIES_ORDERS if order is None else (order,):
            self.order = candidate
            error = series_error(self, probe)
            if error <= self.tolerance or order is not None:
                self.power = (
                    self.target.series_power(self.inputs, candidate)
                    if isinstance(self.target, TeacherTarget)
                    else self.target.power(self.inputs)
                )
                return
        raise UnsupportedExpectation(
            f"256 terms of the series leave {error:.1e} for unit-norm neurons, more than the tolerance "
            f"{self.tolerance:.0e}"
        )

    def _use_cubature(self, order: int | None) -> None:
        network, d = self.network, self.inputs.dimension
        if not isinstance(self.inputs, GaussianInputs) or d > 3:
            raise UnsupportedExpectation(
                f"cubature needs Gaussian inputs in at most 3 dimensions, given {self.inputs.description}"
            )
        probe = network.initial(jax.random.key(0), 1.0)
        for candidate in _CUBATURE_ORDERS if order is None else (order,):
            if candidate**d > _MOST_NODES:
                break
            self._place(candidate)
            error = self.expectation_error(probe)
            if order is not None or error <= self.tolerance:
                return
        raise UnsupportedExpectation(
            f"cubature with {self.order} nodes per axis errs by {error:.1e}, more than the tolerance "
            f"{self.tolerance:.0e}"
        )

    def _place(self, order: int) -> None:
        nodes, weights = cubature_rule(self.inputs.dimension, order)
        self.order = order
        self.nodes, self.weights = self.inputs.whiten(jnp.asarray(nodes)), jnp.asarray(weights)
        values = self.evaluate_target(self.nodes)
        if values.shape != (nodes.shape[0],):
            raise ShapeError(f"the target maps (N, d) to {values.shape}, expected (N,)")
        self.values = values
        self.power = self.weights @ values**2

    def evaluate_target(self, x: Numbers) -> Float[Array, " N"]:
        """f*(x) of each row of x (N, d)."""
        x = as_float64(x, "x")
        return self.target.evaluate(x) if isinstance(self.target, Target) else self.target.value(x)

    @property
    def network(self) -> Any:
        """The network, as given."""
        return self._network.value

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.network.size

    @property
    def layout(self) -> Layout:
        """Names of the slices of θ, and the hidden neurons."""
        return self.network.layout

    @property
    def time_scale(self) -> float:
        """1.0, or m for a mean-field scaled network of width m."""
        return float(self.network.time_scale)

    @property
    def description(self) -> str:
        """Network, target, law of inputs and method in one line; a time scale other than 1 is stated."""
        network = self.network
        text = getattr(network, "description", None) or type(network).__name__
        target = self.target.description if isinstance(self.target, Target) else "a function"
        method = self.method if self.order is None else f"{self.method} of order {self.order}"
        line = f"{text}, population risk against {target}, {self.inputs.description} ({method})"
        return line if self.time_scale == 1.0 else f"{line}, time scale {self.time_scale:g}"

    @property
    def hessian_method(self) -> str:
        """How `hessian` works: "closed", or "by columns"."""
        return "closed" if self.method == "closed" else "by columns"

    def init(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """A random start (P,), as the network draws it; in mean-field scaling unit-sphere and ±1 weights."""
        return self.network.initial(key, scale)

    def loss(self, theta: Numbers) -> Float[Array, ""]:
        """F(θ)."""
        return _loss(self, as_vector(theta, self.size, "theta"))

    def value_and_grad(self, theta: Numbers) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """(F(θ), ∇F(θ))."""
        return _value_and_grad(self, as_vector(theta, self.size, "theta"))

    def hessian(self, theta: Numbers) -> Float[Array, "P P"]:
        """∇²F(θ) (P, P); finite also where neurons coincide or oppose each other."""
        require_size(self.size)
        return _hessian(self, as_vector(theta, self.size, "theta"))

    def predict(self, theta: Numbers, x: Numbers) -> Any:
        """Output of the network for a batch x (N, d)."""
        x = as_float64(x, "x")
        if x.ndim != 2 or x.shape[1] != self.inputs.dimension:
            raise ShapeError(f"x has shape {x.shape}, expected (N, {self.inputs.dimension})")
        return _predict(self, as_vector(theta, self.size, "theta"), x)

    def unravel(self, theta: Numbers) -> Any:
        """{name: array}, or the user's own pytree."""
        theta = as_vector(theta, self.size, "theta")
        own = getattr(self.network, "unravel", None)
        return self.layout.split(theta) if own is None else own(theta)

    def potential(
        self, points: Float[Array, "n d"], outgoing: Float[Array, " m"], incoming: Float[Array, "m d"]
    ) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
        """g(b) = E[(f* − f)(x)σ(b·x)] and its gradient at other points than the neurons; closed risks only.

        Particles move by a′ = g(b), b′ = a∇g(b).
        """
        if self.method != "closed":
            raise UnsupportedExpectation("the potential at other points is known for closed risks only")
        return potential(self, points, outgoing, incoming)

    def expectation_error(self, theta: Numbers) -> float:
        """Bound on the error of F(θ): 0.0 in closed form (rounding aside), the series' own bound, or for cubature
        twice the change from `order` to 3·order/2 nodes per axis: enough where that halves the error at least."""
        theta = as_vector(theta, self.size, "theta")
        if self.method == "closed":
            return 0.0
        if self.method == "series":
            return series_error(self, theta)
        finer = object.__new__(type(self))
        for name in ("target", "inputs", "_network", "method", "tolerance"):
            object.__setattr__(finer, name, getattr(self, name))
        assert self.order is not None
        nodes, weights = cubature_rule(self.inputs.dimension, 3 * self.order // 2)
        places = self.inputs.whiten(jnp.asarray(nodes))
        for name, value in (
            ("order", 3 * self.order // 2), ("nodes", places), ("weights", jnp.asarray(weights)),
            ("values", self.evaluate_target(places)), ("power", self.power),
        ):  # fmt: skip
            object.__setattr__(finer, name, value)
        return 2.0 * abs(float(_loss(finer, theta)) - float(_loss(self, theta)))


def two_unit_neurons(network: TwoLayer) -> Array:
    """θ with unit-norm neurons of which two, coincident, count: where the series' bound is largest."""
    d, m = network.dimension, network.width
    rows = np.tile(np.eye(1, d), (m, 1))
    biases = np.zeros(m if network.bias else 0)
    outgoing = np.where(np.arange(m) < 2, 1.0, 0.0) / network.chain.output_scale
    return jnp.asarray(np.concatenate([rows.ravel(), biases, outgoing]))
