"""Covariant vectors: eigenvectors where these exist, their equation elsewhere, the same bits from every store."""

import os
import random
import signal
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.stability.networks import DESCENT, THETA
from tests.stability.textbook import (
    CAT,
    CURVATURES,
    HENON,
    HENON_FIXED,
    LORENZ_FLOW,
    LORENZ_MAP,
    TURN,
    lorenz_field,
    quadratic,
)
from thetadot.stability import (
    ConfigurationMismatchError,
    NoTransientWarning,
    RecomputationError,
    SizeError,
    SpectrumStatus,
    StabilityError,
    covariant,
    covariant_vectors,
    domination,
    localisation,
    lyapunov,
    principal_angles,
)
from thetadot.stability.checkpoints import Directory

COUNT, BLOCKS = 8, 60


def quartic(state, vectors, n):
    return jnp.sum(vectors**4, axis=0) + 0.0 * state[0] + 0.0 * n.astype(float)


FULL = {
    "count": COUNT, "transient": 30, "window": BLOCKS, "tail": 20, "want": ("growth", "angles", "vectors"),
    "observe": {"quartic": quartic},
}  # fmt: skip
ARRAYS = ("coefficients", "growth", "angles", "vectors", "residual", "sensitivity", "exponents")


def same_bits(one, other, names=ARRAYS):
    for name in names:
        assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(other, name)).tobytes(), name


@pytest.fixture(scope="module")
def kept():
    return covariant_vectors(DESCENT, THETA, store="memory", **FULL)


def parallel(found, truth):
    """Largest sine of the angle between columns."""
    truth = truth / np.linalg.norm(truth, axis=0)
    return max(
        np.linalg.norm(found[:, i] - truth[:, i] * (truth[:, i] @ found[:, i])) for i in range(truth.shape[1])
    )


def test_vectors_of_descent_on_a_quadratic_are_its_eigenvectors():
    system = td.training_map(quadratic(), td.GradientDescent(0.8))
    found = covariant_vectors(system, np.ones(5), transient=400, window=5, tail=400, want=("vectors",))
    multipliers = np.log(np.abs(1 - 0.8 * CURVATURES))
    order = np.argsort(-multipliers)
    np.testing.assert_allclose(found.exponents, multipliers[order], rtol=0, atol=1e-12)
    assert parallel(found.vectors[2], TURN[:, order]) < 1e-12
    assert found.angles is None


def test_vectors_of_the_cat_map_are_orthogonal():
    found = covariant_vectors(CAT, np.zeros(2), transient=40, window=10, tail=40)
    golden = np.log((3 + np.sqrt(5)) / 2)
    np.testing.assert_allclose(found.exponents, [golden, -golden], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.angles[:, 0, 1], np.pi / 2, rtol=0, atol=1e-12)


def test_henon_obeys_the_defining_equation_and_comes_close_to_tangencies():
    found = covariant_vectors(HENON, np.array([0.1, 0.1]), transient=1000, window=10_000, tail=200)
    assert found.residual.max() < 1e-11
    assert np.degrees(found.angles[:, 0, 1].min()) < 0.1
    assert found.sensitivity.max() < 1e-10
    assert np.all(np.abs(found.exponents - found.orthogonal_exponents) < 1e-2)
    fixed = covariant_vectors(HENON, HENON_FIXED, transient=20, window=4, tail=20, want=("vectors",))
    values, vectors = np.linalg.eig(np.array([[-2.8 * HENON_FIXED[0], 1.0], [0.3, 0.0]]))
    order = np.argsort(-np.abs(values))
    assert parallel(fixed.vectors[0], vectors[:, order]) < 1e-9


def test_a_covariant_vector_of_lorenz_is_its_field():
    def along(state, vectors, n):
        field = lorenz_field(state, None)
        return jnp.abs(vectors[:, 1] @ field) / jnp.linalg.norm(field)

    found = covariant_vectors(
        LORENZ_FLOW,
        np.array([1.0, 1.0, 20.0]),
        transient=30.0,
        window=60.0,
        tail=30.0,
        observe={"cosine": along},
    )
    assert found.observed["cosine"].min() > 1 - 1e-8
    assert found.residual.max() < 1e-8


@pytest.mark.slow
def test_vectors_at_the_start_of_a_pass_are_eigenvectors_of_the_pass():
    rng = np.random.default_rng(0)  # its pass has real multipliers, half a unit apart
    x, rate = rng.normal(size=(7, 4)), 0.15
    problem = td.EmpiricalRisk(td.linear([4, 1]), td.squared, x, rng.normal(size=(7, 1)))
    found = covariant_vectors(
        td.training_map(problem, td.PerSample(rate)),
        np.zeros(4),
        transient=2100,
        window=14,
        tail=2100,
        want=("vectors",),
    )
    product = np.eye(4)
    for row in x:
        product = (np.eye(4) - rate * np.outer(row, row)) @ product
    values, vectors = np.linalg.eig(product)
    assert np.isreal(values).all()
    order = np.argsort(-np.abs(values))
    assert parallel(found.vectors[7], vectors[:, order].real) < 1e-8
    np.testing.assert_allclose(found.growth[:7].sum(axis=0), np.log(np.abs(values[order])), rtol=0, atol=1e-8)


@pytest.mark.slow
def test_angles_and_growth_agree_with_the_vectors_themselves(kept):
    for b in (0, BLOCKS // 2, BLOCKS - 1):
        v = kept.vectors[b]
        np.testing.assert_allclose(np.linalg.norm(v, axis=0), 1, rtol=0, atol=1e-13)
        common = v.T @ v
        apart = np.linalg.norm(v[:, None, :] - v[:, :, None] * common[None], axis=0)
        angles = np.arctan2(apart, np.abs(common))
        np.testing.assert_allclose(kept.angles[b], angles - np.diag(np.diag(angles)), rtol=0, atol=1e-13)
        np.testing.assert_allclose(kept.observed["quartic"][b], np.sum(v**4, axis=0), rtol=0, atol=1e-13)
        spans = principal_angles(kept, [0, 1], 5)[b]
        q = np.linalg.qr(v[:, :2])[0]
        expected = np.arctan2(np.linalg.norm(v[:, 5] - q @ (q.T @ v[:, 5])), np.linalg.norm(q.T @ v[:, 5]))
        np.testing.assert_allclose(spans[0], expected, rtol=0, atol=1e-13)
    assert kept.residual.max() < 1e-12


@pytest.mark.slow
def test_covariant_growth_is_that_of_the_frame_up_to_the_coefficients_at_its_ends():
    """Along training this boundary term is no rounding error: the exponents of the two kinds differ by it."""
    options = {"transient": 1000, "count": COUNT, "every": 1}
    frame = lyapunov(DESCENT, THETA, 4000, **options)
    found = covariant_vectors(DESCENT, THETA, window=4000, tail=1000, store="coefficients", **options)
    edges = np.log(np.diagonal(found.coefficients, axis1=1, axis2=2)[[0, -1]])
    expected = frame.log_growth[:-1].sum(axis=0) + edges[0] - edges[1]
    np.testing.assert_allclose(found.growth[:-1].sum(axis=0), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.orthogonal_exponents, frame.exponents, rtol=0, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(("system", "start"), [(HENON, [0.1, 0.1]), (LORENZ_MAP, [1.0, 1.0, 20.0])])
def test_covariant_exponents_agree_with_orthogonal_ones_where_time_averages_settle(system, start):
    frame = lyapunov(system, np.array(start), 4000, transient=1000, every=1)
    found = covariant_vectors(system, np.array(start), transient=1000, window=4000, tail=1000)
    assert np.all(np.abs(found.exponents - frame.exponents) <= 3 * frame.standard_error)


@pytest.mark.parametrize("segments", [1, 7, 20])
def test_recomputed_stretches_give_the_bits_of_full_storage(kept, segments):
    other = covariant_vectors(DESCENT, THETA, store="segments", segments=segments, **FULL)
    same_bits(kept, other)
    assert other.observed["quartic"].tobytes() == kept.observed["quartic"].tobytes()


def test_coefficients_alone_give_the_bits_of_full_storage(kept):
    few = {name: value for name, value in FULL.items() if name not in ("want", "observe")}
    other = covariant_vectors(DESCENT, THETA, store="coefficients", **few)
    same_bits(kept, other, [name for name in ARRAYS if name != "vectors"])
    with pytest.raises(StabilityError, match="keeps no frames"):
        covariant_vectors(DESCENT, THETA, store="coefficients", **FULL)


class Killed(BaseException):
    """What a killed process leaves behind, without the process."""


def test_a_computation_on_disk_that_is_killed_at_any_instant_goes_on_to_the_same_bits(
    kept, tmp_path, monkeypatch
):
    whole = covariant_vectors(DESCENT, THETA, store="disk", directory=tmp_path / "whole", **FULL)
    same_bits(kept, whole)
    calls, write, put = 0, Directory.commit, Directory.put
    chance = random.Random(4)
    kills = 0

    def maybe():
        nonlocal calls, kills
        calls += 1
        if kills < 20 and chance.random() < 0.5:
            kills += 1
            raise Killed

    def commit(self, **changes):
        maybe()  # after the arrays were written, before they count
        write(self, **changes)
        maybe()

    def checkpoint(self, number, carry):
        put(self, number, carry)
        maybe()

    monkeypatch.setattr(Directory, "commit", commit)
    monkeypatch.setattr(Directory, "put", checkpoint)
    for _ in range(100):
        try:
            found = covariant_vectors(DESCENT, THETA, store="disk", directory=tmp_path / "killed", **FULL)
            break
        except Killed:
            continue
    assert kills == 20
    same_bits(kept, found)
    assert np.asarray(found.vectors[3:5]).tobytes() == kept.vectors[3:5].tobytes()


KILLED = """
import sys
import numpy as np
from tests.stability.test_covariant import DESCENT, FULL, THETA, covariant_vectors
print("begun", flush=True)
found = covariant_vectors(DESCENT, THETA, store="disk", directory=sys.argv[1], **FULL)
np.savez(sys.argv[2], growth=found.growth, vectors=found.vectors[:])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_for_good_goes_on_to_the_same_bits(kept, tmp_path):
    chance = random.Random(5)
    for attempt in range(12):
        last = attempt == 11
        command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(tmp_path / "out.npz")]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(None if last else chance.uniform(0.1, 4.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        process.stdout.close()
    with np.load(tmp_path / "out.npz") as out:
        assert out["growth"].tobytes() == kept.growth.tobytes()
        assert out["vectors"].tobytes() == kept.vectors.tobytes()


def test_a_tampered_checkpoint_and_other_arguments_are_refused(tmp_path, monkeypatch):
    few = {"count": 2, "transient": 5, "window": 12, "tail": 4}
    covariant_vectors(DESCENT, THETA, store="disk", directory=tmp_path, **few)
    with pytest.raises(ConfigurationMismatchError, match="other arguments"):
        covariant_vectors(DESCENT, THETA + 1e-12, store="disk", directory=tmp_path, **few)
    faster = td.training_map(DESCENT.problem, td.GradientDescent(0.11))
    with pytest.raises(ConfigurationMismatchError):
        covariant_vectors(faster, THETA, store="disk", directory=tmp_path, **few)
    stop = tmp_path / "stopped"
    commit = Directory.commit

    def half_way(self, **changes):
        commit(self, **changes)
        if changes.get("backward") == 2:
            raise Killed

    monkeypatch.setattr(Directory, "commit", half_way)
    with pytest.raises(Killed):
        covariant_vectors(DESCENT, THETA, store="disk", directory=stop, **few)
    monkeypatch.undo()
    import zarr

    stored = zarr.open_group(str(stop / "data.zarr"), mode="a")
    stored["checkpoint1_state"][0] += 1e-15
    with pytest.raises(RecomputationError, match=r"checkpoint 1 .* no longer has the bits"):
        covariant_vectors(DESCENT, THETA, store="disk", directory=stop, **few)


def test_a_step_that_is_not_pure_is_found_out_when_it_is_computed_again():
    import jax

    drift = iter(range(10**6))

    def step(s, n, aux):
        noise = jax.pure_callback(
            lambda: np.float64(1e-9 * next(drift)), jax.ShapeDtypeStruct((), np.float64)
        )
        return 0.9 * s + noise

    with pytest.raises(RecomputationError, match="not a pure function"):
        covariant_vectors(td.StepMap(step), np.ones(2), transient=2, window=9, tail=3)


def test_singular_steps_leave_the_leading_vectors_and_say_so():
    ball = td.training_map(quadratic(), td.HeavyBall(0.8, 0.0))
    found = covariant_vectors(
        ball, ball.start(np.ones(5)), transient=500, window=10, tail=400, want=("growth", "vectors")
    )
    assert found.status is SpectrumStatus.SUPERSTABLE
    assert np.isfinite(found.growth[:, :5]).all()
    assert np.isnan(found.growth[:, 5:]).all()
    assert np.isfinite(found.vectors[:, :, :5]).all()
    multipliers = np.sort(np.log(np.abs(1 - 0.8 * CURVATURES)))[::-1]
    np.testing.assert_allclose(found.exponents[:5], multipliers, rtol=0, atol=1e-10)


def test_an_orbit_that_escapes_keeps_what_came_before():
    burst = td.StepMap(lambda s, n, aux: jnp.where(n < 40, 1.0, jnp.nan) * jnp.array([0.9, 0.5]) * s)
    found = covariant_vectors(burst, np.ones(2), transient=5, window=30, tail=20)
    assert found.status is SpectrumStatus.DIVERGED
    assert found.first_bad == 41
    np.testing.assert_allclose(found.growth[15], np.log([0.9, 0.5]), rtol=0, atol=1e-4)
    lost = covariant_vectors(burst, np.ones(2), transient=50, window=5, tail=5)
    assert lost.status is SpectrumStatus.DIVERGED
    assert np.isnan(lost.growth).all()


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    few = {"transient": 5, "window": 4, "tail": 4}
    with pytest.raises(StabilityError, match="transient = 0"):
        covariant_vectors(CAT, np.zeros(2), transient=0, window=4, tail=4)
    with pytest.warns(NoTransientWarning):
        found = covariant_vectors(CAT, np.zeros(2), transient=0, window=4, tail=4, allow_no_transient=True)
    assert found.status is SpectrumStatus.FINITE_TIME
    with pytest.raises(StabilityError, match="needs directory"):
        covariant_vectors(CAT, np.zeros(2), store="disk", **few)
    with pytest.raises(StabilityError, match="expected one of"):
        covariant_vectors(CAT, np.zeros(2), store="tape", **few)
    with pytest.raises(StabilityError, match="want"):
        covariant_vectors(CAT, np.zeros(2), want=("angle",), **few)
    with pytest.raises(StabilityError, match="segments = 9"):
        covariant_vectors(CAT, np.zeros(2), segments=9, **few)
    monkeypatch.setattr(covariant, "available_bytes", lambda: 100)
    with pytest.raises(SizeError, match='store="disk"'):
        covariant_vectors(CAT, np.zeros(2), **few)


def test_predicted_memory_is_that_of_the_formula():
    found = covariant_vectors(CAT, np.zeros(2), transient=2, window=100, tail=0, store="memory")
    k = d = 2
    results = 100 * (2 * k * k + k)
    assert found.bytes == 8 * (100 * (d * k + k * k + d) + results)
    found = covariant_vectors(
        CAT, np.zeros(2), transient=2, window=100, tail=0, store="segments", segments=10
    )
    assert found.bytes == 8 * (10 * d * (k + 1) + 10 * (d * k + k * k + d) + k * k + results)


def test_localisation_tells_where_vectors_live(kept):
    where = localisation(kept.vectors, DESCENT.problem.layout)
    total = sum(where.shares.values())
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)
    assert set(where.shares) == set(DESCENT.problem.layout.slices)
    even = localisation(np.full((1, 4, 1), 0.5))
    assert even.participation[0, 0] == 1.0
    assert domination(np.array([[0.0, 1.0]] * 3)).tolist() == [1.0]
    assert kept.to_xarray().sizes["parameter"] == 31
    assert "only their spans" in repr(kept)


@pytest.mark.slow
def test_vectors_of_a_hundred_thousand_parameters_fit_in_four_gigabytes(tmp_path):
    """In a process of its own, whose peak is measured by the system."""
    code = """
import resource, jax, numpy as np, thetadot as td
from thetadot.stability import covariant_vectors
rng = np.random.default_rng(0)
net = td.mlp([128, 300, 180, 10], "tanh")
problem = td.EmpiricalRisk(net, td.squared, rng.normal(size=(64, 128)), rng.normal(size=(64, 10)))
assert problem.size >= 90_000, problem.size
system = td.training_map(problem, td.GradientDescent(0.05))
theta = problem.init(jax.random.key(0))
found = covariant_vectors(system, theta, count=10, transient=10, window=100, tail=20, segments=10)
assert np.isfinite(found.growth).all() and found.residual.max() < 1e-9, found.residual
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, found.bytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    peak, predicted = map(int, done.stdout.split())
    assert peak < 4 * 2**30
    assert predicted < peak
