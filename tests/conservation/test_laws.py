"""Laws themselves: conserved by the gradients of real problems, found by linear algebra, followed along runs."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import thetadot as td
from thetadot.conservation import (
    ConservationError,
    FunctionLift,
    Laws,
    LawStatus,
    LinearLift,
    MonomialLift,
    NotALawError,
    NotPolynomialError,
    PathLift,
    PolynomialLift,
    UnsupportedArchitectureError,
    count_laws,
    known_laws,
    law_drift,
    law_steps,
    layered_graph,
    ledger,
    lift_of,
    momentum_fields,
    outer_laws,
    output_lift,
    path_lift,
    polynomial_laws,
)


def problem_of(network, inputs, outputs, loss=td.squared, samples=8, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, *inputs))
    y = rng.integers(0, outputs, samples) if loss is td.cross_entropy else rng.normal(size=(samples, outputs))
    return td.EmpiricalRisk(network, loss, x, y)


NETWORKS = {
    "relu": (td.mlp([2, 3, 2], "relu"), (2,), 2, td.squared, 3),
    "relu, cross-entropy": (td.mlp([2, 3, 2], "relu"), (2,), 2, td.cross_entropy, 6 + 1),
    "leaky relu": (td.mlp([2, 3, 3, 1], "leaky_relu", bias="hidden"), (2,), 1, td.squared, 6),
    "linear": (td.linear([3, 4, 2]), (3,), 2, td.squared, 10),
    "linear with biases": (td.linear([2, 3, 2], bias=True), (2,), 2, td.squared, 6),
    "mean field": (td.two_layer(2, 3, "relu", scaling="mean_field", bias=True), (2,), 1, td.squared, 3),
    "diagonal": (td.diagonal(3, 3), (3,), 1, td.squared, 6),
    "residual": (td.residual(2, 2, bias=False), (2,), 2, td.squared, 2),
    "residual with a stream": (td.residual(2, 2, 2, stream=3, blocks=2), (2,), 2, td.squared, 10),
    "convolution": (td.conv((1, 4, 4), [2, 3], 2), (1, 4, 4), 2, td.squared, 5),
    "strided convolution": (
        td.conv((1, 5, 5), [2], 2, stride=2, padding="valid", pooling="none", bias=False),
        (1, 5, 5),
        2,
        td.squared,
        2,
    ),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_gradient_of_the_loss_leaves_every_known_law_alone(name):
    network, inputs, outputs, loss, expected = NETWORKS[name]
    problem = problem_of(network, inputs, outputs, loss)
    laws = known_laws(problem)
    count = count_laws(problem)
    assert (count.laws, count.extra) == (expected, 0)
    theta = np.random.default_rng(1).normal(size=problem.size)
    gradient = np.asarray(problem.value_and_grad(jnp.asarray(theta))[1])
    slopes = laws.table.jacobian(theta).toarray()
    assert np.abs(gradient).max() > 1e-3
    assert (
        np.abs(slopes @ gradient).max() < 1e-12 * np.abs(gradient).max() * np.abs(slopes).max() * problem.size
    )


@pytest.mark.parametrize("name", ["relu", "convolution", "residual"])
def test_lifts_see_all_that_the_network_computes(name):
    """The lift's gradients span the loss's gradient: what is orthogonal to the lift does not move the loss."""
    network, inputs, outputs, loss, _ = NETWORKS[name]
    problem = problem_of(network, inputs, outputs, loss)
    theta = np.random.default_rng(2).normal(size=problem.size)
    jacobian = lift_of(problem, loss="any").polynomials().jacobian(theta).toarray()
    gradient = np.asarray(problem.value_and_grad(jnp.asarray(theta))[1])
    kept = np.linalg.lstsq(jacobian.T, gradient, rcond=None)[0]
    np.testing.assert_allclose(jacobian.T @ kept, gradient, atol=1e-10)


@pytest.mark.parametrize(
    ("network", "what"), [(td.mlp([2, 3, 1], "tanh"), "tanh"), (td.mlp([2, 3, 1], jnp.sin), "sin")]
)
def test_other_activations_are_refused_by_name(network, what):
    with pytest.raises(UnsupportedArchitectureError, match=rf"{what}.*FunctionLift"):
        lift_of(problem_of(network, (2,), 1))


OUTER = {
    "tanh, cross-entropy": (td.mlp([2, 3, 3], "tanh"), (2,), 3, td.cross_entropy, 4),
    "cube": (td.mlp([2, 3, 3, 2], "cube"), (2,), 2, td.squared, 6),
    "squared relu, cross-entropy": (
        td.mlp([2, 3, 2], "squared_relu", bias=False),
        (2,),
        2,
        td.cross_entropy,
        6,
    ),
    "convolution of tanh": (td.conv((1, 4, 4), [2], 3, "tanh"), (1, 4, 4), 3, td.cross_entropy, 3),
    "residual of tanh": (
        td.residual(2, 2, 2, stream=3, blocks=1, activation="tanh"),
        (2,),
        2,
        td.cross_entropy,
        4,
    ),
}


@pytest.mark.parametrize("name", list(OUTER))
def test_networks_without_a_lift_keep_their_outer_laws(name):
    network, inputs, outputs, loss, expected = OUTER[name]
    problem = problem_of(network, inputs, outputs, loss)
    laws = outer_laws(problem)
    theta = np.random.default_rng(1).normal(size=problem.size)
    gradient = np.asarray(problem.value_and_grad(jnp.asarray(theta))[1])
    slopes = laws.table.jacobian(theta).toarray()
    assert len(laws) == laws.independent() == expected
    assert np.abs(gradient).max() > 1e-3
    assert (
        np.abs(slopes @ gradient).max() < 1e-12 * np.abs(slopes).max() * np.abs(gradient).max() * problem.size
    )
    with pytest.raises(UnsupportedArchitectureError):
        lift_of(problem)


def test_outer_laws_are_all_laws_of_a_small_network_of_tanh():
    problem = problem_of(*OUTER["tanh, cross-entropy"][:4])
    count = count_laws(output_lift(problem), arithmetic="float64")
    assert (count.laws, count.extra, count.status.name) == (4, 0, "CLOSED")
    assert count_laws(output_lift(problem, loss="any"), arithmetic="float64").laws == 0


def test_outer_laws_of_relu_are_those_of_its_lift():
    problem = problem_of(td.mlp([2, 3, 3, 2], "relu"), (2,), 2, td.cross_entropy)
    theta = np.random.default_rng(0).normal(size=(1, problem.size))
    ours, theirs = outer_laws(problem), known_laws(problem)
    assert set(ours.names) == set(theirs.names)
    by_name = dict(zip(theirs.names, theirs.values(theta)[0], strict=True))
    expected = [by_name[name] for name in ours.names]
    np.testing.assert_allclose(ours.values(theta)[0], expected, rtol=1e-13)


def test_a_problem_without_network_has_no_outer_laws():
    problem = td.FunctionRisk(lambda theta: jnp.sum(theta**2), jnp.ones(2))
    assert len(outer_laws(problem)) == 0
    with pytest.raises(UnsupportedArchitectureError, match="no network"):
        output_lift(problem)


def test_equinox_networks_of_relu_have_the_lift_of_ours():
    module = eqx.nn.MLP(2, 1, 3, 1, activation=jax.nn.relu, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    problem = td.from_equinox(module, td.squared, rng.normal(size=(4, 2)), rng.normal(size=(4, 1)))
    assert count_laws(problem).laws == 3
    theta = problem.init(jax.random.key(0))
    slopes = known_laws(problem).table.jacobian(np.asarray(theta)).toarray()
    assert np.abs(slopes @ np.asarray(problem.value_and_grad(theta)[1])).max() < 1e-14


def test_a_problem_without_network_is_refused():
    with pytest.raises(UnsupportedArchitectureError, match="no network"):
        lift_of(td.FunctionRisk(lambda theta: jnp.sum(theta**2), jnp.ones(2)))


@pytest.mark.parametrize(
    ("lift", "degree", "space", "independent"),
    [
        (MonomialLift(np.array([[1, 1, 1]])), 2, 2, 2),
        (MonomialLift(np.array([[1, 1, 1]])), 4, 3, 2),
        (LinearLift((2, 2, 2)), 2, 3, 3),
        (LinearLift((2, 2, 2)), 4, 6, 3),
    ],
    ids=["product 2", "product 4", "linear 2", "linear 4"],
)
def test_polynomial_laws_form_the_derived_spaces(lift, degree, space, independent):
    found = polynomial_laws(lift, degree)
    assert (found.space_dimension, found.independent, found.proof) == (space, independent, "identity")
    if isinstance(lift, LinearLift) and degree == 2:
        assert found.system_shape == (104, 36)
    assert count_laws(lift, laws=found.laws).known == independent  # proves each of them once more


def test_laws_that_are_not_polynomial_are_not_found():
    x, y = sympy.symbols("x y")
    for degree in (2, 4):
        assert polynomial_laws(PolynomialLift([x**2 + 2 * y**2], [x, y]), degree).expressions == ()
    assert polynomial_laws(PolynomialLift([x**2 - y**2], [x, y]), 2).expressions == (x * y,)
    everything = polynomial_laws(PolynomialLift([x**2 - y**2], [x, y]), 4, homogeneous=False)
    assert set(everything.expressions) == {x * y, x**2 * y**2}


def test_laws_found_at_random_points_are_those_found_by_identities(monkeypatch):
    lift, many = PathLift(layered_graph((2, 3, 2))), PathLift(layered_graph((2, 3, 2)))
    exact = polynomial_laws(lift, 2)
    monkeypatch.setattr(path_lift, "_MOST_PATHS", 4)
    sampled = polynomial_laws(many, 2)
    assert (exact.proof, sampled.proof) == ("identity", "random")
    assert set(sampled.expressions) == set(exact.expressions)
    assert len(sampled.expressions) == 3


@pytest.mark.slow
def test_laws_of_networks_with_too_many_paths_are_found_at_random_points_and_say_so():
    lift = PathLift(layered_graph((1, *(2,) * 17, 1)))  # 131 072 paths
    found = polynomial_laws(lift, 2)
    assert (found.space_dimension, found.proof) == (34, "random")
    with pytest.raises(NotALawError, match="proved"):
        count_laws(lift, laws=found.laws)


def test_polynomial_laws_have_limits():
    with pytest.raises(ConservationError, match="max_monomials"):
        polynomial_laws(LinearLift((5, 5, 5)), 4)
    with pytest.raises(NotPolynomialError, match="FunctionLift"):
        polynomial_laws(FunctionLift(lambda theta: theta, 2), 2)


def test_laws_of_ones_own_take_any_form():
    forms = [np.array([[1.0, 0.5], [0.5, 0.0]])]
    laws = Laws.quadratic(forms) + Laws.polynomial([sympy.Symbol("a") / 3], sympy.symbols("a b"))
    assert laws(jnp.array([2.0, 3.0])).tolist() == pytest.approx([4 + 6, 2 / 3])
    assert laws.gradient(jnp.array([2.0, 3.0]))[0].tolist() == [4 + 3, 2]
    np.testing.assert_array_equal(laws.quadratic_forms[0].toarray(), forms[0])
    assert laws.independent() == 2
    assert laws.independent(np.zeros(2)) == 1


def test_momentum_laws_stay_while_balance_moves():
    lift, friction = LinearLift((2, 3, 1)), 1
    problem = problem_of(td.linear([2, 3, 1]), (2,), 1)
    laws = known_laws(momentum_fields(lift, friction))

    def field(state, problem):
        theta, velocity = state[1:10], state[10:]
        push = -friction * velocity - problem.value_and_grad(theta)[1]
        return jnp.concatenate([jnp.ones(1), velocity, push])

    rng = np.random.default_rng(0)
    start = jnp.asarray(np.concatenate([[0.0], rng.normal(size=18)]))
    options = {
        "saves": np.linspace(0, 3, 7),
        "rtol": 1e-12,
        "atol": 1e-14,
        "solver": "Dopri8",
        "progress": False,
    }
    path = td.integrate(td.Flow(field, problem), start, **options)
    values = laws.values(path.thetas)
    assert np.abs(values - values[0]).max() < 1e-10
    balance = known_laws(lift).values(path.thetas[:, 1:10])
    assert np.abs(balance - balance[0]).max() > 0.1


@pytest.fixture(scope="module")
def linear():
    problem = problem_of(td.linear([3, 4, 2]), (3,), 2, samples=20)
    return problem, problem.init(jax.random.key(0))


def test_the_floor_lies_below_the_true_error_and_near_it(linear):
    problem, theta = linear
    times = np.linspace(0, 10, 11)
    laws = known_laws(problem)
    options = {"until": td.Until(time=10.0), "saves": times, "progress": False}
    truth = td.flow(problem, theta, rtol=1e-13, atol=1e-15, solver="Dopri8", **options).thetas
    for rtol in (1e-3, 1e-5, 1e-7):
        path = td.flow(problem, theta, rtol=rtol, solver="Tsit5", **options)
        drift = law_drift(laws, path)
        error = np.linalg.norm(path.thetas - truth, axis=1)
        assert np.all(drift.error_floor <= error)
        assert np.median(drift.error_floor[1:] / error[1:]) >= 0.5
        assert (drift.status is LawStatus.CONSERVED) == (drift.worst <= 1e-8)
        assert drift.rule == "gradient flow"
    data = drift.to_xarray()
    assert data["relative_drift"].dims == ("save", "law")


@pytest.mark.parametrize("rule", ["descent", "minibatch"])
@pytest.mark.parametrize("network", ["linear", "relu"])
def test_gradient_steps_obey_the_identity_to_rounding(linear, network, rule):
    problem, theta = linear
    if network == "relu":
        problem = problem_of(td.mlp([2, 3, 2], "relu"), (2,), 2)
        theta = problem.init(jax.random.key(1))
    step = (
        td.GradientDescent(0.05)
        if rule == "descent"
        else td.MiniBatch(0.05, batch_size=4, key=jax.random.key(3))
    )
    steps = law_steps(known_laws(problem), td.descend(problem, theta, step, 30, progress=False).thetas)
    assert steps.exact
    assert np.abs(steps.residual).max() <= 1e-13
    assert np.abs(steps.change).max() > 1e-6
    assert steps.to_xarray()["change"].dims == ("step", "law")


@pytest.mark.parametrize("network", ["linear", "relu"])
def test_weight_decay_shrinks_laws_as_predicted(linear, network):
    problem, theta = linear
    if network == "relu":
        problem = problem_of(td.mlp([2, 3, 2], "relu"), (2,), 2, td.cross_entropy)  # with linear laws too
        theta = problem.init(jax.random.key(1))
    laws, rate, decay = known_laws(problem), 0.05, 0.3
    rows = [np.asarray(theta)]
    for _ in range(20):
        gradient = np.asarray(problem.value_and_grad(jnp.asarray(rows[-1]))[1])
        rows.append((1 - rate * decay) * rows[-1] - rate * gradient)
    assert np.abs(law_steps(laws, rows, learning_rate=rate, weight_decay=decay).residual).max() <= 1e-13
    assert not law_steps(laws, rows).exact
    with pytest.raises(ConservationError, match="learning_rate"):
        law_steps(laws, rows, weight_decay=decay)


def test_momentum_is_found_out(linear):
    problem, theta = linear
    rows = td.descend(problem, theta, td.HeavyBall(0.05, momentum=0.9), 30, progress=False).thetas
    steps = law_steps(known_laws(problem), rows)
    assert not steps.exact
    assert np.abs(steps.residual).max() > 1e-3


def test_drift_of_descent_is_proportional_to_the_learning_rate(linear):
    problem, theta = linear
    laws, drifts = known_laws(problem), []
    for rate in (0.02, 0.01, 0.005):
        rows = td.descend(problem, theta, td.GradientDescent(rate), round(2 / rate), progress=False).thetas
        drifts.append((laws.values(rows[-1:]) - laws.values(rows[:1]))[0] / rate)
    for coarse, fine in itertools.pairwise(drifts):
        assert np.linalg.norm(coarse - fine) <= 0.02 * np.linalg.norm(fine)


def test_a_ledger_needs_no_stored_iterates(linear):
    problem, theta = linear
    laws = known_laws(problem)
    system = ledger(td.training_map(problem, td.GradientDescent(0.1)), laws)
    state = jnp.concatenate([theta, jnp.zeros(len(laws))])
    for n in range(10):
        state = system(state, n)
    change = np.asarray(laws(state[: problem.size]) - laws(theta))
    np.testing.assert_allclose(change, state[problem.size :], atol=1e-13)
    assert np.abs(change).max() > 1e-4


def test_drift_above_the_tolerance_is_called_drifting():
    laws = Laws.quadratic([np.diag([1.0, -1.0])])
    drift = law_drift(laws, np.array([[1.0, 1.0], [1.0, 1.0], [1.1, 1.0]]), times=[0.0, 2.0, 3.0])
    assert drift.status is LawStatus.DRIFTING
    assert drift.times.tolist() == [0, 2, 3]
    assert drift.relative[:, 0] == pytest.approx([0, 0, 0.21 / 2.21])
    at_rest = law_drift(laws, np.array([[1.0, 0.5], [0.0, 0.0]]))  # no gradient, but 0.75 away in h
    assert at_rest.error_floor[1] == pytest.approx(np.sqrt(0.75))
    # The hyperbola a² − b² = 0 is |1.1 − 1|/√2 away.
    assert 0.95 * 0.1 / np.sqrt(2) < drift.error_floor[2] <= 0.1 / np.sqrt(2)


def test_steps_need_laws_of_degree_two_and_rows_that_fit():
    cubic = Laws.polynomial([sympy.Symbol("a") ** 3], [sympy.Symbol("a")])
    with pytest.raises(NotPolynomialError, match="degree at most 2"):
        law_steps(cubic, np.ones((3, 1)))
    with pytest.raises(ConservationError, match="at least two"):
        law_steps(known_laws(LinearLift((1, 1, 1))), np.ones((1, 2)))
    assert np.isnan(law_drift(cubic, np.array([[1.0], [2.0]])).error_floor).all()


def test_path_norm_is_the_norm_of_the_path_lift():
    lift = PathLift(layered_graph((2, 3, 3, 2), True))
    theta = np.random.default_rng(0).normal(size=lift.size)
    z = np.asarray(lift(theta))
    assert float(lift.path_norm(theta)) == pytest.approx(np.linalg.norm(z))
    assert float(lift.path_norm(theta, exponent=1)) == pytest.approx(np.abs(z).sum())
