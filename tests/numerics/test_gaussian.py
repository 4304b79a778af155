"""Gaussian expectations against quadrature, mpmath and draws; their derivatives; singular pairs."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from tests.oracles.gaussian import dense_plane, product_of_rays, within_four_errors
from thetadot.numerics import gaussian
from thetadot.numerics.gaussian.arc_cosine import relu_field, relu_kernel


def leaky(slope):
    return lambda z: np.where(z >= 0, z, slope * z)


def relu(z):
    return np.maximum(z, 0)


def pairs(count, dimension=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimension)), rng.normal(size=(count, dimension))


@pytest.mark.parametrize("slope", [0.0, 0.2, -0.3])
def test_the_relu_kernel_equals_quadrature_split_at_its_kinks(slope):
    u, v = pairs(50)
    found = np.diag(relu_kernel(jnp.asarray(u), jnp.asarray(v), slope=slope))
    exact = [product_of_rays(leaky(slope), leaky(slope), a, b) for a, b in zip(u, v, strict=True)]
    np.testing.assert_allclose(found, exact, atol=1e-12, rtol=0)


@pytest.mark.parametrize("slope", [0.0, 0.2, -0.3])
def test_the_field_is_the_kernel_and_its_gradient_whatever_the_blocks(slope):
    u, v = (jnp.asarray(part) for part in pairs(50))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=50))
    value, gradient = relu_field(u, v, weights, slope=slope, block=16)
    np.testing.assert_allclose(value, relu_kernel(u, v, slope=slope) @ weights, atol=1e-13)
    step = 1e-6
    for axis in range(3):
        shift = step * jnp.eye(3)[axis]
        ends = [relu_kernel(u + sign * shift[None, :], v, slope=slope) @ weights for sign in (1, -1)]
        np.testing.assert_allclose(gradient[:, axis], (ends[0] - ends[1]) / (2 * step), atol=2e-9)


def test_neurons_that_act_on_themselves_have_the_same_field_whether_pairs_serve_twice_or_not():
    rows = jnp.asarray(pairs(37)[0]).at[5].set(0.0).at[20].set(-2.0 * jnp.asarray(pairs(37)[0])[3])
    weights = jnp.asarray(np.random.default_rng(1).normal(size=37))
    ways = {
        "pairs": lambda u: relu_field(u, u, weights, slope=0.2, block=8),
        "all": lambda u: relu_field(u, u + 0.0, weights, slope=0.2, block=64),
    }
    moved = jnp.asarray(pairs(37)[1])
    found = {name: jax.jvp(way, (rows,), (moved,)) for name, way in ways.items()}
    for one, other in zip(jax.tree.leaves(found["pairs"]), jax.tree.leaves(found["all"]), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-13)
        assert bool(jnp.all(jnp.isfinite(one)))


def test_parallel_antiparallel_and_orthogonal_pairs_have_their_closed_values():
    u = np.random.default_rng(2).normal(size=(20, 3))
    across = np.cross(u, np.roll(u, 1, axis=0))
    own = np.diag(relu_kernel(jnp.asarray(u), jnp.asarray(u)))
    square = np.sum(u**2, axis=1)
    np.testing.assert_allclose(own, square / 2, rtol=1e-15)
    np.testing.assert_allclose(np.diag(relu_kernel(jnp.asarray(u), jnp.asarray(-u))), 0, atol=1e-15)
    product = np.sqrt(square * np.sum(across**2, axis=1))
    found = np.diag(relu_kernel(jnp.asarray(u), jnp.asarray(across)))
    np.testing.assert_allclose(found / product, 1 / (2 * np.pi), atol=1e-15)
    np.testing.assert_allclose(
        relu_kernel(jnp.asarray(u), jnp.asarray(across), slope=1.0), u @ across.T, atol=1e-14
    )


def test_the_field_at_a_unit_vector_between_its_double_and_its_opposite_is_exact():
    e = jnp.array([[1.0, 0.0, 0.0]])
    value, gradient = relu_field(e, jnp.concatenate([2 * e, -2 * e]), jnp.ones(2))
    assert value.tolist() == [1.0]
    assert gradient.tolist() == [[1.0, 0.0, 0.0]]


SINGULAR = jnp.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [3.0, 6.0], [0.0, 0.0]])


@pytest.mark.slow
def test_two_derivatives_of_smoother_kernels_are_finite_at_coincident_and_opposite_rows():
    for kernel in (gaussian.squared_relu_kernel, gaussian.erf_kernel):
        second = jax.jit(jax.hessian(lambda rows, kernel=kernel: jnp.sum(kernel(rows, rows))))(SINGULAR)
        assert bool(jnp.all(jnp.isfinite(second))), kernel


def test_two_derivatives_of_the_relu_kernel_are_finite_at_coincident_and_opposite_rows():
    second = jax.jit(jax.hessian(lambda rows: jnp.sum(relu_kernel(rows, rows))))(SINGULAR)
    assert bool(jnp.all(jnp.isfinite(second)))

    def total(rows):
        value, gradient = relu_field(rows, rows, jnp.ones(5))
        return jnp.sum(value) + jnp.sum(gradient**2)

    assert bool(jnp.all(jnp.isfinite(jax.jit(jax.jacfwd(total))(SINGULAR))))


def test_nearly_parallel_pairs_lose_no_digits():
    base = np.array([1.0, 2.0, -0.5])
    side = np.cross(base, [0.3, 1.0, 0.7])
    for angle in (1e-3, 1e-6, 1e-8, 1e-10):
        for sign in (1, -1):
            v = sign * (
                np.cos(angle) * base + np.sin(angle) * side / np.linalg.norm(side) * np.linalg.norm(base)
            )
            _, gradient = relu_field(jnp.asarray(base[None]), jnp.asarray(v[None]), jnp.ones(1))
            length = mpmath.mpf(float(base @ base)) ** 0.5
            with mpmath.workdps(40):
                phi = mpmath.mpf(angle) if sign == 1 else mpmath.pi - mpmath.mpf(angle)
                exact = [
                    (length * mpmath.sin(phi) * mpmath.mpf(b) / length + (mpmath.pi - phi) * mpmath.mpf(c))
                    / (2 * mpmath.pi)
                    for b, c in zip(base.tolist(), v.tolist(), strict=True)
                ]
            np.testing.assert_allclose(gradient[0], [float(x) for x in exact], atol=3e-15)


def test_second_derivatives_of_the_field_equal_differences_of_the_gradient():
    u, v = (jnp.asarray(part) for part in pairs(6))
    weights = jnp.arange(1.0, 7.0)
    du, dv = (jnp.asarray(part) for part in pairs(6, seed=5))
    slope = jax.jit(lambda a, b: relu_field(a, b, weights)[1])
    found = jax.jvp(slope, (u, v), (du, dv))[1]
    step = 1e-5
    ends = [slope(u + s * du, v + s * dv) for s in (step, -step)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("k", [2, 5, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 3, 10))])
def test_the_norm_moment_is_the_hypergeometric_function_with_its_gradient(k):
    d, rng = 12, np.random.default_rng(k)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    inside, outside = basis[:, :k], basis[:, k:]
    scale = float(mpmath.sqrt(mpmath.pi) * mpmath.gamma((k + 1) / 2) / mpmath.gamma(k / 2) / mpmath.pi)
    shares = np.concatenate([[0.0, 1e-8, 1.0], rng.uniform(0, 1, 20)])
    a, b = rng.normal(size=(23, k)), rng.normal(size=(23, d - k))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    lengths = rng.uniform(0.5, 2, 23)
    u = lengths[:, None] * (np.sqrt(1 - shares**2)[:, None] * a @ inside.T + shares[:, None] * b @ outside.T)

    def exact(s):
        return mpmath.hyp2f1(-0.5, -0.5, mpmath.mpf(k) / 2, 1 - s**2)

    with mpmath.workdps(30):
        h = np.array([float(exact(mpmath.mpf(s))) for s in shares])
        bend = np.array(
            [
                float(-mpmath.hyp2f1(0.5, 0.5, mpmath.mpf(k) / 2 + 1, 1 - mpmath.mpf(s) ** 2) / k)
                for s in shares
            ]
        )
    found, gradient = jax.vmap(
        jax.value_and_grad(lambda r: gaussian.norm_moment(r[None], jnp.asarray(inside))[0])
    )(jnp.asarray(u))
    np.testing.assert_allclose(found, scale * lengths * h, rtol=1e-12)
    unit, side = u / lengths[:, None], (u @ outside @ outside.T) / lengths[:, None]
    truth = scale * ((h - shares**2 * bend)[:, None] * unit + bend[:, None] * side)
    np.testing.assert_allclose(gradient, truth, atol=1e-9)
    assert abs(scale * h[0] - k / (2 * scale * np.pi)) < 1e-12


def test_the_norm_moment_of_one_direction_is_closed():
    u = np.random.default_rng(0).normal(size=(30, 4))
    t = u[:, 0] / np.linalg.norm(u, axis=1)
    exact = np.linalg.norm(u, axis=1) / np.pi * (np.sqrt(1 - t**2) + t * np.arcsin(t))
    np.testing.assert_allclose(gaussian.norm_moment(jnp.asarray(u), jnp.eye(4)[:, :1]), exact, rtol=1e-13)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 1)])
@pytest.mark.parametrize("general", [False, True])
def test_the_product_moment_equals_the_mean_over_draws(i, j, general):
    rng = np.random.default_rng(3)
    root = rng.normal(size=(3, 3)) if general else np.eye(3)
    x = rng.normal(size=(1_000_000, 3)) @ root.T
    u = rng.normal(size=(3, 3))
    found = gaussian.product_moment(jnp.asarray(u), i, j, jnp.asarray(root @ root.T) if general else None)
    for row, value in zip(u, found, strict=True):
        assert within_four_errors(x[:, i] * x[:, j] * relu(x @ row), float(value))


@pytest.mark.slow
def test_the_ridge_moment_of_kinked_functions_equals_their_kernel_at_every_angle():
    e = np.array([1.0, 0.0])
    angles = np.concatenate([[0.0, np.pi, np.pi / 2], 10.0 ** -np.arange(1, 7), np.linspace(0.1, 3, 9)])
    u = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = jax.jit(lambda rows: gaussian.ridge_moment(jax.nn.relu, jnp.asarray(e), rows))(jnp.asarray(u))
    exact = relu_kernel(jnp.asarray(u), jnp.asarray(e[None]))[:, 0]
    np.testing.assert_allclose(found, exact, atol=2e-14)

    @jax.jit
    @jax.grad
    def slope(rows):
        return jnp.sum(gaussian.ridge_moment(jnp.abs, jnp.asarray(e), rows))

    gradient = slope(jnp.asarray(u))
    both = [relu_field(jnp.asarray(u), jnp.asarray(s * e[None]), jnp.ones(1))[1] for s in (1, -1)]
    np.testing.assert_allclose(gradient, both[0] + both[1], atol=1e-12)
    tested = u[10:]
    second = jax.jvp(slope, (jnp.asarray(tested),), (jnp.ones_like(jnp.asarray(tested)),))[1]
    ends = [np.asarray(slope(jnp.asarray(tested + s))) for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(second, (ends[0] - ends[1]) / 2e-5, atol=1e-8)


def test_the_squared_relu_kernel_equals_quadrature():
    u, v = pairs(20)
    found = np.diag(gaussian.squared_relu_kernel(jnp.asarray(u), jnp.asarray(v)))
    exact = [
        product_of_rays(lambda z: relu(z) ** 2, lambda z: relu(z) ** 2, a, b, 4)
        for a, b in zip(u, v, strict=True)
    ]
    np.testing.assert_allclose(found, exact, rtol=1e-11)


def test_the_erf_kernel_and_field_equal_quadrature_and_derivatives():
    from scipy.special import erf

    points, weights = dense_plane()
    u, v = pairs(8, dimension=2)
    found = gaussian.erf_kernel(jnp.asarray(u), jnp.asarray(v), scale=0.9)
    exact = (erf(0.9 * u @ points) * weights) @ erf(0.9 * v @ points).T
    np.testing.assert_allclose(found, exact, atol=1e-12)
    c = jnp.arange(1.0, 9.0)
    value, gradient = gaussian.erf_field(jnp.asarray(u), jnp.asarray(v), c, scale=0.9, block=3)
    by_jax = jax.grad(lambda rows: jnp.sum(gaussian.erf_kernel(rows, jnp.asarray(v), scale=0.9) @ c))(
        jnp.asarray(u)
    )
    np.testing.assert_allclose(value, found @ c, atol=1e-14)
    np.testing.assert_allclose(gradient, by_jax, atol=1e-13)


SMOOTH = {
    "tanh": jnp.tanh,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
}


@pytest.mark.parametrize(
    "name",
    ["tanh", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gelu", "softplus", "sigmoid"))],
)
def test_the_series_errs_by_no_more_than_its_bound(name):
    sigma = SMOOTH[name]
    points, weights = dense_plane(step=0.02)
    cases = [(0.5, 1.0), (3.0, 2.5), (6.0, 1.0)]
    for t in (0.9, -0.9, 0.95):
        u = np.array([[a, 0.0] for a, _ in cases])
        v = np.array([[b * t, b * np.sqrt(1 - t**2)] for _, b in cases])
        beta, gamma = np.array([0.0, 0.3, -0.5]), np.array([0.7, 0.0, 0.2])
        values, bounds = gaussian.hermite_kernel(
            sigma, jnp.asarray(u), jnp.asarray(v), bias_u=jnp.asarray(beta), bias_v=jnp.asarray(gamma)
        )
        first = np.asarray(sigma(jnp.asarray(u @ points + beta[:, None])))
        second = np.asarray(sigma(jnp.asarray(v @ points + gamma[:, None])))
        exact = (first * weights) @ second.T
        assert np.all(np.abs(values - exact) <= bounds + 1e-13 * (1 + np.abs(exact)))
    assert bounds[1, 1] < 1e-4


@pytest.mark.slow
def test_the_series_of_erf_equals_its_closed_form():
    u, v = (0.7 * jnp.asarray(part) for part in pairs(6))
    values, bounds = gaussian.hermite_kernel(jax.scipy.special.erf, u, v, order=200)
    closed = gaussian.erf_kernel(u, v, scale=1.0)
    assert bool(jnp.all(jnp.abs(values - closed) <= bounds + 1e-13))
    own = jnp.diag(gaussian.hermite_kernel(jax.scipy.special.erf, u, u)[0])
    np.testing.assert_allclose(own, jnp.diag(gaussian.erf_kernel(u, u, scale=1.0)), atol=1e-13)


def test_a_kink_is_refused_by_the_series():
    with pytest.raises(gaussian.NotSmoothError, match="kink"):
        gaussian.hermite_kernel(jax.nn.relu, jnp.eye(2), jnp.eye(2))


def test_the_zonal_series_is_the_kernel_on_the_sphere():
    from scipy.special import eval_gegenbauer, gammaln

    d, degrees = 6, np.arange(0, 60)
    sigma = gaussian.zonal_coefficients(d, degrees)
    l = degrees[1:]  # noqa: E741
    count = np.concatenate(
        [[1.0], (2 * l + d - 2) / l * np.exp(gammaln(l + d - 2) - gammaln(l) - gammaln(d - 1))]
    )
    t = np.linspace(-0.9, 0.9, 7)
    legendre = np.array(
        [eval_gegenbauer(n, d / 2 - 1, t) / eval_gegenbauer(n, d / 2 - 1, 1.0) for n in degrees]
    )
    v = np.zeros((7, d))
    v[:, 0], v[:, 1] = t, np.sqrt(1 - t**2)
    exact = relu_kernel(jnp.eye(d)[:1], jnp.asarray(v))[0]
    np.testing.assert_allclose(d * (sigma**2 * count) @ legendre, exact, atol=2e-6)


def test_squares_of_the_zonal_coefficients_add_up_to_half():
    from scipy.special import gammaln

    d, l = 20, np.arange(1, 200)  # noqa: E741
    count = (2 * l + d - 2) / l * np.exp(gammaln(l + d - 2) - gammaln(l) - gammaln(d - 1))
    sigma = gaussian.zonal_coefficients(d, np.arange(200))
    assert abs(d * (sigma[0] ** 2 + np.sum(sigma[1:] ** 2 * count)) - 0.4999996) < 1e-5


def test_meaningless_dimensions_are_refused():
    with pytest.raises(gaussian.DimensionError, match="at least 2"):
        gaussian.zonal_coefficients(1, np.arange(3))
    with pytest.raises(gaussian.DimensionError, match="whole numbers"):
        gaussian.zonal_coefficients(3, np.array([0.5]))
    with pytest.raises(gaussian.DimensionError, match="does not exist"):
        gaussian.chi_moment(1, -2)
