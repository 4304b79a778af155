"""What a report tells of a run: its paths, how they ended, and where everything came from."""

import dataclasses
import platform
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import yaml

from thetadot import __version__
from thetadot.dynamics.path import Path
from thetadot.errors import ThetadotError
from thetadot.report.lens_record import Found, found_of
from thetadot.report.series import Series, rule_name

DRAWN_MEMBERS = 6


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as its report needs it.

    Attributes:
        name, status: of the run.
        drawn: the members that every figure draws one by one (at most 6), under all rules, with their
            weights.
        everyone: all members under all rules; those that are not drawn come without their weights.
        missing: what is not committed yet, in words.
        notes: what a reader must know first: damaged rows, an unfinished run.
        configuration: the resolved study file.
        facts: where it came from: run id, versions, date.
        lenses: what the lenses found, on each path.
        description: what the study shows, in its author's words.
    """

    name: str
    status: str
    drawn: tuple[Series, ...]
    everyone: tuple[Series, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    configuration: str
    facts: Mapping[str, str]
    lenses: tuple[Found, ...] = ()
    description: str = ""

    @property
    def main(self) -> tuple[Series, ...]:
        """All members under the main rule."""
        return tuple(item for item in self.everyone if item.main)

    @property
    def first(self) -> Series | None:
        """The series that stands for the run: the first that there is."""
        return next(iter(self.drawn), None)


def record_of(run: Any) -> Record:
    """Read a run (`thetadot.open_run`) for its report; it may be unfinished or partly damaged."""
    drawn, everyone, missing, notes = [], [], [], []
    names: dict[int, str] = {}
    for member in run.members:
        for item in series_of(run, member, names, missing, notes):
            if len({seen.member for seen in drawn} | {member}) <= DRAWN_MEMBERS:
                drawn.append(item)
            else:
                item = dataclasses.replace(item, path=_without_weights(item.path))
            everyone.append(item)
    lenses = found_of(run, drawn, everyone, notes)
    if run.status != "done":
        notes.insert(
            0, f"This run is not finished: its status is “{run.status}”. The report shows what is committed."
        )
    configuration = _configuration(run)
    return Record(
        name=str(getattr(run, "name", None) or run.directory.name),
        status=str(run.status),
        drawn=tuple(drawn),
        everyone=tuple(everyone),
        missing=tuple(missing),
        notes=tuple(dict.fromkeys(notes)),
        configuration=configuration,
        facts=_facts(run),
        lenses=lenses,
        description=_description(configuration),
    )


def series_of(
    run: Any, member: int, names: dict[int, str], missing: list[str], notes: list[str]
) -> Iterator[Series]:
    """The committed paths of a member, under the main rule and each comparison.

    Arguments:
        run: the run.
        member: number of the member.
        names: {rule: its name}, of the rules met so far; added to.
        missing, notes: what is not there yet, and what is damaged, in words; added to.
    """
    for compare in (None, *getattr(run, "compared", ())):
        rule = 0 if compare is None else compare + 1
        path = _read(run, member, compare, missing, notes)
        if path is not None:
            names.setdefault(rule, rule_name(path))
            yield Series(path, rule, member, _unique(names, rule))


def _read(run: Any, member: int, compare: int | None, missing: list[str], notes: list[str]) -> Path | None:
    """A path of the run; what is damaged is noted, what is not there yet is listed."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            path = run.path(member, compare, skip_damaged=True)
    except ThetadotError as problem:
        missing.append(
            f"member {member}" + ("" if compare is None else f", comparison {compare}") + f": {problem}"
        )
        return None
    notes += [str(item.message) for item in caught]
    return path


def _unique(names: Mapping[int, str], rule: int) -> str:
    """The name of a rule, numbered if an earlier rule has the same."""
    twins = [other for other in sorted(names) if names[other] == names[rule] and other < rule]
    return names[rule] + (f" ({len(twins) + 1})" if twins else "")


def _without_weights(path: Path) -> Path:
    nothing = np.zeros((len(path.ts), 0))
    return dataclasses.replace(path, thetas=nothing, state=None, layout=None, events=(), polished=None)


def _configuration(run: Any) -> str:
    file = run.directory / "study.yaml"
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _description(configuration: str) -> str:
    try:
        data = yaml.safe_load(configuration)
    except yaml.YAMLError:
        return ""
    return str(data.get("description") or "") if isinstance(data, dict) else ""


def _facts(run: Any) -> dict[str, str]:
    manifest = getattr(run, "manifest", None)
    facts = {}
    if manifest is not None:
        facts |= {
            "run": manifest.run,
            "begun": manifest.created,
            "computed by": f"thetadot {manifest.package}",
        }
        facts |= dict(manifest.versions)
    written = f"thetadot {__version__}, Python {platform.python_version()}"
    return {key: str(value) for key, value in (facts | {"report written by": written}).items()}
