"""Options of the lens in a study file."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class NoiseOptions(BaseModel):
    """Noise of several variances in the data, as a remedy (linear simulators)."""

    model_config = ConfigDict(extra="forbid")

    setting: Literal["input", "state_and_next", "clean_derivative", "finite_difference"] = Field(
        "input", description="what the noise is on"
    )
    variances: list[Annotated[float, Field(ge=0)]] = Field(
        [0.0, 0.01, 0.1], min_length=1, description="s² per component of the inputs"
    )
    time_step: float | None = Field(None, gt=0, description="between states, for finite_difference")


class RolloutOptions(BaseModel):
    """Roll-outs from the first sample, on the data and nudged off them."""

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(200, ge=1, le=100_000, description="steps of a map, or rows of a continuous roll-out")
    time_step: float = Field(0.1, gt=0, description="between rows of a continuous roll-out (linear fields)")
    nudge: float = Field(
        1e-6, gt=0, description="off the data, relative to the largest amplitude of the data"
    )
    tolerance: float = Field(
        0.1, gt=0, description="error at which a forecast ends, relative to the truth's size"
    )


class SignificanceOptions(BaseModel):
    """An ensemble and its test (graph fields)."""

    model_config = ConfigDict(extra="forbid")

    members: int = Field(20, ge=2, le=1000, description="fields to train, best twice as many as `draw`")
    fraction: float = Field(0.9, gt=0, le=1, description="size of a bootstrap, of the training states")
    steps: int = Field(1500, ge=1, description="training steps of each member")
    draw: int = Field(5, ge=2, description="members of one draw")
    draws: int = Field(1000, ge=1, description="draws of the null")
    level: float = Field(0.05, gt=0, lt=1, description="level of the test")
    null_states: Literal["held_back", "training"] = Field(
        "held_back",
        description="held_back: a fifth of the states, kept from training; training: the training states",
    )


class Options(BaseModel):
    """Options of the lens `simulators` in a study file."""

    model_config = ConfigDict(extra="forbid")

    time: Literal["discrete", "continuous"] = Field(
        description="discrete: the network is a map to the next state; continuous: a vector field"
    )
    energy_tolerance: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="amplitudes up to this fraction of the largest count as none; null: rounding",
    )
    points: int = Field(16, ge=1, le=1000, description="samples at which derivatives are taken")
    noise: NoiseOptions | None = Field(NoiseOptions.model_validate({}), description="null: not asked for")
    rollout: RolloutOptions | None = Field(
        RolloutOptions.model_validate({}), description="null: not asked for"
    )
    significance: SignificanceOptions | None = Field(
        None, description="train an ensemble and test (graph fields only)"
    )
    seed: int = Field(0, ge=0, description="of draws")
