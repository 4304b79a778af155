"""erf, softplus and sigmoid against mpmath, in units of the last place; their derivatives; their tables."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import thetadot as td
from tests.oracles import minimax
from thetadot.numerics import elementwise

SMALLEST_NORMAL = np.finfo(np.float64).tiny


def bell(z):
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z)


def logistic(z):
    return 1 / (1 + mpmath.exp(-z))


def soft(z):
    return mpmath.log1p(mpmath.exp(z))


def slope_of(function):
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


CASES = {  # name: (ours, truth, allowed error in ulp, where the truth leaves the normal numbers)
    "erf": (elementwise.erf, mpmath.erf, 2.0, 700.0),
    "softplus": (elementwise.softplus, soft, 2.0, 700.0),
    "sigmoid": (elementwise.sigmoid, logistic, 2.0, 700.0),
    "slope of erf": (slope_of(elementwise.erf), bell, 3.0, 26.5),
    "slope of softplus": (slope_of(elementwise.softplus), logistic, 3.0, 700.0),
}


def sample(count, widest, seed):
    """A fifth each: normal, everywhere, all magnitudes, near the joins of the pieces, negative."""
    rng, n = np.random.default_rng(seed), count // 5
    return np.concatenate(
        [
            2 * rng.normal(size=n),
            rng.uniform(-widest, widest, n),
            rng.choice([-1, 1], n) * 10 ** rng.uniform(-307, np.log10(widest), n),
            rng.choice([-1, 1], n) * rng.choice([0.0, 0.75, 6.0], n) + rng.normal(scale=0.05, size=n),
            rng.uniform(-min(40.0, widest), 0, n),
        ]
    )


def errors_in_ulp(found, points, truth):
    """|found − truth| in units of the last place of the truth."""
    with mpmath.workdps(40):
        exact = [truth(mpmath.mpf(z)) for z in points.tolist()]
        places = np.spacing(np.abs([float(e) for e in exact])).tolist()
        return np.array(
            [float(abs(mpmath.mpf(f) - e) / p) for f, e, p in zip(found.tolist(), exact, places, strict=True)]
        )


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_the_error_is_a_few_units_of_the_last_place_everywhere(name, count):
    function, truth, allowed, widest = CASES[name]
    points = sample(count, widest, seed=count)
    errors = errors_in_ulp(np.asarray(jax.jit(function)(jnp.asarray(points))), points, truth)
    assert errors.max() <= allowed, (name, points[errors.argmax()])


@pytest.mark.parametrize("name", CASES)
def test_results_below_the_normal_numbers_are_right_to_the_smallest_of_them(name):
    # XLA's CPU programs flush subnormal numbers to zero, arguments and results alike.
    function, truth, _, _ = CASES[name]
    points = np.concatenate([-np.linspace(26.5, 27.5, 50), -np.linspace(707.0, 760.0, 50), [5e-324, -1e-310]])
    exact = np.array([float(truth(mpmath.mpf(z))) for z in points.tolist()])
    error = np.abs(np.asarray(jax.jit(function)(jnp.asarray(points))) - exact)
    assert np.all(error <= 2 * SMALLEST_NORMAL + 1e-15 * np.abs(exact))


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("erf", -1.0, 1.0),
        ("softplus", 0.0, np.inf),
        ("sigmoid", 0.0, 1.0),
        ("slope of erf", 0.0, 0.0),
        ("slope of softplus", 0.0, 1.0),
    ],
)
def test_infinities_give_the_limits_and_nan_gives_nan(name, at_minus_infinity, at_infinity):
    points = jnp.array([-np.inf, -1e300, np.nan, np.inf])
    found = np.asarray(jax.jit(CASES[name][0])(points))
    np.testing.assert_array_equal(found, [at_minus_infinity, at_minus_infinity, np.nan, at_infinity])


def test_erf_keeps_the_sign_of_zero():
    assert np.signbit(elementwise.erf(jnp.array([-0.0, 0.0]))).tolist() == [True, False]


@pytest.mark.parametrize(("name", "derivative"), [("erf", bell), ("softplus", logistic)])
def test_derivatives_up_to_the_third_equal_their_definition(name, derivative):
    total = getattr(elementwise, name)
    points = [-30.0, -6.5, -2.0, -0.75, -0.3, 0.0, 1e-5, 0.75, 1.5, 6.0, 20.0]
    for order in range(3):
        total = jax.grad(lambda z, f=total: f(z))
        found = jax.vmap(total)(jnp.array(points))
        with mpmath.workdps(40):
            exact = [float(mpmath.diff(derivative, mpmath.mpf(z), order)) for z in points]
        np.testing.assert_allclose(found, exact, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (elementwise.erf, jax.scipy.special.erf),
        (elementwise.softplus, jax.nn.softplus),
        (elementwise.sigmoid, lambda z: 0.5 * (1.0 + jnp.tanh(0.5 * z))),
        (elementwise.tanh, jnp.tanh),
    ],
    ids=["erf", "softplus", "sigmoid", "tanh"],
)
def test_hessians_of_a_network_equal_those_with_xlas_function(ours, theirs):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))

    def risk(theta, activation):
        hidden = activation(theta[:8].reshape(4, 2) @ x.T + theta[8:12, None])
        return jnp.mean((theta[12:].reshape(1, 4) @ hidden - y.T) ** 2)

    def derivatives(theta, vector, activation):
        product = jax.jvp(lambda point: jax.grad(risk)(point, activation), (theta,), (vector,))[1]
        return jax.grad(risk)(theta, activation), jax.hessian(risk)(theta, activation), product

    theta, vector = jnp.asarray(rng.normal(size=16)), jnp.asarray(rng.normal(size=16))
    run = jax.jit(derivatives, static_argnums=2)
    for found, expected in zip(run(theta, vector, ours), run(theta, vector, theirs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * float(jnp.max(jnp.abs(expected))))


@pytest.mark.parametrize("name", ["erf", "softplus", "sigmoid", "tanh", "arccos"])
def test_single_precision_is_refused(name):
    with pytest.raises(td.PrecisionError, match=f"{name} takes float64, given float32"):
        getattr(elementwise, name)(jnp.ones(2, dtype=jnp.float32))


def test_arccos_and_its_sine_are_right_to_two_units_of_the_last_place():
    rng = np.random.default_rng(5)
    near = 10 ** rng.uniform(-16, 0, 600)
    points = np.concatenate(
        [rng.uniform(-1, 1, 1200), 1 - near, near - 1, [0.0, 1.0, -1.0, 1e-300, 0.5**0.5]]
    )
    angle, sine = (np.asarray(part) for part in jax.jit(elementwise.arccos_and_sine)(jnp.asarray(points)))
    assert errors_in_ulp(angle, points, mpmath.acos).max() <= 2.0
    assert errors_in_ulp(sine, points, lambda z: mpmath.sqrt(1 - z * z)).max() <= 2.0
    np.testing.assert_allclose(elementwise.arccos(jnp.asarray(points)), angle, rtol=5e-16)
    slope = jax.vmap(jax.grad(elementwise.arccos))(jnp.asarray(points[:1200]))
    np.testing.assert_allclose(slope, -1 / np.sqrt((1 - points[:1200]) * (1 + points[:1200])), rtol=1e-15)


def test_arccos_takes_rounding_beyond_one_for_one():
    found = elementwise.arccos(jnp.array([1 + 1e-15, -1 - 1e-15, np.nan]))
    np.testing.assert_array_equal(found, [0.0, np.pi, np.nan])


@pytest.mark.slow
def test_the_tables_are_the_minimax_coefficients_to_the_last_digit():
    for name, (coefficients, error) in minimax.tables().items():
        assert getattr(elementwise, name) == coefficients, name
        assert error < 2e-17, name
    assert minimax.halves_of_log_2() == (elementwise._LOG_2_HIGH, elementwise._LOG_2_LOW)
