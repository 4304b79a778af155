"""Lenses run by studies: what is stored is what they found, and nothing that happens on the way spoils it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray

from tests.studies import toy_lenses
from thetadot.studies import (
    DamagedChunkError,
    LensFailedWarning,
    StoreError,
    Study,
    lenses,
    open_run,
    runner,
)

MEMBERS = 2


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setattr(lenses, "_registered", {})
    toy_lenses.register()


def study_with(tmp_path, lens="norms: {power: 3.0}", more=""):
    """The small study with other lenses."""
    file = tmp_path / "looked.yaml"
    file.write_text(toy_lenses.STUDY.replace("norms: {power: 3.0}", lens) + more)
    return Study.load(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with the lens `norms`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lenses, "_registered", {})
        toy_lenses.register()
        place = tmp_path_factory.mktemp("whole")
        return study_with(place).run(place / "run", progress=False)


def expected(run, member, compare=None):
    """What the lens must have found on a committed path."""
    data = toy_lenses.Found(run.path(member, compare), 3.0, None).to_xarray()
    data.attrs = {"rule": "GradientDescent", "power": 3.0, "odd": "nan"}
    data["norm"].attrs["weights"] = [1, "inf"]
    return data


def test_what_is_stored_is_what_the_lens_found(whole):
    for member, compare in ((0, None), (1, None), (0, 0), (1, 0)):
        found = whole.lens(member, "norms", compare)
        xarray.testing.assert_identical(found, expected(whole, member, compare))
    assert whole.status == "done"
    lines = whole.lenses()
    assert [(line.member, line.compare, line.lens, line.status) for line in lines] == [
        (0, None, "norms", "done"), (0, 0, "norms", "done"), (1, None, "norms", "done"), (1, 0, "norms", "done"),
    ]  # fmt: skip
    largest = float(whole.lens(1, "norms")["largest"])
    assert lines[2].summary == f"largest norm {largest:.3g}, of 13 rows"
    assert f"norms, member 1: {lines[2].summary}" in repr(whole)


def test_results_are_groups_of_the_tree(whole):
    tree = whole.tree
    for group, compare in (("1/lenses/norms", None), ("1/lenses/compare/0/norms", 0)):
        xarray.testing.assert_equal(
            tree[group].to_dataset(inherit=False).load(), whole.lens(1, "norms", compare)
        )
        assert tree[group].attrs["power"] == 3.0


def test_a_lens_that_was_not_asked_for_is_refused_by_what_there_is(whole):
    with pytest.raises(
        StoreError, match=r"no lens angles on member 0: it has norms, member 0, norms, member 0"
    ):
        whole.lens(0, "angles")
    with pytest.raises(StoreError, match="no lens norms on member 7"):
        whole.lens(7, "norms")


def test_a_repeated_run_stores_the_same_bytes_in_one_process_or_several(whole, tmp_path):
    again = study_with(tmp_path).run(tmp_path / "run", progress=False)
    apart = study_with(tmp_path).run(tmp_path / "apart", progress=False, workers=2)
    for line in whole.lenses():
        name = f"{line.member}/lenses/" + ("norms" if line.compare is None else "compare/0/norms")
        assert again.manifest.lenses[name].variables == whole.manifest.lenses[name].variables
        found = apart.lens(line.member, "norms", line.compare)
        xarray.testing.assert_identical(found, expected(apart, line.member, line.compare))
    assert apart.status == "done"


def test_a_lens_that_does_not_apply_is_recorded_with_its_reason(tmp_path):
    run = study_with(tmp_path, "fussy: {}, norms: {}").run(tmp_path / "run", progress=False)
    assert run.status == "done"
    fussy = {line.member: line for line in run.lenses() if line.lens == "fussy"}
    high = {member for member in range(MEMBERS) if run.path(member).losses[0] > 1.2}
    assert len(high) == 1, "one member must begin high and the other not"
    for member, line in fussy.items():
        assert line.notes == ("the path is short",)
        assert line.status == ("does not apply" if member in high else "done")
    (member,) = high
    assert fussy[member].summary == "this path begins too high"
    with pytest.raises(
        StoreError, match=r"lens fussy has no result on member .: does not apply: this path begins"
    ):
        run.lens(member, "fussy")
    assert f"{member}/lenses/fussy" not in run.tree
    assert run.lens(member, "norms").sizes["time"] == 13


def test_a_bug_of_a_lens_is_named_and_leaves_the_rest_and_is_tried_again(tmp_path):
    gate = tmp_path / "gate"
    study = study_with(tmp_path, f"buggy: {{place: '{gate}'}}, norms: {{}}")
    with pytest.warns(
        LensFailedWarning, match=r"lens 0/lenses/buggy failed \(and 1 more\): KeyError: 'no such thing'"
    ):
        ended = runner.run_study(study, tmp_path / "run", progress=False)
    run = ended.run
    assert (ended.how, run.status) == ("failed", "failed")
    assert "lens 0/lenses/buggy failed" in str(run.manifest.error)
    assert [line.status for line in run.lenses() if line.lens == "buggy"] == ["failed"] * MEMBERS
    assert run.lens(1, "norms", 0).sizes["time"] == 9
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (first, _) = [line for line in log if line["event"] == "lens failed"]
    assert "toy_lenses.py" in first["traceback"]
    gate.touch()
    ended = runner.run_study(study, tmp_path / "run", progress=False)
    assert (ended.how, ended.run.status, ended.run.manifest.error) == ("done", "done", None)
    assert ended.run.lens(0, "buggy").sizes["time"] == 13


def test_a_session_killed_in_a_lens_keeps_what_was_found_before(tmp_path):
    counter = tmp_path / "count"
    study = study_with(tmp_path, f"norms: {{place: '{counter}'}}, deadly: {{place: '{tmp_path / 'gate'}'}}")
    program = (
        "from tests.studies import toy_lenses; from thetadot.studies import Study; toy_lenses.register(); "
        f"Study.load(r'{study.origin.name}').run(r'{tmp_path / 'run'}', progress=False)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    half = open_run(tmp_path / "run")
    before = {line.lens: line.status for line in half.lenses() if line.member == 0 and line.compare is None}
    assert before == {"norms": "done", "deadly": "not begun"}
    assert half.status == "resumable"
    calls = counter.read_text()
    run = study.run(tmp_path / "run", progress=False)
    assert run.status == "done"
    assert run.damages() == []
    assert len(counter.read_text()) == 2 * MEMBERS, "no lens was run twice"
    assert len(calls) >= 1


def test_an_interrupt_stops_in_the_midst_of_a_lens_and_the_run_resumes(tmp_path):
    gate = tmp_path / "gate"
    study = study_with(tmp_path, f"norms: {{}}, interrupted: {{place: '{gate}'}}")
    ended = runner.run_study(study, tmp_path / "run", progress=False)
    assert (ended.how, ended.run.status) == ("interrupted", "resumable")
    assert [line.status for line in ended.run.lenses() if line.member == 0] == [
        "done",
        "not begun",
        "not begun",
    ]
    gate.touch()
    assert study.run(tmp_path / "run", progress=False).status == "done"


def test_the_budget_is_looked_at_between_lenses(tmp_path):
    # A budget that no machine keeps: each session does one piece, a slice of a series or a lens, and stops.
    study = study_with(tmp_path, more="budget: {wall: 0.001s}\n")
    told = []
    for _ in range(60):
        ended = runner.run_study(study, tmp_path / "run", progress=False, commit_every=0.01)
        told.append((ended.how, sum(line.done for line in ended.run.lenses())))
        if ended.how == "done":
            break
    assert list(dict.fromkeys(number for _, number in told)) == [0, 1, 2, 3, 4], "one lens a session"
    assert {how for how, _ in told[:-1]} == {"budget"}


def test_a_damaged_chunk_of_a_lens_is_named_and_only_that_lens_is_run_again(tmp_path):
    counter = tmp_path / "count"
    study = study_with(tmp_path, f"norms: {{place: '{counter}'}}")
    run = study.run(tmp_path / "run", progress=False)
    sound = run.lens(0, "norms").load()
    chunk = tmp_path / "run" / "data.zarr" / "0" / "lenses" / "norms" / "norm" / "c" / "0"
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(bytes(content))
    run = open_run(tmp_path / "run")
    (wrong,) = run.damages()
    assert "lenses/norms/norm/c/0 (rows 0–12 of 0/lenses/norms/norm) is damaged" in wrong
    with pytest.raises(DamagedChunkError, match=r"norms/norm/c/0 .*--repair"):
        run.lens(0, "norms")
    with pytest.raises(DamagedChunkError):
        np.asarray(run.tree["0/lenses/norms"]["norm"].values)
    assert run.lens(1, "norms")["largest"] > 0
    (chunk.parents[2] / "largest" / "c").unlink()
    calls = len(counter.read_text())
    repaired = study.run(tmp_path / "run", progress=False, repair=True)
    assert len(counter.read_text()) == calls + 1
    assert repaired.damages() == []
    xarray.testing.assert_identical(repaired.lens(0, "norms"), sound)


def test_a_variable_that_the_store_cannot_hold_is_a_failure_by_name(tmp_path, monkeypatch):
    class Odd(toy_lenses.Found):
        def to_xarray(self):
            return self.data.assign({"when": ("time", np.zeros(13, "datetime64[ns]"))})

    lenses.register_lens("odd", toy_lenses.Options, lambda problem, path, options: Odd(path, 1.0, None))
    with pytest.warns(LensFailedWarning, match=r"'when' of type datetime64"):
        run = study_with(tmp_path, "odd: {}").run(tmp_path / "run", progress=False)
    assert run.status == "failed"
