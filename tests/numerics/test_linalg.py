"""Matrix-free linear algebra against dense NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thetadot.numerics.linalg import (
    LinearAlgebraError,
    conjugate_gradients,
    lanczos,
    power_iteration,
    qr_positive,
)

SIZE = 60


def product(vector, matrix):
    return matrix @ vector


def scaled(vector, diagonal):
    return diagonal * vector


def symmetric(seed, eigenvalues):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues))))
    return (q * np.asarray(eigenvalues)) @ q.T


def indefinite_matrix(seed):
    return symmetric(seed, np.random.default_rng(seed + 100).normal(size=SIZE))


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_lanczos_finds_both_algebraic_ends_with_their_vectors(scale):
    matrix = scale * indefinite_matrix(0)
    values, vectors = np.linalg.eigh(matrix)
    found = lanczos(product, SIZE, args=jnp.asarray(matrix))
    assert found.converged
    np.testing.assert_allclose(found.largest, values[-1], rtol=1e-12)
    np.testing.assert_allclose(found.smallest, values[0], rtol=1e-12)
    assert abs(found.largest_vector @ vectors[:, -1]) == pytest.approx(1, abs=1e-10)
    assert abs(found.smallest_vector @ vectors[:, 0]) == pytest.approx(1, abs=1e-10)


def test_lanczos_run_to_the_end_finds_the_whole_spectrum():
    matrix = indefinite_matrix(1)
    found = lanczos(product, SIZE, args=jnp.asarray(matrix), tolerance=0.0)
    assert found.steps == SIZE
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(matrix), atol=1e-12)


def test_the_algebraic_end_is_not_the_one_of_largest_modulus():
    matrix = symmetric(2, np.r_[-100.0, np.linspace(0, 1, SIZE - 1)])
    found = lanczos(product, SIZE, args=jnp.asarray(matrix))
    assert found.largest == pytest.approx(1.0, abs=1e-10)
    assert found.smallest == pytest.approx(-100.0, abs=1e-10)


def test_reported_residuals_are_the_true_ones():
    matrix = indefinite_matrix(3)
    found = lanczos(product, SIZE, args=jnp.asarray(matrix), iterations=12, tolerance=0.0)
    for value, vector, residual in (
        (found.largest, found.largest_vector, found.largest_residual),
        (found.smallest, found.smallest_vector, found.smallest_residual),
    ):
        true = np.linalg.norm(matrix @ vector - value * vector)
        assert residual == pytest.approx(true, rel=1e-9)
        assert residual > 1e-3  # twelve steps do not converge here: the number means something
    assert not found.converged
    spectrum = np.linalg.eigvalsh(matrix)
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.abs(spectrum - value).min() <= residual * (1 + 1e-9)


def test_the_basis_stays_orthogonal_far_beyond_convergence():
    # Without reorthogonalisation the separated end comes back as a ghost long before step 100.
    diagonal = jnp.concatenate([jnp.linspace(0, 1, 299), jnp.array([50.0])])
    found = lanczos(scaled, 300, args=diagonal, iterations=120, tolerance=0.0)
    assert found.steps == 120
    assert np.sum(np.asarray(found.values) > 2) == 1


def test_lanczos_stops_early_when_one_end_is_wanted():
    diagonal = jnp.concatenate([jnp.linspace(0, 1, 299), jnp.array([50.0])])
    top = lanczos(scaled, 300, args=diagonal, iterations=120, ends="largest")
    both = lanczos(scaled, 300, args=diagonal, iterations=120, ends="both")
    assert top.converged
    assert top.steps < both.steps
    assert np.isnan(top.values[int(top.steps) :]).all()


@pytest.mark.parametrize(("diagonal", "steps"), [([3.0] * 8, 1), ([0.0] * 8, 1), ([2.0] * 4 + [-1.0] * 4, 2)])
def test_an_exhausted_krylov_space_ends_the_iteration_with_exact_values(diagonal, steps):
    found = lanczos(scaled, len(diagonal), args=jnp.array(diagonal))
    assert found.steps == steps
    assert found.converged
    assert found.largest == pytest.approx(max(diagonal), abs=1e-14)
    assert found.smallest == pytest.approx(min(diagonal), abs=1e-14)


def test_nan_in_the_operator_is_handed_on_and_not_called_converged():
    found = lanczos(scaled, 8, args=jnp.array([1.0, jnp.nan, *[1.0] * 6]))
    assert np.isnan(found.largest)
    assert not found.converged


def test_a_new_operator_of_the_same_shape_compiles_nothing(count_compilations):
    b = jnp.ones(SIZE)
    first, second = jnp.asarray(indefinite_matrix(4)), jnp.asarray(symmetric(5, np.linspace(1, 2, SIZE)))
    key = jax.random.key(1)

    def all_three(matrix, tolerance, iterations):
        return (
            lanczos(product, SIZE, args=matrix, tolerance=tolerance, key=key),
            power_iteration(product, SIZE, args=matrix, iterations=iterations, key=key),
            conjugate_gradients(product, b, args=matrix, tolerance=tolerance, iterations=iterations),
        )

    all_three(first, 1e-6, 5)
    with count_compilations() as counted:
        all_three(second, 1e-9, 9)
    assert counted.total == 0, counted


def test_everything_is_traceable_and_batches():
    matrices = jnp.stack([jnp.asarray(symmetric(seed, np.linspace(1, 5, 8) + seed)) for seed in range(3)])
    largest = jax.jit(jax.vmap(lambda matrix: lanczos(product, 8, args=matrix).largest))(matrices)
    np.testing.assert_allclose(largest, [5, 6, 7], rtol=1e-10)
    radius = jax.vmap(lambda matrix: power_iteration(product, 8, args=matrix, iterations=400).radius)(
        matrices
    )
    np.testing.assert_allclose(radius, [5, 6, 7], rtol=1e-6)


def test_power_iteration_finds_the_radius_and_its_sign():
    matrix = symmetric(6, np.r_[-3.0, np.linspace(-1, 2, SIZE - 1)])
    found = power_iteration(product, SIZE, args=jnp.asarray(matrix), iterations=200)
    assert found.radius == pytest.approx(3.0, rel=1e-10)
    assert found.value == pytest.approx(-3.0, rel=1e-10)
    assert found.residual < 1e-9


def test_power_iteration_starts_warm_and_never_overshoots():
    matrix = indefinite_matrix(7)
    radius = np.abs(np.linalg.eigvalsh(matrix)).max()
    cold = power_iteration(product, SIZE, args=jnp.asarray(matrix), iterations=10)
    warm = power_iteration(product, SIZE, args=jnp.asarray(matrix), iterations=10, start=cold.vector)
    once = power_iteration(product, SIZE, args=jnp.asarray(matrix), iterations=20)
    assert cold.radius < warm.radius <= radius * (1 + 1e-14)
    np.testing.assert_allclose(warm.radius, once.radius, rtol=1e-12)


def test_power_iteration_of_the_zero_operator_is_zero():
    found = power_iteration(scaled, 4, args=jnp.zeros(4))
    assert found.radius == 0
    assert np.isfinite(found.vector).all()


def test_conjugate_gradients_solve_to_the_tolerance():
    matrix = symmetric(8, np.geomspace(1e-3, 1, SIZE))
    b = np.random.default_rng(8).normal(size=SIZE)
    found = conjugate_gradients(product, jnp.asarray(b), args=jnp.asarray(matrix), tolerance=1e-12)
    assert found.converged
    assert not found.indefinite
    np.testing.assert_allclose(found.solution, np.linalg.solve(matrix, b), rtol=1e-7)
    assert np.linalg.norm(b - matrix @ found.solution) <= 2e-12 * np.linalg.norm(b)


def test_conjugate_gradients_need_as_many_steps_as_there_are_distinct_eigenvalues():
    matrix = symmetric(9, np.repeat([1.0, 2.0, 7.0], SIZE // 3))
    found = conjugate_gradients(product, jnp.ones(SIZE), args=jnp.asarray(matrix))
    assert found.steps == 1 + 3
    assert found.converged


def jacobi(residual, diagonal):
    return residual / diagonal


def test_an_exact_preconditioner_needs_one_step_and_a_good_start_none():
    diagonal = jnp.asarray(np.geomspace(1e-4, 1e4, SIZE))
    b = jnp.ones(SIZE)
    assert conjugate_gradients(scaled, b, args=diagonal, precondition=jacobi).steps == 1 + 1
    assert conjugate_gradients(scaled, b, args=diagonal, start=b / diagonal).steps == 1


def test_weights_decide_which_components_count():
    diagonal, b = jnp.array([1.0, 3.0, 10.0]), jnp.ones(3)
    weights = jnp.array([1.0, 0.0, 0.0])
    exact = conjugate_gradients(scaled, b, args=diagonal)
    loose = conjugate_gradients(scaled, b, args=diagonal, weights=weights, tolerance=0.0, absolute=0.5)
    assert loose.steps < exact.steps
    assert loose.residual_norm == pytest.approx(abs(float((b - diagonal * loose.solution)[0])), abs=1e-15)


def test_an_indefinite_operator_is_reported_with_its_direction():
    matrix = indefinite_matrix(10)
    found = conjugate_gradients(product, jnp.ones(SIZE), args=jnp.asarray(matrix))
    assert found.indefinite
    assert not found.converged
    assert found.direction @ matrix @ found.direction <= 0
    assert np.isfinite(found.solution).all()


@pytest.mark.parametrize("shape", [(5, 5), (9, 3), (3, 9)])
def test_qr_has_a_positive_diagonal_and_multiplies_back(shape):
    matrix = np.random.default_rng(11).normal(size=shape)
    q, r = qr_positive(jnp.asarray(matrix))
    assert (np.diagonal(r) > 0).all()
    np.testing.assert_allclose(q @ r, matrix, atol=1e-14)
    np.testing.assert_allclose(q.T @ q, np.eye(min(shape)), atol=1e-14)
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-15)


def test_a_rank_deficient_matrix_still_multiplies_back():
    matrix = np.outer(np.arange(1.0, 5.0), [1.0, -2.0, 3.0])
    q, r = qr_positive(jnp.asarray(matrix))
    np.testing.assert_allclose(q @ r, matrix, atol=1e-14)


def test_sizes_and_options_that_do_not_fit_are_named():
    with pytest.raises(LinearAlgebraError, match="expected \\(4,\\)"):
        lanczos(scaled, 4, args=jnp.ones(4), start=jnp.ones(3))
    with pytest.raises(LinearAlgebraError, match="'lowest'"):
        lanczos(scaled, 4, args=jnp.ones(4), ends="lowest")
    with pytest.raises(LinearAlgebraError, match="at least 1"):
        lanczos(scaled, 4, args=jnp.ones(4), iterations=0)
    with pytest.raises(LinearAlgebraError, match="at least 1"):
        power_iteration(scaled, 0)
    with pytest.raises(LinearAlgebraError, match="must be equal"):
        conjugate_gradients(scaled, jnp.ones(4), args=jnp.ones(4), start=jnp.ones(3))
