"""The eigenvalues of the Hessian at one moment of a path."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import count, number
from thetadot.numerics.linalg import lanczos
from thetadot.problems import Problem
from thetadot.report.chart import Chart, Dots, Level
from thetadot.report.moment_time import moment_name
from thetadot.report.series import FigureError
from thetadot.report.stability_bound import stability_bound

ALL_UP_TO = 1500
"""Up to this many parameters all eigenvalues are computed, beyond it those that Lanczos finds."""
_PRODUCTS = 96
_BASIS_NUMBERS = 40_000_000
_RESOLVED = 1e-3
_LINEAR_UP_TO = 30


@dataclasses.dataclass(frozen=True)
class Eigenvalues:
    """Eigenvalues of a Hessian.

    Attributes:
        values (n,): ascending; all P of them, or those at both ends that Lanczos resolved.
        size: P.
        noise: what is smaller than this cannot be told from 0.
    """

    values: Float[np.ndarray, " n"]
    size: int
    noise: float

    @property
    def complete(self) -> bool:
        """Whether these are all."""
        return len(self.values) == self.size

    def signed(self, sign: int) -> Float[np.ndarray, " k"]:
        """Sizes of the eigenvalues of a sign, largest first, without those that vanish to rounding."""
        return np.sort((sign * self.values)[sign * self.values > self.noise])[::-1]


@jax.jit
def _all(problem: Problem, theta: Float[Array, " P"]) -> Float[Array, " P"]:
    return jnp.linalg.eigvalsh(problem.hessian(theta))


def _push(vector: Float[Array, " P"], push: Callable) -> Float[Array, " P"]:
    return push(vector)


@functools.partial(jax.jit, static_argnums=2)
def _ends(
    problem: Problem, theta: Float[Array, " P"], products: int
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    _, _, push = problem.linearize(theta)
    # Tolerance 0: all products are spent, so that as many eigenvalues as possible are resolved.
    found = lanczos(_push, theta.size, args=push, iterations=products, tolerance=0.0)
    return found.values, found.residuals


def eigenvalues(problem: Problem, theta: Float[np.ndarray, " P"]) -> Eigenvalues:
    """All eigenvalues of the Hessian up to P = 1500; beyond that those which 96 Lanczos steps (fewer where
    memory asks for it) resolve to 0.1 %: some of the largest and of the most negative, repeated ones once.

    Example:
        >>> import jax.numpy as jnp
        >>> from thetadot.problems import FunctionRisk
        >>> saddle = FunctionRisk(lambda t: t[0] ** 2 - 0.5 * t[1] ** 2, jnp.zeros(2))
        >>> eigenvalues(saddle, np.zeros(2)).values.tolist()
        [-1.0, 2.0]
    """
    if problem.size <= ALL_UP_TO:
        values = np.asarray(_all(problem, jnp.asarray(theta)))
        return Eigenvalues(values, problem.size, _noise(values, problem.size))
    products = int(min(_PRODUCTS, max(8, _BASIS_NUMBERS // problem.size)))
    values, residuals = (np.asarray(part) for part in _ends(problem, jnp.asarray(theta), products))
    # An eigenvalue's error is about residual²/gap, far below the residual where this is small.
    with np.errstate(invalid="ignore"):
        kept: Bool[np.ndarray, " m"] = residuals <= _RESOLVED * np.abs(values)
    return Eigenvalues(values[kept], problem.size, _noise(values[np.isfinite(values)], problem.size))


def _noise(values: Float[np.ndarray, " n"], size: int) -> float:
    """Size below which an eigenvalue is rounding: P machine epsilons of the largest."""
    return size * np.finfo(float).eps * float(np.abs(values).max(initial=0.0))


class SpectrumAt:
    """The eigenvalues at every saved row, each computed when it is first asked for.

    Arguments:
        path: how it moved.
        problem: what was trained.
        known: eigenvalues by the bytes of θ, shared with earlier states of a growing path.

    Raises:
        FigureError: the problem has no Hessian at the path's rows.
    """

    def __init__(self, path: Path, problem: Problem | None, known: dict[bytes, Eigenvalues] | None = None):
        if problem is None:
            raise FigureError("the spectrum needs the problem whose Hessian it is; none was given")
        self._path, self._problem = path, problem
        self._bound = stability_bound(path)
        self.known: dict[bytes, Eigenvalues] = {} if known is None else known
        self.method = (
            "All eigenvalues of the Hessian of the loss, the positive and the negative ones each from the "
            "largest on; those that rounding cannot tell from 0 are left out."
            if problem.size <= ALL_UP_TO
            else f"Those eigenvalues of the Hessian of the loss ({problem.size:,} in all) that {_PRODUCTS} "
            "Lanczos steps resolve to 0.1 %: the positive and the negative ones each from the largest on."
        )

    def at(self, save: int) -> Eigenvalues | None:
        """The eigenvalues at a row; None if its weights are not finite."""
        theta = self._path.thetas[save]
        if not np.isfinite(theta).all():
            return None
        key = theta.tobytes()
        if key not in self.known:
            self.known[key] = eigenvalues(self._problem, theta)
        return self.known[key]

    def chart(self, save: int) -> Chart:
        """Size of each eigenvalue against its rank among those of its sign."""
        found = self.at(save)
        dots = []
        for colour, sign in ((0, 1), (1, -1)):
            sizes = np.zeros(0) if found is None else found.signed(sign)
            names = tuple(f"λ = {number(sign * value, 4)}" for value in sizes)
            dots.append(Dots(np.arange(1.0, len(sizes) + 1), sizes, names, "sample", colour))
        size = self._problem.size
        log_x = size > _LINEAR_UP_TO
        return Chart(
            f"Hessian spectrum {moment_name(self._path, save)}", "rank among eigenvalues of its sign",
            "|λ|, size of the eigenvalue (1/time)", log_x, log_y=True, whole_x=not log_x,
            dots=tuple(dots), levels=() if self._bound is None else (Level(*self._bound, colour=5),),
            x_ends=(0.8, 1.25 * (size if size <= ALL_UP_TO else _PRODUCTS)) if log_x else (0.5, size + 0.5),
            colours={0: "positive eigenvalue", 1: "negative eigenvalue"}, scope="sign",
        )  # fmt: skip

    def reading(self, save: int) -> str:
        """Extremes, negative ones, and how the largest compares with the rule's bound."""
        found, when = self.at(save), moment_name(self._path, save)
        if found is None:
            return f"The weights {when} are not finite."
        if not found.values.size or not np.isfinite(found.values).all():
            return f"No eigenvalue could be resolved {when}."
        largest, smallest = number(found.values[-1]), number(found.values[0])
        negative = len(found.signed(-1))
        text = f"{when[0].upper()}{when[1:]} the largest eigenvalue is {largest}, the smallest {smallest}"
        if found.complete:
            vanishing = int(np.sum(np.abs(found.values) <= found.noise))
            text += f"; of {count(found.size, 'eigenvalue')} {negative} {'is' if negative == 1 else 'are'} negative"
            text += (
                f" and {vanishing} {'vanishes' if vanishing == 1 else 'vanish'} to rounding."
                if vanishing
                else "."
            )
        else:
            text += f"; {len(found.values)} of {found.size:,} are resolved, {negative} of them negative."
        if self._bound is not None:
            text += (
                f" The largest is {number(100 * found.values[-1] / self._bound[0])} % of {self._bound[1]}."
            )
        return text
