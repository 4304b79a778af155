"""The ground floor: the exceptions and warnings that every package builds on."""


class ThetadotError(ValueError):
    """Root of all errors that thetadot raises on purpose; the message names the way out."""


class PrecisionError(ThetadotError):
    """Numbers that are not float64 where float64 is needed."""


class ThetadotWarning(UserWarning):
    """Root of all warnings of thetadot, so that a program can turn them into errors."""
