"""Executors: every piece comes back once, whatever happens to the workers."""

import os
import pathlib
import signal

import pytest

from thetadot.dynamics import InProcess, Processes, WorkerLostError
from thetadot.dynamics.executor import Lost


def square(x):
    return x * x


def fail(x):
    raise KeyError(f"piece {x}")


def die_until(file, times, x):
    """Kill this process the first `times` times that it is called."""
    calls = pathlib.Path(file)
    with calls.open("a") as log:
        log.write("x")
    if len(calls.read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("executor", [InProcess(), Processes(2)], ids=["in process", "processes"])
def test_every_piece_comes_back_once(executor):
    found = dict(executor.run(square, [(x,) for x in range(7)]))
    assert found == {x: x * x for x in range(7)}


@pytest.mark.parametrize("executor", [InProcess(), Processes(2)], ids=["in process", "processes"])
def test_no_more_is_handed_out_when_the_caller_says_so(executor):
    said = []

    def tick(running, lost):
        said.append((running, lost))
        return len(said) < 2

    found = dict(executor.run(square, [(x,) for x in range(50)], tick=tick))
    assert 0 < len(found) < 10
    assert all(found[x] == x * x for x in found)


def test_what_a_piece_raises_is_raised_here():
    with pytest.raises(KeyError, match="piece 3"):
        list(Processes(1).run(fail, [(3,)]))


def test_a_piece_whose_worker_is_killed_is_handed_out_again(tmp_path):
    pieces = [(tmp_path / "calls", 2, x) for x in range(3)]
    assert dict(Processes(1).run(die_until, pieces, attempts=3)) == {0: 0, 1: 1, 2: 2}
    assert len((tmp_path / "calls").read_text()) == 5


@pytest.mark.slow  # a sweep's task that does is among the quick ones
def test_a_piece_that_kills_all_its_workers_is_given_up_and_the_others_are_not(tmp_path):
    pieces = [(tmp_path / "calls", 2, x) for x in range(3)]
    found = dict(Processes(1).run(die_until, pieces, attempts=2))
    assert isinstance(found[0], Lost)
    assert found[0].attempts == 2
    assert "killed by SIGKILL" in found[0].reason
    assert (found[1], found[2]) == (1, 2)
    with pytest.raises(WorkerLostError, match="killed by SIGKILL: the results of its piece are lost"):
        list(Processes(1).run(die_until, [(tmp_path / "others", 1, 0)]))
