"""Why a run ended."""

import enum


class Outcome(enum.Enum):
    """How a run ended; the value is a sentence for summaries."""

    CONVERGED = "the gradient norm reached its target at a point that is not a saddle"
    REACHED_TIME = "the end time was reached"
    REACHED_LOSS = "the loss fell to its target"
    REACHED_STEPS = "the number of steps was reached"
    EVENT = "a terminal event happened"
    BUDGET_SPENT = "the wall-clock budget was spent; the run can be resumed"
    INTERRUPTED = "the run was interrupted; it can be resumed"
    DIVERGED = "the state stopped being finite"
    STALLED = "the solver could not go on"

    @property
    def resumable(self) -> bool:
        """Whether calling again with `resume=` continues towards the same goal."""
        return self in (Outcome.BUDGET_SPENT, Outcome.INTERRUPTED)

    @property
    def failed(self) -> bool:
        """Whether the run broke down (`throw=True` raises for these)."""
        return self in (Outcome.DIVERGED, Outcome.STALLED)
