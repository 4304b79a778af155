"""Draws the picture of README and home page into docs/images/: python docs/live/picture.py

A tanh network on handwritten digits from a small start. Along the flow the sharpness grows; gradient descent leaves
the flow soon after the sharpness has passed 2/learning rate.
"""

import io
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import thetadot as td
from thetadot.report import figures

FILE = Path(__file__).resolve().parents[1] / "images" / "digits.png"
END = 400.0


def main() -> None:
    """Run, draw, write."""
    x, labels = td.data.digits()
    one_hot = np.eye(10)[np.asarray(labels)]
    problem = td.EmpiricalRisk(td.mlp([64, 24, 24, 10], "tanh"), td.squared, x[:500], one_hot[:500])
    start = problem.init(jax.random.key(1), scale=0.3)
    until = td.Until(time=END)
    paths = {"gradient flow": td.flow(problem, start, until=until, accuracy=1e-4, observe=["sharpness"])}
    for learning_rate in (0.5, 0.8):
        steps = round(END / learning_rate)
        saves = np.unique([0, *np.geomspace(1, steps, 200).astype(int)])
        rule = td.GradientDescent(learning_rate)
        paths[f"gradient descent, learning rate {learning_rate:g}"] = td.descend(
            problem, start, rule, steps, saves=saves, observe=["sharpness"]
        )
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    figures.plot_loss(paths, axes[0])
    figures.plot_sharpness(paths, axes[1])
    figures.plot_principal_plane(paths, axes[2])
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=130, facecolor="white")
    palette = Image.open(image).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    palette.save(FILE, optimize=True)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
