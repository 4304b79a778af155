"""What can be wrong with a wish of the viewer's user."""

from thetadot.errors import ThetadotError


class ViewerError(ThetadotError):
    """The viewer cannot start as asked, or has no such run."""
