"""Lyapunov exponents of any map or flow."""

import dataclasses
import time
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from thetadot.dynamics import StepMap
from thetadot.stability import averages
from thetadot.stability.blocks import Carry, advance
from thetadot.stability.errors import DivergedError, InvariantSubspaceWarning, KinkWarning, StabilityError
from thetadot.stability.kinks import has_kinks, kinks_crossed
from thetadot.stability.labels import exponent_dataset, spectrum_summary
from thetadot.stability.runs import Start, Walk, block_length, blocks_in, checked_length, prepare
from thetadot.stability.status import SpectrumStatus
from thetadot.stability.tangent import LARGEST_MATRIX, System, tangent_matrix

_LARGEST_SUM_RULE = 300
_SUM_RULE_STEPS = 8


@dataclasses.dataclass(frozen=True)
class _Anchor:
    """The last border of whole blocks: from here a resumed run repeats the bits of one that was never stopped."""

    start: Start
    carry: Carry
    blocks: int
    group_tolerance: float | None


@dataclasses.dataclass(frozen=True)
class LyapunovSpectrum:
    """Lyapunov exponents over a window, natural logarithms per unit.

    Attributes:
        exponents (k,): in the order of the frame's vectors, not sorted. ordered (k,): descending.
        unit: "step" (maps) or "time" (flows).
        per_time (k,): exponents over time_per_step; None where a step counts no fixed time.
        log_growth (B, k): log R_ii of each block. block_lengths (B,): in units; the last may be shorter.
        history (H, k): running means, H ≤ 1000. history_at (H,): over how many units.
        standard_error (k,): of the mean, from at least 20 batches; NaN from fewer than two blocks.
        groups: tuples of indices into `exponents` that are equal to tolerance.
        kaplan_yorke, entropy: dimension (NaN if more exponents are needed), sum of the positive exponents.
        sum_rule_defect: largest |Σ log R_ii − log|det T|| over the first blocks; None unless k = d ≤ 300.
        state (d,), basis (d, k): at the end. steps: units run in the window. every: length of a block.
        first_bad: index of the first state that is not finite (a time for flows); None if there is none.
        status, method, stats: how far to believe it, how tangents were moved, what it cost.
    """

    exponents: Float[np.ndarray, " k"]
    ordered: Float[np.ndarray, " k"]
    unit: str
    per_time: Float[np.ndarray, " k"] | None
    log_growth: Float[np.ndarray, "B k"]
    block_lengths: Float[np.ndarray, " B"]
    history: Float[np.ndarray, "H k"]
    history_at: Float[np.ndarray, " H"]
    standard_error: Float[np.ndarray, " k"]
    groups: tuple[tuple[int, ...], ...]
    kaplan_yorke: float
    entropy: float
    sum_rule_defect: float | None
    state: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d k"]
    steps: float | int
    every: float | int
    transient: float | int
    first_bad: float | int | None
    status: SpectrumStatus
    method: str
    stats: dict[str, Any]
    _anchor: _Anchor = dataclasses.field(repr=False)

    def to_xarray(self):
        """Dataset with dimensions `exponent`, `block` and `length`; status, unit and costs are attributes."""
        return exponent_dataset(self)

    def __repr__(self) -> str:
        return spectrum_summary(self)


def lyapunov(
    system: System,
    state: Any,
    duration: float,
    *,
    count: int | None = None,
    transient: float = 0,
    every: float | str = "auto",
    basis: Any = None,
    method: str = "auto",
    tolerance: float = 1e-9,
    group_tolerance: float | None = None,
    resume: LyapunovSpectrum | None = None,
    throw: bool = False,
    key: PRNGKeyArray | None = None,
) -> LyapunovSpectrum:
    """Lyapunov exponents by the QR method: T Q = Q′R, exponent_i = mean log R_ii.

    Along training they are exponents of a finite stretch of a transient; the status says so.

    Arguments:
        system: a `StepMap` or a `Flow`, such as `training_map(problem, rule)` or `training_flow(problem)`.
        state: (d,), of a training map `system.start(theta)`.
        duration: steps of a map, time of a flow, over which growth is averaged.
        count: number of leading exponents; all d if d ≤ 100, else 10.
        transient: steps or time to run first, without averaging.
        every: length of a block, after which the frame is made orthonormal; "auto" by a probe. A block that would
            lose trailing exponents to rounding is redone in single steps.
        basis: (d, k) orthonormal start of the frame; random otherwise.
        method: of flows: "joint", "exponential" (gradient flows), "auto".
        tolerance: local error of flows.
        group_tolerance: exponents closer than this, or than 3 standard errors, are one group; 1e-6.
        resume: an earlier spectrum, to be continued by `duration` with its own settings, equal to the bit to one
            uninterrupted run; `state` and the options before are then not looked at.
        throw: raise if the state stops being finite.
        key: draws the basis; `jax.random.key(0)`.

    Returns:
        A `LyapunovSpectrum`.

    Raises:
        StateError, PrecisionError: a state of the wrong kind or size.
        StabilityError: options that do not fit.
        DivergedError: with `throw=True`.

    Source: G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn, Meccanica 15 (1980) 9.

    Example:
        >>> cat = td.StepMap(lambda s, n, aux: jnp.array([[2.0, 1.0], [1.0, 1.0]]) @ s)
        >>> found = lyapunov(cat, np.array([1e-200, 0.0]), 400, transient=20)
        >>> [round(float(value), 7) for value in found.ordered]
        [0.9624237, -0.9624237]
    """
    began = time.perf_counter()
    if resume is not None:
        return _finish(_continue(resume, duration), throw, began)
    start = prepare(system, state, count, basis, method, tolerance, key)
    window = checked_length(start, duration, "duration", least=1e-300)
    before = checked_length(start, transient, "transient")
    length = block_length(start, every, window)
    walk = Walk(start, start.carry, length)
    whole, left = blocks_in(before, length)
    lost = None
    for size, blocks in ((length, whole), (left, 1 if left else 0)):
        if lost is None and walk.go(size, blocks).good < blocks:
            walk.remnant(size)
            lost = _bad_index(walk)
    return _finish(_Run(walk, system, before, window, group_tolerance, lost), throw, began)


@dataclasses.dataclass
class _Run:
    """A window about to be run, after what an earlier one left."""

    walk: Walk
    system: System
    transient: float | int
    window: float | int
    group_tolerance: float | None
    lost: float | int | None = None
    logs: np.ndarray | None = None
    seconds: float = 0.0
    sum_rule: float | None = None


def _continue(earlier: LyapunovSpectrum, duration: float) -> _Run:
    anchor = earlier._anchor
    if earlier.status is SpectrumStatus.DIVERGED:
        raise StabilityError("resume: the earlier run diverged, there is nothing to go on from")
    more = checked_length(anchor.start, duration, "duration", least=1e-300)
    walk = Walk(anchor.start, anchor.carry, earlier.every, redone=earlier.stats["redone_blocks"])
    walk.qrs, walk.solver_steps = earlier.stats["qrs"], earlier.stats["solver_steps"]
    run = _Run(
        walk, anchor.start.mover.system, earlier.transient, earlier.steps + more, anchor.group_tolerance
    )
    run.logs, run.seconds = earlier.log_growth[: anchor.blocks], earlier.stats["seconds"]
    run.sum_rule = earlier.sum_rule_defect
    return run


def _bad_index(walk: Walk) -> float | int:
    at = walk.moved
    return at if walk.start.flow else int(at) + 1


def _finish(run: _Run, throw: bool, began: float) -> LyapunovSpectrum:
    walk, start, every = run.walk, run.walk.start, run.walk.every
    k = start.count
    logs = np.zeros((0, k)) if run.logs is None else run.logs
    first_bad, lost = run.lost, run.lost is not None
    opening = walk.carry
    whole, left = blocks_in(run.window, every)
    if not lost:
        made = walk.go(every, whole - len(logs))
        logs = np.concatenate([logs, made.rows.logs.reshape(-1, k)])
        lost = len(logs) < whole
    lengths = [every] * len(logs)
    anchor = _Anchor(start, walk.carry, len(logs), run.group_tolerance)
    remnant, size = None, 0
    if lost and run.lost is None:
        remnant, size = walk.remnant(every)
    elif left and not lost:
        made = walk.go(left, 1)
        lost = made.good == 0
        remnant, size = walk.remnant(left) if lost else (made.rows.logs[0], left)
    if remnant is not None:
        logs, lengths = np.concatenate([logs, remnant[None]]), [*lengths, size]
    if lost and first_bad is None:
        first_bad = sum(lengths) + run.transient
        first_bad = first_bad if start.flow else int(first_bad) + 1
    sum_rule = run.sum_rule
    if sum_rule is None and k == start.size <= _LARGEST_SUM_RULE and len(logs):
        sum_rule = _sum_rule(start, opening, every, logs)
    seconds = run.seconds + time.perf_counter() - began
    found = _spectrum(run, logs, np.asarray(lengths, float), anchor, lost, first_bad, sum_rule, seconds)
    if throw and found.status is SpectrumStatus.DIVERGED:
        raise DivergedError(f"the state stopped being finite at {found.unit} {found.first_bad}")
    _warn(run.system, np.asarray(start.carry.state), found)
    return found


def _spectrum(run, logs, lengths, anchor, lost, first_bad, sum_rule, seconds) -> LyapunovSpectrum:
    walk, start = run.walk, run.walk.start
    total = float(np.sum(lengths))
    exponents = logs.sum(axis=0) / total if total > 0 else np.full(start.count, np.nan)
    rates = averages.batch_rates(logs, lengths)
    errors = averages.standard_errors(rates)
    if lost:
        status = SpectrumStatus.DIVERGED
    elif np.isneginf(exponents).any():
        status = _why_infinite(run, anchor)
    else:
        settled = averages.settled(rates)
        status = SpectrumStatus.CONVERGED if settled else SpectrumStatus.FINITE_TIME
    ordered = exponents[averages.order_descending(exponents)]
    history_at, history = averages.running_means(logs, lengths)
    step_time = None if start.flow else getattr(run.system, "time_per_step", None)
    per_time = exponents if start.flow else None
    if step_time is not None and not callable(step_time):
        per_time = exponents / float(step_time)
    steps = total if start.flow else int(total)
    pushed = walk.moved if start.flow else int(walk.moved)
    return LyapunovSpectrum(
        exponents=exponents,
        ordered=ordered,
        unit=start.unit,
        per_time=per_time,
        log_growth=logs,
        block_lengths=lengths,
        history=history,
        history_at=history_at,
        standard_error=errors,
        groups=averages.groups_of(exponents, averages.tolerances_of(errors, run.group_tolerance)),
        kaplan_yorke=averages.kaplan_yorke(ordered, start.count == start.size),
        entropy=averages.entropy(exponents),
        sum_rule_defect=sum_rule,
        state=np.asarray(walk.carry.state),
        basis=np.asarray(walk.carry.basis).T,
        steps=steps,
        every=walk.every,
        transient=run.transient,
        first_bad=first_bad,
        status=status,
        method=start.method,
        stats={
            "tangents": start.method,
            "redone_blocks": walk.redone,
            "qrs": walk.qrs,
            "pushed": pushed,
            "solver_steps": walk.solver_steps,
            "seconds": seconds,
        },
        _anchor=anchor,
    )


def _sum_rule(start: Start, opening: Carry, every: float | int, logs: np.ndarray) -> float:
    """Largest |Σ log R_ii − log|det|| over the first blocks, the determinant by LU of the block's tangent matrix."""
    worst, carry = 0.0, opening._replace(basis=jnp.eye(start.size))
    for block in range(min(_SUM_RULE_STEPS, len(logs))):
        made = advance(start.mover, carry, every, 1, keep=True, room=1)
        if not made.good or not np.isfinite(logs[block]).all() or made.rows.triangles is None:
            break
        matrix = np.asarray(made.carry.basis).T @ made.rows.triangles[0]
        worst = max(worst, abs(float(np.linalg.slogdet(matrix)[1]) - float(logs[block].sum())))
        carry = made.carry._replace(basis=carry.basis)
    return worst


def _why_infinite(run: _Run, anchor: _Anchor) -> SpectrumStatus:
    """SUPERSTABLE if T of a lost step is singular whatever the scales of its rows and columns, else UNRESOLVED."""
    start = run.walk.start
    if start.flow:
        return SpectrumStatus.UNRESOLVED
    if start.size > LARGEST_MATRIX:
        return SpectrumStatus.SUPERSTABLE
    matrix = np.asarray(tangent_matrix(run.system, anchor.carry.state, int(anchor.carry.clock)))
    for _ in range(3):
        for axis in (0, 1):
            norms = np.linalg.norm(matrix, axis=axis, keepdims=True)
            if not norms.all():
                return SpectrumStatus.SUPERSTABLE
            matrix = matrix / norms
    values = np.linalg.svd(matrix, compute_uv=False)
    singular = values[-1] <= 8 * start.size * np.finfo(float).eps * values[0]
    if singular or run.system.problem is not None:
        return SpectrumStatus.SUPERSTABLE
    return SpectrumStatus.UNRESOLVED


def _warn(system: System, first: np.ndarray, found: LyapunovSpectrum) -> None:
    """Warn of what tangents along this orbit cannot tell."""
    if has_kinks(system) and isinstance(system, StepMap):
        warnings.warn(
            f"the activation has kinks, which tangents do not see ({kinks_crossed(system, first, found.state)}): "
            "compare orbital_stability, a finite distance",
            KinkWarning,
            stacklevel=4,
        )
    grows = found.exponents > 3 * np.nan_to_num(found.standard_error)
    if not grows.any() or found.status is SpectrumStatus.DIVERGED:
        return
    growing = found.basis[:, grows]
    for i, j in _equal_pairs(first, found.state):
        if np.max(np.abs(growing[i] - growing[j])) > 1e-3 * np.max(np.abs(growing[[i, j]])):
            warnings.warn(
                f"entries {i} and {j} of the state stay equal to the last bit although a growing direction parts "
                "them: this orbit lies on an invariant manifold that neighbours leave. Perturb the start",
                InvariantSubspaceWarning,
                stacklevel=4,
            )
            return


def _equal_pairs(first: np.ndarray, last: np.ndarray) -> list[tuple[int, int]]:
    """Neighbouring entries, in the order of their values, that are equal and not 0 at both ends, and moved."""
    order = np.argsort(last, kind="stable")
    i, j = order[:-1], order[1:]
    same = (last[i] == last[j]) & (first[i] == first[j]) & (last[i] != 0) & (last[i] != first[i])
    return list(zip(i[same].tolist(), j[same].tolist(), strict=True))
