"""What can go wrong with studies and their runs; every message is one line that names the way out."""

from thetadot.errors import ThetadotError, ThetadotWarning


class StudyError(ThetadotError):
    """A study that is not valid; the message names file, line, key, what was given and what is allowed.

    Attributes:
        key: the key that is wrong, as ("problem", "network", "widths", 0); empty if it is the whole file.
        reason: the message without file, line and key.
    """

    def __init__(self, message: str, key: tuple[str | int, ...] = (), reason: str | None = None):
        super().__init__(message)
        self.key = key
        self.reason = message if reason is None else reason


class OverrideError(StudyError):
    """A `--set key=value` that is not valid."""


class LensError(StudyError):
    """A lens that this version does not have."""


class StoreError(ThetadotError):
    """A run directory that cannot be used as asked."""


class NotARunError(StoreError):
    """A directory without a manifest, or whose manifest cannot be read."""


class LockedError(StoreError):
    """Another process writes to this run; the message names it."""


class DifferentStudyError(StoreError):
    """The directory holds the run of another configuration."""


class VersionSkewError(StoreError):
    """A run whose numbers another version of thetadot computed: readable, not resumable."""


class DamagedChunkError(StoreError):
    """A committed chunk whose bytes changed since they were written."""


class WritingError(StoreError):
    """The file system refused to write: the disk is full, a quota is spent, or the directory is read-only.

    Attributes:
        resumable: what was committed is intact, and the same command resumes it once there is room.
    """

    def __init__(self, message: str, *, resumable: bool = True):
        super().__init__(message)
        self.resumable = resumable


class DamagedRowsWarning(ThetadotWarning):
    """Rows of a path were left out because their chunk is damaged."""


class LostFileWarning(ThetadotWarning):
    """A file that belongs to a run could not be written; no numbers are lost."""


class KeptExecutorWarning(ThetadotWarning):
    """A run goes on in one process, or in several, as it began, and not as it was asked now."""


class LensFailedWarning(ThetadotWarning):
    """A lens met an error that its package did not foresee; the other results of the run are stored."""
