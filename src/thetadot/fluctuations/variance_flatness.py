"""The exponent between variance and flatness, with its interval, or the reason why there is none."""

import dataclasses
import enum
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import theilslopes

from thetadot.dynamics.wording import number
from thetadot.fluctuations.errors import FluctuationsError
from thetadot.fluctuations.matrices import positive, whole
from thetadot.problems.checks import as_float64


class FitStatus(enum.StrEnum):
    """Whether the data support an exponent."""

    FITTED = "fitted"
    TOO_FEW_POINTS = "too_few_points"
    TOO_NARROW = "too_narrow"


@dataclasses.dataclass(frozen=True)
class VarianceFlatness:
    """What `variance_flatness` found: variance ∝ width^−ψ.

    Attributes:
        exponent: ψ, by the median of slopes (Theil–Sen); NaN unless fitted. Positive: flatter directions vary less.
        interval: of ψ, at the confidence asked. least_squares: ψ by least squares, for comparison.
        points, dropped: directions used; those left out since variance or width is not positive and finite.
        decades: that the widths span.
        status: fitted, too_few_points or too_narrow.
        widths, variances: the points used. intercept: log variance at width 1.
    """

    exponent: float
    interval: tuple[float, float]
    least_squares: float
    points: int
    dropped: int
    decades: float
    status: FitStatus
    widths: Float[np.ndarray, " n"]
    variances: Float[np.ndarray, " n"]
    intercept: float

    def __str__(self) -> str:
        span = f"widths span {number(self.decades)} decades"
        if self.status is FitStatus.TOO_FEW_POINTS:
            return f"{span}, only {self.points} points: too few to fit an exponent"
        if self.status is FitStatus.TOO_NARROW:
            return f"{span}: not enough span to fit an exponent"
        low, high = self.interval
        return f"{span}, ψ = {number(self.exponent)} [{number(low)}, {number(high)}]"

    def to_xarray(self):
        """Dataset with dimension `direction`."""
        import xarray

        low, high = self.interval
        attrs = {
            name: getattr(self, name)
            for name in ["exponent", "intercept", "least_squares", "points", "dropped", "decades"]
        }
        return xarray.Dataset(
            {
                "width": ("direction", self.widths, {"units": "weight"}),
                "variance": ("direction", self.variances, {"units": "weight²"}),
            },
            attrs={**attrs, "interval_low": low, "interval_high": high, "status": str(self.status)},
        )


def variance_flatness(
    variances: Any, widths: Any, *, min_points: int = 5, min_decades: float = 1.0, confidence: float = 0.95
) -> VarianceFlatness:
    """ψ of variance ∝ width^−ψ over directions, robust against outliers.

    Arguments:
        variances, widths: (k,), along the same directions; entries that are not positive and finite are dropped and
            counted.
        min_points, min_decades: what a fit needs; fewer give a status and no exponent.
        confidence: of the interval.

    Example:
        >>> width = np.geomspace(0.1, 10, 20)
        >>> round(variance_flatness(3 * width**-2.0, width).exponent, 9)
        2.0
        >>> str(variance_flatness(3 * width[:6]**-2.0, width[:6]).status)
        'too_narrow'
    """
    y, x = (np.asarray(as_float64(v, what)) for v, what in ((variances, "variances"), (widths, "widths")))
    if x.ndim != 1 or x.shape != y.shape:
        raise FluctuationsError(f"variances have shape {y.shape}, widths {x.shape}: expected (k,) both")
    least = whole(min_points, "min_points", 2)
    span = positive(min_decades, "min_decades", zero=True)
    if not 0 < confidence < 1:
        raise FluctuationsError(f"confidence = {confidence}: expected a number between 0 and 1")
    with np.errstate(invalid="ignore"):
        good = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    x, y = x[good], y[good]
    decades = float(np.log10(x.max() / x.min())) if x.size else 0.0
    status = FitStatus.FITTED
    if x.size < least:
        status = FitStatus.TOO_FEW_POINTS
    elif decades < span or decades == 0:
        status = FitStatus.TOO_NARROW
    exponent = low = high = straight = intercept = float("nan")
    if status is FitStatus.FITTED:
        found = np.asarray(theilslopes(np.log(y), np.log(x), alpha=confidence), float)
        slope, intercept, least_slope, most_slope = found.tolist()
        exponent, low, high = -slope, -most_slope, -least_slope
        straight = -float(np.polyfit(np.log(x), np.log(y), 1)[0])
    return VarianceFlatness(
        exponent, (low, high), straight, int(x.size), int((~good).sum()), decades, status, x, y, intercept
    )
