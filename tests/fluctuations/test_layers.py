"""Projectors and layers against automatic differentiation and Lyapunov equations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.oracles.sgd_moments import linear_regression
from thetadot.fluctuations import (
    FluctuationsError,
    layer_fluctuations,
    linear_layer_fluctuations,
    linear_layer_jacobian,
    projector_covariance,
)

GIVEN = {"learning_rate": 0.2, "batch_size": 4, "label_variance": 0.25}
SCALE = 0.2 * 0.25 / 8


def weights(widths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(m, n)) for n, m in itertools.pairwise(widths)]


def test_the_projector_solves_the_lyapunov_equation_for_every_metric():
    rng = np.random.default_rng(0)
    J = rng.normal(size=(6, 4)) @ rng.normal(size=(4, 9))
    sigma = projector_covariance(J, **GIVEN)
    for seed in range(3):
        root = np.random.default_rng(seed).normal(size=(6, 6))
        H = J.T @ root @ root.T @ J
        off = H @ sigma + sigma @ H - 0.2 / 4 * 0.25 * H
        assert np.abs(off).max() < 1e-12 * np.abs(H).max()
    P = sigma / SCALE
    np.testing.assert_allclose(P @ P, P, atol=1e-12)
    np.testing.assert_allclose(projector_covariance(np.vstack([J, J[:2]]), **GIVEN), sigma, atol=1e-14)
    assert np.trace(sigma) == pytest.approx(4 * SCALE, rel=1e-12)
    values = np.linalg.eigvalsh(sigma)
    assert values[0] >= -1e-12 * values[-1]


@pytest.mark.parametrize("widths", [(3, 2), (3, 4, 2), (3, 4, 4, 2), (2, 3, 3, 2, 2)])
def test_the_jacobian_of_deep_linear_networks_equals_automatic_differentiation(widths):
    layers = weights(widths)

    def product(*matrices):
        out = matrices[0]
        for matrix in matrices[1:]:
            out = matrix @ out
        return out.ravel()

    jacobian = jax.jit(jax.jacfwd(product, argnums=tuple(range(len(layers)))))
    parts = jacobian(*map(jnp.asarray, layers))
    truth = np.concatenate([np.asarray(part).reshape(part.shape[0], -1) for part in parts], axis=1)
    np.testing.assert_allclose(linear_layer_jacobian(layers), truth, atol=1e-12 * np.abs(truth).max())


def test_one_layer_is_isotropic():
    found = linear_layer_fluctuations(weights((4, 3)), input_moment=np.diag([4.0, 1.0, 0.5, 0.1]), **GIVEN)
    np.testing.assert_allclose(found.blocks[0], SCALE * np.eye(12), atol=1e-12)
    assert found.rank == 12


def test_the_second_layer_varies_more_where_the_loss_is_steeper():
    sizes = np.geomspace(1, 0.01, 4)
    layers = [np.diag(sizes), np.full((1, 4), 0.5)]
    found = linear_layer_fluctuations(layers, **GIVEN)
    variances, _, curvatures = found.principal(1)
    # One output: JJᵀ = W₁ᵀW₁ + ‖W₂‖²·1, so that a direction with curvature s² has the share s²/(s² + ‖W₂‖²).
    np.testing.assert_allclose(variances, SCALE * sizes**2 / (sizes**2 + 1), rtol=1e-9)
    np.testing.assert_allclose(curvatures, sizes**2, rtol=1e-9)
    assert found.names == ("layer1.weight", "layer2.weight")


def test_moving_scale_between_layers_changes_blocks_and_not_the_rank():
    first = weights((3, 4, 2))
    moved = [first[0] / 5, 5 * first[1]]
    one, other = (linear_layer_fluctuations(each, **GIVEN) for each in (first, moved))
    assert one.rank == other.rank == 6
    assert not np.allclose(one.blocks[1], other.blocks[1], rtol=0.1)
    np.testing.assert_allclose(np.trace(one.covariance), np.trace(other.covariance), rtol=1e-12)
    np.testing.assert_allclose(sum(map(np.trace, other.blocks)), 6 * SCALE, rtol=1e-12)


def test_the_input_moment_matters_only_where_it_is_singular():
    layers = weights((3, 4, 2))
    full = linear_layer_fluctuations(layers, input_moment=np.diag([3.0, 1.0, 0.2]), **GIVEN)
    np.testing.assert_allclose(
        full.covariance, linear_layer_fluctuations(layers, **GIVEN).covariance, atol=1e-12
    )
    H = (
        linear_layer_jacobian(layers).T
        @ np.kron(np.eye(2), np.diag([3.0, 1.0, 0.2]))
        @ linear_layer_jacobian(layers)
    )
    np.testing.assert_allclose(full.hessian, H, atol=1e-12 * np.abs(H).max())
    assert linear_layer_fluctuations(layers, input_moment=np.diag([1.0, 1.0, 0.0]), **GIVEN).rank == 4


def test_a_problem_tells_how_far_its_noise_is_from_its_hessian():
    rule = td.MiniBatch(0.2, 4, jax.random.key(0))
    x, y, best = linear_regression(4000, 3)
    many = layer_fluctuations(td.EmpiricalRisk(td.linear([3, 1]), td.squared, x, y[:, None]), best, rule)
    assert many.noise_mismatch < 0.1
    variance = np.mean((x @ best - y) ** 2)
    np.testing.assert_allclose(many.covariance, 0.2 * variance / 8 * np.eye(3), atol=1e-12)
    few = layer_fluctuations(
        td.EmpiricalRisk(td.linear([3, 1]), td.squared, x[:6], y[:6, None]),
        np.linalg.lstsq(x[:6], y[:6], rcond=None)[0], rule,
    )  # fmt: skip
    assert few.noise_mismatch > 0.15
    assert few.to_xarray().sizes["parameter"] == 3


def test_what_does_not_fit_is_refused():
    with pytest.raises(FluctuationsError, match="input to output"):
        linear_layer_fluctuations([np.ones((2, 3)), np.ones((2, 4))], **GIVEN)
    with pytest.raises(FluctuationsError, match="3 inputs"):
        linear_layer_fluctuations([np.ones((2, 3))], input_moment=np.eye(2), **GIVEN)
    with pytest.raises(FluctuationsError, match="below zero"):
        linear_layer_fluctuations([np.ones((2, 3))], input_moment=-np.eye(3), **GIVEN)
    problem = td.EmpiricalRisk(td.linear([2, 2]), td.cross_entropy, np.ones((3, 2)), np.array([0, 1, 0]))
    with pytest.raises(FluctuationsError, match="label_variance"):
        layer_fluctuations(problem, np.zeros(4), td.MiniBatch(0.1, 2, jax.random.key(0)))
