"""What a learning rate leads to: a fixed point, a cycle, chaos, or divergence; over a range of values at once."""

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.dynamics import StepMap
from thetadot.stability.ensembles import padded
from thetadot.stability.errors import StabilityError
from thetadot.stability.labels import dataset, lines_of
from thetadot.stability.tangent import checked_starts, push

_BATCHES = 32
_BATCH_NUMBERS = 2**22


class Regime(enum.IntEnum):
    """Where an orbit ends."""

    FIXED_POINT = 0
    PERIODIC = 1
    QUASIPERIODIC = 2
    CHAOTIC = 3
    DIVERGED = 4
    UNDECIDED = 5


@dataclasses.dataclass(frozen=True)
class RegimeScan:
    """Regimes over values (E) of a parameter and starts (R).

    Attributes:
        values (E,). regime (E, R): of `Regime`. period (E, R): 1 for fixed points, 0 if none.
        exponent, standard_error (E, R): leading Lyapunov exponent per step.
        orbit (E, R, samples): of the observable at the last steps; NaN where it diverged before.
        survived (E, R): steps before divergence, all of them if there was none.
    """

    values: Float[np.ndarray, " E"]
    regime: Int[np.ndarray, "E R"]
    period: Int[np.ndarray, "E R"]
    exponent: Float[np.ndarray, "E R"]
    standard_error: Float[np.ndarray, "E R"]
    orbit: Float[np.ndarray, "E R samples"]
    survived: Int[np.ndarray, "E R"]

    def to_xarray(self):
        """Dataset with dimensions `rate`, `member` and `sample`."""
        both = ("rate", "member")
        variables = {
            "regime": (both, self.regime, {"flag_meanings": " ".join(Regime.__members__)}),
            "period": (both, self.period),
            "leading_exponent": (both, self.exponent, {"units": "1/step"}),
            "standard_error": (both, self.standard_error, {"units": "1/step"}),
            "survived": (both, self.survived, {"units": "step"}),
            "orbit": ((*both, "sample"), self.orbit),
        }
        return dataset(variables, {"rate": self.values}, {})

    def __repr__(self) -> str:
        rows = {
            regime.name.lower(): f"{np.mean(self.regime == regime):.0%}"
            for regime in Regime
            if np.any(self.regime == regime)
        }
        return lines_of(f"Regimes of {self.regime.shape[0]} values × {self.regime.shape[1]} starts", rows)


def regime_scan(
    make_system: Callable[[Any], StepMap],
    values: Any,
    states: Any,
    *,
    transient: int,
    duration: int,
    samples: int = 256,
    observe: Callable | None = None,
    period_max: int = 64,
    tolerance: float = 1e-8,
    divergence: float = 1e6,
    key: PRNGKeyArray | None = None,
) -> RegimeScan:
    """Where orbits end, over values of a parameter, in one compilation.

    In this order: a state that is not finite or exceeds `divergence` → DIVERGED; the smallest p ≤ period_max with
    |x_{j+p} − x_j| ≤ tolerance·(1+max|x|) over the last samples → FIXED_POINT or PERIODIC; exponent > 3 standard errors
    and > 10/duration → CHAOTIC; halves of the orbit that differ → UNDECIDED; |exponent| ≤ 3 standard errors +
    10/duration → QUASIPERIODIC; else UNDECIDED.

    Arguments:
        make_system: value → `StepMap`, called with a traced value.
        values: (E,), such as learning rates.
        states: (R, d) starts.
        transient, duration: steps before and in the window of the exponent.
        samples: last steps to look at.
        observe: state → scalar shown as orbit; the loss by default, of a system without problem the first coordinate.
        period_max, tolerance, divergence: of the decision.
        key: draws the nudge; `jax.random.key(0)`.

    Raises:
        StabilityError: sizes that do not fit.
        StateError, PrecisionError, HiddenDependenceError: as in `tangent`.

    Example:
        >>> def cubic(rate):
        ...     return td.StepMap(lambda x, n, aux: x - aux[0] * (x**3 - x), jnp.reshape(rate, (1, 1)))
        >>> scan = regime_scan(cubic, [0.9, 1.1], np.array([[0.3]]), transient=500, duration=500)
        >>> [Regime(code).name for code in scan.regime[:, 0]], scan.period[:, 0].tolist()
        (['FIXED_POINT', 'PERIODIC'], [1, 2])
    """
    given = np.asarray(values, float)
    if given.ndim != 1 or given.size == 0:
        raise StabilityError(f"values have shape {given.shape}: expected (E,)")
    starts = checked_starts(make_system(jnp.asarray(given[0])), states)
    if not 2 * period_max <= samples <= duration or transient < 0:
        raise StabilityError(
            f"samples = {samples}, period_max = {period_max}, duration = {duration}: expected 2·period_max ≤ samples ≤ "
            "duration"
        )
    e, r, d = given.size, *starts.shape
    lanes = np.array([(value, row) for value in range(e) for row in range(r)])
    size = max(1, min(len(lanes), _BATCH_NUMBERS // (samples * d)))
    draw = np.asarray(jax.random.normal(jax.random.key(0) if key is None else key, (r, d)))
    nudges = draw / np.linalg.norm(draw, axis=1, keepdims=True)
    out: dict[str, list] = {
        name: [] for name in ("regime", "period", "exponent", "error", "orbit", "survived")
    }
    scan = eqx.filter_jit(_scan)
    for begin in range(0, len(lanes), size):
        part = lanes[begin : begin + size]
        filled = padded(part, size)
        logs, kept, shown, survived = scan(
            make_system, observe, jnp.asarray(given[filled[:, 0]]), jnp.asarray(starts[filled[:, 1]]),
            jnp.asarray(nudges[filled[:, 1]]), jnp.asarray(transient, jnp.int32),
            jnp.asarray(duration, jnp.int32), samples, jnp.asarray(divergence),
        )  # fmt: skip
        for lane in range(len(part)):
            whole = int(survived[lane]) >= transient + duration
            found = _decide(
                np.asarray(logs[lane]), np.asarray(kept[lane]), whole, duration, period_max, tolerance
            )
            for name, value in zip(("regime", "period", "exponent", "error"), found, strict=True):
                out[name].append(value)
            out["orbit"].append(np.asarray(shown[lane]))
            out["survived"].append(int(survived[lane]))
    tables = {name: np.array(rows).reshape(e, r, *np.shape(rows[0])) for name, rows in out.items()}
    return RegimeScan(
        given, tables["regime"], tables["period"], tables["exponent"], tables["error"], tables["orbit"],
        tables["survived"],
    )  # fmt: skip


def _scan(make_system, observe, values, states, nudges, transient, duration, samples: int, divergence):
    """Logs of growth in 32 batches, the last states, the observable there, and the steps survived; one row per lane."""

    def show(system: StepMap, state: Array) -> Array:
        if observe is not None:
            return observe(state)
        problem = system.problem
        return state[0] if problem is None else problem.loss(system.theta(state))

    def lane(value, state, nudge):
        system = make_system(value)

        def one(n, carry):
            state, row, logs, kept, shown, survived = carry
            new, rows = push(system, False, state, row[None], n)
            size = jnp.linalg.norm(rows[0])
            alive = jnp.all(jnp.abs(new) <= divergence) & (survived == n)
            inside = n - transient
            batch = jnp.clip((inside * _BATCHES) // duration, 0, _BATCHES - 1)
            gained = jnp.where(alive & (inside >= 0), jnp.log(size), 0.0)
            slot = n - (transient + duration - samples)
            row = jnp.where(alive & (size > 0), rows[0] / jnp.where(size > 0, size, 1.0), row)
            state = jnp.where(alive, new, state)
            at = jnp.where(slot >= 0, slot, samples)  # out of bounds: dropped
            value = jnp.where(alive, show(system, state), jnp.nan)
            return (
                state,
                row,
                logs.at[batch].add(gained),
                kept.at[at].set(jnp.where(alive, state, jnp.nan), mode="drop"),
                shown.at[at].set(value, mode="drop"),
                survived + alive.astype(survived.dtype),
            )

        zeros = jnp.zeros((samples,))
        start = (
            state,
            nudge,
            jnp.zeros(_BATCHES),
            jnp.zeros((samples, state.size)),
            zeros,
            jnp.zeros((), jnp.int32),
        )
        _, _, logs, kept, shown, survived = jax.lax.fori_loop(0, transient + duration, one, start)
        return logs, kept, shown, survived

    return jax.vmap(lane)(values, states, nudges)


def _decide(
    logs: Float[np.ndarray, " b"],
    orbit: Float[np.ndarray, "samples d"],
    survived: bool,
    duration: int,
    period_max: int,
    tolerance: float,
) -> tuple[int, int, float, float]:
    """(regime, period, exponent, standard error)."""
    borders = (np.arange(_BATCHES + 1) * duration + _BATCHES - 1) // _BATCHES
    lengths = np.diff(np.minimum(borders, duration))
    exponent = float(logs.sum() / duration)
    rates = logs[lengths > 0] / lengths[lengths > 0]
    finite = np.isfinite(rates).all()
    error = float(rates.std(ddof=1) / math.sqrt(rates.size)) if finite and rates.size > 1 else 0.0
    if not survived:
        return Regime.DIVERGED, 0, math.nan, math.nan
    near = tolerance * (1 + np.abs(orbit).max())
    for period in range(1, period_max + 1):
        if np.max(np.abs(orbit[period:] - orbit[:-period])) <= near:
            return (Regime.FIXED_POINT if period == 1 else Regime.PERIODIC), period, exponent, error
    if exponent > 3 * error and exponent > 10 / duration:
        return Regime.CHAOTIC, 0, exponent, error
    if _drifts(orbit, near):
        return Regime.UNDECIDED, 0, exponent, error
    if abs(exponent) <= 3 * error + 10 / duration:
        return Regime.QUASIPERIODIC, 0, exponent, error
    return Regime.UNDECIDED, 0, exponent, error


def _drifts(orbit: Float[np.ndarray, "samples d"], near: float) -> bool:
    """Whether the halves of an orbit cover ranges that differ by more than a tenth of its extent."""
    half = len(orbit) // 2
    first, second = orbit[:half], orbit[half:]
    moved = np.maximum(
        np.abs(first.max(axis=0) - second.max(axis=0)), np.abs(first.min(axis=0) - second.min(axis=0))
    )
    return bool(np.any(moved > np.maximum(0.1 * np.ptp(orbit, axis=0), near)))
