"""θ(t) where it is known: products of logistic modes, deep scalar chains, and one residual times planar fields."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy
from jaxtyping import Float
from scipy.integrate import solve_ivp

from thetadot.integrability.errors import IntegrabilityError
from thetadot.integrability.integrals import PlanarSplit, planar_split
from thetadot.integrability.symbolic import SymbolicFlow

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_PANEL = 0.25
_MOST_PANELS = 4000
_NEAREST = 14.0


@dataclasses.dataclass(frozen=True)
class Mode:
    """One part of a loss that separates: α m² − β m with m the product of some parameters."""

    indices: tuple[int, ...]
    alpha: float
    beta: float


@dataclasses.dataclass(frozen=True)
class ClosedForm:
    """θ(t) of a flow that can be solved; call it with a start (P,) and times (T,) to get (T, P).

    Attributes:
        kind: which case. integrals: what it keeps. expression: the formula, where there is one without integral signs.
        quadrature: whether times come from an integral that is evaluated numerically (to about 1e−12).
    """

    kind: str
    integrals: tuple[sympy.Expr, ...]
    expression: str | None
    quadrature: bool
    modes: tuple[Mode, ...] = ()
    split: PlanarSplit | None = None
    parameters: tuple[sympy.Symbol, ...] = ()

    def __call__(self, theta0: Any, ts: Any) -> Float[np.ndarray, "T P"]:
        """θ at the times, for the start θ(0)."""
        start, times = np.asarray(theta0, float), np.asarray(ts, float)
        if start.shape != (len(self.parameters),) or times.ndim != 1 or np.any(times < 0):
            raise IntegrabilityError(
                f"theta0 has shape {start.shape}, ts {times.shape}: expected ({len(self.parameters)},) and times ≥ 0"
            )
        if self.split is not None:
            return _by_residual(self.split, self.parameters, start, times)
        out = np.empty((len(times), len(start)))
        for mode in self.modes:
            where = list(mode.indices)
            out[:, where] = _mode(mode, start[where], times)
        return out


def closed_form(flow: SymbolicFlow) -> ClosedForm | None:
    """θ(t) of a flow, or None if no formula or quadrature is known.

    Known are losses that separate into α m² − β m with m a product of parameters of their own (scalar linear
    networks of any depth and imbalance, diagonal networks with a diagonal Gram matrix, decoupled linear networks), and
    fields R·v with v a sum of planar fields that have first integrals.

    Source: A. Saxe, J. McClelland, S. Ganguli, arXiv 1312.6120, for the balanced case; the imbalanced one was derived
    here.

    Example:
        >>> from thetadot.integrability import network_flow
        >>> form = closed_form(network_flow([1, 1, 1], "identity", [(1, 1)], bias=False))
        >>> form.kind, np.round(form([0.2, 0.2], [0.0, 50.0]), 6).tolist()
        ('logistic mode', [[0.2, 0.2], [1.0, 1.0]])
    """
    modes = _modes(flow)
    if modes is not None:
        depth = max(len(mode.indices) for mode in modes)
        symbols = flow.parameters
        integrals = tuple(
            symbols[i] ** 2 - symbols[j] ** 2 for mode in modes for i, j in itertools.pairwise(mode.indices)
        )
        if depth <= 2:
            kind = "logistic mode" if len(modes) == 1 else f"{len(modes)} separate modes"
            formula = "(M−M₊)/(M−M₋) = κ exp(−(σ₂/2)(M₊−M₋)t), M = (a+w)²"
            return ClosedForm(kind, integrals, formula, False, modes, None, symbols)
        return ClosedForm("deep scalar chain", integrals, None, True, modes, None, symbols)
    split = planar_split(flow)
    if split is not None and split.factor.free_symbols:
        return ClosedForm("one residual", split.integrals, None, True, (), split, flow.parameters)
    return None


def _modes(flow: SymbolicFlow) -> tuple[Mode, ...] | None:
    if not flow.loss.is_polynomial(*flow.parameters):
        return None
    groups = [{i} for i in range(flow.size)]
    terms = sympy.Poly(flow.loss, *flow.parameters).terms()
    for exponents, _ in terms:
        touched = {i for i, e in enumerate(exponents) if e}
        joined = [g for g in groups if g & touched]
        groups = [g for g in groups if not g & touched] + ([set().union(*joined)] if joined else [])
    found: dict[tuple[int, ...], list[float]] = {tuple(sorted(g)): [0.0, 0.0] for g in groups}
    for exponents, coefficient in terms:
        where = tuple(i for i, e in enumerate(exponents) if e)
        if not where:
            continue
        power = exponents[where[0]]
        if where not in found or power not in (1, 2) or any(exponents[i] != power for i in where):
            return None
        found[where][2 - power] = float(coefficient) * (1 if power == 2 else -1)
    if any(alpha < 0 or (alpha == 0 and beta != 0) for alpha, beta in found.values()):
        return None
    return tuple(Mode(where, alpha, beta) for where, (alpha, beta) in sorted(found.items()))


def _mode(mode: Mode, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    if mode.alpha == 0.0:
        return np.repeat(start[None], len(times), axis=0)
    if len(start) == 1:
        rest = mode.beta / (2 * mode.alpha)
        return (rest + (start[0] - rest) * np.exp(-2 * mode.alpha * times))[:, None]
    if len(start) == 2:
        return _pair(2 * mode.alpha, mode.beta, start, times)
    return _chain(mode, start, times)


def _pair(second: float, rho: float, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(a, w)(t) for L = (σ₂/2)(aw)² − ϱ aw: Ṁ = −(σ₂/2)M² + 2ϱM + σ₂C²/2 with M = (a+w)², C = a²−w²."""
    a, w = start
    if abs(a + w) < abs(a - w):
        mirrored = _pair(second, -rho, np.array([a, -w]), times)
        return mirrored * np.array([1.0, -1.0])
    total, level = a + w, (a - w) * (a + w)
    if total == 0.0:
        return np.repeat(start[None], len(times), axis=0)
    width = np.hypot(2 * rho, second * level)
    first = total**2
    if width == 0.0:
        m = first / (1 + 0.5 * second * first * times)
    else:
        # The root of smaller size by Vieta, M₊ M₋ = −C²: the difference would cancel.
        high = (2 * rho + width) / second if rho >= 0 else -second * level**2 / (2 * rho - width)
        low = (2 * rho - width) / second if rho < 0 else -second * level**2 / (2 * rho + width)
        # M = (M₊(M₀−M₋) − M₋(M₀−M₊)e)/((M₀−M₋) − (M₀−M₊)e) with e = exp(−(σ₂/2)(M₊−M₋)t).
        decay = np.exp(-width * times)
        m = (high * (first - low) - low * (first - high) * decay) / ((first - low) - (first - high) * decay)
    root = np.sign(total) * np.sqrt(m)
    return np.stack([(root + level / root) / 2, (root - level / root) / 2], axis=1)


def _chain(mode: Mode, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """w_i(t) of L = α m² − β m with m = Π w_i: the smallest w is the coordinate, t = ∫ dw/g(w)."""
    least = int(np.argmin(np.abs(start)))
    gaps = np.maximum(start**2 - start[least] ** 2, 0.0)
    signs = np.where(start >= 0, 1.0, -1.0)
    tied = gaps == 0
    relative = np.where(tied & (start[least] < 0), -signs, signs)

    def others(w: float) -> np.ndarray:
        values = np.where(tied, relative * w, signs * np.sqrt(w * w + gaps))
        values[least] = w
        return values

    def velocity(w: float) -> float:
        values = others(w)
        rest = np.prod(np.delete(values, least))
        return float(-(2 * mode.alpha * w * rest - mode.beta) * rest)

    w0, speed = float(start[least]), velocity(float(start[least]))
    if speed == 0.0:
        return np.repeat(start[None], len(times), axis=0)
    end = _next_rest(velocity, w0, float(np.sign(speed)), 0.0 if tied.sum() > 1 else None)
    distance = w0 - end
    nearest = _NEAREST if end else 40.0

    def integrand(s: float) -> float:
        # Nearer to the equilibrium the ratio is constant, and rounding would spoil it.
        gap = distance * np.exp(-min(s, nearest))
        return -gap / velocity(end + gap)

    return np.array([others(end + distance * np.exp(-s)) for s in _inverted(integrand, times)])


def _next_rest(velocity: Callable[[float], float], start: float, sign: float, stop: float | None) -> float:
    from scipy.optimize import brentq

    here, step = start, 1e-3 * max(1.0, abs(start))
    for _ in range(400):
        there = here + sign * step
        if stop is not None and (here - stop) * (there - stop) <= 0:
            return stop
        if velocity(there) * sign <= 0:
            return float(brentq(velocity, here, there, xtol=1e-16, rtol=8.9e-16))
        here, step = there, step * 1.1
    raise IntegrabilityError("the flow has no equilibrium ahead: no time can be assigned")


def _inverted(integrand: Callable[[float], float], times: np.ndarray) -> np.ndarray:
    """s with ∫₀ˢ integrand = t for every t, by Gauss–Legendre panels and Newton steps."""
    order, found = np.argsort(times), np.zeros(len(times))
    left, elapsed, panels = 0.0, 0.0, 0
    whole = _panel(integrand, left, _PANEL)
    for k in order:
        while elapsed + whole < times[k] and panels < _MOST_PANELS:
            left, elapsed, panels = left + _PANEL, elapsed + whole, panels + 1
            whole = _panel(integrand, left, _PANEL)
        width = _PANEL * (times[k] - elapsed) / whole if whole > 0 else 0.0
        for _ in range(12):
            change = (elapsed + _panel(integrand, left, width) - times[k]) / integrand(left + width)
            width -= change
            if abs(change) < 1e-15:
                break
        found[k] = left + width
    return found


def _panel(integrand: Callable[[float], float], left: float, width: float) -> float:
    nodes = left + width * (_NODES + 1) / 2
    return float(width / 2 * sum(w * integrand(s) for w, s in zip(_WEIGHTS, nodes, strict=True)))


def _by_residual(split: PlanarSplit, parameters, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """θ follows v in the time τ with dτ = R dt; t = ∫ dτ/R, with R = 0 at the end of the curve."""
    field = sympy.lambdify(parameters, split.field, modules=["scipy", "numpy"])
    factor = sympy.lambdify(parameters, split.factor, modules=["scipy", "numpy"])
    first = float(factor(*start))
    if first == 0.0 or not any(field(*start)):
        return np.repeat(start[None], len(times), axis=0)
    sign = np.sign(first)

    def rest(_: float, theta: np.ndarray) -> float:
        return float(factor(*theta)) * sign

    rest.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    curve = solve_ivp(
        lambda _, theta: sign * np.array(field(*theta), float),
        (0.0, 1e4), start, method="DOP853", rtol=1e-13, atol=1e-14, dense_output=True, events=rest, max_step=0.05,
    )  # fmt: skip
    if not len(curve.t_events[0]):
        raise IntegrabilityError(
            "the flow reaches no equilibrium along its planar curves: no time can be assigned"
        )
    end = float(curve.t_events[0][0])

    def integrand(s: float) -> float:
        gap = end * np.exp(-min(s, _NEAREST))
        return gap / rest(0.0, curve.sol(end - gap))

    return np.array([curve.sol(end - end * np.exp(-s)) for s in _inverted(integrand, times)])
