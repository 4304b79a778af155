"""Data sets that come with the library: shapes, statistics, splits, hashes."""

import pickle

import jax
import numpy as np
import pytest

import thetadot as td
from thetadot.problems import DataError, NetworkError, UnknownNameError

PACKAGED = {
    "digits": ((1797, 64), (1797,), 10),
    "iris": ((150, 4), (150,), 3),
    "breast_cancer": ((569, 30), (569,), 2),
    "diabetes": ((442, 10), (442, 1), None),
}


@pytest.mark.parametrize("name", list(PACKAGED))
def test_packaged_sets_have_their_shapes_and_types(name):
    x_shape, y_shape, classes = PACKAGED[name]
    data = getattr(td.data, name)()
    x, y = data
    assert data.shapes == (x.shape, y.shape) == (x_shape, y_shape)
    assert len(x) == data.N
    assert x.dtype == np.float64
    assert (data.name, data.split) == (name.replace("_", " "), "all")
    assert len(data.details["columns"]) == x_shape[1]
    if classes:
        assert sorted(set(np.asarray(y).tolist())) == list(range(classes))
        assert len(data.details["classes"]) == classes
    else:
        assert y.dtype == np.float64


@pytest.mark.parametrize("name", list(PACKAGED))
def test_standardised_columns_have_mean_zero_and_variance_one(name):
    x, y = getattr(td.data, name)()
    columns = np.asarray(x) if PACKAGED[name][2] else np.c_[x, y]
    deviations = columns.std(axis=0)
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-13)
    constant = np.ptp(columns, axis=0) == 0
    np.testing.assert_allclose(deviations[~constant], 1, rtol=1e-12)
    assert np.flatnonzero(constant).tolist() == ([0, 32, 39] if name == "digits" else [])


def test_raw_data_are_those_of_the_source():
    x, y = td.data.digits(standardise=False)
    assert np.asarray(x).min() == 0
    assert np.asarray(x).max() == 16
    assert np.asarray(x)[0, :6].tolist() == [0, 0, 5, 13, 9, 1]
    assert np.asarray(y)[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    flowers, kinds = td.data.iris(standardise=False)
    assert np.asarray(flowers)[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert np.bincount(np.asarray(kinds)).tolist() == [50, 50, 50]
    assert np.asarray(td.data.diabetes(standardise=False)[1])[:2, 0].tolist() == [151.0, 75.0]


@pytest.mark.parametrize("name", list(PACKAGED))
def test_train_and_test_parts_are_disjoint_and_complete(name):
    load = getattr(td.data, name)
    whole, train, test = (load(split=split) for split in ("all", "train", "test"))
    assert train.N + test.N == whole.N
    assert 0.19 < test.N / whole.N < 0.21

    def rows(data):
        return np.c_[data.x, data.y]

    together = np.concatenate([rows(train), rows(test)])
    assert sorted(map(tuple, together)) == sorted(map(tuple, rows(whole)))
    if PACKAGED[name][2]:
        shares = [np.bincount(np.asarray(part.y)) / part.N for part in (train, test)]
        np.testing.assert_allclose(*shares, atol=0.015)


def test_the_iris_parts_are_120_and_30_with_equal_classes():
    train, test = (
        td.data.iris(standardise=False, split="train"),
        td.data.iris(standardise=False, split="test"),
    )
    assert (train.N, test.N) == (120, 30)
    assert np.bincount(np.asarray(test.y)).tolist() == [10, 10, 10]
    assert str(test) == "iris (test part)"


def test_hashes_tell_data_apart_and_do_not_change():
    # Fixed numbers: a data set that changes under a name must not go unnoticed.
    assert td.data.iris(standardise=False).hash.startswith("5bdc9677f9e5")
    assert td.data.digits(standardise=False).hash.startswith("75234fdbcb27")
    assert td.data.iris().hash == td.data.iris().hash
    assert len({td.data.iris(split=split).hash for split in ("all", "train", "test")}) == 3
    assert td.data.iris().hash != td.data.iris(standardise=False).hash


def test_unknown_splits_are_named():
    with pytest.raises(UnknownNameError, match="known are all, train, test; did you mean 'test'"):
        td.data.iris(split="tests")


def test_a_problem_knows_the_name_of_its_data():
    network = td.mlp([4, 3, 3])
    assert td.EmpiricalRisk(network, td.cross_entropy, *td.data.iris(split="train")).description == (
        "mlp 4-3-3 tanh, cross-entropy, 120 samples of iris (train part)"
    )
    x, y = td.data.iris()
    assert td.EmpiricalRisk(network, td.cross_entropy, x, y, name="flowers").description.endswith(
        "of flowers"
    )
    assert td.EmpiricalRisk(network, td.cross_entropy, np.asarray(x), y).description.endswith("150 samples")


def test_data_sets_survive_pickling():
    data = td.data.sine_regression(7)
    again = pickle.loads(pickle.dumps(data))
    assert repr(again) == repr(data)
    assert again.details == data.details
    np.testing.assert_array_equal(again.x, data.x)


KEY = jax.random.key(3)


def test_teacher_student_labels_are_the_teachers():
    data = td.data.teacher_student(KEY, activation="squared_relu")
    x, y = map(np.asarray, data)
    teacher = data.details
    assert teacher["incoming"].shape == (5, 3)
    np.testing.assert_allclose(np.linalg.norm(teacher["incoming"], axis=1), np.sqrt(3) / 2)
    expected = np.maximum(x @ teacher["incoming"].T, 0) ** 2 @ teacher["outgoing"]
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-12, atol=1e-14)


def test_noise_is_added_to_the_same_teacher():
    clean = td.data.teacher_student(KEY)
    noisy = td.data.teacher_student(KEY, noise=0.1)
    np.testing.assert_array_equal(clean.x, noisy.x)
    difference = np.asarray(noisy.y - clean.y)
    assert abs(difference.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * 1000)
    assert abs(difference.mean()) < 5 * 0.1 / np.sqrt(1000)


def test_blobs_gather_around_their_centres():
    data = td.data.gaussian_blobs(KEY, samples=1000, dimension=3, classes=4, spread=0.5)
    x, y = map(np.asarray, data)
    assert np.bincount(y).tolist() == [250] * 4
    for label, centre in enumerate(data.details["centres"]):
        own = x[y == label]
        np.testing.assert_allclose(own.mean(axis=0), centre, atol=5 * 0.5 / np.sqrt(250))
        np.testing.assert_allclose(own.std(axis=0), 0.5, rtol=5 / np.sqrt(500))


def test_sine_regression_is_the_sine_at_equal_steps():
    x, y = map(np.asarray, td.data.sine_regression(20, frequency=3.0, low=-2, high=2))
    np.testing.assert_allclose(x[:, 0], np.linspace(-2, 2, 20))
    np.testing.assert_array_equal(y, np.sin(3.0 * x))
    with pytest.raises(DataError, match="no key is given"):
        td.data.sine_regression(20, noise=0.1)
    noisy = td.data.sine_regression(20, noise=0.1, key=KEY)
    assert 0.03 < np.std(np.asarray(noisy.y) - np.sin(np.asarray(noisy.x))) < 0.2


def test_linear_system_is_its_matrix_and_its_condition():
    data = td.data.linear_system(KEY, samples=1000, dimension=3, outputs=2, condition=100.0)
    x, y = map(np.asarray, data)
    np.testing.assert_allclose(y, x @ data.details["matrix"].T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(x.var(axis=0), [1.0, 0.1, 0.01], rtol=5 * np.sqrt(2 / 1000))
    with pytest.raises(DataError, match=r"condition is 0.5"):
        td.data.linear_system(KEY, condition=0.5)


def test_drawn_sets_depend_on_the_key_alone():
    for draw in (td.data.teacher_student, td.data.gaussian_blobs, td.data.linear_system):
        first, again, other = (
            draw(key, samples=1000, dimension=3).hash for key in (KEY, KEY, jax.random.key(4))
        )
        assert first == again != other
    with pytest.raises(NetworkError, match="samples is 0"):
        td.data.gaussian_blobs(KEY, samples=0)
