"""Orthonormal frames: triangles of positive diagonal by each of the three methods, and rows that are lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.stability.frames import cholesky_qr, orthonormalise


def frame_of(rows, method=orthonormalise):
    q, r = jax.jit(method)(jnp.asarray(rows))
    return np.asarray(q), np.asarray(r)


@pytest.mark.parametrize(("method", "count"), [(orthonormalise, 3), (orthonormalise, 7), (cholesky_qr, 7)])
@pytest.mark.parametrize("spread", [1.0, 1e-6])  # the second is too ill-conditioned for a Gram matrix
def test_rows_become_orthonormal_with_a_triangle_of_positive_diagonal(method, count, spread):
    rng = np.random.default_rng(count)
    rows = np.geomspace(1, spread, count)[:, None] * rng.normal(size=(count, 40))
    rows[1:] += rows[:1]
    q, r = frame_of(rows, method)
    np.testing.assert_allclose(q @ q.T, np.eye(count), rtol=0, atol=1e-13)
    np.testing.assert_allclose(r.T @ q, rows, rtol=0, atol=1e-13 * np.abs(rows).max())
    assert np.all(np.diagonal(r) > 0)
    assert np.array_equal(r, np.triu(r))


def test_a_row_that_depends_on_those_before_gets_a_zero_and_some_other_direction():
    rows = np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 3.0]])
    q, r = frame_of(rows)
    assert np.diagonal(r).tolist() == [1.0, 0.0, 3.0]
    np.testing.assert_allclose(q @ q.T, np.eye(3), rtol=0, atol=1e-15)
    np.testing.assert_allclose(r.T @ q, rows, rtol=0, atol=1e-15)
