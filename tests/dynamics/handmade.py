"""A path made by hand, with everything that a path can hold, so that what is written can be compared with
what was put in. Its numbers are not physics; nothing here runs the flow."""

import dataclasses

import numpy as np

from thetadot.dynamics import Accuracy, Outcome, Path, RecordedEvent, Snapshot, Stats
from thetadot.dynamics.polish import Polished
from thetadot.problems import mlp

LAYOUT = mlp([3, 4, 2], "tanh").layout
SIZE = LAYOUT.size


def handmade(rows: int = 40, seed: int = 0, **changes) -> Path:
    """A path of a 3-4-2 network with two events, two observables, a state and a polished end."""
    rng = np.random.default_rng(seed)
    ts = np.concatenate([[0.0], np.geomspace(0.01, 1e3, rows - 1)])
    path = Path(
        ts=ts,
        thetas=np.cumsum(rng.normal(size=(rows, SIZE)), axis=0) / 7,
        losses=2.0 / (1 + ts) + 1e-5,
        grad_norms=2.0 / (1 + ts) ** 2,
        steps=np.arange(rows) * 3,
        observed={"sharpness": rng.uniform(1, 5, rows), "layer_norms": rng.uniform(1, 2, (rows, 4))},
        events=(
            RecordedEvent("minimum of ‖∇L‖", "minimum", 0.7, rng.normal(size=SIZE), 0.1),
            RecordedEvent("plateau", "plateau", 55.0, rng.normal(size=SIZE)),
        ),
        outcome=Outcome.REACHED_TIME,
        reason="t = 1000",
        degenerate=True,
        accuracy=Accuracy(1e-6, 3.25e-7, float("nan"), 1e-9, "by a second run"),
        stats=Stats(1234, 5, 6, 117, 8, 0.1 + 0.2, ((0.0, "Tsit5"), (1 / 3, "Kvaerno5"))),
        state=Snapshot(
            {"y": rng.normal(size=5), "key": np.arange(4, dtype=np.uint32)}, {"h": 1e-3, "list": [1, 2]}
        ),
        info={
            "kind": "flow",
            "problem": "mlp 3-4-2 tanh, squared, 9 samples",
            "method": "Tsit5 → Kvaerno5",
            "time_scale": 1.0,
            "normalisation": "L is the mean over samples",
        },
        layout=LAYOUT,
        polished=Polished(rng.normal(size=SIZE), 1e-9, 1e-15, 2e-3, 0.25, 4, "a minimum"),
    )
    return dataclasses.replace(path, **changes)
