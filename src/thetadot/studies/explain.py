"""Errors of validation in one line: where, which key, what was given, what is allowed, what was perhaps
meant."""

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union

from pydantic import BaseModel, ValidationError

from thetadot.studies.errors import StudyError
from thetadot.studies.lenses import lens_names, lens_options
from thetadot.studies.rule_schema import OPTIMIZERS
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import Key, Origin

# What other programs call things.
_MEANT = {
    "ce": ("cross_entropy",), "nll": ("cross_entropy",), "softmax": ("cross_entropy",), "bce": ("logistic",),
    "mse": ("squared",), "l2": ("squared",), "epochs": ("steps",), "iterations": ("steps",), "max_steps": ("steps",),
    "lr": ("learning_rate",), "eta": ("learning_rate",), "step_size": ("learning_rate",), "batch": ("batch_size",),
    "gd": ("gradient_descent",), "sgd": ("minibatch",), "momentum": ("heavy_ball",), "gradient_flow": ("flow",),
    "seeds": ("members",), "runs": ("members",), "layers": ("widths",), "model": ("network",), "file": ("path",),
    "dataset": ("data",), "optimiser": ("rule", "optimizer"), "optimizer": ("rule",), "label": ("target",),
}  # fmt: skip
_RANK = {"extra_forbidden": 0, "union_tag_invalid": 1, "missing": 3, "union_tag_not_found": 3}


def validated(data: Mapping[str, Any], origin: Origin) -> StudySpec:
    """The study that the data describe.

    Raises:
        StudyError: one line about the first thing that is wrong, and how many more there are.
    """
    _check_lenses(data.get("lenses"), origin)
    try:
        spec = StudySpec.model_validate_json(_as_json(data))
    except ValidationError as error:
        raise _explained(error, data, origin, StudySpec, ()) from None
    _check_sweep(spec, data, origin)
    return spec


def problems_of(data: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """Everything that is wrong with the data of a study, before its problem is traced: [(key, message)], none if it
    is valid.

    Example:
        >>> found = problems_of({"name": "a b", "problem": {"kind": "population"}, "rule": {"kind": "flwo"}})
        >>> [".".join(key) for key, _ in found]
        ['rule.kind', 'name', 'problem.network', 'problem.target', 'problem.inputs']
        >>> found[0][1].partition("; ")[0]
        "given 'flwo'"
    """
    origin = Origin("", Path())
    found: list[tuple[Key, str]] = []
    lenses = data.get("lenses")
    if isinstance(lenses, Mapping):
        for name, options in lenses.items():
            try:
                model = _lens_model(name, origin)
            except StudyError as error:
                found.append((error.key, error.reason))
                continue
            try:
                model.model_validate_json(_as_json(options))
            except ValidationError as error:
                wrong = _found(error, options, origin, model, ("lenses", name))
                found += [(("lenses", name, *key), message) for key, message in wrong]
        data = {key: value for key, value in data.items() if key != "lenses"}
    try:
        spec = StudySpec.model_validate_json(_as_json(data))
    except ValidationError as error:
        return found + _found(error, data, origin, StudySpec, ())
    try:
        _check_sweep(spec, data, origin)
    except StudyError as error:
        found.append((error.key, error.reason))
    return found


def _as_json(data: Any) -> str:
    return json.dumps(data, default=str)


def _check_lenses(lenses: Any, origin: Origin) -> None:
    if not isinstance(lenses, Mapping):
        return
    for name, options in lenses.items():
        model = _lens_model(name, origin)
        try:
            model.model_validate_json(_as_json(options))
        except ValidationError as error:
            raise _explained(error, options, origin, model, ("lenses", name)) from None


def _lens_model(name: str, origin: Origin) -> type[BaseModel]:
    if name in lens_names():
        return lens_options(name)
    have, hint = ", ".join(lens_names()), _nearest(name, lens_names())
    raise origin.error(("lenses", name), f"unknown lens `{name}`; this version of thetadot has {have}{hint}")


def _check_sweep(spec: StudySpec, data: Mapping[str, Any], origin: Origin) -> None:
    """Every swept key exists and takes each of its values."""
    from thetadot.studies.source import override

    for way in ("sweep", "zip"):
        for dotted, values in (getattr(spec, way) or {}).items():
            for index, value in enumerate(values):
                key: Key = (way, dotted, index)
                plain = {name: item for name, item in data.items() if name not in ("sweep", "zip")}
                try:
                    changed, _ = override(
                        plain, Origin("", origin.directory), [f"{dotted}={_as_json(value)}"]
                    )
                    StudySpec.model_validate_json(_as_json(changed))
                except ValidationError as error:
                    message = _found(error, changed, Origin("", origin.directory), StudySpec, ())[0][1]
                    raise origin.error(key, f"{dotted} cannot be {_shown(value)}: {message}") from None
                except StudyError as error:
                    raise origin.error(key, f"{dotted} is not a key of this study ({error})") from None


def _explained(error: ValidationError, data: Any, origin: Origin, model: type, prefix: Key) -> StudyError:
    (key, message), *more = _found(error, data, origin, model, prefix)
    more_text = f" (and {len(more)} more)" if more else ""
    return origin.error((*prefix, *key), message + more_text)


def _found(
    error: ValidationError, data: Any, origin: Origin, model: type, prefix: Key
) -> list[tuple[Key, str]]:
    """Key and message of every error, the one to report first in front."""
    found: dict[Key, list[tuple[int, str]]] = {}
    for item in _of_the_branch_meant(error.errors(include_url=False), data):
        key = _key_of(item["loc"], item["type"], data)
        rank = _RANK.get(item["type"], 2)
        found.setdefault(key, []).append((rank, _message(item, key, data, model)))
    # A list that failed inside says more than "or one of these texts" about the whole of it.
    found = {key: sorted(items) for key, items in found.items()}
    keys = [key for key in found if not any(other != key and other[: len(key)] == key for other in found)]
    keys.sort(key=lambda key: (min(rank for rank, _ in found[key]), origin.line((*prefix, *key))))
    return [(key, _joined([message for _, message in found[key]])) for key in keys]


def _of_the_branch_meant(errors: list[Any], data: Any) -> list[Any]:
    """The errors without those of union members that lack a given key, where another member has it."""

    def names_member(loc: tuple[str | int, ...]) -> bool:
        return _key_of((*loc, ""), "", data) == _key_of((*loc[:-1], ""), "", data)

    lacking = {item["loc"][:-1] for item in errors if item["type"] == "extra_forbidden"}
    lacking = {loc for loc in lacking if loc and names_member(loc)}
    others = [item["loc"] for item in errors if not any(item["loc"][: len(loc)] == loc for loc in lacking)]
    dropped = [loc for loc in lacking if any(other[: len(loc) - 1] == loc[:-1] for other in others)]
    return [item for item in errors if not any(item["loc"][: len(loc)] == loc for loc in dropped)]


def _joined(messages: list[str]) -> str:
    first, *others = dict.fromkeys(messages)
    return first + "".join(f", or {message.partition('; ')[2]}" for message in others)


def _key_of(loc: tuple[str | int, ...], kind: str, data: Any) -> Key:
    """The key in the file behind pydantic's location, which also names branches of unions."""
    key: list[str | int] = []
    here = data
    for index, part in enumerate(loc):
        if isinstance(here, Mapping) and part in here:
            if here.get("kind") == part and index < len(loc) - 1 and loc[index + 1] in here:
                continue
            key.append(part)
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            key.append(part)
            here = here[part]
        elif isinstance(here, Mapping) and here.get("kind") != part and index == len(loc) - 1:
            key.append(part)
    about_kind = kind.startswith("union_tag") and isinstance(here, Mapping)
    return (*key, "kind") if about_kind else tuple(key)


def _message(item: Any, key: Key, data: Any, model: type) -> str:
    kind, context, given = item["type"], item.get("ctx", {}), _shown(_value(data, key))
    if kind == "extra_forbidden":
        allowed = _keys(_model_at(item["loc"][:-1], model))
        return f"unknown key (given {given}); allowed: {', '.join(allowed)}{_nearest(str(key[-1]), allowed)}"
    if kind == "missing":
        allowed = _keys(_model_at(item["loc"][:-1], model))
        return f"missing; expected here: {', '.join(allowed)}" if allowed else "missing"
    if kind == "union_tag_not_found":
        kinds = _kinds(_model_at(item["loc"], model, union=True))
        if key[-1:] == ("kind",):
            return f"missing; allowed: {', '.join(kinds)}"
        return f"given {given}; expected a mapping with `kind`, one of {', '.join(kinds)}"
    if kind == "union_tag_invalid":
        kinds = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        tag = str(context["tag"])
        return f"given {tag!r}; allowed: {', '.join(kinds)}{_nearest(tag, kinds)}"
    if kind == "literal_error":
        words = [word.strip(" '") for word in context["expected"].replace(" or ", ", ").split(",")]
        return f"given {given}; allowed: {', '.join(words)}{_nearest(str(_value(data, key)), words)}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"given {given}; expected a mapping{_example(item['loc'], key, _value(data, key), model)}"
    if kind == "list_type" and isinstance(_value(data, key), str):
        return f"given {given}; expected a list: write [{_value(data, key)}]"
    if kind == "value_error":
        reason = str(context.get("error", item["msg"]))
        return reason if isinstance(_value(data, key), (Mapping, list)) else f"given {given}; {reason}"
    if kind == "string_pattern_mismatch" and key == ("name",):
        return f"given {given}; expected letters, digits, dot, dash, underscore, with no dot or dash first"
    message = item["msg"]
    return f"given {given}; {message[0].lower()}{message[1:]}".replace("input should be", "expected").replace(
        "a valid array", "a list"
    )


def _example(loc: tuple[str | int, ...], key: Key, value: Any, model: type) -> str:
    """How a mapping that is expected would be written."""
    kinds = _kinds(_model_at(loc, model, union=True))
    if kinds:
        near = difflib.get_close_matches(str(value).lower(), kinds, n=1) or kinds
        return f", such as {{kind: {near[0]}, …}}; kinds are {', '.join(kinds)}"
    allowed = _keys(_model_at(loc, model))
    if key[-1:] == ("lenses",):
        named = value[0] if isinstance(value, list) and value else value
        return f": write {{{named if isinstance(named, str) else 'stability'}: {{}}}}"
    if not allowed:
        return ""
    return f" with keys {', '.join(allowed)}" + ("; write {} for the defaults" if value is None else "")


def _value(data: Any, key: Key) -> Any:
    for part in key:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _nearest(word: str, known: Iterable[str]) -> str:
    known, plain = list(known), word.lower().replace("-", "_")
    if "optax" in known and plain in OPTIMIZERS and plain != "sgd":
        return f"; did you mean `kind: optax` with `optimizer: {plain}`?"
    near = [meant for meant in _MEANT.get(plain, ()) if meant in known]
    near = near or difflib.get_close_matches(plain, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _keys(annotation: Any) -> list[str]:
    if not _is_model(annotation):
        return []
    return sorted(_fields(annotation), key=lambda name: name != "kind")


def _fields(model: Any) -> dict[str, Any]:
    """{key in the file: field}."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _kinds(annotation: Any) -> list[str]:
    members = [
        member for member in _members(annotation) if _is_model(member) and "kind" in member.model_fields
    ]
    return [tag for member in members if (tag := _tag(member))]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _members(annotation: Any) -> list[Any]:
    """Members of a union, seen through `Annotated`."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [annotation]


def _model_at(loc: tuple[str | int, ...], model: type, *, union: bool = False) -> Any:
    """The annotation at one of pydantic's locations; with `union`, the union itself."""
    here: Any = model
    for part in loc:
        members = _members(here)
        if len(members) == 1 and _is_model(members[0]) and part in _fields(members[0]):
            here = _fields(members[0])[str(part)].annotation
            continue
        tagged = [m for m in members if _is_model(m) and "kind" in m.model_fields and _tag(m) == part]
        collections = [m for m in members if typing.get_origin(m) in (list, dict)]
        if tagged:
            here = tagged[0]
        elif collections:
            here = typing.get_args(collections[0])[-1]
        else:
            models = [m for m in members if _is_model(m) and part in _fields(m)]
            if models:
                here = _fields(models[0])[str(part)].annotation
    if union:
        return here
    members = [m for m in _members(here) if _is_model(m)]
    return members[0] if len(members) == 1 else None


def _tag(model: Any) -> str:
    arguments = typing.get_args(model.model_fields["kind"].annotation)
    return arguments[0] if arguments else ""
