"""The runs below a directory: which there are, how each stands, and which one a name means."""

import dataclasses
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from thetadot.errors import ThetadotError
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.run import Run
from thetadot.studies.sweep_plan import SWEEP_FILE
from thetadot.studies.sweep_record import open_sweep
from thetadot.viewer.errors import ViewerError

MOST = 2000
_DEPTH = 6


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the table of runs.

    Attributes:
        name: the directory, relative to the catalogue's, with slashes.
        kind: "run", "sweep" or "unreadable".
        status: of the run ("done", "running", "resumable", "failed"), or of the sweep.
        members: number of members, or of runs of a sweep.
        loss: median last loss under the main rule; NaN if there is none.
        changed: when something was last committed, seconds since 1970.
        remark: what ran, how a sweep stands, or why a run cannot be read.
    """

    name: str
    kind: str
    status: str
    members: int = 0
    loss: float = math.nan
    changed: float = 0.0
    remark: str = ""


class Catalogue:
    """All runs below a directory. What was read of a run is kept until its manifest changes.

    Arguments:
        root: the directory.
    """

    def __init__(self, root: Path):
        self.root = root.resolve()
        self._runs: dict[str, tuple[tuple[int, ...], Run, Entry]] = {}
        self._sweeps: dict[str, tuple[float, Entry]] = {}

    def place(self, name: str) -> Path:
        """The directory that a name means.

        Raises:
            ViewerError: it lies elsewhere, or is neither a run nor a sweep.
        """
        place = self._inside(name, (MANIFEST_FILE, SWEEP_FILE))
        if place is None:
            raise ViewerError(
                f"there is no run {name[:200]!r} below {self.root}: choose one from the list of runs"
            )
        return place

    def run(self, name: str) -> Run:
        """The run of a name.

        Raises:
            ViewerError: there is none; NotARunError: it cannot be read.
        """
        place = self.place(name)
        if not (place / MANIFEST_FILE).is_file():
            raise ViewerError(f"{name} is a sweep: choose one of its runs")
        return Run(place)

    def entries(self, below: str = "") -> list[Entry]:
        """The runs and sweeps below a folder of the directory, the last changed first; runs of a sweep are listed
        only below it. At most 2000."""
        start = self._folder(below) if below else self.root
        found = []
        for place in self._walk(start, 0):
            name = place.relative_to(self.root).as_posix()
            entry = self._entry(place, name)
            if entry is not None:
                found.append(entry)
            if len(found) >= MOST:
                break
        return sorted(found, key=lambda entry: -entry.changed)

    def names(self) -> list[str]:
        """Names of the runs, the last changed first."""
        return [entry.name for entry in self.entries() if entry.kind == "run"]

    def _folder(self, name: str) -> Path:
        """A folder below the directory."""
        place = self._inside(name)
        if place is None:
            raise ViewerError(
                f"there is no folder {name[:200]!r} below {self.root}: choose one from the list of runs"
            )
        return place

    def _inside(self, name: str, files: Sequence[str] = (".",)) -> Path | None:
        """The directory that a name means, links followed; None if it lies elsewhere or has none of the files."""
        parts = PurePosixPath(name)
        if not name or "\\" in name or parts.is_absolute() or ".." in parts.parts:
            return None
        try:
            place = (self.root / parts).resolve()
            known = place.is_dir() and any((place / file).exists() for file in files)
        except (OSError, ValueError):  # a name that no file system takes
            return None
        return place if known and place.is_relative_to(self.root) and place != self.root else None

    def _walk(self, folder: Path, depth: int) -> Iterator[Path]:
        """Directories of runs and sweeps; links are not followed, and what lies in a run is not looked at."""
        try:
            inside = sorted(os.scandir(folder), key=lambda item: item.name)
        except OSError:
            return
        for item in inside:
            if item.name.startswith(".") or not item.is_dir(follow_symlinks=False):
                continue
            place = Path(item.path)
            if (place / MANIFEST_FILE).is_file() or (place / SWEEP_FILE).is_file():
                yield place
            elif depth < _DEPTH:
                yield from self._walk(place, depth + 1)

    def _entry(self, place: Path, name: str) -> Entry | None:
        try:
            return self._sweep(place, name) if (place / SWEEP_FILE).is_file() else self._run(place, name)
        except FileNotFoundError:
            return None
        except (ThetadotError, OSError) as error:
            return Entry(name, "unreadable", "unreadable", remark=str(error))

    def _run(self, place: Path, name: str) -> Entry:
        stat = (place / MANIFEST_FILE).stat()
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if name not in self._runs or self._runs[name][0] != stamp:
            run = Run(place)
            self._runs[name] = stamp, run, _of_run(run, name, stat.st_mtime)
        _, run, entry = self._runs[name]
        # A writer that starts or is killed leaves the manifest as it is: whether one is alive is asked each time.
        return dataclasses.replace(entry, status=run.status)

    def _sweep(self, place: Path, name: str) -> Entry:
        until, entry = self._sweeps.get(name, (0.0, None))
        if entry is None or time.monotonic() > until:
            sweep = open_sweep(place)
            changed = (place / SWEEP_FILE).stat().st_mtime
            entry = Entry(name, "sweep", sweep.status, len(sweep), changed=changed, remark=sweep.summary())
            self._sweeps[name] = time.monotonic() + max(5.0, len(sweep) / 100), entry
        return entry


def _of_run(run: Run, name: str, changed: float) -> Entry:
    lines = [line for line in run.table() if line.compare is None]
    losses = [line.loss for line in lines if np.isfinite(line.loss)]
    begun = [record for record in run.manifest.series.values() if record is not None]
    what = dict.fromkeys(str(record.info.get("problem") or "") for record in begun)
    return Entry(
        name=name,
        kind="run",
        status=run.status,
        members=len(run.members),
        loss=float(np.median(losses)) if losses else math.nan,
        changed=changed,
        remark=", ".join(filter(None, what)),
    )
