"""The structured Hessian, and the one by columns, against `jax.hessian`."""

import functools
import itertools
import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.problems.activations import NAMES, Activation, as_activation
from thetadot.problems.chain import Chain, bias_flags
from thetadot.problems.columns import hessian_by_columns
from thetadot.problems.hessian import chain_hessian

ACTIVATIONS = [as_activation(name) for name in NAMES]
# Compiled without optimisation: these programs run a few times each.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def choice(options, index):
    """Sum of the options, weighted 1 at the traced index and 0 elsewhere: one program for all of them."""
    return sum(jnp.where(index == place, 1.0, 0.0) * option for place, option in enumerate(options))


@functools.partial(jax.jit, static_argnums=(0, 1), compiler_options=QUICKLY)
def both_hessians(widths, biases, activation_index, loss_index, theta, x, numbers, classes):
    """(structured, jax.hessian) of the same mean loss, written independently for the second."""

    def activation(z):
        return choice([one(z) for one in ACTIVATIONS], activation_index)

    def loss(prediction, label):
        number, chosen = label[:-1], label[-1].astype(int)
        return choice(
            [
                td.squared(prediction, number),
                td.cross_entropy(prediction, chosen),
                td.logistic(prediction, jnp.sign(number)),
            ],
            loss_index,
        )

    def mean_loss(theta):
        rest, state = theta, x.T
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            weight, rest = rest[: fan_in * fan_out].reshape(fan_out, fan_in), rest[fan_in * fan_out :]
            state = weight @ state
            if biases[layer]:
                state, rest = state + rest[:fan_out, None], rest[fan_out:]
            if layer < len(biases) - 1:
                state = activation(state)
        return jnp.mean(jax.vmap(loss, (1, 0))(state, labels))

    labels = jnp.concatenate([numbers, classes[:, None]], axis=1)
    chain = Chain(widths, biases, Activation("any", activation))
    return chain_hessian(chain, loss, theta, x, labels), jax.hessian(mean_loss)(theta)


@pytest.mark.parametrize(
    ("hidden", "bias"),
    [
        ((), True),
        ((3,), True),
        ((3,), False),
        ((3, 4), True),
        ((3, 4), False),
        ((3, 4), "hidden"),
        pytest.param((3, 4, 2), True, marks=pytest.mark.slow),
        pytest.param((3, 4, 2), False, marks=pytest.mark.slow),
    ],
)
def test_hessian_of_every_mlp_equals_jax_hessian(hidden, bias):
    widths = (2, *hidden, 3)
    biases = bias_flags(bias, len(widths) - 1)
    size = td.mlp(widths, bias=bias).size
    rng = np.random.default_rng(size)
    for activation_index, name in enumerate(NAMES):
        for loss_index, loss in enumerate(("squared", "cross_entropy", "logistic")):
            theta, x = rng.normal(size=size), rng.normal(size=(5, 2))
            numbers, classes = rng.normal(size=(5, 3)), rng.integers(0, 3, 5).astype(float)
            ours, reference = both_hessians(
                widths, biases, activation_index, loss_index, *map(jnp.asarray, (theta, x, numbers, classes))
            )
            scale = float(jnp.max(jnp.abs(reference)))
            assert scale > 1e-3
            np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * scale, err_msg=f"{name}, {loss}")


@functools.partial(jax.jit, compiler_options=QUICKLY)
def reference_hessian(problem, theta):
    return jax.hessian(problem.loss)(theta)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def derivatives(problem, theta, vector):
    push = problem.linearize(theta)[2]
    return {
        "hessian": problem.hessian(theta),
        "reference": jax.hessian(problem.loss)(theta),
        "product": problem.hvp(theta, vector),
        "pushed": push(vector),
    }


def random_theta(problem, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=problem.size))


def softplus_margin(prediction, label):
    """A loss of a user's own, with a curvature that mixes the outputs."""
    return jnp.log1p(jnp.exp(-jnp.sum(prediction) * label[0])) + 0.1 * prediction[0] * prediction[1] ** 2


def drawn(inputs, outputs, samples=7, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, *inputs)), rng.normal(size=(samples, *outputs))


@functools.cache
def named_problems():
    rng = np.random.default_rng(3)
    return {
        "mlp, cross-entropy": td.EmpiricalRisk(
            td.mlp([4, 5, 3], "tanh"), td.cross_entropy, rng.normal(size=(9, 4)), rng.integers(0, 3, 9)
        ),
        "mlp, a user's loss and activation": td.EmpiricalRisk(
            td.mlp([3, 4, 2], lambda z: jnp.sin(z) + 0.3 * z), softplus_margin, *drawn((3,), (2,))
        ),
        "two layers, mean field": td.EmpiricalRisk(
            td.two_layer(3, 6, "softplus", scaling="mean_field", bias=True), td.squared, *drawn((3,), (1,))
        ),
        "deep linear": td.EmpiricalRisk(td.linear([2, 3, 3, 2]), td.squared, *drawn((2,), (2,))),
        "Equinox MLP": td.from_equinox(
            eqx.nn.MLP(3, 2, 4, 2, activation=jnp.tanh, key=jax.random.key(0)), td.squared, *drawn((3,), (2,))
        ),
        "diagonal": td.EmpiricalRisk(td.diagonal(4, 3), td.squared, *drawn((4,), (1,))),
        "residual": td.EmpiricalRisk(td.residual(3, 4, 2, "tanh"), td.squared, *drawn((3,), (2,))),
        "conv": td.EmpiricalRisk(td.conv((1, 4, 4), [2], 2, "tanh"), td.squared, *drawn((1, 4, 4), (2,))),
        "function": td.FunctionRisk(lambda t: jnp.sum(jnp.cos(t) * t[::-1]) ** 2, jnp.ones(6)),
    }


STRUCTURED = 5


@pytest.mark.parametrize("name", list(named_problems()))
def test_hessian_is_exact_symmetric_and_agrees_with_hessian_vector_products(name):
    problem = named_problems()[name]
    theta, vector = random_theta(problem), random_theta(problem, 5)
    found = derivatives(problem, theta, vector)
    hessian, reference = found["hessian"], found["reference"]
    scale = float(jnp.max(jnp.abs(reference)))
    np.testing.assert_allclose(hessian, reference, rtol=0, atol=1e-12 * scale)
    np.testing.assert_array_equal(hessian, hessian.T)
    for product in (found["product"], found["pushed"]):
        np.testing.assert_allclose(product, hessian @ vector, rtol=0, atol=1e-12 * scale * problem.size)


def test_a_linearisation_serves_many_vectors():
    problem = named_problems()["two layers, mean field"]
    theta = random_theta(problem)
    value, gradient, push = problem.linearize(theta)
    loss, expected = problem.value_and_grad(theta)
    np.testing.assert_allclose(value, loss, rtol=1e-14)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)
    columns = jax.vmap(push)(jnp.eye(problem.size))
    np.testing.assert_allclose(columns, problem.hessian(theta), rtol=0, atol=1e-13)


def test_every_chain_of_dense_layers_takes_the_structured_path_and_says_so():
    methods = [problem.hessian_method for problem in named_problems().values()]
    assert methods == ["structured"] * STRUCTURED + ["by columns"] * (len(methods) - STRUCTURED)


def test_the_fallback_to_columns_is_logged_with_its_reason(caplog):
    problem = td.EmpiricalRisk(
        td.residual(2, 3, activation="tanh"), td.squared, *drawn((2,), (2,), samples=3)
    )
    with caplog.at_level(logging.INFO, "thetadot.problems"):
        problem.hessian(random_theta(problem))
    assert "not a chain of dense layers" in caplog.text


@pytest.mark.parametrize("memory", [1, 20_000])
def test_samples_in_chunks_give_the_same_hessian(memory, caplog):
    network = td.mlp([3, 4, 3, 2], "gelu")
    x, y = map(jnp.asarray, drawn((3,), (2,), samples=23))
    theta = jnp.asarray(np.random.default_rng(7).normal(size=network.size))
    compiled = functools.partial(
        jax.jit(chain_hessian, static_argnums=(0, 1), static_argnames="memory", compiler_options=QUICKLY),
        *(network.chain, td.squared, theta, x, y),
    )
    whole = compiled()
    with caplog.at_level(logging.INFO, "thetadot.problems"):
        parts = compiled(memory=memory)
    assert "samples at a time" in caplog.text
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-14 * float(jnp.max(jnp.abs(whole))))


def test_columns_in_chunks_give_the_same_hessian(caplog):
    problem = named_problems()["residual"]
    theta = random_theta(problem)
    # Seven samples and layers of four and three neurons, forwards and backwards: more than one column's 500 bytes.
    with caplog.at_level(logging.INFO, "thetadot.problems"):
        one = jax.jit(hessian_by_columns, static_argnames="memory")(problem, theta, memory=500)
        chunked = jax.jit(hessian_by_columns, static_argnames="memory")(problem, theta, memory=30_000)
    first, second = (record.args[1] for record in caplog.records if "columns at a time" in record.message)
    assert first == 1 < second < problem.size
    np.testing.assert_allclose(one, chunked, rtol=0, atol=1e-14)
    np.testing.assert_allclose(chunked, reference_hessian(problem, theta), rtol=0, atol=1e-12)


def test_the_hessian_of_a_relu_network_is_the_one_sided_one_at_a_kink():
    # All pre-activations are 0 at θ = 0, where σ′(0) = 0 as jax.grad has it: H is 0 but for the output bias.
    problem = td.EmpiricalRisk(td.mlp([2, 3, 1], "relu"), td.squared, *drawn((2,), (1,)))
    hessian = np.asarray(problem.hessian(jnp.zeros(problem.size)))
    expected = np.zeros_like(hessian)
    expected[-1, -1] = 1.0
    np.testing.assert_allclose(hessian, expected, rtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [[5, 10, 10, 1], [10, 50, 1]])
def test_the_structured_hessian_is_several_times_faster_than_jax_hessian(widths):
    import timeit

    problem = td.EmpiricalRisk(td.mlp(widths, "tanh"), td.squared, *drawn((widths[0],), (1,), samples=1000))
    theta = random_theta(problem)

    def best(function):
        function(theta).block_until_ready()
        return min(timeit.repeat(lambda: function(theta).block_until_ready(), number=1, repeat=7))

    assert 4 * best(problem.hessian) < best(lambda theta: reference_hessian(problem, theta))
