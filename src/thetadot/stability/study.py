"""The lens on one run of a study."""

import dataclasses
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.dynamics import (
    Flow,
    GradientDescent,
    HeavyBall,
    Nesterov,
    Path,
    StepMap,
    training_flow,
    training_map,
)
from thetadot.dynamics.wording import number
from thetadot.problems import Problem
from thetadot.stability.covariant import CovariantVectors, covariant_vectors
from thetadot.stability.errors import KinkWarning, StabilityError
from thetadot.stability.finite_time import FiniteTimeExponents, finite_time_exponents
from thetadot.stability.growth import Drift, drift
from thetadot.stability.kinks import has_kinks, kinks_crossed
from thetadot.stability.labels import unit_words, with_error
from thetadot.stability.options import FiniteTimeOptions, Options, OrbitalOptions
from thetadot.stability.orbital import OrbitalStability, orbital_stability
from thetadot.stability.prediction import LossPrediction, loss_prediction
from thetadot.stability.regimes import RegimeScan, regime_scan
from thetadot.stability.sharpness import SharpnessTrack, sharpness, sharpness_along
from thetadot.stability.spectrum import LyapunovSpectrum, lyapunov
from thetadot.stability.tangent import System

COMPARED = ("gradient_descent", "heavy_ball", "nesterov", "minibatch", "per_sample", "optax")
"""Comparison rules whose paths the lens looks at too."""

_SMALL = 500
_STEPS = 200
_TURNOVERS = 25.0
_RULES = {
    "gradient descent": (GradientDescent, 1),
    "heavy ball": (HeavyBall, 2),
    "Nesterov": (Nesterov, 2),
}


@dataclasses.dataclass(frozen=True)
class StabilityAnalysis:
    """What the lens found on one run; parts that were not asked for are None.

    Attributes:
        system: what was linearised, in words. unit: "step" or "time".
        spectrum, finite_time, covariant, orbital, sharpness, drift, regimes, prediction: the parts.
        notes: what was limited or left out, and why.
    """

    system: str
    unit: str
    spectrum: LyapunovSpectrum | None = None
    finite_time: tuple[FiniteTimeExponents, ...] = ()
    covariant: CovariantVectors | None = None
    orbital: OrbitalStability | None = None
    sharpness: SharpnessTrack | None = None
    drift: Drift | None = None
    regimes: RegimeScan | None = None
    prediction: LossPrediction | None = None
    notes: tuple[str, ...] = ()

    def to_xarray(self):
        """All parts in one Dataset; names and dimensions carry the name of their part."""
        import xarray

        parts: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("spectrum", "covariant", "orbital", "sharpness", "drift", "regimes", "prediction")
        }
        parts |= {f"finite_time_{found.window:g}": found for found in self.finite_time}
        merged = xarray.Dataset(
            attrs={
                "system": self.system,
                "unit": self.unit,
                "notes": "; ".join(self.notes),
                "summary": self.summary(),
            }
        )
        for name, found in parts.items():
            if found is None:
                continue
            data = found.to_xarray()
            names = [*data.variables, *data.dims]
            merged = merged.merge(data.rename({str(key): f"{name}_{key}" for key in dict.fromkeys(names)}))
            merged.attrs |= {f"{name}_{key}": value for key, value in data.attrs.items()}
        return merged

    def summary(self) -> str:
        """The main numbers and statuses in one line."""
        parts = []
        if self.spectrum is not None and len(self.spectrum.exponents):
            first = int(np.argmax(self.spectrum.exponents))
            value = self.spectrum.exponents[first]
            words = "nudges grow" if value > 0 else "nudges shrink or persist"
            parts.append(
                f"leading exponent {with_error(value, self.spectrum.standard_error[first])} per {self.unit} over "
                f"{number(self.spectrum.steps)} {unit_words(self.unit, self.spectrum.steps)} "
                f"({self.spectrum.status.name}: {words})"
            )
        if self.sharpness is not None:
            last = self.sharpness.values[-1, 0]
            text = f"sharpness {number(last)} at the end"
            for name, value in self.sharpness.thresholds.items():
                text += f", {last / value:.0%} of {name}"
            parts.append(text)
        if self.orbital is not None:
            ratio = self.orbital.mean_distance[-1] / self.orbital.initial_distance
            parts.append(f"twins end ×{number(ratio)} as far apart ({self.orbital.status.name})")
        if self.prediction is not None:
            parts.append(f"prediction of the final loss: {self.prediction.status.name}")
        return "; ".join(parts) or "nothing was asked of this lens"


def analyse(problem: Problem, path: Path, options: Options, *, rule: Any = None) -> StabilityAnalysis:
    """What the lens says of one run of a study.

    Arguments:
        problem: what was trained.
        path: the run.
        options: what to compute.
        rule: the learning rule of the run; without it, descent with and without momentum is read from the path.

    Raises:
        StabilityError: a path of a system without tangents here, or without its rule.

    Example:
        >>> problem = td.FunctionRisk(lambda t: 0.5 * jnp.sum(jnp.array([1.0, 4.0]) * t**2), jnp.ones(2))
        >>> path = td.descend(problem, np.ones(2), td.GradientDescent(0.1), 50, progress=False)
        >>> found = analyse(problem, path, Options(orbital=None, finite_time=None))
        >>> round(float(found.spectrum.exponents.sum()), 4), round(float(found.sharpness.values[-1, 0]), 6)
        (-0.6162, 4.0)
    """
    system, rule, words = _system(problem, path, options, rule)
    start = system.start(jnp.asarray(path.thetas[0]))
    flow = isinstance(system, Flow)
    key = jax.random.key(options.seed)
    notes: list[str] = []
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KinkWarning)
        if has_kinks(system):
            crossed = kinks_crossed(system, start, system.start(jnp.asarray(path.thetas[-1])))
            notes.append(f"the activation has kinks, which tangents do not see: {crossed} along the run")
        if options.exponents:
            found["spectrum"] = _spectrum(problem, path, system, start, options, notes, key)
        automatic = None if flow else FiniteTimeOptions()
        wanted = automatic if options.finite_time == "auto" else options.finite_time
        if wanted is not None:
            found["finite_time"] = tuple(
                finite_time_exponents(
                    system, start, window if flow else int(window), count=min(wanted.count, start.size),
                    kind=wanted.kind, repeats=wanted.repeats, key=key,
                )
                for window in wanted.windows
            )  # fmt: skip
        if options.covariant is not None:
            wanted = options.covariant
            lengths = {name: getattr(wanted, name) for name in ("transient", "window", "tail")}
            found["covariant"] = covariant_vectors(
                system, start, count=min(wanted.count, start.size), want=wanted.want, store=wanted.store, key=key,
                **lengths,
            )  # fmt: skip
        automatic = None if flow else OrbitalOptions()
        wanted = automatic if options.orbital == "auto" else options.orbital
        if wanted is not None:
            parts = wanted.parts
            if parts is not None and not set(parts) <= set(problem.layout.roles.values()):
                notes.append(f"the layout has no parts {', '.join(parts)}: all parameters were perturbed")
                parts = None
            found["orbital"] = orbital_stability(
                system, start, duration=wanted.duration, amplitude=wanted.amplitude, members=wanted.members,
                parts=parts, norm=wanted.norm, every=max(1, wanted.duration // 100), key=key,
            )  # fmt: skip
            if has_kinks(system):
                twins = found["orbital"]
                with np.errstate(divide="ignore", invalid="ignore"):
                    rate = float(np.log(twins.mean_distance[-1] / twins.initial_distance) / twins.at[-1])
                notes.append(f"at a finite distance twins part at the rate {number(rate)} per {twins.unit}")
    if options.sharpness is not None:
        amount = min(options.sharpness.rows, len(path.ts))
        rows = np.unique(np.linspace(0, len(path.ts) - 1, amount).round().astype(int))
        track = sharpness_along(
            problem,
            path.thetas[rows],
            count=min(options.sharpness.count, problem.size),
            tolerance=1e-4,
            rule=rule,
        )
        found["sharpness"] = dataclasses.replace(track, at=np.asarray(path.ts, float)[rows], unit="time")
    if len(path.thetas) >= 3:
        found["drift"] = drift(path.thetas)
    if options.regimes is not None:
        found["regimes"] = _regimes(problem, path, options, key)
    if options.prediction is not None:
        found["prediction"] = _prediction(problem, system, options, key)
    return StabilityAnalysis(words, "time" if flow else "step", notes=tuple(notes), **found)


def _system(problem: Problem, path: Path, options: Options, rule: Any) -> tuple[System, Any, str]:
    kind = path.info.get("kind")
    if path.thetas.shape[1] != problem.size:
        raise StabilityError(
            f"the path has {path.thetas.shape[1]} columns, the problem {problem.size} parameters: this lens is for "
            "training runs"
        )
    if options.system == "flow" or kind == "flow":
        return training_flow(problem), rule, "gradient flow"
    if kind != "descent":
        raise StabilityError(
            f"a path of kind {kind!r} has no learning rule: this lens is for flow and descent"
        )
    rule = _rule_of(path) if rule is None else rule
    return training_map(problem, rule), rule, rule.description


def _rule_of(path: Path) -> Any:
    """The rule of a descent, from its name and the numbers in its state."""
    name = str(path.info.get("method", "")).split(",")[0]
    numbers = (
        [] if path.state is None else sorted(key for key in path.state.arrays if key.startswith("rule."))
    )
    if name not in _RULES or len(numbers) != _RULES[name][1] or path.state is None:
        raise StabilityError(
            f"the rule {path.info.get('method')!r} cannot be read from its path: give it, analyse(..., rule=…)"
        )
    make, _ = _RULES[name]
    return make(*(float(path.state.arrays[key]) for key in numbers))


def _spectrum(problem, path, system, start, options: Options, notes: list[str], key) -> LyapunovSpectrum:
    flow = isinstance(system, Flow)
    whole = float(path.ts[-1]) if flow else int(path.steps[-1])
    duration: Any = options.duration
    if duration is None:
        duration = whole
        if problem.size > _SMALL and flow:
            curvature = float(sharpness(problem, path.thetas[0], tolerance=1e-2).values[0])
            duration = min(whole, _TURNOVERS / max(problem.time_scale * curvature, 1e-12))
        elif problem.size > _SMALL:
            duration = min(whole, _STEPS)
        if duration < whole:
            notes.append(
                f"exponents over the first {number(duration)} of {number(whole)} {'time units' if flow else 'steps'}: "
                "set duration for more"
            )
    if duration <= 0:
        raise StabilityError("the run made no step: there is nothing to average over")
    small = problem.size <= _SMALL
    every = options.every if options.every == "auto" else min(options.every, duration)
    return lyapunov(
        system,
        start,
        duration if flow else math.ceil(duration),
        count=min(options.exponents, start.size),
        transient=options.transient if flow else math.ceil(options.transient),
        every=every if every == "auto" or flow else math.ceil(every),
        method="auto" if small or not flow else "joint",
        tolerance=options.tolerance if flow else 1e-9,
        key=key,
    )


def _regimes(problem: Problem, path: Path, options: Options, key) -> RegimeScan:
    wanted = options.regimes
    assert wanted is not None
    rates = wanted.learning_rates
    spread = np.geomspace if rates.spacing == "log" else np.linspace
    others = [
        np.asarray(problem.init(jax.random.fold_in(key, 100 + number))) for number in range(wanted.inits - 1)
    ]

    def descent(rate: Any) -> StepMap:
        return training_map(problem, GradientDescent(rate))

    return regime_scan(
        descent, spread(rates.start, rates.stop, rates.count), np.array([path.thetas[0], *others]),
        transient=wanted.transient, duration=wanted.duration, samples=min(256, wanted.duration),
        period_max=min(64, wanted.duration // 2), key=key,
    )  # fmt: skip


def _prediction(problem: Problem, system: System, options: Options, key) -> LossPrediction:
    wanted = options.prediction
    assert wanted is not None
    if not isinstance(system, StepMap):
        raise StabilityError("prediction is of a learning rule: the study's rule is a flow")
    starts = [
        system.start(problem.init(jax.random.fold_in(key, 200 + number))) for number in range(wanted.inits)
    ]
    return loss_prediction(
        system, np.array(starts), final=wanted.final, windows=wanted.windows, label=wanted.label, key=key
    )
