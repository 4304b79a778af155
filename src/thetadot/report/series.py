"""Which path is which: its member and its rule, so that every figure gives them the same line."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from thetadot.dynamics.path import Path
from thetadot.errors import ThetadotError


class FigureError(ThetadotError):
    """Something that a figure cannot be made of."""


@dataclasses.dataclass(frozen=True)
class Series:
    """A path with its place in a run.

    Attributes:
        path: how it moved.
        rule: 0 for the main rule, k for the k-th comparison; decides the colour.
        member: number of the member; decides the dash pattern.
        rule_name: the rule in words.
    """

    path: Path
    rule: int = 0
    member: int = 0
    rule_name: str = "gradient flow"

    @property
    def name(self) -> str:
        """Rule and member in words."""
        return f"{self.rule_name}, member {self.member}"

    @property
    def main(self) -> bool:
        """Whether it moved by the main rule."""
        return self.rule == 0

    @property
    def broken(self) -> bool:
        """Whether it diverged or stalled."""
        return self.path.outcome.failed


Paths: TypeAlias = Path | Series | Iterable[Path | Series] | Mapping[str, Path | Iterable[Path]]
"""What the figures take: a path, several paths, {rule in words: its path or paths}, or series."""


def rule_name(path: Path) -> str:
    """What moved a path, in words: "gradient flow", or the learning rule."""
    if path.info.get("kind") == "flow":
        return "gradient flow"
    name, _, numbers = str(path.info.get("method") or path.info.get("kind") or "path").partition(", ")
    return f"{name} ({numbers})" if numbers else name


def as_series(paths: Paths) -> tuple[Series, ...]:
    """Paths with their members and rules: paths of one method are the members of one rule, in order.

    Raises:
        FigureError: something among them is not a path.
    """
    if isinstance(paths, Series):
        return (paths,)
    if isinstance(paths, Path):
        return (Series(paths, rule_name=rule_name(paths)),)
    flat: list[tuple[str, object]]
    if isinstance(paths, Mapping):
        flat = [(str(name), path) for name, group in paths.items() for path in _as_list(group)]
    else:
        given = list(paths)
        if given and all(isinstance(item, Series) for item in given):
            return tuple(item for item in given if isinstance(item, Series))
        flat = [(rule_name(item) if isinstance(item, Path) else "", item) for item in given]
    rules = list(dict.fromkeys(name for name, _ in flat))
    seen = dict.fromkeys(rules, 0)
    series = []
    for name, path in flat:
        if not isinstance(path, Path):
            wrong = type(path).__name__
            raise FigureError(f"figures are made of paths, got {wrong}: give what flow or descend returned")
        series.append(Series(path, rules.index(name), seen[name], name))
        seen[name] += 1
    return tuple(series)


def _as_list(group: Path | Iterable[Path]) -> list[Path]:
    return [group] if isinstance(group, Path) else list(group)


def rule_names(series: Iterable[Series]) -> dict[int, str]:
    """{rule: its name}, of the rules that occur."""
    return {item.rule: item.rule_name for item in sorted(series, key=lambda item: item.rule)}


def member_names(series: Iterable[Series]) -> dict[int, str]:
    """{member: its name}, of the members that occur."""
    return {item.member: f"member {item.member}" for item in sorted(series, key=lambda item: item.member)}
