"""A path on one screen."""

import html.parser
import re

import numpy as np

from tests.dynamics.handmade import handmade
from thetadot.dynamics import Accuracy, Outcome
from thetadot.dynamics.wording import number


def test_the_summary_names_outcome_loss_accuracy_and_cost_on_one_screen():
    path = handmade()
    text = repr(path)
    lines = text.splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 100
    assert lines[0] == "Path: flow of mlp 3-4-2 tanh, squared, 9 samples, by Tsit5 → Kvaerno5"
    joined = " ".join(text.split())
    for words in (
        "REACHED_TIME",
        f"{number(path.losses[0])} → {number(path.losses[-1])}",
        str(path.accuracy),
        "1,234 gradients, 5 Hessian-vector products, 6 Hessians",
        "Tsit5, from t = 0.333 Kvaerno5",
        "minimum of ‖∇L‖ at t = 0.7",
        "degenerate",
        "a minimum",
    ):
        assert words in joined, words


def test_a_missed_accuracy_is_said_in_capitals():
    text = repr(handmade(accuracy=Accuracy(1e-6, 2e-5, 1e-9, 1e-9)))
    assert "MISSED" in text


def test_a_path_that_is_empty_or_not_finite_still_has_a_summary():
    path = handmade()
    nothing = {name: getattr(path, name)[:0] for name in ("ts", "thetas", "losses", "grad_norms", "steps")}
    assert "nothing saved" in repr(handmade(**nothing, observed={}, outcome=Outcome.INTERRUPTED))
    wild = handmade(losses=np.full(40, np.inf), grad_norms=np.full(40, np.nan), outcome=Outcome.DIVERGED)
    assert "DIVERGED" in repr(wild)
    assert "<svg" not in wild._repr_html_()


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [value or "" for _, value in attrs]


def test_the_notebook_table_shows_what_the_summary_shows_and_escapes_it():
    hostile = '<script>alert("x")</script>'
    path = handmade(reason=hostile, info={"kind": "flow", "problem": hostile, "method": hostile})
    text = path._repr_html_()
    assert "script" not in Tags(text).tags
    assert "&lt;script&gt;" in text
    assert "REACHED_TIME" in text


def test_the_sparkline_follows_the_loss_on_logarithmic_axes():
    path = handmade()
    points = re.search(r'points="([^"]*)"', path._repr_html_()).group(1)
    x, y = np.array([[float(part) for part in pair.split(",")] for pair in points.split()]).T
    drawn = path.ts > 0
    assert x.size == drawn.sum()
    expected = np.log10(path.losses[drawn])
    assert np.allclose(np.corrcoef(y, expected)[0, 1], -1, atol=1e-3)
    assert np.allclose(np.diff(x), np.diff(x)[0], atol=0.11)
