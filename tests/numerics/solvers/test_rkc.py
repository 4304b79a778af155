"""Runge–Kutta–Chebyshev: its stability polynomial, its order, its stages, its estimate of the spectral radius."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

import thetadot as td
from tests.numerics.solvers.fixed_steps import slopes
from thetadot.numerics.solvers import RKC2
from thetadot.numerics.solvers.rkc import chebyshev_step, stability_limit, stages_for

DAMPING = 2 / 13
STAGES = [2, 3, 4, 5, 7, 10, 15, 20, 40]


@functools.partial(jax.jit, static_argnums=2)
def amplification(z, stages, most=64):
    """R(z) of one step of y′ = z·y, elementwise."""
    start, one = jnp.ones_like(z), jnp.ones(())
    made = chebyshev_step(lambda y, _: (z * y, one), start, z * start, one, stages, most)
    return start + made.increment


def by_chebyshev(z, s):
    """R = a + b·T_s(w0 + w1·z) with NumPy's Chebyshev series, and b."""
    one = np.zeros(s + 1)
    one[s] = 1
    w0 = 1 + DAMPING / s**2
    values = [chebyshev.chebval(w0, chebyshev.chebder(one, k) if k else one) for k in range(3)]
    w1, b = values[1] / values[2], values[2] / values[1] ** 2
    return 1 - b * values[0] + b * chebyshev.chebval(w0 + w1 * z, one), b, w0, w1


@pytest.mark.parametrize("s", STAGES)
def test_the_stability_polynomial_is_the_shifted_chebyshev_polynomial_and_damped(s):
    reach = 0.653 * (s**2 - 1)
    z = -reach * np.linspace(0, 1, 2001)
    wanted, b, w0, w1 = by_chebyshev(z, s)
    found = np.asarray(amplification(jnp.asarray(z), jnp.asarray(s)))
    np.testing.assert_allclose(found, wanted, atol=2e-13 * s**2)
    assert np.max(np.abs(found)) <= 1 + 1e-13
    # Beyond the first bend R swings between 1 − b·(T_s(w0) ± 1); 1 − ε/3 for many stages.
    inside = w0 + w1 * z < 1
    assert np.max(np.abs(found[inside])) <= 1 - b * DAMPING * (1 - 1e-9)
    assert b == pytest.approx((1 - 1 / s**2) / 3, rel=0.15)


@pytest.mark.parametrize("s", STAGES)
def test_the_stability_polynomial_begins_as_the_exponential(s):
    def at(z):
        return amplification(z[None], jnp.asarray(s))[0]

    derivatives, fn = [], at
    for _ in range(3):
        derivatives.append(fn(jnp.zeros(())))
        fn = jax.jacfwd(fn)
    np.testing.assert_allclose(derivatives, [1.0, 1.0, 1.0], atol=1e-12 * s**2)


@pytest.mark.parametrize("s", [3, 8, 40, 1000])
def test_the_number_of_stages_is_enough_and_not_more(s):
    limit = stability_limit(s)
    assert int(stages_for(jnp.asarray(limit * (1 - 1e-9)))) == s
    assert int(stages_for(jnp.asarray(limit * (1 + 1e-9)))) == s + 1
    assert limit <= 0.653 * (s**2 - 1)
    assert int(stages_for(jnp.asarray(0.0))) == 2


def test_the_order_is_two_along_a_flow_for_the_energy_too():
    state, work = slopes("RKC2", (200, 800))
    assert state == pytest.approx(2, abs=0.15)
    assert work == pytest.approx(2, abs=0.15)


def _spread(theta):
    return 0.5 * jnp.sum(jnp.linspace(1.0, 400.0, 50) * theta**2) + 0.1 * jnp.sum(jnp.cos(theta))


def _sharpening(theta):
    # The curvature along θ₁ grows tenfold on the way of θ₀ from 1 to 0.
    return 0.05 * theta[0] ** 2 + 0.5 * (1000 - 900 * theta[0]) * theta[1] ** 2


@pytest.mark.slow
def test_a_stiff_flow_takes_few_long_steps_and_counts_every_product():
    problem = td.FunctionRisk(_spread, jnp.ones(50))
    until = td.Until(time=20.0)
    by_chebyshev, by_tsit5 = (
        td.flow(problem, jnp.ones(50), until=until, saves=[0.0, 20.0], solver=name, rtol=1e-4, progress=False)
        for name in ("RKC2", "Tsit5")
    )
    stats = by_chebyshev.stats
    assert stats.gradients < by_tsit5.stats.gradients / 5
    assert stats.hessians == 0
    assert stats.hessian_vector_products >= 30 + 4 * (stats.accepted // 25)
    assert stats.hessian_vector_products <= 30 + 4 * (stats.accepted // 25 + stats.rejected + 1)
    assert np.linalg.norm(by_chebyshev.thetas[-1]) < 1e-3


@pytest.mark.slow
def test_growing_curvature_does_not_make_it_unstable():
    problem, start = td.FunctionRisk(_sharpening, jnp.ones(2)), jnp.array([1.0, 1.0])
    settings = {
        "until": td.Until(time=60.0),
        "accuracy": 1e-4,
        "progress": False,
        "saves": np.linspace(0, 60, 7),
    }
    path = td.flow(problem, start, solver="RKC2", **settings)
    other = td.flow(problem, start, solver="Kvaerno5", **settings)
    np.testing.assert_allclose(path.thetas, other.thetas, rtol=0, atol=1e-4)
    assert path.stats.rejected < 0.05 * path.stats.accepted + 5


@pytest.mark.slow
def test_steps_stay_within_the_largest_number_of_stages():
    problem = td.FunctionRisk(_spread, jnp.ones(50))
    settings = {"until": td.Until(time=20.0), "rtol": 1e-3, "progress": False, "saves": "steps"}
    path = td.flow(problem, jnp.ones(50), solver=RKC2(most_stages=10), **settings)
    longest = np.max(np.diff(path.ts))
    assert 0.8 * stability_limit(10) <= longest * 1.2 * 400.1 <= stability_limit(10)
    assert path.stats.gradients <= 10 * (path.stats.accepted + path.stats.rejected) * 1.1 + 10
    free = td.flow(problem, jnp.ones(50), solver="RKC2", **settings)
    assert np.max(np.diff(free.ts)) > 2 * longest
