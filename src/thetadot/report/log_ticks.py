"""Ticks of the interactive figures' logarithmic axes: powers of ten, with 2 and 5 between them where these
are few.

`templates/page.js` has the same rule, to set them anew when a reader zooms.
"""

import math

from thetadot.dynamics.wording import number

_MOST_POWERS = 8
_FEW_DECADES = 2.5
_NARROW = 0.8


def log_ticks(low: float, high: float) -> dict[float, str]:
    """{place: label} of the ticks of a logarithmic axis from low to high, both positive.

    Example:
        >>> log_ticks(0.04, 3.0)
        {0.05: '0.05', 0.1: '0.1', 0.2: '0.2', 0.5: '0.5', 1.0: '1', 2.0: '2'}
        >>> list(log_ticks(1e-9, 2.0).values())
        ['10⁻⁸', '10⁻⁶', '10⁻⁴', '0.01', '1']
    """
    first, last = math.log10(low), math.log10(high)
    if last - first < _NARROW:
        return {place: number(place, 6) for place in _linear_ticks(low, high)}
    mantissas = (1, 2, 5) if last - first < _FEW_DECADES else (1,)
    step = math.ceil((last - first) / _MOST_POWERS)
    powers = [power for power in range(math.floor(first), math.floor(last) + 1) if power % step == 0]
    places = [float(f"{mantissa}e{power}") for power in powers for mantissa in mantissas]
    return {place: number(place) for place in places if low <= place <= high}


def _linear_ticks(low: float, high: float) -> list[float]:
    """About five round numbers between low and high."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    return [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]
