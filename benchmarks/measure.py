"""Work–precision sweeps, each measurement written to disk as soon as it is there and not repeated."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import statistics
from collections.abc import Callable, Iterable

import thetadot
from benchmarks.methods import PREFIX, Method
from benchmarks.problems import Case
from benchmarks.worker import Worker, load_average

SOURCE = pathlib.Path(thetadot.__file__).parent
LONG = 10.0  # seconds from which one run is enough: noise is then small beside it
BUSY = 1.5  # load average, this process included, from which processor time is more honest than wall time


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A method on a case at one tolerance.

    Attributes:
        case, method, rtol: what was run.
        end: the case's end time.
        error: max over save times of ‖θ − θ_ref‖/‖θ_ref‖.
        wall, cpu: seconds of each counted run; nothing was compiled during these unless `retraced`.
        counts: gradients, hvps, hessians, factorisations, accepted, rejected; None where unknown.
        trouble: why there is no time, such as "> 120 s", or "".
        load: the largest load average seen.
        retraced: JAX traced a program anew in a run that should have needed none.
        version: what the measurement depends on: our source, or the peer's version and our gradient.
    """

    case: str
    method: str
    rtol: float
    end: float
    error: float
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    counts: dict[str, int | None]
    trouble: str
    load: float
    retraced: bool
    version: str

    @property
    def seconds(self) -> float:
        """Median time: of the wall clock, or of the processor where the machine was busy."""
        return statistics.median(self.cpu if self.busy else self.wall) if self.wall else float("nan")

    @property
    def busy(self) -> bool:
        """Whether others used the machine meanwhile."""
        return self.load > BUSY


@functools.cache  # what was on disk when the run began
def _digest(*folders: str) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted((SOURCE / folder).rglob("*")):
            if file.suffix in (".py", ".json"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:10]


def version(name: str) -> str:
    """What a measurement of the method of that name depends on."""
    if name.startswith(PREFIX):
        return "thetadot " + _digest("numerics", "problems", "dynamics")
    first = name.split()[0]
    library = {"CVODE": "scikit-sundae", "SciPy": "scipy"}.get(first, first)
    try:
        release = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        release = "absent"
    return f"{library} {release}, gradient {_digest('problems')}"


class Store:
    """All measurements, in one JSON file that is replaced whole after each."""

    def __init__(self, file: pathlib.Path, anew: bool = False, keep_peers: bool = False):
        self.file, self._keep_peers = file, keep_peers
        self._old: set[tuple[str, str, float]] = set()  # to be measured again
        self.rows: dict[tuple[str, str, float], Measurement] = {}
        if file.exists():
            for row in json.loads(file.read_text())["measurements"]:
                row["wall"], row["cpu"] = tuple(row["wall"]), tuple(row["cpu"])
                row["error"] = float("nan") if row["error"] is None else row["error"]
                self._put(Measurement(**row))
        if anew:
            self._old = set(self.rows)

    def _put(self, row: Measurement) -> None:
        self.rows[row.case, row.method, row.rtol] = row

    def find(self, case: str, method: str, rtol: float, version: str) -> Measurement | None:
        """The measurement that is still valid, or None."""
        row = None if (case, method, rtol) in self._old else self.rows.get((case, method, rtol))
        if row is None or row.version == version:
            return row
        # A peer's version ends with that of our gradient.
        same = row.version.partition(",")[0] == version.partition(",")[0] and "," in version
        return row if same and self._keep_peers else None

    def add(self, row: Measurement) -> None:
        """Keep a measurement, on disk too."""
        self._put(row)
        self._old.discard((row.case, row.method, row.rtol))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        rows = [dataclasses.asdict(row) for row in self.rows.values()]
        for one in rows:
            one["error"] = one["error"] if one["error"] == one["error"] else None
        partial = self.file.with_suffix(".partial")
        lines = ",\n".join(json.dumps(one) for one in rows)
        partial.write_text(f'{{"machine": {json.dumps(machine())},\n"measurements": [\n{lines}\n]}}\n')
        partial.replace(self.file)

    def of(self, case: str) -> dict[str, list[Measurement]]:
        """{method: measurements, loosest tolerance first} of a case."""
        found: dict[str, list[Measurement]] = {}
        for row in sorted(self.rows.values(), key=lambda row: -row.rtol):
            if row.case == case:
                found.setdefault(row.method, []).append(row)
        return found


def machine() -> str:
    """Processor, system and Python; no name of the machine."""
    model, cpuinfo = platform.processor() or platform.machine(), pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        told = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((value.strip() for key, _, value in told if key.strip() == "model name"), model)
    python, jax = platform.python_version(), importlib.metadata.version("jax")
    return f"one core of {model}, {platform.system()}, Python {python}, JAX {jax}"


def sweep(
    worker: Worker, store: Store, case: Case, quick: bool, method: Method, rtols: Iterable[float], cap: float,
    repeat: int, say: Callable[[str], None],
) -> None:  # fmt: skip
    """Measure a method at every tolerance, loosest first; what takes longer than `cap` ends the sweep."""
    fingerprint, over = version(method.name), ""
    for rtol in rtols:
        kept = store.find(case.name, method.name, rtol, fingerprint)
        why_not = method.unfit(case)
        if kept is not None:
            over = kept.trouble if kept.trouble.startswith(">") else over
            continue
        if why_not is not None or over:
            trouble = why_not or over
            row = _empty(case, method, rtol, trouble, fingerprint)
        else:
            row = _measure(worker, case, quick, method, rtol, cap, repeat, fingerprint)
            over = row.trouble if row.trouble.startswith(">") else ""
        store.add(row)
        if why_not is None:
            say(line(row))


def line(row: Measurement) -> str:
    """A measurement in one line."""
    head = f"{row.case:5s} {row.method:30s} rtol {row.rtol:.0e}  "
    if row.trouble:
        return head + row.trouble
    counted = ", ".join(f"{value} {name}" for name, value in row.counts.items() if value)
    note = ("  [busy: processor time]" if row.busy else "") + ("  [RETRACED]" if row.retraced else "")
    return f"{head}error {row.error:.1e}  {row.seconds:8.3f} s  {counted}{note}"


def _empty(case: Case, method: Method, rtol: float, trouble: str, fingerprint: str) -> Measurement:
    nan = float("nan")
    return Measurement(
        case.name, method.name, rtol, case.end, nan, (), (), {}, trouble, 0.0, False, fingerprint
    )


def _measure(
    worker: Worker,
    case: Case,
    quick: bool,
    method: Method,
    rtol: float,
    cap: float,
    repeat: int,
    fingerprint: str,
) -> Measurement:
    laps, load, warm = [], load_average(), 0
    while True:
        lap = worker.run(case.name, quick, method.name, rtol, cap)
        if lap is None:
            return _empty(case, method, rtol, f"> {cap:g} s", fingerprint)
        if lap.failure:
            return _empty(case, method, rtol, f"failed: {lap.failure}", fingerprint)
        load = max(load, load_average())
        if lap.traced and warm < 2:  # a run that compiles is not timed
            warm += 1
            continue
        laps.append(lap)
        if len(laps) >= repeat or lap.cpu > LONG:
            break
    if laps[0].cpu > cap:
        return _empty(case, method, rtol, f"> {cap:g} s", fingerprint)
    return Measurement(
        case.name, method.name, rtol, case.end, laps[-1].error, tuple(lap.wall for lap in laps),
        tuple(lap.cpu for lap in laps), laps[-1].counts, "", load, any(lap.traced for lap in laps), fingerprint,
    )  # fmt: skip
