"""Runs of a stepper with fixed steps, and their truth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import thetadot as td
from thetadot.dynamics.right_sides import TrainingSide
from thetadot.numerics.solvers import stepper

START = np.array([1.2, -0.4, 0.7])
END = 2.0


def _loss(y):
    return (y[0] * y[1] - 1) ** 2 / 2 + jnp.sum(y**4) / 4 + 0.7 * jnp.cos(y[1] + 2 * y[2])


PROBLEM = td.FunctionRisk(_loss, jnp.asarray(START))


@functools.cache
def truth() -> np.ndarray:
    """State (3,) and ∫|F|² at the end, by Dormand and Prince's eighth order."""
    gradient = jax.jit(jax.grad(_loss))

    def field(_, extended):
        slope = np.asarray(gradient(extended[:3]))
        return np.append(-slope, slope @ slope)

    return solve_ivp(field, (0, END), np.append(START, 0.0), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


@functools.partial(jax.jit, static_argnums=0)
def _run(method, problem, count):
    side, h = TrainingSide(), END / count.astype(float)
    y = jnp.asarray(START)
    field, _ = side.evaluate(y, problem)

    def advance(_, state):
        y, field, work, memory = state
        step = method.step(side, problem, y, field, h, jnp.ones_like(y), memory)
        return step.y, step.field, work + step.squared_speed, step.memory

    begin = (y, field, jnp.zeros(()), method.start(side, problem, y, field, h))
    y, _, work, _ = jax.lax.fori_loop(0, count, advance, begin)
    return jnp.append(y, work)


def slopes(solver, counts: tuple[int, int]) -> tuple[float, float]:
    """Measured orders of the state and of ∫|F|² between two numbers of steps."""
    coarse, fine = (
        np.asarray(_run(stepper(solver), PROBLEM, jnp.asarray(count))) - truth() for count in counts
    )
    ratio = np.log(counts[1] / counts[0])
    by_state = np.log(np.linalg.norm(coarse[:3]) / np.linalg.norm(fine[:3])) / ratio
    return float(by_state), float(np.log(abs(coarse[3] / fine[3])) / ratio)
