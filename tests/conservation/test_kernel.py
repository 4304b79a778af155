"""The kernel test: where theory says that the flow closes, and where it says that it does not."""

import jax
import numpy as np
import pytest
import sympy

from thetadot.conservation import (
    ConservationError,
    FunctionLift,
    KernelStatus,
    Laws,
    LinearLift,
    PolynomialLift,
    kernel_test,
    lift_metric,
    relaxed_balanced_init,
)


def relaxed(widths, values):
    return np.asarray(relaxed_balanced_init(jax.random.key(0), widths, values))


def generic(lift):
    return np.random.default_rng(1).normal(size=lift.size)


@pytest.mark.parametrize(
    ("widths", "values", "kernel"),
    [((3, 2, 3), (0.7,), 1), ((2, 2, 2, 2), (0.5, 0.2), 2), ((1, 2, 2), (1.0,), 1)],
)
def test_relaxed_balanced_starts_pass(widths, values, kernel):
    found = kernel_test(LinearLift(widths), relaxed(widths, values))
    assert (found.level_kernel_dimension, found.status) == (kernel, KernelStatus.KERNEL_INCLUDED)
    assert found.variation <= 1e-10
    assert found.gap > 1e3


@pytest.mark.parametrize(("widths", "kernel"), [((3, 2, 3), 1), ((2, 5, 2), 2)])
def test_generic_starts_do_not(widths, kernel):
    lift = LinearLift(widths)
    found = kernel_test(lift, generic(lift))
    assert (found.level_kernel_dimension, found.status) == (kernel, KernelStatus.NOT_INTRINSIC)
    assert found.variation >= 1e-2


def test_relaxed_balance_does_not_help_where_the_rank_is_too_small():
    found = kernel_test(LinearLift((1, 2, 3)), relaxed((1, 2, 3), (1.0,)))
    assert found.status is KernelStatus.NOT_INTRINSIC
    assert found.variation >= 1e-2


def test_a_single_neuron_is_recoverable_from_anywhere():
    lift = LinearLift((3, 1, 3))
    found = kernel_test(lift, generic(lift))
    assert found.recoverable
    assert found.status is KernelStatus.RECOVERABLE


def test_the_laws_that_are_assumed_decide_what_a_failure_means():
    x, y = sympy.symbols("x y")
    lift, point = PolynomialLift([x**2 + 2 * y**2], [x, y]), np.array([1.0, 2.0])
    assert kernel_test(lift, point).status is KernelStatus.RECOVERABLE
    assert kernel_test(lift, point, laws=None).status is KernelStatus.UNDECIDED
    assert kernel_test(lift, point, laws="known").status is KernelStatus.UNDECIDED  # it has no known laws
    own = Laws.polynomial([y], [x, y])
    assert kernel_test(lift, point, laws=own).recoverable


def test_a_metric_that_is_a_function_of_the_lift_passes_without_laws():
    symbols = sympy.symbols("x y z")
    lift = PolynomialLift([sum(s**2 for s in symbols)], symbols)
    found = kernel_test(lift, np.array([1.0, 2.0, 3.0]), laws=None)
    assert (found.kernel_dimension, found.status) == (2, KernelStatus.KERNEL_INCLUDED)
    assert lift_metric(lift, np.array([1.0, 2.0, 3.0])).matvec(np.ones(1))[0] == pytest.approx(4 * 14)


def test_ranks_without_a_clear_gap_are_called_ambiguous():
    decades = 10.0 ** -np.arange(0, 16, 2)
    found = kernel_test(FunctionLift(lambda theta: theta[0] + decades * theta, 8), np.ones(8), laws=None)
    assert found.status is KernelStatus.AMBIGUOUS
    assert found.gap < 1e3


def test_bad_arguments_are_named():
    with pytest.raises(ConservationError, match="laws is 'all'"):
        kernel_test(LinearLift((1, 1, 1)), np.ones(2), laws="all")
    with pytest.raises(ConservationError, match="shape"):
        kernel_test(LinearLift((1, 1, 1)), np.ones(3))
