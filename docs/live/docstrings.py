"""Reads our docstrings for the API reference: `Example:` and `Source:` are sections, `a, b: text` names two things."""

import re
import textwrap

import griffe

_ENTRIES = re.compile(r"^(Arguments|Attributes):\n((?:[ ]{4,}.*\n|\n)+)", re.MULTILINE)
_SHARED = re.compile(r"^    (\w+(?:, \w+)+)( \(.*?\))?: (.*(?:\n {5,}.*)*)", re.MULTILINE)
_SOURCE = re.compile(r"^Source:[ \n]+(.*(?:\n[ ]+.*)*)", re.MULTILINE)


class HouseDocstrings(griffe.Extension):
    """Rewrites a docstring into the Google style that the reference is rendered from."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """A docstring of ours in Google style."""
    text = re.sub(r"^Example:$", "Examples:", text + "\n", flags=re.MULTILINE)
    text = _ENTRIES.sub(lambda section: f"{section[1]}:\n{_SHARED.sub(_one_each, section[2])}", text)
    return _SOURCE.sub(
        lambda source: f"**Source:** {' '.join(textwrap.dedent(source[1]).split())}", text
    ).rstrip()


def _one_each(entry: re.Match) -> str:
    return "\n".join(f"    {name}{entry[2] or ''}: {entry[3]}" for name in entry[1].split(", "))
