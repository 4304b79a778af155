"""Learned dynamics on graphs, and when to believe them: claims of the abstract of arXiv 2301.04900.

The abstract and the authors' public code could be read. Architecture, dynamics and test are those of the code; sizes
are reduced, and a cosine decay replaces the code's plateau schedule.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from thetadot.dynamics import descend
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import all_of, at_least, between, holds_if, part
from thetadot.papers.values import Measurement
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, mlp, squared
from thetadot.simulators import (
    FieldEnsemble,
    Graph,
    NodeDynamics,
    NullDistribution,
    Significance,
    absolute_with_spread,
    acceptance,
    bootstrap_ensemble,
    epidemic,
    erdos_renyi,
    field_rule,
    graph_field,
    independent_states,
    mass_action,
    null_distribution,
    p_values,
    significance,
)

_ABSTRACT = "arXiv 2301.04900, abstract"
_DYNAMICS: dict[str, Callable[[], NodeDynamics]] = {"epidemic": epidemic, "mass action": mass_action}
_SHIFTS = (0.0, 0.1, 0.25, 0.5, 1.0)
_DRAWS = 1000


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of one reproduction; the authors' own are 100 nodes, 0.1, 900 states, width 30, 3000 steps, 20 members."""

    nodes: int
    probability: float
    states: int
    width: int
    steps: int
    members: int


FULL = Sizes(50, 0.1, 500, 16, 1500, 20)
QUICK = Sizes(30, 0.15, 250, 12, 600, 10)
AUTHORS = Sizes(100, 0.1, 900, 30, 3000, 20)


@dataclasses.dataclass(frozen=True)
class Learned:
    """One dynamics, learned: the ensemble, its training data and a null on held-back states."""

    sizes: Sizes
    dynamics: NodeDynamics
    graph: Graph
    states: np.ndarray
    derivatives: np.ndarray
    ensemble: FieldEnsemble
    null: NullDistribution


def learned(workbench: Workbench, name: str, wanted: Sizes) -> Learned:
    """Train the ensemble of one dynamics."""
    workbench.say(f"training an ensemble on {name}")
    dynamics = _DYNAMICS[name]()
    graph = erdos_renyi(jax.random.key(0), wanted.nodes, wanted.probability)
    x, y = independent_states(jax.random.key(1), dynamics, graph, samples=wanted.states)
    field = graph_field(graph, width=wanted.width, channels=wanted.width)
    ensemble = bootstrap_ensemble(
        field, x, y, members=wanted.members, steps=wanted.steps, key=jax.random.key(2)
    )
    held_back, _ = independent_states(jax.random.key(3), dynamics, graph, samples=_DRAWS)
    null = null_distribution(ensemble, held_back, draws=_DRAWS, key=jax.random.key(4))
    return Learned(wanted, dynamics, graph, np.asarray(x), np.asarray(y), ensemble, null)


def _each(workbench: Workbench, wanted: Sizes, measure: Callable[[Learned], Any]) -> dict:
    return {name: measure(workbench.shared(learned, name, wanted)) for name in _DYNAMICS}


def _new_states(graph: Graph, shift: float = 0.0, samples: int = 100, seed: int = 5) -> jnp.ndarray:
    return jax.random.uniform(jax.random.key(seed), (samples, graph.size, 1)) + shift


def _truth(of: Learned, states: jnp.ndarray, graph: Graph) -> np.ndarray:
    return np.asarray(jax.vmap(lambda one: of.dynamics(one, graph))(states))


def _relative(predictions: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(predictions - truth).mean() / np.abs(truth).mean())


def _error(of: Learned, graph: Graph, shift: float = 0.0, samples: int = 100) -> float:
    """Mean over the members of their relative mean errors."""
    states = _new_states(graph, shift, samples)
    return _relative(np.asarray(of.ensemble.predictions(states, graph)), _truth(of, states, graph)[None])


def _fresh(of: Learned) -> Graph:
    return erdos_renyi(jax.random.key(10), of.graph.size, of.sizes.probability)


def _other_graphs(workbench: Workbench, wanted: Sizes) -> dict:
    def measure(of: Learned) -> dict:
        large = 4 * of.graph.size
        probability = of.sizes.probability * (of.graph.size - 1) / (large - 1)
        larger = erdos_renyi(jax.random.key(11), large, probability)
        return {
            "same": _error(of, of.graph),
            "fresh": _error(of, _fresh(of)),
            "larger": _error(of, larger, samples=25),
        }

    return _each(workbench, wanted, measure)


def _generalises(measured: dict, _: object) -> bool:
    return all(
        found["same"] <= 0.03 and max(found["fresh"], found["larger"]) <= 2 * found["same"]
        for found in measured.values()
    )


def _other_models(workbench: Workbench, wanted: Sizes) -> Measurement:
    """Relative errors on a fresh graph of models that do not conform, over that of the field."""

    def measure(of: Learned) -> dict:
        workbench.say("training models that do not conform")
        fresh = _fresh(of)
        states = _new_states(fresh)
        truth = _truth(of, states, fresh)
        alone = graph_field(of.graph, width=wanted.width, channels=wanted.width, neighbour_interaction=False)
        n = of.graph.size
        lonely = EmpiricalRisk(alone, absolute_with_spread(), of.states, of.derivatives)
        plain = EmpiricalRisk(mlp([n, 64, n], "tanh"), squared, of.states[..., 0], of.derivatives[..., 0])
        found = {}
        for name, problem in (("no neighbours", lonely), ("plain MLP", plain)):
            rule = field_rule(wanted.steps, jax.random.key(0), samples=wanted.states)
            start = problem.init(jax.random.key(1))
            end = descend(problem, start, rule, wanted.steps, saves=[0, wanted.steps], progress=False).thetas[
                -1
            ]
            given = states if problem is lonely else states[..., 0]
            found[name] = _relative(np.asarray(problem.predict(end, given)).reshape(truth.shape), truth)
        return found | {"graph field": _error(of, fresh)}

    errors = _each(workbench, wanted, measure)
    worse = {
        name: [e["no neighbours"] / e["graph field"], e["plain MLP"] / e["graph field"]]
        for name, e in errors.items()
    }
    return Measurement(worse, errors)


def _off_support(workbench: Workbench, wanted: Sizes) -> dict:
    return _each(
        workbench, wanted, lambda of: [_error(of, of.graph, shift) for shift in (0.0, 0.1, 0.5, 1.0)]
    )


def _loses_accuracy(measured: dict, _: object) -> bool:
    return all(np.all(np.diff(e) > 0) and e[-1] >= 10 * e[0] for e in measured.values())


def tested(workbench: Workbench, name: str, wanted: Sizes, shift: float) -> tuple[Significance, np.ndarray]:
    """The test on shifted states, one draw each, and the errors where it was made."""
    of = workbench.shared(learned, name, wanted)
    states = _new_states(of.graph, shift, _DRAWS, seed=20)
    found = significance(of.ensemble, states, of.null, key=jax.random.key(21))
    truth = _truth(of, states, of.graph)[np.arange(_DRAWS), found.nodes]
    return found, np.abs(found.predictions - truth).sum(axis=1)


def _acceptances(workbench: Workbench, wanted: Sizes, shifts: tuple[float, ...]) -> dict:
    return {
        name: [workbench.shared(tested, name, wanted, shift)[0].acceptance for shift in shifts]
        for name in _DYNAMICS
    }


def _keeps_level(workbench: Workbench, wanted: Sizes) -> dict:
    return {name: found[0] for name, found in _acceptances(workbench, wanted, (0.0,)).items()}


def _flags(workbench: Workbench, wanted: Sizes) -> dict:
    return _acceptances(workbench, wanted, _SHIFTS[1:])


def _tracks(workbench: Workbench, wanted: Sizes) -> Measurement:
    def spearman(name: str, shifts: tuple[float, ...]) -> float:
        runs = [workbench.shared(tested, name, wanted, shift) for shift in shifts]
        d, errors = (
            np.concatenate(parts) for parts in zip(*((r.statistic, e) for r, e in runs), strict=True)
        )
        return float(np.asarray(scipy.stats.spearmanr(d, errors))[0])

    far = {name: spearman(name, (0.5, 1.0)) for name in _DYNAMICS}
    beside = {
        f"{name}, {words}": spearman(name, shifts)
        for name in _DYNAMICS
        for words, shifts in (("in distribution", (0.0,)), ("shift 0.5", (0.5,)), ("shift 1", (1.0,)))
    }
    return Measurement(far, beside)


def _rescaled(workbench: Workbench, wanted: Sizes) -> Measurement:
    def measure(of: Learned) -> dict:
        dense = erdos_renyi(jax.random.key(12), of.graph.size, 0.6)
        states = _new_states(dense, 0.0, _DRAWS, seed=22)
        found = significance(of.ensemble, states, of.null, graph=dense, key=jax.random.key(23))
        raw = acceptance(p_values(of.null, found.statistic / found.scale), level=found.level)
        return {
            "rescaled": found.acceptance,
            "raw": raw,
            "true error": _error(of, dense),
            "scale": found.scale,
        }

    found = _each(workbench, wanted, measure)
    rescaled = {name: one.pop("rescaled") for name, one in found.items()}
    note = "A small true error with a low raw acceptance: without the scale the test alarms without cause."
    return Measurement(rescaled, found, note)


_SETUP = (
    "Erdős–Rényi, 50 nodes, p = 0.1, 500 states uniform on [0, 1], width 16, 1500 steps, 20 members (quick: 30 nodes, "
    "p = 0.15, 250 states, width 12, 600 steps, 10 members); epidemic and mass action"
)


def paper(full: Sizes = FULL) -> Paper:
    """The claims, with these sizes in full mode: `reproduce(paper(AUTHORS))` takes those of the authors' code."""

    def at(measure: Callable[[Workbench, Sizes], Any]) -> Callable[[Workbench], Any]:
        return lambda workbench: measure(workbench, workbench.choose(full=full, quick=QUICK))

    return Paper(
        title="Predictions of learned dynamics on graphs, and a test of when to trust them",
        reference=(
            "V. Vasiliauskaite, N. Antulov-Fantulin, Stretched and measured neural predictions of complex network "
            "dynamics, arXiv 2301.04900"
        ),
        scope=(
            "Claims from the abstract; network, dynamics and test as in the authors' public code, at reduced sizes. "
            "p-values have 1 added, and the null is made on states that no member was trained on."
        ),
        claims=(
            Claim(
                "A field that conforms to the model predicts beyond its training graph",
                _ABSTRACT,
                "the error stays",
                at(_other_graphs),
                holds_if("same ≤ 0.03; fresh and larger ≤ 2·same", _generalises),
                f"{_SETUP}; relative mean error on the same, a fresh, a 4 times larger graph of equal mean degree",
            ),
            Claim(
                "Only if it conforms: without neighbours, or as a plain network of all nodes, it does not",
                _ABSTRACT,
                "≥ 5 times the field's error",
                at(_other_models),
                at_least(5.0),
                "on the fresh graph; without neighbour term, and an MLP n-64-n",
            ),
            Claim(
                "Outside of the support of its training states it loses accuracy",
                _ABSTRACT,
                "increasing",
                at(_off_support),
                holds_if("increasing; last ≥ 10·first", _loses_accuracy),
                "states shifted by 0, 0.1, 0.5, 1; relative mean errors",
            ),
            Claim(
                "The test keeps its level in distribution",
                f"{_ABSTRACT}; the authors' code",
                0.95,
                at(_keeps_level),
                between(0.92, 0.985),
                "level 0.05, 1000 draws on new states; share accepted",
            ),
            Claim(
                "The test flags what cannot be trusted",
                _ABSTRACT,
                "decreasing to 0",
                at(_flags),
                holds_if(
                    "decreasing; ≤ 0.1 at 1",
                    lambda measured, _: all(
                        np.all(np.diff(shares) < 0) and shares[-1] <= 0.1 for shares in measured.values()
                    ),
                ),
                "states shifted by 0.1, 0.25, 0.5, 1; share accepted",
            ),
            Claim(
                "The disagreement d tracks the error",
                f"{_ABSTRACT}; the authors' code",
                "rank correlation near 1 off the support",
                at(_tracks),
                at_least(0.8),
                "Spearman's correlation of d and |error|, 1000 draws each at shifts 0.5 and 1 together",
            ),
            Claim(
                "On a denser graph d must be rescaled by the squared ratio of degrees",
                "ours; after the authors' code",
                0.95,
                at(_rescaled),
                all_of(*(part(name, between(0.85, 1.0)) for name in _DYNAMICS)),
                "p = 0.6; share accepted after rescaling",
            ),
        ),
    )


PAPER = paper()
