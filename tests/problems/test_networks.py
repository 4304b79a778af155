"""Networks against their formulas in NumPy; layouts and neurons against what the parameters do."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import thetadot as td
from thetadot.problems import NetworkError, ShapeError, UnknownNameError

KEY = jax.random.key(0)


@functools.cache
def networks():
    return {
        "mlp": td.mlp([3, 4, 5, 2], "tanh"),
        "mlp without biases": td.mlp([3, 4, 5, 2], "tanh", bias=False),
        "mlp with hidden biases": td.mlp([3, 4, 5, 2], "tanh", bias="hidden"),
        "linear": td.linear([3, 4, 2]),
        "two layers": td.two_layer(3, 4, "tanh"),
        "two layers, mean field": td.two_layer(3, 4, "tanh", scaling="mean_field", bias=True),
        "residual": td.residual(3, 4, 2, "tanh", blocks=2, stream=5),
        "residual block": td.residual(3, 4, activation="tanh", bias=False),
        "conv": td.conv((2, 5, 4), [3, 4], 2, "tanh"),
        "conv, all pixels": td.conv((1, 6, 5), [2], 3, "tanh", pooling="none", padding="valid", stride=2),
        "diagonal": td.diagonal(3, 2),
    }


def a_sample(network, rng):
    if hasattr(network, "image"):
        return rng.normal(size=network.image)
    return rng.normal(size=3)


def split(network, theta):
    return {name: np.asarray(part) for name, part in network.layout.split(theta).items()}


@pytest.mark.parametrize(("bias", "has"), [(True, (1, 1, 1)), (False, (0, 0, 0)), ("hidden", (1, 1, 0))])
def test_mlp_is_its_formula_with_theta_layer_by_layer(bias, has):
    network = td.mlp([3, 4, 5, 2], "tanh", bias=bias)
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=network.size), rng.normal(size=3)
    rest, state = theta, x
    for number, (fan_in, fan_out) in enumerate([(3, 4), (4, 5), (5, 2)]):
        weight, rest = rest[: fan_in * fan_out].reshape(fan_out, fan_in), rest[fan_in * fan_out :]
        state = weight @ state
        if has[number]:
            state, rest = state + rest[:fan_out], rest[fan_out:]
        state = np.tanh(state) if number < 2 else state
    assert len(rest) == 0
    np.testing.assert_allclose(network.evaluate(jnp.asarray(theta), jnp.asarray(x)), state, rtol=1e-14)


def test_slices_run_from_input_to_output_weight_before_bias():
    layout = td.mlp([3, 4, 2]).layout
    assert list(layout.slices.items()) == [
        ("layer1.weight", slice(0, 12)),
        ("layer1.bias", slice(12, 16)),
        ("layer2.weight", slice(16, 24)),
        ("layer2.bias", slice(24, 26)),
    ]
    assert layout.roles == {
        "layer1.weight": "weight",
        "layer1.bias": "bias",
        "layer2.weight": "weight",
        "layer2.bias": "bias",
    }
    names = layout.parameter_names()
    assert len(names) == layout.size == 26
    assert [names[i] for i in (0, 5, 13, 20)] == [
        "layer1.weight[0,0]",
        "layer1.weight[1,2]",
        "layer1.bias[1]",
        "layer2.weight[1,0]",
    ]


def test_linear_is_a_product_of_matrices():
    rng = np.random.default_rng(1)
    w1, w2, x = rng.normal(size=(4, 3)), rng.normal(size=(2, 4)), rng.normal(size=3)
    theta = jnp.asarray(np.r_[w1.ravel(), w2.ravel()])
    np.testing.assert_allclose(td.linear([3, 4, 2]).evaluate(theta, jnp.asarray(x)), w2 @ w1 @ x, rtol=1e-14)


@pytest.mark.parametrize(("scaling", "factor"), [("standard", 1.0), ("mean_field", 0.25)])
def test_two_layer_is_the_sum_or_the_mean_over_neurons(scaling, factor):
    network = td.two_layer(3, 4, "relu", scaling=scaling, bias=True)
    rng = np.random.default_rng(2)
    theta, x = rng.normal(size=network.size), rng.normal(size=3)
    w, b, a = theta[:12].reshape(4, 3), theta[12:16], theta[16:]
    expected = factor * np.sum(a * np.maximum(w @ x + b, 0))
    np.testing.assert_allclose(network.evaluate(jnp.asarray(theta), jnp.asarray(x)), [expected], rtol=1e-14)
    assert network.time_scale == 1 / factor
    problem = td.EmpiricalRisk(network, td.squared, x[None], [1.0])
    assert problem.time_scale == 1 / factor
    assert ("time scale 4" in problem.description) == (scaling == "mean_field")


def test_diagonal_is_the_product_of_its_factors():
    u, v, w, x = np.random.default_rng(3).normal(size=(4, 5))
    theta = jnp.asarray(np.r_[u, v, w])
    found = td.diagonal(5, 3).evaluate(theta, jnp.asarray(x))
    np.testing.assert_allclose(found, [np.sum(u * v * w * x)], rtol=1e-14)


def test_residual_blocks_add_to_the_stream():
    network = networks()["residual"]
    rng = np.random.default_rng(4)
    theta, x = rng.normal(size=network.size), rng.normal(size=3)
    p = split(network, theta)
    stream = p["embedding.weight"] @ x + p["embedding.bias"]
    for block in ("block1", "block2"):
        hidden = np.tanh(p[f"{block}.layer1.weight"] @ stream + p[f"{block}.layer1.bias"])
        stream = stream + p[f"{block}.layer2.weight"] @ hidden + p[f"{block}.layer2.bias"]
    expected = p["readout.weight"] @ stream + p["readout.bias"]
    np.testing.assert_allclose(network.evaluate(jnp.asarray(theta), jnp.asarray(x)), expected, rtol=1e-13)


def test_the_smallest_residual_block_keeps_its_input():
    network = td.residual(2, 2, bias=False)
    assert network.size == 8
    x = jnp.array([1.5, -2.0])
    np.testing.assert_array_equal(network.evaluate(jnp.zeros(8), x), x)


def correlate(image, weight, bias, mode, stride):
    """What deep learning calls convolution: correlation, summed over input channels."""
    maps = [
        sum(scipy.signal.correlate2d(image[c], kernel[c], mode=mode) for c in range(len(image))) + b
        for kernel, b in zip(weight, bias, strict=True)
    ]
    return np.stack(maps)[:, ::stride, ::stride]


def test_conv_equals_correlation_by_scipy():
    rng = np.random.default_rng(5)
    network = networks()["conv"]
    theta, x = rng.normal(size=network.size), rng.normal(size=network.image)
    p = split(network, theta)
    state = np.tanh(correlate(x, p["layer1.weight"], p["layer1.bias"], "same", 1))
    state = np.tanh(correlate(state, p["layer2.weight"], p["layer2.bias"], "same", 1))
    expected = p["layer3.weight"] @ state.mean(axis=(1, 2)) + p["layer3.bias"]
    np.testing.assert_allclose(network.evaluate(jnp.asarray(theta), jnp.asarray(x)), expected, rtol=1e-12)


def test_conv_without_pooling_reads_every_pixel():
    rng = np.random.default_rng(6)
    network = networks()["conv, all pixels"]
    theta, x = rng.normal(size=network.size), rng.normal(size=network.image)
    p = split(network, theta)
    state = np.tanh(correlate(x, p["layer1.weight"], p["layer1.bias"], "valid", 2))
    assert state.shape[1:] == network.pixels
    expected = p["layer2.weight"] @ state.ravel() + p["layer2.bias"]
    np.testing.assert_allclose(network.evaluate(jnp.asarray(theta), jnp.asarray(x)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", list(networks()))
def test_slices_partition_theta_and_neurons_are_numbered(name):
    layout = networks()[name].layout
    assert layout.size == networks()[name].size
    covered = np.concatenate([layout.indices(part).ravel() for part in layout.slices])
    np.testing.assert_array_equal(covered, np.arange(layout.size))
    for neuron in layout.neurons:
        assert len(set(neuron.indices.tolist())) == len(neuron.indices)
        assert neuron.indices.tolist() == [*neuron.incoming, *neuron.bias, *neuron.outgoing]
    places = [(neuron.layer, neuron.index) for neuron in layout.neurons]
    assert places == sorted(set(places))


@pytest.mark.parametrize("name", list(networks()))
def test_neuron_groups_are_complete_and_correct(name):
    """A neuron that nothing reads has no gradient into it, one without input no gradient out of it; nothing else."""
    network = networks()[name]
    rng = np.random.default_rng(7)
    x, theta = jnp.asarray(a_sample(network, rng)), rng.normal(size=network.size)
    neurons = network.layout.neurons
    dead = []
    for neuron in neurons:
        unread, without_input = theta.copy(), theta.copy()
        unread[neuron.outgoing] = 0
        without_input[np.r_[neuron.incoming, neuron.bias]] = 0
        dead += [unread, without_input]

    def output(theta, x):
        return jnp.sum(network.evaluate(theta, x) * jnp.arange(1.0, 1 + network.evaluate(theta, x).size))

    gradients = np.asarray(jax.jit(jax.vmap(jax.grad(output), (0, None)))(jnp.asarray(np.stack(dead)), x))
    for number, neuron in enumerate(neurons):
        into, out_of = gradients[2 * number], gradients[2 * number + 1]
        assert set(np.flatnonzero(into == 0)) == {*neuron.incoming, *neuron.bias}
        assert set(np.flatnonzero(out_of == 0)) == set(neuron.outgoing)


def test_every_hidden_neuron_has_its_record():
    counts = {name: len(network.layout.neurons) for name, network in networks().items()}
    assert counts["mlp"] == 4 + 5
    assert counts["two layers"] == 4
    assert counts["residual"] == 2 * 4
    assert counts["conv"] == 3 + 4
    assert counts["diagonal"] == 3
    deeper = td.diagonal(2, 3).layout.neurons
    assert [(n.incoming.tolist(), n.outgoing.tolist()) for n in deeper] == [([0], [2, 4]), ([1], [3, 5])]


@pytest.mark.parametrize(
    ("network", "fan_in"),
    [
        (td.mlp([200, 300, 4]), {"layer1.weight": 200, "layer2.weight": 300}),
        (td.two_layer(400, 1000), {"layer1.weight": 400, "layer2.weight": 1000}),
        (td.diagonal(5000, 2), {"layer1.weight": 1, "layer2.weight": 1}),
        (
            td.residual(50, 400, 100),
            {"block1.layer1.weight": 50, "block1.layer2.weight": 400, "readout.weight": 50},
        ),
        (td.conv((4, 9, 9), [60, 50], 10), {"layer1.weight": 36, "layer2.weight": 540, "layer3.weight": 50}),
    ],
    ids=["mlp", "two_layer", "diagonal", "residual", "conv"],
)
def test_start_has_variance_scale_squared_over_fan_in_and_no_biases(network, fan_in):
    theta = np.asarray(eqx.filter_jit(network.initial)(KEY, jnp.array(0.3)))
    for name, part in split(network, theta).items():
        if name.endswith("bias"):
            assert (part == 0).all()
        else:
            count, standardised = part.size, part.ravel() * np.sqrt(fan_in[name]) / 0.3
            # Five standard errors of the mean and of the variance of a normal sample.
            assert abs(standardised.mean()) < 5 / np.sqrt(count), name
            assert abs(standardised.var() - 1) < 5 * np.sqrt(2 / count), name


def test_the_scale_may_be_a_number_or_an_array():
    network = td.mlp([3, 4, 2])
    once = network.initial(KEY, 0.5)
    np.testing.assert_array_equal(once, network.initial(KEY, jnp.array(0.5)))
    np.testing.assert_allclose(once, 0.5 * network.initial(KEY), rtol=1e-15)


def test_layers_start_independently():
    parts = split(td.linear([30, 30, 30]), td.linear([30, 30, 30]).initial(KEY))
    assert abs(np.corrcoef(parts["layer1.weight"].ravel(), parts["layer2.weight"].ravel())[0, 1]) < 0.15


def test_mean_field_starts_on_the_sphere_with_signs():
    network = td.two_layer(5, 400, "relu", scaling="mean_field", bias=True)
    parts = split(network, eqx.filter_jit(network.initial)(KEY, jnp.array(2.0)))
    np.testing.assert_allclose(np.linalg.norm(parts["layer1.weight"], axis=1), 2.0, rtol=1e-14)
    assert np.linalg.norm(parts["layer1.weight"].mean(axis=0)) < 5 * 2 / np.sqrt(400)
    assert set(np.unique(parts["layer2.weight"])) == {-2.0, 2.0}
    assert abs(parts["layer2.weight"].mean()) < 5 * 2 / np.sqrt(400)
    assert (parts["layer1.bias"] == 0).all()


def test_networks_of_equal_arguments_are_equal_and_hash_alike():
    one, other = td.mlp([3, 4, 2], "tanh"), td.mlp((3, 4, 2), "tanh")
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert hash(jax.tree.structure(one)) == hash(jax.tree.structure(other))
    for different in (td.mlp([3, 4, 2], "relu"), td.mlp([3, 4, 2], "tanh", bias=False), td.mlp([3, 5, 2])):
        assert jax.tree.structure(different) != jax.tree.structure(one)
    assert one.layout is other.layout


@pytest.mark.parametrize(
    ("description", "network"),
    [
        ("mlp 64-32-10 tanh", td.mlp([64, 32, 10])),
        ("mlp 2-3-1 relu without biases", td.mlp([2, 3, 1], "relu", bias=False)),
        ("mlp 2-3-1 relu with hidden biases", td.mlp([2, 3, 1], "relu", bias="hidden")),
        ("linear 2-3-1", td.linear([2, 3, 1])),
        ("two-layer 2-3-1 relu with hidden biases", td.two_layer(2, 3, "relu", bias=True)),
        ("two-layer 2-3-1 relu, mean-field scaled", td.two_layer(2, 3, "relu", scaling="mean_field")),
        ("diagonal linear network of 4 inputs and depth 2", td.diagonal(4)),
        ("residual 2 with 1 block of 3 relu without biases", td.residual(2, 3, bias=False)),
        ("residual 2-5-1 with 2 blocks of 3 tanh", td.residual(2, 3, 1, "tanh", blocks=2, stream=5)),
        ("conv 1-4-10 relu on 8×8 images, 3×3 kernels", td.conv((1, 8, 8), [4], 10)),
    ],
)
def test_descriptions_say_what_matters(description, network):
    assert network.description == description


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: td.mlp([3]), r"expected at least \[inputs, outputs\]"),
        (lambda: td.mlp([3, 0, 1]), r"widths\[1\] is 0"),
        (lambda: td.mlp([3, 2, 1], bias="output"), 'expected True, False or "hidden"'),
        (lambda: td.two_layer(3, True), "width is True"),
        (lambda: td.diagonal(3, 0), "depth is 0"),
        (lambda: td.residual(3, 4, 0), "outputs is 0"),
        (lambda: td.residual(3, 4, stream=-1), "stream is -1"),
        (lambda: td.conv((8, 8), [4], 10), "channels, height, width"),
        (lambda: td.conv((1, 8, 8), [], 10), "at least one convolution"),
        (lambda: td.conv((1, 4, 4), [4, 4], 10, padding="valid"), "too small"),
    ],
)
def test_networks_that_cannot_be_built_are_named(build, words):
    with pytest.raises(NetworkError, match=words):
        build()


def test_unknown_options_come_with_the_nearest_known_one():
    with pytest.raises(UnknownNameError, match="did you mean 'mean_field'"):
        td.two_layer(3, 4, scaling="mean-field")
    with pytest.raises(UnknownNameError, match="padding"):
        td.conv((1, 4, 4), [4], 2, padding="reflect")


@pytest.mark.parametrize("name", list(networks()))
def test_a_sample_of_the_wrong_shape_is_named(name):
    with pytest.raises(ShapeError, match=r"given a sample of shape \(7,\)"):
        td.EmpiricalRisk(networks()[name], td.squared, np.zeros((2, 7)), np.zeros((2, 1)))
