"""The significance test: its statistics, its p-values, and the ensemble under it."""

import jax
import numpy as np
import pytest
import scipy.stats

import thetadot as td
from thetadot import simulators as sim


def test_p_values_count_ties_and_stay_within_their_bounds():
    null = np.array([3.0, 1.0, 2.0, 2.0])
    statistic = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0, np.nan, np.inf])
    found = sim.p_values(null, statistic)
    expected = [(1 + np.sum(null >= d)) / 5 if np.isfinite(d) else 0.2 for d in statistic]
    assert found.tolist() == expected
    assert found.min() > 0
    assert found.max() == 1
    grid = np.random.default_rng(0).normal(size=500)
    ordered = sim.p_values(null, np.sort(grid))
    assert np.all(np.diff(ordered) <= 0)
    assert sim.p_values(null, np.float64(2.0)).shape == ()


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(0)
    # Every statistic meets a null of its own: against one null of 999 the p-values share its chance.
    found = np.array([sim.p_values(draw[1:], draw[0]) for draw in rng.exponential(size=(20_000, 1000))])
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01
    assert sim.acceptance(found) == pytest.approx(0.95, abs=0.01)


def test_the_statistic_ignores_a_common_shift_and_squares_a_common_factor():
    predictions = np.random.default_rng(0).normal(size=(5, 7, 2))
    d = sim.d_statistic(predictions)
    assert d.shape == (7, 2)
    np.testing.assert_allclose(sim.d_statistic(predictions + 3.7), d, atol=1e-12)
    np.testing.assert_allclose(sim.d_statistic(-3 * predictions), 9 * d, rtol=1e-12)
    mean = sum(predictions) / 5
    np.testing.assert_allclose(d, sum((one - mean) ** 2 for one in predictions) / 4, rtol=1e-12)


def ring(nodes, degree):
    sources = np.tile(np.arange(nodes), degree)
    shifts = np.repeat(np.arange(1, degree + 1), nodes)
    return sim.Graph(sources, (sources + shifts) % nodes, size=nodes)


def test_twice_the_degree_makes_a_quarter_of_the_scale():
    assert sim.degree_scale(ring(10, 2), ring(10, 4)) == 0.25
    assert sim.degree_scale(ring(10, 2), ring(30, 2)) == 1.0
    assert ring(10, 3).degree_variation == 0


@pytest.fixture(scope="module")
def trained():
    """Four small fields trained on half of the states of an epidemic."""
    graph = sim.erdos_renyi(jax.random.key(0), 8, 0.5)
    x, y = sim.independent_states(jax.random.key(1), sim.epidemic(), graph, samples=60)
    field = sim.graph_field(graph, width=4, channels=4)
    ensemble = sim.bootstrap_ensemble(field, x[:40], y[:40], members=4, steps=200, key=jax.random.key(2))
    return ensemble, np.asarray(x[40:]), np.asarray(y[40:])


def test_members_learn_and_differ(trained):
    ensemble, x, y = trained
    predictions = np.asarray(ensemble.predictions(x))
    assert predictions.shape == (4, 20, 8, 1)
    single = ensemble.field.evaluate(ensemble.thetas[1], x[3])
    np.testing.assert_allclose(predictions[1, 3], single, atol=1e-13)
    assert np.abs(predictions - y).mean() < 0.5 * np.abs(y).mean()
    assert len(np.unique(ensemble.losses)) == 4
    start = td.EmpiricalRisk(ensemble.field, sim.absolute_with_spread(), x, y)
    assert ensemble.losses.max() < float(start.loss(ensemble.field.initial(jax.random.key(9)))) / 2


def test_draws_are_the_variance_of_the_members_at_the_place_that_they_name(trained):
    ensemble, x, _ = trained
    every = np.asarray(ensemble.predictions(x))
    whole = sim.d_statistic(every)[..., 0]
    found = {}
    for node in ("random", "mean", "maximum", 3):
        null = sim.null_distribution(ensemble, x, draw=4, draws=50, node=node, key=jax.random.key(0))
        found[node] = sim.significance(ensemble, x, null, draw=4, node=node, key=jax.random.key(1))
    # With all members drawn only the place is left to chance.
    rows = np.arange(len(x))
    places = found["random"].nodes
    assert len(np.unique(places)) > 2
    np.testing.assert_allclose(found["random"].statistic, whole[rows, places], rtol=1e-9)
    np.testing.assert_allclose(
        found["random"].predictions[:, 0], every.mean(axis=0)[rows, places, 0], rtol=1e-9
    )
    np.testing.assert_allclose(found["mean"].statistic, whole.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found["maximum"].statistic, whole.max(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found[3].statistic, whole[:, 3], rtol=1e-9)
    assert found[3].nodes.tolist() == [3] * 20


def test_far_states_are_rejected_and_held_back_ones_accepted(trained):
    ensemble, x, _ = trained
    options = {"draw": 3, "node": "mean"}
    null = sim.null_distribution(ensemble, x[:10], draws=500, key=jax.random.key(0), **options)
    near = sim.significance(ensemble, x[10:], null, key=jax.random.key(1), **options)
    far = sim.significance(ensemble, x[10:] + 2.0, null, key=jax.random.key(1), **options)
    assert near.acceptance > 0.6
    assert far.acceptance < 0.2
    assert near.scale == 1.0
    assert not near.heterogeneous


def test_another_graph_rescales_and_says_where_that_is_not_to_be_trusted(trained):
    ensemble, x, _ = trained
    null = sim.null_distribution(ensemble, x, draw=2, draws=50, key=jax.random.key(0))
    dense = sim.erdos_renyi(jax.random.key(5), 8, 1.0)
    found = sim.significance(ensemble, x, null, graph=dense, draw=2, key=jax.random.key(1))
    assert found.scale == (ensemble.field.graph.mean_degree / 7) ** 2
    assert not found.heterogeneous
    star = sim.Graph(np.arange(1, 8), np.zeros(7, int), size=8)
    assert sim.significance(ensemble, x, null, graph=star, draw=2, key=jax.random.key(1)).heterogeneous
    larger = sim.erdos_renyi(jax.random.key(6), 8, 0.6)
    plain = ensemble.field.on(larger).evaluate(ensemble.thetas[0], x[0])
    np.testing.assert_allclose(ensemble.predictions(x[:1], larger)[0, 0], plain, atol=1e-13)


WRONG = {
    "draw > members": (sim.DrawError, {"draw": 5}),
    "draw of one": (sim.DrawError, {"draw": 1}),
    "no such node": (sim.DrawError, {"draw": 2, "node": 8}),
    "unknown choice": (sim.DrawError, {"draw": 2, "node": "median"}),
    "no draws": (sim.DrawError, {"draw": 2, "draws": 0}),
}


@pytest.mark.parametrize("case", WRONG)
def test_draws_that_cannot_be_made_are_refused(case, trained):
    error, options = WRONG[case]
    with pytest.raises(error):
        sim.null_distribution(trained[0], trained[1], key=jax.random.key(0), **options)


def test_a_null_of_another_choice_is_refused(trained):
    ensemble, x, y = trained
    null = sim.null_distribution(ensemble, x, draw=2, draws=5, node="mean", key=jax.random.key(0))
    with pytest.raises(sim.DrawError, match="use the same"):
        sim.significance(ensemble, x, null, draw=2, key=jax.random.key(0))
    with pytest.raises(sim.DrawError, match="use the same"):
        sim.significance(ensemble, x, null, draw=3, node="mean", key=jax.random.key(0))
    with pytest.raises(sim.GraphError, match="degree"):
        sim.significance(
            ensemble, x, null, draw=2, node="mean", graph=sim.Graph([], [], size=8), key=jax.random.key(0)
        )
    with pytest.raises(sim.SettingError, match="members"):
        sim.bootstrap_ensemble(ensemble.field, x, y, members=1, key=jax.random.key(0))
    with pytest.raises(sim.SettingError, match="fraction"):
        sim.bootstrap_ensemble(ensemble.field, x, y, fraction=1.5, key=jax.random.key(0))
    with pytest.raises(sim.MatrixError, match="same shape"):
        sim.bootstrap_ensemble(ensemble.field, x, y[:3], key=jax.random.key(0))
    with pytest.raises(sim.DrawError, match="2 members"):
        sim.d_statistic(np.ones((1, 3)))
    with pytest.raises(sim.MatrixError, match="empty"):
        sim.p_values([], [1.0])
