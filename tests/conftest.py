"""What every test runs under: float64, strict promotion, checked annotations, a warm compilation cache.

Environment variables are set before JAX is imported, so that processes which a test spawns share them.
"""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path

MOST_MAPS = 20_000
ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook  # noqa: E402

import tests.typechecker  # noqa: E402, F401  (the hook below names it)

# Before the first import of thetadot: annotations, shapes included, are then checked at every call.
install_import_hook("thetadot", "tests.typechecker.checked")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

import thetadot  # noqa: E402, F401  (switches float64 on)
from tests.needs import chromium_path  # noqa: E402

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@dataclasses.dataclass
class Compilations:
    """What JAX traced and compiled while the counter was open: names of functions, one entry per event.

    A program found in the persistent cache counts: the question is whether the code asked for one.
    """

    traced: list[str] = dataclasses.field(default_factory=list)
    compiled: list[str] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        """Traces and compilations together; 0 means that every call ran a program already in memory."""
        return len(self.traced) + len(self.compiled)


_open_counters: list[Compilations] = []


def _note_event(event: str, duration: float, fun_name: str = "?", **_: object) -> None:
    for counter in _open_counters:
        if event.endswith("/jaxpr_trace_duration"):
            counter.traced.append(fun_name)
        elif event.endswith("/backend_compile_duration"):
            counter.compiled.append(fun_name)


jax.monitoring.register_event_duration_secs_listener(_note_event)


@contextlib.contextmanager
def _counting():
    counter = Compilations()
    _open_counters.append(counter)
    try:
        yield counter
    finally:
        _open_counters.remove(counter)


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Forget compiled programs before there are too many: each takes several memory maps, of which Linux allows a
    process 65530, and loading one more than that ends in a segmentation fault."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def _no_open_figures():
    """Close what a test drew: pyplot keeps its figures, and warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, for tests in a real browser; they are skipped where there is none."""
    return chromium_path()


@pytest.fixture
def count_compilations():
    """Context manager: `with count_compilations() as counted: ...; assert counted.total == 0, counted`."""
    return _counting
