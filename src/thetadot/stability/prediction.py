"""Can growth rates of the first steps tell which starts will end at a high loss, and better than the loss itself?"""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from thetadot.dynamics import StepMap
from thetadot.stability.discrimination import value_per_group
from thetadot.stability.ensembles import covariant_growth, later, mean_growth
from thetadot.stability.errors import DegenerateLabelsError, StabilityError
from thetadot.stability.finite_time import finite_time_exponents
from thetadot.stability.labels import dataset, lines_of
from thetadot.stability.sharpness import dense_sharpness
from thetadot.stability.tangent import checked_starts

BASELINES = ("loss", "loss_drop", "gradient_norm", "sharpness")
_ALL = 100
_LEAST_SHARE = 0.05


class PredictionStatus(enum.Enum):
    """What the scores are worth; the value is a sentence for summaries."""

    BEYOND_BASELINES = "some exponent predicts, and more than the loss curve does"
    PREDICTS = "some exponent predicts, not more than the loss curve does"
    NOT_CONFIRMED = "no exponent predicts beyond chance"


@dataclasses.dataclass(frozen=True)
class LossPrediction:
    """Value of early indicators for the final loss; F features (baselines last) and W windows.

    Attributes:
        auc, gain (F, W), sign (F, W), interval, gain_interval (F, W, 2), familywise_p: as in `PredictiveValue`; each
            feature is compared with the baselines of its own window, the p is over all features × windows.
        features: names; those in `baselines` are not exponents. windows (W,): steps.
        labels (R,): True ends high. final_losses (R,). diverged (R,). kept (R,): runs that take part.
        scores (R, F, W). status: what they are worth.
    """

    auc: Float[np.ndarray, "F W"]
    sign: Int[np.ndarray, "F W"]
    interval: Float[np.ndarray, "F W 2"]
    gain: Float[np.ndarray, "F W"]
    gain_interval: Float[np.ndarray, "F W 2"]
    familywise_p: float
    features: tuple[str, ...]
    baselines: tuple[str, ...]
    windows: tuple[int, ...]
    labels: Bool[np.ndarray, " R"]
    final_losses: Float[np.ndarray, " R"]
    diverged: Bool[np.ndarray, " R"]
    kept: Bool[np.ndarray, " R"]
    scores: Float[np.ndarray, "R F W"]
    status: PredictionStatus

    @property
    def best(self) -> tuple[int, int]:
        """(feature, window) of the exponent with the largest AUC."""
        amount = len(self.features) - len(self.baselines)
        where = np.unravel_index(int(np.argmax(self.auc[:amount])), self.auc[:amount].shape)
        return int(where[0]), int(where[1])

    def to_xarray(self):
        """Dataset with dimensions `feature`, `window` and `member`."""
        both = ("feature", "window")
        columns = {
            "auc": (both, self.auc), "sign": (both, self.sign), "gain": (both, self.gain),
            "interval": ((*both, "edge"), self.interval), "gain_interval": ((*both, "edge"), self.gain_interval),
            "scores": (("member", *both), self.scores), "label": ("member", self.labels),
            "final_loss": ("member", self.final_losses), "diverged": ("member", self.diverged),
            "kept": ("member", self.kept),
        }  # fmt: skip
        coordinates = {"feature": list(self.features), "window": list(self.windows)}
        attributes = {
            "familywise_p": self.familywise_p,
            "status": self.status.name,
            "baselines": self.baselines,
        }
        return dataset(columns, coordinates, attributes)

    def __repr__(self) -> str:
        f, w = self.best
        low, high = self.interval[f, w]
        rows = {
            "labels": f"{int(self.labels.sum())} of {len(self.labels)} runs end high, "
            f"{int(self.diverged.sum())} diverged",
            "best": f"{self.features[f]} over {self.windows[w]} steps: AUC {self.auc[f, w]:.3f} "
            f"[{low:.3f}, {high:.3f}]",
            "gain": f"{self.gain[f, w]:+.3f} over the best baseline of that window",
            "family": f"p = {self.familywise_p:.3g} over all exponents and windows",
            "status": f"{self.status.name}: {self.status.value}",
        }
        return lines_of("Prediction of the final loss", rows)


def loss_prediction(
    system: StepMap,
    states: Any,
    *,
    final: int,
    windows: Sequence[int] = (20, 100, 500),
    count: int = 3,
    kind: str = "orthogonal",
    covariant: bool = False,
    label: str | float = "median",
    diverged: str = "high",
    folds: int = 5,
    resamples: int = 1000,
    permutations: int = 1000,
    key: PRNGKeyArray | None = None,
) -> LossPrediction:
    """Train from many starts, and ask what finite-time exponents of the first steps say about the final loss.

    Beside the exponents stand baselines that need no tangent: the loss at the window's end, its drop so far, the
    gradient norm and the sharpness there. Features × windows are many paths: signs are chosen on training folds, and
    one p covers all of them.

    Arguments:
        system: a training map.
        states: (R, d) starts, `system.start(theta)` each.
        final: steps after which the loss counts as final.
        windows: first steps that indicators see.
        count: leading exponents that are features each; their sum and the last (of all d if d ≤ 100) are two more.
        kind: "orthogonal" or "singular".
        covariant: add the growth of covariant vectors.
        label: "median", "gap" (the largest gap of log₁₀ loss between its 10 % and 90 % quantiles), or a threshold;
            above is high.
        diverged: "high" counts runs that diverge as ending high, "drop" leaves them out.
        folds, resamples, permutations: as in `predictive_value`.
        key: draws frames, folds and resamples; `jax.random.key(0)`.

    Raises:
        DegenerateLabelsError: one class below 5 %, or classes no further apart than runs are from their end.
        StabilityError: options that do not fit, or a system without problem.
        StateError, PrecisionError, HiddenDependenceError: as in `tangent`.

    Example:
        >>> network = td.mlp([1, 2, 1], "tanh")
        >>> x = np.linspace(-2, 2, 8)[:, None]
        >>> system = td.training_map(td.EmpiricalRisk(network, td.squared, x, np.sin(3 * x)), td.GradientDescent(0.1))
        >>> states = np.random.default_rng(0).normal(size=(40, 7))
        >>> few = {"resamples": 50, "permutations": 50}
        >>> found = loss_prediction(system, states, final=3000, windows=(10,), label="gap", **few)
        >>> found.features[:3], found.auc.shape
        (('exponent_1', 'exponent_2', 'exponent_3'), (9, 1))
    """
    problem = system.problem
    if problem is None:
        raise StabilityError("loss_prediction needs a training map, whose final loss is to be told")
    starts = checked_starts(system, states)
    if kind not in ("orthogonal", "singular") or diverged not in ("high", "drop"):
        raise StabilityError(
            f'kind = {kind!r}, diverged = {diverged!r}: expected "orthogonal" or "singular", and "high" or "drop"'
        )
    steps = tuple(int(window) for window in windows)
    if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] >= final:
        raise StabilityError(
            f"windows = {tuple(windows)}: expected increasing numbers of steps below final = {final}"
        )
    key = jax.random.key(0) if key is None else key
    nearly = later(system, starts, 0, int(0.9 * final))
    ends = later(system, nearly, int(0.9 * final), final - int(0.9 * final))
    losses, nearly_losses = (_losses(problem, system.theta(rows))[0] for rows in (ends, nearly))
    lost = ~np.isfinite(losses)
    kept = ~lost | (diverged == "high")
    labels = labelled(losses, nearly_losses, label, kept)
    scores, features = _features(system, starts, steps, count, kind, covariant, key)
    kept &= np.isfinite(scores).all(axis=(1, 2)) | (diverged == "high")
    # A score that is not finite belongs to a run that is already lost: it gets a value beyond all others.
    finite = np.where(
        np.isfinite(scores), scores, np.nanmax(np.where(np.isfinite(scores), scores, -np.inf)) + 1.0
    )
    amount, baselines = len(features), BASELINES
    is_baseline = np.isin(features, baselines)
    flat = finite[kept].reshape(int(kept.sum()), -1)
    group = np.tile(np.arange(len(steps)), amount)
    value = value_per_group(
        labels[kept], flat, np.repeat(is_baseline, len(steps)), group, folds, resamples, permutations, key
    )
    shape = (amount, len(steps))
    intervals = value.interval.reshape(*shape, 2)
    gains = value.gain_interval.reshape(*shape, 2)
    predicts = value.familywise_p < 0.05 and bool(np.any(intervals[~is_baseline][..., 0] > 0.5))
    status = PredictionStatus.NOT_CONFIRMED
    if predicts:
        beyond = bool(np.any((gains[~is_baseline][..., 0] > 0) & (intervals[~is_baseline][..., 0] > 0.5)))
        status = PredictionStatus.BEYOND_BASELINES if beyond else PredictionStatus.PREDICTS
    return LossPrediction(
        auc=value.auc.reshape(shape),
        sign=value.sign.reshape(shape),
        interval=intervals,
        gain=value.gain.reshape(shape),
        gain_interval=gains,
        familywise_p=value.familywise_p,
        features=tuple(features),
        baselines=baselines,
        windows=steps,
        labels=labels,
        final_losses=losses,
        diverged=lost,
        kept=kept,
        scores=scores,
        status=status,
    )


@eqx.filter_jit
def _evaluated(problem, thetas: Array) -> tuple[Array, Array]:
    losses, gradients = jax.lax.map(problem.value_and_grad, thetas)
    return losses, jnp.sqrt(jnp.sum(gradients**2, axis=1))


def _losses(problem, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    losses, norms = _evaluated(problem, jnp.asarray(thetas))
    return np.asarray(losses), np.asarray(norms)


def _features(system, starts, windows, count, kind, covariant, key) -> tuple[np.ndarray, list[str]]:
    """(R, F, W) and the names; baselines last."""
    size = starts.shape[1]
    problem = system.problem
    every = size if size <= _ALL else count
    rates, ends = mean_growth(system, starts, windows, every, key)
    if kind == "singular":
        rates = np.stack(
            [
                [finite_time_exponents(system, jnp.asarray(start), w, count=every).exponents for w in windows]
                for start in starts
            ]
        )
    shown = min(count, every)
    columns = {f"exponent_{i + 1}": rates[:, :, i] for i in range(shown)}
    columns["exponent_sum"], columns["exponent_last"] = rates.sum(axis=2), rates[:, :, -1]
    if covariant:
        growth = [covariant_growth(system, starts, window, shown, key) for window in windows]
        columns |= {
            f"covariant_{i + 1}": np.stack([rows[:, i] for rows in growth], axis=1) for i in range(shown)
        }
    thetas = system.theta(ends)
    at_start = _losses(problem, system.theta(starts))[0]
    losses, norms, sharp = (np.empty(rates.shape[:2]) for _ in range(3))
    for number in range(len(windows)):
        losses[:, number], norms[:, number] = _losses(problem, thetas[:, number])
        sharp[:, number] = dense_sharpness(problem, thetas[:, number])
    columns |= dict(zip(BASELINES, (losses, losses - at_start[:, None], norms, sharp), strict=True))
    with np.errstate(invalid="ignore"):
        table = np.stack(list(columns.values()), axis=1)
    return np.where(np.isneginf(table), -1e300, table), list(columns)


def labelled(
    losses: Float[np.ndarray, " R"],
    nearly: Float[np.ndarray, " R"],
    label: str | float,
    kept: Bool[np.ndarray, " R"],
) -> Bool[np.ndarray, " R"]:
    """Which runs end high; a run that diverged does.

    Raises:
        DegenerateLabelsError: the classes would be rounding noise, or one is below 5 %.
    """
    finite = np.isfinite(losses)
    values = losses[finite & kept]
    if values.size < 4:
        raise DegenerateLabelsError(f"only {values.size} runs end at a finite loss: lower the learning rate")
    if label == "median":
        threshold = float(np.median(values))
    elif label == "gap":
        logs = np.sort(np.log10(np.maximum(values, 1e-300)))
        logs = logs[(logs >= np.quantile(logs, 0.1)) & (logs <= np.quantile(logs, 0.9))]
        if logs.size < 2:
            raise DegenerateLabelsError(
                "final losses have no gap between their 10 % and 90 % quantiles: all are equal"
            )
        widest = int(np.argmax(np.diff(logs)))
        threshold = float(10 ** (0.5 * (logs[widest] + logs[widest + 1])))
    elif isinstance(label, str):
        raise StabilityError(f'label = {label!r}: expected "median", "gap" or a number')
    else:
        threshold = float(label)
    high = ~finite | (losses > threshold)
    share = min(high[kept].mean(), 1 - high[kept].mean())
    if share < _LEAST_SHARE:
        raise DegenerateLabelsError(
            f"one class has {share:.1%} of the runs, at least {_LEAST_SHARE:.0%} are needed: choose another label than "
            f"{label!r}, or a problem whose runs end differently"
        )
    upper = losses[finite & kept & high]
    if upper.size:
        lower = float(np.median(losses[finite & kept & ~high]))
        apart = float(np.median(upper)) - lower
        unfinished = float(np.median(np.abs(losses - nearly)[finite & kept & np.isfinite(nearly)]))
        if apart < max(100 * unfinished, 1e-10 * abs(lower)):
            raise DegenerateLabelsError(
                f"the classes' median final losses are {apart:.2e} apart, while runs still change by {unfinished:.2e} "
                "in their last tenth: labels would be noise. Train longer, or choose a harder problem"
            )
    return high
