"""The true paths, by two methods at tight tolerances that share no code; computed once and kept.

The first named is the truth; how far the second differs from it is printed as the truth's own accuracy, and no
error below that is trusted.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable

import numpy as np

from benchmarks import peers, peers_diffrax
from benchmarks.problems import Case

FOLDER = pathlib.Path(__file__).parent / ".references"
TIGHT = {
    "CVODE dense": 1e-14,  # below 1e-15 SUNDIALS refuses
    "CVODE GMRES": 1e-13,
    "SciPy LSODA": 1e-13,
    "SciPy Radau": 1e-13,
    "diffrax Dopri8": 1e-13,
}
_METHODS = {method.name: method for method in (*peers.PEERS, peers_diffrax.DOPRI8)}


@dataclasses.dataclass(frozen=True)
class Reference:
    """A true path.

    Attributes:
        thetas (S, P): at the case's save times.
        accuracy: max over save times of ‖θ − θ′‖/‖θ‖, θ′ by the second method.
        methods, rtols, seconds: of the two runs.
    """

    thetas: np.ndarray
    accuracy: float
    methods: tuple[str, str]
    rtols: tuple[float, float]
    seconds: tuple[float, float]

    def __str__(self) -> str:
        runs = zip(self.methods, self.rtols, self.seconds, strict=True)
        told = " against ".join(f"{name} at {rtol:.0e} ({took:.0f} s)" for name, rtol, took in runs)
        return f"{told}: they differ by {self.accuracy:.1e}"


def error(thetas: np.ndarray, truth: np.ndarray) -> float:
    """max over save times of ‖θ − θ*‖/‖θ*‖; NaN if a row is missing or not finite."""
    if thetas.shape != truth.shape or not np.all(np.isfinite(thetas)):
        return float("nan")
    return float(np.max(np.linalg.norm(thetas - truth, axis=1) / np.linalg.norm(truth, axis=1)))


def reference(case: Case, say: Callable[[str], None] = print) -> Reference:
    """The true path of a case, from the folder of references or computed now."""
    kept = FOLDER / f"{case.name}-{case.key}-{'-'.join(case.reference).replace(' ', '_')}.npz"
    if not kept.exists():
        paths, seconds = [], []
        for name in case.reference:
            say(f"{case.name}: reference by {name} at rtol {TIGHT[name]:.0e} …")
            began = time.perf_counter()
            paths.append(_METHODS[name].run(case, TIGHT[name])[0])
            seconds.append(time.perf_counter() - began)
        about = {
            "accuracy": error(paths[1], paths[0]),
            "methods": case.reference,
            "rtols": [TIGHT[name] for name in case.reference],
            "seconds": seconds,
        }
        FOLDER.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, thetas=paths[0], about=json.dumps(about))
        partial.replace(kept)
        say(f"{case.name}: the two references differ by {about['accuracy']:.1e}, {sum(seconds):.0f} s")
    with np.load(kept) as held:
        about = json.loads(str(held["about"]))
        return Reference(
            held["thetas"], about["accuracy"], *(tuple(about[k]) for k in ("methods", "rtols", "seconds"))
        )
