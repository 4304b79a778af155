"""Roll-outs of linear simulators, how fast they grow, and how long a forecast is good."""

import numpy as np
import scipy.linalg
from jaxtyping import Float

from thetadot.problems.checks import Numbers
from thetadot.simulators.checks import as_numbers, as_square, as_time, in_range
from thetadot.simulators.errors import MatrixError, SettingError
from thetadot.simulators.moments import checked_grid


def rollout(
    operator: Numbers,
    start: Numbers,
    *,
    time: str,
    steps: int | None = None,
    times: Numbers | None = None,
) -> Float[np.ndarray, "T n"]:
    """Iterate a linear map, or follow a linear vector field exactly.

    A residual simulator x_{k+1} = x_k + time_step·Wx_k is the map I + time_step·W: hand in one or the other.

    Arguments:
        operator: W (n, n), acting on columns. start: first state (n,).
        time: "discrete" (x_{k+1} = Wx_k) or "continuous" (ẋ = Wx).
        steps: for maps: number of steps. times: for fields: (T,), from the start, in any order.

    Returns:
        (steps + 1, n) or (T, n), one state a row. It may overflow to infinity.

    Raises:
        SettingError: an unknown time, steps and times mixed up. MatrixError: shapes that do not fit.

    Example:
        >>> rollout([[0.0, -1.0], [1.0, 0.0]], [1.0, 0.0], time="discrete", steps=2).tolist()
        [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    """
    as_time(time)
    W, x = as_square(operator, "operator"), as_numbers(start, "start", 1)
    if len(x) != len(W):
        raise MatrixError(f"start has {len(x)} entries, operator {W.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        if time == "discrete":
            if steps is None or times is not None or steps < 0:
                raise SettingError('time="discrete" takes steps ≥ 0, not times')
            rows = np.empty((steps + 1, len(x)))
            rows[0] = x
            for k in range(steps):
                rows[k + 1] = W @ rows[k]
            return rows
        if times is None or steps is not None:
            raise SettingError('time="continuous" takes times, not steps')
        grid = checked_grid(times, "times")
        gaps = np.diff(grid)
        if len(grid) > 2 and gaps[0] > 0 and np.allclose(gaps, gaps.mean(), rtol=1e-10, atol=0):
            rows = np.empty((len(grid), len(x)))
            rows[0] = scipy.linalg.expm(W * grid[0]) @ x
            step = scipy.linalg.expm(W * ((grid[-1] - grid[0]) / (len(grid) - 1)))
            for k in range(len(grid) - 1):
                rows[k + 1] = step @ rows[k]
            return rows
        return np.array([scipy.linalg.expm(W * t) @ x for t in grid]).reshape(len(grid), len(x))


def growth_rate(operator: Numbers, *, time: str) -> float:
    """Asymptotic growth rate of a roll-out: ln ρ(W) per step, or the largest real part per unit of time.

    Above 0 the simulator is unstable. States may grow for a while although the rate is below 0, if W is not normal.

    Arguments:
        operator: W (n, n). time: "discrete" or "continuous".

    Returns:
        The rate; −∞ for a nilpotent map and for no directions at all.

    Raises:
        MatrixError: W is not square. SettingError: an unknown time.

    Example:
        >>> growth_rate([[0.0, 1.0], [0.0, 0.0]], time="discrete"), growth_rate([[-2.0]], time="continuous")
        (-inf, -2.0)
    """
    as_time(time)
    W = as_square(operator, "operator")
    if not W.size:
        return -np.inf
    if time == "continuous":
        return float(np.linalg.eigvals(W).real.max())
    radius = float(np.abs(np.linalg.eigvals(W)).max())
    return -np.inf if radius == 0 or _is_nilpotent(W) else float(np.log(radius))


def _is_nilpotent(W: Float[np.ndarray, "n n"]) -> bool:
    """Whether Wⁿ is exactly 0: eigenvalues of a nilpotent matrix come out as large as ε^(1/n)."""
    power = W
    for _ in range(int(np.ceil(np.log2(len(W)))) + 1):
        largest = np.abs(power).max()
        if largest == 0:
            return True
        power = (power / largest) @ (power / largest)
    return False


def forecast_horizon(predicted: Numbers, truth: Numbers, *, tolerance: float = 0.1) -> int:
    """How many rows a forecast is good for.

    Arguments:
        predicted: (T, n), may contain NaN and infinity. truth: (T, n).
        tolerance: allowed distance of a row, as a fraction of the root mean square of the true rows' norms.

    Returns:
        Index of the first row that is off by more; T if none is.

    Raises:
        MatrixError: shapes that differ.

    Example:
        >>> forecast_horizon([[1.0], [1.0], [9.0]], [[1.0], [1.05], [1.0]])
        2
    """
    true = as_numbers(truth, "truth", 2)
    given = np.asarray(predicted, float)
    if given.shape != true.shape:
        raise MatrixError(f"predicted has shape {given.shape}, truth {true.shape}: expected the same")
    allowed = in_range(tolerance, "tolerance", 0.0) * np.sqrt(np.mean(np.sum(true**2, axis=1)))
    with np.errstate(invalid="ignore", over="ignore"):
        good = np.linalg.norm(given - true, axis=1) <= allowed
    return len(true) if good.all() else int(np.argmin(good))
