"""Orbital stability: what happens to finite distances between a run and its perturbed twins."""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.dynamics import Flow, Until, integrate
from thetadot.stability.errors import StabilityError
from thetadot.stability.labels import dataset, lines_of
from thetadot.stability.runs import blocks_in
from thetadot.stability.tangent import System, checked_state

_NORMS = {1: 1, 2: 2, "max": np.inf}
_BATCH_NUMBERS = 2**21
_SATURATED = 0.1
_RUNS_OF_FLOW = 1e-11


class OrbitalStatus(enum.Enum):
    """Whether distances mean anything; the value is a sentence for summaries."""

    OK = "distances stand clear of rounding"
    NEAR_ROUNDING = "the perturbation, or a distance, is close to rounding errors"
    DIVERGED = "a run stopped being finite"


@dataclasses.dataclass(frozen=True)
class OrbitalStability:
    """Distances in θ between a reference run and perturbed twins.

    Attributes:
        distances (members, S): row 0 is the start. mean_distance (S,).
        at (S,): steps or time. unit: "step" or "time".
        losses (S,): of the reference; None without a problem.
        control (S,): distance of an unperturbed twin that ran through the same code: the rounding floor.
        initial_distance: measured, never assumed. amplitude, norm: as asked.
        saturation: first index at which the mean distance exceeds a tenth of the orbit's own size; None.
        first_bad: first saved index at which a run is not finite; None.
        status: whether distances mean anything.
    """

    distances: Float[np.ndarray, "members S"]
    mean_distance: Float[np.ndarray, " S"]
    at: Float[np.ndarray, " S"]
    unit: str
    losses: Float[np.ndarray, " S"] | None
    control: Float[np.ndarray, " S"]
    initial_distance: float
    amplitude: float
    norm: int | str
    saturation: int | None
    first_bad: int | None
    status: OrbitalStatus

    def to_xarray(self):
        """Dataset with dimensions `member` and `step`."""
        variables: dict[str, Any] = {
            "distance": (
                ("member", "step"),
                self.distances,
                {"long_name": f"distance in θ, norm {self.norm}"},
            ),
            "mean_distance": ("step", self.mean_distance),
            "control": ("step", self.control, {"long_name": "distance of an unperturbed twin"}),
        }
        if self.losses is not None:
            variables["loss"] = ("step", self.losses)
        attributes = {
            "status": self.status.name, "unit": self.unit, "initial_distance": self.initial_distance,
            "amplitude": self.amplitude, "norm": str(self.norm), "saturation": self.saturation,
        }  # fmt: skip
        return dataset(variables, {"step": ("step", self.at, {"units": self.unit})}, attributes)

    def __repr__(self) -> str:
        last = self.mean_distance[-1]
        ratio = last / self.initial_distance if self.initial_distance > 0 else np.nan
        rows = {
            "distance": f"{self.initial_distance:.3g} at the start, {last:.3g} after {self.at[-1]:g} {self.unit}s "
            f"(×{ratio:.3g})",
            "control": f"{np.nanmax(self.control):.2g}, the floor of rounding",
            "status": f"{self.status.name}: {self.status.value}",
        }
        if self.saturation is not None:
            rows["saturation"] = f"from {self.unit} {self.at[self.saturation]:g} on"
        return lines_of(f"Orbital stability: {len(self.distances)} perturbed twins", rows)


def orbital_stability(
    system: System,
    state: Any,
    *,
    duration: float,
    amplitude: float = 1e-8,
    members: int = 5,
    kind: str = "uniform",
    parts: Sequence[str] | None = None,
    norm: int | str = 1,
    perturbations: Any = None,
    every: float = 1,
    key: PRNGKeyArray | None = None,
) -> OrbitalStability:
    """Distances between a run and runs from perturbed starts.

    All runs, reference and an unperturbed control among them, go through the same computation and see the same
    samples.

    Arguments:
        system, state: as in `lyapunov`.
        duration: steps of a map, time of a flow.
        amplitude: ε, of entries drawn from U(−ε, ε) ("uniform"), or the 2-norm of the perturbation ("sphere").
        members: perturbed runs.
        kind: "uniform" or "sphere".
        parts: roles of the layout to perturb, such as ("weight",); all of θ by default.
        norm: of distances: 1, 2 or "max".
        perturbations: (members, P), in place of amplitude, members and kind.
        every: steps or time between rows.
        key: draws perturbations; `jax.random.key(0)`.

    Raises:
        StabilityError: options that do not fit.

    Example:
        >>> shrink = td.StepMap(lambda s, n, aux: 0.5 * s)
        >>> found = orbital_stability(shrink, np.ones(3), duration=10)
        >>> round(float(found.mean_distance[-1] / found.initial_distance * 2**10), 6)
        1.0
    """
    start = checked_state(system, state)
    flow = isinstance(system, Flow)
    if norm not in _NORMS:
        raise StabilityError(f'norm = {norm!r}: expected 1, 2 or "max"')
    if not duration > 0 or not 0 < every <= duration:
        raise StabilityError(f"duration = {duration} and every = {every}: expected 0 < every ≤ duration")
    if not flow and (duration != int(duration) or every != int(every)):
        raise StabilityError(f"duration = {duration}, every = {every}: a StepMap counts whole steps")
    size = system.theta(start).shape[-1]
    moves = _perturbations(system, size, amplitude, members, kind, parts, perturbations, key)
    amplitude = float(np.max(np.abs(moves))) if perturbations is not None else amplitude
    starts = np.concatenate([np.zeros((2, start.size)), np.zeros((len(moves), start.size))]) + np.asarray(
        start
    )
    starts[2:, :size] += moves
    rows = max(1, blocks_in(duration, every)[0]) + 1
    at = np.arange(rows) * every
    thetas = _flow_runs(system, starts, at) if flow else _map_runs(system, starts, rows, int(every))
    return _measured(system, thetas, at, "time" if flow else "step", amplitude, norm)


def _perturbations(system, size, amplitude, members, kind, parts, given, key) -> np.ndarray:
    if given is not None:
        moves = np.asarray(given, float)
        if moves.ndim != 2 or moves.shape[1] != size or len(moves) == 0:
            raise StabilityError(f"perturbations have shape {moves.shape}: expected (members, {size})")
        return moves
    if kind not in ("uniform", "sphere"):
        raise StabilityError(f'kind = {kind!r}: expected "uniform" or "sphere"')
    if not amplitude > 0 or members < 1:
        raise StabilityError(f"amplitude = {amplitude}, members = {members}: expected both positive")
    chosen = np.ones(size, bool)
    if parts is not None:
        if system.problem is None:
            raise StabilityError(
                "parts names roles of a layout, which a system without a problem does not have"
            )
        layout = system.problem.layout
        known = set(layout.roles.values())
        if not parts or set(parts) - known:
            raise StabilityError(
                f"parts = {tuple(parts)}: this layout has the roles {', '.join(sorted(known))}"
            )
        chosen[:] = False
        for name, part in layout.slices.items():
            chosen[part] = layout.roles[name] in parts
    seed = jax.random.key_data(jax.random.key(0) if key is None else key)
    rng = np.random.default_rng(np.asarray(seed).tolist())
    if kind == "uniform":
        moves = rng.uniform(-amplitude, amplitude, (members, size)) * chosen
    else:
        draw = rng.normal(size=(members, size)) * chosen
        moves = amplitude * draw / np.linalg.norm(draw, axis=1, keepdims=True)
    return moves


@eqx.filter_jit
def _runs(system, states: Float[Array, "R d"], numbers: Array, every: Array) -> tuple[Array, Array]:
    """Rows (S, R, d) after every `every` steps; the same computation for each run."""

    def row(states, first):
        def one(i, states):
            return jax.vmap(lambda state: system(state, first + i))(states)

        states = jax.lax.fori_loop(0, every, one, states)
        return states, system.theta(states)

    return jax.lax.scan(row, states, numbers)


def _map_runs(system, starts: np.ndarray, rows: int, every: int) -> np.ndarray:
    """θ of all runs, (R, S, P), in stretches of a fixed number of rows."""
    size = system.theta(starts).shape[-1]
    kept = np.empty((len(starts), rows, size))
    kept[:, 0] = system.theta(starts)
    states = jnp.asarray(starts)
    stretch = max(1, min(256, rows - 1, _BATCH_NUMBERS // starts.size))
    for first in range(1, rows, stretch):
        numbers = (first - 1 + np.arange(stretch)) * every
        states, thetas = _runs(system, states, jnp.asarray(numbers, jnp.int32), jnp.asarray(every, jnp.int32))
        part = np.asarray(thetas)[: rows - first]
        kept[:, first : first + len(part)] = part.transpose(1, 0, 2)
    return kept


def _flow_runs(system: Flow, starts: np.ndarray, at: np.ndarray) -> np.ndarray:
    def one(start: np.ndarray) -> np.ndarray:
        path = integrate(
            system,
            jnp.asarray(start),
            until=Until(time=float(at[-1])),
            rtol=_RUNS_OF_FLOW,
            saves=at,
            progress=False,
        )
        rows = np.full((len(at), start.size), np.nan)
        rows[: len(path.thetas)] = path.thetas[: len(at)]
        return rows

    reference = one(starts[0])
    return np.array([reference, one(starts[1]), *(one(start) for start in starts[2:])])


@eqx.filter_jit
def _losses(problem, thetas: Array) -> Array:
    return jax.lax.map(problem.loss, thetas)


def _measured(system, thetas: np.ndarray, at, unit: str, amplitude: float, norm) -> OrbitalStability:
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.linalg.norm(thetas[1:] - thetas[:1], _NORMS[norm], axis=2)
    control, distances = distances[0], distances[1:]
    finite = np.isfinite(distances).all(axis=0) & np.isfinite(thetas[0]).all(axis=1)
    first_bad = None if finite.all() else int(np.argmin(finite))
    mean = distances.mean(axis=0)
    reference = thetas[0][finite]
    late = reference[len(reference) // 2 :]
    extent = float(np.linalg.norm(np.ptp(late, axis=0), _NORMS[norm])) if len(late) else 0.0
    over = np.flatnonzero(mean > _SATURATED * extent) if extent > 0 else np.zeros(0, int)
    over = over[over > 0]
    rounding = np.spacing(np.max(np.abs(thetas[0][0])))
    near = amplitude < 1e3 * rounding or bool(np.any(distances[:, finite] < 10 * control[finite]))
    status = OrbitalStatus.NEAR_ROUNDING if near else OrbitalStatus.OK
    status = status if first_bad is None else OrbitalStatus.DIVERGED
    losses = None if system.problem is None else np.asarray(_losses(system.problem, jnp.asarray(thetas[0])))
    return OrbitalStability(
        distances=distances,
        mean_distance=mean,
        at=np.asarray(at, float),
        unit=unit,
        losses=losses,
        control=control,
        initial_distance=float(mean[0]),
        amplitude=float(amplitude),
        norm=norm,
        saturation=int(over[0]) if over.size else None,
        first_bad=first_bad,
        status=status,
    )
