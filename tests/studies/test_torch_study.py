"""A PyTorch module in a study: run, store and report know it as they know networks of ours."""

import numpy as np
import pytest

from tests.needs import needs_torch

needs_torch()

import thetadot as td  # noqa: E402
from thetadot.report import write_report  # noqa: E402

CODE = """
import torch
from torch import nn
import thetadot as td


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 3, 3), nn.LayerNorm(4), nn.Linear(4, 2)
        self.mid = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.norm(self.mid(torch.relu(self.conv(x)).mean(dim=(2, 3)))))


def convolutional():
    torch.manual_seed(0)
    return td.from_torch(Small(), "cross_entropy", torch.randn(12, 1, 5, 5), torch.arange(12) % 2)


def dense():
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return td.from_torch(layers, "cross_entropy", torch.randn(12, 2, 2), torch.arange(12) % 2)
"""
STUDY = """
name: imported
problem: {kind: python, file: modules.py, function: FUNCTION}
rule: {kind: gradient_descent, learning_rate: 0.1, steps: 20}
observe: [balancedness]
lenses: {conservation: {count: false}, symmetry: {}}
"""


@pytest.mark.parametrize(
    ("function", "sketch"), [("convolutional", "conv"), ("dense", "4 to 3 to 2 neurons")]
)
def test_a_study_runs_stores_and_reports_an_imported_module(function, sketch, tmp_path):
    (tmp_path / "modules.py").write_text(CODE)
    (tmp_path / "study.yaml").write_text(STUDY.replace("FUNCTION", function))
    run = td.Study.load(tmp_path / "study.yaml").run(tmp_path / "run")
    path = run.path(0)
    assert path.losses[-1] < path.losses[0]
    hidden = {neuron.layer for neuron in path.layout.neurons}
    assert hidden == {1}  # what is normalised is no neuron
    assert len(path.layout.neurons) == 3
    incoming = path.layout.neurons[0].incoming
    assert list(incoming) == list(range(9 if function == "convolutional" else 4))
    page = write_report(run, tmp_path / "report.html").read_text()
    words = "PyTorch Small of" if function == "convolutional" else "PyTorch Sequential of"
    assert words in page
    assert f"{sketch}" in page[page.index('<svg class="sketch"') :][:4000]
    assert "the lens of symmetry reads two-layer networks" in page
    assert np.isfinite(path.observed["balancedness"]).all()
