"""Losses of one sample, (prediction, label) → scalar; a risk is their mean over samples."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.numerics.elementwise import softplus
from thetadot.problems.checks import is_concrete, known_name
from thetadot.problems.errors import LabelError


@dataclasses.dataclass(frozen=True)
class SampleLoss:
    """The loss of one sample; two of equal name and function are equal.

    Attributes:
        name: how summaries call it.
        function: (prediction, label) of one sample → scalar.
        labels: what the labels are: "numbers" (float64, shaped like the prediction), "classes" (integers),
            "signs" (±1), or "any" (a user's loss decides; integers stay integers).
        trailing: whether the function also takes predictions (k, N) and labels (N,) of N samples at once.
    """

    name: str
    function: Callable[[Any, Any], Array]
    labels: str = "any"
    trailing: bool = False

    def __call__(self, prediction: Any, label: Any) -> Float[Array, ""]:
        """The loss of one prediction."""
        return self.function(prediction, label)


def _squared(prediction: Float[Array, "*k"], label: Float[Array, "*k"]) -> Float[Array, ""]:
    return 0.5 * jnp.sum(jnp.square(prediction - label))


def _cross_entropy(prediction: Float[Array, "k *N"], label) -> Float[Array, "*N"]:
    # A comparison instead of prediction[label]: the derivative of indexing is a scatter, slow on CPUs.
    classes = jnp.expand_dims(jnp.arange(prediction.shape[0]), tuple(range(1, prediction.ndim)))
    hit = classes == jnp.asarray(label).astype(jnp.int64)[None]
    return jax.nn.logsumexp(prediction, axis=0) - jnp.sum(jnp.where(hit, prediction, 0.0), axis=0)


def _logistic(prediction: Float[Array, "*k"], label: Float[Array, "*k"]) -> Float[Array, ""]:
    return jnp.sum(softplus(-label * prediction))


squared = SampleLoss("squared loss", _squared, "numbers")
"""½‖f(x) − y‖², labels shaped like the prediction."""
cross_entropy = SampleLoss("cross-entropy", _cross_entropy, "classes", trailing=True)
"""−log softmax(f(x))_y, integer labels 0 … k−1."""
logistic = SampleLoss("logistic loss", _logistic, "signs")
"""log(1 + exp(−y f(x))), labels ±1, summed over outputs."""

NAMED = {"squared": squared, "cross_entropy": cross_entropy, "logistic": logistic}


def sample_loss(given: str | Callable) -> Callable:
    """The loss of that name, or a user's (prediction, label) → scalar; raises `UnknownNameError`."""
    if isinstance(given, str):
        return NAMED[known_name(given, NAMED, "loss")]
    return given


def losses_of(loss: Callable, predictions: Float[Array, "k N"], labels: Array) -> Float[Array, " N"]:
    """The loss of every sample, predictions with samples last, labels (N, …)."""
    if isinstance(loss, SampleLoss) and loss.trailing:
        return loss.function(predictions, labels)
    # Mapping over the last axis of both keeps the samples last in all that is computed.
    return jax.vmap(loss, in_axes=(-1, -1))(predictions, jnp.moveaxis(labels, 0, -1))


def loss_name(loss: Callable) -> str:
    """How summaries call a loss."""
    return loss.name if isinstance(loss, SampleLoss) else getattr(loss, "__name__", type(loss).__name__)


def check_labels(loss: Callable, labels: Array, outputs: tuple[int, ...]) -> None:
    """Raise `LabelError` unless concrete labels suit a named loss; `outputs` is a prediction's shape."""
    kind = loss.labels if isinstance(loss, SampleLoss) else "any"
    if kind not in ("classes", "signs"):
        return
    if kind == "classes":
        if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
            raise LabelError(
                f"cross_entropy takes integer labels of shape (N,), given {labels.dtype} of shape "
                f"{labels.shape}: "
                "number the classes 0, 1, …, or use squared for one-hot labels"
            )
        if len(outputs) != 1:
            raise LabelError(f"cross_entropy takes a vector of logits, this network returns shape {outputs}")
    if not is_concrete(labels):
        return
    values = np.asarray(labels)
    wrong = (values < 0) | (values >= outputs[0]) if kind == "classes" else np.abs(values) != 1
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        expected = (
            f"a class 0 … {outputs[0] - 1} (the network has {outputs[0]} outputs)"
            if kind == "classes"
            else "±1"
        )
        raise LabelError(
            f"label {values[place]} of sample {place[0]} is not {expected}; {int(wrong.sum())} labels are "
            "wrong"
        )
