"""One writer per run.

A file names the process that writes: pid, its start time, host. While that process lives the operating
system's own lock on the file is held too, which closes the race between two processes that find the same dead
owner. The file is never removed (removing it would reopen that race), only emptied.
"""

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
from pathlib import Path

from thetadot.studies.durable import refusal
from thetadot.studies.errors import LockedError

try:
    import fcntl
except ImportError:  # Windows: the identity in the file alone decides
    fcntl = None

LOCK_FILE = "lock"
TOUCH_SECONDS = 10.0
STALE_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Owner:
    """Identity of a process: no other process, before or after, has the same three values."""

    pid: int
    started: str
    host: str

    @classmethod
    def this(cls) -> "Owner":
        """The process that runs this code."""
        return cls(os.getpid(), _start_time(os.getpid()) or "", socket.gethostname())

    @property
    def alive(self) -> bool:
        """Whether the process may still run; a process on another host is taken to be alive."""
        if self.elsewhere:
            return True
        started = _start_time(self.pid)
        return started is not None and (not self.started or not started or started == self.started)

    @property
    def elsewhere(self) -> bool:
        """Whether it is a process of another host."""
        return self.host != socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _start_time(pid: int) -> str | None:
    """Boot and clock tick at which a process of this host started; "" if unknown, None if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:
            return ""
        return ""
    # The command's name stands in brackets and may itself hold blanks and brackets.
    fields = status.rpartition(")")[2].split()
    state, tick = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{tick}"


def owner(directory: Path) -> Owner | None:
    """The living process that writes to this run, or None."""
    file = directory / LOCK_FILE
    found = _read(file)
    return found if found is not None and found.alive and not _stale(file, found) else None


def check_ours(directory: Path) -> None:
    """Raise unless this process still is the writer.

    Raises:
        LockedError: another process took the run over, while this one was suspended or cut off.
    """
    found = _read(directory / LOCK_FILE)
    if found is not None and found != Owner.this():
        raise LockedError(
            f"{directory} was taken over by {found} while this process did not answer: what it commits counts"
        )


def _stale(file: Path, found: Owner) -> bool:
    """Whether a writer on another host ceased to touch its file."""
    try:
        return found.elsewhere and time.time() - file.stat().st_mtime > STALE_SECONDS
    except OSError:
        return False


def _read(file: Path) -> Owner | None:
    try:
        record = json.loads(file.read_text())
        return Owner(int(record["pid"]), str(record["started"]), str(record["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def writing(directory: Path):
    """Context in which this process is the run's only writer.

    Raises:
        LockedError: another living process writes; it is named. A dead owner's lock is taken over.
        WritingError: the directory is read-only.
    """
    file = directory / LOCK_FILE
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise refusal(file, error) from error
    try:
        _take(file, descriptor)
        over = threading.Event()
        touching = threading.Thread(target=_touch, args=(descriptor, over), daemon=True)
        touching.start()
        try:
            yield
        finally:
            over.set()
            touching.join()
            if _read(file) == Owner.this():
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _touch(descriptor: int, over: threading.Event) -> None:
    while not over.wait(TOUCH_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _take(file: Path, descriptor: int) -> None:
    held = False
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        except OSError:  # a file system without locks: the identity decides
            pass
    other = _read(file)
    if held or (other is not None and other.alive and other != Owner.this() and not _stale(file, other)):
        way_out = "wait for it or stop it"
        if other is not None and other.elsewhere:
            way_out = f"wait for it (it counts as gone {STALE_SECONDS:.0f} s after its last sign of life)"
        raise LockedError(f"{file.parent} is being written by {other or 'another process'}: {way_out}")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(dataclasses.asdict(Owner.this())).encode(), 0)
        os.fsync(descriptor)
    except OSError as error:
        raise refusal(file, error) from error
