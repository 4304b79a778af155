"""What can be wrong with a question about symmetry; every error names the way out."""

from thetadot.errors import ThetadotError


class SymmetryError(ThetadotError):
    """Root of the errors of `thetadot.symmetry`."""


class HypothesisError(SymmetryError):
    """A hypothesis of a theorem does not hold: which, by how much, and the way out."""


class UnsupportedNetworkError(SymmetryError):
    """A network that is not a two-layer network of neurons without biases."""


class ParticleError(SymmetryError):
    """Particles, matrices or sizes that do not fit together."""
