"""The exponential Rosenbrock method: order conditions, exactness, order, and ∫|F|² of modes however stiff."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics import zoo
from tests.numerics.solvers.fixed_steps import slopes
from thetadot.numerics.solvers import ExponentialRosenbrock
from thetadot.numerics.solvers.exponential_rosenbrock import Modes, squared_speed

METHOD = ExponentialRosenbrock()
RATES = np.array([-1e12, -1e6, -300.0, -40.0, -7.0, -2.0, -0.3, 0.0, 0.5, 4.0, 8.0])


def _forced(t, y, args):
    rates, coefficients = args
    return rates * y + jnp.polyval(coefficients, t)


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, None))
def _one_step(rate, coefficients):
    """State, error estimate and interpolation at ½ of a step of length 1 of y′ = z·y + polynomial."""
    term, start, args = diffrax.ODETerm(_forced), jnp.ones(()), (rate, coefficients)
    zero, one = jnp.zeros(()), jnp.ones(())
    state = METHOD.init(term, zero, one, start, args)
    y, error, dense, _, _ = METHOD.step(term, zero, one, start, args, state, jnp.asarray(False))
    middle = METHOD.interpolation_cls(t0=zero, t1=one, **dense).evaluate(0.5 * one)
    return y, error, middle


def _exact(power, t):
    """e^{zt} + ∫₀ᵗ e^{(t−s)z} s^power ds, with fifty digits."""
    found = []
    for rate in RATES:
        with mp.workdps(80):
            z = mp.mpf(float(rate))
            if z == 0:
                found.append(1 + mp.mpf(t) ** (power + 1) / (power + 1))
                continue
            tail = mp.fsum((z * t) ** j / mp.factorial(j) for j in range(power + 1))
            found.append(mp.exp(z * t) + mp.factorial(power) * (mp.exp(z * t) - tail) / z ** (power + 1))
    return np.array([float(value) for value in found])


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_polynomial_forcing_up_to_the_third_degree_is_integrated_exactly_at_every_stiffness(power):
    # The conditions Σ bᵢ(z) cᵢᵏ = k!·φ_{k+1}(z), k = 2, 3, of the method and of its estimate, and those of t's own.
    y, error, middle = _one_step(jnp.asarray(RATES), jnp.zeros(5).at[4 - power].set(1.0))
    exact = _exact(power, 1.0)
    # The rounding of z·y in the field, seen through φ₁(z) ≈ −1/z, is that of y at the start.
    np.testing.assert_allclose(y, exact, rtol=2e-14, atol=2e-15)
    np.testing.assert_allclose(middle, _exact(power, 0.5), rtol=2e-14, atol=2e-15)
    assert np.all(np.abs(error) <= 1e-13 * np.maximum(np.abs(exact), 1))


def test_the_fifth_order_condition_holds_where_it_must_and_the_estimate_sees_the_fourth_degree():
    y, error, _ = _one_step(jnp.asarray(RATES), jnp.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    still = int(np.flatnonzero(RATES == 0.0)[0])
    assert float(y[still]) == pytest.approx(1 + 1 / 5, rel=1e-14)
    # The embedded rule integrates s²(s−¼)(s−½) too little: ∫ = 1/5 − 3/16 + 1/24.
    assert float(error[still]) == pytest.approx(1 / 5 - 3 / 16 + 1 / 24, rel=1e-12)


def test_the_order_is_five_along_a_flow_for_the_energy_too():
    state, work = slopes("ExponentialRosenbrock", (60, 160))
    assert state == pytest.approx(5, abs=0.15)
    assert work == pytest.approx(5, abs=0.15)


@pytest.mark.parametrize("z", [-1e8, -50.0, -2.0001, -1.9999, -0.4, 0.0, 1e-9, 0.7, 2.5, 20.0])
def test_the_energy_of_a_mode_is_its_integral(z):
    first, square, cube, h = 0.7, -1.3, 0.9, 0.5
    modes = Modes(
        jnp.eye(1), jnp.array([z]), h * jnp.array([first]), jnp.zeros(1), h * jnp.array([[square], [cube]])
    )
    with mp.workdps(40):
        rate = mp.mpf(z)

        def speed(s):
            # x″ = z·x′ + 2·d₂·s + 3·d₃·s², x′(0) = f, by variation of constants
            inner = mp.quad(lambda r: mp.exp((s - r) * rate) * (2 * square * r + 3 * cube * r**2), [0, s])
            return first * mp.exp(s * rate) + inner

        def outer(s):
            # far from the start of a stiff mode, by its expansion in 1/z
            forcing = [2 * square * s + 3 * cube * s**2, 2 * square + 6 * cube * s, 6 * cube]
            particular = -mp.fsum(part / rate ** (k + 1) for k, part in enumerate(forcing))
            start = -mp.fsum(p / rate ** (k + 1) for k, p in enumerate([0, 2 * square, 6 * cube]))
            return (first - start) * mp.exp(s * rate) + particular

        if abs(z) > 2:
            width = 1 / abs(rate)
            cuts = [0, *(width * 4**k for k in range(-1, 4) if width * 4**k < 1), 1]
            wanted = h * mp.quad(lambda s: outer(s) ** 2, cuts)
        else:
            wanted = h * mp.quad(lambda s: speed(s) ** 2, [0, 1])
    assert float(squared_speed(modes, jnp.asarray(h))) == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.slow
def test_negative_curvature_is_nothing_special():
    def saddle(theta):
        return 0.5 * (theta[1] ** 2 - theta[0] ** 2) + 0.25 * theta[0] ** 4 + 0.1 * theta[0] * theta[1] ** 2

    problem, start = td.FunctionRisk(saddle, jnp.ones(2)), jnp.array([1e-6, 1.0])
    settings = {
        "until": td.Until(time=40.0),
        "saves": np.linspace(0, 40, 9),
        "accuracy": 1e-7,
        "progress": False,
    }
    path = td.flow(problem, start, solver=METHOD, **settings)
    other = td.flow(problem, start, solver="Dopri8", **settings)
    np.testing.assert_allclose(path.thetas, other.thetas, rtol=0, atol=1e-7)
    assert path.thetas[-1, 0] == pytest.approx(-1.0, abs=1e-6)
    assert path.stats.hessians == path.stats.accepted + path.stats.rejected


def test_a_field_without_a_symmetric_jacobian_is_refused():
    turn = td.Flow(lambda state, args: jnp.stack([-state[1], state[0]]))
    with pytest.raises(
        td.ThetadotError, match="ExponentialRosenbrock needs a field with a symmetric Jacobian"
    ):
        td.integrate(
            turn, jnp.ones(2), until=td.Until(time=1.0), solver="ExponentialRosenbrock", progress=False
        )


def test_what_is_left_on_a_quadratic_is_the_rounding_of_its_hessian():
    case = zoo.case("quadratic")
    path = case.follow(solver=METHOD, accuracy=1e-4)
    # Rounding A moves its eigenvalues by 1e-16 of the largest, which is 1, and so the exponents by 1e-16·t = 1e-8.
    assert case.error(path) < 1e-10
    assert path.accuracy.energy_defect < 1e-10
    assert path.stats.rejected == 0
    assert path.stats.accepted <= 4 * len(case.ts)
