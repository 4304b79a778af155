"""Conservation laws and intrinsic dynamics: claims of abstracts, and what was derived from them here.

Only the abstracts of arXiv 2508.07370, 2307.00144, 2405.12888 and 2506.06194 could be read. Nothing here reproduces a
figure or a numbered theorem of these papers.
"""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np

from thetadot.conservation import (
    CountStatus,
    Edge,
    LawCount,
    LinearLift,
    LinearNeuralODE,
    PathGraph,
    PathLift,
    ZeroWeightError,
    attention_lift,
    compare,
    count_laws,
    imbalance,
    kernel_test,
    known_laws,
    law_steps,
    layered_graph,
    lift_of,
    momentum_fields,
    reduced_flow,
    relaxed_balanced_init,
)
from thetadot.conservation.balance import offsets_of
from thetadot.conservation.linear_reduction import beyond_of
from thetadot.dynamics import Flow, GradientDescent, MiniBatch, descend, integrate
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.intrinsic_setups import (
    TIGHT,
    closed_velocity,
    momentum_field,
    ode_closed,
    ode_training,
    random_linear_shapes,
    random_relu_shapes,
    regression,
    slowed_factors,
    trained,
)
from thetadot.papers.rules import above, all_of, at_least, at_most, between, equals_prediction, holds_if, part
from thetadot.papers.values import Measurement
from thetadot.papers.workbench import Workbench
from thetadot.problems import linear, mlp, residual

_STORED_SECONDS = {"linear": 2063.0, "ReLU": 6780.0}


def counted(workbench: Workbench) -> dict[str, tuple[list[LawCount], float]]:
    """Both lists, counted, with seconds."""
    found = {}
    number = workbench.choose(full=50, quick=15)
    workbench.say("counting laws of random networks")
    for name, lifts in (
        ("linear", [LinearLift(widths) for widths in random_linear_shapes(number)]),
        ("ReLU", [PathLift(layered_graph(*shape)) for shape in random_relu_shapes(number)]),
    ):
        start = time.perf_counter()
        counts = [count_laws(lift) for lift in lifts]
        found[name] = (counts, time.perf_counter() - start)
    return found


def _completeness(workbench: Workbench) -> Measurement:
    counts = [count for listed, _ in workbench.shared(counted).values() for count in listed]
    unproved = sum(count.status is not CountStatus.PROVED for count in counts)
    extra = sum(bool(count.extra) for count in counts)
    return Measurement({"not proved": unproved, "with further laws": extra}, {"networks": len(counts)})


def _every_linear_shape(workbench: Workbench) -> Measurement:
    workbench.say("counting laws of every small linear shape")
    shapes = [s for depth in (2, 3) for s in itertools.product((1, 2, 3), repeat=depth + 1)]
    shapes += [(a, *h, b) for h in itertools.product((1, 2), repeat=3) for a in (1, 2, 3) for b in (1, 2, 3)]
    counts = {shape: count_laws(LinearLift(shape)) for shape in shapes}
    more = {shape: count.extra for shape, count in counts.items() if count.extra}
    listed = "; ".join(f"{'-'.join(map(str, shape))}: {extra} more" for shape, extra in more.items())
    return Measurement(
        {
            "not proved": sum(count.status is not CountStatus.PROVED for count in counts.values()),
            "shapes with further laws": len(more),
        },
        {"shapes": len(shapes), "which": listed},
    )


def _relu_is_intrinsic(workbench: Workbench) -> Measurement:
    workbench.say("reduced flows of ReLU networks")
    deep = regression(mlp([2, 3, 3, 1], "relu", bias="hidden"), 2, 1, 6, 3)
    theta = np.asarray(deep.init(jax.random.key(3))) + 0.05
    skip = regression(residual(2, 3, bias=False), 2, 2, 6, 1)
    start = np.asarray(skip.init(jax.random.key(2)))
    worst, moved = {}, []
    for name, problem, point in (("(2,3,3,1)", deep, theta), ("frozen skip", skip, start)):
        for coordinates, end in (("gauge", 1.0), ("paths", 0.1)):
            times = np.linspace(0, end, 6)
            reduced = reduced_flow(problem, point, times, coordinates=coordinates)
            agreement = compare(lift_of(problem), trained(problem, point, times), reduced)
            reached = len(reduced.times) == len(times)
            worst[f"{name}, {coordinates}"] = agreement.maximum if reached else float("nan")
            change = np.linalg.norm(agreement.full[-1] - agreement.full[0])
            moved.append(float(change / np.linalg.norm(agreement.full[0])))
    point = theta.copy()
    neuron = deep.layout.neurons[0]
    point[np.concatenate([neuron.incoming, neuron.bias])] = 0.0
    try:
        reduced_flow(deep, point, np.linspace(0, 1, 3))
        refused = "no error"
    except ZeroWeightError as error:
        refused = type(error).__name__
    value = {
        "largest error": max(worst.values(), key=lambda e: np.inf if np.isnan(e) else e),
        "z moved by": min(moved),
        "zero neuron": refused,
    }
    return Measurement(value, worst)


def _kernels(workbench: Workbench) -> Measurement:
    starts = {(3, 2, 3): (0.7,), (3, 3, 3): (0.7,), (2, 2, 2, 2): (0.5, 0.2)}
    relaxed, generic = {}, {}
    for widths, values in starts.items():
        lift = LinearLift(widths)
        theta = relaxed_balanced_init(jax.random.key(0), widths, values)
        relaxed[str(widths)] = kernel_test(lift, theta).variation
        generic[str(widths)] = kernel_test(lift, np.random.default_rng(1).normal(size=lift.size)).variation
    return Measurement(
        {"relaxed": max(relaxed.values()), "generic": min(generic.values())}, {"generic": generic}
    )


def _relaxed_balance(workbench: Workbench) -> Measurement:
    workbench.say("closed flows of linear networks")
    times, right, wrong = np.linspace(0, 2, 6), {}, {}
    for widths, values in (((3, 3, 3), (0.7,)), ((4, 2, 5), (0.9,)), ((3, 3, 3, 3), (0.0, 1.0))):
        problem = regression(linear(widths), widths[0], widths[-1], 20, 0)
        theta = relaxed_balanced_init(jax.random.key(0), widths, values, scale=0.5)
        path = trained(problem, theta, times)
        reduced = reduced_flow(problem, theta, times, coordinates="closed")
        agreement = compare(lift_of(problem), path, reduced)
        right[str(widths)] = agreement.maximum
        shape = (widths[-1], widths[0])
        zeros = np.zeros(len(values))
        ahead, behind, _ = beyond_of(zeros, shape, min(widths[1:-1]))
        args = (problem.x, problem.y, jnp.asarray(offsets_of(zeros)), jnp.asarray(ahead), jnp.asarray(behind))
        start = jnp.asarray(agreement.full[0].reshape(shape))
        balanced = integrate(Flow(closed_velocity, args), start, saves=times, **TIGHT).thetas
        norm = np.linalg.norm(agreement.full, axis=1).max()
        wrong[str(widths)] = float(np.linalg.norm(balanced - agreement.full, axis=1).max() / norm)
    value = {"relaxed field": max(right.values()), "balanced field": min(wrong.values())}
    return Measurement(value, {"balanced field": wrong})


def _only_these(workbench: Workbench) -> Measurement:
    lift, value = LinearLift((3, 2, 3)), 0.7
    base = np.asarray(relaxed_balanced_init(jax.random.key(0), lift.widths, (value,)))
    first, second = lift.factors(base)
    variations, distances = [], [0.0, 1e-4, 1e-3, 1e-2, 1e-1]
    for distance in distances:
        # C becomes λI + ε·diag(1, −1): the second factor takes the change.
        wanted = second.T @ second + distance * np.diag([1.0, -1.0])
        root = np.linalg.cholesky(wanted).T @ np.linalg.inv(np.linalg.cholesky(second.T @ second).T)
        theta = np.concatenate([first.ravel(), (second @ root).ravel()])
        variations.append(kernel_test(lift, theta).variation)
    slope = float(np.polyfit(np.log(distances[1:]), np.log(variations[1:]), 1)[0])
    return Measurement({"slope": slope, "at zero": variations[0]}, {"variation": variations})


def _rank_limit(workbench: Workbench) -> dict[str, float]:
    found = {}
    for widths in ((1, 2, 3), (1, 2, 2)):
        theta = relaxed_balanced_init(jax.random.key(0), widths, (1.0,))
        assert imbalance(LinearLift(widths), theta).relaxed
        found["-".join(map(str, widths))] = kernel_test(LinearLift(widths), theta).variation
    return found


def _neural_ode(workbench: Workbench) -> Measurement:
    workbench.say("linear neural ODE")
    ode, rng = LinearNeuralODE(3), np.random.default_rng(0)
    mixed, symmetric, target = (jnp.asarray(rng.normal(size=(3, 3))) for _ in range(3))
    times = np.linspace(0, 1, 5)
    drift = error = 0.0
    ends = weights = None
    for value in (0.0, 2.0):
        weights = ode.relaxed_balanced(
            0.2 * (mixed - mixed.T), 0.2 * (symmetric + symmetric.T), value * ode.positions
        )
        rows = integrate(Flow(ode_training, (ode, target)), weights, saves=times, **TIGHT).thetas
        rows = jnp.asarray(rows.reshape(-1, ode.nodes, 3, 3))
        invariants, ends = jax.vmap(ode.invariant)(rows), np.asarray(jax.vmap(ode.endpoint)(rows))
        closed = integrate(Flow(ode_closed, target), ode.endpoint(weights), saves=times, **TIGHT).thetas
        drift = max(drift, float(jnp.abs(invariants - invariants[:1]).max()))
        error = max(error, float(np.abs(ends - closed.reshape(ends.shape)).max()))
    errors = []
    for depth in workbench.choose(full=(8, 16, 32), quick=(8, 16)):
        factors = ode.finite_depth(weights, depth)
        rows = integrate(Flow(slowed_factors, target), factors, saves=times, **TIGHT).thetas
        products = [np.linalg.multi_dot(list(row[::-1])) for row in rows.reshape(-1, depth, 3, 3)]
        errors.append(float(np.abs(np.array(products) - ends).max()))
    ratios = [a / b for a, b in itertools.pairwise(errors)]
    return Measurement({"H drift": drift, "Z error": error, "ratios": ratios}, {"finite depth": errors})


def _momentum(workbench: Workbench) -> Measurement:
    workbench.say("laws of momentum")
    found = []
    for widths in ((2, 3, 1), (2, 7, 1)):
        lift = LinearLift(widths)
        found += [count_laws(momentum_fields(lift, 1)).laws, count_laws(lift).laws]
    found.append(count_laws(momentum_fields(PathLift(layered_graph((2, 2, 1))), 1)).laws)
    problem, lift = regression(linear([2, 3, 1]), 2, 1, 8, 0), LinearLift((2, 3, 1))
    laws = known_laws(momentum_fields(lift, 1))
    start = jnp.asarray(np.concatenate([[0.0], np.random.default_rng(0).normal(size=18)]))
    rows = integrate(Flow(momentum_field, (problem, 1.0)), start, saves=np.linspace(0, 3, 7), **TIGHT).thetas
    values, balance = laws.values(rows), known_laws(lift).values(rows[:, 1:10])
    return Measurement(
        {
            "laws": found,
            "rotation drift": float(np.abs(values - values[0]).max()),
            "balance moved": float(np.abs(balance - balance[0]).max()),
        }
    )


def _residual_and_attention(workbench: Workbench) -> list[int | None]:
    skip = [Edge(f"h{k}", f"y{i}", 4 + 2 * i + k) for i in range(2) for k in range(2)]
    skip += [Edge(f"x{k}", f"h{i}", 2 * i + k) for i in range(2) for k in range(2)]
    skip += [Edge(f"x{k}", f"y{k}") for k in range(2)]
    block = PathLift(PathGraph(["x0", "x1"], ["y0", "y1"], skip))
    bare = PathLift(layered_graph((2, 2, 2)))
    return [count_laws(target).laws for target in (block, bare, attention_lift(3, 2), attention_lift(4, 3))]


def _stochastic_steps(workbench: Workbench) -> Measurement:
    workbench.say("laws along stochastic descent")
    problem = regression(mlp([3, 5, 2], "relu"), 3, 2, 24, 0)
    laws, theta = known_laws(problem), problem.init(jax.random.key(0))
    rule = MiniBatch(0.05, batch_size=6, key=jax.random.key(1))
    residual_ = law_steps(
        laws, descend(problem, theta, rule, 200, saves="steps", progress=False).thetas
    ).residual
    drifts = []
    for rate in (0.02, 0.01, 0.005):
        rows = descend(problem, theta, GradientDescent(rate), round(2 / rate), progress=False).thetas
        drifts.append((laws.values(rows[-1:]) - laws.values(rows[:1]))[0] / rate)
    change = max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in itertools.pairwise(drifts))
    return Measurement({"residual": float(np.abs(residual_).max()), "change of drift/η": change})


def _speed(workbench: Workbench) -> Measurement:
    number = workbench.choose(full=50, quick=15)
    ratios = {}
    for name, (_, seconds) in workbench.shared(counted).items():
        ratios[name] = _STORED_SECONDS[name] * number / 50 / max(seconds, 1e-9)
    return Measurement(
        min(ratios.values()),
        {name: seconds for name, (_, seconds) in workbench.shared(counted).items()},
        "Against timings stored in the authors' notebooks (64 workers, another machine); their code was not run."
        + (" Quick mode counts 15 of 50 and takes that share of the stored time." if workbench.quick else ""),
    )


_ABIDE, _INTRINSIC = "arXiv 2307.00144, abstract", "arXiv 2508.07370, abstract"

PAPER = Paper(
    title="Conservation laws and intrinsic dynamics",
    reference="Intrinsic training dynamics of deep neural networks, arXiv 2508.07370; Abide by the law and follow the "
    "flow: conservation laws for gradient flows, arXiv 2307.00144; Keep the momentum, arXiv 2405.12888; Transformative "
    "or conservative?, arXiv 2506.06194.",
    scope="Only the abstracts were read; the formulas, the certificates and the limits were derived here. No figure "
    "and no numbered theorem of the papers is reproduced.",
    claims=(
        Claim(
            "The known laws are all laws of random linear and ReLU networks, each count proved",
            f"{_ABIDE} (for a number of ReLU architectures); the authors' notebooks test linear ones too",
            "0 not proved, 0 with further laws",
            _completeness,
            all_of(part("not proved", at_most(0)), part("with further laws", at_most(0))),
            "50 linear shapes (depth 2–4, widths 2–5), 50 ReLU shapes (widths 2–9), RandomState(0); quick: 15 of each",
        ),
        Claim(
            "Whether balancedness is everything is decided, with proof, for every small linear shape",
            "ours",
            "none assumed",
            _every_linear_shape,
            part("not proved", at_most(0)),
            "widths 1–3, depth 2 and 3; depth 4 with hidden widths 1–2",
        ),
        Claim(
            "The flow of deep ReLU networks closes on the path lift, from nonzero weights",
            f"{_INTRINSIC} (on a dense set; an earlier wording: from any start)",
            "error 0; a vanishing neuron is refused",
            _relu_is_intrinsic,
            all_of(
                part("largest error", at_most(1e-8)),
                part("z moved by", above(0.01)),
                part(
                    "zero neuron", holds_if("is ZeroWeightError", lambda name, _: name == "ZeroWeightError")
                ),
            ),
            "(2,3,3,1) with hidden biases, 24 parameters; a block of 3 with a frozen skip; to t = 1, paths to 0.1",
        ),
        Claim(
            "The kernel inclusion is necessary: relaxed-balanced starts have it, generic ones do not",
            _INTRINSIC,
            "relaxed 0, generic > 0",
            _kernels,
            all_of(part("relaxed", at_most(1e-10)), part("generic", at_least(1e-2))),
            "(3,2,3), (3,3,3), (2,2,2,2)",
        ),
        Claim(
            "Relaxed balanced starts close on the product, and by another field than balanced ones",
            f"{_INTRINSIC}; the fields are derived here",
            "0 and > 0.1",
            _relaxed_balance,
            all_of(part("relaxed field", at_most(1e-8)), part("balanced field", above(0.1))),
            "3×3×3 with λ = 0.7; (4,2,5) with λ = 0.9; four widths of 3 with λ = (0, 1); scale 0.5, t to 2 (at larger "
            "scale the imbalance matters less: at scale 1 the balanced field is off by 0.03 only in the last case)",
        ),
        Claim(
            "Only relaxed balanced starts do: the variation grows in proportion to the distance",
            f"{_INTRINSIC} (in certain configurations)",
            "slope 1, 0 at distance 0",
            _only_these,
            all_of(part("slope", between(0.95, 1.05)), part("at zero", at_most(1e-10))),
            "(3,2,3), C = 0.7·I + ε·diag(1, −1), ε = 1e-4 … 1e-1",
        ),
        Claim(
            "Relaxed balance is not enough where the product's rank is below the hidden width",
            "ours",
            "(1,2,3) > 0, (1,2,2) 0",
            _rank_limit,
            all_of(part("1-2-3", at_least(1e-2)), part("1-2-2", at_most(1e-10))),
            "λ = 1",
        ),
        Claim(
            "The infinitely deep linear network has an explicit flow in its endpoint alone",
            f"{_INTRINSIC}; the formula is derived here",
            "H conserved, Z exact, finite depth off by O(1/L)",
            _neural_ode,
            all_of(
                part("H drift", at_most(1e-8)),
                part("Z error", at_most(1e-8)),
                part("ratios", between(1.7, 2.3)),
            ),
            "n = 3, λ(s) = 0 and 2, 19 nodes; L = 8, 16, 32",
        ),
        Claim(
            "Momentum laws depend on time and are fewer, unless the network is very wide; ReLU keeps none",
            "arXiv 2405.12888, abstract; the counts are derived here",
            "laws 3 < 6, 21 > 18, 0",
            _momentum,
            all_of(
                part(
                    "laws", holds_if("= [3, 6, 21, 18, 0]", lambda laws, _: list(laws) == [3, 6, 21, 18, 0])
                ),
                part("rotation drift", at_most(1e-10)),
                part("balance moved", above(0.1)),
            ),
            "(2,3,1), (2,7,1), each with and without momentum; ReLU (2,2,1)",
        ),
        Claim(
            "A residual block keeps the laws of the bare block; a head of attention keeps r(r+1)",
            "arXiv 2506.06194, abstract; the counts are derived here",
            [2, 2, 6, 12],
            _residual_and_attention,
            equals_prediction(),
            "2-2-2 with and without skip; (m, r) = (3, 2), (4, 3)",
        ),
        Claim(
            "Stochastic steps change laws exactly as predicted, in total in proportion to the learning rate",
            "arXiv 2506.06194, abstract; the identity is derived here",
            "residual 0, drift/η constant",
            _stochastic_steps,
            all_of(part("residual", at_most(1e-13)), part("change of drift/η", at_most(0.02))),
            "ReLU 3-5-2 with biases, 24 samples; batches of 6; η = 0.02, 0.01, 0.005 to t = 2",
        ),
        Claim(
            "Counting takes at most a hundredth of the stored time",
            "ours",
            "ratio ≥ 100",
            _speed,
            at_least(100),
            "the lists of the first claim; 2063 s and 6780 s stored",
        ),
    ),
)
