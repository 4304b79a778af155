"""Runs that the viewer starts: each a child process `thetadot run`, checked before, followed, stopped, never lost.

A run goes on when the page that started it is closed. When the viewer ends, its runs are asked to stop: they commit
and stop cleanly, and the same study, started again, goes on with them.
"""

import atexit
import contextlib
import dataclasses
import math
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thetadot.studies.build import check_rules
from thetadot.studies.errors import StudyError
from thetadot.studies.explain import problems_of, validated
from thetadot.studies.identity import named_files
from thetadot.studies.lock import owner
from thetadot.studies.manifest import MANIFEST_FILE
from thetadot.studies.source import Key, Origin
from thetadot.studies.study import Study

_MOST_HERE = 10**7
_PATIENCE = 10.0
_MOST_MESSAGE = 2**16

_lock = threading.Lock()
_children: dict[Path, "Started"] = {}


def checked(data: Mapping[str, Any], *, files: bool = True) -> tuple[Study | None, list[tuple[Key, str]]]:
    """The study that the data describe, and everything that is wrong with them: there is one or the other.

    What is valid by the schema is traced too, as `thetadot run` does it, unless it is so large that this is better
    left to the run's own process.

    Arguments:
        data: as in a study file; relative names of files are relative to the working directory.
        files: whether the study may name files.

    Returns:
        study, [(key, message)]; the study is None if there is a message.

    Example:
        >>> from thetadot.studies import Study
        >>> data = Study.load("quickstart").resolved()
        >>> checked(data)[0].name
        'quickstart'
        >>> data["problem"]["network"]["widths"] = [63, 32, 10]
        >>> checked(data)
        (None, [(('problem', 'network', 'widths', 0), 'given 63, but problem.data (digits) has 64 inputs: make \\
problem.network.widths agree (64)')])
    """
    found = problems_of(data)
    if found:
        return None, found
    try:
        origin = Origin("study", Path.cwd())
        study = Study.of(validated(data, origin), origin)
        _refuse_code(study)
        for dotted in () if files else named_files(study.spec, origin):
            raise origin.error(tuple(dotted.split(".")), "this page takes no files of the server's machine")
        if study.spec.sweeps:
            raise origin.error(("sweep",), "a sweep is started from the command line: `thetadot sweep`")
        if _small(study):
            check_rules(study.spec, study.problem, origin)
    except StudyError as error:
        return None, [(error.key, error.reason)]
    return study, []


def _refuse_code(study: Study) -> None:
    if study.spec.problem.kind == "python":
        text = "a study that runs code of its own is started from the command line: `thetadot run study.yaml`"
        raise study.origin.error(("problem", "kind"), text)


def _small(study: Study) -> bool:
    """Whether the arrays that a trace makes cannot fill the viewer's memory."""
    sizes: list[int] = []

    def collect(value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if name != "seed":
                    collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)
        elif isinstance(value, int):
            sizes.append(value)

    collect(study.spec.problem.model_dump(mode="json"))
    return math.prod(sorted(sizes)[-2:]) <= _MOST_HERE


@dataclasses.dataclass
class Started:
    """A run that this process has started.

    Attributes:
        directory: the run directory.
        began: when, by `time.monotonic`.
    """

    directory: Path
    began: float
    _process: subprocess.Popen
    _file: Path
    _stopping: bool = False
    _told: str = ""
    _reaped: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def alive(self) -> bool:
        """Whether the process runs, or its last words are not read yet."""
        return not self._reaped.is_set()

    @property
    def seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.began

    @property
    def writes(self) -> bool:
        """Whether the process has the run directory in hand, so that there is something to look at."""
        there = owner(self.directory)
        return (
            there is not None and there.pid == self._process.pid and (self.directory / MANIFEST_FILE).exists()
        )

    @property
    def refused(self) -> tuple[Key, str] | None:
        """Key and message, once the process has ended without a run to look at; the key is empty if no field is at
        fault."""
        code = self._process.returncode
        # 4 without a word: a lens failed, and the run's own page says so.
        if self.alive or code in (0, 1, 3) or (code == 4 and not self._told):
            return None
        if self._stopping:
            return (), "stopped before it began: nothing was written"
        found = re.fullmatch(rf"{re.escape(str(self._file))}(?::\d+)?: (?:([\w.-]+): )?(.*)", self._told)
        if found is None:
            return (), self._told or f"the process ended with code {code}"
        key = tuple(int(part) if part.isdigit() else part for part in (found[1] or "").split(".") if part)
        return key, found[2]

    def stop(self) -> None:
        """Ask the run to commit and stop; asked twice, it stops at once."""
        self._stopping = True
        # SIGTERM and SIGINT mean the same to a run. A viewer in a shell's background hands SIGINT down as ignored.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end; whether it did."""
        return self._reaped.wait(seconds)

    def _reap(self) -> None:
        """Wait for the process, so that it leaves no zombie, and keep its last words."""
        self._process.wait()
        self._told = _last_words(self._file.with_name("stderr.txt"))
        shutil.rmtree(self._file.parent, ignore_errors=True)
        self._reaped.set()


def _last_words(file: Path) -> str:
    """The last line that is no warning, as the command line words it, without its name in front."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _MOST_MESSAGE))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    lines = [line.removeprefix("thetadot: ").strip() for line in lines if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith("warning: ")), "")


def start(study: Study, directory: Path) -> Started:
    """Start a run, or go on with it, in a process of its own; if this process has started it already, that one.

    Arguments:
        study: a study that is valid.
        directory: the run directory.

    Raises:
        StudyError: the study would run code of its own.
        OSError: no process can be started.
    """
    _refuse_code(study)
    with _lock:
        place = directory.absolute()
        child = _children.get(place)
        if child is None or not child.alive:
            child = _children[place] = _launch(study, place)
        return child


def _launch(study: Study, place: Path) -> Started:
    room = Path(tempfile.mkdtemp(prefix="thetadot-"))
    file = room / "study.yaml"
    file.write_text(study.to_yaml(), encoding="utf-8")
    # -P: a file in the working directory must not stand for a module.
    command = [sys.executable, "-P", "-m", "thetadot.cli", "run", str(file), "-o", str(place), "--quiet"]
    with file.with_name("stderr.txt").open("wb") as told:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True
        )
    child = Started(place, time.monotonic(), process, file)
    threading.Thread(target=child._reap, daemon=True).start()
    return child


def started_below(root: Path) -> list[Started]:
    """The living runs below a directory that this process has started, oldest first."""
    with _lock:
        living = [child for child in _children.values() if child.alive]
    return [child for child in living if child.directory.is_relative_to(root.absolute())]


@atexit.register
def stop_all(patience: float = _PATIENCE) -> None:
    """Ask all runs that this process has started to stop, and wait for them.

    Arguments:
        patience: seconds after which those that have not ended are left to end by themselves.
    """
    with _lock:
        living = [child for child in _children.values() if child.alive]
    for child in living:
        child.stop()
    end = time.monotonic() + patience
    for child in living:
        child.wait(max(0.0, end - time.monotonic()))
