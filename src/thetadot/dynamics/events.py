"""Events: moments worth recording along a flow."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from thetadot.errors import ThetadotError

KINDS = ("zero", "minimum", "maximum")


class EventError(ThetadotError):
    """An event that is not understood."""


@dataclasses.dataclass(frozen=True)
class Event:
    """Something to record along a flow, with its time located to 1e-8 (relative).

    Arguments:
        fn: (theta, args) → scalar, traceable; args is the Flow's (the problem itself in `flow`).
        kind: "zero" (fn crosses zero), "minimum" or "maximum" (of fn along the flow).
        terminal: end the run there, outcome EVENT.
        direction: for "zero": +1 only upward, −1 only downward, None both.
        name: label in the record; the function's name if not given.

    Example:
        >>> import jax.numpy as jnp
        >>> def radius(theta, problem):
        ...     return jnp.linalg.norm(theta) - 1.0
        >>> Event(radius, terminal=True).label(0)
        'radius'
    """

    fn: Callable
    kind: str = "zero"
    terminal: bool = False
    direction: int | None = None
    name: str | None = None

    def __post_init__(self):
        if not callable(self.fn):
            raise EventError(f"an event's fn must be a function (theta, args) → scalar, got {self.fn!r}")
        if self.kind not in KINDS:
            raise EventError(f"event kind {self.kind!r} is not known: choose one of {', '.join(KINDS)}")
        if self.direction not in (None, 1, -1):
            raise EventError(f"event direction {self.direction!r}: expected +1, −1 or None")
        if self.direction is not None and self.kind != "zero":
            raise EventError(f'direction belongs to events of kind "zero"; this one is a {self.kind}')

    def label(self, index: int) -> str:
        """The name under which the event is recorded."""
        if self.name is not None:
            return self.name
        own = getattr(self.fn, "__name__", "")
        return own if own and own != "<lambda>" else f"event{index}"

    @property
    def wanted_direction(self) -> int:
        """Sign of the crossing that counts (0 both): minima are upward zeros of the rate, maxima downward ones."""
        if self.kind == "minimum":
            return 1
        if self.kind == "maximum":
            return -1
        return self.direction or 0


def resolve_events(events: Sequence[Event] | Mapping[str, Event]) -> tuple[Event, ...]:
    """Events with unique names, from a sequence or {name: event}."""
    if isinstance(events, Event):
        events = (events,)
    if isinstance(events, Mapping):
        resolved = [dataclasses.replace(event, name=name) for name, event in events.items()]
    else:
        for event in events:
            if not isinstance(event, Event):
                raise EventError(f"events must be thetadot.Event objects, got {type(event).__name__}")
        resolved = [dataclasses.replace(event, name=event.label(i)) for i, event in enumerate(events)]
    names = [event.name for event in resolved]
    if len(set(names)) != len(names):
        raise EventError(f"two events have the same name in {names}: give each its own name=")
    return tuple(resolved)
