"""YAML as study files have it (1e-6 is a number): values of one line, and whole studies, to text and back."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from thetadot.studies.errors import StudyError
from thetadot.studies.source import plain_resolvers, read_yaml

_PLAIN_TEXT = re.compile(r"[\w./+-]+")


class _Dumper(yaml.SafeDumper):
    """Writes what the reader of study files reads as the same value, so that the text "1e-6" is quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = plain_resolvers()
_Dumper.add_representer(
    float,
    lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:float",
        {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value)),
    ),
)


def study_text(data: Mapping[str, Any]) -> str:
    """A study as the text of a study file.

    Example:
        >>> print(study_text({"name": "a", "init": {"scale": 1e-6}, "rule": {"until": {"time": 1.0}, "saves": "log"}}))
        name: a
        init: {scale: 1e-06}
        rule:
          until: {time: 1.0}
          saves: log
        <BLANKLINE>
    """
    return yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None
    )


def line_text(value: Any) -> str:
    """A value in one line.

    Example:
        >>> line_text({"a": [1, 1e-6]}), line_text("1"), line_text(None)
        ('{a: [1, 1e-06]}', "'1'", 'null')
    """
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**30, default_flow_style=True
    )
    text = text.removesuffix("\n").removesuffix("...").rstrip()
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text


def line_value(text: str) -> Any:
    """The value of one line.

    Raises:
        StudyError: it is not YAML; `reason` says why.

    Example:
        >>> line_value("[1, 1e-6, a]")
        [1, 1e-06, 'a']
    """
    text = " ".join(text.split())
    try:
        # On a line of its own, so that "a: b" is a mapping as it is in a file.
        return read_yaml(f"value:\n  {text}", "", Path())[0]["value"]
    except StudyError as error:
        reason = re.sub(r"^:\d+: (value[^:]*: )?", "", error.reason)
        raise StudyError(f"given {text!r}; {reason}") from None
    except ValueError:
        raise StudyError(f"given {text[:40]!r}…; has too many digits") from None


def list_text(value: list[Any], depth: int, texts: bool) -> str:
    """A list in one line, the outer brackets of a plain one left away.

    Example:
        >>> list_text([64, 32, 10], 1, False), list_text([[1, 2], [3]], 2, False), list_text(["1", "1/2"], 1, True)
        ('64, 32, 10', '[[1, 2], [3]]', '1, 1/2')
    """
    if texts and value and all(isinstance(entry, str) and _PLAIN_TEXT.fullmatch(entry) for entry in value):
        return ", ".join(value)
    text = line_text(value)
    plain = depth == 1 and value and not any(isinstance(entry, list | dict) for entry in value)
    return text[1:-1] if plain else text


def list_value(text: str, depth: int, texts: bool) -> Any:
    """The list in one line, with or without its outer brackets; `texts`: its entries are texts.

    Raises:
        StudyError: it is not YAML.

    Example:
        >>> list_value("64, 32, 10", 1, False), list_value("[1, 2], [3]", 2, False), list_value("1/2, 1", 1, True)
        ([64, 32, 10], [[1, 2], [3]], ['1/2', '1'])
    """
    text = " ".join(text.split())
    if text.startswith("[" * depth):
        return line_value(text)
    entries = [entry.strip() for entry in text.split(",")]
    if texts and all(_PLAIN_TEXT.fullmatch(entry) for entry in entries):
        return entries
    return line_value(f"[{text}]")
