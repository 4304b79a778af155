"""What can be wrong with a question about conserved quantities; every error names the way out."""

from thetadot.errors import ThetadotError, ThetadotWarning


class ConservationError(ThetadotError):
    """Root of the errors of `thetadot.conservation`."""


class NotALawError(ConservationError):
    """A function that training does not conserve was handed in as a law."""


class NotPolynomialError(ConservationError):
    """Exact arithmetic was asked of something that is not a polynomial with rational coefficients."""


class PathExplosionError(ConservationError):
    """A network with more paths than can be listed."""


class UnsupportedArchitectureError(ConservationError):
    """A network or a loss for which no lift is known."""


class GraphError(ConservationError):
    """Edges that do not form a network."""


class CyclicGraphError(GraphError):
    """Edges that lead back to where they started."""


class InfeasibleImbalanceError(ConservationError):
    """Imbalances that no weights of these widths can have."""


class NotRelaxedBalancedError(ConservationError):
    """A start whose flow does not close on the wanted coordinates."""


class RankDropError(ConservationError):
    """A product of matrices whose rank is below what the reduced flow needs."""


class ZeroWeightError(ConservationError):
    """A weight or a vector of weights that vanishes where its direction is needed."""


class RankAmbiguousWarning(ThetadotWarning):
    """A numerical rank without a clear gap between the singular values."""
