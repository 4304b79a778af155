"""Closed forms of linear simulators against training itself, and what follows from them."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.linalg

import thetadot as td
from thetadot import simulators as sim


def spectra_distance(first, second):
    """Largest distance of two spectra, matched greedily; enough where eigenvalues are apart."""
    left, worst = list(second), 0.0
    for value in first:
        nearest = min(left, key=lambda other: abs(other - value))
        left.remove(nearest)
        worst = max(worst, abs(nearest - value))
    assert not left
    return worst


def orthogonal(seed, size):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def samples(rank, seed=0, count=12, size=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, rank)) @ orthogonal(seed, size)[:rank]


@pytest.mark.parametrize("rank", [4, 2])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_closed_form_is_what_descend_does(rank, weight_decay):
    x = samples(rank)
    y = np.random.default_rng(1).normal(size=(12, 3))
    problem = td.EmpiricalRisk(td.linear([4, 3]), td.squared, x, y)
    start = np.asarray(problem.init(jax.random.key(0)))
    found = sim.moments(x, y)
    if weight_decay:  # the same loss with ½μ‖W‖² as further samples √(μN)·e_i with targets 0
        x = np.concatenate([x, np.sqrt(weight_decay * 12) * np.eye(4)])
        problem = td.EmpiricalRisk(problem.network, td.squared, x, np.concatenate([y, np.zeros((4, 3))]))
    # … whose mean is over 16, not 12
    rate = 0.2 * len(x) / 12
    path = td.descend(problem, start, td.GradientDescent(rate), 40, saves=[0, 1, 7, 40], progress=False)
    exact = sim.simulator_path(
        found, start.reshape(3, 4), path.steps, learning_rate=0.2, weight_decay=weight_decay
    )
    trained = path.thetas.reshape(-1, 3, 4)
    assert np.abs(trained - exact).max() <= 1e-12 * np.abs(exact).max()
    assert np.abs(exact[-1] - exact[0]).max() > 0.1


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_flow_is_the_matrix_exponential(weight_decay):
    found = sim.moments(samples(2), np.random.default_rng(1).normal(size=(12, 3)))
    start = np.random.default_rng(2).normal(size=(3, 4))
    # d/dt (W, 1) = (W, 1)·[[−C − μ, 0], [K, 0]], row by row
    stiff = found.input + weight_decay * np.eye(4)
    times = (0.0, 0.4, 5.0)
    path = sim.simulator_flow(found, start, times, weight_decay=weight_decay)
    for t, W in zip(times, path, strict=True):
        for row, (begin, drive) in enumerate(zip(start, found.cross, strict=True)):
            generator = np.zeros((5, 5))
            generator[:4, :4], generator[4, :4] = -stiff, drive
            exact = np.append(begin, 1.0) @ scipy.linalg.expm(generator * t)
            np.testing.assert_allclose(W[row], exact[:4], atol=1e-12)


@pytest.mark.slow
def test_the_flow_is_what_flow_does():
    x, y = samples(2), np.random.default_rng(1).normal(size=(12, 3))
    problem = td.EmpiricalRisk(td.linear([4, 3]), td.squared, x, y)
    start = np.asarray(problem.init(jax.random.key(0)))
    times = np.array([0.0, 0.5, 3.0])
    path = td.flow(problem, start, until=td.Until(time=3.0), saves=times, accuracy=1e-10, progress=False)
    exact = sim.simulator_flow(sim.moments(x, y), start.reshape(3, 4), times)
    assert np.abs(path.thetas.reshape(-1, 3, 4) - exact).max() < 1e-8


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_paths_start_at_the_initial_weights_compose_and_end_at_the_limit(weight_decay):
    found = sim.moments(samples(3), np.random.default_rng(1).normal(size=(12, 4)))
    start = np.random.default_rng(2).normal(size=(4, 4))
    options = {"learning_rate": 0.7, "weight_decay": weight_decay}
    rows = sim.simulator_path(found, start, [0, 3, 8, 10**7], **options)
    np.testing.assert_allclose(rows[0], start, atol=1e-15)
    np.testing.assert_allclose(
        sim.simulator_path(found, rows[1], [5], **options)[0], rows[2], rtol=0, atol=1e-10
    )
    limit = sim.simulator_limit(found, start, weight_decay=weight_decay)
    np.testing.assert_allclose(rows[3], limit, rtol=0, atol=1e-10)
    late = sim.simulator_flow(found, start, [1e7], weight_decay=weight_decay)[0]
    np.testing.assert_allclose(late, limit, rtol=0, atol=1e-10)
    C, K = found.input, found.cross
    if weight_decay:
        np.testing.assert_allclose(limit @ (C + weight_decay * np.eye(4)), K, atol=1e-12)
    else:
        np.testing.assert_allclose(limit @ C, K, atol=1e-12)
        N = found.energy.unlearnable
        np.testing.assert_allclose(limit @ N, start @ N, atol=1e-12)


def test_a_diverging_learning_rate_warns_and_the_closed_form_stays_right():
    found = sim.moments_of([[0.5]], [[4.0]])
    with pytest.warns(sim.UnstableStepWarning, match=r"below 0\.5"):
        path = sim.simulator_path(found, [[1.0]], [3], learning_rate=0.6)
    w = 1.0
    for _ in range(3):
        w -= 0.6 * 4.0 * (w - 0.5)
    assert path[0, 0, 0] == pytest.approx(w, rel=1e-14)


def invariant_case(leak=0.0, seed=0):
    """A of size 5 that maps a plane to itself, data in the plane, and initial weights."""
    rng, Q = np.random.default_rng(seed), orthogonal(seed, 5)
    blocks = np.zeros((5, 5))
    blocks[:2, :2] = [[0.6, -0.5], [0.5, 0.7]]
    blocks[:, 2:] = rng.normal(size=(5, 3))
    blocks[3, 0] = leak
    A, C = Q @ blocks @ Q.T, Q[:, :2] @ np.diag([2.0, 0.5]) @ Q[:, :2].T
    return A, C, rng.normal(size=(5, 5))


def test_the_spectrum_splits_into_learned_and_inherited_where_the_range_is_invariant():
    A, C, start = invariant_case()
    moments = sim.moments_of(A, C)
    found = sim.inherited_spectrum(moments, start)
    assert found.status == "split"
    assert found.invariance_defect < 1e-13
    limit = np.linalg.eigvals(sim.simulator_limit(moments, start))
    assert spectra_distance(found.eigenvalues, limit) < 1e-12
    assert spectra_distance(found.learned, np.linalg.eigvals([[0.6, -0.5], [0.5, 0.7]])) < 1e-12
    N = np.linalg.svd(C)[0][:, 2:]
    assert spectra_distance(found.inherited, np.linalg.eigvals(N.T @ start @ N)) < 1e-12


def test_a_leak_out_of_the_range_is_reported_and_the_spectrum_is_that_of_the_limit():
    A, C, start = invariant_case(leak=0.3)
    moments = sim.moments_of(A, C)
    found = sim.inherited_spectrum(moments, start)
    assert found.status == "not_invariant"
    assert 0.05 < found.invariance_defect < 1
    limit = np.linalg.eigvals(sim.simulator_limit(moments, start))
    assert spectra_distance(found.eigenvalues, limit) < 1e-12
    parts = np.concatenate([found.learned, found.inherited])
    assert spectra_distance(parts, limit) > 1e-3


def test_fewer_samples_than_inputs_leave_a_rank_and_no_error():
    x = np.random.default_rng(0).normal(size=(3, 6))
    found = sim.inherited_spectrum(sim.moments(x, x), np.eye(6))
    assert (len(found.learned), len(found.inherited)) == (3, 3)
    energy = sim.data_energy(x)
    assert (energy.rank, energy.basis.shape, energy.unlearnable.shape) == (3, (6, 3), (6, 3))
    np.testing.assert_allclose(energy.directions.T @ energy.directions, np.eye(6), atol=1e-14)


def test_rotating_data_and_weights_together_changes_nothing():
    Q, x = orthogonal(5, 4), samples(3)
    y, start = np.random.default_rng(1).normal(size=(12, 2)), np.random.default_rng(2).normal(size=(2, 4))
    plain, turned = sim.moments(x, y), sim.moments(x @ Q.T, y)
    np.testing.assert_allclose(turned.energy.energies, plain.energy.energies, atol=1e-12)
    times = sim.learning_times(plain.energy.energies[:3], learning_rate=0.3)
    np.testing.assert_allclose(
        sim.learning_times(turned.energy.energies[:3], learning_rate=0.3), times, rtol=1e-12
    )
    paths = [
        sim.simulator_path(m, w, [4], learning_rate=0.3) for m, w in ((plain, start), (turned, start @ Q.T))
    ]
    np.testing.assert_allclose(paths[1], paths[0] @ Q.T, atol=1e-12)


def test_samples_show_energies_that_their_squared_moment_has_lost():
    x = np.diag([1.0, 1e-11, 0.0])
    assert sim.data_energy(x).rank == 2
    assert sim.moments(x, x).energy.source == "samples"
    squared = sim.data_energy(sim.moments_of(np.eye(3), x.T @ x / 3))
    assert (squared.rank, squared.source) == (1, "moments")
    assert sim.data_energy(x, tolerance=1e-10).rank == 1
    assert sim.data_energy(x).gap == np.inf
    assert sim.data_energy(x, tolerance=1e-10).gap == pytest.approx(1e11)


def test_learning_times_count_the_steps_that_halve_the_error():
    times = sim.learning_times([0.0, 0.1, 1.0, 1.9, 2.0, 3.0], learning_rate=1.0, fraction=0.75)
    assert times[[0, 4, 5]].tolist() == [np.inf] * 3
    assert times[2] == 0
    for c, count in ((0.1, times[1]), (1.9, times[3])):
        assert abs(1 - c) ** count == pytest.approx(0.25, rel=1e-12)
    assert sim.learning_times([1e-30], learning_rate=1.0)[0] == pytest.approx(np.log(2) * 1e30)
    assert sim.learning_times([0.5, 0.0])[0] == pytest.approx(2 * np.log(2))


def test_thousands_of_inputs_need_no_projector():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 300))
    energy = sim.data_energy(x)
    assert energy.basis.shape == (300, 5)
    W = rng.normal(size=(300, 300)) / 10
    leading = sim.leading_inherited(energy, W, count=4)
    N = energy.unlearnable
    truth = np.linalg.eigvals(N.T @ W @ N)
    truth = truth[np.argsort(-np.abs(truth))]
    np.testing.assert_allclose(np.abs(leading), np.abs(truth[:4]), rtol=1e-9)


def stationary(seed, size=4):
    """A stable A and the covariance that it has under white forcing."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(size, size))
    A *= rng.uniform(0.3, 0.99) / np.abs(np.linalg.eigvals(A)).max()
    force = rng.normal(size=(size, rng.integers(1, size + 1)))
    return A, scipy.linalg.solve_discrete_lyapunov(A, force @ force.T, method="direct")


def test_the_noise_bound_is_never_violated_by_stationary_data():
    for seed in range(200):
        A, C = stationary(seed)
        found = sim.noise_stability_bound(A, C, np.random.default_rng(seed).exponential())
        assert found.status == "holds", seed
        assert found.spectral_radius <= found.bound + 1e-12, seed
    turn = orthogonal(0, 3)
    sharp = sim.noise_stability_bound(turn, np.eye(3), 0.4)
    assert sharp.spectral_radius == pytest.approx(sharp.bound, rel=1e-13)
    growing = sim.noise_stability_bound(1.2 * np.eye(2), np.eye(2), 0.1)
    assert growing.status == "hypothesis_fails"
    assert growing.hypothesis_margin == pytest.approx(-0.44)
    assert growing.spectral_radius > growing.bound


def test_the_first_order_shift_has_an_error_of_second_order():
    rng = np.random.default_rng(0)
    A, root = rng.normal(size=(4, 4)), rng.normal(size=(4, 4))
    C = root @ root.T + np.eye(4)
    errors = []
    for variance in (1e-3, 1e-4):
        values, shifts = sim.eigenvalue_shift(A, C, variance)
        assert spectra_distance(values, np.linalg.eigvals(A)) < 1e-12
        learned = sim.simulator_limit(
            sim.noisy_moments(sim.moments_of(A, C), variance, setting="input"), np.zeros((4, 4))
        )
        errors.append(spectra_distance(values + shifts, np.linalg.eigvals(learned)))
    assert 90 < errors[0] / errors[1] < 110


@pytest.fixture(scope="module")
def record():
    """A rotation seen 10⁶ times, with noise of variance 0.2 on every component, each time new."""
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    phases = angle * np.arange(1_000_001)
    clean = np.stack([2 * np.cos(phases), 2 * np.sin(phases)], axis=1)
    noise = np.random.default_rng(0).normal(size=clean.shape) * np.sqrt(0.2)
    return turn, clean, clean + noise


MAPS = {"input": lambda clean, noisy: clean[1:], "state_and_next": lambda clean, noisy: noisy[1:]}


@pytest.mark.parametrize("setting", MAPS)
def test_maps_learned_from_noise_end_where_the_noisy_moments_say(record, setting):
    _, clean, noisy = record
    expected = sim.noisy_moments(sim.moments(clean[:-1], clean[1:]), 0.2, setting=setting)
    seen = sim.moments(noisy[:-1], MAPS[setting](clean, noisy))
    limits = [sim.simulator_limit(found, np.zeros((2, 2))) for found in (seen, expected)]
    assert np.abs(limits[0] - limits[1]).max() < 5e-3
    assert sim.growth_rate(limits[1], time="discrete") == pytest.approx(np.log(2 / 2.2), abs=1e-5)


def test_finite_differences_of_a_noisy_record_are_damped_by_its_noise(record):
    _, clean, noisy = record
    step = 0.5
    expected = sim.noisy_moments(
        sim.moments(clean[:-1], np.diff(clean, axis=0) / step),
        0.2,
        setting="finite_difference",
        time_step=step,
    )
    seen = sim.moments(noisy[:-1], np.diff(noisy, axis=0) / step)
    limits = [sim.simulator_limit(found, np.zeros((2, 2))) for found in (seen, expected)]
    assert np.abs(limits[0] - limits[1]).max() < 5e-3
    without = sim.noisy_moments(
        sim.moments(clean[:-1], np.diff(clean, axis=0) / step), 0.2, setting="clean_derivative"
    )
    assert np.abs(limits[0] - sim.simulator_limit(without, np.zeros((2, 2)))).max() > 0.1


def test_vector_fields_learned_from_noise_leave_null_directions_neutral():
    rng, Q = np.random.default_rng(1), orthogonal(1, 3)
    G = Q @ np.array([[-0.2, -1.0, 0], [1.0, -0.3, 0], [0, 0, 5.0]]) @ Q.T
    x = (rng.normal(size=(1_000_000, 2)) * [1.0, 0.8]) @ Q[:, :2].T
    clean = sim.moments(x, x @ G.T)
    noisy = sim.moments(x + np.sqrt(0.1) * rng.normal(size=x.shape), x @ G.T)
    expected = sim.noisy_moments(clean, 0.1, setting="clean_derivative")
    limit = sim.simulator_limit(expected, rng.normal(size=(3, 3)))
    assert np.abs(sim.simulator_limit(noisy, np.zeros((3, 3))) - limit).max() < 2e-2
    assert np.abs(limit @ Q[:, 2]).max() < 1e-12
    values = np.linalg.eigvals(limit)
    assert np.abs(values).min() < 1e-12
    assert values.real.max() < 1e-12


def test_noise_counts_as_energy_whatever_counts_as_none_in_the_data():
    x = np.diag([1.0, 1e-3])
    found = dataclasses.replace(sim.moments(x, x), energy=sim.data_energy(x, tolerance=0.1))
    assert found.energy.rank == 1
    limit = sim.simulator_limit(sim.noisy_moments(found, 1e-4, setting="input"), 5 * np.eye(2))
    np.testing.assert_allclose(np.diag(limit), [0.5 / (0.5 + 1e-4), 5e-7 / (5e-7 + 1e-4)], rtol=1e-12)


def test_weight_decay_is_input_noise_of_its_variance():
    found, start = sim.moments(samples(3), samples(4, 1)), np.random.default_rng(2).normal(size=(4, 4))
    noisy = sim.noisy_moments(found, 0.3, setting="input")
    np.testing.assert_allclose(
        sim.simulator_limit(found, start, weight_decay=0.3), sim.simulator_limit(noisy, start), atol=1e-12
    )
    steps = [0, 3, 50]
    np.testing.assert_allclose(
        sim.simulator_path(found, start, steps, learning_rate=0.2, weight_decay=0.3),
        sim.simulator_path(noisy, start, steps, learning_rate=0.2),
        atol=1e-12,
    )


VARIANCES = {"PyTorch": 1 / 3, "LeCun": 1.0, "He": 2.0}


def draw(rng, name, size):
    if name == "PyTorch":  # its Linear: uniform on ±1/√n
        return rng.uniform(-1, 1, size=(size, size)) / np.sqrt(size)
    return rng.normal(size=(size, size)) * np.sqrt(VARIANCES[name] / size)


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("rank", [4, 32, 56])
def test_common_initial_weights_leave_a_disc_of_the_predicted_radius(name, rank):
    rng, N = np.random.default_rng(rank), orthogonal(rank, 64)[:, rank:]
    left = [np.linalg.eigvals(N.T @ draw(rng, name, 64) @ N) for _ in range(40)]
    radius = sim.unlearned_radius(64, rank, VARIANCES[name] / 64)
    ratio = np.mean([np.abs(values).max() for values in left]) / radius
    assert 1.0 <= ratio <= 1.15
    assert min(values.real.max() for values in left) > 0
    growth = np.mean([values.real.max() for values in left]) / radius
    if rank <= 32:
        assert 0.85 <= growth <= 1.1


@pytest.mark.parametrize("share", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_the_radius_is_nearer_to_the_formula_for_larger_weights(share):
    ratios = []
    for size, draws in ((64, 200), (256, 50)):
        rng, left = np.random.default_rng(0), size - size // share
        largest = [
            np.abs(np.linalg.eigvals(rng.normal(size=(left, left)) / np.sqrt(size))).max()
            for _ in range(draws)
        ]
        ratios.append(np.mean(largest) / sim.unlearned_radius(size, size // share, 1 / size))
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1)


@pytest.mark.parametrize("method", ["norm", "gershgorin"])
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_stable_initial_weights_stay_stable_under_every_compression(time, method):
    W = sim.stable_initial_weights(jax.random.key(1), 8, time=time, margin=0.1, method=method)
    rng = np.random.default_rng(0)
    for _ in range(200):
        N = np.linalg.qr(rng.normal(size=(8, rng.integers(1, 9))))[0]
        rate = sim.growth_rate(N.T @ W @ N, time=time)
        assert rate <= (np.log(0.9) if time == "discrete" else -0.1) + 1e-12
    certificate = np.linalg.norm(W, 2) if time == "discrete" else np.linalg.eigvalsh((W + W.T) / 2)[-1]
    bound = 0.9 if time == "discrete" else -0.1
    if method == "norm":
        assert certificate == pytest.approx(bound, abs=1e-12)
    else:
        assert certificate <= bound
    assert np.abs(W - np.diag(np.diag(W))).max() > 0.01


def test_weights_whose_own_spectrum_is_stable_are_reported_unstable_after_compression():
    W = np.triu(np.full((4, 4), 3.0), 1)
    assert sim.growth_rate(W, time="discrete") == -np.inf
    data = np.array([[1.0, 0.0, 0.0, -1.0]])
    found = sim.inherited_spectrum(sim.moments(data, 0.5 * data), W)
    assert found.status == "split"
    assert np.abs(found.inherited).max() > 1.5
    limit = sim.simulator_limit(sim.moments(data, 0.5 * data), W)
    assert sim.growth_rate(limit, time="discrete") > np.log(1.5)


def test_projection_leaves_what_was_learned_and_the_fill():
    energy, W = sim.data_energy(samples(2)), np.random.default_rng(3).normal(size=(4, 4))
    U = energy.learnable
    for fill in (0.0, -0.5):
        projected = sim.project_weights(W, energy, fill=fill)
        expected = [*np.linalg.eigvals(U.T @ W @ U), fill, fill]
        assert spectra_distance(np.linalg.eigvals(projected), np.array(expected)) < 1e-12
    kept = sim.project_weights(W, energy)
    np.testing.assert_allclose(sim.project_weights(kept, energy), kept, atol=1e-12)
    first_layer = sim.project_weights(np.ones((7, 4)), energy)
    assert np.abs(first_layer @ energy.unlearnable).max() < 1e-14


def test_rollouts_are_powers_and_exponentials():
    rng = np.random.default_rng(0)
    W, x = rng.normal(size=(3, 3)), rng.normal(size=3)
    rows = sim.rollout(W, x, time="discrete", steps=6)
    for k in range(7):
        np.testing.assert_allclose(rows[k], np.linalg.matrix_power(W, k) @ x, rtol=1e-10)
    values, V = np.linalg.eig(W)
    for times in (np.linspace(0.5, 4, 9), np.array([0.0, 3.0, 0.2])):
        rows = sim.rollout(W, x, time="continuous", times=times)
        exact = [(V * np.exp(values * t) @ np.linalg.solve(V, x.astype(complex))).real for t in times]
        np.testing.assert_allclose(rows, exact, rtol=1e-10, atol=1e-12)
    residual = np.eye(3) + 0.1 * W
    assert sim.growth_rate(residual, time="discrete") == pytest.approx(
        np.log(np.abs(1 + 0.1 * values).max()), rel=1e-12
    )
    assert sim.growth_rate(W, time="continuous") == pytest.approx(values.real.max())


def test_growth_rates_of_nothing_and_of_nilpotent_maps_are_minus_infinity():
    assert sim.growth_rate(np.zeros((0, 0)), time="discrete") == -np.inf
    assert sim.growth_rate([[1.0, -1.0], [1.0, -1.0]], time="discrete") == -np.inf
    rng = np.random.default_rng(0)
    small = 1e-3 * rng.normal(size=(40, 40))
    assert np.isfinite(sim.growth_rate(small, time="discrete"))


def test_the_forecast_horizon_is_the_first_row_that_is_off():
    truth = np.ones((5, 2))
    wrong = truth.copy()
    wrong[3] += 0.2
    assert sim.forecast_horizon(truth, truth) == 5
    assert sim.forecast_horizon(wrong, truth) == 3
    assert sim.forecast_horizon(wrong, truth, tolerance=0.3) == 5
    wrong[1] = np.nan
    assert sim.forecast_horizon(wrong, truth, tolerance=0.3) == 1


WRONG = {
    "shapes": (sim.MatrixError, lambda: sim.moments(np.ones((3, 2)), np.ones((4, 2)))),
    "not finite": (sim.MatrixError, lambda: sim.data_energy([[np.nan, 1.0]])),
    "no moment": (sim.MatrixError, lambda: sim.moments_of(np.eye(2), -np.eye(2))),
    "single precision": (td.PrecisionError, lambda: sim.data_energy(np.ones((2, 2), np.float32))),
    "unknown setting": (
        sim.SettingError,
        lambda: sim.noisy_moments(sim.moments(np.eye(2), np.eye(2)), 0.1, setting="output"),
    ),
    "no time step": (
        sim.SettingError,
        lambda: sim.noisy_moments(sim.moments(np.eye(2), np.eye(2)), 0.1, setting="finite_difference"),
    ),
    "time step unused": (
        sim.SettingError,
        lambda: sim.noisy_moments(sim.moments(np.eye(2), np.eye(2)), 0.1, setting="input", time_step=1.0),
    ),
    "differences of no states": (
        sim.MatrixError,
        lambda: sim.noisy_moments(
            sim.moments(np.eye(2), np.ones((2, 1))), 0.1, setting="finite_difference", time_step=1.0
        ),
    ),
    "negative variance": (
        sim.SettingError,
        lambda: sim.noisy_moments(sim.moments(np.eye(2), np.eye(2)), -0.1, setting="input"),
    ),
    "spectrum of a rectangle": (
        sim.MatrixError,
        lambda: sim.inherited_spectrum(sim.moments(np.eye(2), np.ones((2, 1))), np.ones((1, 2))),
    ),
    "growth of a rectangle": (sim.MatrixError, lambda: sim.growth_rate(np.ones((2, 3)), time="discrete")),
    "initial of another shape": (
        sim.MatrixError,
        lambda: sim.simulator_limit(sim.moments(np.eye(2), np.eye(2)), np.ones((3, 3))),
    ),
    "half a step": (
        sim.SettingError,
        lambda: sim.simulator_path(sim.moments(np.eye(2), np.eye(2)), np.eye(2), [0.5], learning_rate=0.1),
    ),
    "time unknown": (sim.SettingError, lambda: sim.growth_rate(np.eye(2), time="later")),
    "steps of a field": (
        sim.SettingError,
        lambda: sim.rollout(np.eye(2), [1.0, 0.0], time="continuous", steps=3),
    ),
    "times of a map": (
        sim.SettingError,
        lambda: sim.rollout(np.eye(2), [1.0, 0.0], time="discrete", times=[1.0]),
    ),
    "method unknown": (
        sim.SettingError,
        lambda: sim.stable_initial_weights(jax.random.key(0), 2, time="discrete", method="spectrum"),
    ),
    "fill of a rectangle": (
        sim.MatrixError,
        lambda: sim.project_weights(np.ones((3, 2)), sim.data_energy(np.eye(2)), fill=0.5),
    ),
    "singular moment": (sim.MatrixError, lambda: sim.eigenvalue_shift(np.eye(2), np.diag([1.0, 0]), 0.1)),
    "defective operator": (
        sim.MatrixError,
        lambda: sim.eigenvalue_shift([[1.0, 1.0], [0.0, 1.0]], np.eye(2), 0.1),
    ),
    "no data": (sim.MatrixError, lambda: sim.noise_stability_bound(np.eye(2), np.zeros((2, 2)), 0.1)),
    "fraction": (sim.SettingError, lambda: sim.learning_times([1.0], fraction=1.0)),
    "negative energy": (sim.MatrixError, lambda: sim.learning_times([-1.0])),
    "rank": (sim.SettingError, lambda: sim.unlearned_radius(4, 5, 1.0)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused_by_name(case):
    error, call = WRONG[case]
    with pytest.raises(error) as caught:
        call()
    assert issubclass(error, ValueError)
    assert "\n" not in str(caught.value)
