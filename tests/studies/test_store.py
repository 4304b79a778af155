"""The store: what is committed survives anything, and nothing else exists."""

import contextlib
import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
import xarray

from thetadot.dynamics import Outcome
from thetadot.problems.layout_json import layout_to_json
from thetadot.studies import (
    DamagedChunkError,
    DamagedRowsWarning,
    LockedError,
    NotARunError,
    StoreError,
    WritingError,
    lock,
    open_run,
)
from thetadot.studies.manifest import Manifest, read_manifest
from thetadot.studies.store import open_writer

SERIES = ("0/path", "0/compare/0", "1/path", "1/compare/0")


def fresh():
    return Manifest(
        run="id", name="small", configuration="hash", package="0.1.0", numerics="1", versions={"jax": "0"},
        created="today", members=2, series=dict.fromkeys(SERIES),
    )  # fmt: skip


def writer_of(directory, path):
    return open_writer(directory, fresh(), "name: small\n", {"layout": layout_to_json(path.layout)})


def assert_same_bits(found, expected):
    for name in ("ts", "thetas", "losses", "grad_norms", "steps"):
        assert getattr(found, name).dtype == getattr(expected, name).dtype
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert found.observed.keys() == expected.observed.keys()
    for name, values in expected.observed.items():
        assert found.observed[name].tobytes() == values.tobytes()
    assert len(found.events) == len(expected.events)
    for one, other in zip(found.events, expected.events, strict=True):
        assert (one.name, one.kind, one.time) == (other.name, other.kind, other.time)
        assert one.theta.tobytes() == other.theta.tobytes()
    assert found.outcome is expected.outcome
    assert (found.reason, found.degenerate, found.stats) == (
        expected.reason,
        expected.degenerate,
        expected.stats,
    )
    assert str(found.accuracy) == str(expected.accuracy)
    assert dict(found.info) == dict(expected.info)
    assert found.state.meta == expected.state.meta
    for name, values in expected.state.arrays.items():
        assert found.state.arrays[name].dtype == values.dtype
        assert found.state.arrays[name].tobytes() == values.tobytes()


def test_a_path_comes_back_to_the_bit_after_any_commits(tmp_path, make_path):
    with writer_of(tmp_path / "run", make_path(1)) as writer:
        for rows in (1, 2, 2, 63, 64, 1100, 2100):
            path = make_path(rows)
            writer.commit("0/path", path)
            run = open_run(tmp_path / "run")
            assert_same_bits(run.path(0), path)
            assert run.tree["0/path"].sizes["save"] == rows
    layout = run.path(0).layout
    assert layout.shapes == path.layout.shapes
    for one, other in zip(layout.neurons, path.layout.neurons, strict=True):
        assert (one.layer, one.index) == (other.layer, other.index)
        np.testing.assert_array_equal(one.indices, other.indices)


def test_any_zarr_reader_sees_labelled_arrays(tmp_path, make_path):
    path = make_path(70, outcome=Outcome.REACHED_TIME)
    with writer_of(tmp_path / "run", path) as writer:
        writer.commit("1/compare/0", path)
    plain = xarray.open_datatree(tmp_path / "run" / "data.zarr", engine="zarr", consolidated=False)
    group = plain["1/compare/0"]
    np.testing.assert_array_equal(group["theta"].values, path.thetas)
    assert group["theta"].dims == ("save", "parameter")
    assert group.attrs["outcome"] == "REACHED_TIME"
    tree = open_run(tmp_path / "run").tree
    dataset = tree["1/compare/0"].to_dataset()
    expected = path.to_xarray()
    for name in expected.variables:
        assert dataset[name].dims == expected[name].dims, name
        np.testing.assert_array_equal(dataset[name].values, expected[name].values)
    assert set(dataset.coords) == set(expected.coords)


def test_rows_beyond_the_manifest_do_not_exist(tmp_path, make_path):
    """A kill between the chunks and the manifest leaves files that count more rows than are committed."""
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)) as writer:
        writer.commit("0/path", make_path(50))
        before = (directory / "manifest.json").read_bytes()
        writer.commit("0/path", make_path(1500))
        writer.commit("0/compare/0", make_path(5))
    (directory / "manifest.json").write_bytes(before)
    (directory / "data.zarr" / "0" / "path" / "theta" / ".zarr.json.new").write_bytes(b"{")
    run = open_run(directory)
    half_written = make_path(50)
    found = run.path(0)
    assert found.thetas.tobytes() == half_written.thetas.tobytes()
    assert run.tree["0/path"].sizes["save"] == 50
    np.testing.assert_array_equal(run.tree["0/path"]["theta"].values, half_written.thetas)
    assert "compare" not in run.tree["0"]
    with pytest.raises(StoreError, match="nothing of 0/compare/0 is committed yet"):
        run.path(0, 0)


def test_replaced_rows_wait_until_the_manifest_counts_them(tmp_path, make_path):
    """A certified run starts again at a tighter tolerance: all its rows change."""
    directory = tmp_path / "run"
    old, new = make_path(300), make_path(200, seed=1)
    with writer_of(directory, old) as writer:
        writer.commit("0/path", old)
        before = (directory / "manifest.json").read_bytes()
        for crash in range(100):
            calls = count_writes(crash)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "replace", calls)
                with contextlib.suppress(Killed):
                    writer.commit("0/path", new)
            committed = (directory / "manifest.json").read_bytes() != before
            expected = new if committed else old
            assert open_run(directory).path(0).thetas.tobytes() == expected.thetas.tobytes(), crash
            if committed:
                break
        assert crash > 10
    with writer_of(directory, old):
        pass
    assert_same_bits(open_run(directory).path(0), new)
    assert not list((directory / "state").glob("*.chunk"))


class Killed(BaseException):
    """The process ends here: nothing catches this."""


def count_writes(allowed):
    """os.replace that dies when it is called once more than allowed, like a killed process."""
    really, left = os.replace, [allowed]

    def replace(*args):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return really(*args)

    return replace


def test_a_crash_at_every_write_of_a_commit_leaves_the_last_commit(tmp_path, make_path):
    directory = tmp_path / "run"
    first, second = make_path(40), make_path(90)
    with writer_of(directory, first) as writer:
        writer.commit("0/path", first)
        before = (directory / "manifest.json").read_bytes()
        for crash in range(100):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "replace", count_writes(crash))
                with contextlib.suppress(Killed):
                    writer.commit("0/path", second)
            committed = (directory / "manifest.json").read_bytes() != before
            run = open_run(directory)
            assert not run.damages()
            assert_same_bits(run.path(0), second if committed else first)
            if committed:
                break
        assert crash > 10


@pytest.mark.parametrize("offset", [0, 1, 100, 5_000, 12_345, 30_000, 60_000])
def test_a_full_disk_loses_nothing_committed_and_says_so_in_one_line(
    offset, tmp_path, make_path, monkeypatch
):
    directory = tmp_path / "run"
    first, second = make_path(40), make_path(300)
    really, written = os.write, [0]

    def write(descriptor, content):
        room = offset - written[0]
        if len(content) > room:
            if room > 0:
                really(descriptor, bytes(content[:room]))
            written[0] = offset
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written[0] += len(content)
        return really(descriptor, content)

    with writer_of(directory, first) as writer:
        writer.commit("0/path", first)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(WritingError, match="everything committed so far is intact") as refusal:
                writer.commit("0/path", second)
        assert refusal.value.resumable
        assert "\n" not in str(refusal.value)
        assert_same_bits(open_run(directory).path(0), first)
        writer.commit("0/path", second)
    assert_same_bits(open_run(directory).path(0), second)
    assert not list(directory.rglob("*.new"))


def test_a_damaged_chunk_is_named_and_the_rest_stays_readable(tmp_path, make_path):
    directory = tmp_path / "run"
    path = make_path(2500)
    with writer_of(directory, path) as writer:
        writer.commit("0/path", path)
        writer.commit("1/path", path)
    chunk = directory / "data.zarr" / "0" / "path" / "loss" / "c" / "1"
    content = bytearray(chunk.read_bytes())
    content[77] ^= 1
    chunk.write_bytes(content)
    run = open_run(directory)
    assert len(run.damages()) == 1
    for fragment in (str(chunk), "rows 1024–2047", "0/path/loss", "checksum"):
        assert fragment in run.damages()[0]
    assert run.damaged_series() == ["0/path"]
    with pytest.raises(DamagedChunkError, match="loss/c/1"):
        run.path(0)
    with pytest.raises(DamagedChunkError, match="loss/c/1"):
        run.tree["0/path"]["loss"].load()
    np.testing.assert_array_equal(run.tree["0/path"]["theta"].values, path.thetas)
    assert_same_bits(run.path(1), path)
    with pytest.warns(DamagedRowsWarning, match="loss/c/1"):
        rest = run.path(0, skip_damaged=True)
    keep = np.r_[0:1024, 2048:2500]
    np.testing.assert_array_equal(rest.ts, path.ts[keep])
    np.testing.assert_array_equal(rest.thetas, path.thetas[keep])
    np.testing.assert_array_equal(rest.losses, path.losses[keep])
    shutil.rmtree(directory / "data.zarr" / "1" / "path" / "theta" / "c" / "0")
    assert any("is missing" in wrong for wrong in open_run(directory).damages())


def test_a_damaged_state_is_not_resumed_from(tmp_path, make_path):
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)) as writer:
        writer.commit("0/path", make_path(5))
    state = next((directory / "state").glob("*.npz"))
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    run = open_run(directory)
    assert run.path(0).state is None
    assert run.damaged_series() == ["0/path"]


def test_a_run_that_moved_opens_where_it_is(tmp_path, make_path):
    path = make_path(30)
    with writer_of(tmp_path / "here", path) as writer:
        writer.commit("0/path", path)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_same_bits(open_run(tmp_path / "there").path(0), path)
    assert open_run(tmp_path / "there" / "manifest.json").tree["0/path"].sizes["save"] == 30


def test_what_is_not_a_run_is_refused_in_one_line(tmp_path):
    for directory, words in ((tmp_path, "has no manifest.json"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(NotARunError, match=words):
            open_run(directory)
    for content, words in (
        (b"{", "cannot be read"),
        (b"[]", "format None"),
        (b'{"format": 99}', "format 99"),
    ):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(NotARunError, match=words):
            open_run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "series": {}}')
    with pytest.raises(NotARunError, match="incomplete"):
        open_run(tmp_path)


def test_a_directory_of_something_else_is_not_written_to(tmp_path, make_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"thesis\.tex"), writer_of(tmp_path, make_path(1)):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"), writer_of(tmp_path / "file", make_path(1)):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "thesis.tex"]


def test_a_read_only_directory_is_refused_in_one_line(tmp_path, make_path, monkeypatch):
    """Root may write anywhere, so the refusal of the file system is played."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    directory = tmp_path / "run"
    for name in ("open", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            refused = pytest.raises(WritingError, match=r"Permission denied.*-o DIR")
            with refused as refusal, writer_of(directory, make_path(1)):
                pass
        assert not refusal.value.resumable


def test_a_second_writer_is_refused_by_name(tmp_path, make_path):
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)) as writer:
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()} on "),
            writer_of(directory, make_path(1)),
        ):
            pass
        writer.commit("0/path", make_path(3))
        assert open_run(directory).status == "running"
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            message = pool.apply(try_to_write, (str(directory),))
        assert f"process {os.getpid()} on " in message
        assert "wait for it or stop it" in message
    assert open_run(directory).status == "resumable"
    with writer_of(directory, make_path(1)):
        pass


def try_to_write(directory):
    try:
        with lock.writing(lock.Path(directory)):
            return "taken"
    except LockedError as error:
        return str(error)


def hold_and_die(directory):
    with lock.writing(lock.Path(directory)):
        os._exit(1)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, make_path):
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)):
        pass
    process = multiprocessing.get_context("spawn").Process(target=hold_and_die, args=(str(directory),))
    process.start()
    process.join()
    dead = json.loads((directory / "lock").read_text())
    assert dead["pid"] == process.pid
    assert lock.owner(directory) is None
    # The number of the dead process may be given to another one: the start time tells them apart.
    reused = dataclasses.replace(lock.Owner.this(), started="boot:1")
    (directory / "lock").write_text(json.dumps(dataclasses.asdict(reused)))
    assert open_run(directory).status == "resumable"
    with writer_of(directory, make_path(1)):
        assert lock.owner(directory) == lock.Owner.this()


def test_the_lock_of_another_host_is_respected_while_its_writer_shows_signs_of_life(tmp_path, make_path):
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)):
        pass
    (directory / "lock").write_text(json.dumps({"pid": 1, "started": "", "host": "elsewhere"}))
    assert open_run(directory).status == "running"
    refused = pytest.raises(
        LockedError, match=r"process 1 on elsewhere: wait for it \(it counts as gone 120 s after"
    )
    with refused, writer_of(directory, make_path(1)):
        pass
    silent = time.time() - lock.STALE_SECONDS - 1
    os.utime(directory / "lock", (silent, silent))
    assert open_run(directory).status == "resumable"
    with writer_of(directory, make_path(1)) as writer:
        writer.commit("0/path", make_path(2))
    assert open_run(directory).path(0).thetas.shape[0] == 2


def test_a_writer_shows_signs_of_life(tmp_path, make_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCH_SECONDS", 0.01)
    with writer_of(tmp_path / "run", make_path(1)):
        file = tmp_path / "run" / "lock"
        os.utime(file, (0, 0))
        while file.stat().st_mtime == 0:
            time.sleep(0.01)
        assert abs(time.time() - file.stat().st_mtime) < 100


def test_a_writer_that_was_suspended_commits_nothing_once_another_took_over(tmp_path, make_path):
    directory = tmp_path / "run"
    with writer_of(directory, make_path(1)) as writer:
        writer.commit("0/path", make_path(3))
        theirs = json.dumps({"pid": 1, "started": "", "host": "elsewhere"})
        (directory / "lock").write_text(theirs)
        with pytest.raises(LockedError, match="taken over by process 1 on elsewhere"):
            writer.commit("0/path", make_path(5))
    assert (directory / "lock").read_text() == theirs
    assert open_run(directory).path(0).thetas.shape[0] == 3


def test_manifests_come_back_as_they_were_written(tmp_path, make_path):
    with writer_of(tmp_path, make_path(1)) as writer:
        writer.commit("0/path", make_path(7))
        assert read_manifest(tmp_path) == writer.manifest or str(read_manifest(tmp_path)) == str(
            writer.manifest
        )


def test_status_says_what_is_left_to_do(tmp_path, make_path):
    def status(**outcomes):
        directory = tmp_path / "-".join(outcomes.values() or ["none"])
        with writer_of(directory, make_path(1)) as writer:
            for series, outcome in zip(SERIES, outcomes.values(), strict=False):
                writer.commit(series, make_path(3, outcome=Outcome[outcome]))
        return open_run(directory).status

    assert status() == "resumable"
    assert status(a="REACHED_TIME", b="REACHED_TIME", c="INTERRUPTED") == "resumable"
    assert status(a="REACHED_TIME", b="DIVERGED", c="CONVERGED", d="REACHED_STEPS") == "done"
    assert status(a="DIVERGED", b="REACHED_STEPS", c="STALLED", d="REACHED_STEPS") == "failed"
    with writer_of(tmp_path / "broken", make_path(1)) as writer:
        writer.note_error("ZeroDivisionError: oh")
    assert open_run(tmp_path / "broken").status == "failed"
