"""The host-driven counterpart of the compiled chunk: CVODE takes the steps, everything else stays as it is."""

import contextlib
import functools
import io
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from thetadot.dynamics import engine
from thetadot.dynamics.carry import Carry, Rows, Settings
from thetadot.dynamics.observables import Static
from thetadot.dynamics.program import Program
from thetadot.numerics.solvers.cvode import DEGREE, Memory, lagrange
from thetadot.numerics.solvers.stepping import RightSide

RESTART = 500  # steps after which CVODE starts afresh
KRYLOV = 30
_MOST_FAILURES = 20  # in a row, each followed by a fresh start
_HEALTHY = 20  # steps after which failures are no longer in a row
_RESOLUTION = (
    1e4 * np.finfo(float).eps
)  # steps below this part of the time since the last start are lost in it


@eqx.filter_jit
def _absolute_tolerance(program: Program, settings: Settings, y: Any):
    return program.absolute_tolerance(y**2, settings)


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(given: Static, leaves: list[Any], y: Any):
    side, args = _joined(given, leaves)
    field, loss = side.evaluate(y, args)
    return jnp.append(field, loss)


@functools.partial(jax.jit, static_argnums=0)
def _jacobian(given: Static, leaves: list[Any], y: Any):
    side, args = _joined(given, leaves)
    return side.jacobian(y, args)


@functools.partial(jax.jit, static_argnums=0)
def _product(given: Static, leaves: list[Any], y: Any, v: Any):
    side, args = _joined(given, leaves)
    return side.linearize(y, args)[2](v)


def _joined(given: Static, leaves: list[Any]) -> Any:
    structure, rest = given.tree
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


@eqx.filter_jit
def _row(program: Program, args: Any, y: Any):
    field, loss = program.right_side.evaluate(y, args)
    return field, loss, {name: fn(y, args) for name, fn in program.observe}


@eqx.filter_jit
def _event_values(program: Program, args: Any, values: Any, h: Any, field: Any):
    """Event functions at a quarter, half, three quarters and the end of a step."""

    def at(position):
        state = lambda s: (lagrange(s) @ values)[:-1]  # noqa: E731
        y, slope = jax.jvp(state, (position,), (jnp.ones_like(position),))
        return program.event_values(y, slope / h, args)

    inner = jax.lax.map(at, jnp.asarray([0.25, 0.5, 0.75], values.dtype))
    return jnp.concatenate([inner, program.event_values(values[-1, :-1], field, args)[None]])


class _Counts:
    """Evaluations of a stretch of steps."""

    def __init__(self):
        self.evaluations = self.jacobians = self.products = self.rejected = 0


class _Functions:
    """Field and Jacobian on NumPy arrays."""

    def __init__(self, side: RightSide, args: Any):
        arrays, rest = eqx.partition((side, args), eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        # Flat, since taking a problem apart at every call costs more than a small gradient.
        self._call = (Static((structure, rest)), leaves)

    def field(self, y: np.ndarray) -> tuple[np.ndarray, float]:
        both = np.asarray(_evaluate(*self._call, y))
        return both[:-1], float(both[-1])

    def jacobian(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(_jacobian(*self._call, y))

    def product(self, y: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.asarray(_product(*self._call, y, v))


class _Session:
    """CVODE since its last fresh start; its time counts from there."""

    def __init__(self, program: Program, functions: _Functions, settings: Settings, memory: Memory):
        from sksundae import cvode

        self.size, self.with_loss = len(memory.y), program.right_side.has_loss
        self.functions, self.counts = functions, _Counts()
        self.last_field, self.last_loss = np.zeros(self.size), np.nan
        self.finite = True
        self.time = self.before = 0.0
        self._attempted, self._interpolated = -1.0, False
        self._ahead = 1e4 * float(memory.h)
        y, dense = np.asarray(memory.y), program.stepper.name == "CVODE"
        absolute = np.asarray(_absolute_tolerance(program, settings, y))
        start = y
        if self.with_loss:
            drop = max(
                float(memory.squared_speed), 1e-3 * float(settings.time_scale * abs(settings.base_loss))
            )
            absolute = np.append(absolute, max(10 * float(settings.rtol) * drop, 1e-290))
            start = np.append(y, 0.0)
        own = {"linsolver": "dense", "jacfn": self._matrix}
        if not dense:
            own = {
                "linsolver": "gmres",
                "krylov_dim": min(KRYLOV, start.size),
                "jactimes": cvode.CVODEJacTimes(None, self._times),
            }
        options: dict[str, Any] = {"rtol": float(settings.rtol), "atol": absolute, **own}
        self._solver: Any = cvode.CVODE(self._field, method="BDF", **options)
        self._solver.init_step(0.0, start)

    def _field(self, t, state, out):
        field, loss = self.functions.field(state[: self.size])
        self.last_field, self.last_loss = field, loss
        self.finite = self.finite and bool(np.isfinite(field).all())
        out[: self.size] = field
        if self.with_loss:
            out[-1] = field @ field
        self.counts.evaluations += 1
        if t != self._attempted and self.time > 0:
            self.counts.rejected += self._attempted > self.time
            self._attempted = t

    def _matrix(self, t, state, field, out):
        matrix = self.functions.jacobian(state[: self.size])
        out[: self.size, : self.size] = matrix
        if self.with_loss:
            out[-1, : self.size] = 2 * field[: self.size] @ matrix
            out[:, -1] = 0.0
        self.counts.jacobians += 1

    def _times(self, t, state, field, vector, out):
        product = self.functions.product(state[: self.size], np.array(vector[: self.size]))
        out[: self.size] = product
        if self.with_loss:
            out[-1] = 2 * (field[: self.size] @ product)
        self.counts.products += 1

    def step(self) -> np.ndarray | None:
        """The state one accepted step further, with ∫|F|² since the start; None if CVODE finds no step."""
        self.finite, self._attempted = True, -1.0
        before = self.time
        if before > 0 and before - self.before < _RESOLUTION * before:
            return None
        result = self._solver.step(self._ahead, "onestep", None)
        if self._interpolated and result.success and result.t == before:
            # After an interpolation CVODE first returns to where it was.
            result = self._solver.step(self._ahead, "onestep", None)
        self._interpolated = False
        self.finite = self.finite and bool(np.isfinite(result.y).all())
        if not (result.success and result.t > before and np.isfinite(result.y).all()):
            return None
        self.before, self.time = before, float(result.t)
        return result.y

    def at(self, time: float) -> np.ndarray:
        """The state at a time within the last step."""
        self._interpolated = True
        return self._solver.step(min(max(time, self.before), self.time), "normal", None).y


class Sundials:
    """Drives a run by CVODE; takes the place of `engine.chunk`. One object a run: it keeps CVODE alive between
    chunks, and makes it again from the carry when that is not the one it returned last."""

    def __init__(self):
        self._session: _Session | None = None
        self._memory: Any = None
        self._functions: tuple[Any, _Functions] | None = None

    def __call__(
        self,
        program: Program,
        args: Any,
        carry: Carry,
        settings: Settings,
        save_times: Float[np.ndarray, " block"],
        most_attempts: Any,
    ) -> tuple[Carry, Rows, int, int, int]:
        """As `engine.chunk`."""
        if self._functions is None or self._functions[0] is not args:
            self._functions = (args, _Functions(program.right_side, args))
        session = self._session if carry.memory is self._memory else None
        self._session = None  # an interrupt leaves CVODE inside a step
        run = _Chunk(program, args, settings, self._functions[1], session, carry)
        # scikit-sundae prints its errors; near a blow-up numbers overflow, and CVODE turns back.
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(over="ignore", invalid="ignore"):
            passed = run.advance(save_times, int(most_attempts))
        self._session, self._memory = run.session, run.carry.memory
        return run.carry, run.buffers(), len(run.rows), len(run.steps), passed


class _Chunk:
    """One chunk: the carry as it moves, and the rows."""

    def __init__(
        self,
        program: Program,
        args: Any,
        settings: Settings,
        functions: _Functions,
        session: _Session | None,
        carry: Carry,
    ):
        self.program, self.args, self.settings = program, args, settings
        self.functions, self.session = functions, session
        self.carry: Carry = jax.tree.map(np.asarray, carry)
        self.rows: list[tuple] = []
        self.observed: list[dict[str, np.ndarray]] = []
        self.steps: list[tuple] = []
        self.sampled = bool(program.events) or program.dense_rows > 0
        self.exact = bool(program.events) or bool(np.isfinite(settings.loss))

    def advance(self, save_times: np.ndarray, most_attempts: int) -> int:
        """Go on as `engine.chunk` does; the number of save times passed."""
        program, index = self.program, 0
        for _ in range(most_attempts):
            carry, due = self.carry, save_times[index]
            passed = bool((due - carry.time) - carry.time_low <= 0)
            room = len(self.rows) < program.rows
            room = room and (program.dense_rows == 0 or len(self.steps) < program.dense_rows)
            if not (room and index < len(save_times) - 1 and (passed or carry.unsaved or carry.status == 0)):
                break
            if passed or carry.unsaved:
                self._save(due, passed)
                index += passed
            else:
                self._attempt()
        field, loss = self.functions.field(self.carry.y)
        self.carry = jax.tree.map(jnp.asarray, self.carry._replace(field=field, loss=loss))
        return index

    def _save(self, due: float, passed: bool) -> None:
        carry, memory = self.carry, self.carry.memory
        y = carry.y
        if passed and carry.last_h > 0:
            y = self._alive().at(float((due - memory.time) - memory.time_low))[: y.size]
        field, loss, observed = jax.device_get(_row(self.program, self.args, y))
        norm = np.sqrt(np.sum(field**2)) / self.settings.time_scale
        self.rows.append((due if passed else carry.time, y, loss, norm, carry.accepted))
        self.observed.append(observed)
        self.carry = carry._replace(evaluations=carry.evaluations + 1, unsaved=carry.unsaved & passed)

    def _alive(self) -> _Session:
        """CVODE where the carry is; made again by repeating its steps if need be."""
        if self.session is None:
            memory = self.carry.memory
            self.session = _Session(self.program, self.functions, self.settings, memory)
            for _ in range(int(memory.steps)):
                self.session.step()
            self.session.counts = _Counts()
        return self.session

    def _start_afresh(self) -> None:
        carry = self.carry
        zero = np.asarray(0, np.int64)
        memory = Memory(
            carry.y, carry.time, carry.time_low, carry.squared_speed, carry.h, zero, carry.memory.values
        )
        self.carry, self.session = carry._replace(memory=memory), None

    def _attempt(self) -> None:
        if not 0 <= self.carry.memory.steps < RESTART:
            self._start_afresh()
        session = self._alive()
        state = session.step()
        counts, session.counts = session.counts, _Counts()
        carry = self.carry
        self.carry = carry._replace(
            evaluations=carry.evaluations + counts.evaluations, jacobians=carry.jacobians + counts.jacobians,
            products=carry.products + counts.products, rejected=carry.rejected + counts.rejected,
        )  # fmt: skip
        if state is None:
            self._fail(session)
        else:
            self._accept(session, state)

    def _fail(self, session: _Session) -> None:
        """No step from here: start afresh, unless that was just done or nothing is gained by it."""
        carry, status = self.carry, 0
        failures = carry.rejections + 1
        if carry.memory.steps == 0 or failures >= _MOST_FAILURES:
            status = engine.FAILED
        field, _ = self.functions.field(carry.y)
        # A state that multiplies within the resolution of time is a blow-up.
        blows_up = _RESOLUTION * carry.time * np.linalg.norm(field) > np.linalg.norm(carry.y)
        if blows_up or (status and not session.finite):
            status = engine.NONFINITE
        self.carry = carry._replace(
            rejections=failures, rejected=carry.rejected + 1, status=np.asarray(status, np.int64)
        )
        self._start_afresh()

    def _accept(self, session: _Session, state: np.ndarray) -> None:
        carry, memory, settings = self.carry, self.carry.memory, self.settings
        y, h = state[: carry.y.size], np.asarray(session.time - session.before)
        time, low = engine.two_sum(memory.time, memory.time_low, np.asarray(session.time))
        squared_speed = memory.squared_speed + (state[-1] if session.with_loss else 0.0)
        field, loss = session.last_field, session.last_loss
        norm = np.linalg.norm(field) / settings.time_scale
        evaluations = carry.evaluations
        # The last field is that of Newton's last iterate but one: near enough to see that no end is near.
        if self.exact or norm <= 2.5 * max(carry.trigger, carry.polish):
            field, loss = self.functions.field(y)
            norm, evaluations = np.linalg.norm(field) / settings.time_scale, evaluations + 1
        values, events, happened = memory.values, carry.events, False
        if self.sampled:
            values = self._sample(session, state)
        if self.program.events:
            inner = np.asarray(_event_values(self.program, self.args, values, h, field))
            chain = np.concatenate([carry.events[None], inner])
            for number, (_, _, direction) in enumerate(self.program.events):
                crossed = engine.crossed(chain[:-1, number], chain[1:, number], direction)
                happened = happened or bool(np.any(crossed))
            events = chain[-1]
        trigger = settings.grad_norm if norm > 2 * settings.grad_norm else carry.trigger
        status = (
            engine.TIME * bool(time >= settings.end)
            | engine.LOSS * bool(loss <= settings.loss)
            | engine.GRADIENT * bool(norm <= trigger)
            | engine.STEPS * bool(carry.accepted + 1 >= settings.steps)
            | engine.EVENT * happened
            | engine.POLISH * bool(norm <= carry.polish)
        )
        if self.program.dense_rows:
            self.steps.append((carry.time, carry.time_low, values, h))
        rejections = np.zeros_like(carry.rejections) if memory.steps >= _HEALTHY else carry.rejections
        # As in `engine`: near the edge of what is defined, steps are accepted between overflows.
        nonfinite = max(carry.nonfinite - 1, 0) if session.finite else carry.nonfinite + 2
        if nonfinite >= engine.MOST_NONFINITE:
            status = engine.NONFINITE
        self.carry = carry._replace(
            time=time, time_low=low, y=y, field=field, loss=np.asarray(loss), h=h,
            squared_speed=np.asarray(squared_speed), trigger=np.asarray(trigger), events=events,
            rejections=rejections, nonfinite=np.asarray(nonfinite), accepted=carry.accepted + 1,
            evaluations=evaluations, last_time=carry.time, last_time_low=carry.time_low, last_y=carry.y,
            last_field=carry.field, last_h=h, unsaved=settings.every_step & (time <= settings.end),
            status=np.asarray(status, np.int64), memory=memory._replace(steps=memory.steps + 1, values=values),
        )  # fmt: skip

    def _sample(self, session: _Session, state: np.ndarray) -> np.ndarray:
        """States at even positions of the last step, which begins where the one before ended."""
        span = session.time - session.before
        inner = [session.at(session.before + span * k / DEGREE) for k in range(1, DEGREE)]
        first = np.append(self.carry.y, self.carry.squared_speed - self.carry.memory.squared_speed)
        values = np.zeros((DEGREE + 1, first.size))
        for row, part in zip(values, (first, *inner, state), strict=True):
            row[: part.size] = part
        return values

    def buffers(self) -> Rows:
        """The rows as `engine.chunk` hands them back, without empty places."""
        size = self.carry.y.size
        # Without a row, the shapes of the observables come from one that is not kept.
        observed = self.observed or [jax.device_get(_row(self.program, self.args, self.carry.y)[2])]
        times, thetas, losses, norms, steps = zip(*self.rows, strict=True) if self.rows else ((),) * 5
        starts, lows, values, lengths = zip(*self.steps, strict=True) if self.steps else ((),) * 4
        return Rows(
            times=np.asarray(times, float),
            thetas=np.asarray(thetas, float).reshape(-1, size),
            losses=np.asarray(losses, float),
            grad_norms=np.asarray(norms, float),
            steps=np.asarray(steps, np.int64),
            observed={
                name: np.stack([row[name] for row in observed])[: len(self.rows)] for name in observed[0]
            },
            step_times=np.asarray(starts, float),
            step_lows=np.asarray(lows, float),
            step_states=np.asarray(values, float).reshape(-1, DEGREE + 1, size + 1),
            step_lengths=np.asarray(lengths, float),
        )
