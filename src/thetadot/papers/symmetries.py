"""Symmetries of wide two-layer networks: claims of an abstract, and what was derived from it here.

Only the abstract of arXiv 2211.08771 and the authors' public notebooks could be read. Nothing here reproduces a
figure or a numbered theorem of the paper.
"""

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import above, all_of, below, between, holds_if, part
from thetadot.papers.symmetry_setups import (
    FLIP,
    SWAP,
    absolute_values,
    clouds,
    cubic,
    norm_problem,
    oblique_residual,
    posed,
    radial,
    run,
    slope,
    widths_and_draws,
)
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Verdict
from thetadot.papers.workbench import Workbench
from thetadot.problems import GaussianInputs, ProductTarget, TeacherTarget, cubic_target
from thetadot.symmetry import (
    OddReduction,
    Particles,
    generate_group,
    homogeneous_floor,
    isotropic_solution,
    odd_reduction,
    orbit_residual,
    sample_particles,
    split_odd_even,
    subspace_reduction,
    symmetrize,
    symmetry_defect,
    to_theta,
)

ABSTRACT = "abstract of arXiv 2211.08771"
OURS = "ours, re-derived"
NOTEBOOK = "reference line in the authors' notebook"
ALPHA = 16 / 3


def _symmetry_is_kept(workbench: Workbench) -> Measurement:
    workbench.say("a symmetric network, t ≤ 40")
    group = generate_group(np.array([SWAP, FLIP]))
    problem = posed(absolute_values(), GaussianInputs(5), 128)
    cloud = symmetrize(sample_particles(jax.random.key(0), 16, 5), group)
    ends = clouds(problem, run(problem, cloud, [2.0, 10.0, 40.0]))
    return Measurement([orbit_residual(end, group) for end in ends], {"times": [2, 10, 40]})


def _sign_is_kept(workbench: Workbench) -> Measurement:
    workbench.say("an antisymmetric network, t ≤ 40")
    group = generate_group(FLIP[None], [-1.0])
    problem = posed(ProductTarget(0, 1), GaussianInputs(5), 128)
    cloud = symmetrize(sample_particles(jax.random.key(0), 64, 5), group)
    ends = clouds(problem, run(problem, cloud, [2.0, 10.0, 40.0]))
    return Measurement([orbit_residual(end, group) for end in ends], {"times": [2, 10, 40]})


def _orthogonality(workbench: Workbench) -> dict[str, float]:
    workbench.say("maps that are not orthogonal")
    return {"broken": oblique_residual(2.0), "control": oblique_residual(1.0)}


def _random_start(workbench: Workbench) -> Measurement:
    times, counts = [0.0, 2.0, 10.0], widths_and_draws(workbench, 32)
    squares = []
    for width, draws in counts.items():
        workbench.say(f"random starts of width {width}")
        problem = posed(absolute_values(), GaussianInputs(5), width)
        found = []
        for seed in range(draws):
            path = run(problem, sample_particles(jax.random.key(seed), width, 5), times, 1e-5)
            found.append([symmetry_defect(problem, jnp.asarray(theta), SWAP) for theta in path.thetas])
        squares.append(np.mean(found, axis=0))
    slopes = [slope(counts, [row[column] for row in squares]) for column in range(3)]
    return Measurement(
        {f"t = {t:g}": s for t, s in zip(times, slopes, strict=True)}, {"widths": list(counts)}
    )


def _linear_predictor(workbench: Workbench) -> dict[str, float]:
    workbench.say("an odd target")
    problem = posed(cubic(GaussianInputs(10)), GaussianInputs(10), 100)
    cloud = sample_particles(jax.random.key(0), 100, 10, scheme="antithetic")
    path = run(problem, cloud, [1.0, 2.0, 4.0, 8.0], 1e-9)
    reduced = odd_reduction(problem, to_theta(problem, cloud))
    predictors = reduced.solve(path.ts, accuracy=1e-10).observed["predictor"]
    parts = [split_odd_even(problem, jnp.asarray(theta)) for theta in path.thetas]
    gaps = [float(np.linalg.norm(np.asarray(p.linear) - w)) for p, w in zip(parts, predictors, strict=True)]
    return {"even power": max(abs(p.even_power) for p in parts), "|w − w_ODE|": max(gaps)}


def _excess_over_bound(reduction: OddReduction, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Q(t) − Q*)/((Q(0) − Q*)e^{−2ηt}) after the start, where it is 1, and the predictors."""
    path = reduction.solve(times, accuracy=1e-11)
    excess = path.losses - reduction.limit_risk
    return (excess / (excess[0] * np.exp(-2 * reduction.rate_bound * times)))[1:], path.observed["predictor"]


def _exponential(workbench: Workbench) -> Measurement:
    d, times = 20, np.linspace(0, 60, 61)
    inputs = GaussianInputs(d, 1 / d)
    z = np.random.default_rng(0).normal(size=d)
    target = cubic_target(np.sqrt(2 * d**3 / 15) / np.linalg.norm(z) * z, inputs)
    reduction = odd_reduction(posed(target, inputs, 4))
    ratio, predictors = _excess_over_bound(reduction, times)
    n = float(np.linalg.norm(reduction.optimum))
    closed = isotropic_solution(times, n, metric_sum=1 + 1 / d, variance=1 / d)
    gap = float(np.abs(np.linalg.norm(predictors, axis=1) - closed.norm).max())
    beside = {"guaranteed rate 2η": 2 * reduction.rate_bound, "asymptotic rate of |w − w*|": closed.rate}
    return Measurement({"excess / bound": float(ratio.max()), "|W − |w||": gap}, beside)


def _anisotropic(workbench: Workbench) -> Measurement:
    inputs = GaussianInputs(6, np.diag(np.linspace(0.3, 2.0, 6)))
    reduction = odd_reduction(posed(cubic(inputs, 1), inputs, 4))
    ratio, _ = _excess_over_bound(reduction, np.linspace(0, 40, 81))
    return Measurement(float(ratio.max()), {"guaranteed rate 2η": 2 * reduction.rate_bound})


def _finite_width(workbench: Workbench) -> Measurement:
    inputs, times, counts = GaussianInputs(10), np.linspace(0, 8, 9), widths_and_draws(workbench, 32)
    target = cubic(inputs)
    limit = odd_reduction(posed(target, inputs, 4)).solve(times).observed["predictor"]
    off, even = [], []
    for width, draws in counts.items():
        workbench.say(f"odd target at width {width}")
        problem = posed(target, inputs, width)
        gaps, powers = [], []
        for seed in range(draws):
            path = run(problem, sample_particles(jax.random.key(seed), width, 10), times, 1e-5)
            parts = [split_odd_even(problem, jnp.asarray(theta)) for theta in path.thetas]
            gaps.append(
                max(float(np.sum((np.asarray(p.linear) - w) ** 2)) for p, w in zip(parts, limit, strict=True))
            )
            powers.append(parts[-1].even_power)
        off.append(np.mean(gaps))
        even.append(np.mean(powers))
    return Measurement(
        {"sup |w − w_∞|": slope(counts, off), "√even power": slope(counts, even)}, {"widths": list(counts)}
    )


def _low_dimensional(workbench: Workbench) -> float:
    workbench.say("a teacher in a plane of four dimensions")
    rng, turns, m = np.random.default_rng(0), 8, 12
    teacher, rows = rng.normal(size=(3, 2)), rng.normal(size=(m, 3))
    rows[:, 2] = np.abs(rows[:, 2])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    outgoing, weights = rng.choice([-1.0, 1.0], size=m), np.array([1.0, -1.0, 2.0])
    angles = 2 * np.pi * np.arange(turns) / turns
    incoming = np.concatenate(
        [np.column_stack([rows[:, :2], rows[:, 2] * np.cos(a), rows[:, 2] * np.sin(a)]) for a in angles]
    )
    whole = TeacherTarget(weights, np.column_stack([teacher, np.zeros((3, 2))]))
    problem = posed(whole, GaussianInputs(4), m * turns)
    cloud = Particles(jnp.tile(jnp.asarray(outgoing), turns), jnp.asarray(incoming))
    times = [1.0, 5.0, 20.0]
    ends = clouds(problem, run(problem, cloud, times, 1e-10))
    small = TeacherTarget(weights, np.column_stack([teacher, np.zeros(3)]))
    rule = (np.cos(angles), np.full(turns, 1 / turns))
    reduced = subspace_reduction(small, Particles(jnp.asarray(outgoing), jnp.asarray(rows)), 2, rule=rule)
    found = reduced.solve(times, accuracy=1e-10).observed
    gaps = []
    for row, end in enumerate(ends):
        here = np.asarray(end.incoming[:m])
        lengths = np.linalg.norm(here[:, 2:], axis=1)
        gaps += [
            np.abs(found["incoming"][row] - np.column_stack([here[:, :2], lengths])).max(),
            np.abs(found["outgoing"][row] - end.outgoing[:m]).max(),
        ]
    return float(max(gaps))


def _radial_limit(workbench: Workbench) -> Measurement:
    reduction, _ = workbench.shared(radial)
    times, counts = [1.0, 2.0, 8.0], widths_and_draws(workbench, 64)
    states = reduction.solve(times).thetas
    squares = []
    for width, draws in counts.items():
        workbench.say(f"|x_H| at width {width}")
        problem, found = norm_problem(width), []
        for seed in range(draws):
            ends = clouds(
                problem, run(problem, sample_particles(jax.random.key(seed), width, 20), times, 1e-5)
            )
            found.append(
                [reduction.mean_square_distance(s, end) for s, end in zip(states, ends, strict=True)]
            )
        squares.append(np.mean(found, axis=0))
    slopes = [slope(counts, [row[column] for row in squares]) for column in range(3)]
    return Measurement(
        {f"t = {t:g}": s for t, s in zip(times, slopes, strict=True)}, {"widths": list(counts)}
    )


def _alignment(workbench: Workbench) -> dict[str, list[float]]:
    sine = workbench.shared(radial)[1].observed["mean_sine_squared"]
    return {"ν⁺": sine[:, 0].tolist(), "ν⁻": sine[:, 1].tolist()}


def _turns_as_said(measured, _) -> bool:
    plus, minus = np.array(measured["ν⁺"]), np.array(measured["ν⁻"])
    monotone = np.all(np.diff(plus) < 0) and np.all(np.diff(minus) > 0)
    return bool(monotone and plus[-1] < 0.04 and minus[-1] > 0.99)


def _mass_at(workbench: Workbench, column: int, times: tuple[float, ...]) -> dict[str, float]:
    path = workbench.shared(radial)[1]
    rows = [int(np.argmin(np.abs(path.ts - t))) for t in times]
    return {
        f"t = {t:g}": float(path.observed["mass"][row, column]) for t, row in zip(times, rows, strict=True)
    }


def _negative_mass(workbench: Workbench) -> dict[str, float]:
    return _mass_at(workbench, 1, (4.0, 10.0, 16.0, 50.0, 100.0))


def _positive_mass(workbench: Workbench) -> dict[str, float]:
    return _mass_at(workbench, 0, (4.0, 16.0, 50.0, 100.0))


def _product_stalls(workbench: Workbench) -> dict[str, list[float]]:
    workbench.say("x₁x₂ down to its floor")
    problem = posed(ProductTarget(0, 1), GaussianInputs(6), workbench.choose(full=300, quick=150))
    path = run(
        problem, sample_particles(jax.random.key(0), problem.network.width, 6), [0.0, 4.0, 16.0, 40.0], 1e-5
    )
    shares = []
    for end in clouds(problem, path):
        size = np.abs(np.asarray(end.outgoing)) * np.linalg.norm(end.incoming, axis=1)
        fits = np.sign(end.outgoing) == np.sign(end.incoming[:, 0] * end.incoming[:, 1])
        shares.append(float(size[fits].sum() / size.sum()))
    return {"risk": path.losses.tolist(), "share": shares}


FLOOR = 0.5 * homogeneous_floor(2, 6)
SLOPES = between(-0.7, -0.3)

PAPER = Paper(
    title="Symmetries of wide two-layer networks",
    reference=(
        "K. Hajjar, L. Chizat, On the symmetries in the dynamics of wide two-layer neural networks, arXiv 2211.08771, "
        "Electronic Research Archive 31(4), 2023"
    ),
    scope=(
        "Statements are the abstract's or derived here, and say which; the settings follow the authors' public "
        "notebooks. The paper's theorems and figures are not reproduced. Inputs are N(0, I) and starts "
        "unit-sphere/±1 unless said."
    ),
    bibtex=(
        "@article{hajjar2023symmetries, title={On the symmetries in the dynamics of wide two-layer neural networks}, "
        "author={Hajjar, Karl and Chizat, L{\\'e}na{\\\"i}c}, journal={Electronic Research Archive}, volume={31}, "
        "number={4}, year={2023}, note={arXiv:2211.08771}}"
    ),
    claims=(
        Claim(
            "Symmetries of target and inputs are preserved by training", ABSTRACT, "0, to rounding", _symmetry_is_kept,
            below(1e-12), "|x₁| + |x₂|, d = 5, group of order 8, width 128, t = 2, 10, 40: orbit residual",
        ),
        Claim(
            "… also with a change of sign", ABSTRACT, "0, to rounding", _sign_is_kept, below(1e-12),
            "x₁x₂, d = 5, reflection of x₁, width 128, t = 2, 10, 40: orbit residual",
        ),
        Claim(
            "Without orthogonality of the map the symmetry is lost", OURS, "broken of order 1, control 0",
            _orthogonality, all_of(part("broken", above(0.1)), part("control", below(1e-12))),
            "N(0, diag(1, 4)), T = Σ^½O₉₀Σ^{−½}, 16 neurons, t = 5; control Σ = I",
        ),
        Claim(
            "A random start is symmetric as the width grows, at rate m^{−1/2}", OURS, -0.5, _random_start, SLOPES,
            "|x₁| + |x₂|, d = 5, swap of x₁ and x₂: slope of √E(f(Tx) − f(x))² against width at t = 0, 2, 10",
        ),
        Claim(
            "For odd targets the predictor is linear and follows the moment equations", ABSTRACT, "0, to rounding",
            _linear_predictor, all_of(part("even power", below(1e-14)), part("|w − w_ODE|", below(1e-8))),
            "cubic target, |w*| = 1, d = 10, antithetic width 100, t ≤ 8",
        ),
        Claim(
            "… and converges exponentially, with a guaranteed rate", ABSTRACT + "; constant ours",
            "excess ≤ bound; closed form", _exponential,
            all_of(part("excess / bound", below(1.0)), part("|W − |w||", below(1e-8))),
            "d = 20, N(0, I/d), cubic target with E f*² = 2, infinite width, 61 saves to t = 60",
        ),
        Claim(
            "… also for anisotropic inputs", OURS, "excess ≤ bound", _anisotropic, below(1.0),
            "Σ = diag(0.3 … 2), d = 6, infinite width, 81 saves to t = 40",
        ),
        Claim(
            "Finite widths approach the linear predictor at rate m^{−1/2}", OURS, -0.5, _finite_width, SLOPES,
            "cubic target, d = 10, independent starts, t ≤ 8: slopes against width",
        ),
        Claim(
            "A low-dimensional target has lower-dimensional dynamics", ABSTRACT, 0.0, _low_dimensional, below(1e-9),
            "three-neuron teacher in a plane, d = 4, 12 neurons × 8 rotations, t = 1, 5, 20: difference of states",
        ),
        Claim(
            "… whose radial form is the limit of wide networks, at rate m^{−1/2}", ABSTRACT + " for the reduction",
            -0.5, _radial_limit, SLOPES, "|x_H|, d = 20, k = 5: slope of the L² distance against width at t = 1, 2, 8",
        ),
        Claim(
            "Neurons align with the subspace", ABSTRACT + ", informal", "⟨sin²⟩₊ → 0, ⟨sin²⟩₋ → 1, monotone",
            _alignment, holds_if("monotone, < 0.04 and > 0.99 at t = 100", _turns_as_said),
            "|x_H|, d = 20, k = 5, infinite width, saves to t = 100",
        ),
        Claim(
            "The negative neurons lose their mass", NOTEBOOK, "→ 0", _negative_mass,
            holds_if(
                "< 0.01 at t = 100 and falling on [10, 100]",
                lambda found, _: bool(found["t = 100"] < 0.01 and found["t = 10"] > found["t = 50"] > found["t = 100"]),
            ).otherwise(Verdict.NOT_CONFIRMED),
            "as before",
        ),
        Claim(
            "The positive neurons' mass tends to α = 16/3", NOTEBOOK, ALPHA, _positive_mass,
            holds_if(
                "within 1 % at t = 100, and nearer than at t = 50",
                lambda found, _: bool(
                    abs(found["t = 100"] - ALPHA) < min(0.01 * ALPHA, abs(found["t = 50"] - ALPHA))
                ),
            ).otherwise(Verdict.NOT_CONFIRMED),
            "as before",
        ),
        Claim(
            "x₁x₂ stalls at the floor of 1-homogeneous predictors, its mass where sign(a) = sign(u₁u₂)", OURS,
            {"risk": f"→ {FLOOR:.4f}", "share": "→ 1"}, _product_stalls,
            all_of(
                part("risk", holds_if("≥ floor, end < floor + 0.012", lambda found, _: bool(
                    min(found) >= FLOOR * (1 - 1e-6) and found[-1] < FLOOR + 0.012
                ))),
                part("share", holds_if("end > 0.99", lambda found, _: bool(found[-1] > 0.99))),
            ),
            "d = 6, width 300 (quick: 150), t = 0, 4, 16, 40",
        ),
    ),
)  # fmt: skip
