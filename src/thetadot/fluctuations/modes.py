"""Principal components of a trajectory of weights, the drift taken out first."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.fluctuations.errors import DriftWarning, FewSamplesWarning, FluctuationsError
from thetadot.fluctuations.matrices import finite, whole

_MUCH_DRIFT = 0.3
_SAMPLES_PER_COMPONENT = 10


@dataclasses.dataclass(frozen=True)
class PrincipalFluctuations:
    """What `principal_fluctuations` found.

    Attributes:
        variances (k,): descending. directions (P, k): orthonormal.
        drift (P,): slope per sample of the fitted line, mean over runs.
        drift_share: variance of the fitted lines over the total variance about the runs' means.
        samples: rows used. samples_per_component: of them for each component.
    """

    variances: Float[np.ndarray, " k"]
    directions: Float[np.ndarray, "P k"]
    drift: Float[np.ndarray, " P"]
    drift_share: float
    samples: int

    @property
    def samples_per_component(self) -> float:
        """Rows for each component; below 10 small variances are biased down and large ones up."""
        return self.samples / max(1, len(self.variances))

    def to_xarray(self):
        """Dataset with dimensions `component` and `parameter`."""
        import xarray

        return xarray.Dataset(
            {
                "variance": ("component", self.variances, {"units": "weight²"}),
                "direction": (("parameter", "component"), self.directions, {"units": "1"}),
                "drift": ("parameter", self.drift, {"units": "weight per sample"}),
            },
            attrs={"drift_share": self.drift_share, "samples": self.samples},
        )


def principal_fluctuations(
    trajectory: Any, *, detrend: str = "linear", components: int | None = None
) -> PrincipalFluctuations:
    """Variances and directions of the fluctuations along a trajectory, by a thin SVD.

    Arguments:
        trajectory: weights (T, P), or runs (R, T, P), each about its own line.
        detrend: "linear" removes a line from each weight of each run, "none" only the mean.
        components: how many; by default all that there are.

    Warns:
        DriftWarning: the lines hold more than 0.3 of the variance. FewSamplesWarning: fewer than 10 rows each.

    Raises:
        FluctuationsError: shapes, or fewer than 3 rows.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.normal(size=(400, 2)) * [3.0, 1.0]
        >>> principal_fluctuations(rows).variances.round(1).tolist()
        [9.1, 1.0]
    """
    rows = finite(trajectory, "trajectory")
    rows = rows[None] if rows.ndim == 2 else rows
    if rows.ndim != 3 or rows.shape[1] < 3 or 0 in rows.shape:
        raise FluctuationsError(
            f"the trajectory has shape {np.shape(trajectory)}: expected (T, P) or (R, T, P), T at least 3"
        )
    if detrend not in ("linear", "none"):
        raise FluctuationsError(f'detrend = {detrend!r}: expected "linear" or "none"')
    runs, length, size = rows.shape
    centred = rows - rows.mean(axis=1, keepdims=True)
    clock = np.arange(length) - (length - 1) / 2
    slopes = np.einsum("t,rtp->rp", clock, centred) / np.sum(clock**2)
    lines = clock[None, :, None] * slopes[:, None, :]
    total = float(np.sum(centred**2))
    share = float(np.sum(lines**2)) / total if total else 0.0
    freedom = length - 1
    if detrend == "linear":
        centred, freedom = centred - lines, length - 2
    count = min(runs * freedom, size)
    if components is not None:
        count = min(count, whole(components, "components"))
    _, sizes, axes = np.linalg.svd(centred.reshape(-1, size), full_matrices=False)
    found = PrincipalFluctuations(
        sizes[:count] ** 2 / (runs * freedom),
        axes[:count].T.copy(),
        slopes.mean(axis=0),
        share,
        runs * length,
    )
    if share > _MUCH_DRIFT:
        said = "removed" if detrend == "linear" else "part of the components: use detrend='linear'"
        warnings.warn(
            f"{share:.0%} of the variance is a straight drift ({said}); the trajectory has not settled",
            DriftWarning,
            stacklevel=2,
        )
    if found.samples_per_component < _SAMPLES_PER_COMPONENT:
        warnings.warn(
            f"{found.samples} rows for {count} components: small variances are biased down and large ones up; give "
            f"components={max(1, found.samples // _SAMPLES_PER_COMPONENT)} or a longer trajectory",
            FewSamplesWarning,
            stacklevel=2,
        )
    return found
