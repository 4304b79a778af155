"""The mean loss of a network over a data set."""

import logging
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.errors import ThetadotError
from thetadot.problems.carried import Carried, carry
from thetadot.problems.chain import Chain
from thetadot.problems.checks import Numbers, as_array, as_float64, as_vector, first_line, require_finite
from thetadot.problems.columns import hessian_by_columns, require_size
from thetadot.problems.data.dataset import name_of
from thetadot.problems.equinox_network import EquinoxNetwork
from thetadot.problems.errors import DataError, NetworkError, ShapeError
from thetadot.problems.hessian import chain_hessian
from thetadot.problems.layout import Layout
from thetadot.problems.losses import SampleLoss, check_labels, loss_name, losses_of, sample_loss
from thetadot.problems.problem import Problem
from thetadot.problems.products import linearize_chain

_log = logging.getLogger("thetadot.problems")
_MEMBERS = ("size", "layout", "time_scale", "initial", "evaluate")


class _Caption:
    """The name of the data for summaries; all are equal, so that a name never makes JAX compile again."""

    def __init__(self, text: str):
        self.text = text

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Caption)


@jax.jit
def _sample_losses(problem: "EmpiricalRisk", theta: Array, x: Array, y: Array) -> Array:
    network, loss, chain = problem.network, problem.sample_loss, structured_chain(problem)
    if chain is not None:
        return losses_of(loss, chain.evaluate_all(theta, x), y)
    return jax.vmap(lambda one, label: loss(network.evaluate(theta, one), label))(x, y)


@jax.jit
def _risk(problem: "EmpiricalRisk", theta: Array) -> Array:
    return jnp.mean(_sample_losses(problem, theta, problem.x, problem.y))


@jax.jit
def _value_and_grad(problem: "EmpiricalRisk", theta: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(_risk, argnums=1)(problem, theta)


@jax.jit
def _predict(problem: "EmpiricalRisk", theta: Array, x: Array) -> Any:
    network = problem.network
    return jax.vmap(lambda one: network.evaluate(theta, one))(x)


@jax.jit
def _hessian(problem: "EmpiricalRisk", theta: Array) -> Array:
    chain = structured_chain(problem)
    if chain is None:
        _log.info("Hessian of %s by columns: the network is not a chain of dense layers", problem.description)
        return hessian_by_columns(problem, theta)
    return chain_hessian(chain, problem.sample_loss, theta, problem.x, problem.y)


@jax.jit
def _linearize(problem: "EmpiricalRisk", theta: Array):
    chain = structured_chain(problem)
    assert chain is not None
    return linearize_chain(chain, problem.sample_loss, theta, problem.x, problem.y)


def structured_chain(problem: "EmpiricalRisk") -> Chain | None:
    """The chain of dense layers that the network is, or None: then the Hessian is taken by columns."""
    chain = getattr(problem.network, "chain", None)
    return chain if isinstance(chain, Chain) else None


class EmpiricalRisk(Problem):
    """L(θ) = (1/N) Σ_n ℓ(f(θ, x_n), y_n), the mean over samples of the per-sample loss.

    With the squared loss L = 1/(2N) Σ‖f(x_n) − y_n‖². Time is measured in the units of this mean.

    Arguments:
        network: one of ours (`mlp`, `two_layer`, …); any hashable object or Equinox module with the
            members `size`, `layout`, `time_scale`, `initial(key, scale)` → (P,), `evaluate(theta, x)` →
            prediction of ONE sample; or a plain Equinox module (see `from_equinox`).
        loss: `squared`, `cross_entropy`, `logistic`, their names, or any (prediction, label) of ONE sample
            → scalar.
        x: samples (N, …), any per-sample shape that the network takes; integers become float64.
        y: labels (N, …): shaped like the predictions for `squared` and `logistic` (±1), integer classes
            (N,) for `cross_entropy`. A 1-D float y is taken as (N, 1) when the network returns one number
            as (1,). For a loss of your own integers stay integers.
        name: what summaries call the data; by default the name of a `thetadot.data` set.
        test: held-out samples and labels (x, y), shaped like the others; never trained on, only looked at by
            `test_loss` and `accuracy`.

    Attributes:
        network, x, y: as given (x and y as JAX arrays).
        test_x, test_y: the held-out samples, or None.
        sample_loss: the loss of ONE sample (the method `loss` is the risk).

    Raises:
        PrecisionError: float32 arrays, or JAX without x64.
        DataError: NaN or infinite entries, no samples.
        ShapeError: lengths differ, or the network or the loss cannot take the shapes; found by a dry trace.
        LabelError: classes out of range or not integers, logistic labels other than ±1.

    Example:
        >>> import jax
        >>> from thetadot.problems import cross_entropy, data, mlp
        >>> problem = EmpiricalRisk(mlp([64, 32, 10], "tanh"), cross_entropy, *data.digits())
        >>> problem.description
        'mlp 64-32-10 tanh, cross-entropy, 1797 samples of digits'
        >>> problem.init(jax.random.key(0), scale=0.5).shape
        (2410,)
    """

    x: Array
    y: Array
    test_x: Array | None
    test_y: Array | None
    _network: Carried
    _loss: Carried
    _caption: _Caption = eqx.field(static=True)

    def __init__(
        self,
        network: Any,
        loss: str | Callable,
        x: Numbers,
        y: Numbers,
        *,
        name: str | None = None,
        test: tuple[Numbers, Numbers] | None = None,
    ):
        self._caption = _Caption(name if name is not None else name_of(x))
        network = _as_network(network)
        loss = sample_loss(loss)
        self.x, self.y = _checked(network, loss, x, y, ("x", "y"))
        self.test_x = self.test_y = None
        if test is not None:
            self.test_x, self.test_y = _checked(network, loss, *test, ("test x", "test y"))
        self._network = carry(network, "the network")
        self._loss = carry(loss, "the loss")

    @property
    def network(self) -> Any:
        """The network, as given."""
        return self._network.value

    @property
    def sample_loss(self) -> Callable:
        """The loss of one sample, (prediction, label) → scalar."""
        return self._loss.value

    @property
    def samples(self) -> int:
        """N."""
        return self.x.shape[0]

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
        """The network's time scale: 1.0, or m for a mean-field scaled network of width m."""
        return float(self.network.time_scale)

    @property
    def description(self) -> str:
        """Network, loss, samples and data in one line; a time scale other than 1 is stated."""
        network = self.network
        text = getattr(network, "description", None) or type(network).__name__
        source = f" of {self._caption.text}" if self._caption.text else ""
        line = f"{text}, {loss_name(self.sample_loss)}, {self.samples} samples{source}"
        return line if self.time_scale == 1.0 else f"{line}, time scale {self.time_scale:g}"

    @property
    def hessian_method(self) -> str:
        """How `hessian` works: "structured" for chains of dense layers, else "by columns"."""
        return "by columns" if structured_chain(self) is None else "structured"

    def init(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """A random start (P,), as the network draws it.

        Our networks: weights N(0, scale²/fan_in) and biases 0 unless their pages say otherwise; imported
        modules: their own parameters × scale.
        """
        return self.network.initial(key, scale)

    def loss(self, theta: Numbers) -> Float[Array, ""]:
        """L(θ), the mean over samples."""
        return _risk(self, as_vector(theta, self.size, "theta"))

    def value_and_grad(self, theta: Numbers) -> tuple[Float[Array, ""], Float[Array, " P"]]:
        """(L(θ), ∇L(θ)) at the cost of one gradient."""
        return _value_and_grad(self, as_vector(theta, self.size, "theta"))

    def linearize(
        self, theta: Numbers
    ) -> tuple[Float[Array, ""], Float[Array, " P"], Callable[[Array], Float[Array, " P"]]]:
        """(L(θ), ∇L(θ), push) with push(v) = ∇²L(θ)·v; see `Problem.linearize`."""
        if structured_chain(self) is None:
            return Problem.linearize(self, theta)
        return _linearize(self, as_vector(theta, self.size, "theta"))

    def hessian(self, theta: Numbers) -> Float[Array, "P P"]:
        """∇²L(θ) (P, P), by the method that `hessian_method` names.

        Raises:
            HessianTooLargeError: the matrix alone would take more than 16 GiB.
        """
        require_size(self.size)
        return _hessian(self, as_vector(theta, self.size, "theta"))

    def sample_losses(
        self, theta: Numbers, indices: Int[Array | np.ndarray, " n"] | None = None
    ) -> Float[Array, " n"]:
        """Per-sample losses: of all N samples, or of those at `indices` (n,), which may be traced."""
        x, y = (self.x, self.y) if indices is None else (self.x[indices], self.y[indices])
        return _sample_losses(self, as_vector(theta, self.size, "theta"), x, y)

    def test_loss(self, theta: Numbers) -> Float[Array, ""]:
        """The mean loss over the held-out samples.

        Raises:
            DataError: the problem has none.
        """
        x, y = self._samples_of("test")
        return jnp.mean(_sample_losses(self, as_vector(theta, self.size, "theta"), x, y))

    def accuracy(self, theta: Numbers, part: Literal["train", "test"] = "train") -> Float[Array, ""]:
        """Share of samples whose class is predicted: the largest output is theirs, or the sign agrees.

        Arguments:
            theta: (P,).
            part: "train", the samples of the risk, or "test", the held-out ones.

        Raises:
            DataError: no held-out samples, or a loss that knows no classes.

        Example:
            >>> from thetadot.problems import cross_entropy, linear
            >>> corners = [[1.0, 0.0], [0.0, 1.0]]
            >>> problem = EmpiricalRisk(linear([2, 2]), cross_entropy, corners, [0, 1], test=(corners, [0, 0]))
            >>> float(problem.accuracy([1.0, 0, 0, 1])), float(problem.accuracy([1.0, 0, 0, 1], "test"))
            (1.0, 0.5)
        """
        kind = getattr(self.sample_loss, "labels", "any")
        if kind not in ("classes", "signs"):
            raise DataError(
                f"{loss_name(self.sample_loss)} has no classes of which a share could be right: "
                "take cross_entropy or logistic, or look at the loss"
            )
        x, y = self._samples_of(part)
        found = _predict(self, as_vector(theta, self.size, "theta"), x)
        right = (
            jnp.argmax(found, axis=-1) == y
            if kind == "classes"
            else jnp.all(found * y > 0, axis=range(1, y.ndim))
        )
        return jnp.mean(right, dtype=jnp.float64)

    def _samples_of(self, part: str) -> tuple[Array, Array]:
        if part == "train":
            return self.x, self.y
        if self.test_x is None or self.test_y is None:
            raise DataError(
                "the problem has no held-out samples: give test=(x, y); in a study file, data with split: train"
            )
        return self.test_x, self.test_y

    def predict(self, theta: Numbers, x: Numbers) -> Any:
        """Output of the network for a batch x (N, …)."""
        x = as_float64(x, "x")
        if x.ndim != self.x.ndim:
            raise ShapeError(
                f"x has shape {x.shape}, expected a batch (N, …) of samples of shape {self.x.shape[1:]}"
            )
        if x.shape[1:] != self.x.shape[1:]:
            _output_shape(self.network, x)  # another graph or image size may suit the network, or not
        return _predict(self, as_vector(theta, self.size, "theta"), x)

    def unravel(self, theta: Numbers) -> Any:
        """θ as the user's own pytree: the Equinox module, or {name: array} for our networks."""
        theta = as_vector(theta, self.size, "theta")
        own = getattr(self.network, "unravel", None)
        return self.layout.split(theta) if own is None else own(theta)


def _checked(network: Any, loss: Callable, x: Any, y: Any, names: tuple[str, str]) -> tuple[Array, Array]:
    """Samples and labels as arrays that network and loss can take."""
    numeric = isinstance(loss, SampleLoss) and loss.labels in ("numbers", "signs")
    x, y = as_float64(x, names[0]), as_float64(y, names[1]) if numeric else as_array(y, names[1])
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ShapeError(
            f"{names[0]} has shape {x.shape} and {names[1]} {y.shape}: expected N samples and N labels"
        )
    if x.shape[0] == 0:
        raise DataError(f"{names[0]} and {names[1]} hold no samples: a risk needs at least one")
    require_finite(x, names[0])
    require_finite(y, names[1])
    outputs = _output_shape(network, x)
    if y.ndim == 1 and outputs == (1,) and jnp.issubdtype(y.dtype, jnp.floating):
        y = y[:, None]
    check_labels(loss, y, outputs)
    _check_loss(loss, outputs, y)
    return x, y


def _as_network(network: Any) -> Any:
    missing = [member for member in _MEMBERS if not hasattr(network, member)]
    if not missing:
        return network
    if "evaluate" in missing and isinstance(network, eqx.Module) and callable(network):
        return EquinoxNetwork.of(network)
    raise NetworkError(
        f"{type(network).__name__} is not a network: it lacks {', '.join(missing)}. Give one of mlp, linear, "
        "two_layer, diagonal, residual, conv, an Equinox module that can be called, or an object with the "
        "members " + ", ".join(_MEMBERS)
    )


def _output_shape(network: Any, x: Array) -> tuple[int, ...]:
    """Shape of one prediction, by a dry trace; one clear line if the network cannot take the samples."""
    theta = jax.ShapeDtypeStruct((network.size,), np.float64)
    one = jax.ShapeDtypeStruct(x.shape[1:], np.float64)
    try:
        prediction = jax.eval_shape(network.evaluate, theta, one)
    except ThetadotError:
        raise
    except Exception as error:
        raise ShapeError(
            f"the network cannot take a sample of shape {x.shape[1:]}: {first_line(error)}"
        ) from error
    shape, dtype = getattr(prediction, "shape", None), getattr(prediction, "dtype", None)
    if shape is None or dtype != np.float64:
        raise ShapeError(f"the network must return one float64 array per sample, it returns {prediction}")
    return shape


def _check_loss(loss: Callable, outputs: tuple[int, ...], y: Array) -> None:
    """Raise `ShapeError` unless the loss of one prediction and one label is a float64 scalar."""
    if isinstance(loss, SampleLoss) and loss.labels in ("numbers", "signs") and y.shape[1:] != outputs:
        raise ShapeError(
            f"the network returns predictions of shape {outputs}, the labels have shape {y.shape[1:]} per "
            f"sample (y is {y.shape}): they must be equal"
        )
    prediction = jax.ShapeDtypeStruct(outputs, np.float64)
    label = jax.ShapeDtypeStruct(y.shape[1:], y.dtype)
    try:
        value = jax.eval_shape(loss, prediction, label)
    except ThetadotError:
        raise
    except Exception as error:
        raise ShapeError(
            f"the loss cannot take a prediction of shape {outputs} and a label of shape {y.shape[1:]}: "
            f"{first_line(error)}"
        ) from error
    if getattr(value, "shape", None) != () or value.dtype != np.float64:
        raise ShapeError(f"the loss must return a float64 scalar for one sample, it returns {value}")
