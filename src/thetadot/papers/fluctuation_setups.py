"""What the paper `fluctuations` is measured on: one linear layer on few samples, two layers, fresh Gaussian draws."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from thetadot.dynamics import MiniBatch
from thetadot.fluctuations import (
    DetailedBalance,
    EnsembleFluctuations,
    LayerFluctuations,
    OnlineRisk,
    VarianceFlatness,
    detailed_balance,
    linear_layer_fluctuations,
    sgd_ensemble,
    stationary_covariance,
    variance_flatness,
)
from thetadot.papers.workbench import Workbench

NOISE = 0.5
INPUTS = 100
RATIOS = (1.33, 2.0, 4.0, 10.0, 100.0)
ENERGIES = (2.0, 1.0, 0.5, 0.2, 0.05)
CASES = ((0.05, 1), (0.2, 4))


@dataclasses.dataclass(frozen=True)
class OneLayer:
    """One linear layer at its least-squares weights.

    Attributes:
        balance: of H and D. residual: of HΣ + ΣH = ηνD, relative.
        spread: standard deviation of ln eig Σ. felt: that of ln curvature along Σ's axes over that of ln eig H.
        rank_correlation: Spearman's, of variance and width along Σ's axes. fit: of the two.
    """

    balance: DetailedBalance
    residual: float
    spread: float
    felt: float
    rank_correlation: float
    fit: VarianceFlatness


def one_layer(workbench: Workbench, ratio: float, seed: int) -> OneLayer:
    """N = ratio·100 Gaussian samples of 100 inputs, C = 1, labels with noise of standard deviation 0.5."""
    rng = np.random.default_rng(seed)
    samples = round(ratio * INPUTS)
    x = rng.normal(size=(samples, INPUTS))
    y = NOISE * rng.normal(size=samples)
    residual = x @ np.linalg.lstsq(x, y, rcond=None)[0] - y
    H, D = x.T @ x / samples, (x * (residual**2)[:, None]).T @ x / samples
    found = stationary_covariance(H, D, learning_rate=1e-3, batch_size=1, kind="continuum")
    variances, axes = np.linalg.eigh(found.covariance)
    curvatures = np.einsum("ik,ij,jk->k", axes, H, axes)
    widths = quadratic_widths(curvatures, float(np.mean(residual**2)) / 2)
    spread = float(np.std(np.log(np.linalg.eigvalsh(H))))
    return OneLayer(
        detailed_balance(H, D),
        found.residual,
        float(np.std(np.log(variances))),
        float(np.std(np.log(curvatures))) / spread,
        _rank_correlation(variances, widths),
        variance_flatness(variances, widths, min_decades=0.0),
    )


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's."""
    return float(np.asarray(spearmanr(first, second))[0])


def quadratic_widths(curvatures: Float[np.ndarray, " k"], loss: float) -> Float[np.ndarray, " k"]:
    """2√(2(e−1)L/h), the widths of a quadratic valley at e times its floor."""
    return 2 * np.sqrt(2 * (math.e - 1) * loss / curvatures)


def two_layers(workbench: Workbench) -> LayerFluctuations:
    """20 inputs, 10 hidden units, one output; first singular values over two decades, |second layer| = 1."""
    rng = np.random.default_rng(0)
    left, right = np.linalg.qr(rng.normal(size=(10, 10)))[0], np.linalg.qr(rng.normal(size=(20, 10)))[0]
    first = left @ np.diag(np.geomspace(1.0, 0.01, 10)) @ right.T
    second = rng.normal(size=(1, 10))
    weights = [first, second / np.linalg.norm(second)]
    return linear_layer_fluctuations(weights, learning_rate=0.01, batch_size=1, label_variance=NOISE**2)


def single_layer() -> LayerFluctuations:
    """20 inputs, one output."""
    weights = [np.random.default_rng(0).normal(size=(1, 20))]
    return linear_layer_fluctuations(weights, learning_rate=0.01, batch_size=1, label_variance=NOISE**2)


def spread_of(found: LayerFluctuations, layer: int) -> float:
    """Standard deviation of ln eig of a layer's block, over the directions that move."""
    variances = found.principal(layer)[0]
    return float(np.std(np.log(variances[variances > 1e-12 * found.variance])))


def second_layer_fit(workbench: Workbench) -> tuple[float, VarianceFlatness]:
    """Spearman's correlation and the exponent of variance and width along the axes of the second layer's block."""
    variances, _, curvatures = workbench.shared(two_layers).principal(1)
    widths = quadratic_widths(curvatures, NOISE**2 / 2)
    return _rank_correlation(variances, widths), variance_flatness(variances, widths)


def _gaussian(
    theta_star: Float[np.ndarray, " P"], energies: Float[np.ndarray, " n"], hidden: int
) -> OnlineRisk:
    """Labels of a linear network (hidden = 0: one layer) with noise; inputs N(0, diag(energies))."""
    roots, truth = jnp.sqrt(jnp.asarray(energies)), jnp.asarray(theta_star)
    inputs = len(energies)

    def output(theta, x):
        if not hidden:
            return x @ theta
        first, second = theta[: hidden * inputs].reshape(hidden, inputs), theta[hidden * inputs :]
        return (x @ first.T) @ second

    def draw(key, batch_size):
        drawn = jax.random.normal(key, (batch_size, inputs + 1))
        x = drawn[:, 1:] * roots[None]
        return x, output(truth, x) + NOISE * drawn[:, 0]

    return OnlineRisk(lambda theta, x, y: 0.5 * (output(theta, x) - y) ** 2, draw)


def simulated_second_layer(workbench: Workbench, learning_rate: float, members: int) -> tuple[float, float]:
    """(Mean of simulated over projected variance along the second layer's axes, its standard error): 6-4-1 online."""
    workbench.say(f"two layers at η = {learning_rate:g}")
    rng = np.random.default_rng(1)
    left, right = np.linalg.qr(rng.normal(size=(4, 4)))[0], np.linalg.qr(rng.normal(size=(6, 4)))[0]
    second = rng.normal(size=(1, 4))
    weights = [left @ np.diag([1.0, 0.8, 0.6, 0.5]) @ right.T, second / np.linalg.norm(second)]
    theory = linear_layer_fluctuations(
        weights, learning_rate=learning_rate, batch_size=1, label_variance=NOISE**2
    )
    variances, axes, _ = theory.principal(1)
    directions = np.concatenate([np.zeros((24, 4)), axes])
    theta = np.concatenate([weight.ravel() for weight in weights])
    burn_in = round(5 / learning_rate)
    found = sgd_ensemble(
        _gaussian(theta, np.ones(6), 4), theta, MiniBatch(learning_rate, 1, jax.random.key(0)), members=members,
        steps=3 * burn_in, burn_in=burn_in, every=max(1, burn_in // 25), directions=directions, key=jax.random.key(7),
    )  # fmt: skip
    ratios = np.diag(found.covariance) / variances
    errors = np.diag(found.standard_error) / variances
    return float(ratios.mean()), float(np.sqrt(np.sum(errors**2)) / len(errors))


def simulated_one_layer(
    workbench: Workbench, learning_rate: float, batch_size: int, members: int, steps: int
) -> EnsembleFluctuations:
    """SGD on fresh Gaussian draws of the five energies."""
    workbench.say(f"fresh draws at η = {learning_rate:g}, S = {batch_size}")
    risk = _gaussian(np.zeros(5), np.array(ENERGIES), 0)
    rule = MiniBatch(learning_rate, batch_size, jax.random.key(0))
    return sgd_ensemble(
        risk, np.zeros(5), rule, members=members, steps=steps, burn_in=1200, every=25, key=jax.random.key(3)
    )
