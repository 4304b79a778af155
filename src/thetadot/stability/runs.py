"""What exponents and covariant vectors share: a checked start, the mover, the block length, the blocks of a run."""

import dataclasses
import logging
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.dynamics import Flow
from thetadot.stability.averages import spread_per_unit
from thetadot.stability.blocks import Advance, Carry, MapMover, Rows, advance
from thetadot.stability.errors import StabilityError
from thetadot.stability.tangent import System, checked_columns, checked_state, dense_pays
from thetadot.stability.variational import ExponentialMover, flow_mover
from thetadot.stability.visible import check_visible

_log = logging.getLogger("thetadot.stability")
FULL_SPECTRUM = 100
FEW = 10
_PROBE = 32
_LONGEST = 64
_CONDITION = 12.0


@dataclasses.dataclass(frozen=True)
class Start:
    """A run that is ready to go.

    Attributes:
        mover: moves state and frame (`blocks.MapMover` and its kin).
        carry: where it starts.
        flow: whether lengths are times.
        method: how, in words, for `stats`.
    """

    mover: Any
    carry: Carry
    flow: bool
    method: str

    @property
    def unit(self) -> str:
        """ "step" or "time"."""
        return "time" if self.flow else "step"

    @property
    def count(self) -> int:
        """k."""
        return self.carry.basis.shape[0]

    @property
    def size(self) -> int:
        """d."""
        return self.carry.basis.shape[1]


def prepare(
    system: System,
    state: Any,
    count: int | None,
    basis: Any,
    method: str,
    tolerance: float,
    key: PRNGKeyArray | None,
) -> Start:
    """Check what was given and make a start.

    Raises:
        StateError, PrecisionError, StabilityError: it cannot be run.
        HiddenDependenceError: its tangents would be wrong.
    """
    vector = checked_state(system, state)
    check_visible(system, vector)
    frame, k = _frame(vector.size, count, basis, key)
    if isinstance(system, Flow):
        if not tolerance > 0:
            raise StabilityError(f"tolerance = {tolerance}: expected a positive number")
        mover, words = flow_mover(system, vector.size, k, method, tolerance)
        return Start(mover, Carry(vector, frame, mover.clock()), True, words)
    if method != "auto":
        raise StabilityError(f"method = {method!r} is for flows: a StepMap has one tangent, leave method out")
    dense = dense_pays(system, k)
    mover = MapMover(system, dense)
    words = "dense (structured Hessian)" if dense else "matrix-free"
    return Start(mover, Carry(vector, frame, mover.clock()), False, words)


def _frame(size: int, count: int | None, basis: Any, key: PRNGKeyArray | None) -> tuple[Array, int]:
    if basis is not None:
        columns = checked_columns(basis, size, "basis vectors")
        k = columns.shape[1]
        if count not in (None, k):
            raise StabilityError(f"count = {count} and a basis of {k} vectors: leave count out")
        defect = float(jnp.max(jnp.abs(columns.T @ columns - jnp.eye(k))))
        if k > size or defect > 1e-8:
            raise StabilityError(
                f"the basis is off orthonormality by {defect:.1e}, at most 1e-8 is allowed: "
                "orthonormalise it, numpy.linalg.qr(basis)[0]"
            )
        return columns.T, k
    if count is None:
        count = size if size <= FULL_SPECTRUM else FEW
        if size > FULL_SPECTRUM:
            _log.info("count: the %d leading of %d exponents (give count= for more)", count, size)
    if isinstance(count, bool) or count != int(count) or not 1 <= count <= size:
        raise StabilityError(f"count = {count}: expected between 1 and the {size} variables of the state")
    draw = np.asarray(jax.random.normal(jax.random.key(0) if key is None else key, (size, int(count))))
    q, r = np.linalg.qr(draw)  # by NumPy: any size without compiling
    return jnp.asarray((q * np.where(np.diagonal(r) < 0, -1.0, 1.0)).T), int(count)


def checked_length(start: Start, value: Any, what: str, *, least: float = 0.0) -> float | int:
    """A duration in the system's unit: whole steps for a map, a time for a flow.

    Raises:
        StabilityError: it is negative, not finite, too small, or no whole number of steps.
    """
    number = float(value)
    if not math.isfinite(number) or number < least or (least > 0 and number == 0):
        raise StabilityError(
            f"{what} = {value}: expected a {'time' if start.flow else 'number of steps'} > 0"
        )
    if start.flow:
        return number
    if number != int(number):
        raise StabilityError(f"{what} = {value}: a StepMap counts whole steps; give an integer")
    return int(number)


def block_length(start: Start, every: Any, duration: float | int) -> float | int:
    """The length of a block: as given, or from a probe of 32 blocks.

    Raises:
        StabilityError: not positive, or longer than the duration.
    """
    if every != "auto":
        length = checked_length(start, every, "every", least=1e-300)
        if length > duration:
            raise StabilityError(f"every = {every} is longer than the duration {duration}: give at most that")
        return length
    if start.flow:
        return _flow_length(start, float(duration))
    probe = advance(start.mover, start.carry, 1, min(_PROBE, int(duration)))
    if probe.good == 0 or not np.isfinite(probe.rows.logs).all():
        return 1
    spread = spread_per_unit(probe.rows.logs, start.mover.floor > 0)
    return max(1, min(_LONGEST, int(duration), int(_CONDITION / max(spread, 1e-12))))


def _flow_length(start: Start, duration: float) -> float:
    """2 over the spread of exponents seen in the probe (8 for exponentials, which lose nothing and cost a start each),
    at most 1/20 of the duration."""
    longest = duration / 20
    wanted = 8.0 if isinstance(start.mover, ExponentialMover) else 2.0
    # The scale of the tangent dynamics sets the first guess: one block over which the frame moves visibly.
    length, carry = longest, start.carry
    for _ in range(60):
        first = advance(start.mover, carry, length, 1)
        if first.good and first.redone == 0 and float(np.ptp(first.rows.logs)) <= 2 * wanted:
            break
        length /= 2
    probes = _PROBE if not isinstance(start.mover, ExponentialMover) else 2
    probe = advance(start.mover, carry, length, probes)
    if probe.good == 0:
        return length
    spread = spread_per_unit(probe.rows.logs / length, False)
    return min(longest, wanted / max(spread, 1e-12))


def blocks_in(duration: float | int, every: float | int) -> tuple[int, float | int]:
    """(number of whole blocks, length of the shorter block that is left, or 0)."""
    if isinstance(duration, int) and isinstance(every, int):
        return duration // every, duration % every
    whole = math.floor(duration / every * (1 + 1e-12))
    left = duration - whole * every
    return whole, left if left > 1e-9 * every else 0.0


@dataclasses.dataclass
class Walk:
    """A run in progress: where it stands and what it has cost."""

    start: Start
    carry: Carry
    every: float | int
    redone: int = 0
    qrs: int = 0
    moved: float | int = 0
    solver_steps: int = 0

    def go(self, length: float | int, count: int, keep: bool = False) -> Advance:
        """On by `count` blocks of `length`."""
        if count == 0:
            return Advance(self.carry, Rows(np.zeros((0, self.start.count))), 0, 0, 0)
        made = advance(self.start.mover, self.carry, length, count, keep)
        self.carry = made.carry
        self.redone += made.redone
        self.qrs += made.good
        self.moved += made.good * length
        self.solver_steps += made.solver_steps
        return made

    def remnant(self, length: float | int) -> tuple[Float[np.ndarray, " k"] | None, float | int]:
        """The logs of the finite part of a block in which the state stops being finite, and its length."""
        piece = length / 16 if self.start.flow else 1
        part = self.go(piece, 16 if self.start.flow else int(length))
        return (part.rows.logs.sum(axis=0), part.good * piece) if part.good else (None, 0)
