"""Simulators as a lens of studies: what the data taught, what is left of the start, whether it is stable."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from thetadot.dynamics import GradientDescent, Path
from thetadot.dynamics.wording import number
from thetadot.problems import EmpiricalRisk, Problem, squared
from thetadot.simulators.analysis import NEUTRAL, SimulatorAnalysis, Verdict
from thetadot.simulators.data_energy import DataEnergy, data_energy, learning_times
from thetadot.simulators.errors import NotASimulatorError, SimulatorError
from thetadot.simulators.graph_field import GraphField
from thetadot.simulators.initial_weights import project_weights
from thetadot.simulators.linear_training import inherited_spectrum
from thetadot.simulators.moments import Moments, moments
from thetadot.simulators.nonlinear import (
    field_jacobians,
    first_layer,
    off_data_growth,
    require_vectors,
)
from thetadot.simulators.options import Options
from thetadot.simulators.rollout import forecast_horizon, growth_rate, rollout
from thetadot.simulators.significance import (
    bootstrap_ensemble,
    null_distribution,
    significance,
)
from thetadot.simulators.tradeoff import noise_tradeoff

COMPARED = ("gradient_descent", "heavy_ball", "nesterov", "minibatch", "per_sample", "optax")
"""Comparison rules whose paths the lens looks at too."""

_HELD_BACK = 5


def analyse(problem: Problem, path: Path, options: Options, *, rule: Any = None) -> SimulatorAnalysis:
    """What the lens says of one run of a study.

    Energies and the first layer are looked at for every network of vectors, growth and roll-outs where there are as
    many outputs as inputs, spectra and noise for one linear layer with squared loss, the ensemble for graph fields.

    Arguments:
        problem: what was trained. path: the run. options: see `Options`. rule: the learning rule of the run.

    Raises:
        NotASimulatorError: samples are neither vectors nor states of a graph field.

    Example:
        >>> problem = td.EmpiricalRisk(td.linear([2, 2]), td.squared, [[1.0, 0.0]], [[0.5, 0.0]])
        >>> path = td.descend(problem, [0.0, 0.0, 0.0, 2.0], td.GradientDescent(0.5), 90, progress=False)
        >>> found = analyse(problem, path, Options(time="discrete"), rule=td.GradientDescent(0.5))
        >>> str(found.verdict), found.spectrum.inherited.real.tolist()
        ('unstable', [2.0])
    """
    if isinstance(getattr(problem, "network", None), GraphField):
        return _of_graph(problem, options)
    return _of_vectors(problem, path, options, rule)


def _of_graph(problem: Any, options: Options) -> SimulatorAnalysis:
    wanted = options.significance
    if wanted is None:
        note = "a graph field: set significance to train an ensemble and test it"
        return SimulatorAnalysis(options.time, Verdict.NO_ROLLOUT, notes=(note,))
    shuffle, train, null_key, test_key = jax.random.split(jax.random.key(options.seed), 4)
    order = np.asarray(jax.random.permutation(shuffle, problem.samples))
    x, y = np.asarray(problem.x)[order], np.asarray(problem.y)[order]
    back = max(1, len(x) // _HELD_BACK)
    if len(x) <= 2 * back:
        raise NotASimulatorError(
            f"{len(x)} states are too few to hold back some for the null and some for the test"
        )
    held = wanted.null_states == "held_back"
    kept = 2 * back if held else back
    ensemble = bootstrap_ensemble(
        problem.network, x[kept:], y[kept:], members=wanted.members, fraction=wanted.fraction,
        steps=wanted.steps, loss=problem.sample_loss, key=train,
    )  # fmt: skip
    null_states = x[back:kept] if held else x[kept:]
    null = null_distribution(ensemble, null_states, draw=wanted.draw, draws=wanted.draws, key=null_key)
    tested = significance(ensemble, x[:back], null, draw=wanted.draw, level=wanted.level, key=test_key)
    notes = [f"null on {wanted.null_states.replace('_', ' ')} states; the test on {back} others"]
    if wanted.members < 2 * wanted.draw:
        notes.append(f"{wanted.members} members for draws of {wanted.draw}: have twice as many")
    return SimulatorAnalysis(options.time, Verdict.NO_ROLLOUT, significance=tested, notes=tuple(notes))


def _of_vectors(problem: Problem, path: Path, options: Options, rule: Any) -> SimulatorAnalysis:
    require_vectors(problem)
    if path.thetas.shape[1] != problem.size:
        raise NotASimulatorError(
            f"the path has {path.thetas.shape[1]} columns, the problem {problem.size} parameters: this lens is for "
            "training runs"
        )
    finite = np.all(np.isfinite(path.thetas), axis=1)
    if not finite[0]:
        raise NotASimulatorError("the path starts with NaN or infinite weights: there is nothing to look at")
    notes = [] if finite.all() else ["the run broke down: judged by its last finite weights"]
    thetas = path.thetas[finite]
    risk: Any = problem
    energy = data_energy(np.asarray(risk.x), tolerance=options.energy_tolerance)
    found: dict[str, Any] = {"energy": energy}
    layers = np.array([first_layer(problem, theta) for theta in thetas])
    change, size = layers - layers[0], max(float(np.linalg.norm(layers[0])), 1e-300)
    along = np.linalg.norm(change @ energy.learnable, axis=(1, 2))
    off = np.linalg.norm(change - (change @ energy.learnable) @ energy.learnable.T, axis=(1, 2))
    found |= {"saved": np.asarray(path.ts, float)[finite], "learned": along / size, "unlearned": off / size}
    plain = _is_plain(risk)
    if plain:
        rate = _rate(rule)
        if path.info.get("kind") == "flow" or rate is not None:
            found["times"] = learning_times(
                np.where(np.arange(energy.size) < energy.rank, energy.energies, 0), learning_rate=rate
            )
            found["times_unit"] = "time" if rate is None else "steps"
        else:
            notes.append(
                "no learning times: they are known for gradient flow and gradient descent at one rate"
            )
    verdict, end = Verdict.NO_ROLLOUT, thetas[-1]
    outputs = np.asarray(risk.y).shape[1:]
    if outputs != (energy.size,):
        notes.append(f"{energy.size} inputs and outputs of shape {outputs}: no roll-out")
        return SimulatorAnalysis(options.time, verdict, notes=tuple(notes), **found)
    points = np.asarray(risk.x)[_spread(risk.samples, options.points)]
    growth = off_data_growth(problem, end, points, energy, time=options.time)
    found["growth"] = growth
    W = end.reshape(outputs[0], energy.size) if plain else None
    left = float(growth.off_data.max()) if W is None else growth_rate(W, time=options.time)
    verdict = Verdict.NOTHING_LEFT if W is None and energy.rank == energy.size else _verdict(left)
    found["remedies"] = _remedies(problem, end, points, energy, options.time, W)
    if W is not None:
        data = moments(risk.x, risk.y)
        data = dataclasses.replace(data, energy=energy)
        found |= _linear(data, layers[0], options, notes)
        if found.get("tradeoff") is not None and found["tradeoff"].stabilising:
            smallest = found["tradeoff"].stabilising
            rates = found["tradeoff"].growth[found["tradeoff"].variances == smallest]
            found["remedies"][f"noise of variance {number(smallest)}"] = float(rates[0])
    elif options.noise is not None:
        notes.append("noise is judged for one linear layer only")
    if options.rollout is not None:
        found |= _rollouts(risk, end, energy, options, W, notes)
    return SimulatorAnalysis(options.time, verdict, notes=tuple(notes), **found)


def _is_plain(problem: EmpiricalRisk) -> bool:
    """One linear layer without bias and the squared loss: the closed forms hold."""
    network = problem.network
    chain = getattr(network, "chain", None)
    return (
        chain is not None
        and list(problem.layout.shapes) == ["layer1.weight"]
        and chain.output_scale == 1.0
        and problem.sample_loss == squared
    )


def _rate(rule: Any) -> float | None:
    if not isinstance(rule, GradientDescent) or callable(rule.learning_rate):
        return None
    return float(np.asarray(rule.learning_rate))


def _spread(samples: int, wanted: int) -> np.ndarray:
    return np.unique(np.linspace(0, samples - 1, min(samples, wanted)).round().astype(int))


def _verdict(rate: float) -> Verdict:
    if abs(rate) <= NEUTRAL:
        return Verdict.NEUTRAL
    return Verdict.UNSTABLE if rate > 0 else Verdict.STABLE


def _remedies(
    problem: Problem,
    theta: np.ndarray,
    points: np.ndarray,
    energy: DataEnergy,
    time: str,
    W: np.ndarray | None,
) -> dict[str, float]:
    """Growth rate that projecting the (first layer of the) start would have left."""
    if energy.rank == energy.size:
        return {}
    derivatives = field_jacobians(problem, theta, points) if W is None else W[None]
    rates = [growth_rate(project_weights(J, energy), time=time) for J in derivatives]
    return {"projection of the initial weights onto the data": float(max(rates))}


def _linear(data: Moments, start: np.ndarray, options: Options, notes: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"spectrum": inherited_spectrum(data, start)}
    if found["spectrum"].status == "not_invariant":
        defect = number(found["spectrum"].invariance_defect, 2)
        notes.append(
            f"the data leave their own range (defect {defect}): learned and inherited are labels only"
        )
    if options.noise is not None:
        wanted = options.noise
        try:
            found["tradeoff"] = noise_tradeoff(
                data, start, sorted(wanted.variances), setting=wanted.setting, time=options.time,
                time_step=wanted.time_step,
            )  # fmt: skip
        except SimulatorError as error:
            notes.append(f"no noise: {error}")
    return found


def _rollouts(
    problem: Any,
    theta: np.ndarray,
    energy: DataEnergy,
    options: Options,
    W: np.ndarray | None,
    notes: list[str],
) -> dict[str, Any]:
    wanted = options.rollout
    assert wanted is not None
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    nudge = wanted.nudge * np.sqrt(energy.energies[0])
    starts = {"on_data": x[0]}
    if energy.rank < energy.size:
        starts["off_data"] = x[0] + nudge * energy.unlearnable.sum(axis=1) / np.sqrt(
            energy.size - energy.rank
        )
    if options.time == "continuous":
        if W is None:
            notes.append(
                "roll-outs of vector fields are made for one linear layer; integrate others with `integrate`"
            )
            return {}
        at = wanted.time_step * np.arange(wanted.steps + 1)
        rows = {name: rollout(W, start, time="continuous", times=at) for name, start in starts.items()}
        return {"rollouts": {name: _norms(states) for name, states in rows.items()}, "rollout_at": at}
    rows = {name: _iterated(problem, theta, start, wanted.steps) for name, start in starts.items()}
    found: dict[str, Any] = {
        "rollouts": {name: _norms(states) for name, states in rows.items()},
        "rollout_at": np.arange(wanted.steps + 1, dtype=float),
    }
    consecutive = len(x) > 1 and np.allclose(x[1:], y[:-1], rtol=1e-12, atol=0)
    if consecutive:
        truth = np.concatenate([x, y[-1:]])[: wanted.steps + 1]
        found["horizon"] = forecast_horizon(rows["on_data"][: len(truth)], truth, tolerance=wanted.tolerance)
    return found


def _iterated(problem: Any, theta: np.ndarray, start: np.ndarray, steps: int) -> Float[np.ndarray, "T n"]:
    states = [np.asarray(start, float)]
    for _ in range(steps):
        states.append(np.asarray(problem.predict(theta, states[-1][None]))[0])
    return np.array(states)


def _norms(states: np.ndarray) -> Float[np.ndarray, " T"]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(states, axis=1)
