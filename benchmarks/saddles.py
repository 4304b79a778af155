"""Escape from the origin and walks between saddles: gradients, steps and seconds, beside gradient descent and peers.

Set-up A of the paper `homogeneous` (two-layer squared ReLU, 220 weights), to 300 time units past its escape clock.
Gradient descent takes steps of 0.05 over the sharpness; where that is more than `--most` steps it is counted, not run.
Times on a shared machine are noise; counts are not.

    python benchmarks/saddles.py [--most 3000000] [--walks]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import thetadot as td
from thetadot import saddles
from thetadot.papers.homogeneous import generic, separated

_PAST = 300.0


def seconds(call: Callable, *arguments: Any, **keywords: Any) -> tuple[float, Any]:
    """Wall-clock seconds of one call, and what it returned."""
    start = time.perf_counter()
    found = call(*arguments, **keywords)
    return time.perf_counter() - start, found


@jax.jit
def _descended(problem, theta, steps, rate):
    return jax.lax.fori_loop(0, steps, lambda _, t: t - rate * problem.value_and_grad(t)[1], theta)


@jax.jit
def _field(problem, theta):
    return -problem.value_and_grad(theta)[1]


def descend(problem: Any, theta: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """Plain gradient descent, compiled as one loop."""
    return np.asarray(_descended(problem, jnp.asarray(theta), steps, rate))


def ours(problem: Any, theta: np.ndarray, end: float, rtol: float, atol: float | None = None) -> td.Path:
    """The flow by Tsit5; with `atol` without its scale guard."""
    return td.flow(
        problem,
        theta,
        until=td.Until(time=end),
        rtol=rtol,
        atol=atol,
        solver="Tsit5",
        saves=[0.0, end],
        progress=False,
    )


def lsoda(problem: Any, theta: np.ndarray, end: float, scale: float) -> Any:
    """SciPy's LSODA with our gradient and Hessian."""
    return solve_ivp(
        lambda _, t: np.asarray(_field(problem, t)), (0, end), theta, method="LSODA", rtol=1e-6, atol=1e-7 * scale,
        jac=lambda _, t: -np.asarray(problem.hessian(t)), t_eval=[end],
    )  # fmt: skip


@jax.jit
def _diffrax(problem, theta, end):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -args.value_and_grad(y)[1]), diffrax.Tsit5(), 0.0, end, None, theta, problem,
        stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-6), max_steps=1_000_000,
    )  # fmt: skip


def diffrax_peer(problem: Any, theta: np.ndarray, end: float) -> tuple[np.ndarray, int]:
    """diffrax's Tsit5 with the tolerances of its tutorials: (end point, gradients)."""
    found = _diffrax(problem, jnp.asarray(theta), jnp.asarray(end))
    assert found.ys is not None
    return np.asarray(found.ys[-1]), 6 * int(found.stats["num_steps"])


def torch_peer(problem: Any, theta: np.ndarray, end: float) -> tuple[np.ndarray, int]:
    """torchdiffeq's dopri5 with its default tolerances (1e-7, 1e-9), gradients by torch's autograd."""
    import torch
    from torchdiffeq import odeint

    x, y = (torch.tensor(np.array(part)) for part in (problem.x, problem.y))
    width = theta.size // (x.shape[1] + 1)
    count = 0

    def field(_: Any, weights: Any) -> Any:
        nonlocal count
        count += 1
        with torch.enable_grad():
            leaf = weights.detach().requires_grad_(True)
            inner, outer = leaf[: width * x.shape[1]].view(width, -1), leaf[width * x.shape[1] :]
            outputs = torch.relu(x @ inner.T) ** 2 @ outer
            loss = 0.5 * torch.mean((outputs - y[:, 0]) ** 2)
            return -torch.autograd.grad(loss, leaf)[0]

    start = torch.tensor(np.array(theta))
    return odeint(field, start, torch.tensor([0.0, end], dtype=start.dtype), method="dopri5")[
        -1
    ].numpy(), count


def row(*cells: Any) -> None:
    """Print a line of the table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def escape_table(most: int) -> None:
    """One row for each scale and method: error of the end point against the finest flow, gradients, seconds."""
    problem, direction = generic()
    clock = saddles.correlation_flow(saddles.neural_correlation(problem), direction).blow_up_time
    print("\n### A to 300 time units past the escape clock\n")
    print("| δ | method | ‖θ‖ | error | gradients | seconds |\n|---|---|---|---|---|---|")
    for scale in (1e-2, 1e-3, 1e-4):
        end, theta = clock / scale + _PAST, scale * direction
        exact = ours(problem, theta, end, 1e-11).thetas[-1]

        def measured(last: np.ndarray, exact: np.ndarray = exact) -> tuple[str, str]:
            error = np.linalg.norm(last - exact) / np.linalg.norm(exact)
            return f"{np.linalg.norm(last):.3g}", f"{error:.1e}"

        ours(problem, theta, end, 1e-6)
        for name, rtol, atol in (("Tsit5, scale guard", 1e-6, None), ("Tsit5, atol 1e-3", 1e-3, 1e-3)):
            spent, path = seconds(ours, problem, theta, end, rtol, atol)
            row(f"{scale:g}", name, *measured(path.thetas[-1]), path.stats.gradients, f"{spent:.3f}")
        diffrax_peer(problem, theta, end)
        spent, (last, gradients) = seconds(diffrax_peer, problem, theta, end)
        row(f"{scale:g}", "diffrax Tsit5, 1e-3 and 1e-6", *measured(last), gradients, f"{spent:.3f}")
        try:
            spent, (last, gradients) = seconds(torch_peer, problem, theta, end)
            row(f"{scale:g}", "torchdiffeq dopri5, 1e-7 and 1e-9", *measured(last), gradients, f"{spent:.2f}")
        except ImportError as missing:
            row(f"{scale:g}", f"torchdiffeq: {missing}", "—", "—", "—", "—")
        rate = 0.05 / float(np.abs(np.linalg.eigvalsh(problem.hessian(exact))).max())
        steps = round(end / rate)
        if steps <= most:
            spent, last = seconds(descend, problem, theta, steps, rate)
            row(f"{scale:g}", f"gradient descent, {rate:.3g}", *measured(last), steps, f"{spent:.2f}")
        else:
            row(f"{scale:g}", f"gradient descent, {rate:.3g}", "not run", "—", steps, "—")
        spent, found = seconds(lsoda, problem, theta, end, scale)
        row(f"{scale:g}", "SciPy LSODA, our Hessian", *measured(found.y[:, -1]), found.nfev, f"{spent:.2f}")


def walk_table() -> None:
    """Seconds of predicted walks, cold and warm, against scale."""
    print("\n### Predicted walks\n\n| set-up | δ | cold s | warm s |\n|---|---|---|---|")
    for name, (problem, direction) in (("D", separated()), ("A", generic())):
        for scale in (1e-3, 1e-30):
            spent = [
                seconds(saddles.saddle_itinerary, problem, direction, scale, mode="predict")[0]
                for _ in range(2)
            ]
            row(name, f"{scale:g}", *(f"{one:.2f}" for one in spent))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=3_000_000, help="most steps of gradient descent")
    parser.add_argument("--walks", action="store_true", help="time predicted walks, too")
    chosen = parser.parse_args()
    escape_table(chosen.most)
    if chosen.walks:
        walk_table()


if __name__ == "__main__":
    main()
