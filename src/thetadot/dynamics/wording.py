"""Numbers as people read them: a few digits, powers of ten, and words for what is not a number."""

import math
from typing import SupportsFloat

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: SupportsFloat | None, digits: int = 3) -> str:
    """A number in `digits` significant digits, as 0.0123, 4,210 or 1.2×10⁻⁷; NaN, ±∞ and None have their
    signs.

    Example:
        >>> [number(x) for x in (0.01234, 1234567, 6.02e23, 0, float("nan"), None)]
        ['0.0123', '1,234,567', '6.02×10²³', '0', 'NaN', '–']
    """
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return f"{value:,}".replace("-", "−")
    x = float(value)
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if x == 0:
        return "0"
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power < 5:
        text = f"{float(f'{mantissa}e{power}'):,.{max(digits - 1 - power, 0)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    scale = power_of_ten(power)
    return {"1": scale, "-1": f"−{scale}"}.get(mantissa, f"{mantissa}×{scale}".replace("-", "−"))


def power_of_ten(exponent: int) -> str:
    """10 to an integer exponent with Unicode superscripts.

    Example:
        >>> power_of_ten(-4)
        '10⁻⁴'
    """
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """An amount with its noun in the right number.

    Example:
        >>> count(1, "member"), count(1200, "member")
        ('1 member', '1,200 members')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A time on the clock.

    Example:
        >>> duration(0.0421), duration(75.2), duration(7300)
        ('0.0421 s', '1 min 15 s', '2 h 1 min')
    """
    if not math.isfinite(seconds) or seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
