"""When a run ends."""

import dataclasses
import math

from thetadot.errors import ThetadotError


class UntilError(ThetadotError):
    """An end condition that cannot be met or understood."""


@dataclasses.dataclass(frozen=True)
class Until:
    """End conditions; the first that holds ends the run.

    Arguments:
        time: end time, in the units of the loss.
        grad_norm: ends when ‖∇L‖ falls to this, unless the point is a saddle (a Hessian eigenvalue is
            negative): there the flow goes on and records a `plateau` event.
        loss: ends when the loss falls to this.
        steps: ends after this many accepted steps.
        accept_saddles: let `grad_norm` end the run at saddles too.

    Example:
        >>> Until(time=1e4, grad_norm=1e-8)
        Until(time=10000.0, grad_norm=1e-08, loss=None, steps=None, accept_saddles=False)
    """

    time: float | None = None
    grad_norm: float | None = None
    loss: float | None = None
    steps: int | None = None
    accept_saddles: bool = False

    def __post_init__(self):
        if all(bound is None for bound in (self.time, self.grad_norm, self.loss, self.steps)):
            raise UntilError("until names no end: give at least one of time, grad_norm, loss, steps")
        for name in ("time", "grad_norm"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UntilError(f"until.{name} = {value!r}: expected a positive finite number")
        if self.loss is not None and not math.isfinite(self.loss):
            raise UntilError(f"until.loss = {self.loss!r}: expected a finite number")
        if self.steps is not None and not (isinstance(self.steps, int) and self.steps > 0):
            raise UntilError(f"until.steps = {self.steps!r}: expected a positive integer")
