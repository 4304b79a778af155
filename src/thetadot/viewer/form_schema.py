"""From the JSON schema of study files to a tree of fields: what a form offers, without saying how it looks.

Plain data: a field knows its key, its help, its default, and nothing of widgets.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()
"""What stands for "not given": None is a value of study files."""

LEFT_OUT = {("sweep",), ("zip",), ("problem", "python")}
"""Keys, and kinds of problem, that the form never offers: runs that are many, and code that a page must not start."""

SHOWN = {
    "activation", "bias", "description", "samples", "scale", "seed", "members", "time", "grad_norm", "accuracy",
    "solver", "learning_rate", "steps", "momentum", "batch_size", "optimizer", "exponents", "mode", "laws",
    "reduction", "wall",
}  # fmt: skip
"""Optional keys that are seen at once; the others are folded away."""

Base = tuple[str, str, bool, Any]

_FILE_KEYS = {"file", "path"}


@dataclasses.dataclass(frozen=True)
class Field:
    """A key of a study file.

    Attributes:
        name: its last part, as it stands in the file; of an entry of a list "".
        help: the schema's description.
        required: whether it must be given.
        default: its value where it is left out, MISSING if the schema does not say.
    """

    name: str
    help: str
    required: bool
    default: Any


@dataclasses.dataclass(frozen=True)
class Constant(Field):
    """A value that is not asked for: `value`."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Text(Field):
    """A text, taken as it is typed."""


@dataclasses.dataclass(frozen=True)
class Line(Field):
    """A value in one line of YAML: a number, a list, or one of several.

    Attributes:
        depth: brackets around a list that may be left away; 0 if it need not be a list.
        listed: whether a list is one of its values.
        texts: whether the entries of the list are texts.
        mapping: whether it is a mapping.
        expects: what may be given, in words.
    """

    depth: int = 0
    listed: bool = False
    texts: bool = False
    mapping: bool = False
    expects: str = ""


@dataclasses.dataclass(frozen=True)
class Choice(Field):
    """One of some values."""

    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Words(Field):
    """Any of some words."""

    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Part(Field):
    """A mapping with known keys."""

    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field with this key."""
        return next((field for field in self.fields if field.name == name), None)


@dataclasses.dataclass(frozen=True)
class Optional(Field):
    """A mapping that is there or not."""

    part: Part


@dataclasses.dataclass(frozen=True)
class Fork(Field):
    """One of several forms: `branches` {label: field}, and the branch that stands for the default, "" if none does."""

    branches: Mapping[str, Field]
    usual: str


@dataclasses.dataclass(frozen=True)
class Many(Field):
    """A list of `item`."""

    item: Field


def form_tree(schema: Mapping[str, Any], *, files: bool = True) -> Part:
    """The fields of a study.

    Arguments:
        schema: what `thetadot.studies.json_schema()` gives.
        files: whether fields that name files of the machine are offered.

    Example:
        >>> from thetadot.studies import json_schema
        >>> tree = form_tree(json_schema())
        >>> [field.name for field in tree.fields]
        ['name', 'description', 'takes', 'problem', 'init', 'rule', 'compare', 'observe', 'lenses', 'budget']
        >>> list(tree.field("problem").branches)
        ['empirical', 'population']
    """
    root = _Reader(schema, files).field("", {**schema, "description": ""}, True, ())
    assert isinstance(root, Part)
    return root


def same(one: Any, other: Any) -> bool:
    """Equality of values of a study file, where 1 is not True, and 1 is 1.0.

    Example:
        >>> same(1, True), same([1], [1.0])
        (False, True)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def fits(field: Field, value: Any) -> bool:
    """Whether a field is the one for a value, among the branches of a fork."""
    match field:
        case Constant():
            return same(field.value, value)
        case Choice():
            return any(same(value, one) for one in field.values)
        case Part():
            return isinstance(value, Mapping) and all(field.field(name) for name in value) and all(
                value.get(one.name, MISSING) == one.value
                if isinstance(one, Constant)
                else one.name in value or not one.required
                for one in field.fields
            )  # fmt: skip
        case Words() | Many():
            return isinstance(value, list)
        case Text():
            return isinstance(value, str)
        case Line():
            return isinstance(value, Mapping) == field.mapping
        case _:
            return True


@dataclasses.dataclass(frozen=True)
class _Reader:
    schema: Mapping[str, Any]
    files: bool

    def resolved(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """A node with its reference followed; what stands beside the reference wins."""
        while "$ref" in node:
            place = functools.reduce(lambda here, part: here[part], node["$ref"][2:].split("/"), self.schema)
            node = {**place, **{key: value for key, value in node.items() if key != "$ref"}}
        return dict(node)

    def field(self, name: str, node: Mapping[str, Any], required: bool, at: tuple[str, ...]) -> Field | None:
        """The field of a node; None if it is not offered."""
        node = self.resolved(node)
        text = " ".join(node.get("description", "").split())
        base: Base = (name, _sentence(text), required, node.get("default", MISSING))
        if at in LEFT_OUT or (self.names_file(name, node) and not self.files):
            return None
        if "const" in node:
            return Constant(*base, node["const"])
        if "discriminator" in node:
            return self.kinds(base, node, at)
        if "anyOf" in node:
            return self.union(base, node, at)
        if "enum" in node:
            return Choice(*base, tuple(node["enum"]))
        kind = node.get("type")
        if kind == "boolean":
            return Choice(*base, (False, True))
        if kind == "string":
            return Text(*base)
        if kind == "object" and "properties" in node:
            return self.part(base, node, at)
        if kind == "array":
            return self.array(base, node, at)
        return Line(*base, mapping=kind == "object", expects=self.words(node))

    def names_file(self, name: str, node: Mapping[str, Any]) -> bool:
        """Whether the value is the name of a file."""
        texts = [self.resolved(one) for one in node.get("anyOf", [node])]
        return any(
            one.get("type") == "string" and (name in _FILE_KEYS or one.get("format") == "path")
            for one in texts
        )

    def part(self, base: Base, node: Mapping[str, Any], at: tuple[str, ...]) -> Field | None:
        """A mapping; None if something that it needs is not offered."""
        fields = []
        for name, inner in node["properties"].items():
            needed = name in node.get("required", ())
            field = self.field(name, inner, needed, (*at, name))
            if field is None and needed:
                return None
            if isinstance(field, Part) and not needed and "default" not in inner and at == ("lenses",):
                field = Optional(field.name, field.help, False, MISSING, field)
            if field is not None:
                fields.append(field)
        return Part(*base, tuple(fields))

    def kinds(self, base: Base, node: Mapping[str, Any], at: tuple[str, ...]) -> Field:
        order = {reference: kind for kind, reference in node["discriminator"]["mapping"].items()}
        branches = {}
        for one in node["oneOf"]:
            kind = order[one["$ref"]]
            field = self.field("", one, True, (*at, kind))
            if field is not None:
                branches[kind] = field
        return Fork(*base, branches, "")

    def union(self, base: Base, node: Mapping[str, Any], at: tuple[str, ...]) -> Field | None:
        members = [self.resolved(one) for one in node["anyOf"]]
        finite = [self.finite(one) for one in members]
        if all(values is not None for values in finite):
            return Choice(*base, tuple(value for values in finite for value in values or ()))
        default = base[3]
        kinds = {one.get("type") for one in members if one.get("type") != "null"}
        if "object" not in kinds:
            if kinds == {"string"} and not any(values for values in finite if values != (None,)):
                return Text(*base)
            alone = [one for one in members if one.get("type") == "array"]
            if alone and kinds == {"array"}:
                inner = self.array(base, alone[0], at)
                if isinstance(inner, Line):
                    return dataclasses.replace(inner, expects=self.words(node))
            return Line(*base, listed=bool(alone), expects=self.words(node))
        branches: dict[str, Field] = {}
        for one, values in zip(members, finite, strict=True):
            for value in values or ():
                branches["none" if value is None else str(value)] = Constant("", "", True, MISSING, value)
            if values is None:
                field = self.field("", {**one, "default": MISSING}, True, at)
                if field is not None:
                    branches[self.label(one, field, members)] = field
        # What a field is without being asked stands first.
        branches = dict(sorted(branches.items(), key=lambda item: isinstance(item[1], Part)))
        usual = next(
            (label for label, field in branches.items() if default is not MISSING and fits(field, default)),
            "",
        )
        return Fork(*base, branches, usual)

    def label(self, node: Mapping[str, Any], field: Field, members: Sequence[Mapping[str, Any]]) -> str:
        """The name of a branch that has no kind: of several mappings each has that of the key it needs."""
        if isinstance(field, Part):
            several = sum("properties" in one for one in members) > 1
            return node["required"][0] if several and node.get("required") else "given"
        return "own names" if isinstance(field, Line) and field.mapping else "list"

    def array(self, base: Base, node: Mapping[str, Any], at: tuple[str, ...]) -> Field:
        item = self.resolved(node.get("items", {}))
        depth, inner = 1, item
        while inner.get("type") == "array":
            depth, inner = depth + 1, self.resolved(inner.get("items", {}))
        if depth == 1 and "enum" in item:
            return Words(*base, tuple(item["enum"]))
        if depth == 1 and ("discriminator" in item or self.has_object(item)):
            entry = self.field("", item, True, at)
            assert entry is not None
            return Many(*base, entry)
        texts = depth == 1 and item.get("type") == "string"
        return Line(*base, depth=depth, listed=True, texts=texts, expects=self.words(node))

    def has_object(self, node: Mapping[str, Any]) -> bool:
        return any("properties" in self.resolved(one) for one in node.get("anyOf", [node]))

    def finite(self, node: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """All values of a node, if they are few."""
        if "const" in node:
            return (node["const"],)
        if "enum" in node:
            return tuple(node["enum"])
        return {"null": (None,), "boolean": (False, True)}.get(node.get("type", ""))

    def words(self, node: Mapping[str, Any]) -> str:
        """What a value may be, in words."""
        node = self.resolved(node)
        if "anyOf" in node:
            found = [self.words(one) for one in node["anyOf"] if self.finite(self.resolved(one)) != (None,)]
            return " or ".join(dict.fromkeys(found))
        values = self.finite(node)
        if values is not None:
            return ", ".join(str(value) for value in values)
        kind = node.get("type")
        if kind == "array":
            inner = self.resolved(node.get("items", {}))
            whole = {"integer": "whole numbers", "number": "numbers", "string": "words"}
            return f"list of {whole.get(inner.get('type', ''), 'lists' if inner.get('type') == 'array' else 'values')}"
        plain = {
            "integer": "whole number",
            "number": "number",
            "string": "word",
            "object": "{name: value, …}",
        }
        return plain.get(kind or "", "value")


def _sentence(text: str) -> str:
    """A text with a capital first letter, unless it is a formula's."""
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def openly(field: Field) -> bool:
    """Whether a field is seen at once."""
    return field.required or field.name in SHOWN or isinstance(field, Optional)


def split(fields: Sequence[Field]) -> tuple[list[Field], list[Field]]:
    """Fields that are seen at once, and those that are folded away; a part without the former hides nothing."""
    asked = [field for field in fields if not isinstance(field, Constant)]
    shown = [field for field in asked if openly(field)]
    if not shown or len(asked) <= 4:
        return asked, []
    return shown, [field for field in asked if not openly(field)]
