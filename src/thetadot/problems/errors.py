"""What can be wrong with a problem as it is posed; every error names the way out."""

from thetadot.errors import ThetadotError


class ProblemError(ThetadotError):
    """Root of the errors of `thetadot.problems`."""


class DataError(ProblemError):
    """Data that cannot be trained on: NaN or infinite entries, no samples, unreadable files."""


class ConstantColumnError(DataError):
    """A column of a user's file has zero variance, so that it cannot be standardised."""


class LabelError(DataError):
    """Labels that the loss cannot take: classes out of range, or not ±1 for the logistic loss."""


class ShapeError(ProblemError):
    """Arrays whose shapes do not fit together, or do not fit the network."""


class NetworkError(ProblemError):
    """A network that cannot be built, or an object that is not a network."""


class UnknownNameError(ProblemError):
    """A name of an activation, a loss, a data set or a split that does not exist."""


class NoPredictionError(ProblemError):
    """A prediction was asked of a problem that has no network."""


class HessianTooLargeError(ProblemError):
    """A dense Hessian that would not fit in memory."""


class MissingExtraError(ProblemError):
    """An optional package is needed for this and is not installed."""


class UnsupportedExpectation(ProblemError):  # noqa: N818
    """No exact rule is known for an expectation over this activation, target and law of inputs."""
