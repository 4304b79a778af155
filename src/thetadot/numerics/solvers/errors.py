"""What can be wrong with a choice of solver."""

from thetadot.errors import ThetadotError


class SolverError(ThetadotError):
    """A solver that is unknown, cannot be made, or cannot integrate a gradient flow."""
