"""Nonlinear simulators: what training leaves of the first layer, and how fields grow off the data."""

import jax
import numpy as np
import optax
import pytest

import thetadot as td
from thetadot import simulators as sim


@pytest.fixture(scope="module")
def embedded():
    """States on a plane in four dimensions, a tanh network that learns a field on them, and its start."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(4, 2)))[0]
    x = rng.normal(size=(20, 2)) @ plane.T
    problem = td.EmpiricalRisk(td.mlp([4, 5, 4], "tanh"), td.squared, x, np.sin(2 * x) - x)
    return problem, np.asarray(problem.init(jax.random.key(0), scale=2.0)), sim.data_energy(x)


RULES = {
    "gradient descent": td.GradientDescent(0.3),
    "heavy ball": td.HeavyBall(0.1, 0.9),
    "Adam": td.Optax(optax.adam(1e-2), name="Adam"),
}


@pytest.mark.parametrize("name", RULES)
def test_only_rules_that_follow_the_gradient_keep_what_no_data_taught(name, embedded):
    problem, start, energy = embedded
    assert energy.rank == 2
    end = td.descend(problem, start, RULES[name], 150, saves=[0, 150], progress=False).thetas[-1]
    change = sim.first_layer(problem, end) - sim.first_layer(problem, start)
    assert np.abs(change @ energy.learnable).max() > 0.01
    unlearned = np.abs(change @ energy.unlearnable).max()
    assert unlearned > 1e-3 if name == "Adam" else unlearned < 1e-12


def test_a_projected_first_layer_is_blind_off_the_data_and_stays_so(embedded):
    problem, start, energy = embedded
    blind = sim.project_first_layer(problem, start, energy)
    end = td.descend(problem, blind, RULES["gradient descent"], 150, saves=[0, 150], progress=False).thetas[
        -1
    ]
    points = np.random.default_rng(1).normal(size=(3, 4))
    jacobians = sim.field_jacobians(problem, end, points)
    assert np.abs(jacobians @ energy.unlearnable).max() < 1e-12
    assert np.abs(jacobians).max() > 0.1
    found = sim.off_data_growth(problem, end, points, energy, time="continuous")
    assert np.abs(found.off_data).max() < 1e-10
    seen = sim.field_jacobians(problem, start, points)
    assert np.abs(seen @ energy.unlearnable).max() > 0.1


def test_growth_on_and_off_the_data_is_that_of_the_blocks(embedded):
    problem, start, energy = embedded
    points = np.random.default_rng(1).normal(size=(3, 4))
    layers = problem.layout.split(start)
    U, N = energy.learnable, energy.unlearnable
    for time in ("discrete", "continuous"):
        found = sim.off_data_growth(problem, start, points, energy, time=time)
        for k, point in enumerate(points):
            slope = 1 - np.tanh(layers["layer1.weight"] @ point + layers["layer1.bias"]) ** 2
            J = layers["layer2.weight"] @ (slope[:, None] * layers["layer1.weight"])
            np.testing.assert_allclose(sim.field_jacobians(problem, start, points)[k], J, atol=1e-13)
            for block, rate in ((U.T @ J @ U, found.on_data[k]), (N.T @ J @ N, found.off_data[k])):
                values = np.linalg.eigvals(block)
                expected = np.log(np.abs(values).max()) if time == "discrete" else values.real.max()
                assert rate == pytest.approx(expected, abs=1e-11)
            assert found.coupling[k] == pytest.approx(np.linalg.norm(N.T @ J @ U))


def test_what_is_no_simulator_of_vectors_is_refused():
    images = td.EmpiricalRisk(td.conv((1, 4, 4), [2], 2), td.cross_entropy, np.ones((2, 1, 4, 4)), [0, 1])
    function = td.FunctionRisk(lambda theta: (theta**2).sum(), np.ones(3))
    for problem in (images, function):
        with pytest.raises(sim.NotASimulatorError, match="no simulator of vectors"):
            sim.field_jacobians(problem, problem.init(jax.random.key(0)), np.ones((1, 2)))
    diagonal = td.EmpiricalRisk(td.diagonal(3, 2), td.squared, np.eye(3), np.ones(3))
    with pytest.raises(sim.NotASimulatorError, match="no dense first layer"):
        sim.first_layer(diagonal, diagonal.init(jax.random.key(0)))
    narrow = td.EmpiricalRisk(td.linear([3, 2]), td.squared, np.eye(3), np.ones((3, 2)))
    with pytest.raises(sim.MatrixError, match="as many outputs"):
        sim.off_data_growth(narrow, np.ones(6), np.ones((1, 3)), sim.data_energy(np.eye(3)), time="discrete")
