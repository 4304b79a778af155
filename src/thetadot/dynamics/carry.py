"""What a run carries from step to step, and the numbers that steer it.

Arrays of any kind: the host writes NumPy arrays where compiled functions return JAX arrays.
"""

from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int


class Settings(NamedTuple):
    """Numbers that steer a run; traced, so that changing them compiles nothing."""

    rtol: Float[Any, ""]
    atol: Float[Any, " n"]  # used where `scale_guard` is 0
    scale_guard: Float[Any, ""]  # factor of rtol times the running scale; 0 switches it off
    floor: Float[Any, ""]  # smallest scale
    groups: Int[Any, " n"]  # group (layer) of each component
    end: Float[Any, ""]
    grad_norm: Float[Any, ""]  # 0: never
    loss: Float[Any, ""]  # −inf: never
    steps: Int[Any, ""]
    polish: Float[Any, ""]  # gradient norm at which the first polish is tried; 0: never
    every_step: Bool[Any, ""]
    switch: Bool[Any, ""]  # report stiffness
    time_scale: Float[Any, ""]
    base_loss: Float[Any, ""]  # L(0)
    pieces: Float[Any, ""]  # least number of steps between two save times


class Carry(NamedTuple):
    """The whole state of a run."""

    time: Float[Any, ""]
    time_low: Float[Any, ""]  # compensation: the time is time + time_low
    y: Float[Any, " n"]
    field: Float[Any, " n"]
    loss: Float[Any, ""]
    h: Float[Any, ""]
    previous_error: Float[Any, ""]
    squared_speed: Float[Any, ""]  # ∫|F|²dt so far
    trigger: Float[Any, ""]  # gradient norm at which the convergence guard looks next
    polish: Float[Any, ""]  # gradient norm at which a polish is tried next
    events: Float[Any, " events"]  # event functions at y
    stiff: Int[Any, ""]  # evidence that the other solver of an automatic choice fits better
    patience: Int[Any, ""]  # steps of such evidence after which an implicit method hands over
    rejections: Int[Any, ""]  # in a row
    nonfinite: Int[Any, ""]  # rejections of non-finite states, weighted against accepted steps
    accepted: Int[Any, ""]
    rejected: Int[Any, ""]
    evaluations: Int[Any, ""]
    jacobians: Int[Any, ""]
    products: Int[Any, ""]
    last_time: Float[Any, ""]  # start of the last accepted step
    last_time_low: Float[Any, ""]
    last_y: Float[Any, " n"]
    last_field: Float[Any, " n"]
    last_h: Float[Any, ""]
    cap: Float[Any, ""]  # largest step until the next save time
    unsaved: Bool[Any, ""]  # a row is due now
    status: Int[Any, ""]
    memory: Any  # the method's own


class Rows(NamedTuple):
    """Buffers of saved rows and, with dense output, of steps."""

    times: Float[Any, " rows"]
    thetas: Float[Any, "rows n"]
    losses: Float[Any, " rows"]
    grad_norms: Float[Any, " rows"]
    steps: Int[Any, " rows"]
    observed: Any
    step_times: Float[Any, " dense"]
    step_lows: Float[Any, " dense"]
    step_states: (
        Any  # where each step starts (dense, n), or its interpolant (dense, m, n+1) if the method has one
    )
    step_lengths: Float[Any, " dense"]


class Located(NamedTuple):
    """A state inside a step."""

    y: Float[Any, "*k n"]
    field: Float[Any, "*k n"]
    loss: Float[Any, "*k"]
    events: Float[Any, "*k events"]
    squared_speed: Float[Any, "*k"]  # of the step up to there
