"""Instabilities of learned simulators: claims of the abstract of arXiv 2406.13101, with formulas derived here.

Only the abstract could be read. Nothing here reproduces a figure or a numbered equation of the paper.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize
import scipy.stats

from thetadot.dynamics import GradientDescent, HeavyBall, Optax, Path, Rule, descend
from thetadot.papers.claims import Claim, Paper
from thetadot.papers.rules import above, all_of, at_least, at_most, below, between, holds_if, part
from thetadot.papers.values import Measurement
from thetadot.papers.workbench import Workbench
from thetadot.problems import EmpiricalRisk, linear, mlp, squared
from thetadot.simulators import (
    data_energy,
    field_jacobians,
    first_layer,
    growth_rate,
    inherited_spectrum,
    learning_times,
    moments,
    noisy_moments,
    project_first_layer,
    project_weights,
    simulator_limit,
    stable_initial_weights,
    unlearned_radius,
)

_ABSTRACT = "arXiv 2406.13101, abstract"
_SIZE = 16
_VARIANCES = {"PyTorch": 1 / 3, "LeCun": 1.0, "He": 2.0}
_NOISE = (0.05, 0.2)


def _turn(seed: int, size: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def _trained(
    x: np.ndarray, y: np.ndarray, start: np.ndarray, rate: float, steps: int, saves: Any = "steps"
) -> Path:
    problem = EmpiricalRisk(linear([x.shape[1], y.shape[1]]), squared, x, y)
    return descend(problem, start.ravel(), GradientDescent(rate), steps, saves=saves, progress=False)


def _half_times(errors: np.ndarray) -> np.ndarray:
    """Steps (n,), between whole ones, at which each column of errors (steps + 1, n) is half of its first entry."""
    logs = np.log(errors / errors[0])
    first = np.argmax(logs <= np.log(0.5), axis=0)
    columns = np.arange(errors.shape[1])
    before, after = logs[first - 1, columns], logs[first, columns]
    found = first - 1 + (np.log(0.5) - before) / (after - before)
    return np.where((logs <= np.log(0.5)).any(axis=0), found, np.nan)


def _energies() -> np.ndarray:
    return 2.0 ** -np.arange(8)


def _uneven_prediction(_: Workbench) -> dict:
    return {"half-times": learning_times(_energies(), learning_rate=0.5), "order": -1.0}


def _uneven(workbench: Workbench) -> dict:
    workbench.say("half-times of eight directions")
    rng, V = np.random.default_rng(0), _turn(1, 8)
    x = np.sqrt(8 * _energies())[:, None] * V.T
    A, start = rng.normal(size=(8, 8)), rng.normal(size=(8, 8))
    path = _trained(x, x @ A.T, start, 0.5, 300)
    errors = np.linalg.norm((path.thetas.reshape(-1, 8, 8) - A) @ V, axis=1)
    times = _half_times(errors)
    return {"half-times": times, "order": float(np.asarray(scipy.stats.spearmanr(_energies(), times))[0])}


def _close(measured: list, predicted: list) -> bool:
    gap = np.abs(np.asarray(measured) - np.asarray(predicted))
    return bool(np.all((gap <= 0.02 * np.asarray(predicted)) | (gap <= 1)))


def _flat(seed: int, rank: int, size: int = _SIZE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, x, y): a decaying rotation that keeps a subspace, and data in it, stationary: C − ACAᵀ ⪰ 0."""
    Q, blocks = _turn(seed, size), np.zeros((size, size))
    for k in range(0, size, 2):
        angle = 0.4 + 0.37 * k
        blocks[k : k + 2, k : k + 2] = 0.97 * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
    A = Q @ blocks @ Q.T
    amplitudes = np.sqrt(rank) * 2.0 ** -(np.arange(rank) // 2)
    x = amplitudes[:, None] * Q[:, :rank].T
    x = np.concatenate([x, -x])
    return A, x, x @ A.T


def _he(seed: int, size: int = _SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(size, size)) * np.sqrt(2 / size)


def _no_energy(workbench: Workbench) -> Measurement:
    steps = workbench.choose(full=2000, quick=500)
    _, x, y = _flat(0, 4)
    energy, start = data_energy(x), _he(1)
    end = _trained(x, y, start, 0.5, steps, saves=[0, steps]).thetas[-1].reshape(start.shape)
    change = np.abs((end - start) @ energy.unlearnable).max() / np.linalg.norm(start)
    moved = np.abs((end - start) @ energy.learnable).max()
    return Measurement(
        float(change), {"rank": energy.rank, "change along the data": float(moved), "steps": steps}
    )


def _leftover(workbench: Workbench) -> Measurement:
    _, x, y = _flat(2, 4)
    start, found = _he(3), moments(x, y)
    end = _trained(x, y, start, 0.5, 200, saves=[0, 200]).thetas[-1].reshape(start.shape)
    spectrum = inherited_spectrum(found, start)
    union = np.concatenate([spectrum.learned, spectrum.inherited])
    distances = np.abs(np.linalg.eigvals(end)[:, None] - union[None])
    pairs = scipy.optimize.linear_sum_assignment(distances)
    return Measurement(float(distances[pairs].max()), {"status": spectrum.status.value})


def _compressions(workbench: Workbench) -> dict[tuple[str, int], list[np.ndarray]]:
    """{(start, rank): spectra of what random initial weights leave on the directions without energy}."""
    workbench.say("spectra of common initialisations")
    left, size = {}, 64
    for rank in (4, 32, 56):
        N = _turn(rank, size)[:, rank:]
        for name, variance in _VARIANCES.items():
            rng = np.random.default_rng(rank)
            spectra = []
            for _ in range(40):
                uniform = name == "PyTorch"
                W = (
                    rng.uniform(-1, 1, (size, size)) * np.sqrt(3)
                    if uniform
                    else rng.normal(size=(size, size))
                )
                spectra.append(np.linalg.eigvals(N.T @ (W * np.sqrt(variance / size)) @ N))
            left[name, rank] = spectra
    return left


def _unstable_maps(workbench: Workbench) -> Measurement:
    left = workbench.shared(_compressions)
    radii = {case: [float(np.abs(values).max()) for values in spectra] for case, spectra in left.items()}
    shares = {f"{name} r={rank}": float(np.mean(np.array(r) > 1)) for (name, rank), r in radii.items()}
    ratios = [
        float(np.mean(r)) / unlearned_radius(64, rank, _VARIANCES[name] / 64)
        for (name, rank), r in radii.items()
    ]
    default = max(share for case, share in shares.items() if case.startswith("PyTorch"))
    value = {
        "He r=4": shares["He r=4"], "LeCun r=4": shares["LeCun r=4"], "PyTorch": default, "radius/formula": ratios,
    }  # fmt: skip
    note = "Holds for LeCun and He at low rank; not for PyTorch's default."
    return Measurement(value, {"shares": shares}, note)


def _unstable_generators(workbench: Workbench) -> Measurement:
    left = workbench.shared(_compressions)
    rates = {case: [float(np.real(values).max()) for values in spectra] for case, spectra in left.items()}
    ratios = {
        f"{name} r={rank}": float(np.mean(r)) / unlearned_radius(64, rank, _VARIANCES[name] / 64)
        for (name, rank), r in rates.items()
        if rank <= 32
    }
    return Measurement([float(np.mean(np.array(r) > 0)) for r in rates.values()], {"rate/radius": ratios})


def _with_noise(x: np.ndarray, y: np.ndarray, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Every sample with noise ±s√n along each axis: white to second order exactly, not only on average."""
    size = x.shape[1]
    noise = np.sqrt(variance * size) * np.concatenate([np.eye(size), -np.eye(size)])
    return (x[:, None] + noise).reshape(-1, size), np.repeat(y, len(noise), axis=0)


def _noise(workbench: Workbench) -> Measurement:
    A, x, y = _flat(4, 4)
    start, clean = _he(5), moments(x, y)
    V, c = clean.energy.directions, clean.energy.energies
    rate, steps = 0.5, 1500
    found: dict = {"rates": [], "radius": [], "W* missed by": [], "bias": []}
    before = float(np.exp(growth_rate(simulator_limit(clean, start), time="discrete")))
    for variance in _NOISE:
        workbench.say(f"training on inputs with noise of variance {variance}")
        limit = simulator_limit(noisy_moments(clean, variance, setting="input"), start)
        path = _trained(*_with_noise(x, y, variance), start, rate, steps)
        rows = path.thetas.reshape(-1, _SIZE, _SIZE)
        times = _half_times(np.linalg.norm((rows[:400] - limit) @ V, axis=1))
        expected = learning_times(c + variance, learning_rate=rate)
        found["rates"].append(float(np.abs(times / expected - 1).max()))
        found["radius"].append(float(np.exp(growth_rate(rows[-1], time="discrete"))))
        found["W* missed by"].append(float(np.abs(rows[-1] - limit).max()))
        found["bias"].append(float(np.linalg.norm(clean.energy.onto_data(rows[-1] - A))))
    bounds = {f"bound at {s}": float(c[0] / (c[0] + s)) for s in _NOISE}
    return Measurement(found, {"radius without noise": before, **bounds})


def _remedies(workbench: Workbench) -> Measurement:
    workbench.say("200 initial weights, with and without remedies")
    failures: dict[str, int] = dict.fromkeys(
        ("projection", "stable weights", "noise", "none", "only spectrally stable"), 0
    )
    worst = -np.inf
    for seed in range(200):
        _, x, y = _flat(seed, 4)
        clean, start, rng = moments(x, y), _he(seed), np.random.default_rng(seed)
        triangle = np.triu(rng.normal(size=start.shape), 1) + np.diag(rng.uniform(-0.9, 0.9, _SIZE))
        noisy = noisy_moments(clean, _NOISE[0], setting="input")
        safe = stable_initial_weights(jax.random.key(seed), _SIZE, time="discrete")
        ends = {
            "projection": project_weights(simulator_limit(clean, start), clean.energy),
            "stable weights": simulator_limit(clean, safe),
            "noise": simulator_limit(noisy, start),
            "none": simulator_limit(clean, start),
            "only spectrally stable": simulator_limit(clean, triangle),
        }
        for name, W in ends.items():
            rate = growth_rate(W, time="discrete")
            failures[name] += rate > 0
            if name in ("projection", "stable weights", "noise"):
                worst = max(worst, rate)
    beside = {"largest rate with a remedy": float(worst), "failures without one": failures.pop("none")}
    return Measurement(failures, beside, "Trained weights by the closed form that the first claims tested.")


def _nonlinear(workbench: Workbench) -> Measurement:
    workbench.say("a tanh network on an embedded limit cycle")
    steps = workbench.choose(full=1000, quick=200)
    plane, angles = _turn(7, 6)[:, :2], np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radii = 1 + 0.3 * np.cos(5 * angles)
    flat = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    velocity = flat * (1 - radii[:, None] ** 2) + flat @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    problem = EmpiricalRisk(mlp([6, 16, 6], "tanh"), squared, flat @ plane.T, velocity @ plane.T)
    start, energy = np.asarray(problem.init(jax.random.key(0))), data_energy(problem.x)
    rules: dict[str, Rule] = {
        "gradient descent": GradientDescent(0.2),
        "heavy ball": HeavyBall(0.05, 0.9),
        "Adam": Optax(optax.adam(1e-2), name="Adam"),
    }
    changes, learned = {}, {}
    for name, rule in rules.items():
        path = descend(problem, start, rule, steps, saves=[0, steps], progress=False)
        moved = first_layer(problem, path.thetas[-1]) - first_layer(problem, start)
        changes[name] = float(np.abs(moved @ energy.unlearnable).max())
        learned[name] = float(np.abs(moved @ energy.learnable).max())
    blind = project_first_layer(problem, start, energy)
    end = descend(problem, blind, rules["gradient descent"], steps, saves=[0, steps], progress=False).thetas[
        -1
    ]
    points = jnp.asarray(np.random.default_rng(0).normal(size=(5, 6)))
    changes["J N after projection"] = float(
        np.abs(field_jacobians(problem, end, points) @ energy.unlearnable).max()
    )
    note = "Which rule trains decides: Adam moves what no data taught."
    return Measurement(changes, {"change along the data": learned}, note)


PAPER = Paper(
    title="Instabilities of neural simulators",
    reference="D. Floryan, On instabilities in neural network-based physics simulators, arXiv 2406.13101",
    scope=(
        "Claims from the abstract, which was all that could be read; all formulas and set-ups are derived here. Loss "
        "1/(2N)·Σ‖Wx − y‖²."
    ),
    claims=(
        Claim(
            "Directions are learned unevenly, in the order of their energy in the data",
            f"{_ABSTRACT}; times re-derived",
            _uneven_prediction,
            _uneven,
            all_of(
                part("half-times", holds_if("within 2 % or 1 step each", _close)),
                part("order", at_most(-1 + 1e-12)),
            ),
            "energies 2⁰ … 2⁻⁷, learning rate 0.5/c_max, gradient descent",
        ),
        Claim(
            "Directions without energy are not learned",
            _ABSTRACT,
            "W_n N = W₀N",
            _no_energy,
            at_most(1e-12),
            "rank 4 of 16, 2000 steps (500 quick), He weights; change relative to ‖W₀‖",
        ),
        Claim(
            "What is learned there comes from the initial weights",
            f"{_ABSTRACT}; spectrum re-derived",
            "spec W = spec(UᵀAU) ∪ spec(NᵀW₀N)",
            _leftover,
            at_most(1e-8),
            "rank 4 of 16, invariant; eigenvalues of the trained weights, matched",
        ),
        Claim(
            "Common initialisations can make learned maps unstable",
            f"{_ABSTRACT}; radius √(q(n−r)) re-derived",
            "He and LeCun at low rank; PyTorch's default not",
            _unstable_maps,
            all_of(
                part("He r=4", at_least(0.95)), part("LeCun r=4", between(0.3, 0.95)), part("PyTorch", at_most(0.0)),
                part("radius/formula", between(1.0, 1.15)),
            ),
            "n = 64, rank 4, 32, 56, 40 draws each; share with spectral radius above 1",
        ),
        Claim(
            "Continuous time differs: learned vector fields are always unstable where nothing was learned",
            f"{_ABSTRACT}; re-derived",
            1.0,
            _unstable_generators,
            at_least(0.99),
            "the same nine cases as generators; share with an eigenvalue in Re > 0",
        ),
        Claim(
            "Noise in the inputs damps, can stabilise, and biases",
            f"{_ABSTRACT}; formulas re-derived",
            "rates c + s², ρ < 1, W* = K(C + s²I)⁻¹, bias > 0",
            _noise,
            all_of(
                part("rates", at_most(0.02)), part("radius", below(1.0)), part("W* missed by", at_most(1e-8)),
                part("bias", above(0.0)),
            ),
            "unstable He case, rank 4 of 16, s² = 0.05 and 0.2, noise white to second order, gradient descent",
        ),
        Claim(
            "Projection, stable initial weights, and noise are remedies; a stable spectrum of the start is not",
            "ours; after the abstract's remedies",
            "0 failures; the last at least 1",
            _remedies,
            all_of(
                part("projection", at_most(0)), part("stable weights", at_most(0)), part("noise", at_most(0)),
                part("only spectrally stable", at_least(1)),
            ),
            "200 draws, rank 4 of 16, maps; failures: growth rate above 0 after training",
        ),
        Claim(
            "Nonlinear simulators inherit too: W₁N never moves under rules that follow the gradient",
            f"{_ABSTRACT} (expected to extend); derived here",
            "0, 0, > 0 under Adam; J N = 0 after projection",
            _nonlinear,
            all_of(
                part("gradient descent", at_most(1e-12)), part("heavy ball", at_most(1e-12)),
                part("Adam", above(1e-3)), part("J N after projection", at_most(1e-12)),
            ),
            "mlp 6-16-6 tanh, a limit cycle in a plane of six dimensions, 1000 steps (200 quick)",
        ),
        Claim.not_testable(
            "The paper's own examples and figures",
            "arXiv 2406.13101",
            "the text of the paper could not be read here, only its abstract",
        ),
    ),
)  # fmt: skip
