"""The lens in studies: what it says of a run, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest

import thetadot as td
from tests.symmetry.risks import absolute_values, cubic_risk, relu_risk
from thetadot import symmetry


def followed(problem, theta, end=1.0):
    return td.flow(
        problem, theta, until=td.Until(time=end), saves=[0.0, end / 2, end], accuracy=1e-7, progress=False
    )


@pytest.fixture(scope="module")
def norm_run():
    problem = relu_risk(td.NormTarget(np.eye(20)[:, :5]), 20, 24)
    return problem, followed(problem, problem.init(jax.random.key(0)))


@pytest.fixture(scope="module")
def teacher_run():
    problem = relu_risk(absolute_values(), 5, 32)
    return problem, followed(problem, problem.init(jax.random.key(0)))


def test_symmetries_of_the_problem_and_of_the_start_are_told_apart(teacher_run):
    problem, path = teacher_run
    options = symmetry.Options(transformations=[{"swap": [0, 1]}, {"flip": 3}, {"swap": [1, 2]}])
    found = symmetry.analyse(problem, path, options)
    assert [check.holds for check in found.checks] == [True, True, False]
    assert found.residuals[0, -1] > 1e-3
    end, swap = symmetry.to_particles(problem, path.thetas[-1]), np.eye(5)[[1, 0, 2, 3, 4]]
    assert found.particle_residuals[0, 1] == symmetry.matching_residual(end, swap)
    assert "swap of 0 and 1: a symmetry of the problem, not of this start" in found.summary()
    dataset = found.to_xarray()
    assert dataset["symmetry_residual"].dims == ("transformation", "symmetry_save")
    assert dataset.attrs["reduction"] == "none"
    assert found.notes == ("no reduction applies",)
    assert "\n" not in found.summary()


@pytest.mark.slow
def test_a_norm_target_is_compared_with_its_radial_reduction(norm_run):
    problem, path = norm_run
    options = symmetry.Options(transformations=["negation", {"swap": [0, 1]}, {"flip": 7}, {"swap": [4, 5]}])
    found = symmetry.analyse(problem, path, options)
    assert [check.holds for check in found.checks] == [True, True, True, False]
    assert found.reduction == "radial"
    reduction = symmetry.radial_reduction(20, 5, nodes=16)
    end = symmetry.to_particles(problem, path.thetas[-1])
    expected = np.sqrt(reduction.mean_square_distance(found.reduced.thetas[-1], end))
    assert found.distance[-1] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(
        found.alignment[-1], symmetry.alignment(end, np.eye(20)[:, :5]).table, rtol=1e-12
    )
    defect = symmetry.symmetry_defect(problem, path.thetas[-1], -np.eye(20))
    square = symmetry.mean_square_distance(problem, path.thetas[-1], jnp.zeros(problem.size))
    assert found.residuals[0, -1] == pytest.approx(np.sqrt(defect / square), rel=1e-9)
    dataset = found.to_xarray()
    assert dataset["symmetry_residual"].dims == ("transformation", "symmetry_save")
    assert dataset.attrs["reduction"] == "radial"
    assert "swap of 0 and 1: a symmetry of the problem, not of this start" in found.summary()
    assert found.particle_residuals[0, 1] == symmetry.matching_residual(end, -np.eye(20))
    assert "\n" not in found.summary()


def test_an_odd_target_is_compared_with_its_moments_and_symmetry_is_said_to_be_kept():
    problem = cubic_risk(100)
    cloud = symmetry.sample_particles(jax.random.key(1), 100, 10, scheme="antithetic")
    path = followed(problem, symmetry.to_theta(problem, cloud))
    found = symmetry.analyse(problem, path, symmetry.Options(transformations=["negation"]))
    assert found.reduction == "odd"
    assert found.checks[0].sign == -1.0
    assert found.distance.max() < 1e-6
    assert found.particle_residuals.max() < 1e-13
    assert "symmetry kept to rounding" in found.summary()


@pytest.mark.slow
def test_ridge_targets_and_extra_widths(norm_run):
    problem, path = norm_run
    found = symmetry.analyse(problem, path, symmetry.Options(widths=[8, 256]))
    assert found.width_distances[1] < found.width_distances[0]
    ridge = relu_risk(td.RidgeTarget(jax.nn.relu, np.eye(4)[0]), 4, 24)
    found = symmetry.analyse(
        ridge, followed(ridge, ridge.init(jax.random.key(0)), 0.5), symmetry.Options(subspace=[0])
    )
    assert found.reduction == "ridge"
    assert found.distance[0] < 0.5
    assert found.alignment.shape == (3, 4, 2)


def test_a_matrix_from_a_file_is_checked(teacher_run, tmp_path):
    problem, path = teacher_run
    np.save(tmp_path / "turn.npy", np.diag([2.0, 1, 1, 1, 1]))
    options = symmetry.Options(
        transformations=[{"matrix": str(tmp_path / "turn.npy"), "sign": 1}], reduction="none"
    )
    found = symmetry.analyse(problem, path, options)
    assert found.checks[0].orthogonality_residual == pytest.approx(3.0)
    assert found.reduced is None
    with pytest.raises(symmetry.ParticleError, match="cannot be read"):
        symmetry.analyse(
            problem, path, symmetry.Options(transformations=[{"matrix": str(tmp_path / "none.npy")}])
        )


def test_networks_to_which_the_lens_does_not_apply_are_refused_by_name(teacher_run):
    x, y = td.data.digits()
    problem = td.EmpiricalRisk(td.mlp([64, 32, 10], "tanh"), td.cross_entropy, x[:50], y[:50])
    with pytest.raises(symmetry.UnsupportedNetworkError, match="mlp 64-32-10"):
        symmetry.analyse(problem, teacher_run[1], symmetry.Options())


def test_reductions_that_do_not_apply_are_noted_or_refused_if_asked_for(teacher_run):
    problem, path = teacher_run
    with pytest.raises(symmetry.HypothesisError, match="odd target"):
        symmetry.analyse(problem, path, symmetry.Options(reduction="odd"))
    with pytest.raises(symmetry.HypothesisError, match="NormTarget"):
        symmetry.analyse(problem, path, symmetry.Options(reduction="radial"))
    found = symmetry.analyse(problem, path, symmetry.Options())
    assert found.reduced is None
    assert found.summary() == "no reduction applies"
    with pytest.raises(symmetry.ParticleError, match="do not exist"):
        symmetry.analyse(problem, path, symmetry.Options(transformations=[{"flip": 5}]))
    with pytest.raises(symmetry.ParticleError, match="does not name"):
        symmetry.analyse(problem, path, symmetry.Options(subspace=5))


@pytest.mark.parametrize(
    "wrong", [{"widths": [1]}, {"reduction": "even"}, {"transformations": ["turn"]}, {"typo": 1}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        symmetry.Options(**wrong)
