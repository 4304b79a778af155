"""Data sets, each a tuple (x, y) that states its name, split, N, shapes and hash: real ones, drawn ones, your own."""

from thetadot.problems.data.dataset import Dataset
from thetadot.problems.data.packaged import breast_cancer, diabetes, digits, iris

__all__ = ["Dataset", "breast_cancer", "diabetes", "digits", "iris"]
