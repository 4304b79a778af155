"""What every problem offers: a pytree of arrays, one compilation per shape, functions of the parameters."""

import cloudpickle
import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td

KEY = jax.random.key(0)


def drawn(seed, samples=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, 3)), rng.normal(size=(samples, 2))


def use_everything(problem, theta):
    problem.loss(theta)
    problem.value_and_grad(theta)
    problem.hvp(theta, theta)
    problem.hessian(theta)
    problem.predict(theta, problem.x)
    problem.sample_losses(theta, jnp.array([1, 0]))
    problem.linearize(theta)[2](theta)
    return problem.unravel(theta)


def test_new_data_of_the_same_shape_compile_nothing(count_compilations):
    first = td.EmpiricalRisk(td.mlp([3, 4, 2], "tanh"), td.squared, *drawn(0), name="one")
    second = td.EmpiricalRisk(td.mlp([3, 4, 2], "tanh"), "squared", *drawn(1), name="two")
    theta = first.init(KEY)
    other = theta + 1
    use_everything(first, theta)
    with count_compilations() as counted:
        use_everything(second, other)
    assert counted.total == 0, counted
    assert float(first.loss(theta)) != float(second.loss(theta))
    assert (first.description, second.description) == (
        "mlp 3-4-2 tanh, squared loss, 6 samples of one",
        "mlp 3-4-2 tanh, squared loss, 6 samples of two",
    )


def test_leaves_are_arrays_so_that_problems_travel_through_jax():
    problems = [td.EmpiricalRisk(td.mlp([3, 4, 2]), td.squared, *drawn(seed)) for seed in range(3)]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(problems[0]))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    theta = problems[0].init(KEY)
    found = jax.vmap(lambda problem: problem.loss(theta))(stacked)
    np.testing.assert_allclose(found, [problem.loss(theta) for problem in problems], rtol=1e-14)


def test_a_problem_can_be_the_carry_of_a_scan():
    problem = td.EmpiricalRisk(td.linear([3, 2]), td.squared, *drawn(0))

    def step(carry, _):
        problem, theta = carry
        return (problem, theta - 0.1 * problem.value_and_grad(theta)[1]), problem.loss(theta)

    losses = jax.jit(lambda problem, theta: jax.lax.scan(step, (problem, theta), length=50)[1])(
        problem, jnp.zeros(6)
    )
    assert (np.diff(losses) < 0).all()


def test_problems_go_to_another_process_and_come_back_equal():
    x, y = drawn(0)
    ours = td.EmpiricalRisk(td.mlp([3, 4, 2]), td.squared, x, y, name="drawn")
    function = td.FunctionRisk(jax.tree_util.Partial(weighted, jnp.arange(2.0)), {"a": np.ones(2)})
    imported = td.from_equinox(eqx.nn.MLP(3, 2, 4, 1, key=KEY), td.squared, x, y)
    for problem in (ours, function, imported):
        again = cloudpickle.loads(cloudpickle.dumps(problem))
        theta = problem.init(KEY)
        # Functions without a place in a module, as Equinox has them, come back equal in all but identity.
        assert problem is imported or jax.tree.structure(again) == jax.tree.structure(problem)
        assert float(again.loss(theta)) == float(problem.loss(theta))
        assert again.description == problem.description


def test_predict_is_the_network_sample_by_sample():
    problem = td.EmpiricalRisk(td.mlp([3, 4, 2]), td.squared, *drawn(0))
    theta, batch = problem.init(KEY), drawn(5, samples=4)[0]
    one_by_one = [problem.network.evaluate(theta, jnp.asarray(x)) for x in batch]
    np.testing.assert_allclose(problem.predict(theta, batch), one_by_one, rtol=1e-13)


def test_unravel_names_the_parts_of_our_networks():
    problem = td.EmpiricalRisk(td.mlp([3, 4, 2]), td.squared, *drawn(0))
    parts = problem.unravel(np.arange(26.0))
    assert {name: part.shape for name, part in parts.items()} == {
        "layer1.weight": (4, 3),
        "layer1.bias": (4,),
        "layer2.weight": (2, 4),
        "layer2.bias": (2,),
    }
    assert float(parts["layer1.weight"][1, 0]) == 3.0
    assert float(parts["layer2.bias"][1]) == 25.0


def test_numpy_parameters_are_taken_as_they_are():
    problem = td.EmpiricalRisk(td.mlp([3, 4, 2]), td.squared, *drawn(0))
    theta = np.asarray(problem.init(KEY))
    assert float(problem.loss(theta)) == float(problem.loss(jnp.asarray(theta)))


def rosenbrock(parameters):
    x, y = parameters["x"], parameters["y"]
    return jnp.sum((1 - x) ** 2 + 100 * (y[:2] - x**2) ** 2)


EXAMPLE = {"y": np.array([1.0, 2.0, 7.0]), "x": np.array([0.5, -1.0])}


def test_any_function_of_any_tree_is_a_problem():
    problem = td.FunctionRisk(rosenbrock, EXAMPLE)
    assert list(problem.layout.slices.items()) == [("x", slice(0, 2)), ("y", slice(2, 5))]
    theta = problem.init(KEY, 2.0)
    np.testing.assert_array_equal(theta, [1.0, -2.0, 2.0, 4.0, 14.0])
    assert float(problem.loss(theta)) == 0 + 100 * 1 + 9 + 100 * 0
    np.testing.assert_array_equal(problem.value_and_grad(theta)[1], [-400.0, -6.0, 200.0, 0.0, 0.0])
    expected = np.zeros((5, 5))
    expected[:4, :4] = [[402, 0, -400, 0], [0, 3202, 0, 800], [-400, 0, 200, 0], [0, 800, 0, 200]]
    np.testing.assert_allclose(problem.hessian(theta), expected, rtol=1e-13)
    np.testing.assert_allclose(problem.hvp(theta, np.ones(5)), expected.sum(axis=1), rtol=1e-13)
    back = problem.unravel(theta)
    assert float(back["y"][2]) == 14.0
    assert problem.description == "function rosenbrock of 5 parameters"
    assert (problem.time_scale, problem.hessian_method) == (1.0, "by columns")


def test_a_flat_example_has_one_slice_and_the_function_gets_its_array():
    problem = td.FunctionRisk(lambda theta: jnp.sum(theta**4), np.ones(3))
    assert list(problem.layout.slices.items()) == [("theta", slice(0, 3))]
    assert float(problem.loss(np.array([1.0, 2.0, 0.0]))) == 17.0


def weighted(weights, theta):
    return 0.5 * jnp.sum(weights * jax.flatten_util.ravel_pytree(theta)[0] ** 2)


def test_data_in_a_partial_function_travel_as_arguments(count_compilations):
    first = td.FunctionRisk(jax.tree_util.Partial(weighted, jnp.array([1.0, 2.0])), np.ones(2))
    second = td.FunctionRisk(jax.tree_util.Partial(weighted, jnp.array([3.0, 5.0])), np.ones(2))
    theta = jnp.ones(2)
    assert first.value_and_grad(theta)[1].tolist() == [1.0, 2.0]
    with count_compilations() as counted:
        gradient = second.value_and_grad(theta)[1]
    assert counted.total == 0, counted
    assert gradient.tolist() == [3.0, 5.0]


class Own(td.Problem):
    """A user's own problem, by the recipe of `Problem`: a quartic well."""

    depth: jax.Array

    @property
    def size(self):
        return 2

    @property
    def layout(self):
        return td.problems.Layout({"position": (2,)})

    @property
    def time_scale(self):
        return 1.0

    @property
    def description(self):
        return "quartic well"

    def init(self, key, scale=1.0):
        return scale * jnp.ones(2)

    def loss(self, theta):
        return self.depth * jnp.sum(theta**4) / 4

    def value_and_grad(self, theta):
        return jax.value_and_grad(self.loss)(theta)

    def hessian(self, theta):
        return td.problems.hessian_by_columns(self, theta)

    def predict(self, theta, x):
        return x

    def unravel(self, theta):
        return theta


def test_a_problem_of_ones_own_gets_products_and_linearisation_from_its_gradient():
    problem, theta, v = Own(jnp.array(2.0)), jnp.array([1.0, -2.0]), jnp.array([1.0, 0.5])
    np.testing.assert_allclose(problem.hessian(theta), np.diag([6.0, 24.0]))
    np.testing.assert_allclose(problem.hvp(theta, v), [6.0, 12.0])
    np.testing.assert_allclose(problem.linearize(theta)[2](v), [6.0, 12.0])


def test_an_incomplete_problem_cannot_be_made():
    class Incomplete(td.Problem):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()
