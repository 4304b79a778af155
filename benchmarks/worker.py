"""One run in a process of its own, so that it can be stopped at a time cap and cannot take the others down."""

import dataclasses
import multiprocessing
import os
import pathlib
import time
import traceback
from typing import Any

import jax

from benchmarks import ours, peers, peers_diffrax, peers_torch
from benchmarks.methods import Method, RunFailedError
from benchmarks.problems import CASES, FAMILY, Case
from benchmarks.references import error, reference

START_UP = 300.0  # seconds that loading libraries, data and the reference may take
COMPILING = 30.0  # seconds that a first run may take on top of its cap
HUNG = 30.0  # times the processor time that the clock may show before a run is given up
LOOK = 0.5  # seconds between two looks at the clock


@dataclasses.dataclass(frozen=True)
class Lap:
    """One run as measured.

    Attributes:
        wall, cpu: seconds of the run, and of processor time of its process.
        traced: how many programs JAX traced during it; not a fair time if any.
        error: against the reference.
        counts: what was evaluated.
        failure: why there is no path, or "".
    """

    wall: float
    cpu: float
    traced: int
    error: float
    counts: dict[str, int | None]
    failure: str = ""


def peers_of_ours() -> tuple[Method, ...]:
    """All methods that are not thetadot's."""
    return (*peers.PEERS, *peers_diffrax.PEERS, *peers_torch.PEERS)


def find_method(name: str) -> Method:
    """The method of that name, ours or a peer's."""
    if name.startswith(ours.PREFIX):
        known, _ = ours.methods((name.removeprefix(ours.PREFIX),))
        return known[0]
    return next(method for method in peers_of_ours() if method.name == name)


def find_case(name: str, quick: bool) -> Case:
    """The case of that name, shortened for a quick run."""
    case = next(case for case in (*CASES, *FAMILY) if case.name == name)
    return case.shortened() if quick else case


def _serve(connection: Any) -> None:
    traced = 0

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        nonlocal traced
        traced += event == "/jax/core/compile/jaxpr_trace_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    cases: dict[tuple[str, bool], tuple] = {}
    while True:
        name, quick, method_name, rtol = connection.recv()
        if (name, quick) not in cases:
            cases.clear()
            case = find_case(name, quick)
            cases[name, quick] = case, reference(case, lambda text: None).thetas
        case, truth = cases[name, quick]
        method = find_method(method_name)
        connection.send("ready")
        before, failure, counts, off = traced, "", {}, float("nan")
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            thetas, counted = method.run(case, rtol)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            counts, off = dataclasses.asdict(counted), error(thetas, truth)
        except RunFailedError as stopped:
            wall, cpu, failure = time.perf_counter() - wall, time.process_time() - cpu, str(stopped)
        except Exception as broken:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            failure = traceback.format_exception_only(broken)[-1].strip()
        connection.send(Lap(wall, cpu, traced - before, off, counts, failure))


class Worker:
    """A process that makes runs one after another, started anew after one had to be stopped."""

    def __init__(self):
        self._process: Any = None
        self._connection: Any = None
        self._warm: set[tuple] = set()

    def run(self, case: str, quick: bool, method: str, rtol: float, cap: float) -> Lap | None:
        """One run; None if it was not done after `cap` seconds of processor time, beside the time to compile in a
        first one."""
        if self._process is None or not self._process.is_alive():
            self._start()
        kind = (case, quick, method)
        self._connection.send((case, quick, method, rtol))
        lap = None
        try:
            if self._connection.poll(START_UP):
                self._connection.recv()
                if self._done(cap if kind in self._warm else cap + COMPILING):
                    lap = self._connection.recv()
        except EOFError:  # the process died
            lap = Lap(float("nan"), float("nan"), 0, float("nan"), {}, "the process died")
        if lap is None or lap.failure == "the process died":
            self.close()
        self._warm.add(kind)
        return lap

    def _done(self, seconds: float) -> bool:
        """Whether a result comes within so many seconds of processor time, and not much more of the clock."""
        used, began = _used(self._process.pid), time.perf_counter()
        while not self._connection.poll(LOOK):
            if _used(self._process.pid) - used > seconds or time.perf_counter() - began > HUNG * seconds:
                return False
        return True

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._warm.clear()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None


def _used(process: int) -> float:
    """Processor seconds of a process so far; where the system does not tell, seconds on the clock."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.perf_counter()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_average() -> float:
    """Runnable processes over the last minute, this one included; NaN where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
