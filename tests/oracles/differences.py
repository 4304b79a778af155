"""Slopes by five-point differences, in the numbers that the function returns (floats, arrays, mpmath)."""


def slope(function, t, h):
    """d function/dt at t, with error h⁴/30 times the fifth derivative."""
    return (function(t - 2 * h) - 8 * function(t - h) + 8 * function(t + h) - function(t + 2 * h)) / (12 * h)
