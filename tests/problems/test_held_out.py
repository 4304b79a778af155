"""Held-out samples: what is never trained on is only looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thetadot as td
from thetadot.problems import DataError, LabelError, ShapeError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.integers(0, 4, size=12)
TEST_X, TEST_Y = RNG.normal(size=(7, 3)), RNG.integers(0, 4, size=7)
NETWORK = td.mlp([3, 5, 4], "tanh")


@pytest.fixture(scope="module")
def classes():
    """A classification with held-out samples, and a start."""
    problem = td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y, test=(TEST_X, TEST_Y))
    return problem, problem.init(jax.random.key(0))


def logits(theta, x):
    """The network, in NumPy."""
    w1, b1, w2, b2 = np.split(np.asarray(theta), [15, 20, 40])
    return np.tanh(x @ w1.reshape(5, 3).T + b1) @ w2.reshape(4, 5).T + b2


def test_held_out_samples_change_neither_risk_nor_gradient(classes):
    problem, theta = classes
    plain = td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y)
    for mine, other in zip(problem.value_and_grad(theta), plain.value_and_grad(theta), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert problem.description == plain.description
    assert problem.samples == 12


def test_the_held_out_loss_is_the_mean_over_the_held_out_samples(classes):
    problem, theta = classes
    scores = logits(theta, TEST_X)
    expected = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(7), TEST_Y])
    assert float(problem.test_loss(theta)) == pytest.approx(expected, rel=1e-12)


def test_accuracy_is_the_share_of_classes_that_are_predicted(classes):
    problem, theta = classes
    for part, x, y in (("train", X, Y), ("test", TEST_X, TEST_Y)):
        assert float(problem.accuracy(theta, part)) == np.mean(logits(theta, x).argmax(axis=1) == y)


def test_accuracy_of_signs_counts_those_that_agree():
    signs = np.array([1.0, -1.0, 1.0, 1.0])
    problem = td.EmpiricalRisk(td.linear([1, 1]), td.logistic, [[1.0], [-2.0], [-1.0], [3.0]], signs)
    assert float(problem.accuracy([2.0])) == 0.75
    assert float(problem.accuracy([0.0])) == 0.0  # a tie is no answer


def test_what_a_problem_cannot_tell_is_refused(classes):
    _, theta = classes
    plain = td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y)
    with pytest.raises(DataError, match=r"no held-out samples: give test=\(x, y\)"):
        plain.test_loss(theta)
    numbers = td.EmpiricalRisk(td.linear([3, 1]), td.squared, X, X[:, 0])
    with pytest.raises(DataError, match="squared loss has no classes"):
        numbers.accuracy(jnp.zeros(3))
    with pytest.raises(ShapeError, match=r"test x has shape \(7, 3\) and test y \(6,\)"):
        td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y, test=(TEST_X, TEST_Y[:6]))
    with pytest.raises(LabelError, match="is not a class"):
        td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y, test=(TEST_X, TEST_Y + 4))


def test_a_path_observes_train_and_test(classes):
    problem, theta = classes
    path = td.descend(
        problem,
        theta,
        td.GradientDescent(0.5),
        20,
        observe=["test_loss", "accuracy", "test_accuracy"],
        progress=False,
    )
    for row in (0, -1):
        there = path.thetas[row]
        assert path.observed["test_loss"][row] == pytest.approx(float(problem.test_loss(there)), rel=1e-12)
        assert path.observed["accuracy"][row] == float(problem.accuracy(there))
        assert path.observed["test_accuracy"][row] == float(problem.accuracy(there, "test"))


def test_observables_of_samples_that_are_not_there_are_refused(classes):
    plain, theta = td.EmpiricalRisk(NETWORK, td.cross_entropy, X, Y), classes[1]
    with pytest.raises(
        td.ThetadotError, match="test_loss cannot be observed: the problem has no held-out samples"
    ):
        td.descend(plain, theta, td.GradientDescent(0.5), 5, observe=["test_loss"])
    function = td.FunctionRisk(lambda t: jnp.sum(t**2), jnp.zeros(2))
    with pytest.raises(td.ThetadotError, match="accuracy looks at samples, and this problem"):
        td.descend(function, jnp.ones(2), td.GradientDescent(0.5), 5, observe=["accuracy"])


def test_modular_addition_is_the_whole_table_once():
    whole, train, test = (
        td.data.modular_addition(jax.random.key(3), modulus=7, train=0.6, split=split)
        for split in ("all", "train", "test")
    )
    assert whole.N == 49
    assert (train.N, test.N) == (29, 20)
    x, y = (np.concatenate([np.asarray(train[k]), np.asarray(test[k])]) for k in (0, 1))
    first, second = x[:, :7].argmax(axis=1), x[:, 7:].argmax(axis=1)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (a, b) for a in range(7) for b in range(7)
    ]
    np.testing.assert_array_equal(y, (first + second) % 7)
    np.testing.assert_array_equal(np.unique(x), [0.0, 1.0])
    with pytest.raises(DataError, match="that leaves 0, expected a share"):
        td.data.modular_addition(jax.random.key(0), modulus=2, train=0.1)
