"""The lens on runs of studies, its options, and its figures."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import pydantic
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, NET, THETA
from tests.stability.textbook import HENON, LORENZ_FLOW, cubic
from thetadot import stability
from thetadot.dynamics.wording import number
from thetadot.stability import Options, StabilityError, analyse


@pytest.fixture(scope="module")
def descent():
    return td.descend(NET, THETA, td.GradientDescent(0.1), 120, progress=False)


RATES = {"from": 0.01, "to": 0.1, "count": 2}


def texts(axes):
    legend = axes.get_legend()
    labels = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    return [axes.get_xlabel(), axes.get_ylabel(), *labels]


def test_a_descent_is_analysed_with_its_own_rule(descent):
    found = analyse(NET, descent, Options(exponents=31, every=1))
    own = stability.lyapunov(DESCENT, THETA, 120, count=31, every=1)
    np.testing.assert_allclose(found.spectrum.exponents, own.exponents, rtol=0, atol=1e-12)
    assert found.sharpness.thresholds == {"2/η": 20.0}
    np.testing.assert_allclose(found.sharpness.at[-1], descent.ts[-1])
    assert [part.window for part in found.finite_time] == [20]
    assert found.orbital.distances.shape == (2, 51)
    assert "% of 2/η" in found.summary()
    assert "leading exponent" in found.summary()
    assert "over 120 steps" in found.summary()
    data = found.to_xarray()
    assert data.sizes["spectrum_exponent"] == 31
    assert data.attrs["spectrum_status"] == found.spectrum.status.name
    assert all(isinstance(value, (str, int, float)) for value in data.attrs.values())


def test_a_flow_is_analysed_in_time():
    path = td.flow(NET, THETA, until=td.Until(time=4.0), progress=False)
    found = analyse(NET, path, Options(exponents=2))
    assert found.unit == "time"
    assert found.orbital is None
    assert found.finite_time == ()
    assert found.spectrum.steps == pytest.approx(4.0)
    assert abs(found.spectrum.exponents[0]) < 1


@pytest.mark.slow
def test_momentum_and_rules_that_a_path_does_not_tell():
    ball = td.descend(NET, THETA, td.HeavyBall(0.05, 0.5), 30, progress=False)
    only = Options(finite_time=None, orbital=None, exponents=1)
    found = analyse(NET, ball, only)
    assert found.sharpness.thresholds == {"2(1+β)/η": pytest.approx(60.0)}
    assert found.spectrum.basis.shape == (62, 1)
    rule = td.Optax(optax.adam(1e-3), learning_rate=1e-3, name="adam")
    adam = td.descend(NET, THETA, rule, 10, progress=False)
    with pytest.raises(StabilityError, match="rule="):
        analyse(NET, adam, only)
    assert analyse(NET, adam, only, rule=rule).system.startswith("adam")
    lorenz = td.integrate(LORENZ_FLOW, np.ones(3), until=td.Until(time=0.1), progress=False)
    with pytest.raises(StabilityError, match="training"):
        analyse(NET, lorenz, only)


def test_kinks_are_noted_beside_a_rate_at_a_finite_distance():
    relu = td.EmpiricalRisk(td.mlp([1, 3, 1], "relu"), td.squared, NET.x, NET.y)
    path = td.descend(relu, relu.init(jax.random.key(0)), td.GradientDescent(0.1), 30, progress=False)
    found = analyse(relu, path, Options(exponents=1, finite_time=None))
    first, second = found.notes
    assert "kinks" in first
    assert "of 60 pairs" in first
    rate = np.log(found.orbital.mean_distance[-1] / found.orbital.mean_distance[0]) / 50
    assert f"rate {number(rate)} per step" in second


def test_every_part_can_be_asked_for(descent):
    options = Options.model_validate(
        {
            "exponents": 0, "finite_time": None, "orbital": None, "sharpness": None,
            "covariant": {"count": 2, "transient": 5, "window": 10, "tail": 5},
            "regimes": {"learning_rates": RATES, "inits": 1, "transient": 5, "duration": 40},
        }
    )  # fmt: skip
    found = analyse(NET, descent, options)
    assert found.covariant.growth.shape == (10, 2)
    assert found.regimes.regime.shape == (2, 1)
    assert found.spectrum is None
    assert "regimes_rate" in found.to_xarray().sizes


def test_options_refuse_what_they_do_not_know():
    for given in (
        {"exponent": 3}, {"exponents": -1}, {"tolerance": 2.0}, {"covariant": {"count": 2}},
        {"regimes": {"learning_rates": {"from": 2.0, "to": 1.0}}}, {"orbital": {"norm": 3}},
    ):  # fmt: skip
        with pytest.raises(pydantic.ValidationError):
            Options.model_validate(given)
    assert all(field.description or name for name, field in Options.model_fields.items())


def test_figures_are_labelled_and_show_what_was_found(descent):
    spectrum = stability.lyapunov(HENON, np.array([0.1, 0.1]), 400)
    axes = stability.plot_spectrum(spectrum, reference={"known": [0.42, -1.62]})
    assert "known" in texts(axes)
    assert "1/step" in axes.get_ylabel()
    assert spectrum.status.name in axes.get_title()
    drawn = axes.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, spectrum.ordered)
    axes = stability.plot_convergence(spectrum)
    np.testing.assert_allclose(axes.lines[0].get_ydata()[-1], spectrum.ordered[0])
    vectors = stability.covariant_vectors(HENON, np.array([0.1, 0.1]), transient=50, window=60, tail=50)
    above, below = stability.plot_angles(vectors)
    assert sum(patch.get_height() for patch in above.patches) == 60
    np.testing.assert_allclose(below.lines[0].get_ydata(), np.degrees(vectors.angles[:, 0, 1]))
    with pytest.raises(StabilityError, match="vectors"):
        stability.plot_vectors(vectors, NET.layout)
    twins = stability.orbital_stability(DESCENT, THETA, duration=120, amplitude=1e-6)
    rate = stability.growth_rate(twins.mean_distance)
    axes = stability.plot_distances(twins, rate=rate)
    assert any("slope" in text and "endpoint" in text for text in texts(axes))
    run = stability.drift(descent.thetas)
    assert any("R²" in text for text in texts(stability.plot_drift(run)))
    track = stability.sharpness_along(NET, descent.thetas[:3], rule=td.GradientDescent(0.1))
    assert any("2/η = 20" in text for text in texts(stability.plot_sharpness(track)))
    scan = stability.regime_scan(cubic, [0.9, 1.4, 2.5], np.array([[0.3]]), transient=300, duration=300)
    above, below = stability.plot_orbit_diagram(scan)
    assert {"fixed point", "chaotic", "diverged"} <= set(texts(below))
    plt.close("all")


def test_vectors_are_drawn_by_layer():
    found = stability.covariant_vectors(
        DESCENT, THETA, count=8, transient=30, window=20, tail=20, want=("vectors",), store="memory"
    )
    axes = stability.plot_vectors(found, NET.layout)
    assert "layer1.weight" in texts(axes)
    with pytest.raises(StabilityError, match="angles"):
        stability.plot_angles(found)
    assert jax.config.jax_enable_x64
    plt.close("all")
