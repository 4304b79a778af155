"""Small runs for the tests of reports: a network trained by plain NumPy, and a stand-in for a run
directory."""

import dataclasses
import functools
import types

import numpy as np

from thetadot.dynamics import Accuracy, Outcome, Path, RecordedEvent, Stats
from thetadot.errors import ThetadotError
from thetadot.problems import mlp

NETWORK = mlp([3, 5, 2], "tanh")
LAYOUT = NETWORK.layout
SIZE = LAYOUT.size
_RNG = np.random.default_rng(7)
X = _RNG.normal(size=(20, 3))
Y = np.tanh(X @ _RNG.normal(size=(3, 2)))
HOSTILE = '</script><script>alert("x")</script><img src="http://evil.example/x.png"> $x_1$ $$a$$ & \'q\''


def loss_and_gradient(theta):
    """Mean squared loss and its gradient, written out by hand."""
    part = {name: theta[where].reshape(LAYOUT.shapes[name]) for name, where in LAYOUT.slices.items()}
    hidden = np.tanh(X @ part["layer1.weight"].T + part["layer1.bias"])
    error = (hidden @ part["layer2.weight"].T + part["layer2.bias"] - Y) / len(X)
    back = (error @ part["layer2.weight"]) * (1 - hidden**2)
    gradient = [back.T @ X, back.sum(axis=0), error.T @ hidden, error.sum(axis=0)]
    return 0.5 * len(X) * np.sum(error**2), np.concatenate([piece.ravel() for piece in gradient])


@functools.cache
def _descended(rate, length, seed, scale):
    """(step, θ, loss, gradient norm) at about 60 steps."""
    theta = scale * np.random.default_rng(seed).normal(size=SIZE)
    saved = set(np.unique(np.geomspace(1, length, 60).astype(int)).tolist()) | {0}
    rows = []
    with np.errstate(all="ignore"):
        for step in range(length + 1):
            loss, gradient = loss_and_gradient(theta)
            if step in saved:
                rows.append((step, theta, loss, np.linalg.norm(gradient)))
            theta = theta - rate * gradient
    return rows


def descent(rate, length, seed=0, scale=0.4, kind="descent", **changes):
    """Gradient descent from a random start; with a small rate and kind "flow" it stands for a flow."""
    rows = _descended(rate, length, seed, scale)
    number, thetas, losses, norms = (np.array(column) for column in zip(*rows, strict=True))
    flow = kind == "flow"
    path = Path(
        ts=rate * number,
        thetas=thetas,
        losses=losses,
        grad_norms=norms,
        steps=number,
        observed={"sharpness": 1.5 + np.tanh(number / length)},
        events=(RecordedEvent("small gradient", "zero", rate * length / 3, thetas[0], 0.0),) if flow else (),
        outcome=Outcome.REACHED_TIME if flow else Outcome.REACHED_STEPS,
        reason="",
        degenerate=False,
        accuracy=Accuracy(1e-4, 2.5e-6, 3e-9, 1e-8)
        if flow
        else Accuracy(None, None, np.nan, np.nan, "exact steps"),
        stats=Stats(length + 1, 0, 0, length, 3, 0.25, ((0.0, "Tsit5"), (2.0, "Kvaerno5")) if flow else ()),
        state=None,
        info={
            "kind": kind,
            "problem": "mlp 3-5-2 tanh, squared, 20 samples",
            "method": "Tsit5 → Kvaerno5" if flow else f"gradient descent, learning rate {rate:g}",
            "time_scale": 1.0,
            "normalisation": "loss: mean over samples, with ½ in the squared loss",
        },
        layout=LAYOUT,
    )
    return dataclasses.replace(path, **changes)


def flow(seed=0, **changes):
    """What stands for a gradient flow to time 60."""
    return descent(0.02, 3000, seed, kind="flow", **changes)


def broken(seed=0):
    """A descent that blows up, to numbers that are not finite."""
    return descent(1e3, 400, seed, scale=3.0, outcome=Outcome.DIVERGED)


class StandIn:
    """What a report asks of a run.

    Arguments:
        directory: where study.yaml is written.
        main: paths of the members under the main rule; None for those without a commit.
        compared: the same for each comparison rule.
    """

    def __init__(
        self, directory, main, compared=(), *, name="stand-in", status="done", study="name: stand-in\n"
    ):
        self.directory, self.name, self.status = directory, name, status
        self.members, self.compared = range(len(main)), range(len(compared))
        self._main, self._compared = main, compared
        (directory / "study.yaml").write_text(study, encoding="utf-8")
        self.manifest = types.SimpleNamespace(
            run="0123abcd", created="2026-01-02T03:04:05+00:00", package="0.1.0", versions={"jax": "9.9.9"}
        )

    def path(self, member=0, compare=None, *, skip_damaged=False):
        """The path of a member."""
        found = self._main[member] if compare is None else self._compared[compare][member]
        if found is None:
            raise ThetadotError("nothing is committed yet")
        return found
