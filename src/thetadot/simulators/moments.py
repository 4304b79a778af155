"""Second moments of data: all that gradient descent on a linear simulator sees of them.

C = (1/N) Σ x xᵀ and K = (1/N) Σ y xᵀ, uncentred. With L = 1/(2N) Σ‖Wx − y‖², ∇L = WC − K.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_matrix, as_numbers, in_range, one_of
from thetadot.simulators.data_energy import DataEnergy, energy_of_moment, energy_of_samples
from thetadot.simulators.errors import MatrixError, SettingError

SETTINGS = ("input", "state_and_next", "clean_derivative", "finite_difference")


@dataclasses.dataclass(frozen=True)
class Moments:
    """Moments of data (x, y).

    Attributes:
        input (n, n): C = (1/N) Σ x xᵀ.
        cross (m, n): K = (1/N) Σ y xᵀ.
        samples: N, None where moments were given without samples.
        energy: the energies of C; from samples by their SVD, not from C.
    """

    input: Float[np.ndarray, "n n"]
    cross: Float[np.ndarray, "m n"]
    samples: int | None
    energy: DataEnergy


def moments(inputs: Numbers, targets: Numbers) -> Moments:
    """Moments of samples.

    Arguments:
        inputs: x (N, n), one sample a row.
        targets: y (N, m).

    Raises:
        MatrixError: shapes that do not fit, entries that are not finite.

    Example:
        >>> found = moments([[1.0, 0.0], [0.0, 2.0]], [[3.0], [4.0]])
        >>> found.input.tolist(), found.cross.tolist()
        ([[0.5, 0.0], [0.0, 2.0]], [[1.5, 4.0]])
    """
    x = as_matrix(inputs, "inputs")
    y = as_matrix(targets, "targets", (len(x), None))
    energy = energy_of_samples(x)
    return Moments(x.T @ x / len(x), y.T @ x / len(x), len(x), energy)


def moments_of(operator: Numbers, input_moment: Numbers) -> Moments:
    """Moments of noise-free data y = Ax: K = AC.

    Arguments:
        operator: A (m, n). input_moment: C (n, n), symmetric, positive semidefinite.

    Raises:
        MatrixError: shapes that do not fit, or C is no second moment.

    Example:
        >>> moments_of([[0.0, 1.0]], np.diag([2.0, 3.0])).cross.tolist()
        [[0.0, 3.0]]
    """
    a = as_matrix(operator, "operator")
    c = as_matrix(input_moment, "input_moment", (a.shape[1], a.shape[1]))
    return Moments(c, a @ c, None, energy_of_moment(c))


def noisy_moments(
    moments: Moments, variance: float, *, setting: str, time_step: float | None = None
) -> Moments:
    """Expected moments of the same data with white noise of this variance on every component.

    With inputs x + ξ and targets y + ζ, noise independent of the data, C becomes C + E ξξᵀ and K becomes K + E ζξᵀ.

    | setting | inputs | targets | E ζξᵀ |
    |---|---|---|---|
    | input | noisy | clean | 0 |
    | state_and_next | noisy | the next state, with its own independent noise | 0 |
    | clean_derivative | noisy | clean derivative | 0 |
    | finite_difference | noisy record | (x̃_{k+1} − x̃_k)/time_step of the same record | −(variance/time_step)·I |

    Arguments:
        moments: of the clean data; for finite_difference those of (x, (x_{k+1} − x_k)/time_step).
        variance: s² per component, squared units of the inputs.
        setting: see the table.
        time_step: of the record, for finite_difference only.

    Raises:
        SettingError: an unknown setting, a negative variance, finite_difference without time_step, or a time_step
            for another setting.
        MatrixError: finite_difference of targets that are no states.

    Source: re-derived from the definitions of the settings.

    Example:
        >>> clean = moments_of(np.eye(1), np.eye(1))
        >>> noisy = noisy_moments(clean, 0.1, setting="finite_difference", time_step=0.5)
        >>> noisy.input.tolist(), noisy.cross.tolist()
        ([[1.1]], [[0.8]])
    """
    one_of(setting, SETTINGS, "setting")
    variance = in_range(variance, "variance", 0.0)
    cross = moments.cross
    if setting == "finite_difference":
        if time_step is None:
            raise SettingError("finite_difference divides by the time between states: give time_step")
        time_step = in_range(time_step, "time_step", 0.0, open_low=True)
        if cross.shape[0] != cross.shape[1]:
            raise MatrixError(
                f"finite_difference needs targets like the states, the cross moment is {cross.shape}"
            )
        cross = cross - variance / time_step * np.eye(len(cross))
    elif time_step is not None:
        raise SettingError(f"time_step belongs to finite_difference, not to {setting}: leave it out")
    size = len(moments.input)
    return Moments(
        moments.input + variance * np.eye(size), cross, moments.samples, moments.energy.shifted(variance)
    )


def checked_initial(moments: Moments, initial: Numbers) -> Float[np.ndarray, "m n"]:
    """Initial weights of the shape that the moments ask for."""
    return as_matrix(initial, "initial", moments.cross.shape)


def checked_grid(values: Numbers, what: str) -> Float[np.ndarray, " S"]:
    """Steps or times: a vector, nothing below 0."""
    grid = as_numbers(values, what, 1)
    if np.any(grid < 0):
        raise SettingError(f"{what} contain {grid.min():g}, expected nothing below 0")
    return grid
