"""What the theory of small initialisation does not cover; every error names the way out."""

from thetadot.errors import ThetadotError, ThetadotWarning


class SaddlesError(ThetadotError):
    """Root of the errors of `thetadot.saddles`: arguments that do not fit together."""


class NotHomogeneousError(SaddlesError):
    """A question that only a homogeneous network answers; `defect` and `culprit` say what stands against it."""

    def __init__(self, defect: float, culprit: str | None):
        self.defect, self.culprit = defect, culprit
        what = f": {culprit} stands against it" if culprit else ""
        super().__init__(
            f"the network is not homogeneous in its parameters (defect {defect:.2g}){what}; use a network without "
            'biases behind the first layer and with a homogeneous activation, or mode="integrate"'
        )


class DegreeBelowTwoError(SaddlesError):
    """A network of degree below 2, whose origin is no critical point."""


class NoGroupsError(SaddlesError):
    """No hidden neurons are known: the layout names none, and no groups were given."""


class NonLipschitzGradientWarning(ThetadotWarning):
    """The gradient jumps (ReLU): the theorems do not cover the network, results are heuristic."""


class NotAsymptoticWarning(ThetadotWarning):
    """The scale is too large for the theory of small initialisation."""


class StableManifoldWarning(ThetadotWarning):
    """The start lies exactly on the stable manifold of a saddle: only rounding or `perturb` leads away."""
