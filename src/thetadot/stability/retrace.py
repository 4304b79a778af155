"""Forward once, keeping checkpoints; then backward stretch by stretch, each computed again from its checkpoint."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from thetadot.stability import averages
from thetadot.stability.angles import span_angles
from thetadot.stability.blocks import Carry, Rows, advance
from thetadot.stability.checkpoints import Checkpoints, Directory
from thetadot.stability.ginelli import angles_between, end_matrices, observed, undo, vectors_of
from thetadot.stability.runs import Start, Walk

_SENSITIVITY_SAMPLES = 64


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be done, in blocks."""

    start: Start
    every: float | int
    transient: int
    blocks: int
    tail_blocks: int
    length: int
    want: frozenset[str]
    store: str
    observe: Mapping[str, Callable]
    samples: int
    sensitivity: bool

    def stretches(self) -> list[tuple[int, int]]:
        """(first block, end) of every stretch: those of the window, then those of the tail."""
        whole = self.blocks + self.tail_blocks
        borders = [*range(0, self.blocks, self.length), *range(self.blocks, whole, self.length), whole]
        return list(itertools.pairwise(borders))

    def sampled(self) -> np.ndarray:
        """Blocks at which the defining equation is checked."""
        return np.unique(np.linspace(0, self.blocks - 1, min(self.samples, self.blocks)).round().astype(int))

    def compared(self) -> np.ndarray:
        """Blocks at which two end matrices are compared: the last, where they differ most, and others."""
        if not self.sensitivity:
            return np.zeros(0, int)
        amount = min(_SENSITIVITY_SAMPLES, self.blocks)
        return np.unique(np.linspace(0, self.blocks - 1, amount).round().astype(int))


@dataclasses.dataclass
class Passed:
    """What the forward pass left.

    Attributes:
        logs: log R_ii of every block of window and tail, as far as the state stayed finite.
        rows: per stretch, where the store keeps them.
        ends: the carry after each stretch that was kept in memory.
        first_bad: where the state stopped being finite.
    """

    logs: np.ndarray
    rows: dict[int, Rows]
    ends: dict[int, Array]
    first_bad: float | int | None = None


@dataclasses.dataclass
class Sweep:
    """What the backward pass found; see `CovariantVectors`."""

    vectors: Any
    coefficients: Any
    growth: Any
    angles: Any
    orthogonal: np.ndarray
    residual: np.ndarray
    sensitivity: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    observed: dict[str, Any]
    rank: int


def forward(job: Job, walk: Walk, keeper: Checkpoints) -> Passed:
    """Transient, window and tail; a directory goes on from its last commit."""
    disk = keeper if isinstance(keeper, Directory) else None
    k, whole = job.start.count, job.blocks + job.tail_blocks
    stretches = job.stretches()
    first = 0
    logs = np.full((whole, k), np.nan)
    stored = None if disk is None else disk.array("logs", (whole, k), job.length)
    if disk is not None and disk.state["forward"]:
        first = disk.state["forward"] - 1
        logs[:] = stored[:]  # pyright: ignore[reportOptionalSubscript]
        walk.carry = keeper.get(first)
    else:
        made = walk.go(job.every, job.transient)
        if made.good < job.transient:
            walk.remnant(job.every)
            return Passed(logs[:0], {}, {}, _bad(walk))
        _keep(job, keeper, 0, walk.carry)
        if disk is not None:
            disk.commit(forward=1)
    passed = Passed(logs, {}, {})
    for number in range(first, len(stretches)):
        begin, end = stretches[number]
        made = walk.go(job.every, end - begin, keep=True)
        logs[begin : begin + made.good] = made.rows.logs
        if job.store in ("memory", "coefficients"):
            passed.rows[number] = _thinned(job, made.rows, begin)
            passed.ends[number] = made.carry.basis if end - 1 in job.sampled() else made.carry.basis[:0]
        if made.good < end - begin:
            walk.remnant(job.every)
            passed.logs, passed.first_bad = logs[: begin + made.good], _bad(walk)
            return passed
        _keep(job, keeper, number + 1, walk.carry)
        if disk is not None:
            stored[begin:end] = logs[begin:end]  # pyright: ignore[reportOptionalSubscript]
            disk.commit(forward=number + 2)
    return passed


def _bad(walk: Walk) -> float | int:
    return walk.moved if walk.start.flow else int(walk.moved) + 1


def _keep(job: Job, keeper: Checkpoints, number: int, carry: Carry) -> None:
    if job.store in ("segments", "disk"):
        keeper.put(number, carry)


def _thinned(job: Job, rows: Rows, begin: int) -> Rows:
    """What the store keeps of a stretch: in the tail, and with "coefficients", triangles only (and the frames that
    the check of the defining equation needs)."""
    if begin >= job.blocks:
        return rows._replace(frames=None, states=None, clocks=None)
    if job.store == "memory" or rows.frames is None or rows.states is None:
        return rows
    wanted = np.isin(np.arange(begin, begin + len(rows.logs)), [job.sampled(), job.sampled() + 1])
    frames = {b: rows.frames[b] for b in np.flatnonzero(wanted)}
    states = {b: rows.states[b] for b in np.flatnonzero(wanted)}
    return rows._replace(frames=frames, states=states)  # pyright: ignore[reportArgumentType]


@eqx.filter_jit
def _pushed(mover: Any, carry: Carry, length: Array) -> Array:
    return mover.move(carry, length)[0].basis


def _moved(job: Job, carry: Carry) -> np.ndarray:
    """Tangents in rows one block on, not made orthonormal."""
    mover = job.start.mover
    if isinstance(mover, eqx.Module):
        unit = jnp.asarray(job.every, jnp.float64 if job.start.flow else jnp.int32)
        return np.asarray(_pushed(mover, carry, unit))
    return np.asarray(mover.move(carry, job.every)[0].basis)


def backward(
    job: Job,
    walk: Walk,
    keeper: Checkpoints,
    passed: Passed,
    key: PRNGKeyArray,
    group_tolerance: float | None,
) -> Sweep:
    """From the end of the tail to the start of the window."""
    disk = keeper if isinstance(keeper, Directory) else None
    k, blocks = job.start.count, job.blocks
    good = len(passed.logs)
    inside = min(blocks, good - 1) if passed.first_bad is not None else blocks
    inside = max(inside, 0)
    found = _empty(job, disk, passed, inside, group_tolerance)
    if inside == 0:
        return _loaded(found)
    stretches = [(a, min(b, good)) for a, b in job.stretches() if a < good]
    ends = end_matrices(k, jax.random.fold_in(key, 1))
    last = len(stretches) - 1
    if disk is not None and disk.state["backward"] is not None:
        last = disk.state["backward"] - 1
        ends = jnp.asarray(np.asarray(disk.group[f"ends{last + 1}"]))
        found.residual[:] = disk.state["residual"]
        found.sensitivity[:] = disk.state["sensitivity"]
    for number in range(last, -1, -1):
        begin, end = stretches[number]
        rows, after = _rows(job, walk, keeper, passed, number, end - begin)
        ends = _undo_stretch(job, found, rows, after, ends, begin, inside)
        if disk is not None:
            # Never over the matrices that the manifest names: they are needed until the next commit.
            disk.array(f"ends{number}", (2, k, k), 2)[:] = np.asarray(ends)
            disk.commit(
                backward=number, residual=found.residual.tolist(), sensitivity=found.sensitivity.tolist()
            )
    return _loaded(found)


def _loaded(found: Sweep) -> Sweep:
    """Small results of a directory as arrays in memory; vectors stay where they are."""
    found.coefficients, found.growth = np.asarray(found.coefficients[:]), np.asarray(found.growth[:])
    found.angles = None if found.angles is None else np.asarray(found.angles[:])
    found.observed = {name: np.asarray(values[:]) for name, values in found.observed.items()}
    return found


def _empty(job: Job, disk: Directory | None, passed: Passed, inside: int, group_tolerance) -> Sweep:
    k, d, blocks = job.start.count, job.start.size, job.blocks
    singular = np.isneginf(passed.logs).any(axis=0)
    rank = int(np.argmax(singular)) if singular.any() else k
    window = passed.logs[:inside] / job.every
    orthogonal = window.mean(axis=0) if inside else np.full(k, np.nan)
    rates = averages.batch_rates(window, np.ones(inside))
    tolerances = averages.tolerances_of(averages.standard_errors(rates), group_tolerance)

    def array(name: str, *shape: int) -> Any:
        if disk is None:
            return np.full((blocks, *shape), np.nan)
        return disk.array(name, (blocks, *shape), job.length)

    shapes = {
        name: jax.eval_shape(
            fn,
            jax.ShapeDtypeStruct((d,), np.float64),
            jax.ShapeDtypeStruct((d, k), np.float64),
            jax.ShapeDtypeStruct((), np.float64 if job.start.flow else np.int32),
        ).shape
        for name, fn in job.observe.items()
    }
    nothing = np.zeros(k)
    return Sweep(
        vectors=array("vectors", d, k) if "vectors" in job.want else None,
        coefficients=array("coefficients", k, k),
        growth=array("growth", k),
        angles=array("angles", k, k) if "angles" in job.want else None,
        orthogonal=orthogonal,
        residual=nothing if job.samples > 0 and inside else nothing + np.nan,
        sensitivity=nothing.copy() if job.sensitivity and inside else nothing + np.nan,
        groups=averages.groups_of(orthogonal, tolerances) if inside else (),
        observed={name: array(f"observed_{name}", *shape) for name, shape in shapes.items()},
        rank=rank,
    )


def _rows(
    job: Job, walk: Walk, keeper: Checkpoints, passed: Passed, number: int, count: int
) -> tuple[Rows, Array]:
    """Rows of a stretch, from memory or computed again, and the frame after it."""
    if number in passed.rows:
        return passed.rows[number], passed.ends[number]
    made = advance(job.start.mover, keeper.get(number), job.every, count, keep=True)
    walk.redone += made.redone
    walk.qrs += made.good
    if passed.first_bad is None:
        keeper.check_end(number + 1, made.carry)
    return made.rows, made.carry.basis


def _chunks(k: int, count: int) -> Iterator[tuple[int, int, int]]:
    """(room, first, end) from the last blocks to the first; the room depends on k alone."""
    room = max(1, min(1024, 2**17 // (k * k)))
    for end in range(count, 0, -room):
        yield room, max(0, end - room), end


def _undo_stretch(
    job: Job, found: Sweep, rows: Rows, after: Array, ends: Array, begin: int, inside: int
) -> Array:
    """Backward through one stretch; writes what falls into the window. Returns the end matrices at its start."""
    k, rank = job.start.count, found.rank
    triangles = rows.triangles
    assert triangles is not None
    border = (np.asarray(after), np.asarray(ends[0]))
    for room, first, end in _chunks(k, len(triangles)):
        part = triangles[first:end]
        filled = np.concatenate([part, np.zeros((room - len(part), k, k))]) if len(part) < room else part
        ends, out = undo(
            jnp.asarray(filled), ends, jnp.asarray(len(part), jnp.int32), jnp.asarray(rank, jnp.int32)
        )
        count = min(len(part), inside - begin - first)
        if count <= 0:
            continue
        c, second, logs = (np.array(array[:count]) for array in out)
        c[:, :, rank:] = second[:, :, rank:] = logs[:, rank:] = np.nan
        where = slice(begin + first, begin + first + count)
        found.coefficients[where] = c
        found.growth[where] = logs / job.every
        if found.angles is not None:
            filled = np.zeros((room, k, k))
            filled[:count] = c
            found.angles[where] = np.asarray(angles_between(jnp.asarray(filled)))[:count]
        _compare(job, found, c, second, where)
        if isinstance(rows.frames, np.ndarray) and rows.states is not None:
            _look(job, found, rows, c, first, where)
        border = _check(job, found, rows, c, border, first, begin)
    return ends


def _look(job: Job, found: Sweep, rows: Rows, c: np.ndarray, first: int, where: slice) -> None:
    """Vectors and observables of a chunk."""
    count = len(c)
    assert rows.frames is not None
    assert rows.states is not None
    frames = jnp.asarray(rows.frames[first : first + count])
    if found.vectors is not None:
        found.vectors[where] = np.asarray(vectors_of(frames, jnp.asarray(c)))
    if job.observe:
        numbers = job.transient * job.every + np.arange(where.start, where.stop) * job.every
        numbers = jnp.asarray(numbers, jnp.float64 if job.start.flow else jnp.int32)
        states = jnp.asarray(rows.states[first : first + count])
        values = observed(dict(job.observe), states, frames, jnp.asarray(c), numbers)
        for name, value in values.items():
            found.observed[name][where] = np.asarray(value)


def _compare(job: Job, found: Sweep, c: np.ndarray, second: np.ndarray, where: slice) -> None:
    """Angles between what two end matrices gave, group by group, at the compared blocks."""
    at = job.compared()
    at = at[(at >= where.start) & (at < where.stop)] - where.start
    if at.size == 0:
        return
    for group in found.groups:
        members = [i for i in group if i < found.rank]
        if members:
            angle = float(np.max(span_angles(c[at][:, :, members], second[at][:, :, members])))
            found.sensitivity[members] = np.maximum(found.sensitivity[members], angle)
    found.sensitivity[found.rank :] = np.nan


def _check(
    job: Job,
    found: Sweep,
    rows: Rows,
    c: np.ndarray,
    border: tuple[np.ndarray, np.ndarray],
    first: int,
    begin: int,
) -> tuple[np.ndarray, np.ndarray]:
    """‖T v/‖T v‖ ∓ v_next‖ at the sampled blocks of a chunk; returns frame and coefficients at its start."""
    frames, states = rows.frames, rows.states
    if frames is None or states is None:
        return border
    count = len(c)
    for b in job.sampled():
        i = b - begin - first
        if not 0 <= i < count:
            continue
        inner = i + 1 < len(rows.logs) - first and i + 1 < count
        q, coefficients = (frames[first + i + 1], c[i + 1]) if inner else border
        following = q.T @ coefficients
        clock = jnp.asarray(rows.clocks[first + i])  # pyright: ignore[reportOptionalSubscript]
        carry = Carry(jnp.asarray(states[first + i]), jnp.asarray((frames[first + i].T @ c[i]).T), clock)
        moved = _moved(job, carry).T
        moved = moved / np.linalg.norm(moved, axis=0, keepdims=True)
        signs = np.where(np.sum(moved * following, axis=0) < 0, -1.0, 1.0)
        found.residual[:] = np.maximum(found.residual, np.linalg.norm(moved * signs - following, axis=0))
    found.residual[found.rank :] = np.nan
    return (frames[first], c[0]) if not isinstance(frames, dict) or first in frames else border
