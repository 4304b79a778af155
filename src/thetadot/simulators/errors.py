"""What can be wrong with a question about networks that learn dynamics; every error names the way out."""

from thetadot.errors import ThetadotError, ThetadotWarning


class SimulatorError(ThetadotError):
    """Root of the errors of `thetadot.simulators`."""


class NotASimulatorError(SimulatorError):
    """A problem that the lens cannot look at."""


class MatrixError(SimulatorError):
    """Matrices or samples whose shapes or values do not fit the question."""


class SettingError(SimulatorError):
    """An unknown setting, method or time, or a number outside its range."""


class DomainError(SimulatorError):
    """A state where the dynamics is not defined, such as a fractional power of a negative number."""


class GraphError(SimulatorError):
    """Edges that do not form a graph, or a graph without the edges that a question needs."""


class DrawError(SimulatorError):
    """Draws from an ensemble that cannot be made, or that do not match those of the null."""


class UnstableStepWarning(ThetadotWarning):
    """A learning rate at which gradient descent diverges."""
