"""Population risks in study files: what is built, and what is refused at which key."""

import jax
import numpy as np
import pytest

import thetadot as td
from thetadot.studies.errors import StudyError

HEAD = """
name: population
problem:
  kind: population
  network: {kind: two_layer, width: 6, activation: relu, scaling: mean_field}
"""


def problem_of(text, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(HEAD + text + "rule: {kind: flow, until: {time: 1.0}}\n")
    return td.Study.load(file).problem


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("{kind: norm, subspace: 2}", td.NormTarget(np.eye(4)[:, :2])),
        ("{kind: norm, subspace: [1, 3]}", td.NormTarget(np.eye(4)[:, [1, 3]])),
        ("{kind: linear, weights: [1, 0, 0, 2]}", td.LinearTarget([1.0, 0, 0, 2])),
        ("{kind: cubic, coefficients: [1, 0, 0, 2]}", td.cubic_target([1.0, 0, 0, 2], td.GaussianInputs(4))),
        ("{kind: product, i: 0, j: 3}", td.ProductTarget(0, 3)),
        (
            "{kind: teacher, outgoing: [2], incoming: [[0, 1, 0, 1]]}",
            td.TeacherTarget([2.0], [[0.0, 1, 0, 1]]),
        ),
        ("{kind: ridge, function: relu, axis: 2}", td.RidgeTarget(jax.nn.relu, np.eye(4)[2])),
    ],
)
def test_every_kind_of_target_is_built(target, expected, tmp_path):
    problem = problem_of(f"  target: {target}\n  inputs: {{kind: gaussian, dimension: 4}}\n", tmp_path)
    network = td.two_layer(4, 6, "relu", scaling="mean_field")
    same = td.PopulationRisk(network, expected, td.GaussianInputs(4))
    x = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(problem.evaluate_target(x), same.evaluate_target(x), rtol=1e-14)
    assert float(problem.power) == float(same.power)
    assert problem.description == same.description


def test_laws_of_inputs_are_built(tmp_path):
    target = "  target: {kind: product, i: 0, j: 1}\n"
    stretched = problem_of(
        target + "  inputs: {kind: gaussian, dimension: 2, covariance: [1, 4]}\n", tmp_path
    )
    np.testing.assert_array_equal(stretched.inputs.second_moment, np.diag([1.0, 4.0]))
    assert problem_of(target + "  inputs: {kind: sphere, dimension: 3}\n", tmp_path).inputs.radius == 3**0.5


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{kind: norm, subspace: [1, 4]}", "axes"),
        ("{kind: norm, subspace: 4}", "1 ≤ k < d"),
        ("{kind: linear, weights: [1]}", "the inputs have 4"),
        (
            "{kind: teacher, outgoing: [1], incoming: [[1, 0, 0, 0]], activation: tanh}",
            "no exact rule applies",
        ),
        ("{kind: cube}", "cube"),
    ],
)
def test_what_cannot_be_posed_is_refused_in_one_line(target, words, tmp_path):
    with pytest.raises(StudyError, match=words) as caught:
        problem_of(f"  target: {target}\n  inputs: {{kind: gaussian, dimension: 4}}\n", tmp_path)
    assert "\n" not in str(caught.value)
