"""Sliding along the kink of a ReLU ends a run by name; crossing kinks does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.dynamics.specimens import NEEDS_SUNDIALS, same_bits
from tests.oracles.scalar_linear import ScalarLinearFlow
from thetadot.dynamics import chatter

# f(x) = a·relu(w·x + b) on samples at 1 (label 0.9) and 0 (label −1): the second sample's kink is where b = 0. Below it
# the first sample pulls b up by a·r/2, r = 0.9 − a·w; above it the second pushes down by a·(1 + a·b)/2, which is more.
X, Y = np.array([[1.0], [0.0]]), np.array([[0.9], [-1.0]])
START = np.array([0.5, -0.05, 0.7])
SOLVERS = ["auto", "Tsit5", "Kvaerno5", pytest.param("CVODE", marks=NEEDS_SUNDIALS)]


def _risk(activation="relu"):
    return td.EmpiricalRisk(td.two_layer(1, 1, activation, bias=True), td.squared, X, Y)


def _gradient(theta):
    """By hand."""
    w, b, a = theta
    active = X[:, 0] * w + b > 0
    pulled = (a * np.maximum(X[:, 0] * w + b, 0) - Y[:, 0]) * active / 2
    return np.array([a * pulled @ X[:, 0], a * pulled.sum(), pulled @ (X[:, 0] * w + b)])


def test_the_example_slides():
    for along in (0.0, 0.3, 0.8):
        kink = np.array([0.55 + along * 0.3, 0.0, np.sqrt(0.54) + along * 0.2])
        aside = np.array([0, 1e-9, 0])
        below, above = -_gradient(kink - aside), -_gradient(kink + aside)
        assert below[1] > 0.01, "pulled up from below"
        assert above[1] < -0.01, "and down from above"


def test_the_sliding_flow_is_that_of_a_linear_network_as_a_smoothed_kink_shows():
    path = td.flow(
        _risk(_smoothed), jnp.asarray(START), until=td.Until(time=4.0), solver="Kvaerno5", progress=False
    )
    reached = int(np.argmax(path.thetas[:, 1] > -1e-5))
    start, ts = path.thetas[reached], path.ts[reached:] - path.ts[reached]
    # b = 0 stays; the second sample, for the share of time that balances b, moves neither w nor a.
    exact = ScalarLinearFlow(start[2], start[0], 0.5, 0.45).thetas(ts)
    np.testing.assert_allclose(path.thetas[reached:, [0, 2]], exact, atol=2e-4)
    np.testing.assert_allclose(path.thetas[reached:, 1], 0.0, atol=2e-4)


def _smoothed(z):
    return jnp.logaddexp(2e4 * z, 0.0) / 2e4


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_that_slides_ends_as_stalled_with_neuron_and_sample_named(solver):
    path = td.flow(_risk(), jnp.asarray(START), until=td.Until(time=20.0), solver=solver, progress=False)
    assert path.outcome is td.Outcome.STALLED
    assert "neuron 0 of layer 1 at sample 1" in path.reason
    # w − b and a² − w² − b² are conserved up to the kink.
    np.testing.assert_allclose(path.thetas[-1], [0.55, 0.0, np.sqrt(0.54)], atol=1e-3)


def test_it_ends_at_the_same_step_in_pieces():
    settings = {"until": td.Until(time=20.0), "progress": False}
    whole = td.flow(_risk(), jnp.asarray(START), **settings)
    path = None
    while path is None or path.outcome is td.Outcome.BUDGET_SPENT:
        path = td.flow(_risk(), jnp.asarray(START), **settings, budget=1e-9, resume=path)
    assert same_bits(path, whole)
    assert path.reason == whole.reason


def test_other_neurons_and_samples_are_named_rightly():
    # Two idle neurons before the sliding one, an idle sample between the two that matter.
    x, y = np.array([[1.0], [-3.0], [0.0]]), np.array([[0.9], [0.0], [-1.0]])
    risk = td.EmpiricalRisk(td.two_layer(1, 3, "relu", bias=True), td.squared, x, y)
    theta0 = np.array([0.1, 0.1, 0.5, -1.0, -1.0, -0.05, 0.5, 0.5, 0.7])
    path = td.flow(risk, jnp.asarray(theta0), until=td.Until(time=20.0), progress=False)
    assert path.outcome is td.Outcome.STALLED
    assert "neuron 2 of layer 1 at sample 2" in path.reason


def test_leaky_kinks_slide_too():
    risk = td.EmpiricalRisk(td.two_layer(1, 1, "leaky_relu", bias=True), td.squared, X, Y)
    path = td.flow(risk, jnp.asarray(START), until=td.Until(time=20.0), progress=False)
    assert path.outcome is td.Outcome.STALLED
    assert "neuron 0 of layer 1 at sample 1" in path.reason


def test_an_ordinary_run_crosses_kinks_and_loses_neurons_without_being_stopped(monkeypatch):
    monkeypatch.setattr(chatter, "EVERY", 10)
    monkeypatch.setattr(chatter, "little_progress", lambda *_: True)
    looks, look = [], chatter.sliding_pair
    monkeypatch.setattr(chatter, "sliding_pair", lambda *given: looks.append(look(*given)) or looks[-1])
    rng = np.random.default_rng(5)
    x = rng.normal(size=(30, 2))
    network = td.mlp([2, 8, 1], "relu")
    risk = td.EmpiricalRisk(network, td.squared, x, np.sin(2 * x[:, :1]) - 4)
    theta0, first = np.array(risk.init(jax.random.key(3), 1.5)), network.layout.neurons[0]
    # A weak neuron that is on everywhere and raises an output that must fall: it goes off at sample after sample.
    theta0[first.incoming] *= 0.03
    theta0[first.bias], theta0[first.outgoing] = 0.1, 0.5
    path = td.flow(risk, jnp.asarray(theta0), until=td.Until(time=3.0), accuracy=1e-5, progress=False)
    assert path.outcome is td.Outcome.REACHED_TIME, path
    assert len(looks) > 30
    sides = np.array([network.preactivations(jnp.asarray(t), jnp.asarray(x))[1] > 0 for t in path.thetas])
    assert np.sum(sides[1:] != sides[:-1]) > 40, "hardly a kink was crossed"
    assert sides[0, 0].all()
    assert not sides[-1, 0].any(), "the neuron did not die"


@pytest.mark.parametrize(
    "network",
    [td.mlp([2, 4, 3, 1], "relu"), td.two_layer(2, 5, "relu", bias=True), td.residual(2, 4, 1)],
    ids=["mlp", "two_layer", "residual"],
)
def test_preactivations_are_what_the_layers_compute(network):
    theta = np.random.default_rng(0).normal(size=network.size)
    x = np.random.default_rng(1).normal(size=(6, 2))
    parts = {name: np.asarray(part) for name, part in network.layout.split(theta).items()}
    found = network.preactivations(jnp.asarray(theta), jnp.asarray(x))
    first = "block1.layer1" if "block1.layer1.weight" in parts else "layer1"
    expected = parts[f"{first}.weight"] @ x.T + parts[f"{first}.bias"][:, None]
    np.testing.assert_allclose(found[1], expected, rtol=1e-13)
    hidden = {(neuron.layer, neuron.index) for neuron in network.layout.neurons}
    assert {(layer, index) for layer, rows in found.items() for index in range(len(rows))} == hidden
    if "layer3.weight" in parts:
        second = parts["layer2.weight"] @ np.maximum(expected, 0) + parts["layer2.bias"][:, None]
        np.testing.assert_allclose(found[2], second, rtol=1e-12, atol=1e-14)
