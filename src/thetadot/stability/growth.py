"""Exponents fitted to distances: window rules, what they select, and what an unselected rate says beside them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from thetadot.stability.errors import StabilityError
from thetadot.stability.labels import lines_of

RULES = ("best_window", "fixed", "anchored", "saturation")


@dataclasses.dataclass(frozen=True)
class GrowthRate:
    """An exponent fitted to distances d(t), natural logarithms per unit of time.

    Attributes:
        slope, r_squared: of the fit of log d against t ("saturation": log(d(τ)/d(0))/τ).
        start, length: the window, in rows.
        kept: whether the fit passes the rule's filter; a rejected fit still has its numbers.
        endpoint_rate: log(d[e]/d[0])/(t[e] − t[0]), which no window selects.
        power_law_r_squared: of log d against log(1+t) in the same window. power_law_preferred: it fits better.
    """

    slope: float
    r_squared: float
    start: int
    length: int
    kept: bool
    endpoint_rate: float
    power_law_r_squared: float
    power_law_preferred: bool

    def to_xarray(self):
        """Dataset of scalars."""
        import xarray

        return xarray.Dataset({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    def __repr__(self) -> str:
        rows = {
            "fit": f"slope {self.slope:.4g}, R² = {self.r_squared:.4f}, "
            f"rows {self.start} … {self.start + self.length - 1}",
            "kept": "yes" if self.kept else "no: it does not pass the filter",
            "unselected": f"endpoint rate {self.endpoint_rate:.4g}",
            "power law": f"R² = {self.power_law_r_squared:.4f}"
            + (", fits better" * self.power_law_preferred),
        }
        return lines_of("Growth of distances", rows)


def growth_rate(
    distances: Float[Array | np.ndarray, " S"],
    *,
    times: Any = None,
    rule: str = "best_window",
    starts: Sequence[int] = range(0, 105, 5),
    lengths: Sequence[int] = range(30, 105, 5),
    minimum_r_squared: float = 0.9,
    minimum_slope: float = 0.05,
    saturation: int | None = None,
    endpoint: int = 100,
) -> GrowthRate:
    """Fit an exponent to distances between runs, and say how much the window decides.

    Arguments:
        distances: (S,), row 0 the start.
        times: (S,); row numbers by default.
        rule: "best_window": best R² over all windows; "fixed": starts[0], lengths[0]; "anchored": best R² among
            windows from 0; "saturation": log(d(τ)/d(0))/τ up to the row `saturation`.
        starts, lengths: first rows and numbers of rows of the windows.
        minimum_r_squared, minimum_slope: the filter; both must be exceeded.
        saturation: row τ for "saturation"; the last row by default.
        endpoint: row of the endpoint rate, at most the last.

    Raises:
        StabilityError: an unknown rule, fewer than three rows, or no window that fits.

    Source: window rule of arXiv 2404.05782 (its code); the printed definition is "saturation".

    Example:
        >>> found = growth_rate(1e-8 * np.exp(0.2 * np.arange(101.0)))
        >>> round(found.slope, 9), found.kept, round(found.endpoint_rate, 9)
        (0.2, True, 0.2)
    """
    if rule not in RULES:
        raise StabilityError(f"rule = {rule!r}: expected one of {', '.join(RULES)}")
    d = np.asarray(distances, float)
    if d.ndim != 1 or d.size < 3:
        raise StabilityError(f"distances have shape {d.shape}: expected (S,) with at least 3 rows")
    t = np.arange(d.size, dtype=float) if times is None else np.asarray(times, float)
    if t.shape != d.shape:
        raise StabilityError(f"times have shape {t.shape}, distances {d.shape}: they must be equal")
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(d)
    end = min(endpoint, d.size - 1)
    unselected = float((logs[end] - logs[0]) / (t[end] - t[0]))
    if rule == "saturation":
        tau = d.size - 1 if saturation is None else int(saturation)
        if not 0 < tau < d.size:
            raise StabilityError(f"saturation = {saturation}: expected a row between 1 and {d.size - 1}")
        slope, window = float((logs[tau] - logs[0]) / (t[tau] - t[0])), (0, tau + 1)
        r_squared = _line(t[: tau + 1], logs[: tau + 1])[1]
    else:
        window = _window(t, logs, rule, starts, lengths)
        inside = slice(window[0], window[0] + window[1])
        slope, r_squared = _line(t[inside], logs[inside])
    inside = slice(window[0], window[0] + window[1])
    power = _line(np.log1p(t[inside] - t[0]), logs[inside])[1]
    kept = bool(r_squared > minimum_r_squared and slope > minimum_slope)
    return GrowthRate(slope, r_squared, *window, kept, unselected, power, bool(power > r_squared))


def _window(t, logs, rule: str, starts: Sequence[int], lengths: Sequence[int]) -> tuple[int, int]:
    if rule == "fixed":
        starts, lengths = list(starts)[:1], list(lengths)[:1]
    if rule == "anchored":
        starts = [0]
    best, found = -math.inf, None
    for start in starts:
        for length in lengths:
            inside = slice(start, start + length)
            if start + length <= len(logs) and np.isfinite(logs[inside]).all():
                fit = _line(t[inside], logs[inside])[1]
                if fit > best:
                    best, found = fit, (int(start), int(length))
    if found is None:
        raise StabilityError(
            f"no window of starts {list(starts)} and lengths {list(lengths)} lies within {len(logs)} finite, positive "
            "distances: give shorter lengths or more rows"
        )
    return found


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and R² of a least-squares line; R² = 0 of a constant."""
    dx, dy = x - x.mean(), y - y.mean()
    total, width = float(dy @ dy), float(dx @ dx)
    if not np.isfinite(total) or width == 0:
        return math.nan, 0.0
    slope = float(dx @ dy) / width
    return slope, 0.0 if total == 0 else max(0.0, 1.0 - float(np.sum((dy - slope * dx) ** 2)) / total)


@dataclasses.dataclass(frozen=True)
class Drift:
    """How a run moves away from its start.

    Attributes:
        displacement (S,): ‖θ_n − θ_0‖/‖θ_0‖. path_length (S,): Σ‖θ_{m+1} − θ_m‖.
        r_squared_linear, r_squared_root: of displacement against path length (directed motion), and against its root
            (a random walk).
        directness: ‖θ_S − θ_0‖ over the path length; 1 on a straight line.
    """

    displacement: Float[np.ndarray, " S"]
    path_length: Float[np.ndarray, " S"]
    r_squared_linear: float
    r_squared_root: float
    directness: float

    def to_xarray(self):
        """Dataset with dimension `step`."""
        import xarray

        columns = {"displacement": ("step", self.displacement), "path_length": ("step", self.path_length)}
        names = ("r_squared_linear", "r_squared_root", "directness")
        return xarray.Dataset(columns, attrs={name: getattr(self, name) for name in names})

    def __repr__(self) -> str:
        rows = {
            "displacement": f"{self.displacement[-1]:.4g} of ‖θ_0‖ along a path of length {self.path_length[-1]:.4g}",
            "fits": f"linear R² = {self.r_squared_linear:.4f}, root R² = {self.r_squared_root:.4f}",
            "directness": f"{self.directness:.4f}",
        }
        return lines_of("Drift", rows)


def drift(thetas: Float[Array | np.ndarray, "S P"]) -> Drift:
    """Displacement from the start against path length: linear where motion is directed, a root for a random walk.

    Arguments:
        thetas: (S, P), such as `path.thetas`.

    Raises:
        StabilityError: fewer than three rows.

    Example:
        >>> drift(1.0 + np.arange(5.0)[:, None]).directness
        1.0
    """
    rows = np.asarray(thetas, float)
    if rows.ndim != 2 or len(rows) < 3:
        raise StabilityError(f"thetas have shape {rows.shape}: expected (S, P) with at least 3 rows")
    away = np.linalg.norm(rows - rows[0], axis=1)
    path = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(rows, axis=0), axis=1))])
    size = np.linalg.norm(rows[0])
    displacement = away / (size if size > 0 else 1.0)
    directness = float(away[-1] / path[-1]) if path[-1] > 0 else math.nan
    linear = _line(path, displacement)[1]
    root = _line(np.sqrt(path), displacement)[1]
    return Drift(displacement, path, linear, root, directness)


def fields_of(rates: Sequence[GrowthRate]) -> dict[str, Any]:
    """Each field of several rates as one array."""
    return {
        field.name: np.array([getattr(rate, field.name) for rate in rates])
        for field in dataclasses.fields(GrowthRate)
    }
