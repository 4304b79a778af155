"""Counting laws, following them, recovering and reducing: seconds and sizes, beside the published notebooks' method.

The peer of the counts is the method of the notebooks that come with arXiv 2307.00144, rewritten here: symbolic
brackets, evaluated at a random point in floats, rank by NumPy's default tolerance. Their code was not run; their
stored seconds (64 workers, another machine) stand beside ours. Times on a shared machine are noise.

    python benchmarks/conservation.py [--largest 1e7] [--peer 10]
"""

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

import thetadot as td
from thetadot.conservation import (
    Laws,
    LinearLift,
    PathLift,
    compare,
    count_laws,
    known_laws,
    law_drift,
    layered_graph,
    lift_of,
    polynomial_laws,
    rebalance,
    reduced_flow,
)
from thetadot.papers.intrinsic_setups import random_linear_shapes, random_relu_shapes


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Wall-clock seconds of one call, and what it returned."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a Markdown table."""
    names = list(head)
    print(f"\n### {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        cells = (f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        print(f"| {' | '.join(cells)} |", flush=True)


def by_notebook(widths: tuple[int, ...]) -> tuple[int, tuple[float, ...]]:
    """(laws, the three smallest singular values kept or dropped) by symbolic brackets and a floating-point rank."""
    lift = LinearLift(widths)
    symbols = sympy.symbols(f"t0:{lift.size}")
    components = lift.polynomials().as_sympy(symbols)
    basis = [[sympy.diff(component, s) for s in symbols] for component in components]
    point = dict(zip(symbols, np.random.RandomState(0).rand(lift.size), strict=True))

    def at_point(fields: list) -> np.ndarray:
        return np.array([[float(entry.subs(point)) for entry in field] for field in fields])

    def bracket(x: list, y: list) -> list:
        return [
            sympy.expand(
                sum(
                    sympy.diff(b, s) * v - sympy.diff(a, s) * w for s, v, w in zip(symbols, x, y, strict=True)
                )
            )
            for a, b in zip(x, y, strict=True)
        ]

    generators, fresh = list(basis), list(basis)
    rank = np.linalg.matrix_rank(at_point(basis))
    while True:
        fresh = [bracket(x, y) for x in generators for y in fresh]
        fresh = [field for field in fresh if any(entry != 0 for entry in field)]
        grown = np.linalg.matrix_rank(at_point([*basis, *fresh])) if fresh else rank
        if grown == rank:
            values = np.linalg.svd(at_point(basis), compute_uv=False)
            return lift.size - int(rank), tuple(values[-3:])
        basis, rank = [*basis, *fresh], grown


def counting(peer: int) -> None:
    """The two lists of the notebooks."""
    linear = [LinearLift(widths) for widths in random_linear_shapes()]
    relu = [PathLift(layered_graph(*shape)) for shape in random_relu_shapes()]
    rows = []
    for name, lifts, stored in (("50 linear", linear, 2063.0), ("50 ReLU", relu, 6780.0)):
        took, counts = seconds(lambda lifts=lifts: [count_laws(lift) for lift in lifts])
        proved = sum(count.status.name == "PROVED" for count in counts)
        rows.append((name, took, stored, stored / took, proved))
    table(
        "Counting, against timings stored in the notebooks",
        ("list", "s", "stored s", "ratio", "proved"),
        rows,
    )

    widths = sorted({lift.widths for lift in linear}, key=lambda w: LinearLift(w).size)[:peer]
    rows = []
    for shape in widths:
        ours, count = seconds(lambda shape=shape: count_laws(LinearLift(shape)))
        theirs, (laws, _) = seconds(lambda shape=shape: by_notebook(shape))
        verdict = "same" if laws == count.laws else f"{laws}: wrong"
        rows.append(("-".join(map(str, shape)), count.laws, ours, theirs, theirs / ours, verdict))
    table(
        "Counting, against symbolic brackets and a float rank",
        ("shape", "laws", "s", "peer s", "ratio", "peer's count"),
        rows,
    )

    rows, shape = [], LinearLift((2, 4, 4, 2))
    exact = count_laws(shape).laws
    for scale in (1.0, 1e-2, 1e-4, 1e-8):
        point = scale * np.random.RandomState(1).rand(shape.size)
        naive = shape.size - int(np.linalg.matrix_rank(_brackets_at(shape, point)))
        ours = count_laws(shape, theta=point, arithmetic="float64")
        rows.append((scale, naive, ours.laws, exact))
    head = ("weights", "laws by a default-tolerance rank", "ours in float64", "exact")
    table("2-4-4-2 at small initialisations: brackets scale like powers of the weights", head, rows)

    rows = []
    for name, lift, stored in (
        ("2-2-2", LinearLift((2, 2, 2)), 9.2),
        ("ReLU 2-3-2", PathLift(layered_graph((2, 3, 2))), 4.5),
    ):
        took, found = seconds(lambda lift=lift: polynomial_laws(lift, 2))
        rows.append((name, found.space_dimension, took, stored))
    table("All quadratic laws", ("network", "laws", "s", "stored s per search"), rows)


def _brackets_at(lift: LinearLift, point: np.ndarray) -> np.ndarray:
    """Unscaled brackets of depth up to three at a point, as a user would stack them."""
    fields = [lambda t, i=i: jax.grad(lambda s: lift(s)[i])(t) for i in range(lift.dimension)]

    def bracket(x: Callable, y: Callable) -> Callable:
        return lambda t: jax.jvp(y, (t,), (x(t),))[1] - jax.jvp(x, (t,), (y(t),))[1]

    second = [bracket(x, y) for k, x in enumerate(fields) for y in fields[:k]]
    third = [bracket(x, y) for x in fields for y in second]
    every = jax.jit(lambda t: jnp.stack([field(t) for field in [*fields, *second, *third]]))
    return np.asarray(every(jnp.asarray(point)))


def growth(largest: float) -> None:
    """How cost grows with size."""
    rows = []
    for width in (4, 8, 12, 16, 19):
        lift = LinearLift((width // 2, width, width, width // 2))
        took, count = seconds(lambda lift=lift: count_laws(lift))
        rows.append((lift.size, count.laws, count.status.name, took))
    table("Exact counts by brackets", ("P", "laws", "status", "s"), rows)

    rows, edges = [], 1e3
    while edges <= largest:
        width = round((edges / 2) ** 0.5)
        graph = layered_graph((width, width, width))
        took, count = seconds(lambda graph=graph: count_laws(PathLift(graph)))
        rows.append((graph.size, count.laws, took))
        edges *= 10
    table("Closed forms", ("edges", "laws", "s"), rows)

    rows = []
    for hidden in (10, 100, 1000, 10_000):
        lift = PathLift(layered_graph((3, hidden, 2)))
        theta = np.random.default_rng(0).normal(size=lift.size)
        took, found = seconds(lambda lift=lift, theta=theta: rebalance(lift, theta))
        rows.append((hidden, lift.size, found.iterations, f"{found.residual:.1e}", took))
    table("Rebalancing", ("hidden neurons", "P", "Newton steps", "residual", "s"), rows)

    lift = PathLift(layered_graph((1000, 500, 1000)))
    laws: Laws = known_laws(lift)
    states = np.random.default_rng(0).normal(size=(3, lift.size))
    laws.values(states[:1])
    took, _ = seconds(lambda: laws.values(states))
    whole, _ = seconds(lambda: law_drift(laws, states))
    print(f"\nP = {lift.size}, {len(laws)} laws: {took / 3 * 1e3:.0f} ms a state for the values, "
          f"{whole / 3 * 1e3:.0f} ms with scales and error floor.")  # fmt: skip


def reduction() -> None:
    """Reduced against full flow of two-layer linear networks of growing width."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 5)), rng.normal(size=(50, 4))
    times, rows = np.linspace(0, 2, 11), []
    for hidden in (10, 100, 1000, 10_000):
        problem = td.EmpiricalRisk(td.linear([5, hidden, 4]), td.squared, x, y)
        theta = problem.init(jax.random.key(0))
        options = {"rtol": 1e-10, "atol": 1e-12, "solver": "Dopri8", "progress": False, "saves": times}

        def full(problem=problem, theta=theta, options=options) -> td.Path:
            return td.flow(problem, theta, until=td.Until(time=2.0), **options)

        def reduced(problem=problem, theta=theta) -> Any:
            return reduced_flow(problem, theta, times, coordinates="augmented")

        full(), reduced()
        long, path = seconds(full)
        short, small = seconds(reduced)
        agreement = compare(lift_of(problem), path, small)
        row = (hidden, problem.size, small.state_size, path.stats.gradients, int(small.stats["evaluations"]))
        rows.append((*row, long, short, f"{agreement.maximum:.0e}"))
    head = ("hidden", "P", "reduced", "right-hand sides", "reduced", "s", "reduced s", "difference")
    table("Full and reduced flow, two linear layers", head, rows)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=float, default=1e7, help="most edges of the closed forms")
    parser.add_argument("--peer", type=int, default=10, help="shapes that the peer counts too")
    chosen = parser.parse_args()
    counting(chosen.peer)
    growth(chosen.largest)
    reduction()


if __name__ == "__main__":
    main()
