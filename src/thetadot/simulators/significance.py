"""Where to trust a learned field: members of an ensemble disagree where the data taught them nothing.

One draw takes M members without replacement, a state and a node; d is the variance (M − 1) of their predictions there,
summed over components. A p-value is the share of d on in-distribution states that are at least as large. Draws share
the members, so that they are dependent; have at least 2·M of them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from thetadot.dynamics import Executor, InProcess, Path, Processes, Rule, descend
from thetadot.problems import EmpiricalRisk
from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_numbers, in_range
from thetadot.simulators.errors import DrawError, MatrixError, SettingError
from thetadot.simulators.graph import Graph, degree_scale
from thetadot.simulators.graph_field import GraphField, absolute_with_spread
from thetadot.simulators.training_rule import field_rule

HETEROGENEOUS = 0.5
"""Coefficient of variation of in-degrees above which a degree scale is not to be trusted."""
_MOST_NUMBERS = 2**24


@dataclasses.dataclass(frozen=True)
class FieldEnsemble:
    """Fields trained on bootstraps of the same data from different initial weights.

    Attributes:
        thetas (M, P): their parameters. losses (M,): each on its own bootstrap.
        field: the network, on the training graph.
    """

    thetas: Float[Array, "M P"]
    losses: Float[np.ndarray, " M"]
    field: GraphField

    def predictions(self, states: Numbers, graph: Graph | None = None) -> Float[Array, "M S n d"]:
        """Derivatives that each member predicts at states (S, n, d), on the training graph or another."""
        x = jnp.asarray(as_numbers(states, "states", 3))
        return _predictions(self.field if graph is None else self.field.on(graph), self.thetas, x)


@eqx.filter_jit
def _predictions(field: GraphField, thetas: Array, states: Array) -> Array:
    # One member after another: all at once would hold every hidden layer of every member.
    return jax.lax.map(lambda theta: jax.vmap(lambda x: field.evaluate(theta, x))(states), thetas)


def _member(problem: EmpiricalRisk, theta: Array, rule: Rule, steps: int) -> Path:
    return descend(problem, theta, rule, steps, saves=[0, steps], progress=False)


def bootstrap_ensemble(
    field: GraphField,
    states: Numbers,
    derivatives: Numbers,
    *,
    members: int = 20,
    fraction: float = 0.9,
    steps: int = 3000,
    rule: Rule | Callable[[PRNGKeyArray], Rule] | None = None,
    loss: Callable | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    key: PRNGKeyArray,
) -> FieldEnsemble:
    """Train a field many times, each time from its own initial weights on its own bootstrap of the data.

    Arguments:
        field: the network. states, derivatives: (N, n, d).
        members: M. fraction: size of a bootstrap, as a fraction of N; drawn with replacement.
        steps: of training. rule: the learning rule, or key → rule; by default `field_rule`: Adam on batches of 100.
        loss: of one sample; by default `absolute_with_spread()`.
        workers: processes over which members are spread. executor: of your own, as a cluster; instead of `workers`.
        key: the draw.

    Returns:
        The ensemble. Members have the same shapes: one program trains all.

    Raises:
        SettingError: fewer than 2 members, a fraction outside (0, 1]. MatrixError: shapes that do not fit.

    Source: arXiv 2301.04900 (20 members, 90 %).

    Example:
        >>> from thetadot.simulators import epidemic, erdos_renyi, graph_field, independent_states
        >>> graph = erdos_renyi(jax.random.key(0), 8, 0.5)
        >>> data = independent_states(jax.random.key(1), epidemic(), graph, samples=40)
        >>> field = graph_field(graph, width=4, channels=4)
        >>> ensemble = bootstrap_ensemble(field, *data, members=2, steps=200, key=jax.random.key(2))
        >>> ensemble.thetas.shape == (2, field.size)
        True
    """
    x, y = as_numbers(states, "states", 3), as_numbers(derivatives, "derivatives", 3)
    if x.shape != y.shape:
        raise MatrixError(f"states {x.shape} and derivatives {y.shape}: expected the same shape")
    if members < 2:
        raise SettingError(f"members is {members}, expected at least 2")
    in_range(fraction, "fraction", 0.0, np.nextafter(1.0, 2.0), open_low=True)
    amount = max(1, round(fraction * len(x)))
    work = []
    for one in jax.random.split(key, members):
        draw, start, batches = jax.random.split(one, 3)
        chosen = np.asarray(jax.random.choice(draw, len(x), (amount,)))
        problem = EmpiricalRisk(field, absolute_with_spread() if loss is None else loss, x[chosen], y[chosen])
        if rule is None:
            made = field_rule(steps, batches, samples=amount)
        else:
            made = rule if isinstance(rule, Rule) else rule(batches)
        work.append((problem, problem.init(start), made, steps))
    paths: list[Any] = [None] * members
    crew = executor or (InProcess() if workers == 1 else Processes(workers))
    for index, path in crew.run(_member, work):
        paths[index] = path
    thetas = jnp.asarray(np.stack([path.thetas[-1] for path in paths]))
    return FieldEnsemble(thetas, np.array([path.losses[-1] for path in paths]), field)


def d_statistic(predictions: Numbers) -> Float[np.ndarray, "..."]:
    """Variance (M − 1) of the predictions of M members, entry by entry.

    Arguments:
        predictions: (M, …).

    Raises:
        DrawError: fewer than 2 members.

    Example:
        >>> d_statistic([[1.0, 5.0], [3.0, 5.0]]).tolist()
        [2.0, 0.0]
    """
    values = np.asarray(predictions, float)
    if values.ndim == 0 or len(values) < 2:
        raise DrawError(f"predictions of shape {values.shape}: a variance needs at least 2 members")
    return np.asarray(np.var(values, axis=0, ddof=1))


@dataclasses.dataclass(frozen=True)
class NullDistribution:
    """d on in-distribution states.

    Attributes:
        values (draws,): of d. draw: M. node: "random", "mean", "maximum", or the number of a node.
    """

    values: Float[np.ndarray, " draws"]
    draw: int
    node: str | int


def null_distribution(
    ensemble: FieldEnsemble,
    states: Numbers,
    *,
    graph: Graph | None = None,
    draw: int = 5,
    draws: int = 1000,
    node: str | int = "random",
    key: PRNGKeyArray,
) -> NullDistribution:
    """Draw d on states that the test shall accept.

    Arguments:
        ensemble: the members. states: (S, n, d), best held back from training: on training states members agree too
            well where they overfit, and the test rejects too often.
        graph: by default the training graph. draw: M. draws: number of values.
        node: "random": a node drawn anew each time; "mean" or "maximum" over the nodes; or one node.
        key: the draw.

    Raises:
        DrawError: more draws than members, no such node.

    Source: arXiv 2301.04900 (M = 5, 1000 draws, there on training states).

    Example:
        >>> from thetadot.simulators import erdos_renyi, graph_field
        >>> field = graph_field(erdos_renyi(jax.random.key(0), 6, 0.5), width=2, channels=2)
        >>> thetas = np.random.default_rng(0).normal(size=(4, field.size))
        >>> ensemble = FieldEnsemble(jnp.asarray(thetas), np.zeros(4), field)
        >>> null_distribution(ensemble, np.ones((3, 6, 1)), draw=2, draws=7, key=jax.random.key(1)).values.shape
        (7,)
    """
    values = _drawn(ensemble, states, graph, draw, draws, node, key).values
    return NullDistribution(values, draw, node)


@dataclasses.dataclass(frozen=True)
class _Draws:
    values: Float[np.ndarray, " K"]
    states: Int[np.ndarray, " K"]
    nodes: Int[np.ndarray, " K"]
    predictions: Float[np.ndarray, "K d"]


def _drawn(
    ensemble: FieldEnsemble, states: Numbers, graph: Graph | None, draw: int, draws: int | None, node: Any,
    key: PRNGKeyArray,
) -> _Draws:  # fmt: skip
    """Draws of d: on random states, or one on each state if `draws` is None."""
    x = as_numbers(states, "states", 3)
    members, nodes = len(ensemble.thetas), (ensemble.field.graph if graph is None else graph).size
    if not 2 <= draw <= members:
        raise DrawError(f"draw is {draw}, expected 2 to {members}, the members of the ensemble")
    known = node in ("random", "mean", "maximum") if isinstance(node, str) else 0 <= node < nodes
    if not known:
        raise DrawError(f'node is {node!r}, expected "random", "mean", "maximum" or 0 … {nodes - 1}')
    if len(x) == 0 or (draws is not None and draws < 1):
        raise DrawError(f"{len(x)} states and {draws} draws: expected some of both")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    which = np.arange(len(x)) if draws is None else rng.integers(len(x), size=draws)
    amount = len(which)
    chosen = np.argsort(rng.random((amount, members)), axis=1)[:, :draw]
    place = np.full(amount, -1) if isinstance(node, str) else np.full(amount, node)
    if node == "random":
        place = rng.integers(nodes, size=amount)
    components = ensemble.field.components
    values, told = np.empty(amount), np.full((amount, components), np.nan)
    # States in blocks: predictions of all members at once on all states of a large graph would not fit.
    block = max(1, _MOST_NUMBERS // (members * nodes * components))
    for first in range(0, len(x), block):
        inside = (which >= first) & (which < first + block)
        if not inside.any():
            continue
        every = np.asarray(ensemble.predictions(x[first : first + block], graph))
        rows, columns = which[inside] - first, chosen[inside]
        if isinstance(node, str) and node != "random":
            values[inside] = [
                _over_nodes(d_statistic(every[m, s]).sum(axis=-1), node)
                for s, m in zip(rows, columns, strict=True)
            ]
        else:
            seen = every[columns, rows[:, None], place[inside][:, None]]
            values[inside] = np.var(seen, axis=1, ddof=1).sum(axis=-1)
            told[inside] = seen.mean(axis=1)
    return _Draws(values, which, place, told)


def _over_nodes(values: Float[np.ndarray, " n"], node: str) -> float:
    return float(values.mean() if node == "mean" else values.max())


def p_values(null: NullDistribution | Numbers, statistic: Numbers) -> Float[np.ndarray, "..."]:
    """p = (1 + #{null ≥ d})/(1 + #null): never 0, ties counted, so that it is conservative.

    Arguments:
        null: a `NullDistribution` or its values (K,). statistic: d, of any shape; NaN is as large as can be.

    Raises:
        MatrixError: an empty null, or one that is not finite.

    Example:
        >>> p_values([1.0, 2.0, 3.0], [0.5, 2.0, 9.0]).tolist()
        [1.0, 0.75, 0.25]
    """
    values = np.sort(as_numbers(null.values if isinstance(null, NullDistribution) else null, "null", 1))
    if not len(values):
        raise MatrixError("the null is empty: draw some values")
    below = np.searchsorted(values, np.asarray(statistic, float), side="left")
    return np.asarray((1.0 + len(values) - below) / (1.0 + len(values)))


def acceptance(p_values: Numbers, *, level: float = 0.05) -> float:
    """Share of predictions that the test accepts, p ≥ level; 1 − level under the null.

    Example:
        >>> acceptance([0.01, 0.2, 0.9, 0.05])
        0.75
    """
    in_range(level, "level", 0.0, 1.0, open_low=True)
    return float(np.mean(np.asarray(p_values, float) >= level))


@dataclasses.dataclass(frozen=True)
class Significance:
    """The test on some states, one draw each.

    Attributes:
        statistic (S,): d, times `scale`. p_values (S,). acceptance: share with p ≥ level.
        scale: of the degrees, 1 on a graph of the same mean in-degree.
        heterogeneous: whether in-degrees of either graph vary by more than half of their mean: then a scale other
            than 1 is not to be trusted.
        nodes (S,): at which d was taken, −1 for a mean or maximum. predictions (S, d): mean of the drawn members
            there, NaN for a mean or maximum.
        level: of the test.
    """

    statistic: Float[np.ndarray, " S"]
    p_values: Float[np.ndarray, " S"]
    acceptance: float
    scale: float
    heterogeneous: bool
    nodes: Int[np.ndarray, " S"]
    predictions: Float[np.ndarray, "S d"]
    level: float


def significance(
    ensemble: FieldEnsemble,
    states: Numbers,
    null: NullDistribution,
    *,
    graph: Graph | None = None,
    draw: int = 5,
    node: str | int = "random",
    level: float = 0.05,
    key: PRNGKeyArray,
) -> Significance:
    """Test the predictions of an ensemble on states, and perhaps on a graph, that it was not trained on.

    Arguments:
        ensemble, draw, node: as in `null_distribution`. states: (S, n, d). null: made with the same draw and node.
        graph: by default the training graph; d is multiplied by `degree_scale` on another.
        level: of the test. key: the draw.

    Raises:
        DrawError: a null made with another draw or node, or draws that cannot be made.
        GraphError: another graph, and one of both without edges.

    Source: arXiv 2301.04900; p-values with 1 added, so that none is 0.

    Example:
        >>> from thetadot.simulators import erdos_renyi, graph_field
        >>> field = graph_field(erdos_renyi(jax.random.key(0), 6, 0.5), width=2, channels=2)
        >>> thetas = np.random.default_rng(0).normal(size=(4, field.size))
        >>> ensemble = FieldEnsemble(jnp.asarray(thetas), np.zeros(4), field)
        >>> null = NullDistribution(np.array([0.0]), draw=2, node="random")
        >>> significance(ensemble, np.ones((3, 6, 1)), null, draw=2, key=jax.random.key(1)).p_values.tolist()
        [0.5, 0.5, 0.5]
    """
    if (draw, node) != (null.draw, null.node):
        raise DrawError(
            f"draw {draw} and node {node!r}, but the null was made with draw {null.draw} and node {null.node!r}: "
            "use the same"
        )
    in_range(level, "level", 0.0, 1.0, open_low=True)
    trained_on = ensemble.field.graph
    scale = 1.0 if graph is None else degree_scale(trained_on, graph)
    found = _drawn(ensemble, states, graph, draw, None, node, key)
    statistic = scale * found.values
    values = p_values(null, statistic)
    uneven = graph is not None and max(trained_on.degree_variation, graph.degree_variation) > HETEROGENEOUS
    return Significance(
        statistic,
        values,
        acceptance(values, level=level),
        scale,
        uneven,
        found.nodes,
        found.predictions,
        level,
    )
