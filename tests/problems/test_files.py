"""Users' own files: what is read, and what is refused by name."""

import sys

import numpy as np
import pytest

import thetadot as td
from thetadot.problems import (
    ConstantColumnError,
    DataError,
    MissingExtraError,
    ShapeError,
    UnknownNameError,
)

TABLE = "length,width,price\n1.0,10,3.5\n2.0,20,1.5\n4.0,10,2.5\n5.0,40,9.5\n3.0,20,0.5\n"


@pytest.fixture
def write(tmp_path):
    def writer(text, name="table.csv"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return writer


def test_the_last_column_of_a_csv_is_the_target(write):
    data = td.data.from_file(write(TABLE), standardise=False)
    assert data.shapes == ((5, 2), (5, 1))
    np.testing.assert_array_equal(data.x[:, 1], [10, 20, 10, 40, 20])
    np.testing.assert_array_equal(data.y[:, 0], [3.5, 1.5, 2.5, 9.5, 0.5])
    assert data.details["columns"] == ("length", "width")
    assert data.name == "table.csv"


@pytest.mark.parametrize("target", ["width", 1])
def test_the_target_is_a_name_or_a_number(write, target):
    data = td.data.from_file(write(TABLE), target, task="regression", standardise=False)
    np.testing.assert_array_equal(data.y[:, 0], [10, 20, 10, 40, 20])
    assert data.details["columns"] == ("length", "price")


def test_several_targets_make_a_matrix(write):
    data = td.data.from_file(write(TABLE), ["price", "length"], standardise=False)
    np.testing.assert_array_equal(data.y[:2], [[3.5, 1.0], [1.5, 2.0]])


def test_all_columns_of_a_regression_are_standardised_over_the_whole_file(write):
    whole = td.data.from_file(write(TABLE))
    for part in (whole.x, whole.y):
        np.testing.assert_allclose(np.mean(part, axis=0), 0, atol=1e-15)
        np.testing.assert_allclose(np.std(part, axis=0), 1)
    train, test = (td.data.from_file(write(TABLE), split=split) for split in ("train", "test"))
    np.testing.assert_array_equal(np.r_[train.x, test.x], whole.x)
    assert test.N == 1


def test_text_labels_and_whole_numbers_are_classes(write):
    named = td.data.from_file(write("1.0,b\n2.0,a\n3.0,b\n"))
    assert np.asarray(named.y).tolist() == [1, 0, 1]
    assert named.details["classes"] == ("a", "b")
    numbered = td.data.from_file(write("1.0,7\n2.0,5\n3.0,7\n"))
    assert np.asarray(numbered.y).tolist() == [1, 0, 1]
    assert numbered.details["classes"] == ("5", "7")
    regression = td.data.from_file(write("1.0,7\n2.0,5\n3.0,7\n"), task="regression", standardise=False)
    assert np.asarray(regression.y)[:, 0].tolist() == [7.0, 5.0, 7.0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1.0;2.0\n3.0;4.5\n", "a.csv"),
        ("1.0\t2.0\n3.0\t4.5\n", "a.tsv"),
        ("\ufeffp,q\n1,2.0\n\n3,4.5\n", "b.csv"),
    ],
)
def test_delimiters_headers_marks_and_blank_lines_are_recognised(write, text, name):
    data = td.data.from_file(write(text, name), standardise=False)
    np.testing.assert_array_equal(data.x, [[1.0], [3.0]])
    np.testing.assert_array_equal(data.y, [[2.0], [4.5]])


def test_a_constant_column_is_named_with_the_way_out(write):
    file = write("a,b,c\n1,5,0.5\n2,5,1.5\n3,5,2.5\n")
    with pytest.raises(
        ConstantColumnError, match=r"column 'b' has the same value 5 in all 3 .* standardise=False"
    ):
        td.data.from_file(file)
    assert td.data.from_file(file, standardise=False).N == 3
    with pytest.raises(ConstantColumnError, match="column 'the target'"):
        td.data.from_file(write("a,c\n1,0.5\n2,0.5\n"))


@pytest.mark.parametrize(
    ("text", "arguments", "error", "words"),
    [
        ("a,b\n1,2\n3\n", {}, DataError, "line 3: 1 cells, expected 2"),
        ("a,b\n1,2\n,4\n", {}, DataError, "line 3: nothing in column 'a'"),
        ("a,b\n1,2\nnan,4\n", {}, DataError, "line 3: nothing in column 'a'"),
        ("a,b\n1,2\nred,4\n", {}, DataError, "line 3: 'red' in column 'a' is not a number"),
        (
            "a,b\n1,x\n2,y\n",
            {"task": "regression"},
            DataError,
            "the target holds something that is not a number",
        ),
        ("a,b\ninf,2\n1,4\n", {}, DataError, "sample 0 has inf in column 'a'"),
        ("", {}, DataError, "is empty"),
        ("a,b\n", {}, DataError, "no samples"),
        ("1\n2\n", {}, DataError, "nothing left for x"),
        (TABLE, {"target": "prize"}, UnknownNameError, "did you mean 'price'"),
        (TABLE, {"target": 3}, UnknownNameError, "columns 0 … 2"),
        (TABLE, {"task": "clustering"}, UnknownNameError, "unknown task"),
        (TABLE, {"split": "validation"}, UnknownNameError, "unknown split"),
        (TABLE, {"target": ["price", "width"], "task": "classification"}, ShapeError, "expected one column"),
    ],
)
def test_tables_that_cannot_be_read_are_named(write, text, arguments, error, words):
    with pytest.raises(error, match=words):
        td.data.from_file(write(text), **arguments)


def test_files_that_are_missing_or_of_another_kind_are_named(tmp_path, write):
    with pytest.raises(DataError, match="there is no file"):
        td.data.from_file(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"'.xlsx' are not read; give .csv"):
        td.data.from_file(tmp_path / "book.xlsx")
    with pytest.raises(DataError, match="cannot be read as an NPZ"):
        td.data.from_file(write("no zip", "broken.npz"))


def test_npz_keeps_shapes_and_takes_float32_exactly(tmp_path):
    images = np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2) / 3
    np.savez(tmp_path / "images.npz", x=images, y=np.array([0, 1, 0]))
    data = td.data.from_file(tmp_path / "images.npz", standardise=False)
    assert data.shapes == ((3, 2, 2, 2), (3,))
    assert data.x.dtype == np.float64
    np.testing.assert_array_equal(data.x, images.astype(float))
    scaled = td.data.from_file(tmp_path / "images.npz").x
    np.testing.assert_allclose(np.std(scaled, axis=0), 1)


def test_npz_arrays_go_by_name(tmp_path):
    file = tmp_path / "pair.npz"
    np.savez(file, inputs=np.arange(4.0), outputs=np.arange(4.0) ** 2)
    data = td.data.from_file(file, "outputs", standardise=False)
    assert data.shapes == ((4, 1), (4, 1))
    with pytest.raises(UnknownNameError, match=r"unknown array of pair.npz 'y'; known are inputs, outputs"):
        td.data.from_file(file)
    np.savez(file, a=np.arange(4.0), b=np.arange(4.0), y=np.arange(3.0))
    with pytest.raises(UnknownNameError, match="name the samples 'x'"):
        td.data.from_file(file)
    np.savez(file, x=np.arange(4.0), y=np.arange(3.0))
    with pytest.raises(ShapeError, match="4 samples and 3 labels"):
        td.data.from_file(file)


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}, {}], dtype=object), y=np.zeros(2))
    with pytest.raises(DataError, match="plain arrays"):
        td.data.from_file(tmp_path / "objects.npz")


def test_parquet_without_its_extra_says_how_to_install_it(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thetadot\[parquet\]'"):
        td.data.from_file(write("", "table.parquet"))


def test_parquet_columns_are_read_like_those_of_a_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0, 4.0], "kind": ["u", "v", "u"], "b": [3, 1, 2]}), file)
    data = td.data.from_file(file, "kind", standardise=False)
    np.testing.assert_array_equal(data.x, [[1, 3], [2, 1], [4, 2]])
    assert np.asarray(data.y).tolist() == [0, 1, 0]
    parquet.write_table(pyarrow.table({"a": [1.0, None], "b": [0.5, 1.5]}), file)
    with pytest.raises(DataError, match="column 'a' has missing entries"):
        td.data.from_file(file)
