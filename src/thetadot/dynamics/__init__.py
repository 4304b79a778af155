"""How it moves: gradient flow, learning rules as maps, events, ensembles, and the record of a run."""

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.events import Event, EventError
from thetadot.dynamics.flows import Flow, training_flow
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import DenseOutputError, Path, RecordedEvent
from thetadot.dynamics.saves import SavesError
from thetadot.dynamics.snapshot import Snapshot
from thetadot.dynamics.until import Until, UntilError

__all__ = [
    "Accuracy",
    "DenseOutputError",
    "Event",
    "EventError",
    "Flow",
    "Outcome",
    "Path",
    "RecordedEvent",
    "SavesError",
    "Snapshot",
    "Stats",
    "Until",
    "UntilError",
    "training_flow",
]
