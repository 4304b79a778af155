"""Counts of laws against numbers derived by hand, closed formulas, and brute force."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import thetadot as td
from tests.conservation.gated_paths import laws_by_paths, random_network
from thetadot.conservation import (
    BlockLift,
    ConservationError,
    CountStatus,
    Edge,
    FunctionLift,
    Laws,
    LinearLift,
    MonomialLift,
    NotALawError,
    NotPolynomialError,
    PathGraph,
    PathLift,
    PolynomialLift,
    RankAmbiguousWarning,
    RestrictedLift,
    attention_lift,
    brackets,
    check_certificate,
    count_laws,
    known_laws,
    layered_graph,
    mirror_fields,
    momentum_fields,
    output_lift,
    zero_sum,
)

X, Y = sympy.symbols("x y")


def proved(count):
    """Whether a count is proved, tells so consistently, and its certificate passes the checker."""
    consistent = count.lower == count.laws == count.upper and count.error_probability == 0.0
    return count.status is CountStatus.PROVED and consistent and check_certificate(count.certificate)


def relu(widths, bias=False):
    return PathLift(layered_graph(widths, bias))


def test_a_product_of_three_numbers_keeps_two_laws():
    count = count_laws(MonomialLift(np.array([[1, 1, 1]])))
    assert (count.size, count.lie_dimension, count.laws) == (3, 1, 2)
    assert proved(count)


@pytest.mark.parametrize(
    ("widths", "ranks", "laws"),
    [
        ((2, 2, 2), (4, 5), 3),
        ((3, 2, 3), (8, 9), 3),
        ((2, 5, 2), (4, 6), 14),
        ((2, 2, 2, 2), (4, 6), 6),
        ((2, 3, 2), (4, 6), 6),
        ((2, 4, 4, 2), (4, 8, 12), 20),
        ((3, 2, 2, 3), (8, 10), 6),
    ],
)
def test_brackets_of_linear_networks_grow_as_derived_and_leave_the_balancedness_laws(widths, ranks, laws):
    count = count_laws(LinearLift(widths), method="brackets and laws")
    assert (count.ranks, count.laws, count.extra) == (ranks, laws, 0)
    assert proved(count)


def test_a_wide_layer_has_fewer_independent_laws_than_listed_ones():
    assert len(known_laws(LinearLift((2, 5, 2)))) == 15
    assert known_laws(LinearLift((2, 5, 2))).independent() == 14


def test_a_network_of_65_parameters_needs_depth_three():
    count = count_laws(LinearLift((4, 5, 5, 4)), method="brackets and laws")
    assert (count.ranks, count.laws, count.status) == ((16, 34, 35), 30, CountStatus.PROVED)


def test_two_layer_counts_agree_with_the_orbits_of_the_orthogonal_group():
    for n, m, r in itertools.product(range(1, 4), range(1, 4), range(1, 7)):
        s = n + m
        expected = r * (r + 1) // 2 if r <= s else s * r - s * (s - 1) // 2
        for method in ("matrix algebra", "brackets and laws"):
            count = count_laws(LinearLift((m, r, n)), method=method)
            assert (count.laws, count.status) == (expected, CountStatus.PROVED), (n, m, r, method)


def test_at_special_points_the_matrix_algebra_still_decides():
    rank_one = np.array([1.0, 2, 2, 4, 1, 2, 3, 6])
    for theta, dimension in ((rank_one, 3), (np.zeros(8), 0)):
        count = count_laws(LinearLift((2, 2, 2)), theta=theta)
        assert (count.lie_dimension, count.status, count.local) == (dimension, CountStatus.PROVED, True)
        assert check_certificate(count.certificate)


def test_stagnation_at_a_special_point_of_a_deep_network_stays_open():
    count = count_laws(LinearLift((2, 2, 2, 2)), theta=np.ones(12))
    assert count.status is CountStatus.OPEN
    assert count.laws is None
    assert count.lower <= count.upper
    assert count.certificate is None


@pytest.mark.parametrize(
    ("widths", "bias", "size", "dimension", "laws"),
    [
        ((2, 3, 2), False, 12, 9, 3),
        ((2, 3, 2), "hidden", 15, 12, 3),
        ((2, 3, 2), True, 17, 14, 3),
        ((2, 3, 3, 2), False, 21, 15, 6),
    ],
)
def test_relu_networks_keep_one_law_per_neuron_and_no_more(widths, bias, size, dimension, laws):
    lift = relu(widths, bias)
    for method in ("incidence", "brackets and laws"):
        count = count_laws(lift, method=method)
        assert (count.size, count.lie_dimension, count.laws, count.extra) == (size, dimension, laws, 0)
        assert count.ranks == (dimension,)  # involutive: no bracket adds anything
        assert proved(count)


def test_three_layers_of_relu_have_36_paths():
    lift = relu((2, 3, 3, 2))
    assert lift.dimension == 36
    assert np.linalg.matrix_rank(lift.incidence().toarray().astype(float)) == 15


def test_tied_kernels_keep_one_law():
    edges = [Edge(f"x{i + j}", f"h{i}", j) for i in range(2) for j in range(2)]
    edges += [Edge(f"h{j}", "y", 2 + j) for j in range(2)]
    lift = PathLift(PathGraph(["x0", "x1", "x2"], ["y"], edges))
    count = count_laws(lift)
    assert (count.size, count.lie_dimension, count.laws) == (4, 3, 1)
    assert sorted(np.abs(lift.potentials().toarray()).ravel().tolist()) == [1, 1, 1, 1]
    assert lift.potentials().toarray().ravel().tolist() in ([1, 1, -1, -1], [-1, -1, 1, 1])
    assert proved(count)


def residual_blocks(blocks):
    edges, parameter = [], 0
    state = ["x0", "x1"]
    for block in range(blocks):
        hidden = [f"h{block}{k}" for k in range(2)]
        after = [f"s{block}{k}" for k in range(2)]
        for tails, heads in ((state, hidden), (hidden, after)):
            for head in heads:
                for tail in tails:
                    edges.append(Edge(tail, head, parameter))
                    parameter += 1
        edges += [Edge(a, b) for a, b in zip(state, after, strict=True)]
        state = after
    linear = [f"s{block}{k}" for block in range(blocks - 1) for k in range(2)]
    return PathLift(PathGraph(["x0", "x1"], state, edges, linear))


def test_a_residual_block_keeps_the_laws_of_the_bare_block():
    count = count_laws(residual_blocks(1))
    assert (count.size, count.laws) == (8, 2)
    assert count.laws == count_laws(relu((2, 2, 2))).laws
    assert proved(count)


def test_two_residual_blocks_on_a_linear_stream_keep_four():
    count = count_laws(residual_blocks(2), method="brackets and laws")
    assert (count.size, count.lie_dimension, count.laws) == (16, 12, 4)
    assert proved(count)


def test_a_graph_of_linear_nodes_is_the_linear_network():
    graph = PathLift(layered_graph((2, 2, 2, 2), linear=True))
    linear = LinearLift((2, 2, 2, 2))
    theta = np.random.default_rng(0).normal(size=12)
    np.testing.assert_allclose(graph(theta), linear(theta), rtol=1e-14)
    ours, theirs = count_laws(graph), count_laws(linear)
    assert (ours.lie_dimension, ours.laws, ours.extra) == (theirs.lie_dimension, theirs.laws, 0)
    assert proved(ours)


def test_a_law_that_is_no_polynomial_is_proved_to_exist():
    count = count_laws(PolynomialLift([X**2 + 2 * Y**2], [X, Y]), method="closure")
    assert (count.laws, count.known, count.extra, count.method) == (1, 0, 1, "closure")
    assert proved(count)


@pytest.mark.parametrize("widths", [(1, 2, 2, 1), (1, 3, 3, 1), (2, 1, 2, 2, 1), (1, 2, 2, 2, 1)])
def test_laws_beyond_balancedness_are_found_and_proved(widths):
    count = count_laws(LinearLift(widths))
    assert count.extra > 0
    assert proved(count)
    if widths == (1, 2, 2, 1):  # the same dimension by numerical brackets at a real point
        assert count_laws(LinearLift(widths), arithmetic="float64").lie_dimension == count.lie_dimension


def test_cross_entropy_adds_the_column_sums():
    linear = count_laws(zero_sum(LinearLift((2, 3, 3))))
    assert (linear.lie_dimension, linear.laws, linear.extra) == (6, 9, 0)
    assert proved(linear)
    for bias, laws in ((False, 6), (True, 7)):
        lift = zero_sum(relu((2, 3, 2), bias))
        for method in ("column sums", "brackets and laws"):
            count = count_laws(lift, method=method)
            assert (count.laws, count.extra) == (laws, 0)
            assert len(count.ranks) == 1
            assert proved(count)


def test_a_classifier_of_digits_keeps_65_laws():
    count = count_laws(zero_sum(relu((64, 32, 10), True)))
    assert (count.size, count.laws, count.method) == (2410, 65, "column sums")
    assert proved(count)


def test_a_restriction_written_out_counts_as_the_zero_sum():
    lift = LinearLift((2, 3, 3))
    differences = np.kron(np.array([[1, 0], [0, 1], [-1, -1]]), np.eye(2, dtype=int))
    count = count_laws(RestrictedLift(lift, differences))
    assert (count.laws, count.known) == (9, 6)  # the sums are laws that only zero_sum names
    theta = np.random.default_rng(0).normal(size=15)
    np.testing.assert_allclose(RestrictedLift(lift, differences)(theta), zero_sum(lift)(theta), rtol=1e-13)


def test_the_value_of_a_fixed_weight_does_not_matter():
    counts = []
    for constant in (1.0, -3.5):
        edges = [
            Edge("x", "a", 0),
            Edge("a", "b", None, constant),
            Edge("b", "y", 1),
            Edge("x", "y", None, 2.0),
        ]
        counts.append(count_laws(PathLift(PathGraph(["x"], ["y"], edges))))
        assert proved(counts[-1])
    assert [count.laws for count in counts] == [1, 1]


def test_one_output_has_no_differences():
    with pytest.raises(ConservationError, match="one output"):
        zero_sum(relu((2, 3, 1)))


@pytest.mark.parametrize(
    ("lift", "laws", "dimension"),
    [
        (LinearLift((2, 3, 1)), 3, 16),
        (LinearLift((2, 2, 1)), 1, 12),
        (LinearLift((2, 4, 1)), 6, 19),
        (LinearLift((2, 2, 2, 2)), 2, 23),
        (LinearLift((2, 7, 1)), 21, 22),
        (relu((2, 2, 1)), 0, 13),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_momentum_keeps_rotations_of_linear_networks_and_nothing_of_relu(lift, laws, dimension):
    count = count_laws(momentum_fields(lift, 1))
    assert (count.size, count.laws, count.lie_dimension) == (2 * lift.size + 1, laws, dimension)
    assert proved(count)


def test_momentum_brackets_grow_as_derived():
    count = count_laws(momentum_fields(LinearLift((2, 3, 1)), 1), method="brackets and laws")
    assert (count.ranks, count.laws, count.status) == ((3, 5, 10, 14, 16), 3, CountStatus.PROVED)
    relu_count = count_laws(momentum_fields(relu((2, 2, 1)), 1), method="brackets and laws")
    assert (relu_count.ranks, relu_count.laws) == ((5, 9, 13), 0)


@pytest.mark.slow
def test_brackets_that_are_too_shallow_are_not_reported_as_a_count():
    fields = momentum_fields(LinearLift((2, 7, 1)), 1)
    count = count_laws(fields, method="brackets and laws", max_depth=8)
    assert count.status is CountStatus.OPEN
    assert count.upper == 22  # one law too many, were it believed


def test_stagnation_alone_is_closed_with_a_bound_on_its_error():
    count = count_laws(LinearLift((1, 2, 2, 1)), method="brackets and laws")
    assert (count.status, count.laws, count.lower, count.upper) == (CountStatus.CLOSED, 7, 6, 7)
    assert 0 < count.error_probability < 1e-15
    assert count.certificate is None


def test_too_shallow_brackets_stay_open():
    count = count_laws(LinearLift((2, 4, 4, 2)), method="brackets and laws", max_depth=2, laws=None)
    assert (count.status, count.laws, count.upper) == (CountStatus.OPEN, None, 24)


@pytest.mark.parametrize(("widths", "laws"), [((2, 2, 2), 2), ((2, 3, 2), 3)])
def test_multiplicative_updates_keep_one_sum_per_column(widths, laws):
    count = count_laws(mirror_fields(LinearLift(widths)))
    assert (count.laws, count.extra) == (laws, 0)
    assert proved(count)


def test_attention_is_two_linear_blocks_per_head():
    for heads in (1, 2):
        count = count_laws(attention_lift(3, 2, heads))
        assert count.laws == 2 * 3 * heads
        assert proved(count)
    whole = count_laws(attention_lift(3, 2), method="brackets and laws")
    assert whole.laws == 6


def test_blocks_of_disjoint_parameters_add():
    parts = [LinearLift((2, 2, 2)), relu((2, 3, 1)), MonomialLift(np.array([[2, 1, 0]]))]
    count = count_laws(BlockLift(parts))
    assert count.laws == sum(count_laws(part).laws for part in parts)
    assert count.dead == (8 + 9 + 2,)
    assert proved(count)
    whole = count_laws(BlockLift(parts), method="brackets and laws")
    assert (whole.laws, whole.status) == (count.laws, CountStatus.PROVED)


def test_counts_do_not_depend_on_prime_seed_or_the_order_of_parameters():
    rng = np.random.default_rng(3)
    expected = count_laws(LinearLift((3, 2, 2, 3)), method="brackets and laws").ranks
    for prime in (2**31 - 1, 2147483629, 1000003):
        for seed in range(5):
            count = count_laws(LinearLift((3, 2, 2, 3)), method="brackets and laws", prime=prime, seed=seed)
            assert (count.ranks, count.laws) == (expected, 6)
    exponents = relu((2, 3, 2)).incidence().toarray()
    for _ in range(3):
        shuffled = exponents[:, rng.permutation(12)]
        assert count_laws(MonomialLift(shuffled), method="brackets and laws").laws == 3


def test_exchanging_neurons_changes_no_count():
    names = [f"h{k}" for k in range(3)]
    first = [Edge(x, h, 2 * k + i) for k, h in enumerate(names) for i, x in enumerate("ab")]
    second = [Edge(h, "y", 6 + k) for k, h in enumerate(names)]
    for order in itertools.permutations(range(3)):
        moved = [e._replace(head=names[order[int(e.head[1])]]) for e in first]
        moved += [e._replace(tail=names[order[int(e.tail[1])]]) for e in second]
        assert count_laws(PathLift(PathGraph(["a", "b"], ["y"], moved))).laws == 3


def test_a_dead_edge_adds_exactly_one_law():
    edges = [Edge("x", "h", 0), Edge("h", "y", 1)]
    alive = count_laws(PathLift(PathGraph(["x"], ["y"], edges)))
    dead = count_laws(PathLift(PathGraph(["x"], ["y"], [*edges, Edge("h", "nowhere", 2)])))
    assert (alive.laws, alive.dead) == (1, ())
    assert (dead.laws, dead.dead) == (2, (2,))
    assert proved(dead)


def test_a_path_lift_counts_as_its_incidence():
    lift = relu((2, 3, 3, 2))
    listed = MonomialLift(lift.incidence())
    theta = np.random.default_rng(1).normal(size=lift.size)
    np.testing.assert_allclose(lift(theta), listed(theta), rtol=1e-14)
    assert count_laws(lift).laws == count_laws(listed).laws
    assert count_laws(listed).method == "incidence"


@pytest.mark.parametrize(
    "lift",
    [LinearLift((2, 3, 2)), LinearLift((2, 2, 2, 2)), relu((2, 3, 1), True)],
    ids=["two", "three", "relu"],
)
def test_numerical_ranks_agree_with_exact_ones_also_for_small_weights(lift):
    exact = count_laws(lift, method="brackets and laws")
    point = np.random.default_rng(4).normal(size=lift.size)
    for scale in (1.0, 0.01):
        count = count_laws(lift, arithmetic="float64", theta=scale * point)
        assert (count.ranks, count.laws, count.status) == (exact.ranks, exact.laws, CountStatus.CLOSED)
        assert count.gap > 1e3
        assert count.error_probability is None
        assert count.certificate is None


def test_numerical_counts_in_small_batches_are_the_same(monkeypatch):
    monkeypatch.setattr(brackets, "_REAL_BATCH", 7)
    for lift in (LinearLift((2, 2, 2, 2)), relu((2, 3, 1))):
        exact = count_laws(lift, method="brackets and laws")
        count = count_laws(lift, arithmetic="float64")
        assert (count.ranks, count.laws, count.status) == (exact.ranks, exact.laws, CountStatus.CLOSED)
        assert count.gap > 1e3


@pytest.mark.slow
def test_the_digits_network_of_tanh_keeps_its_33_sums_and_nothing_else():
    problem = td.EmpiricalRisk(td.mlp([64, 32, 10], "tanh"), td.cross_entropy, *td.data.digits())
    count = count_laws(output_lift(problem), arithmetic="float64", max_size=3000)
    assert (count.size, count.laws, count.extra, count.status) == (2410, 33, 0, CountStatus.CLOSED)
    assert count.gap > 1e3


def test_weights_over_four_decades_still_resolve():
    lift = LinearLift((2, 3, 2))
    point = np.random.default_rng(5).normal(size=12) * 10.0 ** np.linspace(0, -4, 12)
    count = count_laws(lift, arithmetic="float64", theta=point)
    assert (count.lie_dimension, count.status) == (6, CountStatus.CLOSED)


def test_laws_that_leave_no_room_for_the_gradients_are_refused():
    lift = FunctionLift(lambda theta: theta, 2, laws=Laws.quadratic([np.eye(2)]))
    with pytest.raises(NotALawError, match="cannot all be conserved"):
        count_laws(lift, arithmetic="float64")


def test_functions_are_counted_in_floats_only():
    lift = FunctionLift(lambda theta: jnp.sum(theta**2, keepdims=True), 3)
    assert count_laws(lift, arithmetic="float64").laws == 2
    with pytest.raises(NotPolynomialError, match="float64"):
        count_laws(lift)


def test_an_unclear_gap_is_refused():
    decades = 10.0 ** -np.arange(0, 16, 2)
    lift = FunctionLift(lambda theta: theta[0] + decades * theta, 8)
    with pytest.warns(RankAmbiguousWarning, match="no clear gap"):
        count = count_laws(lift, arithmetic="float64", theta=np.ones(8))
    assert (count.status, count.laws) == (CountStatus.OPEN, None)


def test_above_the_largest_size_only_bounds_are_given():
    count = count_laws(LinearLift((8, 8, 8, 8)), max_size=100)
    assert (count.status, count.laws, count.lower, count.upper) == (CountStatus.OPEN, None, 72, 192)
    assert "max_size" in count.note
    assert str(count) == "192 parameters, at least 72 independent laws: OPEN"


def test_a_function_that_is_no_law_is_refused_and_a_law_is_proved():
    lift = LinearLift((1, 1, 1))
    with pytest.raises(NotALawError, match="not conserved"):
        count_laws(lift, laws=Laws.quadratic([np.eye(2)]))
    count = count_laws(lift, laws=Laws.quadratic([np.diag([1.0, -1.0])]))
    assert (count.laws, count.known) == (1, 1)
    with pytest.raises(NotALawError, match="numbers"):
        count_laws(lift, laws=Laws.quadratic([np.eye(3)]))


@pytest.mark.parametrize(
    "bad", [{"method": "guess"}, {"arithmetic": "float32"}, {"theta": np.ones(3)}, {"prime": 10}]
)
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=r"expected|shape"):
        count_laws(LinearLift((2, 2, 2)), **bad)


@settings(max_examples=40)
@given(st.data())
def test_random_networks_agree_with_listed_paths(data):
    inputs, outputs, edges, size = random_network(
        lambda low, high: data.draw(st.integers(low, high)), data.draw(st.integers(4, 12))
    )
    if not size:
        return
    graph = PathGraph(inputs, outputs, edges)
    laws, dead = laws_by_paths(inputs, outputs, edges, size)
    count = count_laws(PathLift(graph))
    assert (count.laws, list(count.dead)) == (laws, dead)
    assert count.status is CountStatus.PROVED
    table = known_laws(PathLift(graph))
    assert table.independent() == laws
    theta = np.random.default_rng(0).uniform(0.5, 1.5, size)
    if PathLift(graph).dimension:
        incidence = PathLift(graph).incidence().toarray()
        assert not np.any(incidence @ PathLift(graph).potentials().toarray())
        jacobian = PathLift(graph).polynomials().jacobian(theta).toarray()
        assert np.abs(jacobian @ table.table.jacobian(theta).toarray().T).max(initial=0.0) < 1e-9
