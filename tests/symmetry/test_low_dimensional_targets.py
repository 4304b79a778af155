"""Targets of few directions: radial, ridge and subspace reductions, and alignment."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.symmetry.risks import relu_risk
from thetadot import symmetry
from thetadot.numerics.gaussian import norm_moment, relu_kernel
from thetadot.symmetry.zonal_series import gauss_rule


@pytest.fixture(scope="module")
def radial():
    """The reduction of |x_H|, d = 20, k = 5, and its path."""
    reduction = symmetry.radial_reduction(20, 5, nodes=16)
    return reduction, reduction.solve([0.0, 1.0, 4.0, 16.0, 64.0, 100.0], accuracy=1e-9)


def test_the_radial_risk_falls_as_known(radial):
    expected = [2.5, 1.074350327, 0.077943995, 0.008817142, 0.000222472, 0.000061002]
    np.testing.assert_allclose(radial[1].losses, expected, atol=1e-8)


def test_masses_and_angles_move_as_known(radial):
    path = radial[1]
    expected = {
        1: (2.117245, 0.683893, 0.119325, 0.806301),
        3: (5.483910, 0.174605, 0.083866, 0.975765),
        5: (5.504924, 0.036764, 0.167593, 0.993782),
    }
    for row, numbers in expected.items():
        mass, sine = path.observed["mass"][row], path.observed["mean_sine_squared"][row]
        np.testing.assert_allclose([mass[0], sine[0], mass[1], sine[1]], numbers, atol=1e-5)
    np.testing.assert_allclose(
        path.observed["masses"].sum(axis=1), path.observed["mass"].sum(axis=1), rtol=1e-13
    )
    far = path.observed["distance_to_subspace"][-1]
    assert far[0] < 0.2 < 1.4 < far[1]


@pytest.mark.slow
def test_another_subspace_falls_as_known_and_says_how_accurate_it_is():
    path = symmetry.radial_reduction(10, 2, nodes=16).solve([1.0, 4.0, 16.0], certify=True)
    np.testing.assert_allclose(path.losses, [0.5386685646, 0.0582713369, 0.0036800519], atol=1e-8)
    assert 1e-16 < path.accuracy.global_error < 1e-6


def test_the_series_of_the_averaged_kernel_equals_quadrature_over_rotations(radial):
    d, k = 20, 5
    law = radial[0].flow.args
    angles = jnp.array([0.3, 0.8, 1.4])
    waves = law.waves(angles)[0]
    found = waves.T @ law.kernel @ waves
    (x, wx), (y, wy) = (
        gauss_rule(80, (k - 3) / 2, (k - 3) / 2),
        gauss_rule(80, (d - k - 3) / 2, (d - k - 3) / 2),
    )
    inside, outside = np.cos(np.asarray(angles)), np.sin(np.asarray(angles))
    t = (
        inside[:, None, None, None] * inside[:, None, None] * x[:, None]
        + outside[:, None, None, None] * outside[:, None, None] * y
    )
    kernel = (np.sqrt(1 - t**2) + (np.pi - np.arccos(t)) * t) / (2 * np.pi)
    np.testing.assert_allclose(found, np.einsum("abxy,x,y->ab", kernel, wx, wy), atol=1e-8)


def test_profiles_given_as_functions_agree_with_closed_moments():
    d, k, angles = 20, 5, jnp.linspace(0.05, 1.5, 9)
    rows = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    u = jnp.zeros((9, d)).at[:, 0].set(rows[:, 0]).at[:, k].set(rows[:, 1])
    for profile, closed, error in (
        (lambda r: r, norm_moment(u, jnp.eye(d)[:, :k]), 2e-8),
        (lambda r: r**2, (k + jnp.cos(angles) ** 2) / np.sqrt(2 * np.pi), 1e-13),
    ):
        law = symmetry.radial_reduction(d, k, profile=profile).flow.args
        found, _ = eqx.filter_jit(law.pull)(angles, *eqx.filter_jit(law.waves)(angles))
        np.testing.assert_allclose(found, closed, atol=error)
    reduction = symmetry.radial_reduction(d, k, profile=lambda r: r**2)
    assert float(reduction.flow.args.power) == pytest.approx(k * (k + 2), rel=1e-12)


@pytest.mark.slow
def test_the_ridge_law_has_the_moments_and_the_kernel_of_its_neurons():
    d, e = 10, np.eye(10)[0]
    reduction = symmetry.ridge_reduction(d, jax.nn.relu, nodes=8)
    law, angles = reduction.flow.args, jnp.linspace(0.1, 3.0, 7)
    waves, slopes = eqx.filter_jit(law.waves)(angles)
    rows = jnp.zeros((7, d)).at[:, 0].set(jnp.cos(angles)).at[:, 1].set(jnp.sin(angles))
    moment, bend = eqx.filter_jit(law.pull)(angles, waves, slopes)
    np.testing.assert_allclose(moment, relu_kernel(rows, jnp.asarray(e[None]))[:, 0], atol=1e-13)
    np.testing.assert_allclose(bend, -(np.pi - angles) * np.sin(angles) / (2 * np.pi), atol=1e-12)
    x, w = gauss_rule(80, (d - 4) / 2, (d - 4) / 2)
    cosine, sine = np.cos(np.asarray(angles)), np.sin(np.asarray(angles))
    t = np.clip(cosine[:, None, None] * cosine[:, None] + (sine[:, None, None] * sine[:, None]) * x, -1, 1)
    kernel = (np.sqrt(1 - t**2) + (np.pi - np.arccos(t)) * t) / (2 * np.pi)
    np.testing.assert_allclose(waves.T @ law.kernel @ waves, kernel @ w, atol=3e-7)
    assert float(reduction.observables["risk"](reduction.state0, law)) == pytest.approx(0.25, abs=1e-13)


@pytest.mark.slow
def test_the_ridge_risk_falls_as_known_whatever_the_nodes():
    times = [0.0, 1.0, 4.0, 10.0, 20.0]
    expected = [0.25, 0.14503611, 0.01202515, 0.00356073, 0.00118875]
    for nodes in (32, 8):
        path = symmetry.ridge_reduction(10, jax.nn.relu, nodes=nodes).solve(times)
        np.testing.assert_allclose(path.losses, expected, atol=1e-7)
    assert np.all(np.diff(path.observed["mean_cosine"][:, 0]) > 0)


@pytest.mark.parametrize(
    "make", [lambda: symmetry.radial_reduction(5, 5), lambda: symmetry.radial_reduction(5, 0)]
)
def test_a_subspace_that_is_all_or_nothing_is_refused(make):
    with pytest.raises(symmetry.ParticleError, match="1 ≤ k ≤ 4"):
        make()


@pytest.mark.slow
def test_the_smallest_dimensions_work():
    path = symmetry.radial_reduction(2, 1, nodes=16, degrees=40).solve([0.0, 1.0])
    assert path.losses[0] == pytest.approx(0.5, abs=1e-12)
    assert path.losses[1] < 0.4


@pytest.mark.slow
def test_the_distance_to_a_finite_network_equals_a_million_draws(radial):
    reduction = radial[0]
    cloud = symmetry.sample_particles(jax.random.key(0), 64, 20)
    found = reduction.mean_square_distance(reduction.state0, cloud)
    squares = []
    for seed in range(10):
        x = jax.random.normal(jax.random.key(seed), (100_000, 20))
        squares.append(np.asarray((jax.nn.relu(x @ cloud.incoming.T) @ cloud.outgoing / 64) ** 2))
    squares = np.concatenate(squares)  # the reduction starts from f = 0
    assert abs(squares.mean() - found) < 4 * squares.std() / 1000


@pytest.mark.slow
def test_a_cloud_at_the_nodes_of_the_reduction_has_no_distance_but_that_of_its_sides(radial):
    """Neurons with the nodes' angles and masses, their directions drawn at random, approach the reduction."""
    reduction, path = radial
    angles, masses = path.observed["angles"][1], path.observed["masses"][1]
    rng, gaps = np.random.default_rng(0), []
    for copies in (4, 64):
        inside, outside = rng.normal(size=(2, copies, 32, 20))
        inside[..., 5:], outside[..., :5] = 0, 0
        rows = np.cos(angles)[:, None] * inside / np.linalg.norm(inside, axis=2, keepdims=True)
        rows += np.sin(angles)[:, None] * outside / np.linalg.norm(outside, axis=2, keepdims=True)
        cloud = symmetry.Particles(
            jnp.tile(jnp.asarray(32 * reduction.signs * masses), copies), jnp.asarray(rows.reshape(-1, 20))
        )
        gaps.append(reduction.mean_square_distance(path.thetas[1], cloud))
    assert 8 < gaps[0] / gaps[1] < 32


@pytest.mark.slow
def test_a_wide_network_stays_near_the_reduction(radial):
    reduction, path = radial
    network = td.two_layer(20, 400, "relu", scaling="mean_field")
    problem = td.PopulationRisk(network, td.NormTarget(np.eye(20)[:, :5]), td.GaussianInputs(20))
    theta = symmetry.to_theta(problem, symmetry.sample_particles(jax.random.key(0), 400, 20))
    run = td.flow(problem, theta, until=td.Until(time=1.0), saves=[1.0], accuracy=1e-4, progress=False)
    end = symmetry.to_particles(problem, jnp.asarray(run.thetas[-1]))
    own = symmetry.mean_square_distance(problem, run.thetas[-1], jnp.zeros(problem.size))
    assert reduction.mean_square_distance(path.thetas[1], end) < 0.1 * own


@pytest.mark.slow
def test_a_network_invariant_under_rotations_of_the_complement_reduces_to_fewer_coordinates():
    k, d, m, turns = 2, 4, 12, 8
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(3, k))
    outgoing = rng.choice([-1.0, 1.0], size=m)
    rows = rng.normal(size=(m, k + 1))
    rows[:, -1] = np.abs(rows[:, -1])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    whole = td.TeacherTarget([1.0, -1.0, 2.0], np.column_stack([teacher, np.zeros((3, 2))]))
    small = td.TeacherTarget([1.0, -1.0, 2.0], np.column_stack([teacher, np.zeros(3)]))
    angles = 2 * np.pi * np.arange(turns) / turns
    incoming = np.concatenate(
        [np.column_stack([rows[:, :k], rows[:, k] * np.cos(a), rows[:, k] * np.sin(a)]) for a in angles]
    )
    problem = relu_risk(whole, d, m * turns)
    cloud = symmetry.Particles(jnp.tile(jnp.asarray(outgoing), turns), jnp.asarray(incoming))
    times = [1.0, 5.0, 20.0]
    path = td.flow(
        problem,
        symmetry.to_theta(problem, cloud),
        until=td.Until(time=20.0),
        saves=times,
        accuracy=1e-10,
        progress=False,
    )
    rule = (np.cos(angles), np.full(turns, 1 / turns))
    reduced = symmetry.subspace_reduction(
        small, symmetry.Particles(jnp.asarray(outgoing), jnp.asarray(rows)), d - k, rule=rule
    )
    found = reduced.solve(times, accuracy=1e-10)
    for row, theta in enumerate(path.thetas):
        end = symmetry.to_particles(problem, jnp.asarray(theta))
        np.testing.assert_allclose(found.observed["outgoing"][row], end.outgoing[:m], atol=1e-9)
        expected = np.column_stack([end.incoming[:m, :k], np.linalg.norm(end.incoming[:m, k:], axis=1)])
        np.testing.assert_allclose(found.observed["incoming"][row], expected, atol=1e-9)
    np.testing.assert_allclose(found.losses, path.losses, atol=1e-9)


def test_the_gauss_rule_over_rotations_is_the_limit_of_many_turns():
    target = td.TeacherTarget([1.0], [[1.0, 0.0]])
    cloud = symmetry.Particles(jnp.array([1.0, -1.0]), jnp.array([[0.6, 0.8], [-0.3, 0.5]]))
    many = np.cos(2 * np.pi * (np.arange(4000) + 0.5) / 4000)
    fine = symmetry.subspace_reduction(target, cloud, 2, rule=(many, np.full(4000, 1 / 4000)))
    gauss = symmetry.subspace_reduction(target, cloud, 2, nodes=40)
    fields = [
        np.asarray(jax.jit(reduction.flow.field)(reduction.state0, reduction.flow.args))
        for reduction in (fine, gauss)
    ]
    np.testing.assert_allclose(fields[0], fields[1], atol=2e-4)
    seen = td.TeacherTarget([1.0], [[1.0, 0.1]])
    with pytest.raises(symmetry.HypothesisError, match="depends on its last coordinate"):
        symmetry.subspace_reduction(seen, cloud, 2)
    with pytest.raises(symmetry.ParticleError, match="negative"):
        symmetry.subspace_reduction(target, symmetry.Particles(cloud.outgoing, -cloud.incoming), 2)


def test_one_left_over_direction_is_averaged_over_its_two_signs():
    target = td.TeacherTarget([1.0], [[1.0, 0.0]])
    rows = jnp.array([[0.6, 0.8], [-0.3, 0.5]])
    reduced = symmetry.subspace_reduction(target, symmetry.Particles(jnp.array([1.0, -1.0]), rows), 1)
    both = symmetry.Particles(
        jnp.array([1.0, -1.0, 1.0, -1.0]), jnp.concatenate([rows, rows * jnp.array([[1.0, -1.0]])])
    )
    problem = relu_risk(target, 2, 4)
    theta = symmetry.to_theta(problem, both)
    moved = symmetry.to_particles(problem, -4.0 * problem.value_and_grad(theta)[1])
    found = np.asarray(jax.jit(reduced.flow.field)(reduced.state0, reduced.flow.args))
    np.testing.assert_allclose(
        found, np.concatenate([moved.incoming[:2].ravel(), moved.outgoing[:2]]), atol=1e-14
    )


def test_alignment_tells_mass_and_angles_by_sign():
    cloud = symmetry.Particles(
        jnp.array([2.0, 1.0, -1.0]), jnp.array([[1.0, 0, 0], [0, 3.0, 4.0], [1.0, 1.0, 0]])
    )
    found = symmetry.alignment(cloud, np.eye(3)[:, :1])
    np.testing.assert_allclose(found.mass, [7 / 3, np.sqrt(2) / 3])
    np.testing.assert_allclose(found.mean_sine_squared, [5 / 7, 0.5])
    np.testing.assert_allclose(found.distance_to_subspace, [np.sqrt(5 / 7) * np.pi / 2, np.pi / 4])
    np.testing.assert_allclose(found.distance_to_complement, [np.sqrt(2 / 7) * np.pi / 2, np.pi / 4])
    alone = symmetry.alignment(symmetry.Particles(cloud.outgoing[:2], cloud.incoming[:2]), np.eye(3)[:, :1])
    assert np.isnan(alone.mean_sine_squared[1])
    assert "no mass" in str(alone)


@pytest.mark.slow
def test_alignment_can_be_observed_along_a_flow():
    problem = td.PopulationRisk(
        td.two_layer(3, 6, "relu", scaling="mean_field"),
        td.NormTarget(np.eye(3)[:, :2]),
        td.GaussianInputs(3),
    )
    basis = np.eye(3)[:, :2]
    path = td.flow(
        problem,
        problem.init(jax.random.key(0)),
        until=td.Until(time=1.0),
        saves=[0.0, 1.0],
        observe={
            "alignment": lambda theta, args: (
                symmetry.alignment(symmetry.to_particles(args, theta), basis).table
            )
        },
        progress=False,
    )
    end = symmetry.alignment(symmetry.to_particles(problem, jnp.asarray(path.thetas[-1])), basis)
    np.testing.assert_allclose(path.observed["alignment"][-1], end.table, rtol=1e-12)
