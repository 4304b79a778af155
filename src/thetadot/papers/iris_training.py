"""The set-up of arXiv 2404.05782: raw iris, 4-10-3, weights N(0, 1), full-batch descent, perturbed weights."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from thetadot.dynamics import GradientDescent, StepMap, training_map
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, cross_entropy, data, mlp
from thetadot.stability import NetworkExponent, OrbitalStability, network_exponent, orbital_stability

AMPLITUDE = 1e-8


def _squashed(prediction: Float[Array, " k"], label: Array) -> Float[Array, ""]:
    return cross_entropy(jax.nn.sigmoid(prediction), label)


def iris_problem(output: str = "softmax") -> EmpiricalRisk:
    """120 raw iris samples, 4-10-3 with sigmoid hidden units, 83 parameters.

    Arguments:
        output: "softmax" (cross-entropy, as the paper's code) or "sigmoid" (outputs squashed first, as its text).
    """
    x, y = data.iris(standardise=False, split="train")
    loss = {"softmax": cross_entropy, "sigmoid": _squashed}[output]
    return EmpiricalRisk(mlp([4, 10, 3], "sigmoid"), loss, x, y)


def starts_of(problem: EmpiricalRisk, count: int, seed: int = 0) -> Float[np.ndarray, "R P"]:
    """Weights N(0, 1), biases 0; the first starts are the same however many are drawn."""
    thetas = np.random.default_rng(seed).normal(size=(count, problem.size))
    for name, part in problem.layout.slices.items():
        if problem.layout.roles[name] != "weight":
            thetas[:, part] = 0.0
    return thetas


def descent(rate: float) -> StepMap:
    """Full-batch descent on the iris problem."""
    return training_map(iris_problem(), GradientDescent(rate))


def orbits(workbench: Workbench, rate: float, count: int, steps: int) -> list[OrbitalStability]:
    """Distances of 5 perturbed twins from each of `count` starts."""
    system = descent(rate)
    workbench.say(f"η = {rate:g}: {count} starts, {steps} steps")
    return [
        orbital_stability(
            system, jnp.asarray(theta), duration=steps, amplitude=AMPLITUDE, parts=("weight",),
            key=jax.random.key(number),
        )
        for number, theta in enumerate(starts_of(iris_problem(), count))
    ]  # fmt: skip


def exponents(
    workbench: Workbench, rule: str, amplitude: float = AMPLITUDE, count: int = 60, duration: int = 200
) -> NetworkExponent:
    """Network exponent at η = 1."""
    workbench.say(f"η = 1, ε = {amplitude:g}, {rule}: {count} starts")
    return network_exponent(
        descent(1.0), starts_of(iris_problem(), count), duration=duration, rule=rule, amplitude=amplitude
    )
