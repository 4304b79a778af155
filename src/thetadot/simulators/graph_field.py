"""Networks that are vector fields on graphs: the form of the dynamics is built in, its terms are learned.

F(x)_i = own(x_i) + out(q₂(x_i) ∗ Σ_j A_ji q₁(x_j)), ∗ elementwise over channels. own: linear–tanh–…–linear;
q₁, q₂: linear–tanh–linear; out: linear.
"""

import functools
import importlib.resources
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from thetadot.problems.checks import Numbers, as_float64, as_vector
from thetadot.problems.layout import Layout
from thetadot.problems.losses import SampleLoss
from thetadot.problems.start import gaussian_start
from thetadot.simulators.checks import in_range, one_of
from thetadot.simulators.errors import GraphError, MatrixError, SettingError
from thetadot.simulators.graph import Graph

MESSAGES = ("edges", "dense")


@functools.cache
def _densest() -> dict[str, float]:
    """Where a dense product is faster than sums over edges, as `benchmarks/simulators.py --calibrate` measured."""
    text = importlib.resources.files("thetadot.simulators").joinpath("message_choice.json").read_text("utf-8")
    return json.loads(text)


def message_form(nodes: int, edges: int) -> str:
    """ "dense" or "edges": the form of the message sum that is faster at this size, by calibration.

    Example:
        >>> message_form(30, 90), message_form(100_000, 1_000_000)
        ('dense', 'edges')
    """
    return "dense" if nodes * nodes <= _densest()["dense_entries_per_edge"] * max(edges, nodes) else "edges"


class GraphField(eqx.Module):
    """A vector field on a graph as a network; build it with `graph_field`.

    One sample is the states (n, d) of all nodes, the prediction their derivatives (n, d). θ does not depend on the
    graph: `on(graph)` is the same field elsewhere.

    Attributes:
        graph: on which it is evaluated.
        components: d. width, channels, own_layers: sizes.
        self_interaction, neighbour_interaction: which terms there are.
        message: "edges" or "dense": how messages are summed.
    """

    graph: Graph
    components: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    own_layers: int = eqx.field(static=True)
    self_interaction: bool = eqx.field(static=True)
    neighbour_interaction: bool = eqx.field(static=True)
    message: str = eqx.field(static=True)

    @property
    def layout(self) -> Layout:
        """Slices own.layer1.weight, …, sender.layer1.weight (q₁), receiver.layer1.weight (q₂), …, out.weight."""
        return _layout(
            self.components, self.width, self.channels, self.own_layers,
            self.self_interaction, self.neighbour_interaction,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self.layout.size

    @property
    def time_scale(self) -> float:
        """1.0."""
        return 1.0

    @property
    def description(self) -> str:
        """Sizes and terms in one line."""
        lacking = "" if self.self_interaction else " without own term"
        lacking += "" if self.neighbour_interaction else " without neighbours"
        return f"graph field of width {self.width}, {self.channels} channels, on {self.graph.size} nodes{lacking}"

    def initial(self, key: PRNGKeyArray, scale: float | Array = 1.0) -> Float[Array, " P"]:
        """Weights N(0, scale²/fan_in), biases 0."""
        return gaussian_start(self.layout, key, scale)

    def on(self, graph: Graph) -> "GraphField":
        """The same field, with the same layout of θ, on another graph."""
        form = message_form(graph.size, graph.edges)
        return eqx.tree_at(lambda field: field.graph, _with_message(self, form), graph)

    def evaluate(self, theta: Numbers, states: Numbers, graph: Graph | None = None) -> Float[Array, "n d"]:
        """Derivatives (n, d) at states (n, d), on the field's own graph or another."""
        if graph is not None:
            return self.on(graph).evaluate(theta, states)
        theta, states = as_vector(theta, self.size, "theta"), as_float64(states, "states")
        if states.shape != (self.graph.size, self.components):
            raise MatrixError(
                f"the field takes states of shape ({self.graph.size}, {self.components}), nodes × components; given "
                f"{states.shape}"
            )
        parts = self.layout.split(theta)
        derivative = jnp.zeros(states.shape)
        if self.self_interaction:
            derivative = derivative + _dense(parts, "own", self.own_layers + 2, states)
        if self.neighbour_interaction:
            heard = self._summed(_dense(parts, "sender", 2, states))
            message = _dense(parts, "receiver", 2, states) * heard
            derivative = derivative + (message @ parts["out.weight"].T + parts["out.bias"][None])
        return derivative

    def _summed(self, sent: Float[Array, "n c"]) -> Float[Array, "n c"]:
        """Σ_j A_ji sent_j for every node i."""
        graph = self.graph
        if self.message == "dense":
            return graph.dense().T @ sent
        heard = graph.weights[:, None] * sent[graph.sources]
        return jax.ops.segment_sum(heard, graph.targets, graph.size, indices_are_sorted=True)


def _with_message(field: GraphField, form: str) -> GraphField:
    return GraphField(
        field.graph, field.components, field.width, field.channels, field.own_layers,
        field.self_interaction, field.neighbour_interaction, form,
    )  # fmt: skip


def _dense(parts: dict[str, Array], name: str, layers: int, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
    for number in range(1, layers + 1):
        x = x @ parts[f"{name}.layer{number}.weight"].T + parts[f"{name}.layer{number}.bias"][None]
        if number < layers:
            x = jnp.tanh(x)
    return x


@functools.lru_cache(maxsize=64)
def _layout(
    components: int, width: int, channels: int, own_layers: int, self_term: bool, neighbour_term: bool
) -> Layout:
    chains: dict[str, list[int]] = {}
    if self_term:
        chains["own"] = [components, *[width] * (own_layers + 1), components]
    if neighbour_term:
        chains["sender"] = chains["receiver"] = [components, width, channels]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, widths in chains.items():
        for number in range(1, len(widths)):
            shapes[f"{name}.layer{number}.weight"] = (widths[number], widths[number - 1])
            shapes[f"{name}.layer{number}.bias"] = (widths[number],)
    if neighbour_term:
        shapes["out.weight"], shapes["out.bias"] = (components, channels), (components,)
    return Layout(shapes)


def graph_field(
    graph: Graph,
    *,
    components: int = 1,
    width: int = 30,
    channels: int = 30,
    own_layers: int = 1,
    self_interaction: bool = True,
    neighbour_interaction: bool = True,
    message: str = "auto",
) -> GraphField:
    """A network for dx_i/dt = F_own(x_i) + Σ_j A_ji F_pair(x_i, x_j), to be trained as an `EmpiricalRisk`.

    Arguments:
        graph: on which it is trained; adjacency[source, target], node i listens to its in-neighbours.
        components: d, numbers per node. width: of hidden layers. channels: of messages.
        own_layers: hidden layers of the own term beyond the first.
        self_interaction, neighbour_interaction: whether there is an own term, and messages.
        message: "edges" (sums over the edge list), "dense" (a matrix product), or "auto": the faster of both at this
            size, by calibration.

    Returns:
        A network of one sample (n, d) → (n, d). Weights start as N(0, scale²/fan_in), biases at 0.

    Raises:
        SettingError: sizes that are not whole numbers, no terms at all, an unknown form of the message.
        GraphError: not a graph.

    Source: V. Vasiliauskaite, N. Antulov-Fantulin, arXiv 2301.04900 (architecture of the authors' code, which stores
        the transposed adjacency).

    Example:
        >>> from thetadot.simulators import erdos_renyi
        >>> field = graph_field(erdos_renyi(jax.random.key(0), 20, 0.2), width=4, channels=3)
        >>> field.size, field.evaluate(field.initial(jax.random.key(1)), jnp.ones((20, 1))).shape
        (83, (20, 1))
    """
    if not isinstance(graph, Graph):
        raise GraphError(f"graph is a {type(graph).__name__}, expected a thetadot.simulators.Graph")
    sizes = {"components": components, "width": width, "channels": channels, "own_layers": own_layers + 1}
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise SettingError(
                f"{name} is {value!r}, expected a whole number of at least {int(name[0] != 'o')}"
            )
    if not (self_interaction or neighbour_interaction):
        raise SettingError("neither own term nor neighbours: the field would be 0")
    if message == "auto":
        message = message_form(graph.size, graph.edges)
    one_of(message, MESSAGES, "message")
    return GraphField(
        graph, int(components), int(width), int(channels), int(own_layers), self_interaction, neighbour_interaction,
        message,
    )  # fmt: skip


class _AbsoluteWithSpread(eqx.Module):
    """Two of the same weight are equal, so that they share a compiled program."""

    weight: float = eqx.field(static=True)

    def __call__(self, prediction: Array, label: Array) -> Array:
        error = jnp.abs(prediction - label)
        mean = jnp.mean(error)
        if self.weight == 0 or error.shape[-2] < 2:
            return mean
        return mean + self.weight * jnp.mean(jnp.var(error, axis=-2, ddof=1))


def absolute_with_spread(weight: float = 1.0) -> SampleLoss:
    """The loss mean_i|e_i| + weight·Var_i|e_i| of one sample of states (n, d).

    Mean and variance (with n − 1) over the nodes, then the mean over components. 0 is the plain absolute loss.

    Arguments:
        weight: of the variance, ≥ 0.

    Raises:
        SettingError: a negative weight.

    Source: arXiv 2301.04900, the authors' code.

    Example:
        >>> float(absolute_with_spread()(jnp.array([[1.0], [3.0]]), jnp.zeros((2, 1))))
        4.0
    """
    weight = in_range(weight, "weight", 0.0)
    name = "absolute loss" if weight == 0 else f"absolute loss with {weight:g}·spread"
    return SampleLoss(name, _AbsoluteWithSpread(weight), "numbers")
