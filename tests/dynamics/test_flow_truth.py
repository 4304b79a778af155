"""The flow is where closed forms and independent integrators say, and says how far off it may be."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import thetadot as td
from tests.dynamics import zoo
from tests.dynamics.specimens import NEEDS_SUNDIALS
from tests.oracles import radau, squared_relu, tanh_network

IMPLICIT = ("auto", "NDF", "NDF-cg", "RadauIIA", "Kvaerno3", "Kvaerno4", "Kvaerno5")
EXPLICIT = ("Tsit5", "Dopri5", "Dopri8")


@functools.cache
def certified(name: str, solver: str, accuracy: float) -> tuple[td.Path, float]:
    """The certified path of a case and its true error."""
    path = zoo.case(name).follow(solver=solver, accuracy=accuracy, certify=True)
    assert path.outcome is td.Outcome.REACHED_TIME, path
    return path, zoo.case(name).error(path)


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("name", zoo.MAKERS)
def test_flow_is_as_accurate_as_asked(name, accuracy):
    path, error = certified(name, "auto", accuracy)
    assert error <= accuracy, path


@pytest.mark.parametrize(
    "solver", [*IMPLICIT, "ExponentialRosenbrock", pytest.param("RKC2", marks=pytest.mark.slow)]
)
def test_every_implicit_solver_follows_a_quadratic_of_condition_1e10_to_time_1e8(solver):
    path, error = certified("quadratic", solver, 1e-5)
    assert error <= 1e-5, path


@pytest.mark.parametrize("solver", EXPLICIT)
def test_every_explicit_solver_follows_the_same_quadratic_while_it_can(solver):
    case = zoo.ill_conditioned_quadratic(end=300.0)
    path = case.follow(solver=solver, accuracy=1e-6, certify=True)
    assert case.error(path) <= 1e-6, path


SCALAR = [name for name in zoo.MAKERS if name.startswith("scalar")]
LINEAR = ["two linear layers", "three linear layers"]
PAIRS = [(name, "auto") for name in zoo.MAKERS]
PAIRS += [(name, solver) for name in SCALAR for solver in ("Tsit5", "Dopri8", "Kvaerno5")]
PAIRS += [(name, solver) for name in SCALAR for solver in ("RKC2", "ExponentialRosenbrock")]
LONGER = [(name, solver) for name in LINEAR for solver in (*EXPLICIT, *IMPLICIT[1:])]
LONGER += [(name, solver) for name in SCALAR for solver in ("Dopri5", "Kvaerno3", "Kvaerno4")]
LONGER += [("squared ReLU", solver) for solver in (*EXPLICIT, "Kvaerno5")]
LONGER += [(name, solver) for name in ("quadratic", "teacher and student") for solver in IMPLICIT[1:]]
PAIRS += [("scalar balanced", "RadauIIA"), ("quadratic", "RadauIIA")]
LONGER += [(name, "RadauIIA") for name in (*SCALAR[:1], *SCALAR[2:], "squared ReLU")]
LONGER += [(name, solver) for name in zoo.MAKERS for solver in ("RadauIIA(3)", "RadauIIA(7)")]
LONGER = [pair for pair in LONGER if pair not in PAIRS]
# Not on the quadratic, which each of its steps solves up to the rounding of the Hessian: runs share that error.
LONGER += [(name, "ExponentialRosenbrock") for name in (*LINEAR, "teacher and student", "squared ReLU")]
LONGER += [(name, "RKC2") for name in (*LINEAR, "teacher and student", "squared ReLU", "quadratic")]
PAIRS += [pytest.param(*pair, marks=pytest.mark.slow) for pair in LONGER]
SUNDIALS = [(name, "CVODE") for name in ("quadratic", "scalar balanced", "two linear layers")]
PAIRS += [pytest.param(*pair, marks=NEEDS_SUNDIALS) for pair in SUNDIALS]
SUNDIALS = [
    (name, solver)
    for name in zoo.MAKERS
    for solver in ("CVODE", "CVODE-GMRES")
    if (name, solver) not in SUNDIALS
]
PAIRS += [pytest.param(*pair, marks=[NEEDS_SUNDIALS, pytest.mark.slow]) for pair in SUNDIALS]


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6])
@pytest.mark.parametrize(("name", "solver"), PAIRS)
def test_the_certified_error_is_never_below_the_true_one_by_more_than_three(name, solver, accuracy):
    path, error = certified(name, solver, accuracy)
    assert path.accuracy.certified
    assert path.accuracy.global_error >= error / 3, path


@pytest.mark.parametrize("solver", ["Tsit5", "Dopri8"])
@pytest.mark.parametrize("rows", [25, 100, 400])
def test_the_estimate_stays_honest_where_save_times_and_not_tolerances_limit_the_steps(solver, rows):
    # All runs then take nearly the same steps and share their error, which their difference does not show.
    case = zoo.scalar_network(1.5, 0.2, -1.0, rows=rows)
    path = case.follow(solver=solver, accuracy=1e-4, certify=True)
    assert path.accuracy.global_error >= case.error(path) / 3, path


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6])
@pytest.mark.parametrize(("name", "solver"), PAIRS)
def test_the_loss_lost_is_the_energy_integrated(name, solver, accuracy):
    path, _ = certified(name, solver, accuracy)
    assert 0 <= path.accuracy.energy_defect <= 10 * accuracy, path


@pytest.mark.parametrize("name", zoo.MAKERS)
def test_rows_carry_the_loss_and_gradient_norm_of_their_own_state(name):
    problem, (path, _) = zoo.case(name).problem, certified(name, "auto", 1e-6)
    for row in (0, len(path.ts) // 2, -1):
        loss, gradient = problem.value_and_grad(jnp.asarray(path.thetas[row]))
        assert path.losses[row] == pytest.approx(float(loss), rel=1e-12, abs=1e-300)
        assert path.grad_norms[row] == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-9)


@pytest.mark.parametrize("solver", ["RKC2", "ExponentialRosenbrock"])
def test_other_data_of_the_same_shape_retrace_nothing(count_compilations, solver):
    first, second = zoo.case("scalar imbalanced"), zoo.case("scalar negative")
    first.follow(solver=solver, accuracy=1e-4, certify=True)
    with count_compilations() as counted:
        path = second.follow(solver=solver, accuracy=1e-5, certify=True)
    assert counted.total == 0, counted
    assert second.error(path) <= 1e-5


def test_an_uncertified_path_says_so_and_claims_nothing():
    path = zoo.case("two linear layers").follow(accuracy=1e-6)
    assert not path.accuracy.certified
    assert path.accuracy.global_error is None
    assert "not certified" in str(path.accuracy)


def test_the_network_of_the_oracle_is_the_network_of_the_problem():
    network, theta0 = tanh_network.teacher_student()
    problem = zoo.case("teacher and student").problem
    np.testing.assert_allclose(
        problem.value_and_grad(theta0)[1], network.gradient(theta0), rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(problem.hessian(theta0), network.hessian(theta0), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [1e-6, 1e-8])
def test_teacher_and_student_to_time_1e6_agree_with_cvode_and_radau(accuracy):
    network, theta0 = tanh_network.teacher_student()
    case = zoo.teacher_student(end=1e6)
    by_radau = radau.radau_flow(network.gradient, network.hessian, theta0, case.ts, rtol=1e-12)
    spread = np.linalg.norm(by_radau - case.truth, axis=1) / np.linalg.norm(case.truth, axis=1)
    assert spread.max() < 1e-9, "the two oracles disagree"
    path = case.follow(accuracy=accuracy, certify=True)
    assert case.error(path) <= accuracy, path
    assert path.accuracy.global_error >= case.error(path) / 3
    assert path.accuracy.energy_defect <= 10 * accuracy


@pytest.fixture(scope="module")
def escape():
    """The squared-ReLU problem, a unit start, and when it leaves the origin."""
    network, start = squared_relu.benchmark_network()
    problem = td.EmpiricalRisk(td.two_layer(10, 20, "squared_relu"), td.squared, network.x, network.y)
    return problem, start / np.linalg.norm(start), squared_relu.predict_escape(network, start)


@pytest.mark.parametrize("solver", ["auto", "Tsit5", pytest.param("Kvaerno5", marks=pytest.mark.slow)])
def test_a_small_squared_relu_network_escapes_when_the_theory_says(escape, solver):
    problem, start, prediction = escape
    expected = prediction.time(1e-3)
    ts = np.concatenate([[0.0], np.linspace(expected - 5, expected + 5, 41), [expected + 300]])
    path = td.flow(
        problem,
        jnp.asarray(1e-3 * start),
        until=td.Until(time=ts[-1], grad_norm=1e-6),
        saves=ts,
        solver=solver,
        accuracy=1e-6,
        progress=False,
    )
    assert path.outcome is td.Outcome.REACHED_TIME, "converged at the origin or at the saddle after it"
    assert np.linalg.norm(path.thetas[-1]) == pytest.approx(1.5167, abs=1e-3), "frozen"
    assert path.losses[-1] == pytest.approx(prediction.saddle_loss, rel=1e-3)
    crossed = int(np.argmax(path.losses < prediction.level))
    near = slice(crossed - 3, crossed + 3)
    fit = np.polynomial.Polynomial.fit(path.ts[near], path.losses[near], 5)
    measured = brentq(lambda t: fit(t) - prediction.level, path.ts[crossed - 1], path.ts[crossed])
    assert measured == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("scale", [1e-6, 1e-10])
def test_the_smallest_starts_move_as_they_should_and_are_not_frozen(escape, scale):
    problem, start, prediction = escape
    # u(τ) of the correlation flow: θ(t) = scale·u(scale·t) up to terms of relative size scale³
    clock = np.array([0.0, 0.3, 0.6, 0.9]) * prediction.blow_up_time
    network, _ = squared_relu.benchmark_network()

    def ascent(_, u):
        return network.correlation_gradient(u)

    exact = solve_ivp(ascent, (0, clock[-1]), start, t_eval=clock, rtol=1e-11, atol=1e-14)
    path = td.flow(
        problem,
        jnp.asarray(scale * start),
        until=td.Until(time=clock[-1] / scale),
        saves=clock / scale,
        accuracy=1e-5,
        progress=False,
    )
    moved = np.linalg.norm(exact.y.T - start, axis=1)
    assert moved[-1] > 0.5
    np.testing.assert_allclose(path.thetas / scale, exact.y.T, rtol=0, atol=1e-4)
