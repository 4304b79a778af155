"""Draws the work–precision plot of the page How to choose into docs/images/, from the stored measurements of
`python -m benchmarks.flow`: PYTHONPATH=. python docs/live/work_precision.py
"""

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.compare import best_runs
from benchmarks.flow import RESULTS
from benchmarks.measure import Store
from thetadot.dynamics.canvas import dress, set_scale
from thetadot.dynamics.palette import INK, MUTED, RULES

FILE = Path(__file__).resolve().parents[1] / "images" / "work_precision.png"
OURS = ("auto", "NDF", "RadauIIA(7)", "Kvaerno5")
PEERS = ("CVODE dense", "SciPy LSODA", "SciPy Radau", "diffrax Kvaerno5")
DASHES = ("--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))


def main() -> None:
    """Draw the first problem: a tanh teacher and student of 26 parameters, followed to t = 10⁶."""
    measured = Store(RESULTS / "flow.json").of("P1")
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(OURS):
        front = best_runs(measured[f"thetadot {name}"])
        style = {
            "color": INK if name == "auto" else RULES[place],
            "linewidth": 2.6 if name == "auto" else 1.6,
        }
        axes.plot(*_points(front), marker="o", markersize=4, label=f"{name} (ours)", **style)
    for name, dashes in zip(PEERS, DASHES, strict=True):
        axes.plot(
            *_points(best_runs(measured[name])), color=MUTED, linestyle=dashes, linewidth=1.4, label=name
        )
    set_scale(axes, "x", True)
    set_scale(axes, "y", True)
    axes.invert_xaxis()
    axes.set_xlabel("error of θ, relative, largest along the path (more accurate to the right)")
    axes.set_ylabel("processor time (s)")
    axes.legend(loc="upper left", fontsize="small", ncols=2, frameon=False)
    dress(axes)
    figure.savefig(FILE, dpi=130, facecolor="white")
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} kB")


def _points(front) -> tuple[list[float], list[float]]:
    return [row.error for row in front], [row.seconds for row in front]


if __name__ == "__main__":
    main()
