"""What the claims of `intrinsic` are measured on: lists of shapes, regressions, fields."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.conservation import LinearLift, layered_graph, neural_ode_field
from thetadot.conservation.linear_reduction import relaxed_velocity
from thetadot.dynamics import Path, Until, flow
from thetadot.problems import EmpiricalRisk, squared

TIGHT: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-14, "solver": "Dopri8", "progress": False}


def random_linear_shapes(count: int = 50) -> list[tuple[int, ...]]:
    """The published notebook's list: depth 2–4, widths 2–5."""
    draw, shapes = np.random.RandomState(0), []
    for _ in range(count):
        depth = draw.randint(2, 5)
        widths = tuple(int(draw.randint(2, 6)) for _ in range(depth + 1))
        for _ in range(2):
            draw.rand(LinearLift(widths).size)
        shapes.append(widths)
    return shapes


def random_relu_shapes(count: int = 50) -> list[tuple[tuple[int, ...], bool | str]]:
    """The published notebook's list: depth 2–4, widths 2–9, hidden biases in half of them."""
    draw, shapes = np.random.RandomState(0), []
    for _ in range(count):
        depth = draw.randint(2, 5)
        widths = tuple(int(draw.randint(2, 10)) for _ in range(depth + 1))
        bias = "hidden" if draw.random_sample() < 0.5 else False
        draw.rand(layered_graph(widths, bias).size)
        shapes.append((widths, bias))
    return shapes


def regression(network: Any, inputs: int, outputs: int, samples: int, seed: int) -> EmpiricalRisk:
    """Normal data."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, inputs)), rng.normal(size=(samples, outputs))
    return EmpiricalRisk(network, squared, x, y)


def trained(problem: EmpiricalRisk, theta: Any, times: np.ndarray) -> Path:
    """Full training at tight tolerances."""
    until = Until(time=float(times[-1]), steps=20_000)
    return flow(problem, jnp.asarray(theta), until=until, saves=times, **TIGHT)


def closed_velocity(z: Any, args: Any) -> Any:
    """The closed flow of a product for other offsets."""
    x, y, offsets, ahead, behind = args
    slope = (z @ x.T - y.T) @ x / x.shape[0]
    return relaxed_velocity(z, slope, offsets, (ahead, behind), min(z.shape))


def ode_training(weights: Any, args: Any) -> Any:
    """Training of the linear neural ODE."""
    ode, target = args
    return ode.field(weights, lambda z: z - target)


def ode_closed(z: Any, target: Any) -> Any:
    """Its flow in the endpoint alone."""
    return neural_ode_field(lambda product: product - target)(z)


def slowed_factors(factors: Any, target: Any) -> Any:
    """Training of a finite linear network whose factors move 1/depth as fast."""

    def risk(stack: Any) -> Any:
        product = jnp.eye(target.shape[0])
        for k in range(stack.shape[0]):
            product = stack[k] @ product
        return 0.5 * jnp.sum((product - target) ** 2)

    return -jax.grad(risk)(factors) / factors.shape[0]


def momentum_field(state: Any, args: Any) -> Any:
    """Heavy-ball training on states (t, θ, v)."""
    problem, friction = args
    size = problem.size
    velocity = state[1 + size :]
    push = -friction * velocity - problem.value_and_grad(state[1 : 1 + size])[1]
    return jnp.concatenate([jnp.ones(1), velocity, push])
