"""Functions in float64 that XLA evaluates slowly or coarsely on CPUs: erf, softplus, sigmoid, tanh, arccos.

Written in operations that XLA turns into vector instructions: polynomials, one division, one exponential, no
branch. Value and derivative are built from the same exponential, which XLA then evaluates once.
`benchmarks/elementwise.py` measures them; value and derivative, ns per number, XLA's → these, on one thread of an
AMD EPYC of the fifth generation: erf 14.3 → 2.5, softplus 11.9 → 2.3, sigmoid 2.0 → 1.6, tanh 1.2 → 1.1.

The coefficients are those of `tests/oracles/minimax.py`, which a test compares digit by digit. Subnormal numbers,
arguments and results alike, count as zero: XLA's CPU programs flush them in every operation.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from thetadot.errors import PrecisionError

_TWO_OVER_ROOT_PI = 2 / np.sqrt(np.pi)
_HALF_PI, _HALF_PI_LOW = np.pi / 2, 6.123233995736766e-17
_TOP_26_BITS = np.int64(-(2**27))

_LOG_2_HIGH, _LOG_2_LOW = (
    0.6931471805598903,
    5.497923018708371e-14,
)  # the product of the first with n is exact
_UNDERFLOW = -708.39  # below it exp is less than the smallest normal number
_WHOLE = 1.5 * 2.0**52  # added to a small whole number, it puts that number into the last bits

# (r·coth(r/2) − 2)/r² in r² on |r| ≤ log(2)/2, relative error of exp 2e-19.
_EXP = (
    0.16666666666666555,
    -0.002777777777669913,
    6.613756250767013e-05,
    -1.6533837763077105e-06,
    4.136067375518241e-08,
)

# (erf(x)/x − 1) in x² on |x| ≤ 0.75, relative error of erf 8e-19.
_ERF_NEAR = (
    0.1283791670955126,
    -0.37612638903183715,
    0.11283791670952481,
    -0.02686617064440247,
    0.005223977615122181,
    -0.0008548326169083802,
    0.00012055288776932837,
    -1.4924176630615217e-05,
    1.643038812895708e-06,
    -1.593759940358607e-07,
    1.1463756021498599e-08,
)
# erfc(x)·exp(x²) = over/under on [0.75, 6], relative error of 1 − erfc 1.4e-17.
_ERFCX_OVER = (
    0.9999999791739181,
    1.3550117929570895,
    0.9059101469961747,
    0.3478526492285557,
    0.07625901332369699,
    0.007741986873601481,
)
_ERFCX_UNDER = (
    1.0,
    2.483390704564601,
    2.7081179608308856,
    1.6724932160124013,
    0.6234991004063027,
    0.13515959606129674,
    0.013722516519671775,
)
# 2(artanh(s)/s − 1)/s² in s² on [0, 1/9], error of the logarithm 3e-18.
_LOG1P = (
    0.6666666666666631,
    0.4000000000015724,
    0.2857142854785449,
    0.22222223969700178,
    0.1818174392581203,
    0.15386559907756142,
    0.13300973749602923,
    0.12106085198422104,
    0.08340105280724554,
    0.17018569600214353,
)

# (asin(x)/x − 1)/x² in x² on |x| ≤ √½, relative error of asin 2.5e-18.
_ARCSINE = (
    0.16666666666666918,
    0.07499999999920587,
    0.044642857231174254,
    0.03038193943478318,
    0.02237232984892596,
    0.01734892727104464,
    0.014025115683507545,
    0.010863659719864863,
    0.015626376915275565,
    -0.02958819188001049,
    0.1962084239968716,
    -0.7185642539019639,
    2.150260190873498,
    -4.843678723477833,
    8.243236451085382,
    -10.198534582698528,
    8.726244398091236,
    -4.624463744868443,
    1.1659299483563632,
)


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def _exp_of_negative(t: Array) -> Array:
    """exp(t) for t ≤ 0 to 1.3 ulp: with t = n log 2 + r and c = r·coth(r/2), 2ⁿ(1 + 2r/(c − r)).

    Half the cost of XLA's. The division, which XLA never does twice, keeps it from evaluating the whole once
    for the value and once more for the derivative.
    """
    n = lax.round(t * (1 / np.log(2)), lax.RoundingMethod.TO_NEAREST_EVEN)
    r = (t - n * _LOG_2_HIGH) - n * _LOG_2_LOW
    square = r * r
    value = 1.0 + 2.0 * r / ((2.0 - r) + square * _polynomial(_EXP, square))
    biased = lax.bitcast_convert_type(n + _WHOLE, np.int64) + np.int64(1023)
    power = lax.bitcast_convert_type(biased << np.int64(52), np.float64)
    return jnp.where(t < _UNDERFLOW, 0.0, value * power)


def _float64(x: Float[Array, "*shape"], name: str) -> Float[Array, "*shape"]:
    if x.dtype != np.float64:
        raise PrecisionError(f"{name} takes float64, given {x.dtype}: convert it with .astype(float)")
    return x


def erf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The error function 2/√π ∫₀ˣ exp(−t²) dt, elementwise, to 2 ulp; its derivative to 3 ulp.

    x + x·p(x²) for |x| < 0.75, else ±(1 − exp(−x²)·r(|x|)) with a minimax polynomial p and a minimax rational
    function r. In the derivative the rounding of x² is made good: left alone it would cost x²/2 ulp.

    Arguments:
        x: float64, any shape; ±inf give ±1, NaN gives NaN, −0 gives −0. Differentiable any number of times.

    Raises:
        PrecisionError: x is not float64.

    Example:
        >>> import jax.numpy as jnp
        >>> erf(jnp.array([0.0, 0.5, 7.0])).round(6).tolist()
        [0.0, 0.5205, 1.0]
    """
    return _erf(_float64(x, "erf"))


@jax.custom_jvp
def _erf(x: Array) -> Array:
    square = x * x
    size = jnp.abs(x)
    bounded = jnp.where(size > 6.0, 6.0, size)  # where erf is 1 to rounding; NaN passes
    over, under = _polynomial(_ERFCX_OVER, bounded), _polynomial(_ERFCX_UNDER, bounded)
    far = 1.0 - _exp_of_negative(-square) * over / under
    return jnp.where(size < 0.75, x + x * _polynomial(_ERF_NEAR, square), jnp.where(x < 0, -far, far))


@jax.custom_jvp
def _erf_slope(x: Array) -> Array:
    """2/√π·exp(−x²), the product split so that every partial product of x² is exact."""
    square = x * x
    high = lax.bitcast_convert_type(lax.bitcast_convert_type(x, np.int64) & _TOP_26_BITS, np.float64)
    low = x - high
    lost = ((high * high - square) + 2.0 * high * low) + low * low
    bell = _exp_of_negative(-square)
    # Beyond |x| = 27 the square may be infinite and `lost` NaN.
    return jnp.where(bell == 0, 0.0, bell * (_TWO_OVER_ROOT_PI - _TWO_OVER_ROOT_PI * lost))


@_erf.defjvp
def _(primals, tangents):
    return _erf(*primals), _erf_slope(*primals) * tangents[0]


@_erf_slope.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    slope = _erf_slope(x)
    return slope, -2.0 * jnp.clip(x, -28.0, 28.0) * slope * dx  # 0, not ∞·0, far out


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + exp(x)), elementwise, to 2 ulp: max(x, 0) + log1p(exp(−|x|)).

    With u = exp(−|x|) and s = u/(2 + u), log1p(u) = 2 artanh(s) = u − s(u − s²p(s²)) with a minimax polynomial p.

    Arguments:
        x: float64, any shape; inf gives inf, −inf gives 0, NaN gives NaN. Differentiable any number of times.

    Raises:
        PrecisionError: x is not float64.

    Example:
        >>> import jax.numpy as jnp
        >>> [f"{value:.12e}" for value in softplus(jnp.array([-40.0, 0.0, 40.0])).tolist()]
        ['4.248354255292e-18', '6.931471805599e-01', '4.000000000000e+01']
    """
    return _softplus(_float64(x, "softplus"))


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    u = _exp_of_negative(-jnp.abs(x))
    s = u / (2.0 + u)
    square = s * s
    return jnp.where(x < 0, 0.0, x) + (u - s * (u - square * _polynomial(_LOG1P, square)))


@_softplus.defjvp
def _(primals, tangents):
    return _softplus(*primals), _sigmoid(*primals) * tangents[0]


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1/(1 + exp(−x)), elementwise, to 2 ulp: with u = exp(−|x|) and q = u/(1 + u), 1 − q or, for x < 0, u − uq.

    XLA's own, 1/(1 + exp(−x)), errs by 2.2 ulp and takes a fifth longer; no more is to be had from a function that
    is one exponential and one division.
    ½(1 + tanh(x/2)) has no correct digit left at x = −40.

    Arguments:
        x: float64, any shape; NaN gives NaN. Differentiable any number of times.

    Raises:
        PrecisionError: x is not float64.

    Example:
        >>> import jax.numpy as jnp
        >>> [f"{value:.12e}" for value in sigmoid(jnp.array([-40.0, 0.0, 40.0])).tolist()]
        ['4.248354255292e-18', '5.000000000000e-01', '1.000000000000e+00']
    """
    return _sigmoid(_float64(x, "sigmoid"))


@jax.custom_jvp
def _sigmoid(x: Array) -> Array:
    u = _exp_of_negative(-jnp.abs(x))
    q = u / (1.0 + u)
    return jnp.where(x < 0, u - u * q, 1.0 - q)


@_sigmoid.defjvp
def _(primals, tangents):
    value = _sigmoid(*primals)
    return value, value * (1.0 - value) * tangents[0]


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """XLA's tanh (4 ulp, faster than any exponential), with the derivative 1 − tanh² as one fused operation.

    JAX's derivative, of three operations, makes the gradient of the digits network 64-128-10 a tenth slower.

    Arguments:
        x: float64, any shape. Differentiable any number of times.

    Raises:
        PrecisionError: x is not float64.

    Example:
        >>> import jax.numpy as jnp
        >>> tanh(jnp.array([0.0, 1.0])).round(6).tolist()
        [0.0, 0.761594]
    """
    return _tanh(_float64(x, "tanh"))


@jax.custom_jvp
def _tanh(x: Array) -> Array:
    return jnp.tanh(x)


@_tanh.defjvp
def _(primals, tangents):
    value = _tanh(*primals)
    return value, (1.0 - value * value) * tangents[0]


def arccos(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The angle in [0, π] whose cosine is x, elementwise, to 2 ulp; see `arccos_and_sine`.

    Arguments:
        x: float64 in [−1, 1], any shape; values beyond count as ±1, NaN gives NaN. The derivative is infinite at ±1.

    Raises:
        PrecisionError: x is not float64.

    Example:
        >>> import jax.numpy as jnp
        >>> [f"{angle:.6f}" for angle in arccos(jnp.array([1.0, 0.0, -1.0])).tolist()]
        ['0.000000', '1.570796', '3.141593']
    """
    return _arccos(_float64(x, "arccos"))


@jax.custom_jvp
def _arccos(x: Array) -> Array:
    return arccos_and_sine(x)[0]


@_arccos.defjvp
def _(primals, tangents):
    angle, sine = arccos_and_sine(*primals)
    return angle, -tangents[0] / sine


def arccos_and_sine(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """(arccos x, √(1 − x²)) from one square root, each to 2 ulp; values beyond [−1, 1] count as ±1.

    With s = √((1 − |x|)(1 + |x|)), arccos|x| is asin s where s < |x| and π/2 − asin|x| elsewhere, so that the argument
    of the polynomial stays below √½. Not to be differentiated: both slopes are infinite at ±1.

    Example:
        >>> import jax.numpy as jnp
        >>> [f"{float(part):.6f}" for part in arccos_and_sine(jnp.array(0.6))]
        ['0.927295', '0.800000']
    """
    size = jnp.minimum(jnp.abs(x), 1.0)
    square, rest = size * size, (1.0 - size) * (1.0 + size)
    sine = jnp.sqrt(rest)
    near = rest < square
    z = jnp.where(near, rest, square)
    root = jnp.where(near, sine, size)
    arc = root + root * (z * _polynomial(_ARCSINE, z))
    acute = jnp.where(near, arc, (_HALF_PI - arc) + _HALF_PI_LOW)
    return jnp.where(x < 0, (2 * _HALF_PI - acute) + 2 * _HALF_PI_LOW, acute), sine
