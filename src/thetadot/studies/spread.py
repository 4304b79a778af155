"""The series of a run over processes, with one writer.

Workers compute and hand their paths to the process that started them, which commits: so the lock, the
manifest and the order of commits are the same as without workers, and a worker that outlives its parent
cannot write. Every message of a worker is answered by whether to go on.
"""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thetadot.dynamics.executor import Processes, WorkerLostError
from thetadot.dynamics.path import Path
from thetadot.studies.errors import WritingError
from thetadot.studies.lens_work import LensTask, Looked, look
from thetadot.studies.lenses import Lens, adopt_lenses, own_lenses
from thetadot.studies.series import Series, committed, follow

_REPORT_SECONDS = 0.25


class _Office:
    """Answers the workers' messages and commits their paths, one at a time."""

    def __init__(self, work: Any, titles: dict[str, str]):
        self.error: Exception | None = None
        self._closed = False
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
        """Admit no further workers and no further messages; one that is being acted on is waited for."""
        self._listener.close()
        with self._one_at_a_time:
            self._closed = True

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
        if self._closed:
            return
        try:
            if kind == "commit" and self.error is None:
                self._work.commit(name, content)
            elif kind == "look" and self.error is None:
                self._work.commit_lens(*content)
            elif kind == "report":
                fraction, text = content
                self._work.progress.advance(fraction, f"{self._titles[name]}: {text}")
        except Exception as error:
            self.error = error


def spread(work: Any, pieces: Sequence[Series | LensTask], workers: int) -> str | None:
    """Run what is unfinished over processes, the series before the lenses; why the session ended, None if everything
    was run."""
    document, directory = work.study.to_yaml(), work.writer.directory.absolute()
    for kind, function in ((Series, _follow_remotely), (LensTask, _look_remotely)):
        waiting = [one for one in pieces if isinstance(one, kind) and not work.finished(one)]
        if waiting and not _run_all(work, function, waiting, len(pieces), workers, (document, directory)):
            return work.ended() or "interrupted"
    return None


def _run_all(
    work: Any, function: Callable, waiting: Sequence[Any], total: int, workers: int, shared: tuple[Any, ...]
) -> bool:
    """Run pieces that do not depend on one another; whether all came to an end."""
    office = _Office(work, {one.name: one.title for one in waiting})
    starts = {one.name: work.starts[one.member] for one in waiting if isinstance(one, Series)}
    arguments = [
        (office.address, *shared, own_lenses(), one, starts.get(one.name), work.commit_every)
        for one in waiting
    ]
    done = total - len(waiting)
    work.progress.begin(f"{workers} processes", min(done + 1, total), total)
    ended = set()
    try:
        for index, words in Processes(workers).run(function, arguments):
            if words is not None:
                ended.add(index)
                if words:
                    work.progress.end(waiting[index].title, words)
                done += 1
                work.progress.begin(f"{workers} processes", min(done + 1, total), total)
    except WorkerLostError:
        # An interrupt ends workers that look through a lens.
        if not work.stop.requested:
            raise
    except Exception as error:
        raise office.error or error from None
    finally:
        office.close()
    if office.error is not None:
        raise office.error
    followed = (one for one in waiting if isinstance(one, Series))
    return len(ended) == len(waiting) and all(work.finished(one) for one in followed)


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

    def found(self, task: LensTask, looked: Looked) -> None:
        """Hand what a lens found to the office."""
        self._ask("look", (task, looked))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While a lens looks: end this process if the session is interrupted or failed."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(_REPORT_SECONDS):
                try:
                    self._ask("report", (None, "looking"))
                except (WritingError, OSError, EOFError):
                    os._exit(1)
                if self._ended == "interrupted":
                    os._exit(1)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

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
    lenses: Mapping[str, Lens],
    series: Series,
    theta0: np.ndarray,
    commit_every: float,
) -> str | None:
    """Follow a series in a worker; how it stands, None if nothing of it is computed."""
    adopt_lenses(lenses)
    with Client(address[0], authkey=address[1]) as connection:
        session = _Remote(connection, series.name)
        if session.ended() is not None:
            return None
        study = _study(document)
        path, observe = committed(directory, series), study.spec.observed
        path = follow(study.problem, theta0, series, observe, path, commit_every, session)
        return None if path is None else f"{path.outcome.name}, {path.reason}"


def _look_remotely(
    address: tuple[Any, bytes],
    document: str,
    directory: FilePath,
    lenses: Mapping[str, Lens],
    task: LensTask,
    *_: Any,
) -> str | None:
    """Run a lens in a worker; "" if it did (the office tells of it), None if the session ended before."""
    adopt_lenses(lenses)
    with Client(address[0], authkey=address[1]) as connection:
        session = _Remote(connection, task.name)
        if session.ended() is not None:
            return None
        study = _study(document)
        with session.watching():
            looked = look(study.problem, directory, task, study.spec)
        session.found(task, looked)
        return ""


@functools.cache
def _study(document: str) -> Any:
    """The study, whose problem is made once in each worker."""
    from thetadot.studies.explain import validated
    from thetadot.studies.source import read_yaml
    from thetadot.studies.study import Study

    data, origin = read_yaml(document, "study.yaml", FilePath.cwd())
    return Study.of(validated(data, origin), origin)
