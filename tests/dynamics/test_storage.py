"""A path in one file."""

import dataclasses
import json
import os
import zipfile

import numpy as np
import pytest

from tests.dynamics.handmade import handmade
from thetadot.dynamics import Path
from thetadot.dynamics.storage import PathFileError

ROWS = ("ts", "thetas", "losses", "grad_norms", "steps")


def same_bits(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def test_every_array_comes_back_to_the_bit(tmp_path):
    path = handmade()
    path.losses[3], path.grad_norms[5], path.thetas[7, 2] = np.nan, -0.0, np.nextafter(1.0, 2.0)
    path.save(tmp_path / "path.npz")
    back = Path.load(tmp_path / "path.npz")
    assert all(same_bits(getattr(path, name), getattr(back, name)) for name in ROWS)
    assert list(back.observed) == list(path.observed)
    assert all(same_bits(path.observed[name], back.observed[name]) for name in path.observed)
    assert list(back.state.arrays) == list(path.state.arrays)
    assert all(same_bits(path.state.arrays[name], back.state.arrays[name]) for name in path.state.arrays)
    assert same_bits(back.polished.theta, path.polished.theta)
    for one, other in zip(path.events, back.events, strict=True):
        assert same_bits(one.theta, other.theta)
        assert (one.name, one.kind, one.time) == (other.name, other.kind, other.time)
    assert np.isnan(back.events[1].value)


def test_everything_that_is_no_array_comes_back_as_it_was(tmp_path):
    path = handmade()
    path.save(tmp_path / "path.npz")
    back = Path.load(tmp_path / "path.npz")
    assert (back.outcome, back.reason, back.degenerate) == (path.outcome, path.reason, path.degenerate)
    assert back.stats == path.stats
    assert repr(back.accuracy) == repr(path.accuracy)
    assert dict(back.info) == dict(path.info)
    assert dict(back.state.meta) == dict(path.state.meta)
    for field in dataclasses.fields(path.polished):
        if field.name != "theta":
            assert getattr(back.polished, field.name) == getattr(path.polished, field.name)
    assert dict(back.layout.shapes) == dict(path.layout.shapes)
    for one, other in zip(path.layout.neurons, back.layout.neurons, strict=True):
        assert (one.layer, one.index) == (other.layer, other.index)
        assert same_bits(one.indices, other.indices)
        assert same_bits(one.bias, other.bias)
    assert repr(back) == repr(path)


def test_a_path_with_nothing_optional_comes_back(tmp_path):
    path = handmade(observed={}, events=(), state=None, layout=None, polished=None)
    path.save(tmp_path / "bare")
    back = Path.load(tmp_path / "bare")
    assert os.listdir(tmp_path) == ["bare"]
    assert (back.state, back.layout, back.polished, back.events) == (None, None, None, ())
    assert dict(back.observed) == {}


def test_the_file_holds_no_pickle(tmp_path):
    path = handmade()
    path.save(tmp_path / "path.npz")
    with zipfile.ZipFile(tmp_path / "path.npz") as archive:
        for name in archive.namelist():
            assert b"'descr': '|O'" not in archive.read(name)[:200]


def test_a_file_that_is_no_path_is_refused_by_name(tmp_path):
    (tmp_path / "text.npz").write_text("not a zip archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "objects.npz", a=np.array([object()]))
    for name in ("text.npz", "other.npz", "objects.npz"):
        with pytest.raises(PathFileError, match=name):
            Path.load(tmp_path / name)


def test_a_file_of_a_newer_version_says_to_update(tmp_path):
    meta = np.frombuffer(json.dumps({"format": 99}).encode(), np.uint8)
    np.savez(tmp_path / "new.npz", meta=meta)
    with pytest.raises(PathFileError, match=r"format 99.*update thetadot"):
        Path.load(tmp_path / "new.npz")


def test_a_save_that_fails_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "path.npz"
    handmade(seed=1).save(file)
    before = file.read_bytes()

    def fail(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        handmade(seed=2).save(file)
    assert file.read_bytes() == before
