"""Lenses as study files see them: thetadot's own, imported when they are named, and a user's."""

import subprocess
import sys

import pytest
import yaml
from pydantic import BaseModel

from thetadot.studies import Study, StudyError, json_schema, lenses


class Options(BaseModel, extra="forbid"):
    """Options of a user's lens."""

    exponents: int = 3


def test_a_registered_lens_is_known_to_study_files(study_file, study_text, monkeypatch):
    monkeypatch.setattr(lenses, "_registered", {})
    lenses.register_lens("angles", Options, print)
    study_file.write_text(study_text + "lenses: {angles: {exponents: 5}}\n")
    assert Study.load(study_file).spec.lenses == {"angles": {"exponents": 5}}
    for lens, fragments in {
        "angels: {}": r":16: lenses\.angels: unknown lens .*, angles; did you mean `angles`\?",
        "angles: {exponent: 5}": r":16: lenses\.angles\.exponent: unknown key .* did you mean `exponents`\?",
        "angles: {exponents: x}": r":16: lenses\.angles\.exponents: given 'x'",
    }.items():
        study_file.write_text(study_text + f"lenses: {{{lens}}}\n")
        with pytest.raises(StudyError, match=fragments):
            Study.load(study_file)
    for name in ("angles", "stability"):
        with pytest.raises(lenses.LensError, match="registered already"):
            lenses.register_lens(name, Options, len)
    for name in ("compare", "a/b", "", "my lens"):
        with pytest.raises(lenses.LensError, match="expected letters, digits, underscores"):
            lenses.register_lens(name, Options, len)


WRONG = {
    "stability: {exponent: 3}": r":16: lenses\.stability\.exponent: unknown key .*did you mean `exponents`\?",
    "stability: {orbital: {norm: 3}}": r":16: lenses\.stability\.orbital\.norm: given 3",
    "stability: {covariant: {count: 2}}": r":16: lenses\.stability\.covariant\.\w+: missing",
    "stability: {regimes: {learning_rates: {start: 1, to: 2}}}": (
        r":16: lenses\.stability\.regimes\.learning_rates\.start: unknown key .*allowed: from, to"
    ),
    "stability: {regimes: {learning_rates: {from: 2, to: 1}}}": r"learning_rates: from 2 to 1: expected from < to",
    "conservation: {laws: all}": r":16: lenses\.conservation\.laws: given 'all'; allowed: known, polynomial",
    "conservation: {degree: 9}": r":16: lenses\.conservation\.degree: given 9",
    "conservaton: {}": r":16: lenses\.conservaton: unknown lens .*did you mean `conservation`\?",
}


@pytest.mark.parametrize("lens", WRONG)
def test_wrong_options_of_our_lenses_name_line_and_key(study_file, study_text, lens):
    study_file.write_text(study_text + f"lenses: {{{lens}}}\n")
    with pytest.raises(StudyError, match=WRONG[lens]):
        Study.load(study_file)


def test_resolved_options_read_again_are_the_same(study_file, study_text, tmp_path):
    given = {
        "stability": {"orbital": None, "regimes": {"learning_rates": {"from": 0.1, "to": 2.0}}},
        "conservation": {"steps": False},
    }
    study_file.write_text(study_text + yaml.safe_dump({"lenses": given}))
    study = Study.load(study_file)
    options = study.spec.lenses["stability"]
    assert options["orbital"] is None
    assert options["finite_time"] == "auto"
    assert options["regimes"]["learning_rates"]["from"] == 0.1
    again = tmp_path / "again.yaml"
    again.write_text(study.to_yaml())
    assert Study.load(again) == study


def test_the_schema_describes_the_options_of_every_lens():
    schema = json_schema()
    found = schema["properties"]["lenses"]
    assert set(lenses.PACKAGED) <= set(found["properties"])
    assert found["additionalProperties"] is False
    for name in lenses.PACKAGED:
        options = schema["$defs"][found["properties"][name]["$ref"].rpartition("/")[2]]
        assert all("description" in field for field in options["properties"].values()), name

    def references(part):
        if isinstance(part, dict):
            yield from ([part["$ref"]] if "$ref" in part else [])
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    for reference in references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"], reference


def test_a_lens_is_imported_only_if_a_study_names_it(study_file, study_text):
    study_file.write_text(study_text + "lenses: {conservation: {}}\n")
    program = (
        "import sys, thetadot.studies as s; "
        f"s.Study.load(r'{study_file}'); "
        "print([name for name in ('stability', 'conservation') if f'thetadot.{name}.study' in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "['conservation']"
