"""Lenses for tests: what they find is plain arithmetic on the path."""

import os
import signal
from pathlib import Path

import numpy as np
import xarray
from pydantic import BaseModel

from thetadot.errors import ThetadotError, ThetadotWarning
from thetadot.studies import lenses

STUDY = """\
name: looked
problem:
  kind: empirical
  network: {kind: mlp, widths: [4, 2, 3]}
  data: {kind: iris}
  loss: cross_entropy
init: {scale: 0.5, seed: 0, members: 2}
rule: {kind: gradient_descent, learning_rate: 0.1, steps: 12, saves: steps}
compare:
- {kind: gradient_descent, learning_rate: 0.2, steps: 8, saves: steps}
lenses: {norms: {power: 3.0}}
"""


class NotForThisError(ThetadotError):
    """The lens does not apply."""


class OddWarning(ThetadotWarning):
    """Something that a reader should know."""


class Options(BaseModel, extra="forbid"):
    """Options of the toy lenses."""

    power: float = 2.0
    """Power of the norms."""
    place: str = ""
    """File at which a lens counts its calls, or whose presence changes what it does."""


class Found:
    """What `norms` finds."""

    def __init__(self, path, power, rule):
        norms = np.linalg.norm(path.thetas, axis=1) ** power
        self.data = xarray.Dataset(
            {
                "norm": ("time", norms, {"units": "units of θ", "weights": [1, float("inf")]}),
                "largest": ((), norms.max()),
                "broken": ("time", np.where(np.arange(norms.size) == 1, np.nan, norms)),
                "grew": ("time", np.diff(norms, prepend=norms[0]) > 0),
                "pairs": (("time", "side"), np.stack([norms, -norms], axis=1).astype(np.float32)),
                "nothing": ("none", np.zeros(0)),
                "hollow": (("time", "none"), np.zeros((norms.size, 0))),
                "word": ((), "ja"),
            },
            {"time": path.ts, "side": np.array(["left", "right"]), "at": ("time", path.steps)},
            {
                "rule": "none" if rule is None else type(rule).__name__,
                "power": power,
                "odd": np.float64(np.nan),
            },
        )

    def to_xarray(self):
        """The Dataset."""
        return self.data

    def summary(self):
        """One line."""
        return f"largest norm {float(self.data.largest):.3g},\n of {self.data.sizes['time']} rows"


def norms(problem, path, options, *, rule=None):
    """Norms of the weights; counts its calls."""
    if options.place:
        with Path(options.place).open("a") as file:
            file.write("x")
    return Found(path, options.power, rule)


def fussy(problem, path, options):
    """Does not apply to the second member, and warns."""
    import warnings

    warnings.warn("the path is short", OddWarning, stacklevel=1)
    if path.losses[0] > 1.2:
        raise NotForThisError("this path\nbegins too high")
    return Found(path, options.power, None)


def buggy(problem, path, options):
    """Has a bug as long as its file is not there."""
    if not Path(options.place).exists():
        raise KeyError("no such thing")
    return Found(path, options.power, None)


def deadly(problem, path, options):
    """Kills the process unless its file is there, which it makes."""
    if not Path(options.place).exists():
        Path(options.place).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Found(path, options.power, None)


def interrupted(problem, path, options):
    """Interrupts the session as long as its file is not there."""
    if not Path(options.place).exists():
        os.kill(os.getpid(), signal.SIGINT)
    return Found(path, options.power, None)


def register():
    """Make the toy lenses known."""
    lenses.register_lens("norms", Options, norms, compared=("gradient_descent",))
    for lens in (fussy, buggy, deadly, interrupted):
        lenses.register_lens(lens.__name__, Options, lens)
