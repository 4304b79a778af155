"""The record of a reduced run, and how well it agrees with full training."""

import dataclasses
import enum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from thetadot.conservation.errors import ConservationError
from thetadot.conservation.lift import Lift
from thetadot.conservation.restricted import ZeroSumLift
from thetadot.dynamics import Path


class ReducedStatus(enum.Enum):
    """How a reduced run ended.

    DONE: all times reached. SLIDING: activations chatter along a kink, steps were used up. SIGN_CHANGE: a path, or the
    product of a neuron's weights, vanished, where these coordinates end (gauge coordinates go on). RANK_DROP: a
    singular value of z vanished. STOPPED: steps were used up, or the run diverged.
    """

    DONE = "done"
    SLIDING = "sliding"
    SIGN_CHANGE = "sign change"
    RANK_DROP = "rank drop"
    STOPPED = "stopped"


@dataclasses.dataclass(frozen=True)
class ReducedPath:
    """A run of a reduced flow; rows up to where it ended.

    Attributes:
        times (S,): in the units of the loss gradient.
        lifted (S, d): φ(θ(t)), the components of `lift_of(problem, loss="any")`.
        thetas (S, P): parameters, or None where the coordinates do not determine them.
        coordinates: "closed", "augmented", "gauge" or "paths". state_size: how many numbers were integrated.
        law_residual (S,): largest relative deviation of the laws (of the relaxed balance of the start, for a closed
            linear flow, whose form has the laws built in).
        events: (time, what happened). status: how it ended.
        activation_flips: sign changes of hidden neurons at samples between rows, or None if unknown.
        stats: {evaluations, accepted, rejected, seconds, charts}.
    """

    times: Float[np.ndarray, " S"]
    lifted: Float[np.ndarray, "S d"]
    thetas: Float[np.ndarray, "S P"] | None
    coordinates: str
    state_size: int
    law_residual: Float[np.ndarray, " S"]
    events: tuple[tuple[float, str], ...]
    status: ReducedStatus
    activation_flips: int | None
    stats: dict[str, float]

    def to_xarray(self):
        """The run as an `xarray.Dataset` with dimensions `save`, `component` and, where known, `parameter`."""
        import xarray

        variables: dict[str, Any] = {
            "lifted": (("save", "component"), self.lifted),
            "law_residual": ("save", self.law_residual),
        }
        if self.thetas is not None:
            variables["theta"] = (("save", "parameter"), self.thetas)
        attributes: dict[str, Any] = {"coordinates": self.coordinates, "status": self.status.name}
        attributes |= {"state_size": self.state_size, "source": "arXiv 2508.07370 (abstract); derived here"}
        time = ("save", self.times, {"units": "units of the loss gradient"})
        return xarray.Dataset(variables, {"time": time}, attributes | self.stats)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        times (S,), error (S,): ‖φ(θ(t)) − z(t)‖ relative to the largest ‖φ‖. maximum: its largest value.
        full (S, d), reduced (S, d): both paths of z.
        sign_changes: sign changes of parameters between rows of full training.
        activation_flips: of hidden neurons at samples between rows of the reduced run, or None.
    """

    times: Float[np.ndarray, " S"]
    error: Float[np.ndarray, " S"]
    maximum: float
    full: Float[np.ndarray, "S d"]
    reduced: Float[np.ndarray, "S d"]
    sign_changes: int
    activation_flips: int | None


def compare(lift: Lift, path: Path | Any, reduced: ReducedPath) -> Comparison:
    """Compare full training with its reduced flow, row by row.

    Arguments:
        lift: `lift_of(problem)`; one restricted to zero-sum gradients is taken without its restriction.
        path: a `Path` with rows at the reduced run's times, or states (S, P) at exactly these.

    Raises:
        ConservationError: a time of the reduced run is missing in the path.

    Example:
        >>> import thetadot as td
        >>> from thetadot.conservation import lift_of, reduced_flow
        >>> problem = td.EmpiricalRisk(td.linear([1, 1, 1]), td.squared, np.ones((1, 1)), np.ones((1, 1)))
        >>> reduced = reduced_flow(problem, jnp.array([1.0, 1.0]), np.array([0.0, 1.0]))
        >>> compare(lift_of(problem), np.ones((2, 2)), reduced).maximum
        0.0
    """
    lift = lift.lift if isinstance(lift, ZeroSumLift) else lift
    if isinstance(path, Path):
        places = np.searchsorted(path.ts, reduced.times)
        places = np.minimum(places, len(path.ts) - 1)
        if not np.allclose(path.ts[places], reduced.times, rtol=1e-12, atol=0):
            raise ConservationError(
                "the path lacks times of the reduced run: run flow(..., saves=times) with the same times"
            )
        thetas = path.thetas[places]
    else:
        thetas = np.asarray(path, float)[: len(reduced.times)]
    full = np.asarray(jax.lax.map(lift.__call__, jnp.asarray(thetas)))
    norm = np.linalg.norm(full, axis=1).max(initial=0.0) or 1.0
    error = np.linalg.norm(full - reduced.lifted, axis=1) / norm
    changes = int(np.sum(np.sign(thetas[1:]) != np.sign(thetas[:-1])))
    maximum = float(error.max(initial=0.0))
    return Comparison(reduced.times, error, maximum, full, reduced.lifted, changes, reduced.activation_flips)
