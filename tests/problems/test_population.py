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


FAST = ("relu, teacher, Σ", "erf, teacher, Σ")


def slow_but(names, fast=FAST):
    """Parameters of which all but a few take their time to compile."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def posed(name):
    activation, target, inputs = COMBINATIONS[name]
    return td.PopulationRisk(td.two_layer(3, 5, activation, slope=0.2), target, inputs)


@pytest.mark.parametrize("name", slow_but(COMBINATIONS))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["relu, teacher, Σ", "relu, norm, sphere", "relu, ridge, Σ", "erf, teacher, Σ", "tanh, tanh teacher"],
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


@pytest.mark.parametrize("hessian", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_derivatives_are_finite_where_neurons_coincide_oppose_or_vanish(hessian):
    problem = posed("relu, teacher, Σ")
    b = np.array([[1.0, 2, 0], [1, 2, 0], [-1, -2, 0], [2, 4, 0], [0, 0, 0]])
    theta = jnp.asarray(np.concatenate([b.ravel(), [1.0, -1, 1, 1, 1]]))
    parts = [problem.value_and_grad(theta)[1], problem.hvp(theta, jnp.ones_like(theta))]
    for part in [*parts, problem.hessian(theta)] if hessian else parts:
        assert bool(jnp.all(jnp.isfinite(part)))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_moment_equals_its_mean_over_four_million_draws(name):
    _, target, inputs = COMBINATIONS[name]
    problem = posed(name)
    rows = jax.random.normal(jax.random.key(5), (2, 3))
    if problem.method == "closed":
        found = target.moment(rows, inputs, problem.network.activation, 0.2)
    else:
        found = target.series_moment(rows, None, inputs, problem.network.activation, problem.order)
    products = []
    for seed in range(8):
        x = inputs.sample(jax.random.key(seed), 500_000)
        products.append(np.asarray(problem.network.activation(x @ rows.T) * target.evaluate(x)[:, None]))
    for column, value in enumerate(found):
        assert within_four_errors(np.concatenate(products)[:, column], float(value))


TARGETS = {
    "linear": lambda inputs: td.LinearTarget([1.0, 2.0, -1.0]),
    "cubic": lambda inputs: td.cubic_target([1.0, -0.5, 0.2], inputs),
    "teacher": lambda inputs: td.TeacherTarget(A, W),
    "leaky teacher": lambda inputs: td.TeacherTarget(A, W, "leaky_relu", slope=0.3),
    "norm": lambda inputs: NORM,
    "product": lambda inputs: td.ProductTarget(0, 1),
    "square": lambda inputs: td.ProductTarget(2, 2),
    "ridge": lambda inputs: td.RidgeTarget(jnp.abs, np.array([0.6, 0.8, 0.0])),
}
LAWS = {"I": PLAIN, "v·I": STRETCHED, "Σ": GENERAL, "sphere": SPHERE}
NO_RULE = {("norm", "Σ"), ("ridge", "sphere")}


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "identity"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("law", LAWS)
def test_piecewise_linear_neurons_have_every_target_under_every_law(activation, target, law):
    network = td.two_layer(3, 5, activation, slope=0.2)
    if (target, law) in NO_RULE and not (activation == "identity" and target != "teacher"):
        with pytest.raises(UnsupportedExpectation):
            td.PopulationRisk(network, TARGETS[target](LAWS[law]), LAWS[law])
        return
    problem = td.PopulationRisk(network, TARGETS[target](LAWS[law]), LAWS[law])
    assert problem.method == "closed"
    theta = problem.init(KEY)
    x = problem.inputs.sample(jax.random.key(1), 400_000)
    residual = np.asarray(problem.predict(theta, x)[:, 0] - problem.target.evaluate(x))
    value, gradient = problem.value_and_grad(theta)
    assert within_four_errors(0.5 * residual**2, float(value))
    step = 1e-5 * jax.random.normal(jax.random.key(2), theta.shape)
    change = problem.loss(theta + step) - problem.loss(theta - step)
    assert float(change) / 2e-5 == pytest.approx(float(gradient @ step) / 1e-5, abs=1e-7)


@pytest.mark.slow
def test_the_correlation_of_every_target_equals_its_mean_over_draws():
    for name, (_, target, inputs) in COMBINATIONS.items():
        x = np.asarray(inputs.sample(jax.random.key(4), 200_000))
        values = np.asarray(target.evaluate(jnp.asarray(x)))
        found = target.correlation(inputs)
        errors = [within_four_errors(values * x[:, k], float(found[k])) for k in range(3)]
        assert all(errors), name
        assert within_four_errors(values**2, float(target.power(inputs))), name


def test_a_student_that_is_its_teacher_has_no_risk_and_no_gradient():
    rows = W / np.linalg.norm(W, axis=1, keepdims=True)
    outgoing = A / np.abs(A).sum()
    for activation in ("relu", "erf", "squared_relu"):
        target = td.TeacherTarget(outgoing, rows, activation)
        problem = td.PopulationRisk(td.two_layer(3, 4, activation), target, PLAIN)
        assert 0.01 < float(problem.power) < 3
        value, gradient = problem.value_and_grad(jnp.asarray(np.concatenate([rows.ravel(), outgoing])))
        assert abs(float(value)) < 1e-15
        assert float(jnp.max(jnp.abs(gradient))) < 1e-15


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


@pytest.mark.slow
def test_cubature_is_as_accurate_as_it_says():
    network, inputs = td.mlp([2, 4, 4, 1], "tanh"), td.GaussianInputs(2)
    problem = td.PopulationRisk(network, first_squared, inputs, tolerance=1e-5)
    assert problem.method == "cubature"
    finer = td.PopulationRisk(network, first_squared, inputs, order=2 * problem.order)
    for seed in range(6):
        theta = problem.init(jax.random.key(seed), 1.5)
        actual = abs(float(problem.loss(theta)) - float(finer.loss(theta)))
        assert 0 < actual <= problem.expectation_error(theta)


def first_squared(x):
    """x₁²."""
    return x[:, 0] ** 2


@pytest.mark.slow
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


FIVE = np.eye(5)[:2]


def sum_of_sizes(width, turned=None, inputs=None):
    """|x₁| + |x₂|, turned if asked for, on a mean-field network: the shape that all flows here share."""
    rows = np.concatenate([FIVE, -FIVE]) @ (np.eye(5) if turned is None else turned.T)
    network = td.two_layer(5, width, "relu", scaling="mean_field")
    return td.PopulationRisk(network, td.TeacherTarget(np.ones(4), rows), inputs or td.GaussianInputs(5))


@pytest.fixture(scope="module")
def mean_field():
    return sum_of_sizes(32)


def by_scipy(problem, theta, end):
    """DOP853 on −m∇F."""
    from scipy.integrate import solve_ivp

    def field(_, y):
        return -problem.time_scale * np.asarray(problem.value_and_grad(y)[1])

    return solve_ivp(field, (0, end), np.asarray(theta), "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]


def test_the_flow_equals_scipys_on_the_gradient_times_the_width(mean_field):
    theta = mean_field.init(KEY)
    path = td.flow(mean_field, theta, until=td.Until(time=2.0), saves=[2.0], accuracy=1e-9, progress=False)
    assert mean_field.time_scale == 32.0
    np.testing.assert_allclose(path.thetas[-1], by_scipy(mean_field, theta, 2.0), atol=1e-8)


def test_doubled_neurons_move_as_the_single_ones_in_mean_field_time(mean_field):
    half = sum_of_sizes(16)
    theta = half.init(KEY)
    b, a = theta[:80].reshape(16, 5), theta[80:]
    twice = jnp.concatenate([jnp.repeat(b, 2, axis=0).ravel(), jnp.repeat(a, 2)])
    assert float(mean_field.loss(twice)) == pytest.approx(float(half.loss(theta)), rel=1e-13)
    end = by_scipy(half, theta, 2.0)
    path = td.flow(mean_field, twice, until=td.Until(time=2.0), saves=[2.0], accuracy=1e-9, progress=False)
    found = path.thetas[-1]
    np.testing.assert_allclose(found[:160].reshape(32, 5)[::2], end[:80].reshape(16, 5), atol=1e-8)
    np.testing.assert_allclose(found[160:].reshape(16, 2), np.stack([end[80:], end[80:]], axis=1), atol=1e-8)
    assert path.accuracy.energy_defect <= 1e-8


@pytest.mark.slow
def test_the_variance_of_the_inputs_multiplies_time_for_norm_targets():
    network = td.two_layer(3, 6, "relu", scaling="mean_field")
    plain, stretched = td.PopulationRisk(network, NORM, PLAIN), td.PopulationRisk(network, NORM, STRETCHED)
    theta = plain.init(KEY)
    options = {"accuracy": 1e-9, "progress": False}
    one = td.flow(plain, theta, until=td.Until(time=2.0), saves=[2.0], **options)
    two = td.flow(stretched, theta, until=td.Until(time=1.0), saves=[1.0], **options)
    np.testing.assert_allclose(two.thetas[-1], one.thetas[-1], atol=1e-8)


def test_rotated_and_permuted_problems_have_rotated_and_permuted_paths(mean_field):
    theta = mean_field.init(KEY)
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    order = np.random.default_rng(2).permutation(32)
    b, a = np.asarray(theta[:160]).reshape(32, 5), np.asarray(theta[160:])
    start = jnp.asarray(np.concatenate([(b @ q.T)[order].ravel(), a[order]]))
    options = {"until": td.Until(time=2.0), "saves": [2.0], "accuracy": 1e-10, "progress": False}
    one, two = td.flow(mean_field, theta, **options), td.flow(sum_of_sizes(32, q), start, **options)
    found, expected = two.thetas[-1][:160].reshape(32, 5), one.thetas[-1][:160].reshape(32, 5) @ q.T
    np.testing.assert_allclose(found, expected[order], atol=1e-9)


def test_empirical_risks_approach_the_population_risk_at_the_root_of_the_samples(mean_field):
    theta = mean_field.init(KEY)
    gaps = []
    for count in (1_000, 100_000):
        found = []
        for seed in range(12):
            x = mean_field.inputs.sample(jax.random.key(seed), count)
            risk = td.EmpiricalRisk(mean_field.network, "squared", x, mean_field.target.evaluate(x)[:, None])
            found.append(float(risk.loss(theta)) - float(mean_field.loss(theta)))
        gaps.append(np.sqrt(np.mean(np.square(found))))
    assert 5 < gaps[0] / gaps[1] < 20


def test_a_neuron_that_shrinks_beyond_float64_ends_the_flow_and_is_named(mean_field):
    theta = np.asarray(mean_field.init(KEY)).copy()
    faint = 1.5e-150
    theta[5 * 7 : 5 * 8], theta[160 + 7] = faint * FIVE[0], -faint
    path = td.flow(mean_field, theta, until=td.Until(time=50.0), saves=[50.0], accuracy=1e-8, progress=False)
    assert path.outcome is td.Outcome.STALLED
    assert 0 < path.ts[-1] < 50
    assert np.abs(path.thetas[-1][35:40]).max() == pytest.approx(1e-150, rel=1e-6)
    assert "neuron 7" in path.reason
    assert "cone_reduction" in path.reason


def test_a_neuron_that_comes_to_zero_is_recorded_and_named_where_it_stays(mean_field):
    theta = np.asarray(mean_field.init(KEY)).copy()
    theta[5 * 3 : 5 * 4], theta[160 + 3] = [0.02, 0.01, 0.0, 0.0, 0.01], -2.0
    path = td.flow(mean_field, theta, until=td.Until(time=0.3), saves=[0.3], accuracy=1e-6, progress=False)
    event = path.events[0]
    assert event.name == "neuron at b = 0"
    assert np.abs(event.theta[15:20]).max() == pytest.approx(1e-6 * abs(event.theta[163]), rel=1e-3)
    assert path.outcome is td.Outcome.STALLED
    assert "neuron 3 came to b = 0" in path.reason
    assert np.isfinite(path.thetas).all()


@pytest.mark.slow
def test_a_flow_that_leaves_the_reach_of_its_series_is_flagged():
    teacher = td.TeacherTarget([2.0, -1.0], 3.0 * np.eye(3)[:2], "tanh")
    problem = td.PopulationRisk(td.two_layer(3, 4, "tanh"), teacher, PLAIN, order=16)
    path = td.flow(
        problem, problem.init(KEY, 2.0), until=td.Until(time=0.1), saves=[0.0, 0.1], progress=False
    )
    assert path.accuracy.expectation_error > path.accuracy.expectation_tolerance == 1e-8
    assert path.accuracy.missed
    assert "MISSED" in str(path.accuracy)
