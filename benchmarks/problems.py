"""The training problems that every method runs, with their starts, end times and save times; all seeds explicit."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td

SAVES = 40
FIRST_SAVE = 1e-2


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem with its start and its end.

    Attributes:
        name: P1, P2, …; a suffix tells a shorter run of the same problem.
        title: what it is, for tables and figures.
        shows: what it tests an integrator by.
        pose: makes the problem and its start (P,).
        end, quick_end: end time, and the end time of a quick run, in units of the loss gradient.
        reference: names of the two methods of `references` that its truth rests on.
    """

    name: str
    title: str
    shows: str
    pose: Callable[[], tuple[td.EmpiricalRisk, np.ndarray]]
    end: float
    quick_end: float
    reference: tuple[str, str]

    @functools.cached_property
    def posed(self) -> tuple[td.EmpiricalRisk, np.ndarray]:
        """The problem and its start (P,)."""
        problem, theta0 = self.pose()
        return problem, np.array(theta0)

    @property
    def ts(self) -> np.ndarray:
        """Save times (41,): 0 and a geometric grid up to the end."""
        return np.concatenate([[0.0], np.geomspace(FIRST_SAVE, self.end, SAVES)])

    @functools.cached_property
    def key(self) -> str:
        """A digest of everything that the true path depends on."""
        problem, theta0 = self.posed
        digest = hashlib.sha256(problem.description.encode())
        for part in (problem.x, problem.y, theta0, self.ts):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    def shortened(self) -> "Case":
        """The same problem to `quick_end`."""
        return dataclasses.replace(self, end=self.quick_end)


def _posed(network, loss, data, *, scale: float = 1.0, key: int = 1):
    problem = td.EmpiricalRisk(network, loss, *data)
    return problem, problem.init(jax.random.key(key), scale=scale)


def _p1():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 3))
    network = td.mlp([3, 5, 1], "tanh")
    teacher = td.EmpiricalRisk(network, td.squared, x, np.zeros((1000, 1)))
    y = np.asarray(teacher.predict(jnp.asarray(rng.normal(size=teacher.size)), jnp.asarray(x)))
    return _posed(network, td.squared, (x, y))


def _p2():
    data = td.data.teacher_student(jax.random.key(0), samples=1000, dimension=10, width=5)
    return _posed(td.mlp([10, 80, 1], "tanh"), td.squared, data)


def _p3():
    # Pixels in [0, 1], as most people train on them. With every pixel at variance 1 the loss falls so fast that the
    # flow is not stiff at all by t = 1000, and any explicit method will do.
    x, y = td.data.digits(standardise=False)
    return _posed(td.mlp([64, 128, 10], "tanh"), td.cross_entropy, (x / 16.0, y))


def _p4():
    data = td.data.teacher_student(
        jax.random.key(0), samples=1000, dimension=11, width=5, activation="squared_relu"
    )
    return _posed(td.two_layer(11, 10, "squared_relu"), td.squared, data, scale=0.03)


def _p5():
    return _posed(td.mlp([10, 25, 1], "erf"), td.squared, td.data.diabetes())


def _p6():
    data = td.data.linear_system(jax.random.key(0), samples=200, dimension=6, outputs=5)
    return _posed(td.linear([6, 10, 8, 5]), td.squared, data, scale=0.05)


def _p7():
    x, y = td.data.breast_cancer()
    return _posed(td.mlp([30, 1], "identity"), td.logistic, (x, 2.0 * y - 1.0))


CASES = (
    Case(
        "P1", "tanh teacher–student, n = 26", "small and very stiff, for very long", _p1, 1e6, 1e3,
        ("SciPy Radau", "CVODE dense"),
    ),
    Case(
        "P1e3", "P1 to t = 10³, where explicit methods arrive", "small, moderately stiff", _p1, 1e3, 1e2,
        ("diffrax Dopri8", "CVODE dense"),
    ),
    Case(
        "P2", "tanh teacher–student, n = 961", "stiff, dense algebra begins to hurt", _p2, 1e4, 1e1,
        ("SciPy Radau", "CVODE dense"),
    ),
    Case(
        "P3", "digits 64-128-10, cross-entropy, n = 9610", "too large for a matrix, mildly stiff", _p3, 1e3, 1e0,
        ("diffrax Dopri8", "CVODE GMRES"),
    ),
    Case(
        "P4", "squared ReLU from 0.03, n = 120", "plateaus, then escapes, then a flat valley", _p4, 1e4, 1e1,
        ("SciPy Radau", "CVODE dense"),
    ),
    Case(
        "P5", "erf regression on diabetes, n = 301", "stiff, medium, slow drift to the end", _p5, 1e5, 1e1,
        ("SciPy Radau", "CVODE dense"),
    ),
    Case(
        "P6", "deep linear 6-10-8-5 from 0.05, n = 180", "plateaus without much stiffness", _p6, 1e3, 1e2,
        ("diffrax Dopri8", "CVODE dense"),
    ),
    Case(
        "P7", "logistic regression on breast cancer, n = 31", "convex and very stiff; θ grows without end", _p7,
        1e6, 1e3, ("SciPy Radau", "CVODE dense"),
    ),
)  # fmt: skip
"""P1 to P4 are those of the specification; P5 to P7 are ours, chosen so that different solvers win."""


def _of_width(width: int) -> Callable:
    def pose():
        data = td.data.teacher_student(jax.random.key(0), samples=1000, dimension=10, width=5)
        return _posed(td.mlp([10, width, 1], "tanh"), td.squared, data)

    return pose


FAMILY = tuple(
    Case(
        f"n{12 * width + 1}", f"tanh teacher–student, n = {12 * width + 1}", "one family, growing", _of_width(width),
        1e3, 1e1, ("CVODE dense", "SciPy LSODA") if width <= 128 else ("CVODE GMRES", "diffrax Dopri8"),
    )
    for width in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
)  # fmt: skip
"""Problems of one kind in ten dimensions, 25 to 12289 parameters, for calibrating the automatic choice."""


def tiny() -> Case:
    """A tiny network, one of many that differ in their start: 17 parameters, 20 samples."""

    def pose():
        data = td.data.teacher_student(jax.random.key(0), samples=20, dimension=2, width=3)
        return _posed(td.mlp([2, 4, 1], "tanh"), td.squared, data)

    methods = ("SciPy LSODA", "CVODE dense")
    return Case("tiny", "2-4-1 tanh on 20 samples", "tiny", pose, 1e3, 1e1, methods)
