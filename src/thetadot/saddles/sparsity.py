"""Which neurons live: groups of weights, blocks that stay zero, and their norms along a path."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from thetadot.dynamics import Path
from thetadot.problems import EmpiricalRisk, Problem
from thetadot.saddles.errors import NoGroupsError, SaddlesError

Groups = Sequence[np.ndarray]


def neuron_groups(problem: Problem) -> tuple[np.ndarray, ...]:
    """All weights in and out of each hidden neuron (each coordinate of a diagonal network): indices into θ.

    Raises:
        NoGroupsError: the layout names no hidden neurons.

    Example:
        >>> import numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 3, "square"), td.squared, np.eye(2), np.ones(2))
        >>> [group.tolist() for group in neuron_groups(problem)]
        [[0, 1, 6], [2, 3, 7], [4, 5, 8]]
    """
    groups = tuple(np.asarray(neuron.indices) for neuron in problem.layout.neurons)
    if not groups:
        raise NoGroupsError(f"{problem.description} names no hidden neurons: give groups=(indices, …)")
    return groups


@jax.jit
def _masked_slopes(problem: EmpiricalRisk, theta: Array, mask: Array, weights: Array):
    def output(point):
        return jnp.sum(weights * problem.predict(point, problem.x))

    return jax.grad(output)(theta) * mask


def is_zero_preserving(
    problem: Problem, indices: Sequence[int] | np.ndarray, *, probes: int = 8, key: PRNGKeyArray | None = None
) -> bool:
    """Whether weights that are zero stay zero: the outputs' derivatives by them vanish wherever all of them are 0.

    Arguments:
        problem: what is trained.
        indices: the weights, indices into θ.
        probes: number of random settings of the other weights.
        key: of the random settings.

    Returns:
        True if every derivative is exactly 0.0 at every probe. For problems without a network the gradient of the loss
        is examined instead.

    Example:
        >>> import numpy as np, thetadot as td
        >>> x = np.array([[1.0, 2.0], [2.0, 1.0]])
        >>> problem = td.EmpiricalRisk(td.two_layer(2, 3, "square"), td.squared, x, np.ones(2))
        >>> is_zero_preserving(problem, neuron_groups(problem)[0]), is_zero_preserving(problem, [0])
        (True, False)
    """
    indices = np.asarray(indices, int)
    if indices.size == 0:
        return True
    mask = np.zeros(problem.size)
    mask[indices] = 1.0
    rng = np.random.default_rng(_seed(key))
    for _ in range(probes):
        theta = rng.normal(size=problem.size) * (1.0 - mask)
        if isinstance(problem, EmpiricalRisk):
            shape = jax.eval_shape(lambda point: problem.predict(point, problem.x), theta)
            slopes = _masked_slopes(problem, theta, mask, rng.normal(size=shape.shape))
        else:
            slopes = problem.value_and_grad(theta)[1] * mask
        if np.any(np.asarray(slopes) != 0.0):
            return False
    return True


def _seed(key: PRNGKeyArray | None) -> list[int]:
    return [0] if key is None else np.asarray(jax.random.key_data(key)).ravel().tolist()


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """Norms of the groups along a path.

    Attributes:
        times (S,): rows of the path, time in the units of the loss.
        norms (S, G): ‖θ_g‖ of every group.
        alive (S, G): norms above the threshold times the largest of the row.
        preserved: no group that was dead once the winners had grown came to life later.
        worst_dead: largest norm that a group dead at the end ever had, over the scale of the start.
        scale, threshold: as given.
    """

    times: Float[np.ndarray, " S"]
    norms: Float[np.ndarray, "S G"]
    alive: Bool[np.ndarray, "S G"]
    preserved: bool
    worst_dead: float
    scale: float
    threshold: float


def sparsity(path: Path, groups: Groups, *, scale: float, threshold: float = 1e-2) -> Sparsity:
    """Which groups of weights live along a path, and whether the dead ones stay dead.

    Arguments:
        path: from a small start.
        groups: index arrays into θ, for instance `neuron_groups(problem)`.
        scale: ‖θ(0)‖, in which `worst_dead` is measured.
        threshold: part of the largest group's norm from which a group counts as alive.

    Raises:
        SaddlesError: no groups.

    Example:
        >>> import jax.numpy as jnp, numpy as np, thetadot as td
        >>> problem = td.EmpiricalRisk(td.diagonal(2), td.squared, np.eye(2), np.array([1.0, 0.0]))
        >>> path = td.flow(problem, jnp.full(4, 1e-3), until=td.Until(time=30.0), progress=False)
        >>> found = sparsity(path, neuron_groups(problem), scale=2e-3)
        >>> found.alive[-1].tolist(), found.preserved
        ([True, False], True)
    """
    if not len(groups):
        raise SaddlesError("no groups were given: neuron_groups(problem) lists those of the layout")
    norms = np.stack([np.linalg.norm(path.thetas[:, np.asarray(group)], axis=1) for group in groups], axis=1)
    alive = norms > threshold * norms.max(axis=1, keepdims=True)
    # From the moment when the winners stand out, the set of the living may only shrink.
    settled = int(np.flatnonzero(alive.sum(axis=1) <= alive[-1].sum())[0])
    preserved = not np.any(alive[settled:] & ~alive[settled])
    dead = ~alive[-1]
    worst = float(norms[:, dead].max() / scale) if dead.any() else 0.0
    return Sparsity(
        np.asarray(path.ts, float), norms, alive, bool(preserved), worst, float(scale), float(threshold)
    )
