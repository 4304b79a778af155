"""What stability refuses, and what it warns of."""

from thetadot.errors import ThetadotError, ThetadotWarning


class StabilityError(ThetadotError):
    """Root of the errors of `thetadot.stability`: arguments that do not fit together."""


class SizeError(StabilityError):
    """A matrix or a working set that is too large to be formed."""


class HiddenDependenceError(StabilityError):
    """Part of what a step does with the state is hidden from differentiation, so that tangents would be wrong."""


class NotAFixedPointError(StabilityError):
    """Fixed-point exponents were asked for where the system does not stand still."""


class DivergedError(StabilityError):
    """The system left the finite numbers and `throw=True` was asked for."""


class RecomputationError(StabilityError):
    """A stretch computed again from a checkpoint did not give the bits that it gave the first time."""


class ConfigurationMismatchError(StabilityError):
    """A directory holds a computation with other arguments."""


class DegenerateLabelsError(StabilityError):
    """Final losses that cannot be told into two classes."""


class NoTransientWarning(ThetadotWarning):
    """Covariant vectors without a past: the first ones are those of the starting basis."""


class InvariantSubspaceWarning(ThetadotWarning):
    """The orbit stays on an invariant manifold that rounding keeps, although it repels."""


class KinkWarning(ThetadotWarning):
    """The activation has kinks, which tangents do not see."""
