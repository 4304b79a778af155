"""The part of a study file that poses a population risk: hidden neurons, a target, a law of inputs."""

from typing import Annotated, Literal

from pydantic import Field

from thetadot.studies.schema_parts import Activation, Count, Finite, NonNegative, Part, Positive

Vector = Annotated[list[Finite], Field(min_length=1)]
Axis = Annotated[int, Field(ge=0)]


class Hidden(Part):
    """A network with one hidden layer and one output; its inputs are those of the law."""

    kind: Literal["two_layer"]
    width: Count
    """Number of hidden neurons."""
    activation: Activation = "relu"
    scaling: Literal["standard", "mean_field"] = "standard"
    bias: bool = False
    """Biases of the hidden neurons."""
    slope: NonNegative = 0.01


class Gaussian(Part):
    """Inputs N(0, Σ)."""

    kind: Literal["gaussian"]
    dimension: Count
    covariance: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    """Σ: a number v for v·I, or the diagonal; the identity if left out."""


class Sphere(Part):
    """Inputs uniform on a sphere."""

    kind: Literal["sphere"]
    dimension: Annotated[int, Field(ge=2)]
    radius: Positive | None = None
    """√dimension if left out."""


class LinearTarget(Part):
    """w·x."""

    kind: Literal["linear"]
    weights: Vector


class Cubic(Part):
    """Σ z_k x_k³."""

    kind: Literal["cubic"]
    coefficients: Vector


class Teacher(Part):
    """Σ A_j σ(W_j·x + β_j)."""

    kind: Literal["teacher"]
    outgoing: Vector
    incoming: Annotated[list[Vector], Field(min_length=1)]
    activation: Activation = "relu"
    biases: Vector | None = None
    slope: NonNegative = 0.01


class Norm(Part):
    """The length of a projection."""

    kind: Literal["norm"]
    subspace: Count | Annotated[list[Axis], Field(min_length=1)]
    """Number of leading axes, or a list of axes from 0."""


class Product(Part):
    """x_i x_j."""

    kind: Literal["product"]
    i: Axis
    j: Axis


class Ridge(Part):
    """g(x_axis)."""

    kind: Literal["ridge"]
    function: Activation
    axis: Axis = 0


Target = Annotated[LinearTarget | Cubic | Teacher | Norm | Product | Ridge, Field(discriminator="kind")]


class Population(Part):
    """The risk of a network over all inputs of a law: exact expectations, no samples."""

    kind: Literal["population"]
    network: Hidden
    target: Target
    inputs: Annotated[Gaussian | Sphere, Field(discriminator="kind")]
    method: Literal["auto", "closed", "series", "cubature"] = "auto"
    order: Annotated[int, Field(ge=2)] | None = None
    """Terms of the series, or nodes per axis; by default as many as the tolerance needs."""
    tolerance: Positive = 1e-8
    """Wanted error of the risk where it is not closed."""
