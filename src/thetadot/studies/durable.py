"""Writing files so that they survive a crash: whole or not at all.

Every byte of a run goes through `replace_file`: write beside, fsync, rename over. A reader, and the next
process after a power cut, sees the old file or the new one, never a part of it.
"""

import contextlib
import errno
import os
from pathlib import Path

from thetadot.studies.errors import WritingError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def replace_file(file: Path, content: bytes) -> None:
    """Put `content` at `file` atomically and durably; the directory must exist.

    Raises:
        WritingError: the file system refused; whatever stood at `file` still stands.
    """
    beside = file.with_name(f".{file.name}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            remaining = memoryview(content)
            while remaining:
                remaining = remaining[os.write(descriptor, remaining) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise refusal(file, error) from error


def append_line(file: Path, line: str) -> None:
    """Add one line to a log in a single write, so that lines of a killed process are whole or missing."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(file, error) from error


def make_directory(directory: Path, later: set[Path] | None = None) -> None:
    """Create a directory and its parents, durably.

    Arguments:
        directory: the directory.
        later: if given, the directories that the caller has to sync are added to it instead of being synced here.

    Raises:
        WritingError: the file system refused.
    """
    if directory.is_dir():
        return
    make_directory(directory.parent, later)
    try:
        directory.mkdir(exist_ok=True)
        if later is None:
            sync_directory(directory.parent)
        else:
            later.add(directory.parent)
    except OSError as error:
        raise refusal(directory, error) from error


def sync_directory(directory: Path) -> None:
    """Make renames inside a directory durable (a no-op where directories cannot be opened)."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(path: Path, error: OSError) -> WritingError:
    """The one-line error for a file system that does not write."""
    if error.errno in _FULL:
        return WritingError(
            f"{path}: {os.strerror(error.errno or 0)}; everything committed so far is intact: "
            "make room and run the same command again to resume"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return WritingError(
        f"{path} cannot be written ({reason}): make it writable, or choose another directory with -o DIR",
        resumable=False,
    )
