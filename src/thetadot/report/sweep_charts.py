"""The figures of a sweep: what was measured over the swept keys, and losses over time for each value of a key."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from thetadot.dynamics.canvas import TIME_LABEL, dress, literal, new_axes, suits_log_time, suits_logarithm
from thetadot.dynamics.figures import LOSS_LABEL
from thetadot.dynamics.palette import RULES
from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number
from thetadot.report.chart import Band, Chart, Line
from thetadot.report.fan import loss_fan
from thetadot.report.series import FigureError
from thetadot.report.still import draw

LABELS = {
    "loss": "last loss L",
    "grad_norm": "last gradient norm ‖∇L‖",
    "time": "end time t (units of the loss gradient)",
    "global_error": "global error of θ (relative)",
    "energy_defect": "energy defect (relative)",
    "gradients": "gradients evaluated",
    "seconds": "computing time (s)",
}


@dataclasses.dataclass(frozen=True)
class Heat:
    """A variable over two keys: the median of the members, over rows (the first key) and columns (the second).

    Attributes:
        title: what it shows.
        row_key, column_key: the keys.
        rows, columns: their values as texts.
        values (rows, columns): NaN where there is none.
        shares (rows, columns): depth of the colour, 0 to 1, logarithmic where that suits; NaN where there is none.
    """

    title: str
    row_key: str
    column_key: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    shares: np.ndarray


def label(variable: str) -> str:
    """Name of a variable of a sweep's table on an axis."""
    return LABELS.get(variable, variable)


def swept_dims(table: Any) -> list[str]:
    """The dimensions over which something is swept, the longest first (one of length 1 shows nothing)."""
    dims = [dim for dim in table.run.dims if dim != "member" and table.sizes[dim] > 1]
    return sorted(dims, key=lambda dim: -table.sizes[dim])


def sound(table: Any, variable: str) -> Any:
    """A variable of the table, NaN where the run diverged: its last numbers say nothing but that."""
    return table[variable].where(table.outcome != "DIVERGED")


def _quiet_median(values: Any, dims: list[str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of points without a number
        return values.median(dims, skipna=True)


def key_chart(table: Any, variable: str, dim: str) -> Chart:
    """A variable over one key: median and middle 80 % of all runs with each of its values."""
    values = sound(table, variable).transpose(dim, ...).values.reshape(table.sizes[dim], -1)
    places, log_x, whole = _places(table, dim)
    low, middle, high = _quantiles(values)
    order = np.argsort(places)
    shown = places[order], low[order], middle[order], high[order]
    log_y = suits_logarithm([values])
    return Chart(
        f"{label(variable).split(' (')[0]} over {dim}", _axis_name(table, dim), label(variable), log_x, log_y, whole,
        lines=(Line(shown[0], shown[2], "median", weight=2.4),),
        bands=(Band(shown[0], shown[1], shown[3], "middle 80 %"),),
    )  # fmt: skip


def heats(table: Any, variable: str, most: int = 6) -> list[Heat]:
    """A variable over the two longest keys; one map for each combination of the other keys' values, up to `most`."""
    rows, columns, *others = swept_dims(table)
    inner = [dim for dim in table[variable].dims if dim not in (rows, columns, *others)]
    middle = _quiet_median(sound(table, variable), inner)
    everything = middle.values
    found = []
    for place in np.ndindex(*(table.sizes[dim] for dim in others)):
        chosen = dict(zip(others, place, strict=True))
        values = middle.isel(chosen).transpose(rows, columns).values
        where = ", ".join(f"{dim} = {_texts(table, dim)[at]}" for dim, at in chosen.items())
        found.append(
            Heat(
                label(variable).split(" (")[0] + (f" at {where}" if where else ""), rows, columns,
                _texts(table, rows), _texts(table, columns), values, _shares(values, everything),
            )
        )  # fmt: skip
        if len(found) == most:
            break
    return found


def fan_chart_of(groups: dict[str, list[Path]], key: str) -> Chart:
    """Losses over time, the runs of each value of a key as one fan (at most as many fans as there are colours)."""
    every = [path for paths in groups.values() for path in paths]
    log_x = suits_log_time([path.ts for path in every])
    log_y = suits_logarithm([path.losses for path in every])
    lines, bands, colours = [], [], {}
    for index, (value, paths) in enumerate(list(groups.items())[: len(RULES)]):
        fan = loss_fan(paths, log_x, log_y)
        colours[index] = f"{key} = {value}" if key else value
        lines.append(Line(fan.ts, fan.middle, f"median at {value}", index, 0, 2.0))
        bands.append(Band(fan.ts, fan.low, fan.high, f"middle 80 % at {value}", index))
    return Chart(
        f"Loss over time for each {key}" if key else "Loss over time", TIME_LABEL, LOSS_LABEL, log_x, log_y,
        lines=tuple(lines), bands=tuple(bands), colours=colours,
    )  # fmt: skip


def plot_sweep(table: Any, variable: str = "loss", *, axes: Axes | None = None) -> Axes:
    """A variable of a sweep over its keys: a curve with a band for one key, a map for two.

    Arguments:
        table: of the sweep (`thetadot.sweep(…)` or `open_sweep(…).table`), with one or two keys of several values
            (choose with `table.sel(…)` if there are more).
        variable: of the table: "loss", "grad_norm", "seconds", "<lens>.<scalar>" ….
        axes: matplotlib axes; new ones if not given.

    Returns:
        The axes.

    Raises:
        FigureError: no such variable, nothing but NaN, or too many keys.
    """
    numbers = [name for name in table.data_vars if table[name].dtype.kind in "fi" and name != "run"]
    if variable not in numbers:
        raise FigureError(f"the table has no variable {variable!r}: it has {', '.join(numbers)}")
    if not np.isfinite(sound(table, variable).values).any():
        raise FigureError(f"{variable} is nowhere a number: no run has come so far, or all diverged")
    dims = swept_dims(table)
    if not 1 <= len(dims) <= 2:
        told = ", ".join(dims) or "none"
        raise FigureError(f"keys with several values: {told}; expected one or two: choose with table.sel(…)")
    axes = axes or new_axes()[0]
    assert axes is not None
    if len(dims) == 1:
        return draw(key_chart(table, variable, dims[0]), axes)
    heat = heats(table, variable)[0]
    from matplotlib.colors import LogNorm

    finite = heat.values[np.isfinite(heat.values)]
    logarithmic = _spans(finite)
    drawn = axes.pcolormesh(
        heat.values, cmap="viridis", norm=LogNorm(finite.min(), finite.max()) if logarithmic else None
    )
    axes.set_xticks(np.arange(len(heat.columns)) + 0.5, heat.columns)
    axes.set_yticks(np.arange(len(heat.rows)) + 0.5, heat.rows)
    axes.set(xlabel=literal(heat.column_key), ylabel=literal(heat.row_key))
    dress(axes)
    axes.grid(False)
    axes.figure.colorbar(drawn, ax=axes, label=f"{label(variable)}, median of the members")
    return axes


def _spans(values: np.ndarray) -> bool:
    return bool(values.size and values.min() > 0 and values.max() > 10 * values.min())


def _shares(values: np.ndarray, everything: np.ndarray) -> np.ndarray:
    finite = everything[np.isfinite(everything)]
    if not finite.size or finite.max() == finite.min():
        return np.where(np.isfinite(values), 0.5, np.nan)
    transform = np.log if _spans(finite) else np.asarray
    low, high = transform(finite.min()), transform(finite.max())
    with np.errstate(invalid="ignore"):
        return (transform(values) - low) / (high - low)


def _quantiles(values: np.ndarray) -> np.ndarray:
    """(3, n): 10, 50 and 90 % of each row, NaN for rows without a number."""
    found = np.full((3, len(values)), np.nan)
    for row, each in enumerate(values):
        finite = each[np.isfinite(each)]
        if finite.size:
            found[:, row] = np.quantile(finite, [0.1, 0.5, 0.9])
    return found


def _places(table: Any, dim: str) -> tuple[np.ndarray, bool, bool]:
    """Where the values of a dimension stand on an axis, whether it is logarithmic, whether it counts."""
    if dim in table.coords and table[dim].dtype.kind in "fi":
        places = table[dim].values.astype(float)
        return places, bool(places.min() > 0 and places.max() >= 10 * places.min()), False
    return np.arange(table.sizes[dim], dtype=float), False, True


def _axis_name(table: Any, dim: str) -> str:
    if dim in table.coords and table[dim].dtype.kind in "fi":
        return dim
    told = ", ".join(f"{at}: {text}" for at, text in enumerate(_texts(table, dim)[:4]))
    more = ", …" if table.sizes[dim] > 4 else ""
    return f"{dim} ({told}{more})"


def _texts(table: Any, dim: str) -> tuple[str, ...]:
    if dim in table.coords:
        return tuple(
            number(v) if table[dim].dtype.kind in "fi" else str(v) for v in table[dim].values.tolist()
        )
    keys = [name for name in table.coords if table[name].dims == (dim,)]
    rows = zip(*(table[key].values.tolist() for key in keys), strict=True) if keys else []
    told = [", ".join(number(v) if isinstance(v, (int, float)) else str(v) for v in row) for row in rows]
    return tuple(told) or tuple(str(at) for at in range(table.sizes[dim]))


def spread_words(values: np.ndarray) -> str:
    """Lowest, median and highest of some numbers."""
    finite = np.sort(values[np.isfinite(values)].ravel())
    if not finite.size:
        return "no number yet"
    return f"{number(finite[0])} to {number(finite[-1])}, median {number(float(np.median(finite)))}"


def ratio_words(low: float, high: float) -> str:
    """How far two numbers lie apart."""
    if low > 0 and high > 0 and math.isfinite(high / low):
        return f"by a factor of {number(high / low)}"
    return f"by {number(high - low)}"
