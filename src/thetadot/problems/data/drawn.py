"""Data sets drawn from a random key, or from a formula."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from thetadot.problems.activations import as_activation
from thetadot.problems.chain import whole_numbers
from thetadot.problems.checks import require_x64
from thetadot.problems.data.dataset import Dataset
from thetadot.problems.errors import DataError


def teacher_student(
    key: PRNGKeyArray,
    *,
    samples: int = 1000,
    dimension: int = 3,
    width: int = 5,
    activation: str = "tanh",
    noise: float = 0.0,
    slope: float = 0.01,
) -> Dataset:
    """Gaussian inputs with the labels of a random two-layer teacher, y = Σ_j a_j σ(⟨w_j, x⟩) + noise.

    Arguments:
        key: draws inputs, teacher and noise, independently.
        samples: N.
        dimension: d, the number of inputs; x ~ N(0, I).
        width: number of the teacher's neurons: w_j uniform on the sphere of radius √d/2, a_j = ±1.
        activation: of the teacher; any name or function that networks take.
        noise: standard deviation of Gaussian label noise.
        slope: slope of "leaky_relu".

    Returns:
        x (N, d), y (N, 1); `details` holds the teacher's `incoming` (width, d) and `outgoing` (width,).

    Example:
        >>> import jax
        >>> teacher_student(jax.random.key(0), samples=60, dimension=10).shapes
        ((60, 10), (60, 1))
    """
    require_x64()
    whole_numbers(samples=samples, dimension=dimension, width=width)
    input_key, incoming_key, outgoing_key, noise_key = jax.random.split(key, 4)
    x = jax.random.normal(input_key, (samples, dimension))
    incoming = jax.random.normal(incoming_key, (width, dimension))
    incoming = 0.5 * jnp.sqrt(float(dimension)) * incoming / jnp.linalg.norm(incoming, axis=1, keepdims=True)
    outgoing = jax.random.rademacher(outgoing_key, (width,), dtype=jnp.float64)
    clean = as_activation(activation, slope)(x @ incoming.T) @ outgoing
    y = clean + noise * jax.random.normal(noise_key, (samples,))
    return Dataset(
        x,
        y[:, None],
        name="teacher–student",
        details={"incoming": np.asarray(incoming), "outgoing": np.asarray(outgoing), "noise": noise},
    )


def gaussian_blobs(
    key: PRNGKeyArray,
    *,
    samples: int = 200,
    dimension: int = 2,
    classes: int = 2,
    distance: float = 4.0,
    spread: float = 1.0,
) -> Dataset:
    """Gaussian clouds, one per class, for classification.

    Arguments:
        key: draws centres and samples.
        samples: N; classes are as equal in size as N allows, and alternate.
        dimension: d, the number of inputs.
        classes: number of classes k.
        distance: typical distance of two centres; the centres are Gaussian with variance distance²/2d each.
        spread: standard deviation of each cloud in each direction.

    Returns:
        x (N, d), integer classes y (N,); `details` holds the `centres` (k, d).

    Example:
        >>> import jax
        >>> gaussian_blobs(jax.random.key(0), classes=3)[1][:4].tolist()
        [0, 1, 2, 0]
    """
    require_x64()
    whole_numbers(samples=samples, dimension=dimension, classes=classes)
    centre_key, sample_key = jax.random.split(key)
    centres = distance / np.sqrt(2.0 * dimension) * jax.random.normal(centre_key, (classes, dimension))
    y = jnp.arange(samples) % classes
    x = centres[y] + spread * jax.random.normal(sample_key, (samples, dimension))
    return Dataset(x, y, name="Gaussian blobs", details={"centres": np.asarray(centres), "spread": spread})


def sine_regression(
    samples: int = 20,
    *,
    frequency: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    noise: float = 0.0,
    key: PRNGKeyArray | None = None,
) -> Dataset:
    """One-dimensional regression, y = sin(frequency · x) + noise at equally spaced points of [low, high].

    Arguments:
        samples: N.
        frequency: angular frequency.
        low, high: first and last point.
        noise: standard deviation of Gaussian label noise; needs a key.
        key: draws the noise.

    Returns:
        x (N, 1), y (N, 1).

    Raises:
        DataError: noise without a key.

    Example:
        >>> sine_regression(5)[0].ravel().tolist()
        [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    require_x64()
    whole_numbers(samples=samples)
    if noise and key is None:
        raise DataError(f"noise is {noise} and no key is given: add key=jax.random.key(0), or set noise=0")
    x = np.linspace(low, high, samples)[:, None]
    y = np.sin(frequency * x)
    if key is not None:
        y = y + noise * np.asarray(jax.random.normal(key, y.shape))
    return Dataset(x, y, name="sine", details={"frequency": frequency, "noise": noise})


def linear_system(
    key: PRNGKeyArray,
    *,
    samples: int = 200,
    dimension: int = 4,
    outputs: int | None = None,
    condition: float = 1.0,
    noise: float = 0.0,
) -> Dataset:
    """States of a linear system and what it makes of them, y = A x + noise.

    Arguments:
        key: draws states, matrix and noise.
        samples: N.
        dimension: d; states are x ~ N(0, Σ).
        outputs: k, rows of A; None: as many as the states have components, then y is the next state or the
            rate.
        condition: condition number of the inputs' covariance Σ, whose eigenvalues run geometrically from 1
            down to 1/condition along the axes.
        noise: standard deviation of Gaussian label noise.

    Returns:
        x (N, d), y (N, k); `details` holds the `matrix` A (k, d), with entries N(0, 1/d), and the
        `variances` (d,).

    Example:
        >>> import jax
        >>> linear_system(jax.random.key(0), outputs=2).shapes
        ((200, 4), (200, 2))
    """
    require_x64()
    rows = dimension if outputs is None else outputs
    whole_numbers(samples=samples, dimension=dimension, outputs=rows)
    if not condition >= 1.0:
        raise DataError(f"condition is {condition}, expected a number of at least 1")
    state_key, matrix_key, noise_key = jax.random.split(key, 3)
    variances = np.geomspace(1.0, 1.0 / condition, dimension)
    x = jax.random.normal(state_key, (samples, dimension)) * np.sqrt(variances)[None, :]
    matrix = jax.random.normal(matrix_key, (rows, dimension)) / np.sqrt(dimension)
    y = x @ matrix.T + noise * jax.random.normal(noise_key, (samples, rows))
    return Dataset(
        x,
        y,
        name="linear system",
        details={"matrix": np.asarray(matrix), "variances": variances, "noise": noise},
    )
