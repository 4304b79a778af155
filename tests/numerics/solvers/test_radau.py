"""Radau IIA: its coefficients, its order, what a step costs, and the same arithmetic inside diffrax."""

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import thetadot as td
from thetadot.dynamics.right_sides import TrainingSide
from thetadot.numerics.solvers import RadauIIA, SolverError, stepper
from thetadot.numerics.solvers.collocation import lagrange, radau
from thetadot.numerics.solvers.radau_step import RadauStep

STAGES = (3, 5, 7)


@pytest.mark.parametrize("stages", [*STAGES, 9])
def test_the_coefficients_satisfy_the_conditions_that_define_the_method(stages):
    rule = radau(stages)
    c, weights = rule.nodes, rule.matrix[-1]
    assert c[-1] == 1.0
    for k in range(1, 2 * stages):  # B(2s − 1): the quadrature
        assert weights @ c ** (k - 1) == pytest.approx(1 / k, rel=1e-14)
    for k in range(1, stages + 1):  # C(s): the stages
        np.testing.assert_allclose(rule.matrix @ c ** (k - 1), c**k / k, rtol=0, atol=1e-15)
    for k in range(1, stages):  # D(s − 1): the superconvergence
        np.testing.assert_allclose(
            (weights * c ** (k - 1)) @ rule.matrix, weights * (1 - c**k) / k, atol=1e-15
        )
    # The estimate compares with a method of order s that sees the start with weight γ: δ_k0 − Σ ℓ_i(0) c_i^k.
    for k in range(stages):
        assert rule.initial @ c**k == pytest.approx(float(k == 0), abs=1e-11)


@pytest.mark.parametrize("stages", STAGES)
def test_nodes_and_matrix_are_right_to_the_last_digit(stages):
    with mpmath.workdps(50):
        legendre = lambda n, x: mpmath.legendre(n, 2 * x - 1)  # noqa: E731
        exact = [
            mpmath.findroot(lambda x: legendre(stages, x) - legendre(stages - 1, x), mpmath.mpf(c))
            for c in radau(stages).nodes
        ]
        for c, found in zip(exact, radau(stages).nodes, strict=True):
            assert found == float(c)
        for i, j in np.ndindex(stages, stages):
            others = [x for m, x in enumerate(exact) if m != j]
            integral = mpmath.quad(
                lambda t, o=others, j=j: mpmath.fprod((t - x) / (exact[j] - x) for x in o), [0, exact[i]]
            )
            assert radau(stages).matrix[i, j] == pytest.approx(float(integral), rel=3e-16)


@pytest.mark.parametrize("stages", STAGES)
def test_the_resolvent_is_the_inverse_at_every_stiffness(stages):
    rule, z = radau(stages), np.array([0.0, 0.3, -1e-3, -1.0, -40.0, -1e4, -1e10])
    found = np.asarray(rule.resolvent(jnp.asarray(z)))
    for value, inverse in zip(z, found, strict=True):
        exact = np.linalg.inv(np.eye(stages) - value * rule.matrix)
        np.testing.assert_allclose(inverse, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


@pytest.mark.parametrize("stages", STAGES)
def test_lagranges_weights_are_exact_at_the_nodes_and_for_polynomials(stages):
    points = radau(stages).points
    np.testing.assert_array_equal(lagrange(points, jnp.asarray(points)), np.eye(stages + 1))
    t = np.array([0.1, 0.77, 1.5])
    weights = np.asarray(lagrange(points, jnp.asarray(t)))
    rounding = 4e-15 * np.abs(weights).sum(axis=1)
    assert np.all(np.abs(weights @ points**stages - t**stages) <= rounding)


@pytest.mark.parametrize("stages", [1, 2, 4, 15])
def test_other_numbers_of_stages_are_refused(stages):
    with pytest.raises(ValueError, match="expected an odd number from 3 to 13"):
        RadauIIA(stages)


def test_names_and_instances_lead_to_the_same_method():
    assert stepper("RadauIIA") == stepper("radauiia(5)") == stepper(RadauIIA()) == RadauStep(5)
    assert stepper(RadauIIA(9)).name == "RadauIIA(9)"
    with pytest.raises(SolverError, match="not known"):
        stepper("RadauIIA(4)")


LOGISTIC = td.FunctionRisk(lambda theta: jnp.sum(theta**3 / 3 - theta**2 / 2), jnp.ones(1))
"""θ̇ = θ − θ²: θ(t) = 1/(1 + e^(−t)), with poles at ±iπ; ∫θ̇² = θ²/2 − θ³/3 from −∞."""


def logistic(t):
    return 1 / (1 + np.exp(-t))


@pytest.fixture(scope="module", params=STAGES)
def strides(request):
    """(stages, order of y, of ∫|F|² and inside a step, errors) from equal steps from 0 to 4, where F contracts."""
    stages, method, side = request.param, RadauStep(request.param), TrainingSide()
    counts = {3: (16, 32), 5: (6, 9), 7: (2, 3)}[stages]

    @jax.jit
    def run(h, count):
        y = jnp.asarray([logistic(0.0)])
        field, _ = side.evaluate(y, LOGISTIC)

        def one(_, carry):
            y, field, memory, work, far = carry
            step = method.step(side, LOGISTIC, y, field, h, jnp.full(1, 1e-14), memory)
            after = step.memory[1]
            middle = (method.basis(jnp.asarray(0.4)) @ method.interpolant(after))[0]
            far = jnp.maximum(far, jnp.abs(middle - 1 / (1 + (1 - y[0]) / y[0] * jnp.exp(-0.4 * h))))
            return step.y, step.field, after, work + step.squared_speed, far

        start = method.start(side, LOGISTIC, y, field, h)
        zero = jnp.zeros(())
        return jax.lax.fori_loop(0, count, one, (y, field, start, zero, zero))

    def measured(count):
        y, _, _, work, far = run(jnp.asarray(4.0 / count), count)
        spent = lambda x: x**2 / 2 - x**3 / 3  # noqa: E731
        total = spent(logistic(4.0)) - spent(logistic(0.0))
        return abs(float(y[0]) - logistic(4.0)), abs(float(work) - total), float(far)

    rows = np.array([measured(count) for count in counts])
    return stages, np.log(rows[0] / rows[1]) / np.log(counts[1] / counts[0]), rows


def test_the_order_is_twice_the_stages_less_one(strides):
    stages, slopes, rows = strides
    # With seven stages rounding leaves only steps of the size of the distance to the poles, where 12.3 is measured.
    assert slopes[0] == pytest.approx(2 * stages - 1, abs=0.15 if stages < 7 else 0.8), rows


def test_the_work_integral_has_the_same_order_and_the_inside_of_a_step_that_of_the_stages(strides):
    stages, slopes, rows = strides
    assert slopes[1] > 2 * stages - 1.6, rows
    assert slopes[2] > (stages if stages < 7 else 5), rows


@jax.jit
def first_step(problem, y, h, tolerance):
    side, method = TrainingSide(), RadauStep(5)
    field, _ = side.evaluate(y, problem)
    return method.step(side, problem, y, field, h, tolerance, method.start(side, problem, y, field, h))


def test_a_linear_flow_costs_one_iteration_and_one_hessian_however_stiff():
    problem = td.FunctionRisk(
        lambda theta: 0.5 * jnp.sum(jnp.asarray([1e8, 1.0, 1e-3]) * theta**2), jnp.ones(3)
    )
    step = first_step(problem, jnp.ones(3), jnp.asarray(0.1), jnp.full(3, 1e-10))
    assert (int(step.evaluations), int(step.jacobians), bool(step.solved)) == (5, 1, True)
    np.testing.assert_allclose(step.y[1:], np.exp([-0.1, -1e-4]), rtol=1e-13)
    assert abs(float(step.y[0])) < 1e-6


def test_a_step_over_an_instability_is_refused_and_shortened():
    # The implicit equations would damp what in truth grows by e⁵⁰, and an estimate of 1e-9 would not see it.
    hill = td.FunctionRisk(lambda theta: -0.5 * jnp.sum(theta**2), jnp.ones(3))
    refused = first_step(hill, jnp.full(3, 1e-9), jnp.asarray(50.0), jnp.full(3, 1e-15))
    assert not refused.solved
    assert int(refused.evaluations) == 0
    assert float(refused.memory[1].room) < 0.05


def run(term, solver, y0, args, times, **settings):
    control = settings.pop("control", diffrax.PIDController(rtol=1e-10, atol=1e-11))
    return diffrax.diffeqsolve(
        term, solver, times[0], times[-1], settings.pop("dt0", None), y0, args=args,
        saveat=diffrax.SaveAt(ts=times), stepsize_controller=control, **settings,
    )  # fmt: skip


def decay(t, state, args):
    return {
        "fast": -args["rate"] * state["fast"] ** 3,
        "slow": jnp.cos(t) - 1e4 * (state["slow"] - jnp.sin(t)),
    }


STATE = {"fast": jnp.ones(2), "slow": jnp.asarray(0.0)}
TIMES = jnp.linspace(0.0, 3.0, 11)


def test_diffrax_runs_it_on_a_stiff_pytree_that_depends_on_time():
    found = run(diffrax.ODETerm(decay), RadauIIA(5), STATE, {"rate": 2.0}, TIMES)
    exact = 1 / np.sqrt(1 + 4 * np.asarray(TIMES))
    np.testing.assert_allclose(found.ys["fast"], np.stack([exact, exact], 1), rtol=1e-9)
    np.testing.assert_allclose(found.ys["slow"], np.sin(TIMES), atol=1e-9)
    assert int(found.stats["num_steps"]) < 100


@pytest.mark.slow
def test_diffrax_maps_it_over_arguments_and_runs_it_backwards():
    solve = jax.vmap(
        lambda rate: run(diffrax.ODETerm(decay), RadauIIA(3), STATE, {"rate": rate}, TIMES).ys["fast"]
    )
    rates = jnp.array([0.5, 2.0])
    exact = 1 / np.sqrt(1 + 2 * np.asarray(rates)[:, None] * np.asarray(TIMES))
    np.testing.assert_allclose(solve(rates)[:, :, 0], exact, rtol=1e-8)
    term = diffrax.ODETerm(lambda t, y, args: -(y**3))
    back = run(term, RadauIIA(3), jnp.full(1, 1 / np.sqrt(3.0)), None, jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(back.ys[-1], 1.0, rtol=1e-8)


@pytest.mark.parametrize(("stages", "counts"), [(3, (16, 32)), (5, (6, 9))])
def test_in_diffrax_with_constant_steps_the_order_is_the_same(stages, counts):
    solver = RadauIIA(stages, root_finder=diffrax.VeryChord(rtol=1e-14, atol=1e-15))
    term = diffrax.ODETerm(lambda t, y, args: y - y**2)
    errors = []
    for count in counts:
        found = run(
            term, solver, jnp.asarray(0.5), None, jnp.array([0.0, 4.0]),
            control=diffrax.ConstantStepSize(), dt0=jnp.asarray(4.0 / count),
        )  # fmt: skip
        assert int(found.stats["num_steps"]) == count
        errors.append(abs(float(found.ys[-1]) - logistic(4.0)))
    assert np.log(errors[0] / errors[1]) / np.log(counts[1] / counts[0]) == pytest.approx(
        2 * stages - 1, abs=0.15
    )


def test_systems_without_symmetry_are_refused():
    with pytest.raises(td.ThetadotError, match=r"RadauIIA\(5\) needs a field with a symmetric Jacobian"):
        td.integrate(td.Flow(lambda s, a: -s), jnp.ones(2), until=td.Until(time=1.0), solver="RadauIIA")


def test_dense_output_of_a_training_flow_comes_from_the_collocation_polynomial():
    flow = td.training_flow(LOGISTIC)
    path = td.integrate(
        flow,
        jnp.array([0.5]),
        until=td.Until(time=5.0),
        solver="RadauIIA",
        rtol=1e-9,
        dense=True,
        progress=False,
    )
    ts = np.linspace(0.0, 5.0, 57)
    assert np.abs(path.at(ts)[:, 0] - logistic(ts)).max() < 1e-8


def test_no_step_and_no_run_of_the_same_shape_retraces(count_compilations):
    def follow(seed, rtol):
        x = jax.random.normal(jax.random.key(seed), (8, 2))
        problem = td.EmpiricalRisk(td.mlp([2, 2, 1], "tanh"), td.squared, x, jnp.sin(x[:, :1]))
        start = problem.init(jax.random.key(seed + 1))
        return td.flow(
            problem, start, until=td.Until(time=50.0), solver="RadauIIA", rtol=rtol, progress=False
        )

    follow(0, 1e-6)
    with count_compilations() as counted:
        follow(5, 1e-8)
    assert [name for name in counted.traced if "chunk" in name or "begin" in name] == [], counted
    assert not any("chunk" in name for name in counted.compiled), counted
