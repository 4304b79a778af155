"""Which runs there are, and what a name means."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.viewer.conftest import HOSTILE
from thetadot.studies import Study
from thetadot.viewer import ViewerError
from thetadot.viewer.catalogue import Catalogue


def test_runs_are_found_in_folders_too_and_unreadable_ones_are_told(runs):
    entries = {entry.name: entry for entry in Catalogue(runs).entries()}
    assert set(entries) == {"curve", "blobs", "saddle", "older/curve", "broken", HOSTILE}
    assert entries["broken"].status == "unreadable"
    assert "broken" in entries["broken"].remark
    assert (entries["blobs"].status, entries["blobs"].members) == ("done", 2)
    assert entries["older/curve"].loss == entries["curve"].loss > 0


def test_names_that_lead_elsewhere_are_refused(runs, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(runs / "curve", outside)
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    shutil.copytree(runs / "curve", root / "own")
    catalogue = Catalogue(root)
    assert catalogue.run("own").name == "curve"
    refused = (
        "", ".", "..", "../outside", "own/../../outside", str(outside), "/etc", "link", "own\0", "..\\outside",
        "own/data.zarr", "nothing", "own/" + "a" * 5000, "~", "%2e%2e/outside",
    )  # fmt: skip
    for name in refused:
        with pytest.raises(ViewerError, match="there is no run"):
            catalogue.run(name)
    for name in ("..", "/etc", "link", "own/../.."):
        with pytest.raises(ViewerError, match="there is no folder"):
            catalogue.entries(name)


def test_a_link_to_a_run_is_not_listed(runs, tmp_path):
    (tmp_path / "link").symlink_to(runs / "curve")
    assert Catalogue(tmp_path).entries() == []


def test_a_run_that_a_living_process_writes_to_is_running_and_after_its_death_is_not(runs, tmp_path):
    place = tmp_path / "curve"
    shutil.copytree(runs / "curve", place)
    catalogue = Catalogue(tmp_path)
    assert [entry.status for entry in catalogue.entries()] == ["done"]
    code = (
        "import sys, pathlib; from thetadot.studies.lock import writing\n"
        "with writing(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "locked\n"
    assert [entry.status for entry in catalogue.entries()] == ["running"]
    os.kill(writer.pid, 9)
    writer.communicate()
    assert [entry.status for entry in catalogue.entries()] == ["done"]


def test_runs_of_a_sweep_are_listed_below_it(tmp_path):
    from tests.viewer.conftest import CURVE
    from thetadot.studies import sweep

    fields = {key: value for key, value in CURVE.items() if key not in ("compare", "lenses", "observe")}
    study = Study(**fields, sweep={"init.scale": [0.5, 1.0]})
    sweep(study, tmp_path / "scales", workers=1, progress=False)
    catalogue = Catalogue(tmp_path)
    [entry] = catalogue.entries()
    assert (entry.name, entry.kind, entry.status, entry.members) == ("scales", "sweep", "done", 2)
    below = catalogue.entries("scales")
    assert len(below) == 2
    assert all(one.name.startswith("scales/") and one.kind == "run" for one in below)
    assert catalogue.run(below[0].name).status == "done"
    with pytest.raises(ViewerError, match="is a sweep: choose one of its runs"):
        catalogue.run("scales")
