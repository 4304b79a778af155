"""How batches are drawn, and how much of the per-sample noise is left in their mean."""

from typing import Any

from thetadot.dynamics import MiniBatch, PerSample
from thetadot.fluctuations.errors import FluctuationsError, UnsupportedRuleError, UnsupportedSamplingError
from thetadot.fluctuations.matrices import whole


def noise_scale(batch_size: int, *, replace: bool = True, samples: int | None = None) -> float:
    """ν, the variance of a batch's mean gradient over that of one sample.

    1/S with replacement; (N − S)/(S(N − 1)) for S distinct samples drawn afresh at every step.

    Arguments:
        batch_size: S. replace: with replacement. samples: N, needed without replacement.

    Raises:
        FluctuationsError: no N without replacement, or a batch larger than N.

    Example:
        >>> noise_scale(4), noise_scale(4, replace=False, samples=4)
        (0.25, 0.0)
    """
    size = whole(batch_size, "batch_size")
    if replace:
        return 1.0 / size
    if samples is None:
        raise FluctuationsError("replace=False needs the number of samples: give samples=N")
    count = whole(samples, "samples")
    if size > count:
        raise FluctuationsError(f"batch_size = {size} is more than the {count} samples: give replace=True")
    return 0.0 if size == count else (count - size) / (size * (count - 1))


def require_independent(rule: Any) -> MiniBatch:
    """The rule, if it is plain mini-batch descent at a constant rate with independent batches.

    Raises:
        UnsupportedSamplingError: shuffled passes, `PerSample`.
        UnsupportedRuleError: any other rule, or a scheduled learning rate.
    """
    if isinstance(rule, PerSample) or (isinstance(rule, MiniBatch) and rule.epochs):
        raise UnsupportedSamplingError(
            f"{rule.description}: within a pass the noise is anticorrelated, which makes the variance several times "
            "smaller than any formula here; simulate it with sgd_ensemble, or draw independently with "
            "MiniBatch(learning_rate, batch_size, key, replace=True)"
        )
    if not isinstance(rule, MiniBatch):
        words = getattr(rule, "description", type(rule).__name__)
        raise UnsupportedRuleError(
            f"{words}: the stationary covariance is known here for MiniBatch only; simulate others with sgd_ensemble"
        )
    if callable(rule.learning_rate):
        raise UnsupportedRuleError(
            "the learning rate is a schedule: a stationary covariance needs a constant one; give that of late times"
        )
    return rule
