"""From the population risk of a study file to the problem."""

from typing import Any

import numpy as np

from thetadot import problems
from thetadot.problems import PopulationRisk
from thetadot.problems.activations import as_activation
from thetadot.problems.errors import ShapeError
from thetadot.studies import population_schema as shapes


def make_inputs(spec: Any) -> problems.InputLaw:
    """The law of the inputs."""
    if isinstance(spec, shapes.Sphere):
        return problems.SphereInputs(spec.dimension, spec.radius)
    covariance = np.diag(spec.covariance) if isinstance(spec.covariance, list) else spec.covariance
    return problems.GaussianInputs(spec.dimension, covariance)


def make_target(spec: Any, inputs: problems.InputLaw) -> problems.Target:
    """The target."""
    d = inputs.dimension
    if isinstance(spec, shapes.LinearTarget):
        return problems.LinearTarget(_of_length(spec.weights, d, "weights"))
    if isinstance(spec, shapes.Cubic):
        return problems.cubic_target(_of_length(spec.coefficients, d, "coefficients"), inputs)
    if isinstance(spec, shapes.Teacher):
        rows = [_of_length(row, d, "a row of incoming") for row in spec.incoming]
        return problems.TeacherTarget(
            spec.outgoing, np.array(rows, float), spec.activation, spec.biases, spec.slope
        )
    if isinstance(spec, shapes.Product):
        return problems.ProductTarget(spec.i, spec.j)
    axes = [spec.axis] if isinstance(spec, shapes.Ridge) else spec.subspace
    axes = list(range(axes)) if isinstance(axes, int) else axes
    if max(axes) >= d or len(set(axes)) != len(axes):
        raise ShapeError(f"axes {axes} are not different axes of {d} inputs, counted from 0")
    basis = np.eye(d)[:, axes]
    if isinstance(spec, shapes.Ridge):
        return problems.RidgeTarget(as_activation(spec.function), basis[:, 0])
    return problems.NormTarget(basis)


def make_population(spec: shapes.Population) -> PopulationRisk:
    """The problem."""
    inputs = make_inputs(spec.inputs)
    network = problems.two_layer(inputs.dimension, **spec.network.model_dump(exclude={"kind"}))
    target = make_target(spec.target, inputs)
    return PopulationRisk(
        network, target, inputs, method=spec.method, order=spec.order, tolerance=spec.tolerance
    )


def _of_length(values: list[float], length: int, what: str) -> list[float]:
    if len(values) != length:
        raise ShapeError(f"{what} has {len(values)} entries, the inputs have {length}")
    return values
