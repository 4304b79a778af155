"""Many runs of SGD side by side: the covariance across them, with its standard error, and whether it has settled."""

import dataclasses
import enum
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from thetadot.dynamics import MiniBatch, StepMap, training_map
from thetadot.dynamics.rates import rate_at
from thetadot.dynamics.rules import Rule
from thetadot.dynamics.wording import number
from thetadot.fluctuations.errors import FluctuationsError, UnsupportedRuleError
from thetadot.fluctuations.matrices import finite, require_dense, whole
from thetadot.fluctuations.online import OnlineRisk
from thetadot.problems import Problem

_GROUPS = 32
_STRETCH = 256
_SIGNIFICANT = 2 * scipy.stats.norm.sf(4.0)
_ROUNDING = 1e-12
_FOR_TAILS = 500


class EnsembleStatus(enum.StrEnum):
    """Whether the ensemble has settled, still moves (or has no variance to settle to), or left the finite numbers."""

    STATIONARY = "stationary"
    DRIFTING = "drifting"
    DIVERGED = "diverged"


@dataclasses.dataclass(frozen=True)
class EnsembleFluctuations:
    """What `sgd_ensemble` found; with directions (P, k) in their k coordinates.

    Attributes:
        covariance (P, P): mean over recorded steps of the covariance across members.
        mean (P,): over members and recorded steps.
        standard_error (P, P): of the covariance, from groups of independent members.
        drift (P,): change of the mean over members per step, second half of the record against the first.
        status: stationary; drifting: variance or mean differ between the halves beyond chance (as rare as 4 standard
            deviations), or the tails are so heavy that there is no variance; diverged.
        members, recorded, burn_in, every: what was run.
        tail_exponent: of P(‖θ − mean‖² > e) ~ e^−a in the last record, from the largest 2 % of at least 500 members;
            NaN for fewer. At 1 and below the variance does not exist.
        rule: in words.
    """

    covariance: Float[np.ndarray, "P P"]
    mean: Float[np.ndarray, " P"]
    standard_error: Float[np.ndarray, "P P"]
    drift: Float[np.ndarray, " P"]
    status: EnsembleStatus
    members: int
    recorded: int
    burn_in: int
    every: int
    tail_exponent: float
    rule: str

    def __str__(self) -> str:
        return (
            f"{self.members} members, {self.recorded} records after {self.burn_in} steps: {self.status}, "
            f"tr Σ = {number(np.trace(self.covariance))} [{self.rule}]"
        )

    def to_xarray(self):
        """Dataset with dimensions `direction` and `direction_`."""
        import xarray

        square = ("direction", "direction_")
        names = ["members", "recorded", "burn_in", "every", "tail_exponent", "rule"]
        return xarray.Dataset(
            {
                "covariance": (square, self.covariance, {"units": "weight²"}),
                "standard_error": (square, self.standard_error, {"units": "weight²"}),
                "mean": ("direction", self.mean, {"units": "weight"}),
                "drift": ("direction", self.drift, {"units": "weight per step"}),
            },
            attrs={name: getattr(self, name) for name in names} | {"status": str(self.status)},
        )


class _Key(eqx.Module):
    """The aux of an online step: a key for each step."""

    key: PRNGKeyArray

    def __call__(self, n: Array) -> PRNGKeyArray:
        return jax.random.fold_in(self.key, n)


class _OnlineStep(eqx.Module):
    """One step of gradient descent on a fresh batch."""

    risk: OnlineRisk
    rule: MiniBatch

    def __call__(self, state: Float[Array, " P"], n: Any, key: PRNGKeyArray) -> Float[Array, " P"]:
        x, y = self.risk.draw(key, self.rule.batch_size)

        def mean_loss(theta: Array) -> Array:
            return jnp.mean(jax.vmap(lambda one, label: self.risk.loss(theta, one, label))(x, y))

        return state - rate_at(self.rule.learning_rate, n) * jax.grad(mean_loss)(state)


class _Record(NamedTuple):
    """Sums over recorded steps, for each group of members."""

    count: Array
    covariance: Float[Array, "g P P"]
    mean: Float[Array, "g P"]
    finite: Bool[Array, ""]


def _system(source: Any, rule: Rule, key: PRNGKeyArray) -> StepMap:
    if isinstance(source, Problem):
        if getattr(rule, "key", None) is not None:
            rule = eqx.tree_at(lambda keyed: keyed.key, rule, key)
        return training_map(source, rule)
    assert isinstance(rule, MiniBatch)
    return StepMap(_OnlineStep(source, rule), _Key(key))


@eqx.filter_jit
def _advance(source: Any, rule: Rule, keys: Array, states: Array, first: Array, steps: Array) -> Array:
    def move(offset: Array, states: Array) -> Array:
        n = first + offset

        def one(key: PRNGKeyArray, state: Array) -> Array:
            system = _system(source, rule, key)
            return system.step(state, n, system.aux_at(n))

        return jax.vmap(one)(keys, states)

    return jax.lax.fori_loop(0, steps, move, states)


def _grouped(rows: Float[Array, "m ..."], groups: int) -> Float[Array, "s g ..."]:
    """Member i in group i mod g, filled up with zeros."""
    fill = -len(rows) % groups
    padded = jnp.concatenate([rows, jnp.zeros((fill, *rows.shape[1:]))])
    return padded.reshape(-1, groups, *rows.shape[1:])


@eqx.filter_jit
def _stretch(
    source: Any, rule: Rule, keys: Array, states: Array, first: Array, every: Array, records: Array, basis: Any,
    record: _Record, groups: int, size: int,
) -> tuple[Array, _Record]:  # fmt: skip
    amount = _grouped(jnp.ones((len(states), 1)), groups).sum(axis=0)

    def take(index: Array, carry: tuple[Array, _Record]) -> tuple[Array, _Record]:
        states, record = carry
        states = _advance(source, rule, keys, states, first + index * every, every)
        shown = states[:, :size] if basis is None else states[:, :size] @ basis
        middle = shown.mean(axis=0)
        parts = _grouped(shown - middle[None], groups)
        covariance = jnp.einsum("sgp,sgq->gpq", parts, parts) / amount[:, :, None]
        mean = parts.sum(axis=0) / amount + middle[None]
        finite = record.finite & jnp.isfinite(shown).all()
        # Dividing by M − 1 instead of M, group by group, keeps the mean over groups unbiased.
        covariance = covariance * (len(states) / max(1, len(states) - 1))
        return states, _Record(record.count + 1, record.covariance + covariance, record.mean + mean, finite)

    return jax.lax.fori_loop(0, records, take, (states, record))


def sgd_ensemble(
    source: Problem | OnlineRisk,
    theta: Any,
    rule: Rule,
    *,
    members: int,
    steps: int,
    burn_in: int = 0,
    every: int = 1,
    directions: Any = None,
    key: PRNGKeyArray,
) -> EnsembleFluctuations:
    """Run SGD from θ many times with independent batches, and measure how the members scatter.

    Steps are those of `training_map(problem, rule)`, so any learning rule runs, shuffled passes and momentum too; for
    an `OnlineRisk` each step draws a batch and makes one step of gradient descent. The rule's own key is ignored: every
    member has one that is split from `key`, and the same key gives the same numbers.

    Arguments:
        source: a problem, or an `OnlineRisk` (then the rule must be a `MiniBatch`, of which the learning rate and the
            batch size count).
        theta: (P,), where all members start.
        rule: the learning rule.
        members: how many runs. steps: of each, burn-in included.
        burn_in: steps that are not recorded. every: steps between records.
        directions: (P, k), to record only these coordinates.
        key: a JAX random key.

    Raises:
        FluctuationsError: burn_in ≥ steps, fewer than 2 members, shapes.

    Example:
        >>> problem = td.EmpiricalRisk(td.linear([1, 1]), td.squared, np.ones((2, 1)), np.array([[1.0], [-1.0]]))
        >>> rule = td.MiniBatch(0.5, 1, jax.random.key(0), replace=True)  # Σ = η/(2 − η) = 1/3
        >>> found = sgd_ensemble(
        ...     problem, np.zeros(1), rule, members=400, steps=60, burn_in=20, key=jax.random.key(1)
        ... )
        >>> abs(float(found.covariance[0, 0]) - 1 / 3) < 4 * float(found.standard_error[0, 0])
        True
    """
    start = jnp.asarray(finite(theta, "theta"))
    count, burn, gap = whole(members, "members", 2), whole(burn_in, "burn_in", 0), whole(every, "every")
    total = whole(steps, "steps")
    records = (total - burn) // gap
    if burn >= total or records < 2:
        raise FluctuationsError(
            f"burn_in = {burn} of {total} steps leaves {max(0, records)} records every {gap}: expected at least 2"
        )
    if isinstance(source, OnlineRisk) and not isinstance(rule, MiniBatch):
        raise UnsupportedRuleError(
            f"{rule.description}: an OnlineRisk draws its own batches, give MiniBatch(learning_rate, batch_size, key)"
        )
    if start.ndim != 1 or (isinstance(source, Problem) and start.size != source.size):
        raise FluctuationsError(f"theta has shape {start.shape}: expected a flat vector of the parameters")
    basis = None
    if directions is not None:
        basis = jnp.asarray(finite(directions, "directions"))
        if basis.ndim != 2 or len(basis) != start.size:
            raise FluctuationsError(f"directions have shape {basis.shape}: expected ({start.size}, k)")
    width = start.size if basis is None else basis.shape[1]
    require_dense(width)
    keys = jax.random.split(key, count)
    groups = min(_GROUPS, count)
    state = _system(source, rule, key).start(start) if isinstance(source, Problem) else start
    states = jnp.broadcast_to(state, (count, state.size))
    states = _advance(source, rule, keys, states, jnp.asarray(0), jnp.asarray(burn))
    halves, at = [], burn
    for amount in (records // 2, records - records // 2):
        record = _Record(
            jnp.asarray(0), jnp.zeros((groups, width, width)), jnp.zeros((groups, width)), jnp.asarray(True)
        )
        while int(record.count) < amount:
            now = min(_STRETCH, amount - int(record.count))
            states, record = _stretch(
                source, rule, keys, states, jnp.asarray(at), jnp.asarray(gap), jnp.asarray(now), basis, record, groups,
                start.size,
            )  # fmt: skip
            at += now * gap
        halves.append(record)
    shown = np.asarray(states[:, : start.size] if basis is None else states[:, : start.size] @ basis)
    weights = np.bincount(np.arange(count) % groups) / count
    return _found(halves, weights, shown, count, burn, gap, rule.description)


def _found(
    halves: list[_Record],
    weights: np.ndarray,
    last: np.ndarray,
    members: int,
    burn_in: int,
    every: int,
    rule: str,
) -> EnsembleFluctuations:
    counts = [int(half.count) for half in halves]
    covariances = [np.asarray(half.covariance) / n for half, n in zip(halves, counts, strict=True)]
    means = [np.asarray(half.mean) / n for half, n in zip(halves, counts, strict=True)]
    total = sum(counts)
    by_group = sum(c * n for c, n in zip(covariances, counts, strict=True)) / total
    covariance = np.einsum("g,gpq->pq", weights, by_group)
    middle = [weights @ mean for mean in means]
    spread = np.sqrt(np.maximum(np.einsum("g,gpq->pq", weights, (by_group - covariance) ** 2), 0.0))
    tail = _tail_exponent(last)
    if not all(bool(half.finite) for half in halves):
        status = EnsembleStatus.DIVERGED
    elif _drifts(covariances, means, covariance) or tail <= 1.0:
        status = EnsembleStatus.DRIFTING
    else:
        status = EnsembleStatus.STATIONARY
    return EnsembleFluctuations(
        covariance=0.5 * (covariance + covariance.T),
        mean=(middle[0] * counts[0] + middle[1] * counts[1]) / total,
        standard_error=spread / np.sqrt(max(1, len(weights) - 1)),
        drift=(middle[1] - middle[0]) / (every * total / 2),
        status=status,
        members=members,
        recorded=total,
        burn_in=burn_in,
        every=every,
        tail_exponent=tail,
        rule=rule,
    )


def _drifts(covariances: list[np.ndarray], means: list[np.ndarray], covariance: np.ndarray) -> bool:
    """Whether log tr Σ or some mean differs between the halves more than groups of members do by chance."""
    traces = [np.einsum("gpp->g", each) for each in covariances]
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0)) + np.abs(means[0]).mean(axis=0)
    differences = [(means[1] - means[0], _ROUNDING * scale)]
    if all((trace > 0).all() for trace in traces):
        differences.append((np.log(traces[1] / traces[0])[:, None], np.array([_ROUNDING])))
    for change, floor in differences:
        groups = len(change)
        shift, spread = np.abs(change.mean(axis=0)), change.std(axis=0, ddof=1) / np.sqrt(groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = 2 * scipy.stats.t.sf(np.where(spread > 0, shift / spread, np.inf), groups - 1)
        if np.any((shift > floor) & (chance * change.shape[1] < _SIGNIFICANT)):
            return True
    return False


def _tail_exponent(last: np.ndarray) -> float:
    """Hill's estimate from the largest 2 % of the squared distances from the mean."""
    if len(last) < _FOR_TAILS or not np.isfinite(last).all():
        return float("nan")
    energies = np.sort(np.sum((last - last.mean(axis=0)) ** 2, axis=1))[::-1]
    top = len(last) // 50
    if energies[top] <= 0:
        return float("nan")
    return float(1 / max(np.mean(np.log(energies[:top] / energies[top])), 1e-300))
