"""Study files as data with the place of every key, so that an error can point at its line.

YAML is read as YAML 1.2 has it (1e-6 is a number, `no` is a text, dates are texts), by a loader that
constructs nothing but mappings, lists, texts, numbers and booleans.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from thetadot.studies.errors import OverrideError, StudyError

MOST_BYTES = 2**23
_MOST_NODES = 100_000
Key = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the values of a study come from.

    Attributes:
        name: how messages call the file ("study" if there is none).
        directory: what relative file names are relative to.
        lines: {key: line}, 1-based.
        overrides: {key: the `key=value` that set it}.
    """

    name: str
    directory: Path
    lines: Mapping[Key, int] = dataclasses.field(default_factory=dict)
    overrides: Mapping[Key, str] = dataclasses.field(default_factory=dict)

    def line(self, key: Key) -> int:
        """Line of a key, or of the nearest mapping around it; 0 if it has none."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return self.lines[key[:length]]
        return 1 if self.lines else 0

    def where(self, key: Key) -> str:
        """File and line, or the override, that gave a key its value."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.overrides:
                return f"--set {self.overrides[key[:length]]}"
            if key[:length] in self.lines:
                break
        line = self.line(key)
        return f"{self.name}:{line}" if line else self.name

    def error(self, key: Key, message: str) -> StudyError:
        """A one-line error at a key."""
        place = ".".join(str(part) for part in key)
        where = f"{self.where(key)}: {place}" if place else self.where(key)
        return StudyError(f"{where}: {message}", key, message)


class _Loader(yaml.SafeLoader):
    """Reads plain scalars as YAML 1.2's core schema."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(str(node.value)))
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}


def plain_resolvers() -> dict[str, Any]:
    """How plain scalars are read, for a writer whose texts must be read as they were."""
    return dict(_Loader.yaml_implicit_resolvers)


def read_file(file: Path) -> tuple[dict[str, Any], Origin]:
    """The mapping in a .yaml, .yml or .toml file, and where its keys stand.

    Raises:
        StudyError: one line with file, line and what is wrong.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise StudyError(f"{file}: is larger than {MOST_BYTES // 2**20} MB: this is not a study file")
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{file}: no such file; `thetadot list` names the bundled studies") from None
    except OSError as error:
        raise StudyError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise StudyError(f"{file}: is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    if file.suffix == ".toml":
        return _read_toml(text, file)
    if file.suffix not in (".yaml", ".yml"):
        raise StudyError(f"{file}: a study file ends in .yaml, .yml or .toml, this one in {file.suffix!r}")
    return read_yaml(text, str(file), file.parent)


def read_yaml(text: str, name: str, directory: Path) -> tuple[dict[str, Any], Origin]:
    """The mapping in a YAML text, and where its keys stand."""
    lines: dict[Key, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = _Walk(loader, name, lines).value(node, ()) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise StudyError(f"{place}: not valid YAML: {_one_line(reason)}") from None
    except yaml.YAMLError as error:
        raise StudyError(f"{name}: not valid YAML: {_one_line(str(error))}") from None
    except RecursionError:
        raise StudyError(f"{name}: is nested too deeply") from None
    if data is None:
        raise StudyError(f"{name}: is empty: a study needs name, problem and rule")
    if not isinstance(data, dict):
        raise StudyError(f"{name}:1: a study is a mapping `key: value`, this is a {type(data).__name__}")
    return data, Origin(name, directory, lines)


@dataclasses.dataclass
class _Walk:
    loader: _Loader
    name: str
    lines: dict[Key, int]
    nodes: int = 0

    def value(self, node: yaml.Node, key: Key) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > _MOST_NODES:
            raise StudyError(f"{self.name}:{line}: too many values: this is not a study file")
        self.lines.setdefault(key, line)
        if node.tag not in _TAGS:
            place = ".".join(str(part) for part in key)
            raise StudyError(f"{self.name}:{line}: {place}: tags such as {node.tag} are not read: remove it")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*key, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key)
        return self.loader.construct_object(node)

    def mapping(self, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            place = ".".join(str(part) for part in (*key, name))
            if name is None or name_node.tag != "tag:yaml.org,2002:str":
                raise StudyError(f"{self.name}:{line}: {place}: a key must be a text; write it in quotes")
            if name in values:
                first = self.lines[*key, name]
                raise StudyError(
                    f"{self.name}:{line}: {place}: given twice, first in line {first}: remove one"
                )
            self.lines[*key, name] = line
            values[name] = self.value(value_node, (*key, name))
        return values


def _read_toml(text: str, file: Path) -> tuple[dict[str, Any], Origin]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        place = f"{file}:{found[1]}" if found else str(file)
        raise StudyError(f"{place}: not valid TOML: {_one_line(str(error))}") from None
    if not data:
        raise StudyError(f"{file}: is empty: a study needs name, problem and rule")
    return data, Origin(str(file), file.parent, _toml_lines(text))


def _toml_lines(text: str) -> dict[Key, int]:
    """Lines of the keys of a TOML text: of tables and of `key = …` (keys in inline tables have their
    table's)."""
    lines: dict[Key, int] = {(): 1}
    table: Key = ()
    counts: dict[Key, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$", line)
        assignment = re.match(r"""\s*([A-Za-z0-9_.\- "']+?)\s*=""", line)
        if header:
            table = _toml_key(header[2], counts)
            if header[1] == "[[":
                index = counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, index)
            lines.setdefault(table, number)
        elif assignment:
            key = (*table, *_toml_key(assignment[1], {}))
            for length in range(len(table) + 1, len(key) + 1):
                lines.setdefault(key[:length], number)
    return lines


def _toml_key(dotted: str, counts: Mapping[Key, int]) -> Key:
    key: Key = ()
    for part in dotted.split("."):
        key = (*key, part.strip(" \"'"))
        if key in counts and len(key) < dotted.count(".") + 1:
            key = (*key, counts[key])
    return key


def override(data: dict[str, Any], origin: Origin, settings: Sequence[str]) -> tuple[dict[str, Any], Origin]:
    """The data with `key=value` settings applied; keys are dotted, values are read as YAML.

    Raises:
        OverrideError: one line that names the setting.
    """
    overrides = dict(origin.overrides)
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        key: Key = tuple(int(part) if part.isdecimal() else part for part in dotted.strip().split("."))
        if not equals or not all(part != "" for part in key):
            raise OverrideError(f"--set {setting}: expected key=value, such as init.scale=0.01")
        try:
            value = read_yaml(f"value: {text.strip() or '~'}", f"--set {setting}", origin.directory)[0][
                "value"
            ]
        except (StudyError, KeyError):
            raise OverrideError(
                f"--set {setting}: {text!r} is not a YAML value: put texts in quotes"
            ) from None
        data = _replaced(data, key, value, setting)
        overrides = {known: by for known, by in overrides.items() if known[: len(key)] != key} | {
            key: setting
        }
    return data, dataclasses.replace(origin, overrides=overrides)


def _replaced(data: Any, key: Key, value: Any, setting: str) -> Any:
    first, *rest = key
    if isinstance(data, list):
        if not isinstance(first, int) or first >= len(data):
            places = f"0 … {len(data) - 1}" if data else "none: it is empty"
            raise OverrideError(f"--set {setting}: {first!r} is not a place in this list (places: {places})")
        inner = _replaced(data[first], tuple(rest), value, setting) if rest else value
        return [inner if index == first else item for index, item in enumerate(data)]
    if data is not None and not isinstance(data, dict):
        raise OverrideError(
            f"--set {setting}: {str(first)!r} is below a value that is not a mapping ({data!r})"
        )
    mapping = dict(data or {})
    mapping[str(first)] = _replaced(mapping.get(str(first)), tuple(rest), value, setting) if rest else value
    return mapping


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
