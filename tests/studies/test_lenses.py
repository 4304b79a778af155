"""Lenses that packages register, as study files see them."""

import pytest
from pydantic import BaseModel

from thetadot.studies import Study, StudyError, lenses


def test_a_registered_lens_is_known_to_study_files(study_file, study_text, monkeypatch):
    class Options(BaseModel, extra="forbid"):
        exponents: int = 3

    monkeypatch.setattr(lenses, "_registered", {})
    lenses.register_lens("stability", Options, print)
    study_file.write_text(study_text + "lenses: {stability: {exponents: 5}}\n")
    assert Study.load(study_file).spec.lenses == {"stability": {"exponents": 5}}
    for lens, fragments in {
        "stabilty: {}": r":16: lenses\.stabilty: unknown lens .* has stability; did you mean `stability`\?",
        "stability: {exponent: 5}": r":16: lenses\.stability\.exponent: unknown key .* did you mean `exponents`\?",
        "stability: {exponents: x}": r":16: lenses\.stability\.exponents: given 'x'",
    }.items():
        study_file.write_text(study_text + f"lenses: {{{lens}}}\n")
        with pytest.raises(StudyError, match=fragments):
            Study.load(study_file)
    with pytest.raises(lenses.LensError, match="registered already"):
        lenses.register_lens("stability", Options, len)
