"""Exponents fitted to distances over many starts, with what nothing has selected beside them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import diptest
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from thetadot.dynamics import Flow
from thetadot.stability.ensembles import mean_growth
from thetadot.stability.errors import StabilityError
from thetadot.stability.growth import fields_of, growth_rate
from thetadot.stability.labels import dataset, lines_of
from thetadot.stability.orbital import orbital_stability
from thetadot.stability.tangent import System, checked_starts


@dataclasses.dataclass(frozen=True)
class NetworkExponent:
    """Exponents fitted to distances, over many starts; selected and unselected stand side by side.

    Attributes:
        slopes, r_squared, kept, endpoint_rates, power_law_preferred (R,): of `growth_rate`, per start.
        windows (R, 2): start and length. initial_distances (R,): measured.
        mean, standard_error: of the slopes that were kept. kept_fraction: share that was.
        endpoint_mean, endpoint_standard_error: of the endpoint rates of all starts, kept or not.
        tangent_rates (R,): leading orthogonal finite-time exponent over the same steps, from a random nudge.
        unimodal: p of Hartigan's dip test on the kept slopes; small if they have more than one mode, NaN below 4.
    """

    slopes: Float[np.ndarray, " R"]
    r_squared: Float[np.ndarray, " R"]
    kept: Any
    endpoint_rates: Float[np.ndarray, " R"]
    power_law_preferred: Any
    windows: Any
    initial_distances: Float[np.ndarray, " R"]
    mean: float
    standard_error: float
    kept_fraction: float
    endpoint_mean: float
    endpoint_standard_error: float
    tangent_rates: Float[np.ndarray, " R"]
    unimodal: float

    def to_xarray(self):
        """Dataset with dimension `member`."""
        columns: dict[str, Any] = {
            "slope": ("member", self.slopes, {"units": "1/step"}),
            "r_squared": ("member", self.r_squared),
            "kept": ("member", self.kept),
            "endpoint_rate": ("member", self.endpoint_rates, {"units": "1/step"}),
            "tangent_rate": ("member", self.tangent_rates, {"units": "1/step"}),
            "power_law_preferred": ("member", self.power_law_preferred),
            "window": (("member", "edge"), self.windows),
        }
        names = (
            "mean",
            "standard_error",
            "kept_fraction",
            "endpoint_mean",
            "endpoint_standard_error",
            "unimodal",
        )
        return dataset(columns, {}, {name: float(getattr(self, name)) for name in names})

    def __repr__(self) -> str:
        rows = {
            "selected": f"{self.mean:.4g} ± {self.standard_error:.2g} per step over the {self.kept_fraction:.0%} of "
            f"{len(self.slopes)} starts that the rule keeps",
            "unselected": f"{self.endpoint_mean:.4g} ± {self.endpoint_standard_error:.2g} (endpoint rate, all starts)",
            "tangent": f"{np.nanmean(self.tangent_rates):.4g} (leading finite-time exponent)",
            "power law": f"preferred in {np.mean(self.power_law_preferred):.0%} of the windows",
        }
        return lines_of("Network exponent from distances", rows)


def network_exponent(
    system: System,
    states: Any,
    *,
    duration: int = 200,
    rule: str = "best_window",
    amplitude: float = 1e-8,
    members: int = 5,
    parts: Sequence[str] | None = ("weight",),
    norm: int | str = 1,
    key: PRNGKeyArray | None = None,
) -> NetworkExponent:
    """Fit exponents to distances over many starts, with the rates that nothing has selected beside them.

    Arguments:
        system: a `StepMap`.
        states: (R, d) starts.
        duration: steps. rule: of `growth_rate`.
        amplitude, members, parts, norm, key: as in `orbital_stability`; each start draws its own perturbations.

    Raises:
        StabilityError: states of another shape, or options that do not fit.
        StateError, PrecisionError, HiddenDependenceError: as in `tangent`.

    Source: arXiv 2404.05782; the comparison is ours.

    Example:
        >>> grow = td.StepMap(lambda s, n, aux: 1.1 * s)
        >>> found = network_exponent(grow, np.ones((2, 3)), duration=100, parts=None)
        >>> round(found.mean, 6), round(found.endpoint_mean, 6), found.kept_fraction
        (0.09531, 0.09531, 1.0)
    """
    if isinstance(system, Flow):
        raise StabilityError("network_exponent is of a StepMap: give training_map(problem, rule)")
    rows = checked_starts(system, states)
    key = jax.random.key(0) if key is None else key
    runs = [
        orbital_stability(
            system, jnp.asarray(row), duration=duration, amplitude=amplitude, members=members, parts=parts,
            norm=norm, key=jax.random.fold_in(key, number),
        )
        for number, row in enumerate(rows)
    ]  # fmt: skip
    rates = [growth_rate(run.mean_distance, rule=rule) for run in runs]
    found = fields_of(rates)
    tangent_rates, _ = mean_growth(system, rows, (int(duration),), 1, key)
    kept, chosen = found["kept"], found["slope"][found["kept"]]
    return NetworkExponent(
        slopes=found["slope"],
        r_squared=found["r_squared"],
        kept=kept,
        endpoint_rates=found["endpoint_rate"],
        power_law_preferred=found["power_law_preferred"],
        windows=np.stack([found["start"], found["length"]], axis=1),
        initial_distances=np.array([run.initial_distance for run in runs]),
        mean=float(chosen.mean()) if chosen.size else np.nan,
        standard_error=_standard_error(chosen),
        kept_fraction=float(kept.mean()),
        endpoint_mean=float(found["endpoint_rate"].mean()),
        endpoint_standard_error=_standard_error(found["endpoint_rate"]),
        tangent_rates=tangent_rates[:, 0, 0],
        unimodal=_unimodality(chosen),
    )


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else np.nan


def _unimodality(values: Float[np.ndarray, " R"]) -> float:
    """p of the dip test, by 2000 uniform samples of this size."""
    if values.size < 4:
        return float("nan")
    return float(diptest.diptest(np.sort(values), boot_pval=True, n_boot=2000, seed=0)[1])
