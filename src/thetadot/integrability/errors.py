"""What can be wrong with a question about closed forms; every error names the way out."""

from thetadot.errors import ThetadotError


class IntegrabilityError(ThetadotError):
    """Root of the errors of `thetadot.integrability`."""


class InexactDataError(IntegrabilityError):
    """A floating-point number where an exact one is needed; names the entry and the rational it may mean."""


class NotAnalyticError(IntegrabilityError):
    """A loss with a kink or a jump: the theory is one of analytic flows."""


class UnsupportedFlowError(IntegrabilityError):
    """A problem from which no exact flow can be made: too many parameters, another loss, or another network."""


class NotInvariantError(IntegrabilityError):
    """A set of parameters that the flow leaves; names the component of the field that points out of it."""


class NotAnOrbitError(IntegrabilityError):
    """A curve that the flow does not follow."""


class StationaryOrbitError(NotAnOrbitError):
    """A curve on which nothing moves."""


class NotAlgebrizableError(IntegrabilityError):
    """A function that is not rational in the curve's parameter."""


class AlgebraicCoefficientError(IntegrabilityError):
    """An equation whose coefficients are not rational functions over the rational numbers."""


class SymbolicParameterError(IntegrabilityError):
    """An equation with free symbols besides its variable: specialise them."""


class TriangularSystemError(IntegrabilityError):
    """A system of order two with a coupling entry that vanishes: it is solved by two quadratures."""


class CertificateError(IntegrabilityError):
    """A certificate that cannot be read."""


class DisagreementError(IntegrabilityError, RuntimeError):
    """An exact answer and a numerical one that exclude each other: one of them is wrong, please report it."""
