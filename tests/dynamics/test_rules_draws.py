"""Which samples a rule sees: the right ones, all equally often, from the key and the step number alone."""

import collections
import itertools

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

import thetadot as td
from tests.dynamics.regression import RISK, SAMPLES, THETA0, problem
from thetadot.dynamics.draws import FreshBatch, PassBatch

KEY = jax.random.key(5)


@eqx.filter_jit
def all_drawn(draw, steps):
    return jax.lax.map(draw, steps)


def drawn(draw, steps, first=0):
    """Indices of many steps, (steps, B)."""
    return np.asarray(all_drawn(draw, jnp.arange(first, first + steps, dtype=jnp.int32)))


def fresh(samples, batch_size, replace=False, key=KEY):
    return FreshBatch(samples=samples, key=key, batch_size=batch_size, replace=replace)


# The last two take the two ways of drawing: one by one, and by a shuffle of all samples.
@pytest.mark.parametrize(("samples", "batch_size"), [(5, 2), (5, 5), (7, 1), (1000, 300), (1000, 400)])
def test_the_samples_of_a_fresh_batch_are_distinct(samples, batch_size):
    batches = drawn(fresh(samples, batch_size), 50)
    assert batches.min() >= 0
    assert batches.max() < samples
    assert all(len(set(batch)) == batch_size for batch in batches.tolist())


def test_every_fresh_batch_is_as_likely_as_any_other():
    steps = 20_000
    sets = collections.Counter(frozenset(batch) for batch in drawn(fresh(6, 3), steps).tolist())
    assert len(sets) == 20
    assert chisquare(list(sets.values())).pvalue > 1e-3


@pytest.mark.parametrize("batch_size", [300, 400])
def test_large_fresh_batches_take_every_sample_equally_often(batch_size):
    steps, samples = 400, 1000
    counts = np.bincount(drawn(fresh(samples, batch_size), steps).ravel(), minlength=samples)
    share = batch_size / samples
    deviation = (counts - steps * share) / np.sqrt(steps * share * (1 - share))
    # Without replacement the deviations are those of a chi-square with N − 1 degrees of freedom.
    assert abs(np.sum(deviation**2) - (samples - 1)) < 5 * np.sqrt(2 * samples)


def test_draws_with_replacement_repeat_samples():
    batches = drawn(fresh(5, 4, replace=True), 5000)
    pairs = collections.Counter(map(tuple, batches[:, :2].tolist()))
    assert len(pairs) == 25
    assert chisquare(list(pairs.values())).pvalue > 1e-3


@pytest.mark.parametrize(("samples", "batch_size"), [(12, 4), (12, 12), (10, 4), (7, 3), (5, 1)])
def test_passes_visit_every_sample_exactly_once(samples, batch_size):
    passes = 2 * batch_size
    steps = passes * samples // batch_size
    visited = drawn(PassBatch(samples=samples, key=KEY, batch_size=batch_size), steps).reshape(
        passes, samples
    )
    assert np.array_equal(np.sort(visited, axis=1), np.tile(np.arange(samples), (passes, 1)))
    assert len({tuple(order) for order in visited.tolist()}) > 1


def test_the_order_of_a_pass_depends_on_key_and_pass_only():
    by_threes = drawn(PassBatch(samples=12, key=KEY, batch_size=3), 8).reshape(2, 12)
    by_twelves = drawn(PassBatch(samples=12, key=KEY, batch_size=12), 2)
    assert np.array_equal(by_threes, by_twelves)


def test_every_order_of_a_pass_is_equally_likely():
    steps = 12_000
    orders = collections.Counter(
        map(tuple, drawn(PassBatch(samples=4, key=KEY, batch_size=4), steps).tolist())
    )
    assert set(orders) == set(itertools.permutations(range(4)))
    assert chisquare(list(orders.values())).pvalue > 1e-3


@pytest.mark.parametrize("batch_size", [3, 5])
def test_remembering_the_pass_changes_nothing(batch_size):
    draw = PassBatch(samples=12, key=KEY, batch_size=batch_size)

    @eqx.filter_jit
    def walk(draw, first):
        def step(memory, n):
            memory = draw.renew(memory, n)
            return memory, draw.pick(memory, n)

        return jax.lax.scan(step, draw.prepare(first), first + jnp.arange(12, dtype=jnp.int32))[1]

    for first in (0, 7):
        assert np.array_equal(walk(draw, jnp.int32(first)), drawn(draw, 12, first))


def test_late_steps_of_passes_do_not_overflow():
    draw = PassBatch(samples=1000, key=KEY, batch_size=1000)
    late = drawn(draw, 1, first=2**31 - 2)[0]
    assert np.array_equal(np.sort(late), np.arange(1000))


@pytest.mark.parametrize("settings", [{}, {"replace": True}, {"epochs": True}])
def test_the_same_key_draws_the_same_bits_and_another_key_others(settings):
    def run(key):
        rule = td.MiniBatch(0.3, 5, key, **settings)
        return td.descend(RISK, THETA0, rule, 20, saves="steps", progress=False).thetas

    assert np.array_equal(run(KEY), run(jax.random.key(5)))
    assert not np.array_equal(run(KEY)[1], run(jax.random.key(6))[1])


def test_keys_in_the_older_form_are_taken():
    old = jax.random.key_data(KEY)
    assert np.array_equal(drawn(fresh(20, 4, key=old), 5), drawn(fresh(20, 4), 5))


def test_members_of_an_ensemble_may_have_traced_keys():
    @eqx.filter_jit
    def ends(risk, keys):
        def one(key):
            system = td.training_map(risk, td.MiniBatch(0.3, 5, key))
            return jax.lax.fori_loop(
                0, 10, lambda n, state: system(state, n), system.start(jnp.asarray(THETA0))
            )

        return jax.vmap(one)(keys)

    keys = jax.random.split(KEY, 3)
    for key, end in zip(keys, ends(RISK, keys), strict=True):
        path = td.descend(RISK, THETA0, td.MiniBatch(0.3, 5, key), 10, progress=False)
        np.testing.assert_allclose(path.thetas[-1], end, rtol=0, atol=1e-14)


def largest_result(jaxpr):
    """Number of entries of the largest array that a computation makes."""
    found = 0
    for equation in jaxpr.eqns:
        found = max(found, *(variable.aval.size for variable in equation.outvars), 0)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            found = max(found, largest_result(inner))
    return found


def test_a_step_makes_no_array_of_the_size_of_the_data():
    many = problem(samples=5000)
    for rule in (td.MiniBatch(0.1, 4, KEY), td.PerSample(0.1), td.PerSample(0.1, order="random", key=KEY)):
        system = td.training_map(many, rule)
        arrays, rest = eqx.partition(system, eqx.is_array)
        step = jax.make_jaxpr(lambda arrays, state, n, rest=rest: eqx.combine(arrays, rest)(state, n))
        made = largest_result(step(arrays, jnp.asarray(THETA0), jnp.int32(0)).jaxpr)
        assert made < 200, rule
    assert SAMPLES < 200
