"""Nonlinear simulators: how a trained field grows on the data and off them, and what of it was never taught.

A dense first layer W₁ moves only inside the span of its inputs under gradient descent, heavy ball and gradient flow,
whatever the rest of the network: W₁N is conserved. Under Adam or weight decay it is not.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.problems import Problem
from thetadot.problems.checks import Numbers, as_vector
from thetadot.simulators.checks import as_numbers, as_time
from thetadot.simulators.data_energy import DataEnergy
from thetadot.simulators.errors import MatrixError, NotASimulatorError
from thetadot.simulators.rollout import growth_rate


@eqx.filter_jit
def _jacobians(problem: Any, theta: Array, points: Array) -> Array:
    network = problem.network
    return jax.vmap(jax.jacfwd(lambda x: network.evaluate(theta, x)))(points)


def field_jacobians(problem: Problem, theta: Numbers, points: Numbers) -> Float[np.ndarray, "B m n"]:
    """Derivatives of the network's output with respect to its input.

    Arguments:
        problem: an `EmpiricalRisk` whose samples are vectors. theta: θ (P,). points: inputs (B, n).

    Returns:
        (B, m, n).

    Raises:
        NotASimulatorError: a problem without a network, or whose samples are no vectors.

    Example:
        >>> problem = td.EmpiricalRisk(td.linear([2, 2]), td.squared, np.eye(2), np.eye(2))
        >>> field_jacobians(problem, [1.0, 2.0, 3.0, 4.0], [[0.0, 0.0]]).tolist()
        [[[1.0, 2.0], [3.0, 4.0]]]
    """
    require_vectors(problem)
    at = as_numbers(points, "points", 2)
    return np.asarray(_jacobians(problem, as_vector(theta, problem.size, "theta"), jnp.asarray(at)))


def require_vectors(problem: Any) -> int:
    """n of a problem whose samples are vectors (n,); raises `NotASimulatorError` for any other."""
    x = getattr(problem, "x", None)
    if getattr(problem, "network", None) is None or x is None or x.ndim != 2:
        shape = "" if x is None else f" with samples of shape {x.shape[1:]}"
        raise NotASimulatorError(
            f"{problem.description}{shape} is no simulator of vectors: expected EmpiricalRisk(network, loss, x, y) "
            "with x (N, n)"
        )
    return x.shape[1]


@dataclasses.dataclass(frozen=True)
class OffDataGrowth:
    """Growth rates of a field's derivative on the data and off them, at some points.

    Attributes:
        on_data (B,): of UᵀJU. off_data (B,): of NᵀJN, −∞ if every direction has energy.
        coupling (B,): ‖NᵀJU‖_F; where it is 0 the spectrum of J is the union of both.
        time: "discrete" (rates ln ρ per step) or "continuous" (largest real part per unit of time).
    """

    on_data: Float[np.ndarray, " B"]
    off_data: Float[np.ndarray, " B"]
    coupling: Float[np.ndarray, " B"]
    time: str


def off_data_growth(
    problem: Problem, theta: Numbers, points: Numbers, energy: DataEnergy, *, time: str
) -> OffDataGrowth:
    """How fast small disturbances grow within the data's directions, and how fast outside of them.

    Measured at θ, whatever rule led there; nothing is assumed of what the rule conserves.

    Arguments:
        problem, theta, points: as in `field_jacobians`. energy: of the inputs. time: "discrete" or "continuous".

    Raises:
        NotASimulatorError: as `field_jacobians`. MatrixError: as many outputs as inputs are needed.
        SettingError: an unknown time.

    Example:
        >>> from thetadot.simulators import data_energy
        >>> problem = td.EmpiricalRisk(td.linear([2, 2]), td.squared, [[1.0, 0.0]], [[1.0, 0.0]])
        >>> found = off_data_growth(
        ...     problem, [-1.0, 0.0, 0.0, 3.0], [[0.0, 0.0]], data_energy(problem.x), time="continuous")
        >>> found.on_data.tolist(), found.off_data.tolist()
        ([-1.0], [3.0])
    """
    as_time(time)
    derivatives = field_jacobians(problem, theta, points)
    if derivatives.shape[1] != derivatives.shape[2] or derivatives.shape[2] != energy.size:
        raise MatrixError(
            f"derivatives are {derivatives.shape[1:]}, the data have {energy.size} directions: growth needs as many "
            "outputs as inputs"
        )
    U, N = energy.learnable, energy.unlearnable
    return OffDataGrowth(
        np.array([growth_rate(U.T @ J @ U, time=time) for J in derivatives]),
        np.array([growth_rate(N.T @ J @ N, time=time) for J in derivatives]),
        np.array([float(np.linalg.norm(N.T @ J @ U)) for J in derivatives]),
        time,
    )


def first_layer(problem: Problem, theta: Numbers) -> Float[np.ndarray, "h n"]:
    """W₁ of a network whose first layer is dense.

    Raises:
        NotASimulatorError: it is not.

    Example:
        >>> problem = td.EmpiricalRisk(td.linear([2, 1]), td.squared, np.eye(2), np.ones(2))
        >>> first_layer(problem, [3.0, 4.0]).tolist()
        [[3.0, 4.0]]
    """
    size, shape = require_vectors(problem), problem.layout.shapes.get("layer1.weight")
    if shape is None or len(shape) != 2 or shape[1] != size:
        raise NotASimulatorError(
            f"{problem.description} has no dense first layer `layer1.weight` on its {size} inputs"
        )
    weights = np.asarray(theta, float)[problem.layout.slices["layer1.weight"]]
    return weights.reshape(shape)


def project_first_layer(problem: Problem, theta: Numbers, energy: DataEnergy) -> Float[np.ndarray, " P"]:
    """θ with W₁N = 0: the network no longer sees directions without energy, J(x)N = 0 for every x.

    Gradient descent, heavy ball and gradient flow keep it so; Adam and weight decay need not.

    Arguments:
        problem: an `EmpiricalRisk` whose network begins with a dense layer. theta: θ (P,). energy: of the inputs.

    Raises:
        NotASimulatorError: no dense first layer.

    Example:
        >>> from thetadot.simulators import data_energy
        >>> problem = td.EmpiricalRisk(td.linear([2, 1]), td.squared, [[1.0, 0.0]], [1.0])
        >>> project_first_layer(problem, [3.0, 4.0], data_energy(problem.x)).tolist()
        [3.0, 0.0]
    """
    projected = np.array(theta, float)
    projected[problem.layout.slices["layer1.weight"]] = energy.onto_data(first_layer(problem, theta)).ravel()
    return projected
