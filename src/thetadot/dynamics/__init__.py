"""How it moves: gradient flow, learning rules as maps, events, ensembles, and the record of a run."""

from thetadot.dynamics.accuracy import Accuracy, Stats
from thetadot.dynamics.dask_executor import DaskExecutor
from thetadot.dynamics.descend import DescendArgumentError, descend
from thetadot.dynamics.ensemble import PathEnsemble, flow_ensemble
from thetadot.dynamics.events import Event, EventError
from thetadot.dynamics.executor import Executor, InProcess, Processes, SchedulerLostError, WorkerLostError
from thetadot.dynamics.flow import flow
from thetadot.dynamics.flows import Flow, training_flow
from thetadot.dynamics.follow import FlowFailedError, ResumeError
from thetadot.dynamics.guards import InvariantManifoldWarning
from thetadot.dynamics.integrate import integrate
from thetadot.dynamics.maps import StepMap, training_map
from thetadot.dynamics.observables import ObservableError
from thetadot.dynamics.optax_rule import Optax
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.path import DenseOutputError, Path, RecordedEvent
from thetadot.dynamics.polish import Polished
from thetadot.dynamics.prepare import FlowArgumentError
from thetadot.dynamics.rates import RuleError
from thetadot.dynamics.right_sides import StateError
from thetadot.dynamics.rules import GradientDescent, HeavyBall, Nesterov, Rule
from thetadot.dynamics.saves import SavesError
from thetadot.dynamics.snapshot import Snapshot
from thetadot.dynamics.stochastic import MiniBatch, PerSample
from thetadot.dynamics.until import Until, UntilError

__all__ = [
    "Accuracy",
    "DaskExecutor",
    "DenseOutputError",
    "DescendArgumentError",
    "Event",
    "EventError",
    "Executor",
    "Flow",
    "FlowArgumentError",
    "FlowFailedError",
    "GradientDescent",
    "HeavyBall",
    "InProcess",
    "InvariantManifoldWarning",
    "MiniBatch",
    "Nesterov",
    "ObservableError",
    "Optax",
    "Outcome",
    "Path",
    "PathEnsemble",
    "PerSample",
    "Polished",
    "Processes",
    "RecordedEvent",
    "ResumeError",
    "Rule",
    "RuleError",
    "SavesError",
    "SchedulerLostError",
    "Snapshot",
    "StateError",
    "Stats",
    "StepMap",
    "Until",
    "UntilError",
    "WorkerLostError",
    "descend",
    "flow",
    "flow_ensemble",
    "integrate",
    "training_flow",
    "training_map",
]
