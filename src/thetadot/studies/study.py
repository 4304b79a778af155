"""A study: a validated configuration that can be run."""

import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from thetadot.problems import Problem
from thetadot.studies import bundled
from thetadot.studies.errors import StudyError
from thetadot.studies.explain import validated
from thetadot.studies.identity import configuration
from thetadot.studies.progress import Progress
from thetadot.studies.run import Run
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import Origin, override, read_file


class Study:
    """What to train, how to move, what to record; from a file, a bundled name, or keywords as in a file.

    Arguments:
        fields: the keys of a study file (`thetadot schema` describes them).

    Attributes:
        spec: the validated configuration, defaults filled in.
        origin: where the values come from, for messages.

    Raises:
        StudyError: one line that names the key, what was given and what is allowed.

    Example:
        >>> study = Study(
        ...     name="tiny",
        ...     problem={
        ...         "kind": "empirical",
        ...         "network": {"kind": "mlp", "widths": [4, 3, 3]},
        ...         "data": {"kind": "iris"},
        ...         "loss": "cross_entropy",
        ...     },
        ...     rule={"kind": "flow", "until": {"time": 10.0}},
        ... )
        >>> study.problem.size
        27
        >>> run = study.run("runs/tiny")                 # doctest: +SKIP
    """

    def __init__(self, **fields: Any):
        origin = Origin("study", Path.cwd())
        self.spec: StudySpec = validated(fields, origin)
        self.origin = origin

    @classmethod
    def load(cls, source: str | Path, set: Sequence[str] | Mapping[str, Any] = ()) -> "Study":
        """A study from a .yaml or .toml file, a run directory, or the name of a bundled study.

        Arguments:
            source: file, directory or name.
            set: overrides, as ["init.scale=0.01", …] or {"init.scale": 0.01, …}.

        Raises:
            StudyError: one line that names file, line and key.
        """
        data, origin = read_file(study_file(source))
        data, origin = override(data, origin, _settings(set))
        return cls.of(validated(data, origin), origin)

    @classmethod
    def of(cls, spec: StudySpec, origin: Origin) -> "Study":
        """A study from a validated configuration."""
        study = cls.__new__(cls)
        study.spec, study.origin = spec, origin
        return study

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.name

    @functools.cached_property
    def problem(self) -> Problem:
        """What is trained, after a dry trace.

        Raises:
            StudyError: one line that names the key.
        """
        from thetadot.studies.build import make_problem

        return make_problem(self.spec, self.origin)

    def run(
        self,
        directory: str | Path | None = None,
        *,
        set: Sequence[str] | Mapping[str, Any] = (),
        progress: bool | Progress = True,
        commit_every: float = 5.0,
        workers: int = 1,
        repair: bool = False,
    ) -> Run:
        """Run the study, or go on with it; a run that is done is handed back at once.

        Arguments:
            directory: run directory; by default runs/<name>.
            set: overrides, as in `load`.
            progress: True (bars on a terminal, lines elsewhere), False, or an object with the methods of
                `Progress`.
            commit_every: seconds between commits.
            workers: processes over which members and rules are spread; a script that asks for more than one
                must start under `if __name__ == "__main__":`.
            repair: compute series again whose stored data are damaged.

        Returns:
            The run; `run.status` is "done", or "resumable" after a budget or an interrupt.
        """
        from thetadot.studies.runner import run_study

        study = self.with_settings(set) if set else self
        return run_study(
            study, directory, progress=progress, commit_every=commit_every, workers=workers, repair=repair
        ).run

    def with_settings(self, settings: Sequence[str] | Mapping[str, Any]) -> "Study":
        """The same study with overrides."""
        data, origin = override(configuration(self.spec), self.origin, _settings(settings))
        return self.of(validated(data, origin), origin)

    def to_yaml(self) -> str:
        """The resolved study as a study file, which can be run from anywhere."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)

    def resolved(self) -> dict[str, Any]:
        """The study as plain data: defaults filled in, names of files absolute."""
        from thetadot.studies.identity import named_files

        data = configuration(self.spec)
        for dotted, file in named_files(self.spec, self.origin).items():
            *parents, last = dotted.split(".")
            here: Any = data
            for part in parents:
                here = here[part]
            here[last] = str(file)
        return data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Study) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.to_yaml())

    def __repr__(self) -> str:
        return f"Study {self.name} from {self.origin.name}"


def bundled_names() -> tuple[str, ...]:
    """Names of the studies that come with thetadot."""
    return bundled.names()


def study_file(source: str | Path) -> Path:
    """The file behind a bundled name, a run directory or a file name."""
    import difflib

    path = Path(source)
    if path.is_dir():
        return path / "study.yaml"
    if str(source) in bundled_names() and not path.exists():
        return Path(str(importlib.resources.files(bundled) / f"{source}.yaml"))
    if not path.suffix and not path.exists():
        near = difflib.get_close_matches(str(source), bundled_names(), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        names = ", ".join(bundled_names())
        raise StudyError(f"{source}: no such file, and no bundled study (there are: {names}){hint}")
    return path


def _settings(given: Sequence[str] | Mapping[str, Any]) -> list[str]:
    if isinstance(given, Mapping):
        return [
            f"{key}={yaml.safe_dump(value, default_flow_style=True).strip().removesuffix('...').strip()}"
            for key, value in given.items()
        ]
    if isinstance(given, str):
        return [given]
    return list(given)
