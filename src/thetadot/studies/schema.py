"""What a study file may say, as pydantic models: no unknown keys, no silent conversions."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from thetadot.studies.lenses import lens_names, lens_options
from thetadot.studies.problem_schema import Problem
from thetadot.studies.rule_schema import Rule
from thetadot.studies.schema_parts import Count, Duration, FileName, Part, Positive, Seed, Word

Observable = Literal[
    "sharpness", "layer_norms", "balancedness", "alignment", "test_loss", "accuracy", "test_accuracy"
]
Values = Annotated[list[Any], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Init(Part):
    """Where the members start."""

    scale: Positive = 1.0
    """Scale of the random weights."""
    scales: Annotated[list[Positive], Field(min_length=1)] | None = None
    """One member for each of these scales, all from the same draw."""
    seed: Seed = 0
    members: Count = 1
    """Number of members, each with a draw of its own."""
    file: FileName | None = None
    """An .npz file with an array `theta0`, (P,) or (members, P)."""
    only: Seed | None = None
    """Number of a member: the run consists of this one alone (a sweep runs its members so)."""

    @model_validator(mode="after")
    def _one_way(self) -> "Init":
        given = self.model_fields_set
        for one in ("scales", "file"):
            others = {"scale", "scales", "seed", "members", "file"} - {
                one,
                "seed" if one == "scales" else one,
            }
            clash = sorted(given & others)
            if one in given and getattr(self, one) is not None and clash:
                raise ValueError(f"`{one}` and `{clash[0]}` exclude each other: remove one of them")
        if self.only is not None and self.amount is not None and self.only >= self.amount:
            raise ValueError(f"`only` is {self.only}, the members are 0 … {self.amount - 1}")
        return self

    @property
    def amount(self) -> int | None:
        """Number of members, whether or not `only` names one of them; None if a file decides."""
        if self.file is not None:
            return None
        return self.members if self.scales is None else len(self.scales)


class Budget(Part):
    """What a session may spend; a run that stops at its budget is resumed by the same command."""

    wall: Duration | None = None
    """Wall-clock time: 20m, 1h30m, 90s, or seconds."""


class StudySpec(Part):
    """A study of thetadot."""

    name: Name
    """Name of the run directory: letters, digits, dot, dash, underscore."""
    description: str = ""
    """What the study shows, for people; `thetadot list` prints the first sentence."""
    takes: str = ""
    """About how long it takes, for people."""
    problem: Problem
    init: Init = Init()
    rule: Rule
    compare: list[Rule] = Field(default_factory=list)
    """Further rules, from the same starts, beside the main one."""
    observe: list[Observable] | dict[Word, Observable] = Field(default_factory=list)
    """What to record along the way, beside loss and gradient norm."""
    lenses: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What looks at the finished paths: {lens: {option: value}}; {} takes the lens's defaults."""
    sweep: dict[str, Values] | None = None
    """Keys and the values that they sweep over, in all combinations."""
    zip: dict[str, Values] | None = None
    """Keys and the values that they take together."""
    budget: Budget = Budget()

    @field_validator("lenses")
    @classmethod
    def _known_lenses(cls, lenses: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            name: lens_options(name).model_validate(options).model_dump(mode="json", by_alias=True)
            for name, options in lenses.items()
        }

    @field_validator("zip")
    @classmethod
    def _equal_lengths(cls, zipped: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
        lengths = {key: len(values) for key, values in (zipped or {}).items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"lists that go together must have the same length, these have {lengths}")
        return zipped

    @model_validator(mode="after")
    def _one_sweep(self) -> "StudySpec":
        if self.sweep is not None and self.zip is not None:
            raise ValueError("`sweep` and `zip` exclude each other: remove one of them")
        return self

    @property
    def observed(self) -> dict[str, str]:
        """{name: observable}."""
        return dict(self.observe) if isinstance(self.observe, dict) else {name: name for name in self.observe}

    @property
    def sweeps(self) -> bool:
        """Whether the study is a sweep, which `run` refuses."""
        return bool(self.sweep or self.zip)


def json_schema() -> dict[str, Any]:
    """JSON Schema of study files, for editors."""
    schema = StudySpec.model_json_schema()
    defs, lenses = schema["$defs"], schema["properties"]["lenses"]
    lenses["properties"] = {}
    for name in lens_names():
        options = lens_options(name).model_json_schema(
            by_alias=True, ref_template=f"#/$defs/{name}.{{model}}"
        )
        defs |= {f"{name}.{model}": part for model, part in options.pop("$defs", {}).items()}
        defs[f"{name}.Options"] = options
        lenses["properties"][name] = {"$ref": f"#/$defs/{name}.Options"}
    lenses["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
