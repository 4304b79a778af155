"""Covariant Lyapunov vectors: the directions that a nudge keeps, and how they grow, for any map or flow."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from thetadot.stability import averages
from thetadot.stability.checkpoints import Checkpoints, Directory, fingerprint
from thetadot.stability.errors import DivergedError, NoTransientWarning, SizeError, StabilityError
from thetadot.stability.labels import dataset, lines_of, per, unit_words
from thetadot.stability.memory import available_bytes, predicted_bytes
from thetadot.stability.retrace import Job, Sweep, backward, forward
from thetadot.stability.runs import Start, Walk, block_length, checked_length, prepare
from thetadot.stability.status import SpectrumStatus
from thetadot.stability.tangent import System

STORES = ("memory", "segments", "disk", "coefficients")
WANTS = ("growth", "angles", "vectors")


@dataclasses.dataclass(frozen=True)
class CovariantVectors:
    """Covariant Lyapunov vectors over a window of B blocks; entry b belongs to the start of block b.

    Attributes:
        vectors (B, d, k): unit columns, where wanted (a Zarr array with store="disk"), else None.
        coefficients (B, k, k): vectors in the orthonormal frame, upper triangular, unit columns.
        growth (B, k): log growth per unit over each block.
        angles (B, k, k): between vectors, in [0, π/2], radians; None if not wanted.
        exponents (k,): means of growth. orthogonal_exponents (k,): of the QR method over the same window.
        residual (k,): largest ‖T v/‖T v‖ ∓ v_next‖ over sampled blocks.
        sensitivity (k,): largest angle between the results of two random end matrices; of its span, for a vector
            whose exponent is one of a group.
        groups: tuples of indices whose exponents are equal to tolerance; only their spans mean anything.
        observed: {name: (B, …)}.
        status: how far to believe it. first_bad: index of the first state that is not finite (time, for flows).
        unit, every, transient, tail: "step" or "time", length of a block, what was run before and after.
        store, bytes: where frames were kept; predicted peak of memory.
        stats: what it cost.
    """

    vectors: Any
    coefficients: Float[np.ndarray, "B k k"]
    growth: Float[np.ndarray, "B k"]
    angles: Float[np.ndarray, "B k k"] | None
    exponents: Float[np.ndarray, " k"]
    orthogonal_exponents: Float[np.ndarray, " k"]
    residual: Float[np.ndarray, " k"]
    sensitivity: Float[np.ndarray, " k"]
    groups: tuple[tuple[int, ...], ...]
    observed: Mapping[str, np.ndarray]
    status: SpectrumStatus
    first_bad: float | int | None
    unit: str
    every: float | int
    transient: float | int
    tail: float | int
    store: str
    bytes: int
    stats: dict[str, Any]

    def to_xarray(self):
        """Dataset with dimensions `block` and `vector` (and `parameter` with vectors)."""
        unit = per(self.unit)
        blocks, k = self.growth.shape
        variables: dict[str, Any] = {
            "growth": (("block", "vector"), self.growth, {"units": unit}),
            "coefficients": (("block", "frame", "vector"), self.coefficients),
            "covariant_exponent": ("vector", self.exponents, {"units": unit}),
            "orthogonal_exponent": ("vector", self.orthogonal_exponents, {"units": unit}),
            "residual": ("vector", self.residual),
            "sensitivity": ("vector", self.sensitivity, {"units": "radian"}),
        }
        if self.angles is not None:
            variables["angle"] = (("block", "vector", "other"), self.angles, {"units": "radian"})
        if self.vectors is not None:
            variables["vectors"] = (("block", "parameter", "vector"), np.asarray(self.vectors[:]))
        for name, values in self.observed.items():
            extra = [f"{name}_axis{axis}" for axis in range(values.ndim - 1)]
            variables[f"observed_{name}"] = (("block", *extra), values)
        begin = self.transient + np.arange(blocks) * self.every
        coordinates = {"vector": np.arange(1, k + 1), "start": ("block", begin, {"units": self.unit})}
        attributes = {
            "status": self.status.name, "unit": self.unit, "every": self.every, "transient": self.transient,
            "tail": self.tail, "store": self.store, "bytes": self.bytes, "first_bad": self.first_bad,
            "groups": self.groups, "stats": self.stats,
        }  # fmt: skip
        return dataset(variables, coordinates, attributes)

    def __repr__(self) -> str:
        shown = ", ".join(f"{value:.4g}" for value in self.exponents[:6])
        blocks, k = self.growth.shape
        rows = {
            "exponents": shown + (" …" if k > 6 else "") + f" per {self.unit}",
            "status": f"{self.status.name}: {self.status.value}",
            "window": f"{blocks} blocks of {self.every:g} {unit_words(self.unit, self.every)}, transient "
            f"{self.transient:g}, tail {self.tail:g}",
            "residual": f"{np.nanmax(self.residual, initial=0.0):.1e}",
            "sensitivity": f"{np.nanmax(self.sensitivity, initial=0.0):.1e} rad to the end matrix",
            "storage": f"{self.store}, about {self.bytes / 2**20:.1f} MiB",
        }
        together = [str([i + 1 for i in group]) for group in self.groups if len(group) > 1]
        if together:
            rows["groups"] = "; ".join(together[:4]) + ": only their spans mean anything"
        return lines_of(f"Covariant Lyapunov vectors: {k}", rows)


def covariant_vectors(
    system: System,
    state: Any,
    *,
    count: int | None = None,
    transient: float,
    window: float,
    tail: float,
    every: float | str = "auto",
    want: Sequence[str] = ("growth", "angles"),
    store: str = "segments",
    directory: str | Path | None = None,
    segments: int | None = None,
    observe: Mapping[str, Callable] | None = None,
    residual_samples: int = 16,
    sensitivity: bool = True,
    group_tolerance: float | None = None,
    allow_no_transient: bool = False,
    throw: bool = False,
    key: PRNGKeyArray | None = None,
) -> CovariantVectors:
    """Covariant Lyapunov vectors: T v_i(n) = growth·v_i(n+1), by Ginelli's method.

    Matrix-free: nothing of size d² is formed. All four stores give the same bits.

    Arguments:
        system, state, count: as in `lyapunov`.
        transient: steps or time before the window, for the frame to turn to its place; rounded up to whole blocks.
        window: steps or time over which vectors are given; rounded down to whole blocks.
        tail: steps or time after the window, for the backward iteration to converge; rounded up.
        every: length of a block; "auto" is 1 for a map and from a probe for a flow.
        want: any of "growth", "angles", "vectors".
        store: "memory" keeps every frame; "segments" keeps checkpoints and computes again; "disk" keeps checkpoints
            and results in `directory`, and goes on there when called again with the same arguments after having been
            killed; "coefficients" keeps triangles only (no vectors, nothing observed).
        directory: for store="disk".
        segments: stretches between checkpoints; ⌈√B⌉.
        observe: {name: (state, vectors (d, k), n) → array}, evaluated inside the backward sweep at every block.
        residual_samples: blocks at which the defining equation is checked.
        sensitivity: compare two random end matrices.
        group_tolerance: as in `lyapunov`.
        allow_no_transient: permit transient = 0.
        throw: raise if the state stops being finite.
        key: draws the frame and the end matrices; `jax.random.key(0)`.

    Returns:
        `CovariantVectors`.

    Raises:
        StabilityError: options that do not fit, or no transient.
        SizeError: a predicted peak above the available memory.
        RecomputationError: a stretch computed again gave other bits.
        ConfigurationMismatchError: the directory holds another computation.
        DivergedError: with `throw=True`.

    Source: F. Ginelli, P. Poggi, A. Turchi, H. Chaté, R. Livi, A. Politi, Phys. Rev. Lett. 99 (2007) 130601.

    Example:
        >>> cat = td.StepMap(lambda s, n, aux: jnp.array([[2.0, 1.0], [1.0, 1.0]]) @ s)
        >>> found = covariant_vectors(cat, np.zeros(2), transient=40, window=10, tail=40, want=("vectors",))
        >>> [round(float(value), 7) for value in found.exponents], found.vectors.shape
        ([0.9624237, -0.9624237], (10, 2, 2))
    """
    key = jax.random.key(0) if key is None else key
    start = prepare(system, state, count, None, "auto", 1e-9, key)
    job = _job(
        start, transient, window, tail, every, want, store, segments, observe, residual_samples, sensitivity
    )
    if job.transient == 0:
        if not allow_no_transient:
            raise StabilityError(
                "transient = 0: the first vectors would be those of the random frame. Give a transient (a few times "
                "1/gap between exponents), or allow_no_transient=True"
            )
        warnings.warn(
            "covariant vectors without a transient: the first ones have no past",
            NoTransientWarning,
            stacklevel=2,
        )
    expected = predicted_bytes(job)
    room = available_bytes()
    if expected > room:
        raise SizeError(
            f"store={store!r} would take about {expected / 2**30:.1f} GiB, {room / 2**30:.1f} GiB are available: use "
            'store="disk" with a directory, or a shorter window'
        )
    keeper: Checkpoints
    if store == "disk":
        if directory is None:
            raise StabilityError('store="disk" needs directory=')
        settings = {
            "transient": job.transient, "every": job.every, "blocks": job.blocks, "tail": job.tail_blocks,
            "length": job.length, "want": sorted(want), "observe": sorted(job.observe), "samples": residual_samples,
            "sensitivity": sensitivity, "group_tolerance": group_tolerance,
            "state": np.asarray(start.carry.state).tobytes().hex(),
            "basis": np.asarray(start.carry.basis).tobytes().hex(), "key": jax.random.key_data(key).tolist(),
        }  # fmt: skip
        keeper = Directory(directory, fingerprint(system, settings))
    else:
        keeper = Checkpoints()
    walk = Walk(start, start.carry, job.every)
    passed = forward(job, walk, keeper)
    found = backward(job, walk, keeper, passed, key, group_tolerance)
    result = _result(job, walk, passed.first_bad, found, expected, allow_no_transient)
    if throw and result.status is SpectrumStatus.DIVERGED:
        raise DivergedError(f"the state stopped being finite at {result.unit} {result.first_bad}")
    return result


def _job(
    start: Start, transient, window, tail, every, want, store, segments, observe, samples, sensitivity
) -> Job:
    if store not in STORES:
        raise StabilityError(f"store = {store!r}: expected one of {', '.join(STORES)}")
    if isinstance(want, str) or set(want) - set(WANTS):
        raise StabilityError(f"want = {want!r}: expected a tuple of {', '.join(WANTS)}")
    if store == "coefficients" and ("vectors" in want or observe):
        raise StabilityError(
            'store="coefficients" keeps no frames, so that there are no vectors to give or observe: use "segments"'
        )
    before = checked_length(start, transient, "transient")
    inside = checked_length(start, window, "window", least=1e-300)
    after = checked_length(start, tail, "tail")
    if every == "auto":
        length = block_length(start, "auto", inside) if start.flow else 1
        length = inside / math.ceil(inside / length) if start.flow else length
    else:
        length = block_length(start, every, inside)
    blocks = int(inside / length * (1 + 1e-12))
    if segments is not None and not 1 <= segments <= blocks:
        raise StabilityError(
            f"segments = {segments}: expected between 1 and the {blocks} blocks of the window"
        )
    return Job(
        start=start,
        every=length,
        transient=math.ceil(before / length * (1 - 1e-12)),
        blocks=blocks,
        tail_blocks=math.ceil(after / length * (1 - 1e-12)),
        length=math.ceil(blocks / (math.isqrt(blocks - 1) + 1 if segments is None else segments)),
        want=frozenset(want),
        store=store,
        observe=dict(observe or {}),
        samples=samples,
        sensitivity=sensitivity,
    )


def _result(job: Job, walk: Walk, first_bad, found: Sweep, expected: int, no_past: bool) -> CovariantVectors:
    growth = found.growth
    good = np.isfinite(growth).any(axis=1)
    rates = averages.batch_rates(growth[good], np.ones(int(good.sum())))
    if first_bad is not None:
        status = SpectrumStatus.DIVERGED
    elif found.rank < job.start.count:
        status = SpectrumStatus.SUPERSTABLE
    elif job.transient == 0 and no_past:
        status = SpectrumStatus.FINITE_TIME
    else:
        settled = averages.settled(rates)
        status = SpectrumStatus.CONVERGED if settled else SpectrumStatus.FINITE_TIME
    return CovariantVectors(
        vectors=found.vectors,
        coefficients=found.coefficients,
        growth=growth,
        angles=found.angles,
        exponents=growth[good].mean(axis=0) if good.any() else np.full(job.start.count, np.nan),
        orthogonal_exponents=found.orthogonal,
        residual=found.residual,
        sensitivity=found.sensitivity,
        groups=found.groups,
        observed=found.observed,
        status=status,
        first_bad=first_bad,
        unit=job.start.unit,
        every=job.every,
        transient=job.transient * job.every,
        tail=job.tail_blocks * job.every,
        store=job.store,
        bytes=expected,
        stats={
            "tangents": job.start.method,
            "redone_blocks": walk.redone,
            "qrs": walk.qrs,
            "pushed": walk.moved,
        },
    )
