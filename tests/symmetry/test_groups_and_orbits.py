"""Groups, invariance of training, checks of hypotheses, and one neuron per orbit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.symmetry.risks import absolute_values, relu_risk
from thetadot import symmetry

SWAP = np.eye(5)[[1, 0, 2, 3, 4]]
FLIP = np.diag([-1.0, 1, 1, 1, 1])
TURN = np.array([[0.0, -1.0], [1.0, 0.0]])
TIGHT = {"accuracy": 1e-8, "progress": False}


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.fixture(scope="module")
def order_eight():
    """Problem, group, representatives and the path of the whole network."""
    group = symmetry.generate_group([SWAP, FLIP])
    half = symmetry.sample_particles(jax.random.key(0), 4, 5)
    problem = relu_risk(absolute_values(), 5, 32)
    start = symmetry.to_theta(problem, symmetry.symmetrize(half, group))
    options = TIGHT | {"accuracy": 1e-10}
    path = td.flow(problem, start, until=td.Until(time=10.0), saves=[2.0, 10.0], **options)
    return problem, group, half, path


def test_signed_permutations_of_two_coordinates_are_eight():
    group = symmetry.generate_group([SWAP, FLIP], [1.0, 1.0])
    assert group.order == 8 == len(group.matrices)
    np.testing.assert_array_equal(group.matrices[0], np.eye(5))
    products = np.einsum("gij,hjk->ghik", group.matrices, group.matrices).reshape(-1, 5, 5)
    assert all(np.abs(group.matrices - product).max(axis=(1, 2)).min() < 1e-12 for product in products)


def test_the_character_is_multiplicative():
    group = symmetry.generate_group([SWAP, FLIP], [1.0, -1.0])
    diagonal = [np.prod(np.sign(m[:2, :2].sum(axis=1))) for m in group.matrices]
    np.testing.assert_array_equal(group.signs, diagonal)


@pytest.mark.parametrize(
    ("matrices", "signs", "words"),
    [
        ([FLIP, FLIP], [1.0, -1.0], "both signs"),
        ([rotation(1.0)], None, "more than 512"),
        ([np.diag([1.0, 2.0])], None, "not orthogonal"),
    ],
)
def test_what_generates_no_group_is_refused(matrices, signs, words):
    with pytest.raises(symmetry.HypothesisError, match=words):
        symmetry.generate_group(matrices, signs)


def test_malformed_groups_are_refused():
    with pytest.raises(symmetry.ParticleError, match="finite"):
        symmetry.generate_group(np.full((1, 2, 2), np.nan))
    with pytest.raises(symmetry.ParticleError, match="signs"):
        symmetry.generate_group([FLIP], [0.5])


def test_symmetries_are_kept_to_rounding(order_eight):
    problem, group, _, path = order_eight
    for theta in path.thetas:
        assert symmetry.orbit_residual(symmetry.to_particles(problem, jnp.asarray(theta)), group) < 1e-12
    assert (
        symmetry.matching_residual(symmetry.to_particles(problem, jnp.asarray(path.thetas[-1])), SWAP) < 1e-12
    )
    assert symmetry.symmetry_defect(problem, jnp.asarray(path.thetas[-1]), SWAP) < 1e-14
    assert symmetry.symmetry_defect(problem, jnp.asarray(path.thetas[-1]), FLIP, -1.0) > 0.1


@pytest.mark.slow
def test_a_change_of_sign_is_kept_to_rounding():
    """|x₁ + x₂| − |x₁ − x₂| changes its sign with x₁."""
    group = symmetry.generate_group([FLIP], [-1.0])
    cloud = symmetry.symmetrize(symmetry.sample_particles(jax.random.key(1), 16, 5), group)
    rows = np.array([[1.0, 1, 0, 0, 0], [1.0, -1, 0, 0, 0]])
    problem = relu_risk(td.TeacherTarget([1.0, -1, 1, -1], np.concatenate([rows, -rows])), 5, 32)
    path = td.flow(
        problem, symmetry.to_theta(problem, cloud), until=td.Until(time=10.0), saves=[10.0], **TIGHT
    )
    end = symmetry.to_particles(problem, jnp.asarray(path.thetas[-1]))
    assert symmetry.orbit_residual(end, group) < 1e-12
    check = symmetry.check_symmetry(problem, FLIP, theta=path.thetas[-1])
    assert check.holds
    assert check.sign == -1.0
    assert check.initial_residual < 1e-12


@pytest.mark.slow
def test_groups_are_kept_to_rounding_by_wide_networks_for_long():
    group = symmetry.generate_group([SWAP, FLIP])
    problem = relu_risk(absolute_values(), 5, 128)
    cloud = symmetry.symmetrize(symmetry.sample_particles(jax.random.key(0), 16, 5), group)
    start, times = symmetry.to_theta(problem, cloud), [2.0, 10.0, 40.0]
    path = td.flow(problem, start, until=td.Until(time=40.0), saves=times, **TIGHT)
    for theta in path.thetas:
        assert symmetry.orbit_residual(symmetry.to_particles(problem, jnp.asarray(theta)), group) < 1e-12


def oblique(deviation):
    """Problem and T = Σ^½O₉₀Σ^{−½}, Σ = diag(1, deviation²)."""
    root = np.diag([1.0, deviation])
    t = root @ TURN @ np.linalg.inv(root)
    powers = [np.linalg.matrix_power(t, j) for j in range(4)]
    target = td.TeacherTarget(np.ones(4), [p.T @ np.array([1.0, 0.5]) for p in powers])
    problem = td.PopulationRisk(
        td.two_layer(2, 16, "relu", scaling="mean_field"), target, td.GaussianInputs(2, root @ root)
    )
    return problem, t


def not_orthogonal(deviation):
    """Problem, T and the largest block residual of a path that starts invariant under T."""
    problem, t = oblique(deviation)
    powers = [np.linalg.matrix_power(t, j) for j in range(4)]
    draws = symmetry.sample_particles(jax.random.key(3), 4, 2)
    incoming = jnp.concatenate([draws.incoming @ jnp.asarray(p) for p in powers])
    cloud = symmetry.Particles(jnp.tile(draws.outgoing, 4), incoming)
    path = td.flow(problem, symmetry.to_theta(problem, cloud), until=td.Until(time=5.0), saves=[5.0], **TIGHT)
    end = symmetry.to_particles(problem, jnp.asarray(path.thetas[-1]))
    first = end.incoming[:4]
    gaps = [np.abs(first @ p - end.incoming[4 * j : 4 * j + 4]).max() for j, p in enumerate(powers)]
    return problem, t, max(gaps)


def test_a_map_that_is_not_orthogonal_is_no_symmetry_though_inputs_and_target_have_it():
    problem, t = oblique(2.0)
    check = symmetry.check_symmetry(problem, t)
    assert not check.holds
    assert check.orthogonality_residual > 1
    assert max(check.input_residual, check.target_residual) < 1e-12


@pytest.mark.slow
def test_without_orthogonality_the_invariance_is_lost_and_the_check_says_why():
    problem, t, broken = not_orthogonal(2.0)
    assert broken > 0.1
    check = symmetry.check_symmetry(problem, t)
    assert not check.holds
    assert check.orthogonality_residual > 1
    assert max(check.input_residual, check.target_residual) < 1e-12
    control_problem, control, kept = not_orthogonal(1.0)
    assert kept < 1e-12
    assert symmetry.check_symmetry(control_problem, control).holds


@pytest.mark.slow
def test_one_neuron_per_orbit_moves_as_the_whole_network(order_eight):
    problem, group, half, path = order_eight
    reduced = symmetry.orbit_reduction(problem, group, half)
    found = reduced.solve([2.0, 10.0], accuracy=1e-10)
    for state, theta, loss, risk in zip(found.thetas, path.thetas, path.losses, found.losses, strict=True):
        np.testing.assert_allclose(reduced.theta(jnp.asarray(state)), theta, atol=1e-9)
        assert risk == pytest.approx(loss, abs=1e-9)
    with pytest.raises(symmetry.ParticleError, match="make 24"):
        symmetry.orbit_reduction(problem, group, symmetry.sample_particles(jax.random.key(0), 3, 5))


def test_orbits_are_refused_where_the_problem_does_not_have_the_symmetry():
    problem = relu_risk(absolute_values(), 5, 8)
    wrong_sign = symmetry.generate_group([FLIP], [-1.0])
    with pytest.raises(symmetry.HypothesisError, match=r"no symmetry of the problem .*target \(sign -1\)"):
        symmetry.orbit_reduction(problem, wrong_sign, symmetry.sample_particles(jax.random.key(0), 4, 5))
    by_hand = symmetry.SymmetryGroup(np.array([np.eye(2), oblique(2.0)[1]]), np.ones(2), 2)
    with pytest.raises(symmetry.HypothesisError, match=r"orthogonal to 3\.0e\+00"):
        symmetry.orbit_reduction(oblique(2.0)[0], by_hand, symmetry.sample_particles(jax.random.key(0), 8, 2))
    loose = symmetry.orbit_reduction(
        problem, wrong_sign, symmetry.sample_particles(jax.random.key(0), 4, 5), strict=False
    )
    assert loose.state0.shape == (24,)


@pytest.mark.slow
def test_orbits_of_a_network_on_samples_use_its_own_gradient():
    x = np.random.default_rng(0).normal(size=(30, 2))
    x, y = np.concatenate([x, -x]), np.concatenate([x[:, 0], -x[:, 0]])
    problem = td.EmpiricalRisk(td.two_layer(2, 6, "relu", scaling="mean_field"), "squared", x, y[:, None])
    group = symmetry.generate_group([-np.eye(2)], [-1.0])
    half = symmetry.sample_particles(jax.random.key(0), 3, 2)
    reduced = symmetry.orbit_reduction(problem, group, half)
    start = reduced.theta(reduced.state0)
    path = td.flow(problem, start, until=td.Until(time=1.0), saves=[1.0], **TIGHT)
    np.testing.assert_allclose(
        reduced.theta(jnp.asarray(reduced.solve([1.0]).thetas[-1])), path.thetas[-1], atol=1e-7
    )
    assert symmetry.check_symmetry(problem, -np.eye(2), theta=start).holds
    assert not symmetry.check_symmetry(problem, np.diag([-1.0, 1.0])).holds


@pytest.mark.slow
def test_cone_coordinates_move_as_the_network_and_keep_balance():
    problem = relu_risk(absolute_values(), 5, 32)
    theta = problem.init(jax.random.key(2))
    path = td.flow(problem, theta, until=td.Until(time=10.0), saves=[10.0], **TIGHT)
    reduced = symmetry.cone_reduction(problem, theta)
    found = reduced.solve([0.0, 10.0], accuracy=1e-9)
    np.testing.assert_allclose(reduced.theta(jnp.asarray(found.thetas[-1])), path.thetas[-1], atol=1e-7)
    np.testing.assert_allclose(found.observed["mass"][0].sum(), 1.0, atol=1e-14)
    end = symmetry.to_particles(problem, jnp.asarray(path.thetas[-1]))
    assert float(jnp.max(jnp.abs(end.outgoing**2 - jnp.sum(end.incoming**2, axis=1)))) < 1e-7
    with pytest.raises(symmetry.HypothesisError, match="relative difference"):
        symmetry.cone_reduction(problem, theta * jnp.where(jnp.arange(192) < 160, 2.0, 1.0))


def test_random_clouds_are_what_their_scheme_says():
    pairs = symmetry.sample_particles(jax.random.key(0), 6, 3, scheme="antithetic")
    assert symmetry.matching_residual(pairs, -np.eye(3), -1.0) == 0.0
    doubled = symmetry.sample_particles(
        jax.random.key(0), 6, 3, outgoing="gaussian", incoming="gaussian", scheme="doubled"
    )
    problem = td.PopulationRisk(td.two_layer(3, 6, "relu"), td.ProductTarget(0, 1), td.GaussianInputs(3))
    x = np.random.default_rng(0).normal(size=(10, 3))
    assert float(jnp.max(jnp.abs(problem.predict(symmetry.to_theta(problem, doubled), x)))) < 1e-14
    with pytest.raises(symmetry.ParticleError, match="even width"):
        symmetry.sample_particles(jax.random.key(0), 5, 3, scheme="doubled")
    with pytest.raises(symmetry.ParticleError, match="4 particles in dimension 3"):
        symmetry.to_theta(problem, symmetry.sample_particles(jax.random.key(0), 4, 3))
    theta = jnp.arange(24.0)
    np.testing.assert_array_equal(symmetry.to_theta(problem, symmetry.to_particles(problem, theta)), theta)


def test_networks_that_are_no_clouds_of_particles_are_refused():
    x = np.zeros((2, 3))
    for network in (td.mlp([3, 4, 4, 1]), td.two_layer(3, 4, "relu", bias=True)):
        problem = td.EmpiricalRisk(network, "squared", x, np.zeros((2, 1)))
        with pytest.raises(symmetry.UnsupportedNetworkError, match="two-layer"):
            symmetry.to_particles(problem, problem.init(jax.random.key(0)))
