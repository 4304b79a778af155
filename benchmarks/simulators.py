"""Closed-form training, graph messages, ensembles and trajectory gradients: ours beside their peers.

Numbers are processor seconds (all threads), the least of several repeats: on a shared machine wall clocks say little.

    python benchmarks/simulators.py [--parts path,message,ensemble,trajectory] [--largest 256] [--calibrate]
"""

import argparse
import functools
import importlib.util
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import thetadot as td
from thetadot import simulators as sim

CHOICE = Path(sim.__file__).with_name("message_choice.json")
DEGREE, CHANNELS = 10, 30


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Least processor time of one call, compiled and warm."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(call())
        times.append(time.process_time() - start)
    return min(times)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a Markdown table."""
    names = list(head)
    print(f"\n### {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def by_powers(C: np.ndarray, K: np.ndarray, start: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """Every step of gradient descent by repeated products, in NumPy."""
    rows, step = [start], np.eye(len(C)) - rate * C
    for _ in range(steps):
        rows.append(rows[-1] @ step + rate * K)
    return np.array(rows)


def path_row(n: int, steps: int) -> tuple:
    """One size: seconds of the closed form, of descent, of products, and their difference."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2 * n, n)), rng.normal(size=(2 * n, n))
    problem = td.EmpiricalRisk(td.linear([n, n]), td.squared, x, y)
    start, found = np.asarray(problem.init(jax.random.key(0))), sim.moments(x, y)
    W0, rate = start.reshape(n, n), 0.5 / found.energy.energies[0]
    saves = np.unique(np.geomspace(1, steps, 20).round().astype(int))
    rule, repeats = td.GradientDescent(rate), 1 if n * n * steps > 3e7 else 3
    ours = seconds(lambda: sim.simulator_path(sim.moments(x, y), W0, saves, learning_rate=rate))
    descent = float("nan")
    if n <= 256:
        descent = seconds(
            lambda: td.descend(problem, start, rule, steps, saves=saves, progress=False).thetas, repeats
        )
    powers = seconds(lambda: by_powers(found.input, found.cross, W0, steps, rate), repeats)
    exact = sim.simulator_path(found, W0, [steps], learning_rate=rate)[0]
    error = np.abs(by_powers(found.input, found.cross, W0, steps, rate)[-1] - exact).max()
    return n, steps, ours, descent, descent / ours, powers, powers / ours, error


def paths(largest: int) -> None:
    """Closed form, descent and matrix products."""
    sizes = [size for size in (16, 64, 256, 1024) if size <= largest]
    table(
        "Weights at 20 steps of gradient descent, moments included",
        ("n", "steps", "closed form s", "descend s", "ratio", "products s", "ratio", "difference"),
        (path_row(n, steps) for n in sizes for steps in (200, 1000)),
    )


def in_full(graph: sim.Graph, sent: jnp.ndarray, received: jnp.ndarray) -> jnp.ndarray:
    """Messages through an array n × n × channels, as in the code of arXiv 2301.04900."""
    pairs = received[:, None, :] * sent[None, :, :]
    return jnp.sum(graph.dense().T[:, :, None] * pairs, axis=1)


def by_edges(graph: sim.Graph, sent: jnp.ndarray, received: jnp.ndarray) -> jnp.ndarray:
    """Messages by sums over edges."""
    heard = jax.ops.segment_sum(
        graph.weights[:, None] * sent[graph.sources], graph.targets, graph.size, indices_are_sorted=True
    )
    return received * heard


def by_matrix(graph: sim.Graph, sent: jnp.ndarray, received: jnp.ndarray) -> jnp.ndarray:
    """Messages by a dense product."""
    return received * (graph.dense().T @ sent)


def message_seconds(form: Callable, nodes: int, degree: float, batch: int = 1) -> float:
    """One message and its derivative on an Erdős–Rényi graph."""
    graph = sim.erdos_renyi(jax.random.key(0), nodes, degree / (nodes - 1))
    sent = jax.random.normal(jax.random.key(1), (batch, nodes, CHANNELS))

    @jax.jit
    def run(graph, sent):
        return jax.value_and_grad(lambda s: jnp.sum(jax.vmap(lambda one: form(graph, one, one))(s) ** 2))(
            sent
        )

    return seconds(lambda: run(graph, sent), 5)


def messages() -> None:
    """Edges, matrices and full arrays."""
    rows = []
    for nodes in (100, 1000, 4000, 10_000, 100_000):
        edges = message_seconds(by_edges, nodes, DEGREE)
        dense = message_seconds(by_matrix, nodes, DEGREE) if nodes <= 4000 else float("nan")
        full = message_seconds(in_full, nodes, DEGREE) if nodes <= 1000 else float("nan")
        rows.append((nodes, edges, dense, dense / edges, full, full / edges))
    table(
        f"One message of {CHANNELS} channels and its gradient, mean degree {DEGREE}",
        ("nodes", "edges s", "dense s", "dense/edges", "n×n×channels s", "full/edges"),
        rows,
    )


def calibrate() -> None:
    """Where a dense product is as fast as sums over edges, in entries per edge; written beside the package."""
    rows, crossings = [], []
    for degree in (5, 10, 20):
        below, above = 0.0, None
        for nodes in (50, 100, 200, 400, 800):
            edges = message_seconds(by_edges, nodes, degree, batch=20)
            dense = message_seconds(by_matrix, nodes, degree, batch=20)
            rows.append((degree, nodes, nodes / degree, edges, dense, dense / edges))
            if dense <= edges:
                below = nodes / degree
            elif above is None:
                above = nodes / degree
        if above is not None:
            crossings.append(float(np.sqrt(max(below, 1.0) * above)))
    table(
        "Messages of 20 states: edges or matrix",
        ("degree", "nodes", "entries per edge", "edges s", "dense s", "dense/edges"),
        rows,
    )
    chosen = round(float(np.median(crossings)), 1) if crossings else 160.0
    CHOICE.write_text(
        json.dumps(
            {
                "dense_entries_per_edge": chosen,
                "measured": "benchmarks/simulators.py --calibrate: nodes² per edge up to which a matrix is faster",
            },
            indent=2,
        )
        + "\n"
    )
    print(f"\ndense up to {chosen:g} entries per edge, written to {CHOICE.name}")


def _torch_field(torch: Any, dense: Any, width: int) -> Any:
    nn = torch.nn

    def chain(*sizes: int):
        layers = []
        for k in range(len(sizes) - 1):
            layers += [nn.Linear(sizes[k], sizes[k + 1]), nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = chain(1, width, width, 1)
            self.sender, self.receiver = chain(1, width, width), chain(1, width, width)
            self.out = nn.Linear(width, 1)

        def forward(self, x):
            return self.own(x) + self.out(self.receiver(x) * (dense.T @ self.sender(x)))

    return Field().double()


def ensembles(members: int = 20, steps: int = 200) -> None:
    """Members trained in turn: ours, and a loop of PyTorch with the same sizes, batches and rule."""
    graph = sim.erdos_renyi(jax.random.key(0), 50, 0.1)
    x, y = sim.independent_states(jax.random.key(1), sim.epidemic(), graph, samples=500)
    field = sim.graph_field(graph, width=16, channels=16)

    def ours(count: int):
        return sim.bootstrap_ensemble(field, x, y, members=count, steps=steps, key=jax.random.key(2)).losses

    rows = []
    for count in sorted({2, members // 2, members}):
        own = seconds(functools.partial(ours, count), 1)
        rows.append([count, steps, own, own / count])
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)  # more threads cost more processor time than they save here
        dense = torch.tensor(np.asarray(graph.dense()))
        states, targets = torch.tensor(np.asarray(x)), torch.tensor(np.asarray(y))

        def member():
            model = _torch_field(torch, dense, 16)
            rule = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1e-3)
            decay = torch.optim.lr_scheduler.CosineAnnealingLR(rule, steps)
            for _ in range(steps):
                chosen = torch.randint(len(states), (100,))
                error = (model(states[chosen]) - targets[chosen]).abs()
                loss = (error.mean(dim=1) + error.var(dim=1)).mean()
                rule.zero_grad()
                loss.backward()
                rule.step()
                decay.step()

        start = time.process_time()
        member()
        one = time.process_time() - start
        rows = [[*row, row[0] * one, row[0] * one / row[2]] for row in rows]
    else:
        print("\nPyTorch is not installed: no peer for ensembles and trajectories")
    table(
        "Ensembles: 50 nodes, 500 states, width 16, batches of 100",
        ("members", "steps", "ours s", "per member", "PyTorch s (one member × count)", "ratio"),
        rows,
    )


def trajectories() -> None:
    """Loss and gradient of series: ours, and torchdiffeq (dopri5, same tolerance, backpropagation)."""
    graph = sim.erdos_renyi(jax.random.key(0), 50, 0.1)
    times, states = sim.observed_series(
        jax.random.key(1), sim.epidemic(), graph, series=8, times=np.linspace(0, 1, 6)
    )
    field = sim.graph_field(graph, width=16, channels=16)
    problem = sim.trajectory_problem(field, times, states)
    theta = problem.init(jax.random.key(2))
    ours = seconds(lambda: problem.value_and_grad(theta))
    row = [8, 6, ours]
    if importlib.util.find_spec("torchdiffeq") and importlib.util.find_spec("torch"):
        import torch
        import torchdiffeq

        torch.set_num_threads(1)
        dense = torch.tensor(np.asarray(graph.dense()))
        model = _torch_field(torch, dense, 16)
        start, seen = torch.tensor(np.asarray(states[:, 0])), torch.tensor(np.asarray(states))
        at = torch.tensor(np.asarray(times[0]))

        def peer():
            model.zero_grad()
            found = torchdiffeq.odeint(
                lambda t, x: model(x), start, at, rtol=1e-6, atol=1e-9, method="dopri5"
            )
            loss = (found.transpose(0, 1) - seen).abs().mean()
            loss.backward()
            return float(loss.detach())

        theirs = seconds(peer)
        row += [theirs, theirs / ours]
    table(
        "Loss and gradient of a trajectory problem, 50 nodes, width 16, rtol 1e-6",
        ("windows", "states", "ours s", "torchdiffeq s", "ratio"),
        [row],
    )


def main() -> None:
    """Run the chosen parts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--parts", default="path,message,ensemble,trajectory")
    options.add_argument("--largest", type=int, default=256)
    options.add_argument("--members", type=int, default=20)
    options.add_argument("--calibrate", action="store_true")
    given = options.parse_args()
    if given.calibrate:
        calibrate()
        return
    parts = {
        "path": lambda: paths(given.largest), "message": messages,
        "ensemble": lambda: ensembles(given.members), "trajectory": trajectories,
    }  # fmt: skip
    for name in given.parts.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
