"""What the claims of `symmetries` are measured on: targets, clouds of neurons, runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.dynamics import Path, Until, flow
from thetadot.papers.workbench import Workbench
from thetadot.problems import (
    GaussianInputs,
    NormTarget,
    OddTarget,
    PopulationRisk,
    TeacherTarget,
    cubic_target,
    two_layer,
)
from thetadot.symmetry import (
    Particles,
    RadialReduction,
    radial_reduction,
    sample_particles,
    to_particles,
    to_theta,
)


def posed(target: Any, inputs: GaussianInputs, width: int) -> PopulationRisk:
    """ReLU neurons in mean-field scaling."""
    return PopulationRisk(two_layer(inputs.dimension, width, "relu", scaling="mean_field"), target, inputs)


def run(problem: PopulationRisk, cloud: Particles, times: Any, accuracy: float = 1e-8) -> Path:
    """The particle flow, with rows at these times."""
    saves = np.asarray(times, float)
    until = Until(time=float(saves[-1]))
    return flow(
        problem, to_theta(problem, cloud), until=until, saves=saves, accuracy=accuracy, progress=False
    )


def clouds(problem: PopulationRisk, path: Path) -> list[Particles]:
    """The neurons at every row."""
    return [to_particles(problem, jnp.asarray(theta)) for theta in path.thetas]


def absolute_values() -> TeacherTarget:
    """|x₁| + |x₂| in five dimensions, as four neurons."""
    axes = np.eye(5)[:2]
    return TeacherTarget(np.ones(4), np.concatenate([axes, -axes]))


SWAP = np.eye(5)[[1, 0, 2, 3, 4]]
FLIP = np.diag([-1.0, 1.0, 1.0, 1.0, 1.0])


def oblique_residual(deviation: float) -> float:
    """How far four blocks of neurons leave T_j = Σ^½O₉₀ʲΣ^{−½} of the first, Σ = diag(1, deviation²), at t = 5."""
    root = np.diag([1.0, deviation])
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    maps = [root @ np.linalg.matrix_power(quarter, j) @ np.linalg.inv(root) for j in range(4)]
    # T keeps N(0, Σ); the teacher's neurons are an orbit of its transpose.
    target = TeacherTarget(np.ones(4), np.array([t.T @ np.array([1.0, 0.5]) for t in maps]))
    problem = posed(target, GaussianInputs(2, root @ root), 16)
    draws = sample_particles(jax.random.key(3), 4, 2)
    incoming = jnp.concatenate([draws.incoming @ jnp.asarray(t) for t in maps])
    (end,) = clouds(problem, run(problem, Particles(jnp.tile(draws.outgoing, 4), incoming), [5.0]))
    first = np.asarray(end.incoming[:4])
    return max(float(np.abs(first @ t - end.incoming[4 * j : 4 * j + 4]).max()) for j, t in enumerate(maps))


def widths_and_draws(workbench: Workbench, first: int) -> dict[int, int]:
    """{width: number of draws}."""
    if workbench.quick:
        return {first: 32, 8 * first: 16}
    return {m: 32 if m <= 128 else 16 if m <= 512 else 8 for m in (32, 64, 128, 256, 512, 1024) if m >= first}


def slope(widths: Any, squares: Any) -> float:
    """Exponent of the root mean square against width."""
    return float(np.polyfit(np.log(list(widths)), 0.5 * np.log(np.asarray(squares)), 1)[0])


def cubic(inputs: GaussianInputs, seed: int = 0) -> OddTarget:
    """Σz_kx_k³ with |w*| = 1 for isotropic inputs of variance 1."""
    z = np.random.default_rng(seed).normal(size=inputs.dimension)
    return cubic_target(z / (3 * np.linalg.norm(z)), inputs)


def radial(workbench: Workbench) -> tuple[RadialReduction, Path]:
    """|x_H|, d = 20, k = 5, infinite width, up to t = 100."""
    workbench.say("the radial reduction to t = 100")
    reduction = radial_reduction(20, 5, nodes=16)
    times = np.concatenate([[0.0, 0.5, 1.0, 2.0], np.geomspace(4, 100, 15)])
    times = np.unique(np.concatenate([times, [10.0, 16.0, 50.0]]))
    return reduction, reduction.solve(times)


def norm_problem(width: int) -> PopulationRisk:
    """|x_H| of the first 5 of 20 coordinates."""
    return posed(NormTarget(np.eye(20)[:, :5]), GaussianInputs(20), width)
