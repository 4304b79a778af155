"""How much of a core's matrix-product speed the gradient of P3 reaches."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.methods import Derivatives
from benchmarks.problems import CASES

SIZES = (512, 1024, 2048)
ENOUGH = 5.0  # seconds


@dataclasses.dataclass(frozen=True)
class Share:
    """Speeds in GFLOP/s.

    Attributes:
        gradient: of P3's gradient, its matrix products counted only.
        xla, blas: the best over some square float64 products of XLA's and of NumPy's BLAS, on one core.
    """

    gradient: float
    xla: float
    blas: float

    @property
    def of_peak(self) -> float:
        """The gradient's share of the faster of the two."""
        return self.gradient / max(self.xla, self.blas)

    def __str__(self) -> str:
        return (
            f"{self.of_peak:.0%} ({self.gradient:.0f} of {max(self.xla, self.blas):.0f} GFLOP/s; "
            f"XLA's product {self.xla:.0f}, NumPy's {self.blas:.0f})"
        )


def gradient_flops(widths: tuple[int, ...], samples: int) -> float:
    """Floating-point operations of the matrix products of one gradient of a dense network: forwards every layer,
    backwards every layer's weights, and every layer's inputs but the first."""
    products = [2.0 * samples * into * out for into, out in itertools.pairwise(widths)]
    return 3.0 * sum(products) - products[0]


def seconds_each(run: Callable[[], object], at_least: float = 0.5) -> float:
    """Median processor seconds of a call, over calls that take `at_least` together; the first is not counted, and
    one of a few seconds is enough."""
    run()
    laps: list[float] = []
    while sum(laps) < at_least or (len(laps) < 5 and sum(laps) < ENOUGH):
        began = time.process_time()
        run()
        laps.append(time.process_time() - began)
    return statistics.median(laps)


def measure() -> Share:
    """Measure now, in this process."""
    case = next(case for case in CASES if case.name == "P3")
    problem, theta0 = case.posed
    own = Derivatives(case)
    flops = gradient_flops(problem.network.chain.widths, problem.samples)
    gradient = flops / seconds_each(lambda: own.field(theta0))
    product = jax.jit(jnp.matmul)
    xla = blas = 0.0
    for size in SIZES:
        a = np.random.default_rng(0).normal(size=(size, size))
        on_device = jnp.asarray(a)
        xla = max(xla, 2.0 * size**3 / seconds_each(lambda b=on_device: product(b, b).block_until_ready()))
        blas = max(blas, 2.0 * size**3 / seconds_each(lambda a=a: a @ a))
    return Share(gradient / 1e9, xla / 1e9, blas / 1e9)
