"""On the weight dynamics of learning networks: the tangent operator of training, and whether its exponents foretell
the final loss.

The paper is known to us by its abstract; every set-up below is our choice. What the abstract claims is asked of five
problems, with the sign of each indicator chosen on training folds, intervals, one p for the whole family of indicators,
and the loss curve as the baseline to beat.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from thetadot.dynamics import GradientDescent, training_map
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import at_least, at_most, below
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Verdict
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, as_activation, mlp, squared
from thetadot.stability import (
    DegenerateLabelsError,
    LossPrediction,
    finite_time_exponents,
    loss_prediction,
    predictive_value,
    shallow_hessian,
)

SHALLOW = ((1, 10, 1), (3, 5, 2), (4, 7, 3))
_NEEDED = 3
_FINAL = 200_000
"""After 20,000 steps four of the five set-ups still move too much for their final losses to be labels."""
_OURS = "abstract of arXiv 2405.00743; the set-up is ours"


@dataclasses.dataclass(frozen=True)
class Setup:
    """A 1-H-1 network on sin(fx) at 20 points of [−2, 2]."""

    hidden: int
    activation: str
    frequency: float
    scale: float
    rate: float
    windows: tuple[int, ...]
    label: str = "median"

    @property
    def problem(self) -> EmpiricalRisk:
        """The risk."""
        x = np.linspace(-2, 2, 20)[:, None]
        return EmpiricalRisk(
            mlp([1, self.hidden, 1], self.activation), squared, x, np.sin(self.frequency * x)
        )


SETUPS = {
    # All but a tenth of these runs reach the loss 0 in the end: halves by the median would be noise.
    "tanh 3, sin 2x": Setup(3, "tanh", 2, 1, 0.2, (20, 100, 500), "gap"),
    "tanh 3, sin 3x, scale 2": Setup(3, "tanh", 3, 2, 0.1, (20, 100, 1000)),
    "relu 6, sin 3x": Setup(6, "relu", 3, 1, 0.05, (20, 100, 1000)),
    "tanh 4, sin 4x": Setup(4, "tanh", 4, 1, 0.3, (20, 100, 1000)),
    "sigmoid 2, sin 2x": Setup(2, "sigmoid", 2, 1, 0.2, (20, 100, 500)),
}


def _starts(setup: Setup, draws: int, seed: int = 0) -> np.ndarray:
    return setup.scale * np.random.default_rng(seed).normal(size=(draws, setup.problem.size))


def predicted(workbench: Workbench, name: str) -> LossPrediction | str:
    """Prediction of the final loss in one set-up; the reason, if its labels would be noise."""
    setup = SETUPS[name]
    workbench.say(f"{name}: training {workbench.choose(full=250, quick=60)} networks")
    try:
        return loss_prediction(
            training_map(setup.problem, GradientDescent(setup.rate)),
            _starts(setup, workbench.choose(full=250, quick=60)),
            final=_FINAL,
            windows=workbench.choose(full=setup.windows, quick=setup.windows[:2]),
            covariant=True,
            label=setup.label,
            resamples=workbench.choose(full=1000, quick=300),
            permutations=workbench.choose(full=1000, quick=300),
        )
    except DegenerateLabelsError as reason:
        return str(reason)


def _closed_form(workbench: Workbench) -> float:
    every = list(itertools.product(SHALLOW, ("tanh", "sigmoid", "softplus"), ("identity", "tanh")))
    return max(_error_of_closed_form(*case) for case in workbench.choose(full=every, quick=every[::5]))


def _error_of_closed_form(sizes: tuple[int, int, int], hidden: str, output: str) -> float:
    i, h, o = sizes
    rng = np.random.default_rng(i)
    shapes = ((h, i), (h,), (o, h), (o,))
    parts = [rng.normal(size=shape) for shape in shapes]
    x, y = rng.normal(size=(9, i)), rng.normal(size=(9, o))
    phi, psi = as_activation(hidden), as_activation(output)
    borders = np.cumsum([part.size for part in parts])[:-1]

    def loss(theta):
        u, b, v, a = (part.reshape(s) for part, s in zip(jnp.split(theta, borders), shapes, strict=True))
        hidden_layer = phi(jnp.asarray(x) @ u.T + b[None])
        return jnp.sum((psi(hidden_layer @ v.T + a[None]) - y) ** 2) / (2 * len(x))

    truth = jax.jit(jax.hessian(loss))(jnp.concatenate([part.ravel() for part in parts]))
    return float(
        jnp.max(
            jnp.abs(
                shallow_hessian(parts[0], parts[1], parts[2], parts[3], x, y, hidden=hidden, output=output)
                - truth
            )
        )
    )


def _groups(workbench: Workbench) -> Measurement:
    draws, leading, medians = workbench.choose(full=50, quick=15), [], {}
    for activation in ("tanh", "sigmoid", "relu"):
        for scale in (0.5, 1.0, 2.0):
            setup = Setup(3, activation, 2, scale, 0.1, (100,))
            system = training_map(setup.problem, GradientDescent(setup.rate))
            workbench.say(f"{activation}, scale {scale:g}")
            values = [
                float(finite_time_exponents(system, jnp.asarray(theta), 100, count=1).exponents[0])
                for theta in _starts(setup, draws, seed=1)
            ]
            leading.append(np.asarray(values))
            medians[f"{activation} × {scale:g}"] = float(np.median(values))
    finite = [values[np.isfinite(values)] for values in leading]
    return Measurement(float(scipy.stats.kruskal(*finite).pvalue), {"medians": medians})


def _exponents(found: LossPrediction, prefix: str) -> np.ndarray:
    return np.array([name.startswith(prefix) for name in found.features])


def _family(found: LossPrediction, chosen: np.ndarray) -> float:
    """p over the chosen indicators and all windows."""
    scores = found.scores[found.kept][:, chosen].reshape(int(found.kept.sum()), -1)
    finite = np.where(np.isfinite(scores), scores, 1e300)
    return predictive_value(found.labels[found.kept], finite, resamples=1, permutations=2000).familywise_p


def _in_how_many(workbench: Workbench, prefix: str, quantity: str) -> Measurement:
    """In how many set-ups the indicators named by a prefix pass, with the numbers of each."""
    passed, beside = 0, {}
    for name in SETUPS:
        found = workbench.shared(predicted, name)
        if isinstance(found, str):
            beside[name] = f"refused, {found.partition(': labels')[0]}"
            continue
        chosen = _exponents(found, prefix)
        values = np.where(chosen[:, None], found.auc if quantity == "auc" else found.gain, -np.inf)
        best = np.unravel_index(int(np.argmax(values)), values.shape)
        interval = (found.interval if quantity == "auc" else found.gain_interval)[best]
        low = float(interval[0])
        family = _family(found, chosen)
        good = low > 0.6 and family < 0.01 if quantity == "auc" else low > 0
        passed += bool(good)
        text = f"{found.features[best[0]]} at T = {found.windows[best[1]]}: {values[best]:.2f} [{low:.2f}, "
        beside[name] = text + f"{interval[1]:.2f}], p = {family:.3g}"
    return Measurement(passed, beside, f"of {len(SETUPS)} set-ups")


def _restart_gain(workbench: Workbench) -> Measurement:
    """Keep the half of the runs that the exponents at T = 100 prefer, on runs that did not choose the indicator."""
    below_zero, beside = 0, {}
    rng = np.random.default_rng(5)
    for name in SETUPS:
        found = workbench.shared(predicted, name)
        if isinstance(found, str):
            beside[name] = f"refused, {found.partition(': labels')[0]}"
            continue
        window = list(found.windows).index(100)
        scores = found.scores[:, _exponents(found, "exponent"), window]
        losses = np.where(np.isfinite(found.final_losses), found.final_losses, np.inf)
        order = rng.permutation(len(losses))
        train, test = order[::2], order[1::2]
        correlation = [
            float(np.asarray(scipy.stats.spearmanr(column, losses[train]))[0]) for column in scores[train].T
        ]
        best = int(np.nanargmax(np.abs(correlation)))
        preferred = np.sign(correlation[best]) * scores[test, best]
        interval = _difference(preferred, losses[test], rng)
        below_zero += bool(interval[1] < 0)
        beside[name] = [float(edge) for edge in interval]
    return Measurement(
        below_zero, beside, "95 % intervals of the difference of median final losses, kept − random"
    )


def _difference(scores: np.ndarray, losses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    differences = []
    for _ in range(1000):
        drawn = rng.integers(len(losses), size=len(losses))
        kept = losses[drawn[np.argsort(scores[drawn], kind="stable")[: len(drawn) // 2]]]
        random = losses[rng.permutation(drawn)[: len(drawn) // 2]]
        differences.append(np.median(kept) - np.median(random))
    finite = np.nan_to_num(np.array(differences), nan=0.0, posinf=1e300, neginf=-1e300)
    return np.quantile(finite, [0.025, 0.975])


_SETUP = (
    "five 1-H-1 nets on sin(fx), 20 points of [−2, 2], N(0,1) starts, 250 draws (quick 60), final loss after "
    f"{_FINAL:,} steps, label median (largest gap where that would be noise)"
)
_UNDECIDED = Verdict.NOT_CONFIRMED

PAPER = Paper(
    title="On the weight dynamics of learning networks",
    reference="arXiv 2405.00743. Known to us by its abstract; its sizes, rates, windows and numbers are not.",
    scope="Claims of the abstract, on set-ups of our own. NOT CONFIRMED says that our set-ups do not show it.",
    claims=(
        Claim(
            "The tangent operator of a three-layer network has a closed form, for any sizes and activations",
            "abstract; formulas re-derived",
            0.0,
            _closed_form,
            at_most(1e-12),
            "nets (1,10,1), (3,5,2), (4,7,3); tanh, sigmoid, softplus; outputs identity, tanh; largest error of ∇²L",
        ),
        Claim(
            "Indicators depend on initialisation and activation",
            _OURS,
            "groups differ",
            _groups,
            below(1e-3),
            "1-3-1 on sin 2x; tanh, sigmoid, relu × scales ½, 1, 2; singular exponent 1, T = 100; Kruskal–Wallis p",
        ),
        Claim(
            "Early finite-time exponents tell runs that end low from runs that end high",
            _OURS,
            "AUC clearly above ½ in at least 3 of 5 set-ups",
            lambda workbench: _in_how_many(workbench, "exponent", "auc"),
            at_least(_NEEDED).otherwise(_UNDECIDED),
            f"{_SETUP}; passes: lower bound of the best AUC > 0.6 and familywise p < 0.01",
        ),
        Claim(
            "… beyond what the loss curve says",
            "ours: a baseline that the abstract does not mention",
            "gain above 0 in at least 3 of 5 set-ups",
            lambda workbench: _in_how_many(workbench, "exponent", "gain"),
            at_least(_NEEDED).otherwise(_UNDECIDED),
            f"{_SETUP}; gain over loss, its drop, gradient norm and sharpness at the same step",
        ),
        Claim(
            "They are useful for re-initialisation",
            _OURS,
            "lower median final loss in at least 3 of 5 set-ups",
            _restart_gain,
            at_least(_NEEDED).otherwise(_UNDECIDED),
            f"{_SETUP}; the half that exponents at T = 100 prefer, indicator chosen on other runs",
        ),
        Claim(
            "Covariant vectors predict too",
            "first version of the abstract only; the set-up is ours",
            "AUC clearly above ½ in at least 3 of 5 set-ups",
            lambda workbench: _in_how_many(workbench, "covariant", "auc"),
            at_least(_NEEDED).otherwise(_UNDECIDED),
            f"{_SETUP}; mean growth of covariant vectors within the window",
        ),
        Claim(
            "The paper's own numbers",
            "arXiv 2405.00743",
            "—",
            None,
            None,
            why="its target, sizes, rates, windows and AUC values are not known to us",
        ),
    ),
)
