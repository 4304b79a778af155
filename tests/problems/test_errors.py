"""Bad input: an error of our own, early, in one line that names the way out."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.problems import (
    DataError,
    HessianTooLargeError,
    LabelError,
    NoPredictionError,
    ProblemError,
    ShapeError,
)

X, Y, CLASSES = np.arange(12.0).reshape(4, 3), np.ones((4, 2)), np.array([0, 1, 1, 0])
NET = td.mlp([3, 4, 2])


def poisoned(array, place, value):
    array = np.array(array, float)
    array[place] = value
    return array


def one_loss(prediction, label):
    return jnp.sum(prediction) * label


@pytest.mark.parametrize(
    ("network", "loss", "x", "y", "error", "words"),
    [
        (
            NET,
            "squared",
            poisoned(X, (1, 2), np.nan),
            Y,
            DataError,
            r"x has 1 entries .* first at index \(1, 2\)",
        ),
        (
            NET,
            "squared",
            X,
            poisoned(Y, (0, 1), np.inf),
            DataError,
            r"y has 1 entries that are NaN or infinite",
        ),
        (NET, "squared", X[:0], Y[:0], DataError, "no samples"),
        (NET, "squared", X, Y[:3], ShapeError, r"x has shape \(4, 3\) and y \(3, 2\)"),
        (NET, "squared", X[:, :2], Y, ShapeError, r"takes samples of shape \(3,\), given .* shape \(2,\)"),
        (
            NET,
            "squared",
            X,
            Y[:, :1],
            ShapeError,
            r"predictions of shape \(2,\), the labels have shape \(1,\)",
        ),
        (NET, "squared", X, Y[:, 0], ShapeError, r"predictions of shape \(2,\), the labels have shape \(\)"),
        (NET, "squared", X, 1.0, ShapeError, "expected N samples and N labels"),
        (NET, "squared", [[1.0, 2.0, 3.0], [1.0]], Y[:2], ShapeError, "rectangular"),
        (NET, one_loss, X, Y, ShapeError, "must return a float64 scalar"),
        (NET, "squared", X.astype(np.float32), Y, td.PrecisionError, "x has dtype float32"),
        (NET, "squared", X, jnp.asarray(Y, jnp.float32), td.PrecisionError, "y has dtype float32"),
        (NET, "squared", X.astype(complex), Y, td.PrecisionError, "x has dtype complex128"),
        (NET, "squared", X.astype(str), Y, td.PrecisionError, "x has dtype <U"),
        (
            NET,
            "cross_entropy",
            X,
            CLASSES + 1,
            LabelError,
            r"label 2 of sample 1 is not a class 0 … 1 .* 2 labels",
        ),
        (NET, "cross_entropy", X, -CLASSES, LabelError, "label -1 of sample 1"),
        (NET, "cross_entropy", X, CLASSES + 0.0, LabelError, "integer labels"),
        (NET, "cross_entropy", X, CLASSES[:, None], LabelError, r"of shape \(4, 1\)"),
        (td.mlp([3, 1]), "logistic", X, CLASSES, LabelError, r"label 0.0 of sample 0 is not ±1"),
        (
            NET,
            "logistic",
            X,
            poisoned(Y, (2, 1), 0.5),
            LabelError,
            "label 0.5 of sample 2 is not ±1; 1 labels",
        ),
    ],
)
def test_bad_data_are_named_in_one_line(network, loss, x, y, error, words):
    with pytest.raises(error, match=words) as caught:
        td.EmpiricalRisk(network, loss, x, y)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, td.ThetadotError)
    assert isinstance(caught.value, ValueError)


def test_errors_of_problems_have_a_root_of_their_own():
    assert issubclass(ShapeError, ProblemError)
    assert issubclass(ProblemError, td.ThetadotError)


@pytest.fixture(scope="module")
def problem():
    return td.EmpiricalRisk(NET, td.squared, X, Y)


@pytest.mark.parametrize(
    "method", ["loss", "value_and_grad", "hessian", "linearize", "sample_losses", "unravel"]
)
def test_theta_of_another_size_or_precision_is_named(problem, method):
    call = getattr(problem, method)
    with pytest.raises(ShapeError, match=r"theta has shape \(27,\), this problem needs .* \(26,\)"):
        call(np.zeros(27))
    with pytest.raises(ShapeError, match=r"theta has shape \(26, 1\)"):
        call(np.zeros((26, 1)))
    with pytest.raises(td.PrecisionError, match="theta has dtype float32"):
        call(np.zeros(26, np.float32))


def test_vectors_and_batches_of_another_shape_are_named(problem):
    with pytest.raises(ShapeError, match=r"v has shape \(3,\)"):
        problem.hvp(np.zeros(26), np.zeros(3))
    with pytest.raises(ShapeError, match=r"batch \(N, …\) of samples of shape \(3,\)"):
        problem.predict(np.zeros(26), np.zeros(3))
    with pytest.raises(td.PrecisionError, match="x has dtype float32"):
        problem.predict(np.zeros(26), np.zeros((1, 3), np.float32))


def test_a_batch_of_other_samples_must_suit_the_network(problem):
    with pytest.raises(ShapeError, match=r"takes samples of shape \(3,\), given a sample of shape \(4,\)"):
        problem.predict(np.zeros(26), np.zeros((2, 4)))


def test_a_hessian_that_would_fill_the_memory_is_refused():
    large = td.FunctionRisk(jnp.sum, np.ones(50_000))
    with pytest.raises(HessianTooLargeError, match=r"50000 parameters takes 19 GiB, .* use hvp or linearize"):
        large.hessian(np.ones(50_000))


def test_traced_arguments_are_checked_for_shape_and_precision_too(problem):
    with pytest.raises(ShapeError, match=r"shape \(27,\)"):
        jax.eval_shape(problem.loss, jax.ShapeDtypeStruct((27,), np.float64))
    with pytest.raises(td.PrecisionError):
        jax.eval_shape(problem.loss, jax.ShapeDtypeStruct((26,), np.float32))


def test_problems_can_be_built_from_traced_data():
    def loss(x):
        return td.EmpiricalRisk(NET, td.squared, x, jnp.asarray(Y)).loss(jnp.ones(26))

    traced = jax.jit(loss)(jnp.asarray(X))
    np.testing.assert_allclose(traced, loss(jnp.asarray(X)), rtol=1e-14)


def test_integer_data_become_float64():
    problem = td.EmpiricalRisk(NET, td.squared, X.astype(int), Y.astype(np.int32))
    assert problem.x.dtype == problem.y.dtype == np.float64
    np.testing.assert_array_equal(problem.x, X)
    assert float(problem.loss(np.zeros(26, int))) == 1.0


def test_labels_of_one_number_may_be_flat():
    flat = td.EmpiricalRisk(td.two_layer(3, 2), td.squared, X, Y[:, 0])
    tall = td.EmpiricalRisk(td.two_layer(3, 2), td.squared, X, Y[:, :1])
    assert flat.y.shape == (4, 1)
    assert float(flat.loss(np.ones(8))) == float(tall.loss(np.ones(8)))


def test_labels_for_a_loss_of_ones_own_keep_their_integers():
    def margin(prediction, label):
        return jnp.max(prediction) - prediction[label]

    problem = td.EmpiricalRisk(NET, margin, X, CLASSES)
    assert problem.y.dtype == np.int64
    assert problem.y.shape == (4,)
    assert problem.sample_loss is margin
    assert "margin" in problem.description


def test_a_function_of_the_parameters_predicts_nothing():
    problem = td.FunctionRisk(lambda t: jnp.sum(t**2), np.ones(2))
    with pytest.raises(NoPredictionError, match="EmpiricalRisk"):
        problem.predict(np.ones(2), X)


@pytest.mark.parametrize(
    ("function", "example", "error", "words"),
    [
        (lambda t: t, np.ones(2), ShapeError, "must return a float64 scalar"),
        (lambda t: t["missing"], {"a": np.ones(2)}, ShapeError, "f cannot take theta_example"),
        (jnp.sum, np.ones(2, np.float32), td.PrecisionError, "theta_example has dtype float32"),
        (jnp.sum, np.array([1.0, np.nan]), DataError, "NaN"),
        (jnp.sum, np.ones(0), td.problems.NetworkError, "no parameters"),
    ],
)
def test_functions_that_are_no_risk_are_named(function, example, error, words):
    with pytest.raises(error, match=words):
        td.FunctionRisk(function, example)


def test_without_x64_problems_and_data_say_so_at_once():
    script = """
import numpy as np, thetadot as td
for build in (
    lambda: td.EmpiricalRisk(td.mlp([1, 1]), "squared", np.ones((1, 1)), np.ones((1, 1))),
    lambda: td.FunctionRisk(lambda t: t.sum(), np.ones(1)),
    lambda: td.data.iris(),
):
    try:
        build()
    except td.PrecisionError as error:
        assert "THETADOT_X64" in str(error)
    else:
        raise SystemExit("no error")
"""
    environment = {**os.environ, "THETADOT_X64": "0"}
    environment.pop("JAX_ENABLE_X64", None)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
