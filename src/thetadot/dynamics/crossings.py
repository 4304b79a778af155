"""Where in a step did an event happen?"""

from typing import Any

import numpy as np
from scipy.optimize import brentq

from thetadot.dynamics import engine
from thetadot.dynamics.carry import Carry, Located, Settings
from thetadot.dynamics.events import Event
from thetadot.dynamics.extension import substep
from thetadot.dynamics.path import RecordedEvent
from thetadot.dynamics.program import Program

_PIECES = 8


def locate(
    program: Program, args: Any, carry: Carry, settings: Settings, events: tuple[Event, ...]
) -> tuple[list[RecordedEvent], Carry | None]:
    """All events of the last accepted step in the order of time, and the carry at the first terminal one.

    The step is cut into pieces; in each piece where an event function changes sign its root is found by Brent's
    method on the solver's own continuous extension (one step of shorter length).
    """
    h = float(carry.last_h)
    lengths = h * np.arange(_PIECES + 1) / _PIECES
    lengths[-1] = h
    samples = substep(program, args, carry, settings, lengths)
    values = np.asarray(samples.events)
    start = float(carry.last_time) + float(carry.last_time_low)
    roots: list[tuple[float, int, float]] = []
    for number, event in enumerate(events):
        signs = engine.crossed(values[:-1, number], values[1:, number], event.wanted_direction)
        for piece in np.flatnonzero(np.asarray(signs)):

            def function(length: float, number: int = number) -> float:
                return float(substep(program, args, carry, settings, np.asarray([length])).events[0, number])

            low, high = lengths[piece], lengths[piece + 1]
            ends = values[piece, number], values[piece + 1, number]
            if ends[0] == 0:
                root = low
            elif ends[1] == 0:
                root = high
            else:
                root: Any = brentq(function, low, high, xtol=max(1e-11 * abs(start), 1e-13 * h))
            roots.append((float(root), number, float(ends[1])))
    found = []
    for root, number, after in sorted(roots):
        event = events[number]
        point = substep(program, args, carry, settings, np.asarray([root]))
        theta = np.asarray(point.y[0])
        value = float(event.fn(point.y[0], args)) if event.kind != "zero" else float(point.events[0, number])
        found.append(RecordedEvent(event.name or "event", event.kind, start + root, theta, value))
        if event.terminal:
            ended = _at(carry, point, root, number, after, samples)
            return found, engine.hand_over(program, args, ended, settings)
    return found, None


def _at(carry: Carry, point: Located, root: float, number: int, after: float, samples: Located) -> Carry:
    """The carry at an event inside the last step; the event itself counts as passed, so that resuming goes on."""
    events = np.asarray(point.events[0]).copy()
    events[number] = np.copysign(1e-300, after)
    time, low = engine.two_sum(carry.last_time, carry.last_time_low, np.asarray(root))
    total = carry.squared_speed - samples.squared_speed[-1] + point.squared_speed[0]
    return carry._replace(
        time=time, time_low=low, y=point.y[0], field=point.field[0], loss=point.loss[0], events=events,
        squared_speed=total, status=np.asarray(0, np.int64),
    )  # fmt: skip
