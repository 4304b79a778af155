"""How well scores tell labels apart: exact areas, honest error rates, and what must be refused."""

import numpy as np
import pytest

import thetadot as td
from thetadot.stability import (
    DegenerateLabelsError,
    PredictionStatus,
    StabilityError,
    area_under_curve,
    loss_prediction,
    predictive_value,
    roc_curve,
)
from thetadot.stability.prediction import labelled

X = np.linspace(-2, 2, 20)[:, None]
HALF = np.arange(60) % 2 == 0


def test_areas_are_exact_for_separable_reversed_and_tied_scores():
    assert area_under_curve(HALF, HALF.astype(float)) == 1.0
    assert area_under_curve(HALF, -1.0 * HALF) == 0.0
    assert area_under_curve(HALF, np.ones(60)) == 0.5
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 60).astype(float)
    pairs = scores[HALF][:, None] - scores[~HALF][None, :]
    assert area_under_curve(HALF, scores) == pytest.approx(
        np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-15
    )
    false, true, _ = roc_curve(HALF, scores)
    assert np.trapezoid(true, false) == pytest.approx(area_under_curve(HALF, scores), abs=1e-15)


def test_pure_noise_is_called_significant_about_one_time_in_twenty():
    rng = np.random.default_rng(1)
    low = 0
    for _ in range(200):
        labels = rng.permutation(HALF)
        found = predictive_value(labels, rng.normal(size=(60, 4)), resamples=1, permutations=199)
        low += found.familywise_p <= 0.05
    assert 0.02 <= low / 200 <= 0.09


def test_a_copy_of_a_baseline_gains_nothing_and_a_reversed_score_is_turned():
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.arange(200) % 2 == 0)
    known = labels + rng.normal(size=200)
    reversed_score = -1.0 * labels + 0.5 * rng.normal(size=200)
    scores = np.stack([known, reversed_score, known], axis=1)
    found = predictive_value(labels, scores, baselines=[2])
    assert found.gain_interval[0, 0] <= 0 <= found.gain_interval[0, 1]
    assert found.sign[1] == -1
    assert found.auc[1] > 0.8
    assert found.gain_interval[1, 0] > 0
    assert found.familywise_p < 0.01
    assert np.all(found.interval[:, 0] <= found.auc)
    assert np.all(found.auc <= found.interval[:, 1])


def test_the_sign_is_not_chosen_on_the_runs_that_judge_it():
    rng = np.random.default_rng(3)
    values = [
        predictive_value(rng.permutation(HALF), rng.normal(size=(60, 1)), resamples=1, permutations=1).auc[0]
        for _ in range(150)
    ]
    assert abs(np.mean(values) - 0.5) < 0.03  # the better sign in hindsight would give about 0.56


def test_labels_and_scores_that_cannot_be_judged_are_refused():
    for labels, scores, options, words in [
        (np.ones(10, bool), np.ones((10, 1)), {}, "both classes"),
        (HALF, np.full((60, 1), np.nan), {}, "NaN"),
        (HALF, np.ones((59, 1)), {}, r"\(R,\)"),
        (HALF, np.ones((60, 1)), {"folds": 40}, "folds"),
        (HALF, np.ones((60, 1)), {"baselines": [3]}, "baselines"),
    ]:
        with pytest.raises(StabilityError, match=words):
            predictive_value(labels, scores, **options)


def sine_map(hidden, frequency, rate):
    problem = td.EmpiricalRisk(td.mlp([1, hidden, 1], "tanh"), td.squared, X, np.sin(frequency * X))
    return td.training_map(problem, td.GradientDescent(rate))


def test_runs_that_share_one_minimum_are_refused():
    starts = np.random.default_rng(0).normal(size=(40, 7))
    with pytest.raises(DegenerateLabelsError, match="apart"):
        loss_prediction(sine_map(2, 2, 0.2), starts, final=20_000, windows=(20,))


def test_labels_that_are_noise_or_one_sided_are_refused():
    rng = np.random.default_rng(4)
    kept = np.ones(100, bool)
    equal = 0.25 + 1e-14 * rng.normal(size=100)
    for label in ("median", "gap"):
        with pytest.raises(DegenerateLabelsError):
            labelled(equal, equal, label, kept)
    lopsided = np.concatenate([np.full(97, 0.1), np.full(3, 1.0)]) * (1 + 1e-3 * rng.random(100))
    with pytest.raises(DegenerateLabelsError, match=r"3\.0%"):
        labelled(lopsided, lopsided, 0.5, kept)
    two = np.concatenate([np.full(60, 0.1), np.full(40, 1.0)]) * (1 + 1e-3 * rng.random(100))
    assert labelled(two, two, "gap", kept).sum() == 40
    lost = np.where(np.arange(100) < 10, np.nan, two)
    assert labelled(lost, lost, 0.5, kept)[:10].all()
    with pytest.raises(StabilityError, match="expected"):
        labelled(two, two, "mean", kept)


@pytest.fixture(scope="module")
def found():
    starts = np.random.default_rng(1).normal(size=(60, 10))
    return loss_prediction(
        sine_map(3, 2, 0.2), starts, final=3000, windows=(20, 100), covariant=True, resamples=100, permutations=100,
        label=0.03,
    )  # fmt: skip


def test_a_prediction_compares_exponents_with_the_loss_curve(found):
    assert found.features[:5] == ("exponent_1", "exponent_2", "exponent_3", "exponent_sum", "exponent_last")
    assert found.features[-4:] == found.baselines == ("loss", "loss_drop", "gradient_norm", "sharpness")
    assert found.auc.shape == (12, 2)
    assert found.scores.shape == (60, 12, 2)
    assert isinstance(found.status, PredictionStatus)
    assert np.all((found.auc >= 0) & (found.auc <= 1))
    assert found.to_xarray().sizes["feature"] == 12
    assert "family" in repr(found)


def test_its_scores_are_those_of_single_runs(found):
    from thetadot.stability import finite_time_exponents, sharpness

    system = sine_map(3, 2, 0.2)
    start = np.random.default_rng(1).normal(size=(60, 10))[7]
    total = finite_time_exponents(system, start, 20).exponents.sum()
    assert abs(found.scores[7, 3, 0] - total) < 1e-10
    theta = start
    for n in range(20):
        theta = np.asarray(system(theta, n))
    assert abs(found.scores[7, 8, 0] - float(system.problem.loss(theta))) < 1e-12
    assert abs(found.scores[7, 11, 0] - sharpness(system.problem, theta).values[0]) < 1e-8
    for n in range(20, 3000):
        theta = system(theta, n)
    assert abs(found.final_losses[7] - float(system.problem.loss(theta))) < 1e-10


def test_diverged_runs_are_counted():
    starts = np.random.default_rng(1).normal(size=(40, 10))
    starts[:6] *= 1e3  # these diverge
    starts[6:20] = 0.0  # these stay where no hidden neuron learns
    system = td.training_map(
        td.EmpiricalRisk(td.mlp([1, 3, 1], "square"), td.squared, X, X**2), td.GradientDescent(0.01)
    )
    options = {"final": 3000, "windows": (10,), "resamples": 20, "permutations": 20, "label": 0.3}
    high = loss_prediction(system, starts, **options)
    assert high.diverged.sum() >= 6
    assert high.labels[high.diverged].all()
    dropped = loss_prediction(system, starts, diverged="drop", **options)
    assert not dropped.kept[dropped.diverged].any()
    for options, words in [({"windows": (600,)}, "below final"), ({"kind": "local"}, "kind")]:
        with pytest.raises(StabilityError, match=words):
            loss_prediction(system, starts, **({"final": 600, "windows": (10,)} | options))
