"""SGD on Gaussian inputs drawn afresh at every step: closed forms that hold at every learning rate."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from thetadot.fluctuations.errors import FluctuationsError
from thetadot.fluctuations.matrices import finite, positive, whole


class StationaryStatus(enum.StrEnum):
    """Whether SGD settles: stationary; frozen or diffusing in the null space of H; non_stationary."""

    STATIONARY = "stationary"
    FROZEN = "frozen"
    DIFFUSING = "diffusing"
    NON_STATIONARY = "non_stationary"


@dataclasses.dataclass(frozen=True)
class OnlineCovariance:
    """What `online_gaussian_covariance` found.

    Attributes:
        energies (n,): eigenvalues c of the input covariance.
        variances (n,): of the weights along its eigenvectors; NaN if non_stationary, 0 where c = 0.
        gain: κ, by which the noise feeds itself; ∞ where ηc(1+1/S) ≥ 2 along some eigenvector.
        excess_loss: mean loss above that of the best weights; NaN if non_stationary.
        continuum: ησ²/(2S), the variance of every weight as η → 0.
        status: stationary, frozen (some energies vanish) or non_stationary.
    """

    energies: Float[np.ndarray, " n"]
    variances: Float[np.ndarray, " n"]
    gain: float
    excess_loss: float
    continuum: float
    status: StationaryStatus

    def to_xarray(self):
        """Dataset with dimension `mode`."""
        import xarray

        return xarray.Dataset(
            {
                "variance": ("mode", self.variances, {"units": "weight²"}),
                "energy": ("mode", self.energies, {"units": "input²"}),
            },
            attrs={
                "gain": self.gain,
                "excess_loss": self.excess_loss,
                "continuum": self.continuum,
                "status": str(self.status),
                "loss": "mean squared loss with ½",
            },
        )


def online_gaussian_covariance(
    energies: Any, *, label_variance: float, learning_rate: float, batch_size: int = 1
) -> OnlineCovariance:
    """Stationary variances of SGD on y = wᵀx + noise, x ~ N(0, C) drawn afresh, exact for every learning rate.

    s_i = (η/S)(σ² + T)/(2 − ηc_i(1 + 1/S)) with T = Σ c_j s_j = σ²κ/(1 − κ) and κ = (η/S) Σ c_j/(2 − ηc_j(1 + 1/S)).
    Stationary iff κ < 1 and ηc(1 + 1/S) < 2 for all c. The loss is ½(wᵀx − y)²; without the ½ double η.

    Arguments:
        energies: eigenvalues c (n,) of C, not negative.
        label_variance: σ², the variance (not the standard deviation) of the labels' noise.
        learning_rate: η. batch_size: S.

    Raises:
        FluctuationsError: negative energies, variances, learning rates.

    Source: derived here from the second moments of Gaussian inputs.

    Example:
        >>> found = online_gaussian_covariance([2, 1, 0.5, 0.2, 0.05], label_variance=0.25, learning_rate=0.05)
        >>> round(found.gain, 6), [round(float(s), 7) for s in found.variances[:2]]
        (0.100995, [0.0077246, 0.007318])
    """
    c = finite(energies, "energies")
    if c.ndim != 1 or c.size == 0 or (c < 0).any():
        raise FluctuationsError(
            f"energies have shape {c.shape}, least {c.min(initial=0)}: expected (n,), none negative"
        )
    sigma2 = positive(label_variance, "label_variance", zero=True)
    eta, size = positive(learning_rate, "learning_rate"), whole(batch_size, "batch_size")
    left = 2 - eta * c * (1 + 1 / size)
    gain = float(eta / size * np.sum(c / left)) if (left > 0).all() else np.inf
    continuum = eta * sigma2 / (2 * size)
    if gain >= 1:
        return OnlineCovariance(
            c, np.full(c.shape, np.nan), gain, np.nan, continuum, StationaryStatus.NON_STATIONARY
        )
    total = sigma2 * gain / (1 - gain)
    variances = np.where(c > 0, eta / size * (sigma2 + total) / left, 0.0)
    status = StationaryStatus.STATIONARY if (c > 0).all() else StationaryStatus.FROZEN
    return OnlineCovariance(c, variances, gain, total / 2, continuum, status)


class OnlineRisk(eqx.Module):
    """A loss whose samples are drawn afresh at every step, for `sgd_ensemble`.

    Arguments:
        loss: (theta (P,), x, y) of ONE sample → scalar.
        draw: (key, batch_size) → (x, y), each with a leading batch axis. As an `equinox.Module` its arrays may change
            without compiling anew.

    Example:
        >>> def draw(key, batch_size):
        ...     x = jax.random.normal(key, (batch_size, 2))
        ...     return x, x @ jnp.array([1.0, -1.0])
        >>> risk = OnlineRisk(lambda w, x, y: 0.5 * (w @ x - y) ** 2, draw)
    """

    loss: Callable[[Any, Any, Any], Any]
    draw: Callable[[Any, int], tuple[Any, Any]]
