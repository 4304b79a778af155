"""What the lens of fluctuations refuses, and what it warns of."""

from thetadot.errors import ThetadotError, ThetadotWarning


class FluctuationsError(ThetadotError):
    """Root of the errors of `thetadot.fluctuations`: arguments that do not fit together."""


class UnsupportedSamplingError(FluctuationsError):
    """Batches whose noise is not independent from step to step."""


class UnsupportedRuleError(FluctuationsError):
    """A learning rule that the theory of stationary covariances does not cover."""


class NoStationaryStateError(FluctuationsError):
    """A question about a stationary state where there is none."""


class NotStochasticError(FluctuationsError):
    """A run without gradient noise, and no learning rate to ask about."""


class SizeError(FluctuationsError):
    """A matrix that is too large to be formed."""


class LevelError(FluctuationsError):
    """A loss whose level curves, relative to its own value, do not exist."""


class NotAtMinimumWarning(ThetadotWarning):
    """The gradient is not small against the noise of its own estimate."""


class NearInstabilityWarning(ThetadotWarning):
    """A learning rate so near to the critical one that small errors decide the covariance."""


class DriftWarning(ThetadotWarning):
    """Most of the variance of a trajectory is drift, not fluctuation."""


class FewSamplesWarning(ThetadotWarning):
    """More principal components than the length of the trajectory supports."""
