"""How well scores tell two classes apart, honestly: signs chosen on training folds, intervals by bootstrap, one p for
the whole family of scores, and the gain over what is known anyway."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from thetadot.stability.errors import StabilityError
from thetadot.stability.labels import dataset, lines_of


def area_under_curve(labels: Any, scores: Any) -> float:
    """Probability that a positive scores higher than a negative: Mann–Whitney U/(n₁n₀), ties count ½.

    Arguments:
        labels: (R,) bool.
        scores: (R,).

    Example:
        >>> area_under_curve([False, True, True], [0.1, 0.5, 0.1])
        0.75
    """
    positive, values = _checked(labels, np.asarray(scores, float).reshape(-1, 1))
    order = _Order(values[:, 0])
    return float(order.auc(np.ones((1, len(positive))), positive)[0])


def roc_curve(
    labels: Any, scores: Any
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """(false positive rate, true positive rate, thresholds), from the strictest threshold, ∞, on.

    Example:
        >>> [part.tolist() for part in roc_curve([False, True, True], [0.1, 0.5, 0.3])]
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 0.5, 0.3, 0.1]]
    """
    positive, values = _checked(labels, np.asarray(scores, float).reshape(-1, 1))
    thresholds = np.concatenate([[np.inf], np.unique(values[:, 0])[::-1]])
    above = values[:, 0][None, :] >= thresholds[:, None]
    true = (above & positive).sum(axis=1) / positive.sum()
    return (above & ~positive).sum(axis=1) / (~positive).sum(), true, thresholds


def _checked(labels: Any, scores: np.ndarray) -> tuple[Bool[np.ndarray, " R"], Float[np.ndarray, "R F"]]:
    positive = np.asarray(labels).astype(bool)
    if positive.ndim != 1 or scores.ndim != 2 or len(positive) != len(scores):
        raise StabilityError(f"labels {positive.shape} and scores {scores.shape}: expected (R,) and (R, F)")
    if positive.all() or not positive.any():
        raise StabilityError(
            f"all {len(positive)} labels are {bool(positive.all())}: both classes are needed"
        )
    if np.isnan(scores).any():
        raise StabilityError(
            f"{int(np.isnan(scores).sum())} scores are NaN: drop these runs or give them a value"
        )
    return positive, scores


class _Order:
    """One score's order, so that AUCs under many weights are cumulative sums."""

    def __init__(self, scores: Float[np.ndarray, " R"]):
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def auc(
        self, weights: Float[np.ndarray, "W R"], positive: Bool[np.ndarray, "*W R"]
    ) -> Float[np.ndarray, " W"]:
        """AUC under each row of weights; NaN where a class has none."""
        high = np.add.reduceat((weights * positive)[:, self.order], self.starts, axis=1)
        low = np.add.reduceat((weights * ~positive)[:, self.order], self.starts, axis=1)
        below = np.cumsum(low, axis=1) - 0.5 * low
        pairs = high.sum(axis=1) * low.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (high * below).sum(axis=1) / pairs, np.nan)


@dataclasses.dataclass(frozen=True)
class PredictiveValue:
    """How well scores tell labels apart.

    Attributes:
        auc (F,): cross-validated, the sign of each score chosen on the training folds.
        sign (F,): ±1, the better sign on all data.
        interval (F, 2): 95 %, bootstrap. gain (F,): auc minus that of the best baseline (½ without baselines).
        gain_interval (F, 2): 95 %, paired bootstrap.
        familywise_p: share of label permutations whose largest |AUC − ½| over non-baseline scores is at least the
            observed one.
    """

    auc: Float[np.ndarray, " F"]
    sign: Int[np.ndarray, " F"]
    interval: Float[np.ndarray, "F 2"]
    gain: Float[np.ndarray, " F"]
    gain_interval: Float[np.ndarray, "F 2"]
    familywise_p: float

    def to_xarray(self):
        """Dataset with dimension `feature`."""
        columns = {
            "auc": ("feature", self.auc), "sign": ("feature", self.sign), "gain": ("feature", self.gain),
            "interval": (("feature", "edge"), self.interval),
            "gain_interval": (("feature", "edge"), self.gain_interval),
        }  # fmt: skip
        return dataset(columns, {}, {"familywise_p": self.familywise_p})

    def __repr__(self) -> str:
        best = int(np.argmax(self.auc))
        low, high = self.interval[best]
        rows = {
            "best": f"score {best}: AUC {self.auc[best]:.3f} [{low:.3f}, {high:.3f}], sign {self.sign[best]:+d}",
            "gain": f"{self.gain[best]:+.3f} over the best baseline",
            "family": f"p = {self.familywise_p:.3g}",
        }
        return lines_of(f"Predictive value of {len(self.auc)} scores", rows)


def predictive_value(
    labels: Any,
    scores: Any,
    *,
    baselines: Sequence[int] = (),
    folds: int = 5,
    resamples: int = 1000,
    permutations: int = 1000,
    key: PRNGKeyArray | None = None,
) -> PredictiveValue:
    """Cross-validated AUC of each score, with intervals, the gain over baselines, and one p for all of them.

    Arguments:
        labels: (R,) bool, both classes present.
        scores: (R, F).
        baselines: columns that are known anyway, such as the loss.
        folds: stratified folds.
        resamples, permutations: of the bootstrap, and of the labels.
        key: shuffles folds, draws resamples and permutations; `jax.random.key(0)`.

    Raises:
        StabilityError: one class only, NaN scores, or options that do not fit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 2 == 0
        >>> found = predictive_value(labels, np.stack([-1.0 * labels, rng.normal(size=60)], axis=1), baselines=[1])
        >>> float(found.auc[0]), int(found.sign[0]), found.familywise_p < 0.01
        (1.0, -1, True)
    """
    positive, columns = _checked(labels, np.asarray(scores, float))
    known = sorted({int(column) for column in baselines})
    if any(not 0 <= column < columns.shape[1] for column in known):
        raise StabilityError(
            f"baselines = {tuple(baselines)}: the scores have columns 0 … {columns.shape[1] - 1}"
        )
    group = np.zeros(columns.shape[1], int)
    return _valued(positive, columns, np.isin(np.arange(columns.shape[1]), known), group, folds, resamples,
                   permutations, key)  # fmt: skip


def _valued(positive, columns, is_baseline, group, folds, resamples, permutations, key) -> PredictiveValue:
    """As `predictive_value`; the baselines of a score are those of its group."""
    smallest = int(min(positive.sum(), (~positive).sum()))
    if not 2 <= folds <= smallest:
        raise StabilityError(
            f"folds = {folds}: expected between 2 and the {smallest} members of the smaller class"
        )
    if resamples < 1 or permutations < 1:
        raise StabilityError(
            f"resamples = {resamples}, permutations = {permutations}: expected both positive"
        )
    seed = np.asarray(jax.random.key_data(jax.random.key(0) if key is None else key)).tolist()
    rng = np.random.default_rng(seed)
    rows, amount = columns.shape
    fold = np.empty(rows, int)
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        fold[rng.permutation(members)] = np.arange(len(members)) % folds
    drawn = rng.multinomial(rows, np.full(rows, 1.0 / rows), size=resamples).astype(float)
    weights = np.concatenate([np.ones((1, rows)), drawn])
    orders = [_Order(columns[:, f]) for f in range(amount)]
    validated = np.stack([_validated(order, weights, positive, fold, folds) for order in orders], axis=1)
    plain = np.array([order.auc(np.ones((1, rows)), positive)[0] for order in orders])
    gains = np.empty_like(validated)
    for f in range(amount):
        rivals = np.flatnonzero(is_baseline & (group == group[f]))
        best = validated[:, rivals].max(axis=1) if rivals.size else 0.5
        gains[:, f] = validated[:, f] - best

    def interval(table: np.ndarray) -> np.ndarray:
        return np.nanquantile(table[1:], [0.025, 0.975], axis=0).T

    return PredictiveValue(
        auc=validated[0],
        sign=np.where(plain < 0.5, -1, 1),
        interval=interval(validated),
        gain=gains[0],
        gain_interval=interval(gains),
        familywise_p=_familywise(columns[:, ~is_baseline], positive, permutations, rng),
    )


def _validated(order: _Order, weights, positive, fold, folds: int) -> Float[np.ndarray, " W"]:
    """Cross-validated AUC under each row of weights: a mean over folds weighted by their numbers of pairs.

    Copies of a run that a resample drew twice stay in the fold of the run.
    """
    total, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for number in range(folds):
        test = weights * (fold == number)
        training = order.auc(weights - test, positive)
        found = order.auc(test, positive)
        found = np.where(training < 0.5, 1.0 - found, found)
        amount = (test * positive).sum(axis=1) * (test * ~positive).sum(axis=1)
        total += np.where(amount > 0, np.nan_to_num(found) * amount, 0.0)
        pairs += amount
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, total / pairs, np.nan)


def _familywise(columns, positive, permutations: int, rng: np.random.Generator) -> float:
    if columns.shape[1] == 0:
        return 1.0
    from scipy.stats import rankdata

    ranks = rankdata(columns, axis=0)
    ones, zeros = positive.sum(), (~positive).sum()
    shuffled = rng.permuted(np.repeat(positive[None], permutations, axis=0), axis=1)
    labels = np.concatenate([positive[None], shuffled]).astype(float)
    away = np.abs((labels @ ranks - ones * (ones + 1) / 2) / (ones * zeros) - 0.5).max(axis=1)
    return float((1 + np.sum(away[1:] >= away[0] - 1e-12)) / (1 + permutations))


def value_per_group(
    positive: Array | np.ndarray, columns: np.ndarray, is_baseline, group, folds, resamples, permutations, key
) -> PredictiveValue:
    """`predictive_value` where each score is compared with the baselines of its own group of columns."""
    checked, scores = _checked(positive, columns)
    return _valued(
        checked, scores, np.asarray(is_baseline), np.asarray(group), folds, resamples, permutations, key
    )
