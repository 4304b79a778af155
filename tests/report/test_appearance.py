"""Colours that can be read and told apart, and the page in a real browser."""

import itertools
import os
import re
import subprocess

import numpy as np
import pytest

from tests.needs import CHROMIUM_FLAGS
from tests.report.runs import StandIn, descent, flow
from thetadot.dynamics.palette import DARK, EVENT, GRID, INK, MUTED, PAPER, RULES
from thetadot.report import write_report
from thetadot.report.chart import Cells
from thetadot.report.theme import PAGE, variables


def linear(colour):
    """sRGB of "#rrggbb" without gamma (IEC 61966-2-1)."""
    part = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Contrast ratio of two colours (WCAG 2.2)."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_formula_knows_black_and_white():
    assert np.isclose(contrast("#000000", "#ffffff"), 21)
    assert np.isclose(contrast("#777777", "#ffffff"), 4.48, atol=0.005)


def declared(dark):
    """{name: colour} of the CSS variables of a theme."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", variables(dark)))


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_of_the_page_stands_out_by_at_least_4_5(dark):
    colours = declared(dark)
    for name in ("text", "quiet", "accent"):
        for paper in ("page", "card"):
            assert contrast(colours[name], colours[paper]) >= 4.5, (name, paper)
    for tone in ("good", "fair", "bad"):
        assert contrast(colours[tone], colours[f"{tone}-paper"]) >= 4.5, tone
        assert colours[tone] in [value[int(dark)] for value in PAGE.values()]


@pytest.mark.parametrize("dark", [False, True])
def test_lines_of_the_figures_stand_out_by_at_least_3_and_their_text_by_4_5(dark):
    def twin(colour):
        return DARK[colour] if dark else colour

    paper = twin(PAPER)
    assert all(contrast(twin(colour), paper) >= 3 for colour in (*RULES, EVENT))
    assert all(contrast(twin(colour), paper) >= 4.5 for colour in (INK, MUTED, *RULES))
    assert contrast(twin(GRID), paper) < 2, "the grid keeps quiet"


@pytest.mark.parametrize("dark", [False, True])
def test_texts_in_the_fullest_cells_of_a_heat_map_stand_out_by_4_5(dark):
    edges, one = np.arange(2.0), np.ones((1, 1))
    opacity = Cells(edges, edges, one, one, np.zeros((1, 1), int), "count", ("1",)).most_opaque

    def shown(colour):
        name = DARK[colour] if dark else colour
        return np.array([int(name[place : place + 2], 16) for place in (1, 3, 5)])

    for colour in RULES:
        mixed = np.rint(opacity * shown(colour) + (1 - opacity) * shown(PAPER)).astype(int)
        cell = "#" + "".join(f"{part:02x}" for part in mixed)
        assert contrast(cell, DARK[INK] if dark else INK) >= 4.5, colour


# G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, A physiologically-based model for simulation of color
# vision deficiency (2009), severity 1, for linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(rgb):
    """CIE L*a*b* of linear sRGB (D65)."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        rgb, 0, 1
    )
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", DEFICIENCIES)
@pytest.mark.parametrize("dark", [False, True])
def test_the_colours_of_the_rules_are_told_apart_by_every_kind_of_sight(sight, dark):
    shown = [DARK[colour] if dark else colour for colour in RULES]
    seen = [lab(np.array(DEFICIENCIES[sight]) @ linear(colour)) for colour in shown]
    for (one, a), (other, b) in itertools.combinations(zip(shown, seen, strict=True), 2):
        assert np.linalg.norm(a - b) > 15, (one, other)


def test_a_browser_draws_every_figure_without_an_error(chromium, tmp_path):
    run = StandIn(tmp_path, [flow(0), flow(1)], [[descent(0.5, 120, 0), descent(0.5, 120, 1)]])
    file = write_report(run, tmp_path / "report.html")
    command = [
        chromium, "--headless", *CHROMIUM_FLAGS, "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,900", "--virtual-time-budget=20000",
        "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ, check=True)
    assert '<html lang="en" class="scripted">' in done.stdout
    assert len(re.findall(r'<div class="live"[^>]*><div ', done.stdout)) == 7
    assert not re.findall(r"CONSOLE.*(?:[Ee]rror|Refused|violates).*", done.stderr)
