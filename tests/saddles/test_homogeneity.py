"""Degree, slices, culprits, Lipschitz gradients, zero-preserving sets (cases 1, 2, 12 of the claims, 21)."""

import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.saddles.networks import generic, squares
from thetadot import saddles

X, Y = np.random.default_rng(0).normal(size=(5, 3)), np.ones(5)


def _risk(network):
    return td.EmpiricalRisk(network, td.squared, X, Y)


@pytest.mark.parametrize(
    ("network", "degree"),
    [
        (td.two_layer(3, 4, "squared_relu"), 3),
        (td.linear([3, 2, 2, 1]), 3),
        (td.mlp([3, 3, 3, 1], "squared_relu", bias=False), 7),
        (td.diagonal(3), 2),
        (td.two_layer(3, 4, "squared_relu", bias=True), 3),
    ],
    ids=["squared relu", "linear of three layers", "three layers", "diagonal", "hidden biases"],
)
def test_degrees_are_those_counted_by_hand(network, degree):
    found = saddles.homogeneity(_risk(network))
    assert found.status.name == "HOMOGENEOUS"
    assert found.degree == pytest.approx(degree, abs=1e-10)
    assert found.gradient_is_lipschitz
    assert found.culprit is None


def test_slices_of_three_squared_relu_layers_have_degrees_four_two_one():
    found = saddles.homogeneity(_risk(td.mlp([3, 3, 3, 1], "squared_relu", bias=False)))
    assert list(found.slice_degrees.values()) == pytest.approx([4.0, 2.0, 1.0], abs=1e-10)


@pytest.mark.parametrize(
    ("network", "culprit"),
    [
        (td.mlp([3, 4, 1], "squared_relu"), "layer2.bias"),
        (td.mlp([3, 4, 1], "tanh", bias=False), "activation tanh"),
        (td.residual(3, 4, 1, "squared_relu", blocks=1, bias=False), "sum of branches"),
    ],
    ids=["bias of the output", "tanh", "residual"],
)
def test_what_is_not_homogeneous_names_its_culprit(network, culprit):
    problem = _risk(network)
    found = saddles.homogeneity(problem)
    assert found.status.name == "NOT_HOMOGENEOUS"
    assert found.degree is None
    assert culprit in found.culprit
    with pytest.raises(saddles.NotHomogeneousError, match="not homogeneous") as caught:
        saddles.neural_correlation(problem)
    assert caught.value.defect == found.defect
    assert caught.value.culprit == found.culprit


def test_an_output_that_is_always_zero_leaves_the_degree_undetermined():
    problem = td.EmpiricalRisk(td.two_layer(3, 2, "square"), td.squared, np.zeros((2, 3)), np.ones(2))
    assert saddles.homogeneity(problem).status.name == "UNDETERMINED"


def test_relu_is_homogeneous_but_its_gradient_jumps():
    problem, _ = generic("relu")
    found = saddles.homogeneity(problem)
    assert found.degree == pytest.approx(2.0, abs=1e-10)
    assert not found.gradient_is_lipschitz
    with pytest.warns(saddles.NonLipschitzGradientWarning):
        saddles.neural_correlation(problem)


def test_a_network_of_degree_one_is_refused():
    with pytest.raises(saddles.DegreeBelowTwoError):
        saddles.neural_correlation(_risk(td.linear([3, 1])))


def test_whole_neurons_stay_zero_and_parts_of_live_ones_do_not():
    problem = _risk(td.two_layer(3, 4, "tanh"))
    groups = saddles.neuron_groups(problem)
    assert len(groups) == 4
    assert saddles.is_zero_preserving(problem, groups[0])
    assert saddles.is_zero_preserving(problem, np.concatenate(groups[:2]))
    assert not saddles.is_zero_preserving(problem, groups[0][:1])
    assert not saddles.is_zero_preserving(problem, problem.layout.neurons[0].incoming)


def test_incoming_weights_alone_stay_zero_where_the_activation_is_flat():
    problem = squares()
    assert saddles.is_zero_preserving(problem, problem.layout.neurons[0].incoming)


def test_problems_without_hidden_neurons_ask_for_groups():
    bowl = td.FunctionRisk(lambda t: jnp.sum(t**2), jnp.ones(2))
    with pytest.raises(saddles.NoGroupsError, match="groups="):
        saddles.neuron_groups(bowl)
