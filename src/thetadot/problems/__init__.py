"""What is trained: networks, losses, data and the problems made of them."""

from thetadot.problems import data, errors
from thetadot.problems.activations import as_activation
from thetadot.problems.columns import hessian_by_columns
from thetadot.problems.conv import conv
from thetadot.problems.diagonal import diagonal
from thetadot.problems.empirical import EmpiricalRisk
from thetadot.problems.equinox_import import from_equinox
from thetadot.problems.errors import (
    ConstantColumnError,
    DataError,
    HessianTooLargeError,
    LabelError,
    MissingExtraError,
    NetworkError,
    NoPredictionError,
    ProblemError,
    ShapeError,
    UnknownNameError,
)
from thetadot.problems.function_risk import FunctionRisk
from thetadot.problems.layout import Layout, Neuron
from thetadot.problems.losses import cross_entropy, logistic, squared
from thetadot.problems.mlp import linear, mlp
from thetadot.problems.problem import Problem
from thetadot.problems.pytorch.errors import ImportMismatchError, UnsupportedLayerError
from thetadot.problems.pytorch.importer import from_torch, load_torch, to_torch
from thetadot.problems.residual import residual
from thetadot.problems.two_layer import two_layer

__all__ = [
    "ConstantColumnError",
    "DataError",
    "EmpiricalRisk",
    "FunctionRisk",
    "HessianTooLargeError",
    "ImportMismatchError",
    "LabelError",
    "Layout",
    "MissingExtraError",
    "NetworkError",
    "Neuron",
    "NoPredictionError",
    "Problem",
    "ProblemError",
    "ShapeError",
    "UnknownNameError",
    "UnsupportedLayerError",
    "as_activation",
    "conv",
    "cross_entropy",
    "data",
    "diagonal",
    "errors",
    "from_equinox",
    "from_torch",
    "hessian_by_columns",
    "linear",
    "load_torch",
    "logistic",
    "mlp",
    "residual",
    "squared",
    "to_torch",
    "two_layer",
]
