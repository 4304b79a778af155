"""The part of a study file that says what is trained."""

from typing import Annotated, Any, Literal

from pydantic import Field

from thetadot.studies.population_schema import Population
from thetadot.studies.schema_parts import (
    Activation,
    Count,
    FileName,
    Finite,
    NonNegative,
    Part,
    Positive,
    Seed,
    Word,
)

Widths = Annotated[list[Count], Field(min_length=2)]
Bias = bool | Literal["hidden"]


class Mlp(Part):
    """A fully connected network."""

    kind: Literal["mlp"]
    widths: Widths
    """Inputs, hidden layers, outputs."""
    activation: Activation = "tanh"
    bias: Bias = True
    """Biases in every layer, in none, or in the hidden layers only."""
    slope: NonNegative = 0.01
    """Slope of leaky_relu for negative arguments."""


class Linear(Part):
    """A fully connected network without activation."""

    kind: Literal["linear"]
    widths: Widths
    """Inputs, hidden layers, outputs."""
    bias: Bias = False


class TwoLayer(Part):
    """A network with one hidden layer and one output."""

    kind: Literal["two_layer"]
    dimension: Count
    """Number of inputs."""
    width: Count
    """Number of hidden neurons."""
    activation: Activation = "tanh"
    scaling: Literal["standard", "mean_field"] = "standard"
    bias: bool = False
    """Biases of the hidden neurons."""
    slope: NonNegative = 0.01


class Diagonal(Part):
    """A diagonal linear network."""

    kind: Literal["diagonal"]
    dimension: Count
    """Number of inputs."""
    depth: Annotated[int, Field(ge=2)] = 2
    """Number of factors."""


class Residual(Part):
    """A residual network."""

    kind: Literal["residual"]
    dimension: Count
    """Number of inputs."""
    width: Count
    """Hidden neurons of each block."""
    outputs: Count | None = None
    """Outputs of a linear read-out; without it the stream is the output."""
    activation: Activation = "relu"
    blocks: Count = 1
    stream: Count | None = None
    """Width of the stream, after a linear embedding."""
    bias: bool = True
    slope: NonNegative = 0.01


class Conv(Part):
    """A convolutional network; samples that are flat are given the image's shape."""

    kind: Literal["conv"]
    image: Annotated[list[Count], Field(min_length=3, max_length=3)]
    """Channels, height, width of one sample."""
    channels: Annotated[list[Count], Field(min_length=1)]
    """Output channels of each convolution."""
    outputs: Count
    activation: Activation = "relu"
    kernel: Count = 3
    stride: Count = 1
    padding: Literal["same", "valid"] = "same"
    pooling: Literal["mean", "none"] = "mean"
    bias: bool = True
    slope: NonNegative = 0.01


Network = Annotated[Mlp | Linear | TwoLayer | Diagonal | Residual | Conv, Field(discriminator="kind")]


Split = Literal["all", "train", "test"]


class _Packaged(Part):
    standardise: bool = True
    """Give every column mean 0 and variance 1."""
    split: Split = "all"
    """The part that is trained on; with `train` the test part (a fifth) is held out, for `observe: [test_loss]`."""


class Digits(_Packaged):
    """Handwritten digits: 1797 images of 8 × 8 pixels, 10 classes."""

    kind: Literal["digits"]


class Iris(_Packaged):
    """Iris flowers: 150 samples of 4 lengths, 3 classes."""

    kind: Literal["iris"]


class Diabetes(_Packaged):
    """Diabetes progression: 442 samples of 10 measurements, one number."""

    kind: Literal["diabetes"]


class BreastCancer(_Packaged):
    """Breast cancer: 569 samples of 30 features, 2 classes."""

    kind: Literal["breast_cancer"]


class _Drawn(Part):
    samples: Count
    seed: Seed = 0
    noise: NonNegative = 0.0
    """Standard deviation of the labels' noise."""


class TeacherStudent(_Drawn):
    """Normal inputs that a random two-layer network, the teacher, has labelled with one number."""

    kind: Literal["teacher_student"]
    dimension: Count | None = None
    """Number of inputs; by default those of the network."""
    width: Count = 5
    """Neurons of the teacher."""
    activation: Activation = "tanh"
    """Of the teacher."""
    slope: NonNegative = 0.01


class GaussianBlobs(Part):
    """Classes that are normal distributions."""

    kind: Literal["gaussian_blobs"]
    samples: Count
    seed: Seed = 0
    dimension: Count | None = None
    """Number of inputs; by default those of the network."""
    classes: Annotated[int, Field(ge=2)] = 2
    distance: Positive = 4.0
    """Typical distance of two centres."""
    spread: Positive = 1.0
    """Standard deviation in each direction."""


class SineRegression(_Drawn):
    """A sine at equally spaced points."""

    kind: Literal["sine_regression"]
    frequency: Finite = 1.0
    low: Finite = -2.0
    high: Finite = 2.0


class LinearSystem(_Drawn):
    """States of a linear system, and what it makes of them."""

    kind: Literal["linear_system"]
    dimension: Count | None = None
    """Components of the state; by default the inputs of the network."""
    outputs: Count | None = None
    """By default as many as the state has components."""
    condition: Annotated[Finite, Field(ge=1)] = 1.0
    """Condition number of the inputs' covariance."""


class ModularAddition(Part):
    """Pairs of numbers on a clock, one-hot, labelled with their sum: the classes are 0 … modulus − 1."""

    kind: Literal["modular_addition"]
    modulus: Annotated[int, Field(ge=2)] = 23
    """Numbers on the clock; the network has twice as many inputs."""
    train: Annotated[Positive, Field(lt=1)] = 0.7
    """Share of the pairs in the train part."""
    split: Split = "train"
    """The part that is trained on; with `train` the other is held out, for `observe: [test_loss]`."""
    seed: Seed = 0
    """Of which pairs are trained on."""


class _File(Part):
    path: FileName
    """File; relative names are relative to the study file."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is; auto: numbers for the squared loss, else classes if it holds texts or whole numbers."""
    standardise: bool = True
    """Give every column mean 0 and variance 1."""
    split: Split = "all"
    """The part that is trained on; with `train` the test part (a fifth) is held out, for `observe: [test_loss]`."""


class Csv(_File):
    """Your own table."""

    kind: Literal["csv"]
    target: str | int | list[str | int] | None = None
    """Name or 0-based number of the column to predict, or several; by default the last."""


class Parquet(_File):
    """Your own table in a Parquet file (needs the extra `parquet`)."""

    kind: Literal["parquet"]
    target: str | int | list[str | int] | None = None
    """Name or 0-based number of the column to predict, or several; by default the last."""


class Npz(_File):
    """Your own arrays: samples `x`, and labels."""

    kind: Literal["npz"]
    target: str | None = None
    """Name of the array of labels; by default y."""


Data = Annotated[
    Digits | Iris | Diabetes | BreastCancer
    | TeacherStudent | GaussianBlobs | SineRegression | LinearSystem | ModularAddition
    | Csv | Parquet | Npz,
    Field(discriminator="kind"),
]  # fmt: skip


class Empirical(Part):
    """The mean loss of a network over a data set."""

    kind: Literal["empirical"]
    network: Network
    data: Data
    loss: Literal["squared", "cross_entropy", "logistic"]
    """Of numbers squared; of classes cross_entropy, or squared on one-hot labels, with one output for each, or, of two
    classes, logistic with one output."""


class Python(Part):
    """A problem that your own code makes. Running the study runs that code: never do so with a file from
    elsewhere that you have not read."""

    kind: Literal["python"]
    file: FileName
    """Python file; relative names are relative to the study file."""
    function: Word
    """Function that returns a thetadot Problem."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the function."""


Problem = Annotated[Empirical | Population | Python, Field(discriminator="kind")]
