"""The last digits of a minimum by Newton's method, where that is honest."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from thetadot.problems import Problem

LARGEST = 2000
_ITERATIONS = 12
_SMALL_MOVE = 1e-2


@dataclasses.dataclass(frozen=True)
class Polished:
    """A minimum that Newton's method reached from the end of a path.

    Attributes:
        theta (P,): the minimum.
        loss, grad_norm: there.
        displacement: ‖θ_polished − θ_path‖/‖θ_path‖.
        lowest_eigenvalue: of the Hessian, positive.
        hessians: evaluated.
        note: whether the point may be taken for the flow's limit.
    """

    theta: Float[np.ndarray, " P"]
    loss: float
    grad_norm: float
    displacement: float
    lowest_eigenvalue: float
    hessians: int
    note: str


@eqx.filter_jit
def _expand(problem: Problem, theta: Any):
    loss, gradient = problem.value_and_grad(theta)
    return loss, gradient, problem.hessian(theta)


def polish(problem: Problem, theta: Float[np.ndarray, " P"], base_loss: float) -> tuple[Polished | None, str]:
    """Newton to ‖∇L‖ at rounding level, or None and the reason why it is refused.

    It is refused unless the Hessian is positive definite, the Newton decrement is small against the loss scale, the
    move is below 1 % of ‖θ‖, and the gradient falls quadratically: otherwise the flow must go on.
    """
    if theta.size > LARGEST:
        return None, f"{theta.size} parameters are more than {LARGEST}"
    start, norms, lowest, hessians = theta, [], np.nan, 0
    size = max(float(np.linalg.norm(theta)), 1e-300)
    loss = np.nan
    for iteration in range(_ITERATIONS):
        loss, gradient, hessian = (np.asarray(part) for part in jax.device_get(_expand(problem, theta)))
        hessians += 1
        values, vectors = np.linalg.eigh(hessian)
        lowest = float(values[0])
        norms.append(float(np.linalg.norm(gradient)))
        if not lowest > 1e-10 * abs(values[-1]):
            return None, f"the lowest Hessian eigenvalue {lowest:.2e} is not positive"
        along = vectors.T @ gradient
        move = -vectors @ (along / values)
        decrement = 0.5 * float(along @ (along / values))
        if np.linalg.norm(theta + move - start) > _SMALL_MOVE * size or decrement > _SMALL_MOVE * max(
            base_loss, float(loss)
        ):
            return None, "the Newton step is not small"
        if norms[-1] <= 1e-14 * max(1.0, float(values[-1]) * size):
            break
        if iteration and norms[-1] > 0.3 * norms[-2]:
            if norms[-1] <= 1e-12 * max(1.0, float(values[-1]) * size):
                break  # rounding level
            return None, "the gradient does not fall quadratically"
        theta = theta + move
    else:
        return None, f"{_ITERATIONS} Newton steps did not suffice"
    moved = float(np.linalg.norm(theta - start)) / size
    spread = lowest / float(values[-1])
    note = (
        "the flow's limit up to the displacement"
        if spread > 1e-6
        else f"a flat valley (eigenvalue ratio {spread:.1e}): not necessarily the flow's limit"
    )
    result = Polished(theta, float(loss), norms[-1], moved, lowest, hessians, note)
    return result, f"displacement {moved:.1e}, ‖∇L‖ = {norms[-1]:.1e}, {note}"
