"""Equinox modules and users' own networks as problems."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.problems import Layout, NetworkError, ShapeError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))


class Gated(eqx.Module):
    """A module with everything that is not a parameter: integers, functions, strings, None."""

    layers: list
    gain: jax.Array
    order: jax.Array
    activation: object
    name: str = eqx.field(static=True)
    nothing: None = None

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.layers = [eqx.nn.Linear(3, 4, key=one), eqx.nn.Linear(4, 2, use_bias=False, key=two)]
        self.gain = jnp.array(1.5)
        self.order = jnp.array([2, 0, 1])
        self.activation = jnp.tanh
        self.name = "gated"

    def __call__(self, x):
        return self.gain * self.layers[1](self.activation(self.layers[0](x[self.order])))


def direct_loss(module):
    predictions = jnp.stack([module(x) for x in jnp.asarray(X)])
    return 0.5 * jnp.mean(jnp.sum((predictions - Y) ** 2, axis=1))


@pytest.mark.parametrize("build", [Gated, lambda key: eqx.nn.MLP(3, 2, 4, 2, activation=jnp.tanh, key=key)])
def test_loss_and_gradient_are_those_of_the_module_itself(build):
    module = build(KEY)
    problem = td.from_equinox(module, td.squared, X, Y)
    theta = problem.init(KEY)
    loss, gradient = eqx.filter_value_and_grad(direct_loss)(module)
    value, found = problem.value_and_grad(theta)
    np.testing.assert_allclose(value, loss, rtol=1e-13)
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(eqx.filter(gradient, eqx.is_inexact_array))]
    np.testing.assert_allclose(found, np.concatenate(leaves), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(problem.predict(theta, X), jnp.stack([module(x) for x in jnp.asarray(X)]))


def test_parameters_are_the_inexact_leaves_in_tree_order():
    module = Gated(KEY)
    problem = td.from_equinox(module, td.squared, X, Y)
    assert list(problem.layout.shapes.items()) == [
        ("layers.0.weight", (4, 3)),
        ("layers.0.bias", (4,)),
        ("layers.1.weight", (2, 4)),
        ("gain", ()),
    ]
    assert problem.size == 12 + 4 + 8 + 1
    assert problem.layout.neurons == ()
    np.testing.assert_array_equal(problem.init(KEY)[:12], module.layers[0].weight.ravel())


def test_unravel_gives_the_users_module_back():
    module = Gated(KEY)
    problem = td.from_equinox(module, td.squared, X, Y)
    assert eqx.tree_equal(problem.unravel(problem.init(KEY)), module)
    theta = jnp.arange(float(problem.size))
    other = problem.unravel(theta)
    assert isinstance(other, Gated)
    assert other.activation is module.activation
    np.testing.assert_array_equal(other.layers[0].bias, theta[12:16])
    assert float(other.gain) == problem.size - 1


def test_init_is_the_modules_own_parameters_times_scale():
    problem = td.from_equinox(Gated(KEY), td.squared, X, Y)
    np.testing.assert_array_equal(problem.init(jax.random.key(7), 0.5), 0.5 * problem.init(KEY))


def test_an_equinox_mlp_has_the_layout_and_neurons_of_ours():
    module = eqx.nn.MLP(3, 2, 4, 2, activation=jnp.tanh, use_final_bias=False, key=KEY)
    imported, ours = td.from_equinox(module, td.squared, X, Y), td.mlp([3, 4, 4, 2], "tanh", bias="hidden")
    assert list(imported.layout.slices.items()) == list(ours.layout.slices.items())
    assert [n.indices.tolist() for n in imported.layout.neurons] == [
        n.indices.tolist() for n in ours.layout.neurons
    ]
    native = td.EmpiricalRisk(ours, td.squared, X, Y)
    theta = imported.init(KEY)
    np.testing.assert_allclose(imported.loss(theta), native.loss(theta), rtol=1e-14)


def test_an_equinox_mlp_with_an_end_of_its_own_is_not_mistaken_for_a_chain():
    module = eqx.nn.MLP(3, 2, 4, 1, activation=jnp.tanh, final_activation=jnp.tanh, key=KEY)
    problem = td.from_equinox(module, td.squared, X, Y)
    assert problem.hessian_method == "by columns"
    theta = problem.init(KEY)
    np.testing.assert_allclose(problem.loss(theta), direct_loss(module), rtol=1e-13)
    np.testing.assert_allclose(problem.hvp(theta, theta), problem.hessian(theta) @ theta, atol=1e-12)


def test_a_module_given_as_network_is_imported():
    module = Gated(KEY)
    given, imported = td.EmpiricalRisk(module, td.squared, X, Y), td.from_equinox(module, td.squared, X, Y)
    theta = given.init(KEY, 0.7)
    np.testing.assert_array_equal(given.loss(theta), imported.loss(theta))
    assert imported.description == "Equinox Gated of 25 parameters, squared loss, 6 samples"


def test_a_small_convolutional_module_takes_images():
    class Images(eqx.Module):
        first: eqx.nn.Conv2d
        last: eqx.nn.Linear

        def __call__(self, image):
            return self.last(jax.nn.relu(self.first(image)).mean(axis=(1, 2)))

    module = Images(eqx.nn.Conv2d(1, 2, 3, key=KEY), eqx.nn.Linear(2, 3, key=KEY))
    x, y = RNG.normal(size=(4, 1, 5, 5)), np.array([0, 2, 1, 0])
    problem = td.from_equinox(module, td.cross_entropy, x, y)
    expected = np.mean(
        [td.cross_entropy(module(jnp.asarray(one)), int(label)) for one, label in zip(x, y, strict=True)]
    )
    np.testing.assert_allclose(problem.loss(problem.init(KEY)), expected, rtol=1e-13)


def test_float32_modules_are_refused_with_the_leaf_named():
    module = eqx.nn.Linear(3, 2, dtype=jnp.float32, key=KEY)
    with pytest.raises(td.PrecisionError, match="weight has dtype float32"):
        td.from_equinox(module, td.squared, X, Y)


def test_modules_without_parameters_or_call_are_refused():
    class Silent(eqx.Module):
        weight: jax.Array

    with pytest.raises(NetworkError, match="no parameters"):
        td.from_equinox(eqx.nn.Identity(), td.squared, X, Y)
    with pytest.raises(NetworkError, match="cannot be called"):
        td.from_equinox(Silent(jnp.ones(2)), td.squared, X, Y)
    with pytest.raises(NetworkError, match="lacks size, layout, time_scale, initial, evaluate"):
        td.EmpiricalRisk(Silent(jnp.ones(2)), td.squared, X, Y)


class OnGraph(eqx.Module):
    """A user's network on graph states (nodes, 1): one weight for a node itself, one for its neighbours."""

    adjacency: jax.Array
    time_scale: float = eqx.field(static=True, default=1.0)

    @property
    def size(self):
        return 2

    @property
    def layout(self):
        return Layout({"own.weight": (), "pair.weight": ()})

    def initial(self, key, scale=1.0):
        return scale * jax.random.normal(key, (2,))

    def evaluate(self, theta, x):
        return theta[0] * x + theta[1] * self.adjacency @ x


ADJACENCY = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
STATES = np.random.default_rng(1).normal(size=(5, 3, 1))


def test_a_users_network_on_graph_states_is_a_problem():
    network, theta = OnGraph(ADJACENCY, 3.0), jnp.array([0.5, -0.2])
    rates = np.random.default_rng(2).normal(size=STATES.shape)
    problem = td.EmpiricalRisk(network, td.squared, STATES, rates)
    predicted = 0.5 * STATES - 0.2 * np.asarray(ADJACENCY) @ STATES
    np.testing.assert_allclose(problem.predict(theta, STATES), predicted, rtol=1e-14)
    np.testing.assert_allclose(
        problem.loss(theta), 0.5 * np.mean(np.sum((predicted - rates) ** 2, axis=(1, 2)))
    )
    assert problem.time_scale == 3.0
    assert isinstance(problem.network, OnGraph)
    assert list(problem.unravel(theta)) == ["own.weight", "pair.weight"]
    reference = jax.hessian(problem.loss)(theta)
    np.testing.assert_allclose(problem.hessian(theta), reference, rtol=1e-13)


def test_another_graph_of_the_same_shape_compiles_nothing(count_compilations):
    theta, rates = jnp.array([0.5, -0.2]), np.zeros_like(STATES)
    first = td.EmpiricalRisk(OnGraph(ADJACENCY), td.squared, STATES, rates)
    second = td.EmpiricalRisk(OnGraph(ADJACENCY + jnp.eye(3)), td.squared, STATES, rates)
    before = float(first.loss(theta))
    with count_compilations() as counted:
        after = float(second.loss(theta))
    assert counted.total == 0, counted
    assert before != after


@dataclasses.dataclass(frozen=True)
class Cosine:
    """A user's network that is no pytree."""

    frequency: float
    size: int = 2
    time_scale: float = 1.0

    @property
    def layout(self):
        return Layout({"amplitude": (), "phase": ()})

    def initial(self, key, scale=1.0):
        return scale * jnp.ones(2)

    def evaluate(self, theta, x):
        return theta[0] * jnp.cos(self.frequency * x + theta[1])


def test_a_plain_frozen_class_is_a_network():
    x, y, theta = np.array([[0.1], [0.7]]), np.array([1.0, 0.5]), np.array([2.0, 0.3])
    problem = td.EmpiricalRisk(Cosine(3.0), td.squared, x, y)
    expected = 0.5 * np.mean((2 * np.cos(3 * x[:, 0] + 0.3) - y) ** 2)
    np.testing.assert_allclose(problem.loss(theta), expected, rtol=1e-14)
    assert problem.network == Cosine(3.0)


def test_a_network_that_cannot_be_hashed_is_named():
    @dataclasses.dataclass
    class Thawed:
        frequency: float = 1.0
        size: int = 2
        time_scale: float = 1.0
        layout, initial, evaluate = Cosine.layout, Cosine.initial, Cosine.evaluate

    with pytest.raises(NetworkError, match="cannot be hashed"):
        td.EmpiricalRisk(Thawed(), td.squared, np.ones((1, 1)), np.ones(1))


def test_a_module_that_cannot_take_the_samples_is_told_in_one_line():
    with pytest.raises(ShapeError, match=r"cannot take a sample of shape \(5,\)") as caught:
        td.from_equinox(eqx.nn.Linear(3, 2, key=KEY), td.squared, np.zeros((6, 5)), Y)
    assert "\n" not in str(caught.value)
