"""Itineraries, predicted and integrated (cases 9 to 16, 19, 22, 24)."""

import numpy as np
import pytest

import thetadot as td
from tests.saddles.networks import generic, nudged, place, sparse_regression, squares
from thetadot import errors, saddles


def _four_squares():
    problem = td.EmpiricalRisk(
        td.two_layer(4, 5, "square"), td.squared, np.eye(4), np.array([4.0, -3.0, 2.0, 1.0])
    )
    return problem, place(np.random.default_rng(11).normal(size=25), 4, 5)


@pytest.fixture(scope="module")
def walked():
    return saddles.saddle_itinerary(*_four_squares(), 1e-3)


def test_the_whole_walk_is_predicted_and_measured(walked):
    assert walked.status.name == "REACHED_MINIMUM"
    assert walked.losses == pytest.approx([3.75, 1.75, 1.25, 1.125, 0.0], abs=1e-10)
    assert walked.indices[:, 0].tolist() == [0, 2, 1, 0, 0]
    assert [visit.exit for visit in walked.visits] == ["homogeneous", "linear", "linear", "homogeneous", None]
    escapes = [1756.13596, 1761.3296, 1765.3895, 16159.3818]
    assert walked.escapes_predicted[:-1] == pytest.approx(escapes, abs=5e-3)
    assert walked.escapes_measured[:-1] == pytest.approx(escapes, abs=5e-3)
    assert np.isnan(walked.escapes_predicted[-1])
    assert walked.dwells_predicted[:-1].sum() == pytest.approx(escapes[-1], abs=5e-3)
    assert walked.supports.sum(axis=1).tolist() == [0, 1, 1, 1, 2]
    assert walked.visits[3].point.kind.name == "DEGENERATE_SADDLE"


def test_integration_alone_finds_the_same_visits(walked):
    found = saddles.saddle_itinerary(*_four_squares(), 1e-3, mode="integrate")
    assert found.status.name == "REACHED_MINIMUM"
    assert found.losses == pytest.approx(walked.losses, abs=1e-10)
    assert np.array_equal(found.indices, walked.indices)
    assert np.array_equal(found.supports, walked.supports)
    assert found.escapes_measured[:-1] == pytest.approx(walked.escapes_measured[:-1], abs=1e-4)
    assert np.all(np.isnan(found.escapes_predicted))


@pytest.mark.parametrize("mode", ["predict", pytest.param("integrate", marks=pytest.mark.slow)])
def test_where_no_correlation_is_positive_small_weights_stay_near_the_origin(mode):
    # The network (w·x)² with x = e₁, y = −1.
    problem = td.FunctionRisk(lambda w: 0.5 * (w[0] ** 2 + 1.0) ** 2, np.ones(2))
    found = saddles.saddle_itinerary(problem, np.array([0.6, 0.8]), 1e-3, mode=mode, groups=(np.arange(2),))
    assert found.status.name == "NEAR_ORIGIN"
    assert len(found.visits) == 1
    if found.path is not None:
        assert np.all(np.diff(np.linalg.norm(found.path.thetas, axis=1)) <= 0)


def test_prediction_reaches_a_scale_of_1e_minus_30(walked):
    found = saddles.saddle_itinerary(*_four_squares(), 1e-30, mode="predict")
    scaled = found.escapes_predicted[:-1] * 1e-30
    assert scaled == pytest.approx([1.7566334, 1.7566334, 1.7566334, 16.1498680], rel=1e-6)
    assert found.losses == pytest.approx(walked.losses, abs=1e-10)
    assert found.path is None
    assert np.all(np.isnan(found.escapes_measured))
    # Dwells survive although the sum cannot hold them.
    assert 20 < found.dwells_predicted[1] < 40


def test_max_saddles_stops_once_the_first_has_been_left():
    found = saddles.saddle_itinerary(*_four_squares(), 1e-30, mode="predict", max_saddles=1)
    assert found.status.name == "MAX_SADDLES"
    assert len(found.visits) == 3
    assert np.isfinite(found.escapes_predicted[1])


@pytest.mark.slow
def test_the_closest_approach_falls_at_the_predicted_exponent():
    problem = squares((3.0, 1.5, -1.5, 0.5))
    found = [
        saddles.saddle_itinerary(problem, nudged(), scale, max_saddles=1) for scale in (1e-4, 1e-5, 1e-6)
    ]
    closest = np.array([walk.visits[1].closest_approach for walk in found])
    assert closest == pytest.approx([3.45e-3, 1.29e-3, 4.80e-4], rel=2e-3)
    slopes = np.diff(np.log(closest)) / np.log(0.1)
    assert slopes == pytest.approx([3 / 7, 3 / 7], abs=5e-3)
    assert found[-1].visits[1].approach_exponent == pytest.approx(3 / 7, abs=5e-3)


def _linear_modes():
    x = np.sqrt(3) * np.eye(3)
    y = x @ np.array([[2.0, 0, 0], [0, 1, 0]]).T
    problem = td.EmpiricalRisk(td.linear([3, 5, 2]), td.squared, x, y)
    return problem, np.random.default_rng(5).normal(size=25)


def test_linear_networks_learn_their_modes_at_the_predicted_times():
    tiny = saddles.saddle_itinerary(*_linear_modes(), 1e-30, mode="predict")
    assert tiny.escapes_predicted[:-1] == pytest.approx([34.948299, 69.634959], abs=1e-4)


@pytest.mark.slow
def test_linear_networks_learn_their_modes_when_integrated_too():
    both = saddles.saddle_itinerary(*_linear_modes(), 1e-6)
    assert both.escapes_predicted[:-1] == pytest.approx([7.317278, 14.372917], abs=1e-4)
    assert both.escapes_measured[:-1] == pytest.approx([7.317278, 14.372917], abs=1e-4)


def test_the_diagonal_reference_switches_a_coordinate_off_and_on():
    problem, x, y = sparse_regression()
    found = saddles.diagonal_itinerary(x, y)
    times = [0, 0.199165, 0.587387, 7.281852, 13.212338, 23.54456, 25.905355]
    assert found.times == pytest.approx(times, abs=1e-5)
    supports = [set(np.flatnonzero(row) + 1) for row in found.coefficients]
    assert supports == [set(), {1}, {1, 4}, {1, 3, 4}, {1, 2, 3}, {1, 2, 3, 5}, {1, 2, 3, 4, 5}]
    indices = []
    for row in found.coefficients:
        u = np.sqrt(np.abs(row))
        indices.append(saddles.morse_index(problem, np.r_[u, np.sign(row) * u]).negative)
    assert indices == [5, 4, 3, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("scale", "clock"),
    [
        (1e-8, [0.202756, 0.551302, 7.154118, 13.058696, 19.889285, 21.122940]),
        pytest.param(
            1e-30, [0.200122, 0.577764, 7.248023, 13.171080, 22.221088, 24.895028], marks=pytest.mark.slow
        ),
    ],
    ids=["1e-8", "1e-30"],
)
def test_diagonal_walks_at_finite_scale_are_those_of_the_exact_flow(scale, clock):
    # Clocks: Radau for S′ = −∇L(b), b = α² sinh(2S), which resolves any α, read at the means of the reference's losses.
    problem, x, y = sparse_regression()
    found = saddles.saddle_itinerary(
        problem, np.r_[np.ones(5), np.zeros(5)], scale * np.sqrt(10), mode="predict"
    )
    assert found.status.name == "REACHED_MINIMUM"
    assert found.escapes_predicted[:-1] / np.log(1 / scale) == pytest.approx(clock, rel=1e-5)
    # The same supports as in the limit, although the last saddles are left before they are reached.
    limit = saddles.diagonal_itinerary(x, y)
    assert np.array_equal(found.supports, limit.coefficients != 0)
    assert found.losses == pytest.approx(limit.losses, abs=1e-9)
    assert [visit.settled for visit in found.visits[-3:]] == [False, False, True]


@pytest.mark.slow
def test_generic_data_walk_as_predicted_and_keep_their_dead_neurons():
    problem, start = generic()
    found = saddles.saddle_itinerary(problem, start, 1e-3)
    escapes = [96100.98, 142158.82, 152031.0]
    assert found.escapes_predicted[:-1] == pytest.approx(escapes, rel=1e-5)
    assert found.escapes_measured[:-1] == pytest.approx(escapes, rel=1e-5)
    assert found.losses == pytest.approx([0.246698, 0.222067, 0.055684, 0.0], abs=1e-6)
    assert found.supports.sum(axis=1).tolist() == [0, 1, 2, 3]
    first = td.flow(problem, 1e-3 * start, until=td.Until(time=1.1e5), saves="log", progress=False)
    kept = saddles.sparsity(first, saddles.neuron_groups(problem), scale=1e-3)
    assert kept.alive[-1].sum() == 1
    assert kept.preserved
    assert kept.worst_dead < 1


def test_an_exactly_stable_start_stays_until_it_is_perturbed():
    problem = td.EmpiricalRisk(td.diagonal(1), td.squared, np.ones((1, 1)), np.ones(1))
    with pytest.warns(saddles.StableManifoldWarning):
        stuck = saddles.saddle_itinerary(problem, np.array([1.0, -1.0]), 0.014, mode="predict")
    assert stuck.status.name == "ON_STABLE_MANIFOLD"
    assert len(stuck.visits) == 1
    nudge = saddles.saddle_itinerary(problem, np.array([1.0, -1.0]), 0.014, mode="predict", perturb=1e-12)
    assert nudge.status.name == "REACHED_MINIMUM"
    # The unstable amplitude is the perturbation's part along (1, 1), of rate 1; ½(1 − uv)² is ¼ at uv = 1 − 1/√2.
    noise = np.random.default_rng([0]).normal(size=2)
    amplitude = 0.014e-12 * abs(noise.sum()) / np.sqrt(2) / np.linalg.norm(noise)
    product = 1 - np.sqrt(0.5)
    exact = 0.5 * np.log(product / (1 - product)) - 0.5 * np.log(0.5 * amplitude**2)
    assert nudge.escapes_predicted[0] == pytest.approx(exact, abs=1e-3)


@pytest.mark.slow
def test_rounding_is_named_where_it_breaks_a_symmetry():
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    problem = td.FunctionRisk(_RotatedProduct(turn), np.ones(2))
    start = turn.T @ np.array([1.0, -1.0])
    found = saddles.saddle_itinerary(problem, start, 0.014, mode="integrate")
    assert any("rounding" in note for note in found.notes)
    assert found.escapes_measured[0] == pytest.approx(42.5, abs=5)
    plain = td.EmpiricalRisk(td.diagonal(1), td.squared, np.ones((1, 1)), np.ones(1))
    nudged = saddles.saddle_itinerary(plain, np.array([1.0, -1.0]), 0.014, perturb=1e-12)
    assert nudged.escapes_measured[0] == pytest.approx(nudged.escapes_predicted[0], abs=0.01)


class _RotatedProduct:
    """L = ½(1 − uv)² with (u, v) = turn @ θ."""

    def __init__(self, turn):
        self.turn = turn

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return isinstance(other, _RotatedProduct)

    def __call__(self, theta):
        u = self.turn[0, 0] * theta[0] + self.turn[0, 1] * theta[1]
        v = self.turn[1, 0] * theta[0] + self.turn[1, 1] * theta[1]
        return 0.5 * (1.0 - u * v) ** 2


def _summary(walk):
    return walk.losses, walk.escapes_predicted[:-1], walk.indices


@pytest.mark.slow
def test_walks_do_not_depend_on_coordinates_order_of_neurons_or_copies_of_data():
    rng = np.random.default_rng(8)
    x, theta = rng.normal(size=(10, 4)), rng.normal(size=25)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.maximum(x[:, 0], 0) ** 2 - np.maximum(x[:, 1], 0) ** 2
    network = td.two_layer(4, 5, "squared_relu")

    def walk(x, y, theta, scale=1e-3):
        problem = td.EmpiricalRisk(network, td.squared, x, y)
        return saddles.saddle_itinerary(problem, theta, scale, mode="predict", max_saddles=1)

    losses, escapes, indices = _summary(walk(x, y, theta))
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    turned = np.r_[(theta[:20].reshape(5, 4) @ rotation).ravel(), theta[20:]]
    order = rng.permutation(5)
    permuted = np.r_[theta[:20].reshape(5, 4)[order].ravel(), theta[20:][order]]
    doubled = (np.concatenate([x, x]), np.concatenate([y, y]), theta)
    for other in (walk(x @ rotation, y, turned), walk(x, y, permuted), walk(*doubled)):
        assert other.losses == pytest.approx(losses, rel=1e-6, abs=1e-12)
        assert other.escapes_predicted[:-1] == pytest.approx(escapes, rel=1e-6)
        assert np.array_equal(other.indices, indices)
    # y → c·y with θ → c^{1/3}θ: losses × c², times × c^{−4/3}.
    factor = 2.0
    larger = walk(x, factor * y, theta, 1e-3 * factor ** (1 / 3))
    assert larger.losses == pytest.approx(factor**2 * losses, rel=1e-6, abs=1e-12)
    assert larger.escapes_predicted[:-1] == pytest.approx(factor ** (-4 / 3) * escapes, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_prediction_and_integration_agree_on_random_problems(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 3))
    problem = td.EmpiricalRisk(td.two_layer(3, 6, "squared_relu"), td.squared, x, rng.normal(size=20))
    walk = saddles.saddle_itinerary(problem, rng.normal(size=24), 1e-3, max_saddles=3)
    seen = np.isfinite(walk.escapes_measured) & np.isfinite(walk.escapes_predicted)
    assert seen.sum() >= 2
    # Also where visits overlap the next departure.
    assert walk.escapes_measured[seen] == pytest.approx(walk.escapes_predicted[seen], rel=1e-5)
    # Between two escapes the integrated run lives on the neurons of the visit.
    groups = saddles.neuron_groups(problem)
    for visit in range(1, int(seen.sum())):
        middle = 0.5 * (walk.escapes_measured[visit - 1] + walk.escapes_measured[visit])
        theta = walk.path.thetas[np.searchsorted(walk.path.ts, middle)]
        norms = np.array([np.linalg.norm(theta[group]) for group in groups])
        if walk.visits[visit].settled:
            assert np.array_equal(norms > 0.03 * norms.max(), walk.supports[visit])


def test_networks_that_are_not_homogeneous_are_integrated_but_not_predicted():
    rng = np.random.default_rng(9)
    problem = td.EmpiricalRisk(
        td.two_layer(2, 2, "tanh"), td.squared, rng.normal(size=(6, 2)), rng.normal(size=6)
    )
    with pytest.raises(saddles.NotHomogeneousError):
        saddles.saddle_itinerary(problem, np.ones(6), 1e-3, mode="predict")
    with pytest.raises(saddles.NotHomogeneousError):
        saddles.saddle_itinerary(problem, np.ones(6), 1e-3)


@pytest.mark.slow
def test_networks_that_are_not_homogeneous_are_integrated():
    rng = np.random.default_rng(9)
    problem = td.EmpiricalRisk(
        td.two_layer(2, 2, "tanh"), td.squared, rng.normal(size=(6, 2)), rng.normal(size=6)
    )
    found = saddles.saddle_itinerary(problem, rng.normal(size=6), 0.5, mode="integrate", budget=60)
    assert found.degree is None
    assert found.path is not None
    assert found.visits[-1].point.loss < found.path.losses[0]


def test_bad_arguments_are_named():
    problem, start = _four_squares()
    with pytest.raises(saddles.SaddlesError, match="mode"):
        saddles.saddle_itinerary(problem, start, 1e-3, mode="guess")
    with pytest.raises(saddles.SaddlesError, match="direction"):
        saddles.saddle_itinerary(problem, np.zeros(25), 1e-3)
    with pytest.raises(errors.PrecisionError, match="predict"):
        saddles.saddle_itinerary(problem, start, 1e-150, mode="integrate")


def test_a_budget_returns_what_was_found():
    found = saddles.saddle_itinerary(*_four_squares(), 1e-3, mode="predict", budget=1e-9)
    assert found.status.name == "BUDGET_SPENT"
    assert len(found.visits) == 1
