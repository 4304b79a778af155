"""Detailed balance against equilibria, hand calculation and simulation-free identities."""

import numpy as np
import pytest

from tests.oracles.sgd_moments import random_pair, rotation
from thetadot.fluctuations import NoStationaryStateError, detailed_balance, stationary_covariance


def test_noise_proportional_to_the_hessian_is_an_equilibrium():
    H = random_pair(8, 0)[0]
    found = detailed_balance(H, 0.3 * H)
    assert found.defect < 1e-12
    assert np.abs(found.circulation).max() < 1e-12
    assert found.entropy_production < 1e-12
    assert found.balanced
    assert "holds" in str(found)
    sigma = stationary_covariance(H, 0.3 * H, learning_rate=0.1, batch_size=2, kind="continuum").covariance
    np.testing.assert_allclose(sigma, 0.1 * 0.3 / 4 * np.eye(8), atol=1e-12)


def test_two_dimensions_by_hand():
    h, d, c = np.array([1.0, 3.0]), np.array([1.0, 2.0]), 0.5
    found = detailed_balance(np.diag(h), np.array([[d[0], c], [c, d[1]]]))
    circulation = c * (h[0] - h[1]) / (2 * (h[0] + h[1]))
    np.testing.assert_allclose(found.circulation, [[0, circulation], [-circulation, 0]], atol=1e-15)
    sigma = np.array([[d[0] / 2, c / 4], [c / 4, d[1] / 6]])
    np.testing.assert_allclose(found.covariance, sigma, atol=1e-15)
    # tr((D/2)⁻¹ Q Σ⁻¹ Qᵀ) = q² det-weighted traces in two dimensions.
    D = np.array([[d[0], c], [c, d[1]]])
    rate = np.trace(np.linalg.inv(D / 2) @ found.circulation @ np.linalg.inv(sigma) @ found.circulation.T)
    assert found.entropy_production == pytest.approx(rate, rel=1e-12)
    HD = np.diag(h) @ D
    assert found.defect == pytest.approx(np.linalg.norm(HD - HD.T) / np.linalg.norm(HD), rel=1e-12)


def test_entropy_production_by_an_independent_formula():
    # The rate is also tr(H) − tr(D̃⁻¹HΣHᵀ) up to sign: E[f·D̃⁻¹f] + E[∇·f] of the drift f = −Hδ.
    H, D = random_pair(6, 2)
    found = detailed_balance(H, D)
    sigma = found.covariance
    rate = np.trace(np.linalg.inv(D / 2) @ H @ sigma @ H) - np.trace(H)
    assert found.entropy_production == pytest.approx(rate, rel=1e-9)
    assert found.entropy_production > 0.1


def test_rotations_and_scales_change_nothing():
    H, D = random_pair(6, 2)
    Q = rotation(6, 0)
    plain = detailed_balance(H, D)
    turned = detailed_balance(Q @ H @ Q.T, Q @ D @ Q.T)
    scaled = detailed_balance(H, 7 * D)
    for other in (turned, scaled):
        assert other.defect == pytest.approx(plain.defect, rel=1e-10)
        assert other.entropy_production == pytest.approx(plain.entropy_production, rel=1e-10)
    np.testing.assert_allclose(turned.circulation, Q @ plain.circulation @ Q.T, atol=1e-10)
    np.testing.assert_allclose(plain.circulation, -plain.circulation.T, atol=1e-14)


def test_a_singular_hessian_is_looked_at_on_its_range():
    H, D = random_pair(4, 1)
    wide = rotation(7, 1)[:, :4]
    plain, embedded = detailed_balance(H, D), detailed_balance(wide @ H @ wide.T, wide @ D @ wide.T)
    assert embedded.entropy_production == pytest.approx(plain.entropy_production, rel=1e-9)
    np.testing.assert_allclose(embedded.circulation, wide @ plain.circulation @ wide.T, atol=1e-10)


def test_noise_that_does_not_span_what_it_drives_produces_infinite_entropy():
    found = detailed_balance(np.diag([1.0, 2.0]), np.ones((2, 2)))
    assert np.isinf(found.entropy_production)
    assert detailed_balance(np.diag([1.0, 2.0]), np.diag([1.0, 0.0])).entropy_production == 0
    assert detailed_balance(np.eye(2), np.zeros((2, 2))).defect == 0


def test_there_is_no_balance_to_speak_of_at_a_saddle():
    with pytest.raises(NoStationaryStateError, match="saddle"):
        detailed_balance(np.diag([1.0, -0.5]), np.eye(2))
    assert detailed_balance(np.diag([1.0, -0.5]), np.eye(2), tolerance=0.6).balanced
