"""Weight fluctuations of SGD in linear networks: anisotropic without equilibrium, and the coupling of layers.

Only the abstract of the paper is known to us. Every formula is derived again and every claim is measured on set-ups
of our own; what the paper's figures show is never claimed.
"""

import numpy as np

from thetadot.fluctuations import online_gaussian_covariance
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.fluctuation_setups import (
    CASES,
    ENERGIES,
    NOISE,
    RATIOS,
    OneLayer,
    one_layer,
    second_layer_fit,
    simulated_one_layer,
    simulated_second_layer,
    single_layer,
    spread_of,
    two_layers,
)
from thetadot.papers.rules import above, all_of, below, between, decreasing, holds_if, part
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Verdict
from thetadot.papers.workbench import Workbench

ABSTRACT = "arXiv 2311.14120, abstract"
FEW = RATIOS[:3]


def _draws(workbench: Workbench, ratio: float) -> list[OneLayer]:
    count = workbench.choose(full=10, quick=4)
    return [workbench.shared(one_layer, ratio, seed) for seed in range(count)]


def _means(workbench: Workbench, name: str) -> list[float]:
    found = [_draws(workbench, ratio) for ratio in RATIOS]
    return [float(np.mean([getattr(draw, name) for draw in draws])) for draws in found]


def _defects(workbench: Workbench) -> list[float]:
    found = [_draws(workbench, ratio) for ratio in RATIOS]
    return [float(np.mean([draw.balance.defect for draw in draws])) for draws in found]


def _entropies(workbench: Workbench) -> Measurement:
    found = [_draws(workbench, ratio) for ratio in RATIOS]
    rates = [float(np.mean([draw.balance.entropy_production for draw in draws])) for draws in found]
    antisymmetry = max(
        float(np.abs(draw.balance.circulation + draw.balance.circulation.T).max())
        for draws in found
        for draw in draws
    )
    residual = max(draw.residual for draws in found for draw in draws)
    return Measurement({"entropy production": rates, "residual": max(residual, antisymmetry)})


def _spreads(workbench: Workbench) -> list[float]:
    return _means(workbench, "spread")


def _felt(workbench: Workbench) -> Measurement:
    draws = [draw for ratio in FEW for draw in _draws(workbench, ratio)]
    inside = [draw.fit.interval[0] <= 0 <= draw.fit.interval[1] for draw in draws]
    value = {
        "curvature spread, felt over own": max(draw.felt for draw in draws),
        "largest |Spearman|": max(abs(draw.rank_correlation) for draw in draws),
        "share of draws with 0 in the interval of ψ": float(np.mean(inside)),
    }
    return Measurement(
        value, {"draws": len(draws), "median ψ": float(np.median([d.fit.exponent for d in draws]))}
    )


def _layers(workbench: Workbench) -> dict[str, float]:
    pair = workbench.shared(two_layers)
    return {
        "one layer": spread_of(single_layer(), 0),
        "second layer": spread_of(pair, 1),
        "first layer": spread_of(pair, 0),
    }


def _inverse(workbench: Workbench) -> Measurement:
    correlation, fit = workbench.shared(second_layer_fit)
    return Measurement(
        {"Spearman": correlation, "lower end of ψ": fit.interval[0]},
        {"ψ": fit.exponent, "interval": list(fit.interval), "decades of width": fit.decades},
    )


def _exponent(workbench: Workbench) -> Measurement:
    fit = workbench.shared(second_layer_fit)[1]
    return Measurement(fit.exponent, {"interval": list(fit.interval), "least squares": fit.least_squares})


def _simulated(workbench: Workbench) -> Measurement:
    members = workbench.choose(full=4000, quick=1500)
    rates = (0.01, 0.005)
    found = [workbench.shared(simulated_second_layer, rate, members) for rate in rates]
    errors = [abs(ratio - 1) for ratio, _ in found]
    return Measurement(
        {"error": errors[-1], "error before halving": errors[0], "standard error": found[-1][1]},
        {
            f"simulated over projected at η = {rate:g}": ratio
            for rate, (ratio, _) in zip(rates, found, strict=True)
        },
    )


def _halves(measured, _) -> bool:
    settled = measured["error"] <= 2 * measured["standard error"]
    return measured["error"] <= 0.12 and (
        settled or measured["error before halving"] >= 1.5 * measured["error"]
    )


def _continuum(workbench: Workbench) -> Measurement:
    members, steps = workbench.choose(full=(4000, 8000), quick=(2000, 3600))
    exact_off, continuum_off = [], []
    for rate, batch in CASES:
        found = np.diag(workbench.shared(simulated_one_layer, rate, batch, members, steps).covariance)
        theory = online_gaussian_covariance(
            ENERGIES, label_variance=NOISE**2, learning_rate=rate, batch_size=batch
        )
        exact_off.append(float(np.max(np.abs(found / theory.variances - 1))))
        continuum_off.append(float(np.min(np.abs(theory.continuum / found - 1))))
    return Measurement(
        {"exact off by at most": max(exact_off), "continuum off by at least": min(continuum_off)},
        note="the continuum limit does not suffice at these learning rates",
    )


_ONE = "n = 100 inputs, C = 1, N/n = 1.33, 2, 4, 10, 100, σ = 0.5, mean of 10 draws (quick: 4), least-squares weights"
_PAIR = "20 inputs, 10 hidden units, 1 output, first singular values over two decades, fresh samples: D = σ²H"

PAPER = Paper(
    title="Weight fluctuations in linear networks and the inverse variance–flatness relation",
    reference="M. Gross, A. P. Raulf, C. Räth, Weight fluctuations in (deep) linear neural networks and a derivation "
    "of the inverse-variance flatness relation, arXiv 2311.14120; Phys. Rev. Research 6, 033103 (2024).",
    scope="Claims are those of the abstract, which is all that we could read; formulas, set-ups and readings are ours. "
    "Loss: mean of ½(f − y)².",
    claims=(
        Claim(
            "One layer, weakly underparameterised: the noise covariance differs from the Hessian",
            ABSTRACT,
            "D ≠ σ²H at small N/n",
            _defects,
            all_of(
                holds_if("> 0.3 at N/n = 1.33", lambda measured, _: measured[0] > 0.3),
                decreasing(),
                holds_if("< 0.03 at N/n = 100", lambda measured, _: measured[-1] < 0.03),
            ),
            f"‖HD − DH‖/‖HD‖; {_ONE}",
        ),
        Claim(
            "… because detailed balance is broken",
            ABSTRACT,
            "entropy is produced, more at smaller N/n",
            _entropies,
            all_of(
                part("entropy production", above(0.0)),
                part("entropy production", decreasing()),
                part("residual", below(1e-10)),
            ),
            f"rate of entropy production, equation residual and antisymmetry of Q; {_ONE}",
        ),
        Claim(
            "The weights fluctuate anisotropically",
            ABSTRACT,
            "variances spread, more at smaller N/n",
            _spreads,
            all_of(holds_if("> 0.5 at N/n = 1.33", lambda measured, _: measured[0] > 0.5), decreasing()),
            f"standard deviation of ln eig Σ; {_ONE}",
        ),
        Claim(
            "… but effectively feel an isotropic loss (our reading: along Σ's axes the curvature is nearly the same)",
            f"{ABSTRACT}; reading ours",
            "no trend of variance with flatness",
            _felt,
            all_of(
                part("curvature spread, felt over own", below(0.25)),
                part("largest |Spearman|", below(0.4)),
                part(
                    "share of draws with 0 in the interval of ψ",
                    holds_if("≥ 0.8", lambda share, _: share >= 0.8),
                ),
            ),
            f"all draws at N/n ≤ 4; no span asked of the widths; {_ONE}",
        ),
        Claim(
            "Two layers: the coupling of layers makes the fluctuations anisotropic",
            f"{ABSTRACT}; derived here: Σ = (ησ²/2S)·Π",
            "isotropic with one layer, not with two",
            _layers,
            all_of(part("one layer", below(1e-10)), part("second layer", above(0.3))),
            f"standard deviation of ln eig of each layer's block; {_PAIR}",
        ),
        Claim(
            "In the second layer the flatness of the loss is inversely related to the variance",
            ABSTRACT,
            {"Spearman": -1.0, "lower end of ψ": "> 0"},
            _inverse,
            all_of(
                part("Spearman", holds_if("= −1", lambda measured, _: abs(measured + 1) < 1e-12)),
                part("lower end of ψ", above(0.0)),
            ),
            f"along the eigenvectors of the block, with their own widths; {_PAIR}",
        ),
        Claim(
            "… also in simulated SGD",
            f"{ABSTRACT}; derived here",
            "simulated over projected variance → 1 as η → 0",
            _simulated,
            holds_if("error ≤ 0.12 and falling 1.5-fold as η halves, or within 2 standard errors", _halves),
            "6-4-1 linear network, fresh draws, S = 1, η = 0.01 and 0.005, 4000 members (quick: 1500)",
        ),
        Claim(
            "The exact formula describes SGD at ordinary learning rates, the continuum limit does not suffice",
            "derived here",
            {"exact off by at most": 0.0, "continuum off by at least": "> 0.08"},
            _continuum,
            all_of(
                part("exact off by at most", below(0.03)),
                part("continuum off by at least", above(0.08)),
            ),
            "c = 2, 1, 0.5, 0.2, 0.05, σ = 0.5; η = 0.05, S = 1 and η = 0.2, S = 4; 4000 members (quick: 2000)",
        ),
        Claim(
            "The exponent is that seen on real networks, ψ ≈ 4",
            "by others, on MNIST (Feng and Tu, PNAS 2021); the linear model is ours",
            4.0,
            _exponent,
            between(3.5, 4.5).otherwise(Verdict.NOT_CONFIRMED),
            _PAIR,
        ),
        Claim.not_testable(
            "The paper's own exponent and figures",
            "arXiv 2311.14120",
            "only the abstract could be read: its formulas, set-ups and figures are not known to us",
        ),
    ),
)
