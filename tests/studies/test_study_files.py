"""Study files: what is valid, and one line about what is not."""

import json

import numpy as np
import pytest
import yaml

import thetadot as td
from thetadot.studies import OverrideError, Study, StudyError, json_schema
from thetadot.studies.identity import configuration, configuration_hash

# (what is replaced, by what, fragments of the message after the file's name)
MALFORMED = {
    "another program's name of a loss": (
        "cross_entropy",
        "mse",
        [":6:", "problem.loss", "'mse'", "did you mean `squared`?"],
    ),
    "another program's name of a key": (
        "learning_rate",
        "lr",
        [":13:", "compare.0.lr", "unknown key", "did you mean `learning_rate`?"],
    ),
    "an optimizer as a rule": (
        "kind: gradient_descent",
        "kind: adam",
        [":13:", "compare.0.kind", "'adam'", "did you mean `kind: optax` with `optimizer: adam`?"],
    ),
    "a bare name for a mapping": (
        "{kind: iris}",
        "iris",
        [":5:", "problem.data", "given 'iris'", "such as {kind: iris, …}"],
    ),
    "a bare name for a list": (
        "[sharpness]",
        "sharpness",
        [":14:", "observe", "given 'sharpness'", "write [sharpness]"],
    ),
    "a list of lenses": (
        "budget:",
        "lenses: [stability]\nbudget:",
        [":15:", "lenses", "expected a mapping: write {stability: {}}"],
    ),
    "a lens without braces": (
        "budget:",
        "lenses: {stability: }\nbudget:",
        [":15:", "lenses.stability", "write {} for the defaults"],
    ),
    "members beyond all measure": (
        "members: 2",
        "members: 100000000",
        [":7:", "init.members", "100,000,000", "at most 10,000", "`thetadot sweep`"],
    ),
    "misspelt key": (
        "activation:",
        "activatoin:",
        [":4:", "network.activatoin", "'tanh'", "did you mean `activation`?"],
    ),
    "missing key": (
        "widths: [4, 3, 3], ",
        "",
        [":4:", "problem.network.widths", "missing", "kind, widths, activation"],
    ),
    "unknown kind": (
        "kind: mlp,",
        "kind: mpl,",
        [":4:", "network.kind", "'mpl'", "mlp, linear, two_layer", "`mlp`?"],
    ),
    "missing kind": ("{kind: mlp,", "{", [":4:", "problem.network.kind", "missing", "mlp, linear"]),
    "unknown rule": (
        "kind: flow",
        "kind: flwo",
        [":9:", "rule.kind", "'flwo'", "gradient_descent", "`flow`?"],
    ),
    "word for a number": (
        "[4, 3, 3]",
        "[4, three, 3]",
        [":4:", "widths.1", "'three'", "expected a valid integer"],
    ),
    "number for a list": ("[4, 3, 3]", "4", [":4:", "network.widths", "given 4", "expected a list"]),
    "number for a mapping": (
        "{time: 1e3, grad_norm: 1e-8}",
        "7",
        [":10:", "rule.until", "given 7", "keys time,"],
    ),
    "no members": (
        "members: 2",
        "members: 0",
        [":7:", "init.members", "given 0", "greater than or equal to 1"],
    ),
    "truth for a number": (
        "members: 2",
        "members: true",
        [":7:", "init.members", "given true", "valid integer"],
    ),
    "negative scale": ("scale: 0.5", "scale: -1.0", [":7:", "init.scale", "given -1.0", "greater than 0"]),
    "not a number": ("accuracy: 1e-6", "accuracy: .nan", [":11:", "rule.accuracy", "NaN", "finite"]),
    "no end": ("{time: 1e3, grad_norm: 1e-8}", "{}", [":10:", "rule.until", "time, grad_norm, loss, steps"]),
    "unknown activation": (
        "tanh",
        "tahn",
        [":4:", "activation", "'tahn'", "softplus", "did you mean `tanh`?"],
    ),
    "unknown loss": ("cross_entropy", "crossentropy", [":6:", "problem.loss", "squared", "`cross_entropy`?"]),
    "unknown data": ("kind: iris", "kind: irises", [":5:", "problem.data.kind", "digits, iris", "`iris`?"]),
    "unknown observable": ("[sharpness]", "[sharpnes]", [":14:", "observe.0", "layer_norms", "`sharpness`?"]),
    "unknown save times": (
        "accuracy: 1e-6",
        "saves: lgo",
        [":11:", "rule.saves", "log, linear, steps", "`log`?"],
    ),
    "bad duration": ("20m", "20 minutes", [":15:", "budget.wall", "'20 minutes'", "20m, 1h30m, 90s"]),
    "path in the name": (
        "name: small",
        "name: ../../etc/x",
        [":1:", "name", "'../../etc/x'", "letters, digits"],
    ),
    "absolute name": ("name: small", "name: /tmp/x", [":1:", "name", "'/tmp/x'", "letters, digits"]),
    "hidden name": ("name: small", "name: ..", [":1:", "name", "'..'", "letters, digits"]),
    "twice the same key": ("  loss:", "  loss: squared\n  loss:", [":7:", "problem.loss", "first in line 6"]),
    "tabulator": ("  kind: empirical", "\tkind: empirical", [":3:", "not valid YAML", "'\\t'"]),
    "open bracket": ("name: small", "name: [small", [":2:", "not valid YAML", "expected ',' or ']'"]),
    "code in a tag": (
        "name: small",
        "name: !!python/object/apply:os.getpid []",
        [":1:", "name", "tags", "remove it"],
    ),
    "unknown lens": (
        "budget:",
        "lenses: {saddels: {}}\nbudget:",
        [":15:", "lenses.saddels", "has stability, saddles, ", "`saddles`?"],
    ),
    "wrong first width": (
        "[4, 3, 3]",
        "[5, 3, 3]",
        [":4:", "network.widths.0", "given 5", "problem.data (iris)", "4"],
    ),
    "wrong last width": (
        "[4, 3, 3]",
        "[4, 3, 2]",
        [":4:", "widths.2", "given 2", "problem.data (iris)", "3 classes"],
    ),
    "labels of another kind": (
        "cross_entropy",
        "logistic",
        [":6:", "problem.loss", "±1", "problem.data (iris)"],
    ),
    "too big a batch": (
        "gradient_descent,",
        "minibatch, batch_size: 151,",
        [":13:", "compare.0", "151", "150"],
    ),
    "scale and scales": (
        "seed: 0",
        "scales: [1.0]",
        [":7:", "init", "`scales` and `members` exclude each other"],
    ),
    "sweep of no key": (
        "budget:",
        "sweep: {init.scal: [1.0]}\nbudget:",
        [":15:", "sweep.init.scal", "`scale`?"],
    ),
    "sweep of a wrong value": (
        "budget:",
        "sweep: {init.scale: [1, x]}\nbudget:",
        [":15:", "init.scale.1", "'x'"],
    ),
    "zip of two lengths": (
        "budget:",
        "zip: {init.scale: [1], init.seed: [1, 2]}\nbudget:",
        [":15:", "zip", "length"],
    ),
    "save times that fall": ("accuracy: 1e-6", "saves: [1, 3, 2]", [":11:", "rule.saves", "ascend"]),
    "missing file": (
        "kind: iris}",
        "kind: csv, path: gone.csv, target: y}",
        [":5:", "problem.data", "gone.csv"],
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_in_one_line_that_names_line_key_and_way_out(
    case, study_file, study_text, tmp_path
):
    old, new, fragments = MALFORMED[case]
    assert old in study_text
    study_file.write_text(study_text.replace(old, new, 1))
    with pytest.raises(StudyError) as refusal:
        Study.load(study_file).run(tmp_path / "run", progress=False)
    message = str(refusal.value)
    assert message.startswith(str(study_file))
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message.removeprefix(str(study_file)), (fragment, message)
    assert list(tmp_path.iterdir()) == [study_file]


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"", ["is empty"]),
        (b"- a\n- b\n", [":1:", "a study is a mapping", "list"]),
        (b"\xff\xfe\x00", ["not UTF-8"]),
        (b"name: " + b"[" * 5000, ["nested too deeply"]),
        (b"1: 2\n", [":1:", "must be a text"]),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            b"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
            b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
            ["too many values"],
        ),
    ],
)
def test_a_file_that_is_no_study_is_refused_in_one_line(content, fragments, tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    with pytest.raises(StudyError) as refusal:
        Study.load(file)
    assert "\n" not in str(refusal.value)
    for fragment in [str(file), *fragments]:
        assert fragment in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("init.scale=abc", ["init.scale: given 'abc'", "valid number"]),
        ("init.scal=0.1", ["init.scal: unknown key", "did you mean `scale`?"]),
        ("init.scale", ["expected key=value"]),
        ("name.x=1", ["below a value that is not a mapping"]),
        ("compare.3.steps=1", ["not a place in this list"]),
        ("rule={kind: heavy_ball, learning_rate: 1.0, steps: 3}", ["rule.momentum", "missing"]),
        ("name=a: b: c", ["is not a YAML value"]),
    ],
)
def test_a_wrong_override_is_refused_by_its_own_name(setting, fragments, study_file):
    with pytest.raises(StudyError) as refusal:
        Study.load(study_file, set=[setting])
    assert str(refusal.value).startswith(f"--set {setting}")
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_overrides_replace_values_and_make_mappings(study_file):
    study = Study.load(
        study_file, set=["init.scale=1e-3", "compare.0.learning_rate=0.5", "rule.until.steps=7"]
    )
    assert study.spec.init.scale == 1e-3
    assert study.spec.compare[0].learning_rate == 0.5
    assert study.spec.rule.until.steps == 7
    assert Study.load(study_file, set={"init.scale": 1e-3}).spec.init.scale == 1e-3
    assert issubclass(OverrideError, StudyError)


def test_scalars_are_read_as_yaml_1_2_has_them(tmp_path, study_text):
    file = tmp_path / "s.yaml"
    file.write_text(study_text.replace("name: small", "name: no\ndescription: 2020-01-01"))
    study = Study.load(file)
    assert study.name == "no"
    assert study.spec.description == "2020-01-01"
    assert study.spec.rule.until.time == 1000.0
    assert study.spec.budget.wall == 1200.0


def test_toml_says_the_same_as_yaml_and_errors_find_their_line(tmp_path, study_file):
    text = """\
name = "small"
observe = ["sharpness"]
[problem]
kind = "empirical"
loss = "cross_entropy"
network = {kind = "mlp", widths = [4, 3, 3], activation = "tanh"}
data.kind = "iris"
[init]
scale = 0.5
seed = 0
members = 2
[rule]
kind = "flow"
accuracy = 1e-6
until = {time = 1e3, grad_norm = 1e-8}
[[compare]]
kind = "gradient_descent"
learning_rate = 0.1
steps = 100
[budget]
wall = "20m"
"""
    file = tmp_path / "study.toml"
    file.write_text(text)
    assert Study.load(file) == Study.load(study_file)
    for old, new, line, key in [
        ("accuracy = 1e-6", "acuracy = 1e-6", 14, "rule.acuracy"),
        ("steps = 100", 'steps = "x"', 19, "compare.0.steps"),
        ('activation = "tanh"', 'activation = "tan"', 6, "problem.network.activation"),
        ('kind = "iris"', 'kind = "iri"', 7, "problem.data.kind"),
    ]:
        file.write_text(text.replace(old, new))
        with pytest.raises(StudyError, match=rf"study\.toml:{line}: {key}: "):
            Study.load(file)
    file.write_text(text.replace("seed = 0", "seed = 0\nseed = 1"))
    with pytest.raises(StudyError, match=r"study\.toml:11: not valid TOML"):
        Study.load(file)


def test_a_resolved_study_reads_back_as_itself(study_file, tmp_path):
    for settings in ([], ["init={scales: [0.1, 1.0]}"], ["compare=[]", "observe={top: sharpness}"]):
        study = Study.load(study_file, set=settings)
        file = tmp_path / "resolved.yaml"
        file.write_text(study.to_yaml())
        again = Study.load(file)
        assert again == study
        assert configuration_hash(again.spec, again.origin) == configuration_hash(study.spec, study.origin)


def test_identity_follows_what_decides_the_numbers(study_file, tmp_path):
    def identity(*settings):
        study = Study.load(study_file, set=settings)
        return configuration_hash(study.spec, study.origin)

    assert identity() == identity("budget.wall=1s") == identity("description=other words")
    assert identity() == identity("init.scale=0.5", "rule.solver=auto")  # defaults, spelt out
    changed = {
        identity(s)
        for s in ("init.scale=0.4", "name=other", "rule.accuracy=1e-7", "observe=[]", "compare=[]")
    }
    assert len(changed | {identity()}) == 6


def test_unknown_bundled_names_are_refused_with_the_nearest():
    with pytest.raises(StudyError, match=r"did you mean `quickstart`\?"):
        Study.load("quikstart")


def test_keywords_make_the_same_study_as_a_file(study_file, study_text):
    fields = json.loads(
        json.dumps(yaml.safe_load(study_text.replace("1e3", "1.0e+3").replace("1e-", "1.0e-")))
    )
    assert Study(**fields) == Study.load(study_file)
    with pytest.raises(StudyError, match=r"init\.members: given 0"):
        Study(**{**fields, "init": {"members": 0}})


def test_the_json_schema_knows_every_kind(study_file):
    schema = json_schema()
    text = json.dumps(schema)
    for kind in ("mlp", "teacher_student", "csv", "minibatch", "optax", "python"):
        assert f'"{kind}"' in text
    assert schema["additionalProperties"] is False
    assert configuration(Study.load(study_file).spec).keys() <= schema["properties"].keys()


def test_a_study_with_sweep_is_valid_but_not_run(study_file, study_text, tmp_path):
    study_file.write_text(study_text + "sweep: {init.scale: [0.1, 0.01]}\n")
    study = Study.load(study_file)
    with pytest.raises(StudyError, match=r"study\.yaml:16: sweep: .*`thetadot sweep` runs them"):
        study.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_example_of_the_documentation_is_posed_as_it_says(tmp_path):
    """The teacher takes as many inputs as the network unless the file says otherwise."""
    file = tmp_path / "small-init.yaml"
    file.write_text(
        "name: small-init\n"
        "problem:\n"
        "  kind: empirical\n"
        "  network: {kind: mlp, widths: [10, 20, 1], activation: squared_relu, bias: false}\n"
        "  data: {kind: teacher_student, samples: 60, seed: 0}\n"
        "  loss: squared\n"
        "init: {scale: 0.01, seed: 0, members: 8}\n"
        "rule: {kind: flow, until: {time: 1e5, grad_norm: 1e-9}, accuracy: 1e-6}\n"
        "observe: [sharpness, balancedness]\n"
        "sweep: {init.scale: [0.1, 0.01, 0.001]}\n"
        "budget: {wall: 20m}\n"
    )
    study = Study.load(file)
    assert study.problem.size == 220
    assert study.problem.x.shape == (60, 10)


def test_tables_are_found_beside_the_study_and_count_by_their_content(
    study_file, study_text, tmp_path, monkeypatch
):
    rows = "".join(f"{n % 7},{n % 5},{n % 3},{n % 11},{'abc'[n % 3]}\n" for n in range(40))
    (tmp_path / "mine.csv").write_text("a,b,c,d,kind\n" + rows)
    text = study_text.replace("{kind: iris}", "{kind: csv, path: mine.csv, target: kind}")
    study_file.write_text(text)
    monkeypatch.chdir("/")
    study = Study.load(study_file)
    assert study.problem.samples == 40
    before = configuration_hash(study.spec, study.origin)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "mine.csv").rename(moved / "other.csv")
    (moved / "study.yaml").write_text(text.replace("mine.csv", "other.csv"))
    again = Study.load(moved / "study.yaml")
    assert configuration_hash(again.spec, again.origin) == before
    (moved / "other.csv").write_text("a,b,c,d,kind\n" + rows.replace("1", "2"))
    assert configuration_hash(again.spec, again.origin) != before
    (moved / "study.yaml").write_text(text.replace("csv, path: mine.csv", "npz, path: other.csv"))
    with pytest.raises(StudyError, match=r"problem\.data\.path: .*other\.csv is not a \.npz file"):
        _ = Study.load(moved / "study.yaml").problem


def study_of(study_file, study_text, *pairs):
    """The small study with some of its text replaced."""
    for old, new in pairs:
        assert old in study_text
        study_text = study_text.replace(old, new)
    study_file.write_text(study_text)
    return Study.load(study_file)


def test_the_train_part_comes_with_the_test_part_held_out(study_file, study_text):
    study = study_of(study_file, study_text, ("{kind: iris}", "{kind: iris, split: train}"))
    assert (study.problem.samples, len(study.problem.test_y)) == (120, 30)
    assert study_of(study_file, study_text).problem.test_y is None


def test_observing_what_is_not_held_out_is_refused_at_its_key(study_file, study_text):
    study = study_of(study_file, study_text, ("[sharpness]", "[test_loss]"))
    with pytest.raises(
        StudyError, match=r":14: observe: test_loss cannot be observed: .*data with split: train"
    ):
        study.run(study_file.parent / "run")
    assert not (study_file.parent / "run").exists()


def test_classes_are_one_hot_for_squared_and_signs_for_logistic(study_file, study_text):
    squared = study_of(study_file, study_text, ("loss: cross_entropy", "loss: squared")).problem
    np.testing.assert_array_equal(squared.y, np.eye(3)[np.asarray(td.data.iris()[1])])
    two = [("{kind: iris}", "{kind: breast_cancer, split: train}"), ("[4, 3, 3]", "[30, 3, 1]")]
    logistic = study_of(study_file, study_text, *two, ("loss: cross_entropy", "loss: logistic")).problem
    np.testing.assert_array_equal(np.unique(logistic.y), [-1.0, 1.0])
    np.testing.assert_array_equal(np.unique(logistic.test_y), [-1.0, 1.0])
    with pytest.raises(StudyError, match=r"problem\.loss: logistic takes two classes.*: take cross_entropy"):
        _ = study_of(study_file, study_text, ("loss: cross_entropy", "loss: logistic")).problem


def test_whole_numbers_are_numbers_to_the_squared_loss_and_classes_to_the_others(
    study_file, study_text, tmp_path
):
    rows = "".join(f"{n % 7},{n % 5},{n % 3},{n % 11},{100 * (n % 4)}\n" for n in range(40))
    (tmp_path / "mine.csv").write_text("a,b,c,d,price\n" + rows)
    table = ("{kind: iris}", "{kind: csv, path: mine.csv, standardise: false}")
    classes = study_of(study_file, study_text, table, ("[4, 3, 3]", "[4, 3, 4]")).problem
    np.testing.assert_array_equal(np.unique(classes.y), [0, 1, 2, 3])
    squared = ("loss: cross_entropy", "loss: squared")
    numbers = study_of(study_file, study_text, table, ("[4, 3, 3]", "[4, 3, 1]"), squared).problem
    np.testing.assert_array_equal(np.unique(numbers.y), [0.0, 100.0, 200.0, 300.0])
