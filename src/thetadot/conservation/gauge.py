"""Gated networks of any depth in P − H coordinates: one pinned weight for every law."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from thetadot.conservation.errors import ZeroWeightError
from thetadot.conservation.lift import Lift
from thetadot.conservation.recover import recover_traced
from thetadot.numerics.exact import PRIME, pivots_mod


class Chart(NamedTuple):
    """A gauge: every rescaling class has one representative whose pinned weights are ±1.

    Attributes:
        problem: the risk. potentials (P, H). levels (H,): the laws' values.
        pinned (H,), free (P−H,): parameters. signs (H,): of the pinned ones.
        solve (H, H): rates of the pinned logarithms → rates of the potentials.
    """

    problem: Any
    potentials: Float[Array, "P H"]
    levels: Float[Array, " H"]
    pinned: Int[Array, " H"]
    free: Int[Array, " F"]
    signs: Float[Array, " H"]
    solve: Float[Array, "H H"]


def chart_at(
    problem: Any, matrix: Any, theta: np.ndarray, levels: np.ndarray
) -> tuple[Chart, Float[Array, " F"]]:
    """The chart that pins the largest possible weights at θ, and θ's coordinates.

    Raises:
        ZeroWeightError: a neuron all of whose incoming or outgoing weights vanish.
    """
    _require_no_dead_end(matrix, theta)
    live = np.flatnonzero(np.diff(matrix.indptr) > 0)
    live = live[theta[live] != 0]
    order = live[np.argsort(-np.abs(theta[live]), kind="stable")]
    chosen = order[pivots_mod(matrix[order].toarray(), PRIME)]
    dense = matrix.toarray().astype(float)
    shift = np.linalg.solve(dense[chosen], np.log(np.abs(theta[chosen]))) if chosen.size else np.zeros(0)
    reference = theta * np.exp(-dense @ shift)
    free = np.setdiff1d(np.arange(theta.size), chosen)
    chart = Chart(
        problem,
        jnp.asarray(dense),
        jnp.asarray(levels),
        jnp.asarray(chosen),
        jnp.asarray(free),
        jnp.asarray(np.sign(theta[chosen])),
        jnp.asarray(np.linalg.inv(dense[chosen])) if chosen.size else jnp.zeros((0, 0)),
    )
    return chart, jnp.asarray(reference[free])


def _require_no_dead_end(matrix: Any, theta: np.ndarray) -> None:
    weights = theta**2
    columns = matrix.tocsc()
    for law in range(matrix.shape[1]):
        part = slice(columns.indptr[law], columns.indptr[law + 1])
        signs, size = np.sign(columns.data[part]), weights[columns.indices[part]]
        for sign, what in ((1, "incoming"), (-1, "outgoing")):
            if np.any(signs == sign) and not np.any(size[signs == sign]):
                raise ZeroWeightError(
                    f"all {what} weights behind law {law} are zero: rescaling cannot reach the law's value; start "
                    "elsewhere, or leave the neuron out"
                )


def gauge_parameters(state: Float[Array, " F"], chart: Chart) -> Float[Array, " P"]:
    """θ of coordinates."""
    return _lifted(state, chart)[1]


def _lifted(state: Array, chart: Chart) -> tuple[Array, Array, Array]:
    reference = jnp.zeros(chart.potentials.shape[0])
    reference = reference.at[chart.free].set(state).at[chart.pinned].set(chart.signs)
    theta, shift = recover_traced(chart.potentials, reference, chart.levels)
    return reference, theta, shift


def gauge_field(state: Float[Array, " F"], chart: Chart) -> Float[Array, " F"]:
    """d coordinates/dt."""
    reference, theta, shift = _lifted(state, chart)
    velocity = -chart.problem.time_scale * chart.problem.value_and_grad(theta)[1]
    shifts = chart.solve @ (velocity[chart.pinned] / theta[chart.pinned])
    rates = velocity * jnp.exp(-chart.potentials @ shift) - reference * (chart.potentials @ shifts)
    return rates[chart.free]


def worn_out(state: Float[Array, " F"], chart: Chart) -> Float[Array, ""]:
    """Positive while no coordinate exceeds a thousand pinned weights."""
    return 1e3 - jnp.max(jnp.abs(state))


class PathChart(NamedTuple):
    """Over-complete coordinates: all components of the lift.

    Attributes:
        problem: the risk. potentials (P, H), levels (H,): as in `Chart`.
        logarithms (P, d): log |z| → logarithms of a representative, by least squares.
        start (P,): the first parameters: signs, and the values of dead ones. dead (P,): 1 for those.
        constants (d,): log of the components' constant factors. signs (d,): of z.
    """

    problem: Any
    potentials: Float[Array, "P H"]
    levels: Float[Array, " H"]
    logarithms: Float[Array, "P d"]
    start: Float[Array, " P"]
    dead: Float[Array, " P"]
    constants: Float[Array, " d"]
    signs: Float[Array, " d"]


def path_parameters(z: Float[Array, " d"], chart: PathChart) -> Float[Array, " P"]:
    """θ of components: first back to the image of φ, then to the levels."""
    logs = chart.logarithms @ (jnp.log(jnp.abs(z)) - chart.constants)
    reference = jnp.where(chart.dead > 0, chart.start, jnp.sign(chart.start) * jnp.exp(logs))
    return recover_traced(chart.potentials, reference, chart.levels)[0]


class PathField:
    """d z/dt = J(θ)(−∇L(θ)) of one lift."""

    def __init__(self, lift: Lift):
        self.lift = lift

    def __call__(self, z: Float[Array, " d"], chart: PathChart) -> Float[Array, " d"]:
        theta = path_parameters(z, chart)
        velocity = -chart.problem.time_scale * chart.problem.value_and_grad(theta)[1]
        return jax.jvp(self.lift.__call__, (theta,), (velocity,))[1]


def smallest_path(z: Float[Array, " d"], chart: PathChart) -> Float[Array, ""]:
    """Positive until a component comes within 1e-8 of zero, relative to all of them."""
    return jnp.min(z * chart.signs) - 1e-8 * jnp.linalg.norm(z)
