"""The form as data: from the JSON schema to fields, from a study to the form and back, errors at their fields."""

import dataclasses
import html
import json
import re
from pathlib import Path

import pytest

from tests.viewer.form_studies import STUDIES, empirical
from thetadot.studies import Study, StudyError, bundled_names, json_schema
from thetadot.studies.explain import problems_of
from thetadot.studies.schema import StudySpec
from thetadot.studies.source import read_yaml
from thetadot.viewer.form_fields import Board, FormError, Leaf
from thetadot.viewer.form_groups import ForkView, OptionalView, PartView, view_of
from thetadot.viewer.form_lists import ManyView
from thetadot.viewer.form_schema import MISSING, Constant, Fork, Line, Many, Optional, Part, Text, form_tree
from thetadot.viewer.form_yaml import line_text, line_value, study_text

TREE = form_tree(json_schema())


def form_of(data, tree=TREE):
    """The form, filled."""
    return view_of(tree, (), data, Board(lambda: None))


def part_of(data, *names):
    """The form of some keys of a study, which is quicker to make than all of it."""
    fields = tuple(field for field in TREE.fields if field.name in names)
    return form_of(
        {name: data[name] for name in names if name in data}, dataclasses.replace(TREE, fields=fields)
    )


def read(form):
    """What the form says, which must be readable."""
    problems = []
    data = form.value(problems)
    assert problems == []
    return data


def view_at(form, key):
    """The view of a key, through forks and lists."""
    here = form
    for part in key:
        while isinstance(here, ForkView) and here.inner is not None:
            here = here.inner
        here = here.inner if isinstance(here, OptionalView) else here
        here = here.entries[part] if isinstance(here, ManyView) else here[part]
    return here


def leaves(view):
    """All single fields that the form shows."""
    if isinstance(view, Leaf):
        return [view]
    if isinstance(view, PartView | ManyView):
        inside = [one for _, one in view.inside]
    else:
        inside = [view.inner] if getattr(view, "inner", None) is not None else []
    return [leaf for one in inside for leaf in leaves(one)]


def keys_of_tree(field, at=()):
    """All keys that the fields offer."""
    if isinstance(field, Part):
        return {at}.union(*(keys_of_tree(one, (*at, one.name)) for one in field.fields))
    if isinstance(field, Optional):
        return keys_of_tree(field.part, at)
    if isinstance(field, Many):
        return {at} | keys_of_tree(field.item, (*at, 0))
    if isinstance(field, Fork):
        return {at}.union(*(keys_of_tree(one, at) for one in field.branches.values()))
    return {at}


def keys_of_schema(schema, node, at=()):
    """All keys that the schema allows, found by walking it."""
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        if name == "Python":
            return set()
        return keys_of_schema(schema, schema["$defs"][name], at)
    found = {at}
    for name, inner in node.get("properties", {}).items():
        if (*at, name) not in {("sweep",), ("zip",)}:
            found |= keys_of_schema(schema, inner, (*at, name))
    for inner in [*node.get("anyOf", ()), *node.get("oneOf", ())]:
        found |= keys_of_schema(schema, inner, at)
    if node.get("type") == "array" and any("$ref" in one for one in _alternatives(node.get("items", {}))):
        found |= keys_of_schema(schema, node["items"], (*at, 0))
    return found


def _alternatives(node):
    return node.get("anyOf") or node.get("oneOf") or [node]


def test_every_key_of_the_schema_has_a_field_but_code_and_sweeps():
    # Made here: other tests of this process may have registered lenses since TREE was made.
    schema = json_schema()
    assert keys_of_tree(form_tree(schema)) == keys_of_schema(schema, schema)
    assert list(TREE.field("problem").branches) == ["empirical", "population"]


def test_without_files_no_field_names_one():
    tree = form_tree(json_schema(), files=False)
    gone = keys_of_tree(TREE) - keys_of_tree(tree)
    assert {key[-1] for key in gone} == {"path", "task", "target", "file", "matrix", "sign"}
    data = tree.field("problem").branches["empirical"].field("data")
    assert not {"csv", "npz", "parquet"} & set(data.branches)


def test_the_form_follows_a_schema_that_it_has_never_seen():
    schema = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "description": "how many"},
            "kinds": {"$ref": "#/$defs/Either", "default": None},
            "word": {"type": "string", "default": "a"},
        },
        "$defs": {
            "Either": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
            "Inner": {
                "type": "object",
                "properties": {"deep": {"type": "array", "items": {"type": "number"}}},
            },
        },
    }
    tree = form_tree(schema)
    size, kinds, word = tree.fields
    assert isinstance(size, Line)
    assert (size.help, size.required, size.expects) == (
        "How many",
        True,
        "whole number",
    )
    assert isinstance(word, Text)
    assert word.default == "a"
    assert isinstance(kinds, Fork)
    assert kinds.usual == "none"
    assert isinstance(kinds.branches["none"], Constant)
    assert kinds.branches["given"].field("deep").expects == "list of numbers"
    assert form_of({"size": 3, "kinds": {"deep": [1.5]}}, tree).value([]) == {
        "size": 3,
        "kinds": {"deep": [1.5]},
    }


@pytest.mark.parametrize("name", bundled_names())
def test_a_bundled_study_survives_the_form_unless_it_runs_code(name):
    study = Study.load(name)
    if study.spec.problem.kind == "python":
        with pytest.raises(FormError, match="python is not offered"):
            form_of(study.resolved())
        return
    data = read(form_of(study.resolved()))
    assert Study(**data) == Study(**study.resolved())
    assert len(json.dumps(data)) < len(json.dumps(study.resolved()))


@pytest.mark.parametrize("case", STUDIES)
def test_a_study_survives_the_form_and_its_file(case):
    wanted = StudySpec.model_validate_json(json.dumps(STUDIES[case]))
    study, base = STUDIES[case], empirical()
    data = {**study, **read(part_of(study, *(name for name in study if base.get(name) != study[name])))}
    assert StudySpec.model_validate_json(json.dumps(data)) == wanted
    there, _ = read_yaml(study_text(data), "study.yaml", Path())
    assert StudySpec.model_validate_json(json.dumps(there)) == wanted


def test_what_is_left_alone_does_not_stand_in_the_file():
    assert read(form_of(empirical())) == empirical()
    spelt_out = Study(**empirical()).resolved()
    assert read(form_of(spelt_out)) == empirical()


def test_an_empty_form_says_everything_that_is_missing_at_its_field():
    form = form_of(MISSING)
    problems = problems_of(read(form))
    form.show(problems)
    assert [key for key, _ in problems] == [
        ("rule", "until"), ("name",), ("problem", "network", "widths"), ("problem", "loss"),
    ]  # fmt: skip
    for key, message in problems:
        assert "missing" in message or "names no end" in message
        assert "class='wrong'" in view_at(form, key).note.pane.object
    marked = [leaf.key for leaf in leaves(form) if "✗" in leaf.widget.label]
    assert marked == [("name",), ("problem", "network", "widths"), ("problem", "loss")]


# (where, what is typed, fragments of the message)
WRONG = {
    "word for a number": (("problem", "network", "widths"), "3, four, 1", ["entry 2", "'four'", "valid integer"]),
    "open bracket": (("problem", "network", "widths"), "[3, 4", ["not valid YAML", "']'"]),
    "tag": (("problem", "network", "slope"), "!!python/object/apply:os.getpid []", ["tags", "not read"]),
    "endless number": (("init", "seed"), "9" * 5000, ["too many digits"]),
    "negative scale": (("init", "scale"), "-1", ["given -1", "greater than 0"]),
    "no members": (("init", "members"), "0", ["greater than or equal to 1"]),
    "truth for a number": (("init", "members"), "true", ["given true", "valid integer"]),
    "not a number": (("rule", "accuracy"), ".nan", ["NaN"]),
    "misspelt choice": (("rule", "saves"), "lgo", ["log, linear, steps", "did you mean `log`?"]),
    "two words in a list": (("rule", "saves"), "3, x", ["'x'"]),
    "bad duration": (("budget", "wall"), "20 minutes", ["20m, 1h30m, 90s"]),
    "path for a name": (("name",), "../../etc/x", ["'../../etc/x'", "letters, digits"]),
    "script for a name": (("name",), "<script>alert(1)</script>", ["<script>", "letters, digits"]),
    "number for a mapping": (("compare", 0, "arguments"), "[7]", ["given [7]", "mapping"]),
    "option of a lens": (("lenses", "stability", "exponents"), "-1", ["greater than or equal to 0"]),
    "deep in a lens": (("lenses", "stability", "finite_time", "count"), "0", ["greater than or equal to 1"]),
    "entry of a lens": (("lenses", "symmetry", "transformations", 1, "swap"), "0", ["missing"]),
}  # fmt: skip

STUDY = empirical(
    compare=[{"kind": "optax", "optimizer": "adam", "learning_rate": 0.1, "steps": 3, "arguments": {"b1": 0.8}}],
    lenses={"stability": {"finite_time": {"count": 2}},
            "symmetry": {"transformations": ["negation", {"swap": [0, 1]}]}},
)  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_told_beside_its_field_and_nowhere_else(case):
    key, typed, fragments = WRONG[case]
    form = part_of(STUDY, key[0])
    leaf = view_at(form, key)
    assert isinstance(leaf, Leaf)
    leaf.widget.value = typed
    problems = []
    others = {name: value for name, value in STUDY.items() if name != key[0]}
    data = {**others, **form.value(problems)}
    unread = {one for one, _ in problems}
    problems += [one for one in problems_of(data) if one[0] not in unread]
    form.show(problems)
    shown = html.unescape(leaf.note.pane.object)
    for fragment in fragments:
        assert fragment in shown
    assert [one.key for one in leaves(form) if "class='wrong'" in one.note.pane.object] == [key]
    assert "(see below)" in leaf.widget.label
    assert leaf.widget.css_classes == ["wrong"]
    form.show([])
    assert "wrong" not in leaf.note.pane.object
    assert leaf.widget.css_classes == []


def test_several_mistakes_are_all_told():
    form = form_of(STUDY)
    keys = []
    for case in ("negative scale", "misspelt choice", "option of a lens", "script for a name"):
        key, typed, _ = WRONG[case]
        view_at(form, key).widget.value = typed
        keys.append(key)
    assert sorted(key for key, _ in problems_of(read(form))) == sorted(keys)


def test_a_mistake_in_a_folded_field_unfolds_it():
    form = part_of(empirical(), "rule")
    assert ("rule", "perturb") not in [leaf.key for leaf in leaves(form)]
    form.show([(("rule", "perturb"), "too odd")])
    assert "too odd" in view_at(form, ("rule", "perturb")).note.pane.object


def test_a_message_about_a_kind_stands_below_its_choice():
    form = part_of(empirical(), "problem")
    form.show([(("problem", "data", "kind"), "is not here"), (("problem",), "cannot be traced")])
    assert "is not here" in view_at(form, ("problem", "data")).note.pane.object
    assert "cannot be traced" in view_at(form, ("problem",)).inner.note.pane.object


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "a' onx='b"]
)
def test_hostile_text_is_escaped_in_every_pane(text):
    form = part_of({**empirical(), "name": text, "description": text}, "name", "description", "problem")
    view_at(form, ("problem", "network", "widths")).widget.value = text
    problems = []
    data = form.value(problems)
    form.show([*problems, *problems_of(data), (("problem", "data"), text), ((), text)])
    shown = [pane.object for pane in form.panel.select(lambda one: type(one).__name__ == "HTML")]
    assert sum("class='wrong'" in one for one in shown) >= 4
    for one in shown:
        assert not re.search(r"<(script|img)|onx='b", one)
        assert text not in one


@pytest.mark.parametrize(
    "key", [("sweep",), ("problem", "network", "depht"), ("rule", "untill"), ("lenses", "sadles")]
)
def test_a_study_with_a_key_that_the_form_lacks_does_not_fill_it(key):
    data = json.loads(json.dumps(STUDY))
    here = data
    for part in key[:-1]:
        here = here[part]
    here[key[-1]] = {}
    with pytest.raises(FormError):
        form_of(data)


def test_code_never_enters_the_form():
    problem = {"kind": "python", "file": "x.py", "function": "make"}
    with pytest.raises(FormError, match="python is not offered"):
        form_of({**empirical(), "problem": problem})
    form = form_of(empirical())
    view_at(form, ("problem",))._select.value = "python"  # as a hostile browser may send it
    assert "problem" not in form.value([])


def test_a_fork_swaps_its_fields_and_keeps_what_was_typed():
    form = part_of(empirical(), "problem")
    network = view_at(form, ("problem", "network"))
    network._select.value = "two layer"
    view_at(form, ("problem", "network", "dimension")).widget.value = "3"
    view_at(form, ("problem", "network", "width")).widget.value = "8"
    assert read(form)["problem"]["network"] == {"kind": "two_layer", "dimension": 3, "width": 8}
    network._select.value = "mlp"
    assert read(form)["problem"]["network"] == {"kind": "mlp", "widths": [3, 4, 1]}


def test_entries_of_a_list_are_added_and_removed():
    rules = [{"kind": "gradient_descent", "learning_rate": rate, "steps": 3} for rate in (0.1, 0.2, 0.3)]
    form = part_of(empirical(compare=rules), "compare")
    view = form["compare"]
    view.remove(1)
    assert read(form)["compare"] == [rules[0], rules[2]]
    assert [one.key for one in view.entries] == [("compare", 0), ("compare", 1)]
    view.add()
    assert read(form)["compare"][2] == {"kind": "flow", "until": {}}
    while view.entries:
        view.remove(0)
    assert "compare" not in read(form)


def test_removing_an_entry_keeps_what_cannot_be_read_in_the_others():
    rules = [{"kind": "gradient_descent", "learning_rate": rate, "steps": 3} for rate in (0.1, 0.2)]
    form = part_of(empirical(compare=rules), "compare")
    view_at(form, ("compare", 1, "learning_rate")).widget.value = "[0"
    form["compare"].remove(0)
    assert view_at(form, ("compare", 0, "learning_rate")).widget.value == "[0"


def test_a_ticked_lens_stands_in_the_study_with_its_defaults():
    form = part_of(empirical(), "lenses")
    view_at(form, ("lenses",))["saddles"].turn(True)
    assert read(form)["lenses"] == {"saddles": {}}
    view_at(form, ("lenses",))["saddles"].turn(False)
    assert read(form) == {}


def test_the_form_tells_of_every_change():
    told = []
    form = view_of(TREE, (), empirical(), Board(lambda: told.append(1)))
    view_at(form, ("problem", "network", "widths")).widget.value = "3, 1"
    view_at(form, ("problem", "network"))._select.value = "linear"
    form["compare"].add()
    view_at(form, ("lenses",))["saddles"].turn(True)
    assert len(told) == 4


@pytest.mark.parametrize("value", [
    "1e-6", "no", "true", "null", "~", "", " x", "a: b", "#", "'", "- a", "multi\nline", "2020-01-01", "é✗", "[1", None,
    True, 0, -1, 1e-6, 1e300, 2**70, [1, [2, "x"]], {"a": [1.5]}, [], {}, float("inf"),
])  # fmt: skip
def test_a_value_written_in_one_line_is_read_as_it_was(value):
    text = line_text(value)
    assert "\n" not in text
    back = line_value(text)
    assert back == value
    assert type(back) is type(value)


def test_a_line_that_is_no_yaml_is_refused_with_a_reason():
    for text in ("[1", "{a", "a: b: c", "!!python/none x", "*a", "@", "'"):
        with pytest.raises(StudyError) as refusal:
            line_value(text)
        assert "given" in refusal.value.reason
        assert "\n" not in refusal.value.reason
