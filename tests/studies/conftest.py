"""Paths made by hand, and a small study, for tests of the store."""

import numpy as np
import pytest

from thetadot.dynamics import Accuracy, Outcome, Path, RecordedEvent, Snapshot, Stats
from thetadot.problems import mlp

STUDY = """\
name: small
problem:
  kind: empirical
  network: {kind: mlp, widths: [4, 3, 3], activation: tanh}
  data: {kind: iris}
  loss: cross_entropy
init: {scale: 0.5, seed: 0, members: 2}
rule:
  kind: flow
  until: {time: 1e3, grad_norm: 1e-8}
  accuracy: 1e-6
compare:
- {kind: gradient_descent, learning_rate: 0.1, steps: 100}
observe: [sharpness]
budget: {wall: 20m}
"""


@pytest.fixture
def study_text():
    """A valid study file."""
    return STUDY


@pytest.fixture
def study_file(tmp_path):
    """A valid study file on disk, in a directory of its own."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def make_path():
    """(rows, …) → Path of drawn numbers; its first rows do not depend on how many follow."""
    layout = mlp([4, 3, 3], "tanh").layout

    def make(rows, *, seed=0, outcome=Outcome.BUDGET_SPENT, events=2, width=None):
        size = layout.size if width is None else width
        draw = np.random.default_rng(seed).normal(size=(rows, size + 8))
        recorded = tuple(
            RecordedEvent(name, "plateau", float(number), draw[number, :size].copy(), np.nan)
            for number, name in zip(range(min(events, rows)), ("plateau one", "second"), strict=False)
        )
        return Path(
            ts=np.arange(rows, dtype=float),
            thetas=draw[:, :size].copy(),
            losses=draw[:, -1].copy(),
            grad_norms=np.where(np.arange(rows) == 1, np.nan, draw[:, -2]),
            steps=np.arange(rows, dtype=np.int64) * 3,
            observed={"sharpness": draw[:, -3].copy(), "loss": draw[:, -7:-3].copy()},
            events=recorded,
            outcome=outcome,
            reason="made by hand",
            degenerate=False,
            accuracy=Accuracy(1e-6, None, float("nan"), 1e-8, "by hand"),
            stats=Stats(gradients=rows, seconds=0.5, solvers=((0.0, "Tsit5"),)),
            state=Snapshot(
                {"a": draw[-1], "key": np.arange(3, dtype=np.uint32)}, {"at": rows, "x": float("inf")}
            ),
            info={"method": "by hand", "problem": "drawn", "normalisation": "none"},
            layout=layout if width is None else None,
        )

    return make
