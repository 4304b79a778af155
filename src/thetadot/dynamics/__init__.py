"""How it moves: gradient flow, learning rules as maps, events, ensembles, and the record of a run."""

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.events import Event, EventError
from thetadot.dynamics.flow import flow
from thetadot.dynamics.flows import Flow, training_flow
from thetadot.dynamics.follow import FlowFailedError, ResumeError
from thetadot.dynamics.guards import InvariantManifoldWarning
from thetadot.dynamics.integrate import integrate
from thetadot.dynamics.observables import ObservableError
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import DenseOutputError, Path, RecordedEvent
from thetadot.dynamics.polish import Polished
from thetadot.dynamics.prepare import FlowArgumentError
from thetadot.dynamics.right_sides import StateError
from thetadot.dynamics.saves import SavesError
from thetadot.dynamics.snapshot import Snapshot
from thetadot.dynamics.until import Until, UntilError

__all__ = [
    "Accuracy",
    "DenseOutputError",
    "Event",
    "EventError",
    "Flow",
    "FlowArgumentError",
    "FlowFailedError",
    "InvariantManifoldWarning",
    "ObservableError",
    "Outcome",
    "Path",
    "Polished",
    "RecordedEvent",
    "ResumeError",
    "SavesError",
    "Snapshot",
    "StateError",
    "Stats",
    "Until",
    "UntilError",
    "flow",
    "integrate",
    "training_flow",
]
