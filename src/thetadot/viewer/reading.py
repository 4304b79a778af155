"""A run as its page reads it: the paths of one member, read again when something new is committed."""

import dataclasses

from thetadot.report.record import series_of
from thetadot.report.series import Series
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.run import Run


@dataclasses.dataclass(frozen=True)
class Shown:
    """A member of a run as it is committed.

    Attributes:
        run: the run.
        series: its paths, under the main rule and each comparison; none before the first commit.
        missing: what is not there yet.
        notes: what is damaged.
    """

    run: Run
    series: tuple[Series, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


class Follower:
    """Follows a run through its store; it never talks to the process that writes.

    Arguments:
        run: the run.
        member: number of the member.
    """

    def __init__(self, run: Run, member: int):
        self.run, self.member = run, member
        self._stamp: tuple[int, ...] | None = None

    def news(self) -> Shown | None:
        """What is committed now; None if that is what was seen last.

        Raises:
            ThetadotError: the run cannot be read any more.
        """
        stat = (self.run.directory / MANIFEST_FILE).stat()
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp == self._stamp:
            return None
        self.run, self._stamp = self.run.refresh(), stamp
        missing: list[str] = []
        notes: list[str] = []
        series = tuple(series_of(self.run, self.member, {}, missing, notes))
        return Shown(self.run, series, tuple(missing), tuple(notes))

    @property
    def status(self) -> str:
        """Of the run, now: a writer that begins or dies leaves what is committed as it is."""
        return self.run.status
