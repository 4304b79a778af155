"""The series of a run over processes, with one writer.

Workers compute and hand their paths to the process that started them, which commits: so the lock, the
manifest and the order of commits are the same as without workers, and a worker that outlives its parent
cannot write. Every message of a worker is answered by whether to go on.
"""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thetadot.dynamics.executor import Executor
from thetadot.dynamics.path import Path
from thetadot.studies.errors import WritingError
from thetadot.studies.series import Series, committed, follow

_REPORT_SECONDS = 0.25


class _Office:
    """Answers the workers' messages and commits their paths, one at a time."""

    def __init__(self, work: Any, titles: dict[str, str]):
        self.error: Exception | None = None
        self._work = work
        self._titles = titles
        self._one_at_a_time = threading.Lock()
        self._key = os.urandom(32)
        self._listener = Listener(authkey=self._key)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> tuple[Any, bytes]:
        """Where workers find the office, and the key that admits them."""
        return self._listener.address, self._key

    def close(self) -> None:
        """Admit no further workers."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                connection = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                name, kind, content = connection.recv()
                with self._one_at_a_time:
                    self._act(name, kind, content)
                ended = "failed" if self.error is not None else self._work.ended()
                connection.send((ended, self._work.left()))

    def _act(self, name: str, kind: str, content: Any) -> None:
        try:
            if kind == "commit" and self.error is None:
                self._work.commit(name, content)
            elif kind == "report":
                fraction, text = content
                self._work.progress.advance(fraction, f"{self._titles[name]}: {text}")
        except Exception as error:
            self.error = error


def spread(work: Any, series: list[Series], workers: int) -> str:
    """Run what is unfinished over processes; how the session ended."""
    unfinished = [one for one in series if not work.finished(one)]
    office = _Office(work, {one.name: one.title for one in unfinished})
    document, directory = work.study.to_yaml(), work.writer.directory.absolute()
    arguments = [
        (office.address, document, directory, one, work.starts[one.member], work.commit_every)
        for one in unfinished
    ]
    done = len(series) - len(unfinished)
    work.progress.begin(f"{workers} processes", done + 1, len(series))
    try:
        for index, path in Executor(workers).run(_follow_remotely, arguments):
            if path is not None:
                work.progress.end(unfinished[index].title, path)
                done += 1
                work.progress.begin(f"{workers} processes", min(done + 1, len(series)), len(series))
    except BrokenProcessPool:
        # Ctrl-C reaches workers too, and kills those that are still starting.
        if not work.stop.requested:
            raise
    except Exception as error:
        raise office.error or error from None
    finally:
        office.close()
    if office.error is not None:
        raise office.error
    return "done" if all(work.finished(one) for one in series) else work.ended() or "interrupted"


class _Remote:
    """The session as a worker sees it: every question goes to the office."""

    def __init__(self, connection: Connection, series: str):
        self._connection = connection
        self._series = series
        self._last = 0.0
        self._ask("begin", None)

    def ended(self) -> str | None:
        """Why the session must end, if it must."""
        return self._ended if time.perf_counter() < self._deadline else self._ended or "budget"

    def left(self) -> float:
        """Seconds that are left of the budget."""
        return self._deadline - time.perf_counter()

    def commit(self, series: str, path: Path) -> None:
        """Hand a path to the office."""
        self._ask("commit", path)

    def report(self, fraction: float | None, text: str) -> None:
        """Tell the office, and stop if it says so."""
        if time.perf_counter() - self._last > _REPORT_SECONDS:
            self._last = time.perf_counter()
            self._ask("report", (fraction, text))
        if self._ended == "interrupted":
            raise KeyboardInterrupt

    def _ask(self, kind: str, content: Any) -> None:
        self._connection.send((self._series, kind, content))
        self._ended, left = self._connection.recv()
        self._deadline = time.perf_counter() + left
        if self._ended == "failed":
            raise WritingError("the run cannot be written")


def _follow_remotely(
    address: tuple[Any, bytes],
    document: str,
    directory: FilePath,
    series: Series,
    theta0: np.ndarray,
    commit_every: float,
) -> Path | None:
    """Follow a series in a worker."""
    _prepare()
    with Client(address[0], authkey=address[1]) as connection:
        session = _Remote(connection, series.name)
        if session.ended() is not None:
            return None
        study = _study(document)
        path, observe = committed(directory, series), study.spec.observed
        return follow(study.problem, theta0, series, observe, path, commit_every, session)


@functools.cache
def _study(document: str) -> Any:
    """The study, whose problem is made once in each worker."""
    from thetadot.studies.explain import validated
    from thetadot.studies.source import read_yaml
    from thetadot.studies.study import Study

    data, origin = read_yaml(document, "study.yaml", FilePath.cwd())
    return Study.of(validated(data, origin), origin)


@functools.cache
def _prepare() -> None:
    """Leave interrupts to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
