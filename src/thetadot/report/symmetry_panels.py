"""Figures and table of the lens symmetry, from what the store keeps of it."""

from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Line
from thetadot.report.lens_record import Found, spread, with_data
from thetadot.report.members import Badge, Cell
from thetadot.report.panels import Panel
from thetadot.report.series import member_names

_SIGNS = {0: "neurons with a > 0", 1: "neurons with a < 0"}
_SIDES = {0: "the network", 1: "its reduced dynamics"}


def symmetry_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """Residuals of the symmetries, alignment, the network beside its reduction, growth with width; those there are."""
    yield from _residuals(found)
    yield from _alignment(found)
    yield from _reduction(found)
    yield from _widths(found)


def symmetry_table(found: Sequence[Found]) -> tuple[list[str], list[list[Cell]], str] | None:
    """The hypotheses of each symmetry with their residuals, which are those of the problem: one path tells them."""
    known = with_data(found, "check_holds", drawn=False)
    if not known or not _array(known[0], "check_holds").size:
        return None
    one, rows = known[0], []
    columns = ("sign", "orthogonality_residual", "input_residual", "target_residual")
    values = [_array(one, f"check_{column}") for column in columns]
    for place, name in enumerate(one.data["transformation"].values):
        holds = bool(_array(one, "check_holds")[place])
        badge = Badge("a symmetry", "good") if holds else Badge("no symmetry", "bad")
        cells = [Cell(f"{value[place]:+.0f}" if not rank else number(value[place], 2), float(value[place]))
                 for rank, value in enumerate(values)]  # fmt: skip
        rows.append([Cell(str(name)), Cell(badge.text, badge=badge), *cells])
    heads = [
        "x → Tx",
        "training keeps it",
        "sign of f*",
        "TᵀT − I",
        "law of Tx against x",
        "f*(Tx) against ±f*(x)",
    ]
    return heads, rows, "Hypotheses of each symmetry, and their residuals"


def _array(one: Found, name: str) -> np.ndarray:
    values = one.values(name)
    assert values is not None
    return values


def _chart(
    title: str,
    y: str,
    shown: Sequence[Found],
    lines: Sequence[Line],
    colours: dict[int, str],
    log_y: bool = True,
) -> Chart:
    log_y = log_y and suits_logarithm([line.y for line in lines])
    return Chart(
        title, TIME_LABEL, y, suits_log_time([line.x for line in lines]), log_y, lines=tuple(lines), colours=colours,
        dashes=member_names([one.series for one in shown]), scope="layer",
    )  # fmt: skip


def _residuals(found: Sequence[Found]) -> Iterator[Panel]:
    known = [
        one for one in with_data(found, "symmetry_residual", drawn=False) if one.data.sizes["transformation"]
    ]
    shown = [one for one in known if one.drawn]
    if not shown:
        return
    names = [str(name) for name in known[0].data["transformation"].values]
    lines = [
        one.line(_array(one, "symmetry_time"), _array(one, "symmetry_residual")[place], name, colour=place)
        for one in shown
        for place, name in enumerate(names)
    ]
    parts = []
    for place, name in enumerate(names):
        lasts = [float(_array(one, "symmetry_residual")[place, -1]) for one in known]
        parts.append(spread(known, f"{name[:1].upper()}{name[1:]}, at the end", lasts))
        pairs = np.array([_array(one, "particle_residual")[place] for one in known])
        if np.all(pairs[:, 0] <= 1e-12):
            kept = "kept to rounding" if np.all(pairs[:, 1] <= 1e-9) else "lost on the way"
            parts.append(f"The start is invariant; orbit residual {number(pairs[:, 1].max(), 2)}: {kept}.")
    method = (
        "√(E[(f(Tx) − s f(x))²]/E[f(x)²]) of the network, exact up to a floor of about 10⁻⁸. Training keeps a symmetry "
        "of the problem where the start has it; a random start has it in the limit of many neurons only."
    )
    chart = _chart(
        "Symmetry of the predictor",
        "relative residual of f(Tx) = ± f(x)",
        shown,
        lines,
        dict(enumerate(names)),
    )
    yield Panel("residual", chart, " ".join(parts), method)


def _alignment(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "alignment", drawn=False)
    shown = [one for one in known if one.drawn]
    lines = [
        one.line(_array(one, "symmetry_time"), _array(one, "alignment")[:, 1, side], text, colour=side)
        for one in shown
        for side, text in _SIGNS.items()
    ]
    if not lines:
        return
    lasts = np.array([_array(one, "alignment")[-1, 1] for one in known])
    reading = (
        f"{spread(known, 'Mean sin² of positive neurons at the end', lasts[:, 0].tolist())} "
        f"{spread(known, 'Of negative ones', lasts[:, 1].tolist())}"
    )
    method = (
        "Mean sin² of the angle between the neurons' incoming weights and the subspace, weighted by |a||b|: 0 in the "
        "subspace, 1 across it."
    )
    chart = _chart("Alignment with the subspace", "mean sin² of the angle", shown, lines, _SIGNS, log_y=False)
    yield Panel("alignment", chart, reading, method)


def _reduction(found: Sequence[Found]) -> Iterator[Panel]:
    known = with_data(found, "reduced_risk", drawn=False)
    shown = [one for one in known if one.drawn]
    if not shown:
        return
    lines = []
    for one in shown:
        times = _array(one, "symmetry_time")
        reduced = one.line(times, _array(one, "reduced_risk"), _SIDES[1], colour=1, weight=2.6, opacity=0.6)
        lines += [reduced, one.line(times, _array(one, "full_risk"), _SIDES[0], colour=0)]
    numbers = known[0].data.sizes["reduced_number"]
    weights = known[0].series.path.thetas.shape[1]
    kind = str(known[0].attributes.get("reduction"))
    what = "w" if kind == "odd" else "f, in L²,"
    lasts = [float(_array(one, "reduction_distance")[-1]) for one in known]
    reading = (
        f"{numbers} numbers ({kind} reduction) beside {weights} weights. "
        f"{spread(known, f'Distance of {what} from the reduction at the end', lasts)}"
    )
    method = (
        "The risk of the network, and of the reduced dynamics solved on their own: the linear predictor of an odd "
        "target, or the infinitely wide network of a target of few directions."
    )
    chart = _chart("The network and its reduced dynamics", "population risk", shown, lines, _SIDES)
    yield Panel("reduction", chart, reading, method)


def _widths(found: Sequence[Found]) -> Iterator[Panel]:
    known = [one for one in with_data(found, "width_distance", drawn=False) if one.data.sizes["width"] > 1]
    shown = [one for one in known if one.drawn]
    if not shown:
        return
    lines = [one.line(_array(one, "width"), _array(one, "width_distance"), colour=0) for one in shown]
    slopes = [float(np.polyfit(np.log(line.x), np.log(line.y), 1)[0]) for line in lines]
    chart = Chart(
        "Distance to infinite width", "neurons", "distance at the end", True, True, lines=tuple(lines),
        colours={0: "the network"}, dashes=member_names([one.series for one in shown]), scope="layer",
    )  # fmt: skip
    method = "One random start per width, at the last time of the run; independent draws approach the limit like m^−½."
    yield Panel("widths", chart, spread(shown, "Slope in the number of neurons", slopes), method)
