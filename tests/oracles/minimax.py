"""The best polynomials and rational functions for `thetadot.numerics.elementwise`, in 60 digits.

Prints the tables of that module, which a test compares digit by digit:

    python -m tests.oracles.minimax
"""

from collections.abc import Callable

import mpmath
from mpmath import mpf

DIGITS = 60
GRID = 1200
JOIN = mpf("0.75")
"""Where erf passes from its own polynomial to 1 − exp(−x²) · erfcx(x)."""


def minimax(
    function: Callable, weight: Callable, start: mpf, stop: mpf, numerator: int, denominator: int = 0
) -> tuple[list[mpf], list[mpf], mpf]:
    """P and Q, Q(0) = 1, with the least max |weight · (function − P/Q)|, by Remez's exchange on a Chebyshev grid.

    Arguments:
        function, weight: of x.
        start, stop: the interval.
        numerator, denominator: degrees of P and Q.

    Returns:
        Coefficients of P and of Q, constant first, and the error.
    """
    points = [
        (start + stop) / 2 - (stop - start) / 2 * mpmath.cospi(mpf(i) / (GRID - 1)) for i in range(GRID)
    ]
    values, weights = [function(x) for x in points], [weight(x) for x in points]
    size = numerator + denominator + 2
    chosen = [round(i * (GRID - 1) / (size - 1)) for i in range(size)]
    below = [mpf(1)] * GRID  # Q at the points: the level of the error is linear once it is known
    for _ in range(100):
        matrix, right = mpmath.matrix(size, size), mpmath.matrix(size, 1)
        for row, i in enumerate(chosen):
            for power in range(numerator + 1):
                matrix[row, power] = points[i] ** power
            for power in range(1, denominator + 1):
                matrix[row, numerator + power] = -values[i] * points[i] ** power
            matrix[row, size - 1] = (-1) ** row * below[i] / weights[i]
            right[row] = values[i]
        solution = list(mpmath.lu_solve(matrix, right))
        p, q = solution[: numerator + 1], [mpf(1), *solution[numerator + 1 : size - 1]]
        now = [mpmath.polyval(q[::-1], x) for x in points]
        moved = max(abs(new / old - 1) for new, old in zip(now, below, strict=True))
        below = now
        if moved > mpf(10) ** -8:
            continue
        errors = [
            w * (f - mpmath.polyval(p[::-1], x) / b)
            for x, f, w, b in zip(points, values, weights, below, strict=True)
        ]
        largest = max(map(abs, errors))
        if largest < mpf("1.001") * abs(solution[-1]):
            return p, q, largest
        chosen = _alternating(errors, size)
    raise ArithmeticError(f"the exchange does not settle on [{start}, {stop}]")


def _alternating(errors: list[mpf], size: int) -> list[int]:
    """Places of `size` extremes of alternating sign, the smaller end dropped while there are too many."""
    places: list[int] = []
    for i, error in enumerate(errors):
        if not places or (error > 0) != (errors[places[-1]] > 0):
            places.append(i)
        elif abs(error) > abs(errors[places[-1]]):
            places[-1] = i
    while len(places) > size:
        places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
    return places


def tables() -> dict[str, tuple[tuple[float, ...], mpf]]:
    """{name in the module: (coefficients rounded to float64, error of the unrounded ones)}."""
    with mpmath.workdps(DIGITS):

        def erf_ratio(z):
            return mpmath.erf(mpmath.sqrt(z)) / mpmath.sqrt(z) if z else 2 / mpmath.sqrt(mpmath.pi)

        def scaled_complement(x):
            return mpmath.exp(x * x) * mpmath.erfc(x)

        def area_ratio(z):
            return 2 * (mpmath.atanh(mpmath.sqrt(z)) / mpmath.sqrt(z) - 1) / z if z else mpf(2) / 3

        def even_part(z):
            root = mpmath.sqrt(z)
            return (root * mpmath.coth(root / 2) - 2) / z if z > mpf(10) ** -30 else mpf(1) / 6

        def arc_ratio(z):
            return mpmath.asin(mpmath.sqrt(z)) / mpmath.sqrt(z) if z else mpf(1)

        arc, _, arc_error = minimax(
            lambda z: (arc_ratio(z) - 1) / z if z else mpf(1) / 6,
            lambda z: (z + mpf(10) ** -12) / arc_ratio(z),
            mpf(0), mpf(1) / 2, 18,
        )  # fmt: skip
        near, _, near_error = minimax(
            lambda z: erf_ratio(z) - 1, lambda z: 1 / erf_ratio(z), mpf(0), JOIN**2, 10
        )
        over, under, far_error = minimax(
            scaled_complement, lambda x: mpmath.exp(-x * x) / mpmath.erf(x), JOIN, mpf(6), 5, 6
        )
        log, _, log_error = minimax(area_ratio, lambda z: z + mpf(10) ** -9, mpf(0), mpf(1) / 9, 9)
        exp, _, exp_error = minimax(
            even_part, lambda z: z ** mpf("1.5") / 2 + mpf(10) ** -12, mpf(0), mpmath.log(2) ** 2 / 4, 4
        )
        found = {
            "_ARCSINE": (arc, arc_error),
            "_EXP": (exp, exp_error),
            "_ERF_NEAR": (near, near_error),
            "_ERFCX_OVER": (over, far_error),
            "_ERFCX_UNDER": (under, far_error),
            "_LOG1P": (log, log_error),
        }
        return {name: (tuple(map(float, p)), error) for name, (p, error) in found.items()}


def halves_of_log_2() -> tuple[float, float]:
    """log 2 as the sum of its leading 42 bits, whose product with any exponent is exact, and the rest."""
    with mpmath.workdps(DIGITS):
        high = mpmath.floor(mpmath.ldexp(mpmath.log(2), 42)) / mpf(2) ** 42
        return float(high), float(mpmath.log(2) - high)


if __name__ == "__main__":
    print(f"_LOG_2_HIGH, _LOG_2_LOW = {halves_of_log_2()}")
    for name, (coefficients, error) in tables().items():
        print(f"# error {mpmath.nstr(error, 2)}\n{name} = (")
        print("".join(f"    {coefficient!r},\n" for coefficient in coefficients) + ")")
