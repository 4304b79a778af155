"""Work–precision and growth, drawn."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.compare import best_runs
from benchmarks.measure import Store
from benchmarks.methods import PREFIX
from benchmarks.problems import Case
from thetadot.dynamics.canvas import dress, set_scale
from thetadot.dynamics.palette import INK, MUTED, RULES

MARKERS = "osD^vPX<>"
PEER_COLOURS = (
    "#8c8c8c",
    "#b0a080",
    "#7fa0b8",
    "#b08fa8",
    "#90a888",
    "#c0906c",
    "#6f7f8f",
    "#a8a8c8",
    "#555555",
)
COLUMNS = 2


def work_precision(
    store: Store, cases: Sequence[Case], floor: Callable[[Case], float], file: pathlib.Path
) -> None:
    """One panel a case: seconds against error along each method's best runs, ours solid, peers dashed.

    `floor` is the accuracy of a case's reference, drawn as a grey band that no error should be trusted in.
    """
    names = list(
        dict.fromkeys(name for case in cases for name, rows in store.of(case.name).items() if best_runs(rows))
    )
    mine = [name for name in names if name.startswith(PREFIX)]
    theirs = [name for name in names if name not in mine]
    styles = {}
    for index, name in enumerate(mine):
        colour = RULES[index % len(RULES)]
        styles[name] = {
            "color": colour,
            "linestyle": "-",
            "marker": MARKERS[index % len(MARKERS)],
            "linewidth": 1.9,
        }
    for index, name in enumerate(theirs):
        colour = PEER_COLOURS[index % len(PEER_COLOURS)]
        styles[name] = {
            "color": colour,
            "linestyle": "--",
            "marker": MARKERS[-1 - index % len(MARKERS)],
            "linewidth": 1.2,
        }
    rows = -(-len(cases) // COLUMNS)
    figure = Figure(figsize=(6.2 * COLUMNS, 3.7 * rows + 1.2), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for case, axes in zip(cases, panels, strict=False):
        for name, measured in store.of(case.name).items():
            front = best_runs(measured)
            if front:
                points = [row.error for row in front], [row.seconds for row in front]
                axes.plot(*points, markersize=4, **styles[name])
        set_scale(axes, "x", True)
        set_scale(axes, "y", True)
        axes.invert_xaxis()
        right = min(axes.get_xlim())
        if floor(case) > right:
            axes.axvspan(floor(case), right, color=MUTED, alpha=0.15, linewidth=0)
        axes.set_title(
            f"{case.name}: {case.title}, t = {case.end:g}", fontsize="medium", loc="left", color=INK
        )
        axes.set_xlabel("error: largest relative distance from the reference (1)")
        axes.set_ylabel("time (s)")
        dress(axes)
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    handles = [Line2D([], [], label=name, markersize=4, **styles[name]) for name in (*mine, *theirs)]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize="small", frameon=False)
    figure.savefig(file, dpi=150)


def growth(
    curves: dict[str, dict[str, dict[float, float]]], labels: dict[str, str], file: pathlib.Path
) -> None:
    """One panel a direction of growth, seconds against size on logarithmic axes, exponents in the legend.

    Arguments:
        curves: {direction: {quantity: {size: seconds}}}.
        labels: {direction: label of its axis}.
    """
    figure = Figure(figsize=(5.2 * len(curves), 4.4), layout="constrained")
    for axes, (direction, quantities) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        for index, (quantity, points) in enumerate(quantities.items()):
            sizes, seconds = np.array(sorted(points)), np.array([points[size] for size in sorted(points)])
            label = f"{quantity}, ∝ size^{exponent(points):.2f}" if len(points) > 1 else quantity
            axes.plot(
                sizes,
                seconds,
                color=RULES[index % len(RULES)],
                marker=MARKERS[index],
                markersize=4,
                label=label,
            )
        set_scale(axes, "x", True)
        set_scale(axes, "y", True)
        axes.set_xlabel(labels[direction])
        axes.set_ylabel("time (s)")
        axes.legend(fontsize="x-small", frameon=False)
        dress(axes)
    figure.savefig(file, dpi=150)


def exponent(points: dict[float, float]) -> float:
    """Slope of log seconds over log size over the larger half of the sizes, where the overhead has faded."""
    sizes = sorted(points)
    upper = sizes[max(len(sizes) // 2 - 1, 0) :]
    return float(np.polyfit(np.log(upper), np.log([points[size] for size in upper]), 1)[0])
