"""What can go wrong in a reproduction before anything is measured."""

from thetadot.errors import ThetadotError


class ClaimError(ThetadotError):
    """A claim, rule or measured value that is not well formed."""


class UnknownPaperError(ThetadotError):
    """No paper of this name is in the registry."""


class NotTestableHereError(ThetadotError):
    """Raised by a measure that cannot decide here; the message is the why of NOT TESTABLE HERE."""

    def __init__(self, why: str):
        if not why.strip():
            raise ClaimError("NotTestableHereError needs a why: say what is missing here")
        super().__init__(why)
