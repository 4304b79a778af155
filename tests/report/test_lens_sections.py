"""What the report says of lenses: their numbers, and why one has none."""

import base64
import dataclasses
import json

import numpy as np
import pytest
import xarray

import thetadot as td
from tests.report.markup import Page
from tests.report.runs import HOSTILE, StandIn, descent, flow
from thetadot.conservation import study as conservation_study
from thetadot.errors import ThetadotError
from thetadot.integrability import study as integrability_study
from thetadot.integrability import verify_certificate
from thetadot.report import write_report
from thetadot.report.lens_panels import lens_sections
from thetadot.report.lens_record import Found, spread
from thetadot.report.series import Series
from thetadot.stability import study as stability_study
from thetadot.studies.lens_reading import LensSummary


class Looked(StandIn):
    """A stand-in for a run with lenses: {(member, compare, lens): Dataset, or why there is none}."""

    def __init__(self, directory, main, compared, found):
        super().__init__(directory, main, compared)
        self._found = found

    def lenses(self):
        """One line per lens and path."""
        lines = []
        for (member, compare, lens), result in self._found.items():
            status, said = (
                ("does not apply", result) if isinstance(result, str) else ("done", result.attrs["said"])
            )
            lines.append(LensSummary(member, compare, lens, status, said, ("mind the step",), 2.0))
        return lines

    def lens(self, member, name, compare=None):
        """A result."""
        result = self._found[member, compare, name]
        if result.attrs.get("damaged"):
            raise ThetadotError("a chunk of this lens is damaged")
        return result


def own(values, said="it went up", **attributes):
    """What a user's lens may find."""
    data = {"height": ("time", np.asarray(values, float), {"long_name": "height of it", "units": "m"})}
    return xarray.Dataset(data, {"time": np.arange(len(values), dtype=float)}, {"said": said, **attributes})


def page_of(directory, found, members=2):
    """The page of a run with lenses."""
    main = [flow(seed) for seed in range(members)]
    compared = [[descent(0.5, 120, seed) for seed in range(members)]]
    text = write_report(Looked(directory, main, compared, found), directory / "r.html").read_text("utf-8")
    return text, Page(text)


def test_a_lens_has_a_section_with_summary_figure_and_cost(tmp_path):
    found = {(0, None, "own_lens"): own([1, 2, 5]), (1, None, "own_lens"): own([1, 3, 9], "it flew")}
    text, page = page_of(tmp_path, found)
    assert "lens-own_lens" in page.ids
    for words in ("Lens: own lens", "it went up", "it flew", "height of it (m)", "mind the step"):
        assert words in text, words
    assert "Last value: 5 to 9 over 2 members under gradient flow." in text
    assert "lens own_lens (2 paths)" in text
    assert {reference[1:] for reference in page.references} <= set(page.ids)


def test_why_a_lens_has_no_result_is_said_once_for_all_paths(tmp_path):
    found = {
        (0, None, "own"): "no laws are known here", (1, None, "own"): "no laws are known here",
        (0, 0, "own"): own([1, 2], damaged=1),
    }  # fmt: skip
    text, _ = page_of(tmp_path, found)
    assert text.count("no laws are known here") == 1
    assert "Does not apply (gradient flow, member 0 and 1 other path): no laws are known here" in text
    assert "a chunk of this lens is damaged" in text


def test_texts_of_a_lens_are_shown_as_text(tmp_path):
    data = own([1, 2], HOSTILE).rename({"height": "evil"})
    data["evil"].attrs["long_name"] = HOSTILE
    text, page = page_of(tmp_path, {(0, None, "own"): data, (1, None, "own"): HOSTILE})
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "evil.example" not in "".join(page.references)


def test_the_spread_over_many_members_is_that_of_their_numbers():
    values = [3.0, 1.0, 7.0, np.nan, 5.0, 9.0]
    found = [Found("x", Series(flow(), 0, member), "done", "") for member in range(6)]
    low, middle, high = np.quantile([1.0, 3.0, 5.0, 7.0, 9.0], [0.1, 0.5, 0.9])
    assert spread(found, "Height", values, "m") == (
        f"Height: median {middle:g} m, the middle 80 % of 5 members from {low:g} to {high:g} under gradient flow "
        "(1 not finite)."
    )
    assert spread(found[:1], "Height", [2.0]) == "Height: 2 under gradient flow."
    assert spread(found, "Height", [np.nan] * 6) == ""


@pytest.fixture(scope="module")
def looked():
    """What both of our lenses find on two descents of a small network; the first stands for a flow."""
    x, y = np.random.default_rng(0).normal(size=(12, 2)), np.arange(12) % 2
    problem = td.EmpiricalRisk(td.mlp([2, 2, 2], "relu"), td.cross_entropy, x, y)
    theta = np.random.default_rng(1).normal(size=problem.size)
    options = stability_study.Options.model_validate(
        {"exponents": 2, "every": 4, "orbital": {"duration": 10}, "finite_time": {"windows": [4], "count": 2}}
    )
    found = []
    for number, learning_rate in enumerate((0.05, 0.1)):
        rule = td.GradientDescent(learning_rate)
        path = td.descend(problem, theta, rule, 40, saves="steps", progress=False)
        name = "gradient flow" if number == 0 else "gradient descent"
        looked_at = {
            "stability": stability_study.analyse(problem, path, options, rule=rule),
            "conservation": conservation_study.analyse(
                problem, path, conservation_study.Options.model_validate({"max_size": 50})
            ),
        }
        if number == 0:
            path = dataclasses.replace(path, info={**path.info, "kind": "flow"})
        for lens, result in looked_at.items():
            data = result.to_xarray()
            units = {key: "time" for key, value in data.attrs.items() if number == 0 and value == "step"}
            series = Series(path, number, 0, name)
            found.append(Found(lens, series, "done", result.summary(), data=data.assign_attrs(units)))
    return found


def panels_of(found):
    """{name: panel} of all sections."""
    return {panel.name: panel for section in lens_sections(found) for panel in section.panels}


def test_our_lenses_draw_what_they_found(looked):
    panels = panels_of(looked)
    assert set(panels) == {
        "lens-stability-exponents-time", "lens-stability-exponents-step", "lens-stability-twins-time",
        "lens-stability-twins-step", "lens-stability-finite-time-4-time", "lens-stability-finite-time-4-step",
        "lens-stability-sharpness-track", "lens-stability-straightness", "lens-conservation-law-drift",
        "lens-conservation-error-floor", "lens-conservation-law-steps",
    }  # fmt: skip
    steps = looked[2].data
    first = panels["lens-stability-exponents-step"].chart.lines[0]
    np.testing.assert_array_equal(first.x, steps["spectrum_length"])
    np.testing.assert_array_equal(first.y, steps["spectrum_history"][:, 0])
    twins = panels["lens-stability-twins-step"].chart.lines[0].y
    assert twins[0] == pytest.approx(1.0)
    ratio = steps["orbital_mean_distance"] / steps.attrs["orbital_initial_distance"]
    np.testing.assert_allclose(twins, ratio, rtol=1e-15)
    drift = panels["lens-conservation-law-drift"].chart.lines
    assert [line.colour for line in drift] == [1, 0], "the main rule is drawn on top"
    expected = np.abs(looked[3].data["relative_drift"]).max("law")
    np.testing.assert_array_equal(drift[0].y, expected)
    assert all(panel.chart.x_label and panel.chart.y_label for panel in panels.values())
    assert all(panel.reading and panel.method for panel in panels.values())


def test_sharpness_that_was_observed_is_not_drawn_twice(looked):
    seen = [
        dataclasses.replace(
            one,
            series=dataclasses.replace(
                one.series,
                path=dataclasses.replace(one.series.path, observed={"sharpness": one.series.path.losses}),
            ),
        )
        for one in looked
    ]
    assert "lens-stability-sharpness-track" not in panels_of(seen)


def test_figures_draw_a_few_members_and_words_tell_of_all(looked):
    main = [one for one in looked if one.series.main]
    many = []
    for member in range(8):
        for one in main:
            series = dataclasses.replace(one.series, member=member)
            data = one.data.copy()
            if one.lens == "stability":
                data["spectrum_exponent_value"] = data["spectrum_exponent_value"] * 0 + member
            many.append(dataclasses.replace(one, series=series, data=data, drawn=member < 6))
    panel = panels_of(many)["lens-stability-exponents-time"]
    assert {line.dash for line in panel.chart.lines} == set(range(6))
    assert "median 3.5 per time, the middle 80 % of 8 members from 0.7 to 6.3" in panel.reading
    (section,) = (section for section in lens_sections(many, most=5) if section.name == "stability")
    assert (len(section.lines), section.more) == (5, 3)


def test_the_verdict_is_a_card_with_its_proof_as_a_file(looked):
    network = {"widths": [1, 1, 1], "activation": "identity", "data": [["1", "1/2"], ["-1", "-1/2"]]}
    wanted = {"network": network, "numeric": False, "map": {"targets": ["1/2", "1"], "levels": ["0", "1"]}}
    paths = [looked[0].series, looked[-1].series]
    problem = td.FunctionRisk(lambda theta: (theta**2).sum(), np.ones(2))
    options = integrability_study.Options.model_validate(wanted)
    results = [integrability_study.analyse(problem, series.path, options) for series in paths]
    both = [
        Found("integrability", series, "done", result.summary(), data=result.to_xarray())
        for series, result in zip(paths, results, strict=True)
    ]
    (section,) = lens_sections(both)
    (card,) = section.cards
    assert card.badge.text == "non integrable"
    facts = dict(card.facts)
    assert facts["hypotheses and residuals"].count(": 0") == 3
    assert "not solvable" in facts["why"]
    (_, heads, rows), (_, _, groups) = card.tables
    assert [[cell.text for cell in row[1:5]] for row in rows] == [
        ["0", "2", "BOREL", "abelian"], ["1", "2", "SL2", "not solvable"],
    ]  # fmt: skip
    assert len(heads) == len(rows[0])
    assert [cell.text for cell in groups[0]] == ["y = 1/2", "BOREL", "SL2"]
    (file,) = card.downloads
    proof = json.loads(base64.b64decode(file.address.partition(",")[2]))
    assert verify_certificate(proof).valid
    (loops,) = section.panels
    assert len(loops.chart.lines) == 5, "p = 0 and the four equilibria"
    assert "5 finite singular points" in loops.reading
    assert not section.lines
