"""Figures show the numbers that they are given."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.symmetry.risks import cubic_risk
from thetadot import symmetry


@pytest.fixture(scope="module")
def run():
    problem = cubic_risk(100)
    cloud = symmetry.sample_particles(jax.random.key(0), 100, 10, scheme="antithetic")
    theta = symmetry.to_theta(problem, cloud)
    saves = [0.0, 1.0, 8.0]
    return problem, td.flow(
        problem, theta, until=td.Until(time=8.0), saves=saves, accuracy=1e-9, progress=False
    )


@pytest.fixture(scope="module")
def radial_path():
    return symmetry.radial_reduction(20, 5, nodes=16).solve([0.0, 1.0, 4.0])


def with_alignment(problem, path):
    """The path as if `alignment` had been observed along it."""
    basis = np.eye(10)[:, :1]
    clouds = [symmetry.to_particles(problem, jnp.asarray(theta)) for theta in path.thetas]
    tables = np.array([symmetry.alignment(cloud, basis).table for cloud in clouds])
    return dataclasses.replace(path, observed={"alignment": tables})


def labelled(axes):
    for ax in np.ravel(axes):
        assert ax.get_ylabel()
    assert np.ravel(axes)[-1].get_xlabel()


def test_the_residual_of_an_invariant_cloud_lies_in_the_band_of_rounding(run):
    problem, path = run
    group = symmetry.generate_group([-np.eye(10)], [-1.0])
    ax = symmetry.plot_symmetry_residual(path, problem, group)
    assert np.all(ax.lines[0].get_ydata() < 1e-12)
    labelled(ax)


@pytest.mark.slow
def test_networks_lie_on_the_line_of_the_moment_equations_below_the_bound(run):
    problem, path = run
    reduction = symmetry.odd_reduction(problem, path.thetas[0])
    ax = symmetry.plot_odd({"100 neurons": (problem, path)}, reduction)
    dots, line, bound = (np.array(artist.get_ydata()) for artist in ax.lines)
    np.testing.assert_allclose(dots[0], line[0], rtol=1e-9)
    assert np.all(line <= bound * (1 + 1e-9))
    labelled(ax)


def test_alignment_shows_both_signs_of_reductions_and_of_networks(run, radial_path):
    axes = symmetry.plot_alignment({"wide": radial_path, "narrow": with_alignment(*run)}, alpha=2.0)
    rows = np.searchsorted(radial_path.ts, axes[0].lines[1].get_xdata())
    assert len(rows) >= 2
    expected = radial_path.observed["mass"][rows, 1]
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), expected, rtol=1e-12)
    assert len(axes[0].lines) == 5
    labelled(axes)
    with pytest.raises(symmetry.ParticleError, match="expected 4"):
        symmetry.plot_alignment(radial_path, axes=axes[:2])
    with pytest.raises(symmetry.ParticleError, match="no readouts"):
        symmetry.plot_alignment(run[1])


def test_the_measure_of_angles_has_the_whole_mass(radial_path):
    ax = symmetry.plot_angle_measure(radial_path, [0.0, 4.0])
    masses = [np.sum(patch.get_data().values * np.diff(patch.get_data().edges)) for patch in ax.patches]
    np.testing.assert_allclose(masses[2:], radial_path.observed["mass"][-1] * [1, -1], rtol=1e-12)
    labelled(ax)


def test_width_slices_and_particles_show_what_they_are_given(run):
    problem, path = run
    ax = symmetry.plot_width_convergence([16, 64], np.array([0.4, 0.2]))
    assert "slope -0.50" in ax.get_legend().get_texts()[0].get_text()
    labelled(ax)
    ax = symmetry.plot_predictor_slice(problem, {"end": path.thetas[-1]}, np.zeros(10), np.eye(10)[0])
    expected = problem.predict(
        jnp.asarray(path.thetas[-1]), ax.lines[0].get_xdata()[:, None] * np.eye(10)[:1]
    )[:, 0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected, atol=1e-14)
    target = problem.evaluate_target(ax.lines[0].get_xdata()[:, None] * np.eye(10)[:1])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), target, atol=1e-14)
    labelled(ax)
    cloud = symmetry.to_particles(problem, path.thetas[-1])
    ax = symmetry.plot_particles(cloud, np.eye(10)[:, :2])
    shown = np.concatenate([part.get_offsets() for part in ax.collections])
    assert len(shown) == 100
    labelled(ax)
    with pytest.raises(symmetry.ParticleError, match="plane"):
        symmetry.plot_particles(cloud, np.eye(10))
