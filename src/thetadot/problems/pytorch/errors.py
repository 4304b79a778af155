"""What can go wrong when a PyTorch module is imported."""

from thetadot.problems.errors import NetworkError


class UnsupportedLayerError(NetworkError):
    """A PyTorch module does what `from_torch` does not know; the operation is named."""


class ImportMismatchError(NetworkError):
    """The imported network and the PyTorch module disagree; the first layer that differs is named."""
