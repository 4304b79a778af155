"""Whether this installation computes what it should."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Iterator

EXTRAS = {
    "viewer": (("panel",), "live views of runs in the browser"),
    "sweep": (("dask", "distributed"), "sweeps over clusters"),
    "torch": (("torch",), "PyTorch modules as problems"),
    "sundials": (("sksundae",), "CVODE as a solver"),
    "parquet": (("pyarrow",), "data from Parquet files"),
}
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_BROWSERS = (*_CHROMIUM, "firefox", "safari", "msedge")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was examined.

    Attributes:
        name: what.
        state: "ok", "absent" (optional, not there) or "wrong".
        detail: in words; for what is wrong or absent, the way out.
    """

    name: str
    state: str
    detail: str


def findings() -> Iterator[Finding]:
    """Examine the installation, one thing after another."""
    import jax

    import thetadot
    from thetadot.studies.identity import numerics_version

    yield Finding("thetadot", "ok", f"{thetadot.__version__}, numerics {numerics_version()}")
    yield Finding("Python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    devices = ", ".join(str(device) for device in jax.devices())
    yield Finding(
        "JAX", "ok", f"{jax.__version__}, jaxlib {importlib.metadata.version('jaxlib')}, on {devices}"
    )
    x64 = bool(jax.config.read("jax_enable_x64"))
    yield Finding(
        "float64",
        "ok" if x64 else "wrong",
        "on" if x64 else "off: unset THETADOT_X64, or import thetadot before JAX",
    )
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", "ok", f"{available} of {os.cpu_count()}")
    for extra, (modules, purpose) in EXTRAS.items():
        there = all(importlib.util.find_spec(module) is not None for module in modules)
        told = f"{', '.join(modules)} installed" if there else f"pip install 'thetadot[{extra}]'"
        yield Finding(f"extra {extra}", "ok" if there else "absent", f"{told}: {purpose}")
    browser = next((name for name in _BROWSERS if shutil.which(name)), None)
    told = browser or "none found on the PATH: reports and the viewer open in any"
    if browser not in _CHROMIUM:
        told += " (the tests in a browser want Chromium)"
    yield Finding("browser", "ok" if browser else "absent", told)
    yield self_test()


def self_test() -> Finding:
    """Follow an analytic flow (a quadratic with condition number 10⁴, θ(t) = exp(−At)θ0) and compare."""
    import jax.numpy as jnp
    import numpy as np

    from thetadot.dynamics import Until, flow
    from thetadot.problems import FunctionRisk

    curvatures = np.array([1e-4, 1e-2, 1.0])
    start, wanted, end = np.ones(3), 1e-6, 1e3
    began = time.perf_counter()
    try:
        bowl = FunctionRisk(lambda theta: 0.5 * jnp.sum(jnp.asarray(curvatures) * theta**2), jnp.ones(3))
        path = flow(bowl, start, until=Until(time=end), accuracy=wanted, certify=True, progress=False)
    except Exception as error:
        return Finding("self-test", "wrong", f"the flow fails: {type(error).__name__}: {error}")
    truth = np.exp(-np.outer(path.ts, curvatures)) * start
    error = float(np.max(np.linalg.norm(path.thetas - truth, axis=1) / np.linalg.norm(truth, axis=1)))
    seconds = time.perf_counter() - began
    detail = (
        f"error {error:.1e} against the closed form, asked {wanted:.0e}, {seconds:.1f} s with compilation"
    )
    if not error <= wanted:
        return Finding(
            "self-test", "wrong", f"{detail}: please report this with the output of `thetadot doctor`"
        )
    return Finding("self-test", "ok", detail)
