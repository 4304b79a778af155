"""Homogeneous networks from small initialisation: claims of abstracts, and constants that were derived here.

Only abstracts and public summaries of arXiv 2502.15952, 2402.09226, 2403.08121 and 2509.12154 could be read. Nothing
here reproduces a figure or a numbered theorem of these papers.
"""

import numpy as np

from thetadot.dynamics import Path, Until, flow
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import (
    all_of,
    at_least,
    at_most,
    below,
    decreasing,
    equals_prediction,
    holds_if,
    part,
    within,
)
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Verdict
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, linear, squared, two_layer
from thetadot.saddles import (
    CorrelationFlow,
    Itinerary,
    LimitingPath,
    correlation_flow,
    critical_point,
    escape_time,
    homogeneity,
    limiting_path,
    neural_correlation,
    neuron_groups,
    path_deviation,
    saddle_itinerary,
    sparsity,
)

_BEYOND = "arXiv 2502.15952, abstract"
_EARLY = "arXiv 2403.08121, abstract"
_TWO = "arXiv 2402.09226, summary of its toy experiment"
_ALIGNED = 5.0


def _placed(theta: np.ndarray, dimension: int, width: int) -> np.ndarray:
    """(a; W row-major) in the order of the layout of `two_layer`."""
    return np.concatenate([theta[width:].reshape(width, dimension).ravel(), theta[:width]])


def generic(activation: str = "squared_relu") -> tuple[EmpiricalRisk, np.ndarray]:
    """Set-up A: a two-layer network 10-20-1 on 60 unit inputs, and the direction of its start."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 10))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    bumps = [np.maximum(z, 0.0) ** 2 for z in (x[:, 0], x[:, 1], -x[:, 0])]
    start = _placed(rng.normal(size=220), 10, 20)
    problem = EmpiricalRisk(
        two_layer(10, 20, activation), squared, x, 5 * bumps[0] + 4 * bumps[1] - 3 * bumps[2]
    )
    return problem, start / np.linalg.norm(start)


def separated() -> tuple[EmpiricalRisk, np.ndarray]:
    """Set-up D: squares of unit inputs, where all is known in closed form, and a start near its best point."""
    problem = EmpiricalRisk(two_layer(4, 6, "square"), squared, np.eye(4), np.array([3.0, 2.0, -1.5, 0.5]))
    start = 0.1 * _placed(np.random.default_rng(0).normal(size=30), 4, 6)
    start[24] += 1 / np.sqrt(3)
    start[0] += np.sqrt(2 / 3)
    return problem, start / np.linalg.norm(start)


def generic_flow(workbench: Workbench) -> CorrelationFlow:
    """The correlation flow of A."""
    workbench.say("correlation flow of A")
    problem, start = generic()
    return correlation_flow(neural_correlation(problem), start)


def generic_limit(workbench: Workbench) -> LimitingPath:
    """The limiting path of A."""
    point = workbench.shared(generic_flow).point
    assert point is not None
    workbench.say("limiting path of A")
    return limiting_path(generic()[0], point)


def separated_limit(workbench: Workbench) -> LimitingPath:
    """The limiting path of D."""
    workbench.say("limiting path of D")
    problem, start = separated()
    point = correlation_flow(neural_correlation(problem), start).point
    assert point is not None
    return limiting_path(problem, point)


def generic_walk(workbench: Workbench) -> Itinerary:
    """The walk of A from 10⁻³, predicted and integrated."""
    workbench.say("the walk of A, predicted and integrated")
    problem, start = generic()
    return saddle_itinerary(problem, start, 1e-3)


def generic_run(workbench: Workbench) -> Path:
    """A from 10⁻³ until it rests at its first saddle."""
    problem, start = generic()
    workbench.say("A until its first saddle")
    return flow(problem, 1e-3 * start, until=Until(time=1.1e5), accuracy=1e-7, progress=False)


def _angles(workbench: Workbench) -> Measurement:
    """Mass-weighted mean angle of neurons to the nearest correlation point, when the loss has fallen by 1 %."""
    before, after = [], []
    for seed in range(3):
        workbench.say(f"directions in the plane, start {seed + 1} of 3")
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(50, 2))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = 5 * np.maximum(x[:, 0], 0) ** 2 + 4 * np.maximum(x[:, 1], 0) ** 2
        theta = _placed(1e-4 * rng.normal(size=60), 2, 20)
        problem = EmpiricalRisk(two_layer(2, 20, "squared_relu"), squared, x, y)
        top = 0.99 * float(problem.loss(np.zeros(60)))
        path = flow(problem, theta, until=Until(loss=top, time=1e12), accuracy=1e-6, progress=False)
        peaks = _peaks(x, y)
        before.append(_mean_angle(path.thetas[0], peaks))
        after.append(_mean_angle(path.thetas[-1], peaks))
    return Measurement({"before": before, "after": after}, note="degrees, mass-weighted mean")


def _peaks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Angles at which mean(y · max(0, ⟨w,x⟩)²) is largest locally, on a fine grid."""
    grid = np.linspace(-np.pi, np.pi, 20_001)
    w = np.stack([np.cos(grid), np.sin(grid)])
    values = np.mean(y[:, None] * np.maximum(x @ w, 0.0) ** 2, axis=0)
    inner = (values > np.roll(values, 1)) & (values >= np.roll(values, -1)) & (values > 0)
    return grid[inner]


def _mean_angle(theta: np.ndarray, peaks: np.ndarray) -> float:
    w = theta[:40].reshape(20, 2)
    gaps = np.angle(np.exp(1j * (np.arctan2(w[:, 1], w[:, 0])[:, None] - peaks[None, :])))
    mass = np.sum(w**2, axis=1) + theta[40:] ** 2
    return float(np.degrees(np.sum(mass * np.abs(gaps).min(axis=1)) / mass.sum()))


def _slope(workbench: Workbench) -> Measurement:
    problem, start = generic()
    found = [escape_time(problem, start, scale) for scale in (1e-3, 1e-4)]
    slope = np.log(found[1].measured / found[0].measured) / np.log(0.1)
    return Measurement(float(slope), {"measured times": [one.measured for one in found]})


def _constant(workbench: Workbench) -> Measurement:
    problem, start = generic()
    scales = workbench.choose(full=(1e-2, 1e-3, 1e-4), quick=(1e-2, 1e-3))
    found = [escape_time(problem, start, scale) for scale in scales]
    gaps = [abs(one.predicted - one.measured) for one in found]
    return Measurement(gaps, {"T*": workbench.shared(generic_flow).blow_up_time, "scales": list(scales)})


def _degree_two(workbench: Workbench) -> Measurement:
    workbench.say("escape times of a linear network")
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(30, 5)))[0] * np.sqrt(30)
    y = x @ rng.normal(size=5)
    problem = EmpiricalRisk(linear([5, 4, 1]), squared, x, y)
    direction = rng.normal(size=problem.size)
    scales = np.geomspace(1e-2, 1e-6, 5)
    times = [escape_time(problem, direction, scale).measured for scale in scales]
    fitted = np.polyfit(np.log(1 / scales), times, 1)[0]
    b = float(np.linalg.norm(x.T @ y / 30))
    return Measurement(
        float(fitted * b), note="slope times 2𝒩*, which is b for a linear network of two layers"
    )


def _rate(workbench: Workbench) -> Measurement:
    problem, start = separated()
    found = path_deviation(problem, workbench.shared(separated_limit), start, [1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
    return Measurement(found.slopes, {"deviations": found.deviations, "predicted": found.predicted})


def _generic_rate(workbench: Workbench) -> Measurement:
    problem, start = generic()
    scales = workbench.choose(full=[1e-2, 1e-3, 1e-4, 1e-5, 1e-6], quick=[1e-2, 1e-3, 1e-4])
    found = path_deviation(problem, workbench.shared(generic_limit), start, scales)
    last = float(abs(found.slopes[-1] - found.predicted))
    return Measurement(
        {"deviations": found.deviations, "last slope − β": last},
        {"slopes": found.slopes, "β": found.predicted},
        "deviations fall; whether their slope tends to β is not settled by these scales",
    )


def _first_saddle(workbench: Workbench) -> Measurement:
    ends = [workbench.shared(make).end for make in (generic_limit, separated_limit)]
    slopes = [np.inf if end is None else end.grad_norm for end in ends]
    problem, start = separated()
    near = [
        saddle_itinerary(problem, start, scale, max_saddles=1).visits[1].closest_approach
        for scale in (1e-3, 1e-4, 1e-5)
    ]
    return Measurement({"‖∇L(p*)‖": slopes, "closest approach": near})


def _sparse(workbench: Workbench) -> Measurement:
    problem, _ = generic()
    flowed = workbench.shared(generic_flow)
    whole = flowed.correlation.embed(flowed.direction)
    groups = neuron_groups(problem)
    before = [bool(np.linalg.norm(whole[group]) > 1e-2) for group in groups]
    found = sparsity(workbench.shared(generic_run), groups, scale=1e-3)
    return Measurement(
        {"same live set": before == found.alive[-1].tolist(), "worst dead": found.worst_dead},
        {"live neurons": int(sum(before))},
    )


def _large(workbench: Workbench) -> Measurement:
    problem, start = generic()
    found = path_deviation(
        problem, workbench.shared(generic_limit), start, [1.0, 3e-2, 1e-3], window=(-np.inf, 300.0)
    )
    return Measurement(float(found.deviations[0]), {"at 3e-2 and 1e-3": found.deviations[1:]})


def _degenerate(workbench: Workbench) -> Measurement:
    end = workbench.shared(generic_limit).end
    assert end is not None
    point = critical_point(generic()[0], end.theta)
    return Measurement(
        {"kind": point.kind.name, "negative eigenvalues": point.index.negative},
        {"residual supremum": point.residual_supremum},
    )


def _walk(workbench: Workbench) -> Measurement:
    walk = workbench.shared(generic_walk)
    gaps = np.abs(walk.escapes_measured[:-1] / walk.escapes_predicted[:-1] - 1)
    return Measurement(
        gaps, {"predicted": walk.escapes_predicted[:-1], "measured": walk.escapes_measured[:-1]}
    )


def _relu(workbench: Workbench) -> bool:
    return bool(homogeneity(generic("relu")[0]).gradient_is_lipschitz)


_A = "A: two-layer squared ReLU 10-20-1, 60 unit inputs"
_D = "D: two-layer squares 4-6-1 on the unit vectors"

PAPER = Paper(
    title="Homogeneous networks from small initialisation: escape, limiting path, first saddle, sparsity",
    reference=(
        "A. Kumar, J. Haupt, Towards Understanding Gradient Flow Dynamics of Homogeneous Neural Networks Beyond the "
        "Origin, arXiv 2502.15952; 2402.09226; 2403.08121; 2509.12154"
    ),
    scope=(
        "The statements are those of abstracts and summaries; formulas, constants and rates are derived here, and may "
        "be arranged differently in the papers."
    ),
    bibtex=(
        "@misc{kumar2025beyond, title={Towards Understanding Gradient Flow Dynamics of Homogeneous Neural Networks "
        "Beyond the Origin}, author={Kumar, Akshay and Haupt, Jarvis}, year={2025}, eprint={2502.15952}, "
        "archivePrefix={arXiv}}"
    ),
    claims=(
        Claim(
            "Directions converge to correlation points while the loss is still flat",
            _TWO,
            "from ≥ 60° to ≤ 5° while the loss falls by 1 %",
            _angles,
            all_of(part("after", at_most(_ALIGNED)), part("before", at_least(60.0))),
            "20 neurons (squared ReLU) in the plane, 50 unit inputs, y = 5max(0,x₁)² + 4max(0,x₂)², std 1e-4, 3 starts",
        ),
        Claim(
            "The escape time grows like δ^−(L−2)",
            _EARLY,
            -1.0,
            _slope,
            within(absolute=1e-3),
            f"{_A}; δ = 1e-3, 1e-4",
        ),
        Claim(
            "Its constant is the blow-up time of the correlation flow plus the time on the limiting path",
            "re-derived",
            "T*/δ + τ",
            _constant,
            below(0.01),
            f"{_A}; δ ≤ 1e-2, in time units",
        ),
        Claim(
            "At degree 2 the escape time grows by 1/(2𝒩*) for each factor e in the scale",
            "re-derived",
            1.0,
            _degree_two,
            within(absolute=1e-3),
            "linear 5-4-1 on whitened data, δ = 1e-2 … 1e-6",
        ),
        Claim(
            "Trajectories tend to the limiting path at the alignment exponent",
            f"{_BEYOND}; the rate is re-derived",
            1 / 3,
            _rate,
            within(absolute=0.01),
            f"{_D}; δ = 1e-4 … 1e-8",
        ),
        Claim(
            "On generic data trajectories tend to the limiting path, too, at the alignment exponent",
            f"{_BEYOND}; the rate is re-derived",
            "β = 0.797",
            _generic_rate,
            all_of(
                part("deviations", decreasing()),
                part("last slope − β", at_most(0.01).otherwise(Verdict.NOT_CONFIRMED)),
            ),
            f"{_A}; δ = 1e-2 … 1e-4 (quick), 1e-6 (full)",
        ),
        Claim(
            "The limiting path ends at the first saddle after the origin",
            _BEYOND,
            "‖∇L(p*)‖ = 0; passed ever more closely",
            _first_saddle,
            all_of(part("‖∇L(p*)‖", at_most(1e-12)), part("closest approach", decreasing())),
            "A and D",
        ),
        Claim(
            "Neurons that are dead before the escape are dead at the next saddle",
            _BEYOND,
            "same live set, dead norms ≤ δ",
            _sparse,
            all_of(
                part("same live set", holds_if("true", lambda same, _: bool(same))),
                part("worst dead", at_most(1.0)),
            ),
            f"{_A}; δ = 1e-3",
        ),
        Claim(
            "The theory is asymptotic: from a start of norm 1 another path is followed",
            "ours",
            "deviation of order 1",
            _large,
            at_least(0.5),
            f"{_A}; δ = 1, until 300 time units past the clock",
        ),
        Claim(
            "A critical point without negative eigenvalue may be a saddle: dead neurons lead down",
            "re-derived",
            {"kind": "DEGENERATE_SADDLE", "negative eigenvalues": 0},
            _degenerate,
            equals_prediction(),
            f"{_A}; at the end of the limiting path",
        ),
        Claim(
            "The walk goes on with the residual correlation function, at predicted times",
            "idea: arXiv 2509.12154, abstract; times re-derived",
            "three escapes",
            _walk,
            at_most(1e-5),
            f"{_A}; δ = 1e-3, predicted against integrated, relative",
        ),
        Claim(
            "ReLU is outside the hypotheses: its gradient jumps",
            _BEYOND,
            False,
            _relu,
            equals_prediction(),
            "A with ReLU",
        ),
    ),
)
