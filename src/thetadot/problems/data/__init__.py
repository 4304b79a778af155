"""Data sets, each a tuple (x, y) that states its name, split, N, shapes and hash."""

from thetadot.problems.data.dataset import Dataset
from thetadot.problems.data.drawn import gaussian_blobs, linear_system, sine_regression, teacher_student
from thetadot.problems.data.files import from_file
from thetadot.problems.data.modular import modular_addition
from thetadot.problems.data.packaged import breast_cancer, diabetes, digits, iris

__all__ = [
    "Dataset",
    "breast_cancer",
    "diabetes",
    "digits",
    "from_file",
    "gaussian_blobs",
    "iris",
    "linear_system",
    "modular_addition",
    "sine_regression",
    "teacher_student",
]
