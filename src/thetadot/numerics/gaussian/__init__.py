"""Exact expectations of functions of few Gaussian directions; knows no network."""

from thetadot.numerics.gaussian.arc_cosine import relu_field, relu_kernel, squared_relu_kernel
from thetadot.numerics.gaussian.erf import ERF_SCALE, erf_field, erf_kernel
from thetadot.numerics.gaussian.hermite import NotSmoothError, hermite_kernel
from thetadot.numerics.gaussian.moments import norm_moment, product_moment, ridge_moment
from thetadot.numerics.gaussian.zonal import DimensionError, chi_moment, zonal_coefficients

__all__ = [
    "ERF_SCALE",
    "DimensionError",
    "NotSmoothError",
    "chi_moment",
    "erf_field",
    "erf_kernel",
    "hermite_kernel",
    "norm_moment",
    "product_moment",
    "relu_field",
    "relu_kernel",
    "ridge_moment",
    "squared_relu_kernel",
    "zonal_coefficients",
]
