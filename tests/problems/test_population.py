"""Population risks against draws, differences and quadrature; what is refused; flows in mean-field time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from tests.oracles.gaussian import within_four_errors
from thetadot.problems import UnsupportedExpectation

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(3, 3))
GENERAL = td.GaussianInputs(3, ROOT @ ROOT.T)
PLAIN, STRETCHED, SPHERE = td.GaussianInputs(3), td.GaussianInputs(3, 2.0), td.SphereInputs(3, 1.5)
W = RNG.normal(size=(4, 3))
A = np.array([1.0, -2.0, 0.5, 1.0])
NORM = td.NormTarget(np.eye(3)[:, :2])

COMBINATIONS = {
    "relu, teacher, Σ": ("relu", td.TeacherTarget(A, W), GENERAL),
    "relu, leaky teacher, sphere": ("relu", td.TeacherTarget(A, W, "leaky_relu", slope=0.3), SPHERE),
    "leaky, norm, v·I": ("leaky_relu", NORM, STRETCHED),
    "relu, norm, sphere": ("relu", NORM, SPHERE),
    "relu, product, Σ": ("relu", td.ProductTarget(0, 1), GENERAL),
    "leaky, square, sphere": ("leaky_relu", td.ProductTarget(1, 1), SPHERE),
    "relu, cubic, Σ": ("relu", td.cubic_target([1.0, -0.5, 0.2], GENERAL), GENERAL),
    "leaky, cubic, sphere": ("leaky_relu", td.cubic_target([1.0, -0.5, 0.2], SPHERE), SPHERE),
    "relu, linear, Σ": ("relu", td.LinearTarget([1.0, 2.0, -1.0]), GENERAL),
    "relu, ridge, Σ": ("relu", td.RidgeTarget(jnp.abs, np.array([0.6, 0.8, 0.0])), GENERAL),
    "identity, teacher": ("identity", td.TeacherTarget(A, W), PLAIN),
    "erf, teacher, Σ": ("erf", td.TeacherTarget(A, W, "erf"), GENERAL),
    "erf, linear": ("erf", td.LinearTarget([1.0, 2.0, -1.0]), STRETCHED),
    "squared relu, teacher, Σ": ("squared_relu", td.TeacherTarget(A, W, "squared_relu"), GENERAL),
    "squared relu, teacher, sphere": ("squared_relu", td.TeacherTarget(A, W, "squared_relu"), SPHERE),
    "tanh, tanh teacher": ("tanh", td.TeacherTarget(A, 0.4 * W, "tanh"), PLAIN),
    "gelu, erf teacher with biases": ("gelu", td.TeacherTarget(A, 0.4 * W, "erf", biases=A), PLAIN),
    "sigmoid, linear": ("sigmoid", td.LinearTarget([1.0, 2.0, -1.0]), PLAIN),
}


def posed(name):
    activation, target, inputs = COMBINATIONS[name]
    return td.PopulationRisk(td.two_layer(3, 5, activation, slope=0.2), target, inputs)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_risk_equals_draws_and_gradient_equals_differences(name):
    problem = posed(name)
    assert problem.method == ("series" if name.split(",")[0] in ("tanh", "gelu", "sigmoid") else "closed")
    theta = problem.init(KEY)
    x = problem.inputs.sample(jax.random.key(1), 200_000)
    residual = np.asarray(problem.predict(theta, x)[:, 0] - problem.target.evaluate(x))
    value, gradient = problem.value_and_grad(theta)
    assert within_four_errors(0.5 * residual**2, float(value))
    assert float(problem.loss(theta)) == pytest.approx(float(value), abs=1e-14)
    directions = np.random.default_rng(2).normal(size=(3, problem.size))
    for direction in directions:
        step = 1e-5 * direction
        change = (problem.loss(theta + step) - problem.loss(theta - step)) / 2e-5
        assert float(change) == pytest.approx(float(gradient @ direction), abs=1e-7)


@pytest.mark.parametrize(
    "name", ["relu, teacher, Σ", "relu, norm, sphere", "erf, teacher, Σ", "tanh, tanh teacher"]
)
def test_hessian_products_and_differences_agree(name):
    problem = posed(name)
    theta = problem.init(KEY)
    v = jax.random.normal(jax.random.key(3), theta.shape)
    hessian = problem.hessian(theta)
    np.testing.assert_allclose(problem.hvp(theta, v), hessian @ v, atol=1e-12)
    np.testing.assert_allclose(problem.linearize(theta)[2](v), hessian @ v, atol=1e-12)
    ends = [problem.value_and_grad(theta + s * v)[1] for s in (1e-5, -1e-5)]
    np.testing.assert_allclose(hessian @ v, (ends[0] - ends[1]) / 2e-5, atol=1e-8)


def test_derivatives_are_finite_where_neurons_coincide_oppose_or_vanish():
    problem = posed("relu, norm, sphere")
    b = np.array([[1.0, 2, 0], [1, 2, 0], [-1, -2, 0], [2, 4, 0], [0, 0, 0]])
    theta = jnp.asarray(np.concatenate([b.ravel(), [1.0, -1, 1, 1, 1]]))
    for part in (
        problem.value_and_grad(theta)[1],
        problem.hessian(theta),
        problem.hvp(theta, jnp.ones_like(theta)),
    ):
        assert bool(jnp.all(jnp.isfinite(part)))


def test_the_correlation_of_every_target_equals_its_mean_over_draws():
    for name, (_, target, inputs) in COMBINATIONS.items():
        x = np.asarray(inputs.sample(jax.random.key(4), 200_000))
        values = np.asarray(target.evaluate(jnp.asarray(x)))
        found = target.correlation(inputs)
        errors = [within_four_errors(values * x[:, k], float(found[k])) for k in range(3)]
        assert all(errors), name
        assert within_four_errors(values**2, float(target.power(inputs))), name


def test_a_student_that_is_its_teacher_has_no_risk_and_no_gradient():
    for activation in ("relu", "erf", "squared_relu"):
        problem = td.PopulationRisk(td.two_layer(3, 4, activation), td.TeacherTarget(A, W, activation), PLAIN)
        theta = jnp.asarray(np.concatenate([W.ravel(), A]))
        value, gradient = problem.value_and_grad(theta)
        size = float(problem.power)
        assert abs(float(value)) < 1e-15 * max(size, 1) * 4
        assert float(jnp.max(jnp.abs(gradient))) < 1e-15 * max(size, 1) * 4


def test_what_has_no_exact_rule_is_refused_with_the_alternatives():
    five = td.GaussianInputs(5)
    cases = [
        (td.two_layer(5, 3, "tanh"), td.NormTarget(np.eye(5)[:, :2]), five, "linear or teacher target"),
        (td.two_layer(5, 3, "relu", bias=True), td.ProductTarget(0, 1), five, "biases have no closed"),
        (
            td.two_layer(5, 3, "relu"),
            td.RidgeTarget(jnp.abs, np.eye(5)[0]),
            td.SphereInputs(5),
            "Gaussian inputs",
        ),
        (td.two_layer(5, 3, "tanh"), td.TeacherTarget([1.0], np.eye(5)[:1], "relu"), five, "kink"),
        (td.mlp([5, 3, 3, 1], "tanh"), td.ProductTarget(0, 1), five, "two_layer network"),
        (td.two_layer(5, 3, "relu"), lambda x: x[:, 0], five, "not a function"),
        (
            td.two_layer(5, 3, "relu"),
            td.NormTarget(np.eye(5)[:, :2]),
            td.GaussianInputs(5, np.diag([1.0, 2, 1, 1, 1])),
            "isotropic along H",
        ),
    ]
    for network, target, inputs, words in cases:
        with pytest.raises(UnsupportedExpectation, match=words):
            td.PopulationRisk(network, target, inputs)
    with pytest.raises(td.ThetadotError, match="dimension 5"):
        td.PopulationRisk(td.two_layer(4, 3, "relu"), td.ProductTarget(0, 1), five)


@pytest.mark.parametrize("basis", [np.eye(3), np.zeros((3, 0)), np.ones((3, 1)), np.full((3, 1), np.nan)])
def test_a_subspace_must_be_proper_and_orthonormal(basis):
    with pytest.raises(td.ThetadotError):
        td.NormTarget(basis)


def test_cubature_is_as_accurate_as_it_says():
    problem = td.PopulationRisk(
        td.mlp([2, 4, 4, 1], "tanh"), lambda x: x[:, 0] ** 2, td.GaussianInputs(2), tolerance=1e-5
    )
    assert problem.method == "cubature"
    theta = problem.init(jax.random.key(7), 1.5)
    finer = td.PopulationRisk(
        problem.network, lambda x: x[:, 0] ** 2, td.GaussianInputs(2), order=2 * problem.order
    )
    actual = abs(float(problem.loss(theta)) - float(finer.loss(theta)))
    assert 0 < actual <= 1.5 * problem.expectation_error(theta)


def test_the_series_states_its_error():
    problem = td.PopulationRisk(td.two_layer(3, 5, "tanh"), td.TeacherTarget(A, W, "tanh"), PLAIN, order=16)
    fine = td.PopulationRisk(td.two_layer(3, 5, "tanh"), td.TeacherTarget(A, W, "tanh"), PLAIN, order=256)
    theta = problem.init(KEY, 2.0)
    actual = abs(float(problem.loss(theta)) - float(fine.loss(theta)))
    assert 1e-9 < actual <= problem.expectation_error(theta) + fine.expectation_error(theta)


def test_new_data_of_the_same_shape_compile_nothing(count_compilations):
    problems = [
        td.PopulationRisk(td.two_layer(3, 5, "relu"), td.TeacherTarget(A, s * W), PLAIN) for s in (1.0, 2.0)
    ]
    theta = problems[0].init(KEY)
    problems[0].value_and_grad(theta)
    with count_compilations() as counted:
        second = problems[1].value_and_grad(theta)[0]
    assert counted.total == 0, counted
    assert float(second) != float(problems[0].value_and_grad(theta)[0])


@pytest.fixture(scope="module")
def mean_field():
    return td.PopulationRisk(td.two_layer(3, 6, "relu", scaling="mean_field"), NORM, PLAIN)


def test_doubled_neurons_move_as_the_single_ones_in_mean_field_time(mean_field):
    theta = mean_field.init(KEY)
    b, a = theta[:18].reshape(6, 3), theta[18:]
    double = td.PopulationRisk(td.two_layer(3, 12, "relu", scaling="mean_field"), NORM, PLAIN)
    twice = jnp.concatenate([jnp.repeat(b, 2, axis=0).ravel(), jnp.repeat(a, 2)])
    options = {"until": td.Until(time=2.0), "saves": [0.0, 1.0, 2.0], "accuracy": 1e-8, "progress": False}
    one, two = td.flow(mean_field, theta, **options), td.flow(double, twice, **options)
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-9)
    np.testing.assert_allclose(
        two.thetas[-1][:36].reshape(12, 3)[::2], one.thetas[-1][:18].reshape(6, 3), atol=1e-8
    )
    assert max(one.accuracy.energy_defect, two.accuracy.energy_defect) <= 1e-7


def test_the_flow_equals_scipys_on_the_gradient_times_the_width(mean_field):
    from scipy.integrate import solve_ivp

    theta = mean_field.init(KEY)
    path = td.flow(mean_field, theta, until=td.Until(time=2.0), saves=[2.0], accuracy=1e-9, progress=False)
    gradient = jax.jit(lambda point: -6.0 * mean_field.value_and_grad(point)[1])
    found = solve_ivp(
        lambda _, y: np.asarray(gradient(y)), (0, 2), np.asarray(theta), "DOP853", rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(path.thetas[-1], found.y[:, -1], atol=1e-8)


def test_the_variance_of_the_inputs_multiplies_time_for_norm_targets(mean_field):
    theta = mean_field.init(KEY)
    stretched = td.PopulationRisk(mean_field.network, NORM, STRETCHED)
    options = {"accuracy": 1e-9, "progress": False}
    one = td.flow(mean_field, theta, until=td.Until(time=2.0), saves=[2.0], **options)
    two = td.flow(stretched, theta, until=td.Until(time=1.0), saves=[1.0], **options)
    np.testing.assert_allclose(two.thetas[-1], one.thetas[-1], atol=1e-8)


def test_rotated_and_permuted_problems_have_rotated_and_permuted_paths(mean_field):
    theta = mean_field.init(KEY)
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    order = np.array([3, 1, 0, 5, 4, 2])
    turned = td.PopulationRisk(mean_field.network, td.NormTarget(q[:, :2]), PLAIN)
    b, a = np.asarray(theta[:18]).reshape(6, 3), np.asarray(theta[18:])
    start = jnp.asarray(np.concatenate([(b @ q.T)[order].ravel(), a[order]]))
    options = {"until": td.Until(time=2.0), "saves": [2.0], "accuracy": 1e-10, "progress": False}
    one, two = td.flow(mean_field, theta, **options), td.flow(turned, start, **options)
    found, expected = two.thetas[-1][:18].reshape(6, 3), one.thetas[-1][:18].reshape(6, 3) @ q.T
    np.testing.assert_allclose(found, expected[order], atol=1e-9)


def test_empirical_risks_approach_the_population_risk_at_the_root_of_the_samples(mean_field):
    theta = mean_field.init(KEY)
    gaps = []
    for count in (1_000, 100_000):
        found = []
        for seed in range(12):
            x = PLAIN.sample(jax.random.key(seed), count)
            risk = td.EmpiricalRisk(mean_field.network, "squared", x, NORM.evaluate(x)[:, None])
            found.append(float(risk.loss(theta)) - float(mean_field.loss(theta)))
        gaps.append(np.sqrt(np.mean(np.square(found))))
    assert 5 < gaps[0] / gaps[1] < 20


def test_a_flow_that_leaves_the_reach_of_its_series_is_flagged():
    teacher = td.TeacherTarget([2.0, -1.0], 3.0 * np.eye(3)[:2], "tanh")
    problem = td.PopulationRisk(td.two_layer(3, 4, "tanh"), teacher, PLAIN, order=16)
    path = td.flow(
        problem, problem.init(KEY, 2.0), until=td.Until(time=0.1), saves=[0.0, 0.1], progress=False
    )
    assert path.accuracy.expectation_error > path.accuracy.expectation_tolerance == 1e-8
    assert path.accuracy.missed
    assert "MISSED" in str(path.accuracy)
