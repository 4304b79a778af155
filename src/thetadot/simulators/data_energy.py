"""How much energy the data have in each direction of the input, and how long each direction takes to learn.

The energies are the eigenvalues c_i of C = (1/N) Σ x xᵀ (uncentred). A direction without energy is never learned.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_matrix, as_numbers, in_range
from thetadot.simulators.errors import MatrixError, SettingError

if TYPE_CHECKING:
    from thetadot.simulators.moments import Moments

_EPSILON = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True)
class DataEnergy:
    """Energies and directions of data.

    Attributes:
        energies (n,): eigenvalues c_i of C, descending (squared units of the inputs).
        basis (n, k): the directions that were computed, k = min(N, n); the rest has no energy.
        rank: number r of directions that count as having energy.
        tolerance: amplitudes √c_i up to this fraction of the largest count as none.
        source: "samples": amplitudes by SVD of the data, to rounding; "moments": energies by the eigenvalues of C,
            amplitudes to half of the digits only.
    """

    energies: Float[np.ndarray, " n"]
    basis: Float[np.ndarray, "n k"]
    rank: int
    tolerance: float
    source: Literal["samples", "moments"]

    @property
    def size(self) -> int:
        """n, the number of inputs."""
        return len(self.energies)

    @property
    def gap(self) -> float:
        """Smallest amplitude that counts over the largest that does not; infinite if that is 0 or there is none."""
        if not 0 < self.rank < self.size or self.energies[self.rank] <= 0:
            return np.inf
        return float(np.sqrt(self.energies[self.rank - 1] / self.energies[self.rank]))

    @property
    def learnable(self) -> Float[np.ndarray, "n r"]:
        """U (n, r): orthonormal directions with energy."""
        return self.basis[:, : self.rank]

    @functools.cached_property
    def directions(self) -> Float[np.ndarray, "n n"]:
        """All directions (n, n), columns in the order of the energies; dense, computed when first asked for."""
        missing = self.size - self.basis.shape[1]
        if not missing:
            return self.basis
        return np.concatenate(
            [self.basis, np.linalg.qr(self.basis, mode="complete")[0][:, -missing:]], axis=1
        )

    @property
    def unlearnable(self) -> Float[np.ndarray, "n q"]:
        """N (n, n − r): orthonormal directions without energy."""
        return self.directions[:, self.rank :]

    def onto_data(self, matrix: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
        """matrix · P, P the projector on the directions with energy; P itself is never formed."""
        return (matrix @ self.learnable) @ self.learnable.T

    def shifted(self, variance: float) -> "DataEnergy":
        """The energy of the same data with white noise of this variance added to the inputs."""
        if variance == 0:
            return self
        # Of noise every bit is energy: what was chosen to count as none in the data is no measure for it.
        tolerance = min(self.tolerance, float(np.sqrt(self.size * _EPSILON)))
        return _counted(self.energies + variance, self.directions, tolerance, self.source)


def data_energy(source: "Moments | Numbers", *, tolerance: float | None = None) -> DataEnergy:
    """Energies and directions of data, and how many of them can be learned.

    Arguments:
        source: `Moments`, or inputs (N, n), one sample a row. From samples the SVD of the data is taken, so that
            energies are seen down to (max(N, n)·ε)² of the largest; moments without samples show them to n·ε only.
        tolerance: amplitudes √c_i up to this fraction of the largest count as none; by default max(N, n)·ε for
            samples, √(n·ε) for moments.

    Returns:
        `DataEnergy`. Fewer samples than inputs are no error: the rank says so.

    Raises:
        MatrixError: not a matrix of finite numbers, or no samples.
        SettingError: a tolerance outside [0, 1).

    Example:
        >>> energy = data_energy(np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        >>> energy.energies.tolist(), energy.rank
        ([2.0, 0.5, 0.0], 2)
    """
    if tolerance is not None:
        tolerance = in_range(tolerance, "tolerance", 0.0, 1.0)
    known: Any = getattr(source, "energy", None)
    if isinstance(known, DataEnergy):
        if tolerance is None:
            return known
        return _counted(known.energies, known.basis, tolerance, known.source)
    return energy_of_samples(as_matrix(source, "inputs"), tolerance)  # pyright: ignore[reportArgumentType]


def energy_of_samples(inputs: Float[np.ndarray, "N n"], tolerance: float | None = None) -> DataEnergy:
    """By singular values of the data, never of their square."""
    samples, size = inputs.shape
    if samples == 0 or size == 0:
        raise MatrixError(f"inputs have shape {inputs.shape}: expected at least one sample of one number")
    # The triangular factor of tall data has the same singular values, at less cost.
    tall = np.linalg.qr(inputs, mode="r") if samples > 2 * size else inputs
    amplitudes, rows = np.linalg.svd(tall, full_matrices=False)[1:]
    energies = np.zeros(size)
    energies[: len(amplitudes)] = amplitudes**2 / samples
    return _counted(
        energies, rows.T, max(samples, size) * _EPSILON if tolerance is None else tolerance, "samples"
    )


def energy_of_moment(input_moment: Float[np.ndarray, "n n"], tolerance: float | None = None) -> DataEnergy:
    """By eigenvalues of C; raises `MatrixError` unless C is symmetric and positive semidefinite."""
    size = len(input_moment)
    scale = np.abs(input_moment).max(initial=0.0)
    if np.abs(input_moment - input_moment.T).max(initial=0.0) > 1e-10 * scale:
        raise MatrixError("input_moment is not symmetric: expected C = (1/N) Σ x xᵀ")
    energies, directions = np.linalg.eigh((input_moment + input_moment.T) / 2)
    if size and energies[0] < -max(size * _EPSILON, 1e-10) * scale:
        raise MatrixError(f"input_moment has the eigenvalue {energies[0]:.3g} < 0: it is no second moment")
    energies = np.maximum(energies[::-1], 0.0)
    chosen = np.sqrt(size * _EPSILON) if tolerance is None else tolerance
    return _counted(energies, np.ascontiguousarray(directions[:, ::-1]), float(chosen), "moments")


def _counted(
    energies: np.ndarray, basis: np.ndarray, tolerance: float, source: Literal["samples", "moments"]
) -> DataEnergy:
    amplitudes = np.sqrt(energies)
    rank = int(np.sum(amplitudes > tolerance * amplitudes.max(initial=0.0)))
    return DataEnergy(energies, basis, rank, float(tolerance), source)


def learning_times(
    energies: Numbers, *, learning_rate: float | None = None, fraction: float = 0.5
) -> Float[np.ndarray, " n"]:
    """How long gradient descent needs to shrink the error along each direction by `fraction`.

    The error along direction i shrinks by (1 − learning_rate·c_i) a step, by exp(−c_i·t) under gradient flow, so
    it takes ln(1/(1−fraction)) / (−ln|1−learning_rate·c_i|) steps, or that over c_i in time. With weight decay μ
    hand in c_i + μ.

    Arguments:
        energies (n,): of the directions.
        learning_rate: of the steps; None: gradient flow.
        fraction: of the error, 0 < fraction < 1.

    Returns:
        (n,) steps, or time in units of the loss gradient, of the loss with ½ and mean. Infinite for no energy and
        where learning_rate·c_i ≥ 2; 0 where learning_rate·c_i = 1.

    Raises:
        SettingError: a fraction or a learning rate out of range.
        MatrixError: a negative energy.

    Source: re-derived; direction by direction in the eigenbasis of C.

    Example:
        >>> learning_times([1.0, 0.25, 0.0], learning_rate=1.0).round(3).tolist()
        [0.0, 2.409, inf]
    """
    values = as_numbers(energies, "energies", 1)
    if np.any(values < 0):
        raise MatrixError(f"energies contain {values.min():.3g}: expected squares, not below 0")
    fraction = in_range(fraction, "fraction", 0.0, 1.0, open_low=True)
    needed = -np.log1p(-fraction)
    with np.errstate(divide="ignore"):
        if learning_rate is None:
            return np.where(values > 0, needed / values, np.inf)
        if not (np.isfinite(learning_rate) and learning_rate > 0):
            raise SettingError(f"learning_rate is {learning_rate}, expected a number > 0, or None for flow")
        shrunk = learning_rate * values
        inside = np.clip(shrunk, 0.0, 2.0)
        # log1p keeps the digits of small energies, where 1 − x loses them.
        rate = np.where(inside < 1, -np.log1p(-np.minimum(inside, 1.0)), -np.log(np.abs(inside - 1)))
        times = needed / rate
    return np.where((shrunk <= 0) | (shrunk >= 2), np.inf, times)
