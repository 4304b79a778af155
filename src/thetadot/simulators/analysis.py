"""What the lens found on one run of a study: parts, verdict, one line of result, labelled arrays."""

import dataclasses
import enum
from typing import Any

import numpy as np
from jaxtyping import Float

from thetadot.dynamics.wording import number
from thetadot.simulators.data_energy import DataEnergy
from thetadot.simulators.linear_training import InheritedSpectrum, SpectrumStatus
from thetadot.simulators.nonlinear import OffDataGrowth
from thetadot.simulators.significance import Significance
from thetadot.simulators.tradeoff import NoiseTradeoff

NEUTRAL = 1e-9
"""Growth rates up to this size count as 0."""


class Verdict(enum.StrEnum):
    """Whether what training left off the data is stable; `nothing_left`: data taught every direction."""

    STABLE = "stable"
    NEUTRAL = "neutral"
    UNSTABLE = "unstable"
    NOTHING_LEFT = "nothing_left"
    NO_ROLLOUT = "no_rollout"


@dataclasses.dataclass(frozen=True)
class SimulatorAnalysis:
    """What the lens found on one run; parts that do not apply are None.

    Attributes:
        time: "discrete" or "continuous". verdict: of the directions off the data (of all, for one linear layer).
        energy: of the inputs. times (n,): until half of the error is gone, in steps or time: `times_unit`.
        saved (S,): times of the rows. unlearned, learned (S,): ‖ΔW₁N‖ and ‖ΔW₁U‖ over ‖W₁‖ at the start.
        growth: of derivatives at the end. spectrum, tradeoff: of one linear layer.
        rollouts: {name: norms of the states (T,)}. horizon: rows for which a forecast of the data is good.
        significance: of an ensemble, on held-back states.
        remedies: {remedy: growth rate that it would leave}. notes: what was left out, and why.
    """

    time: str
    verdict: Verdict
    energy: DataEnergy | None = None
    times: Float[np.ndarray, " n"] | None = None
    times_unit: str = "time"
    saved: Float[np.ndarray, " S"] | None = None
    unlearned: Float[np.ndarray, " S"] | None = None
    learned: Float[np.ndarray, " S"] | None = None
    growth: OffDataGrowth | None = None
    spectrum: InheritedSpectrum | None = None
    tradeoff: NoiseTradeoff | None = None
    rollouts: dict[str, Float[np.ndarray, " T"]] = dataclasses.field(default_factory=dict)
    rollout_at: Float[np.ndarray, " T"] | None = None
    horizon: int | None = None
    significance: Significance | None = None
    remedies: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """The main numbers and the verdict in one line."""
        parts, unit = [], "step" if self.time == "discrete" else "time"
        if self.energy is not None:
            text = f"{self.energy.rank} of {self.energy.size} input directions carry energy"
            if self.times is not None and self.energy.rank:
                slowest = float(self.times[: self.energy.rank].max())
                text += f"; the slowest is half learned after {number(slowest)} {self.times_unit}"
            parts.append(text)
        if self.unlearned is not None and self.energy is not None and self.energy.rank < self.energy.size:
            parts.append(f"what no data taught moved by {number(float(self.unlearned[-1]), 2)} of ‖W₁‖")
        if self.growth is not None:
            text = f"growth rate at most {number(float(self.growth.on_data.max()))} per {unit} on the data"
            if self.energy is not None and self.energy.rank < self.energy.size:
                text += f", {number(float(self.growth.off_data.max()))} off them"
            parts.append(text)
        if self.horizon is not None:
            parts.append(f"forecasts of the data are good for {self.horizon} rows")
        if self.significance is not None:
            share = self.significance.acceptance
            parts.append(
                f"{share:.1%} of predictions on held-back states accepted at level {self.significance.level}"
            )
        if self.verdict is not Verdict.NO_ROLLOUT:
            parts.append(self.verdict.value.replace("_", " ") + self._remedy())
        return "; ".join(parts)

    def _remedy(self) -> str:
        if self.verdict is not Verdict.UNSTABLE:
            return ""
        helping = [name for name, rate in self.remedies.items() if rate <= NEUTRAL]
        return (
            f": {' or '.join(helping)} would change that"
            if helping
            else ": no remedy that was tried changes that"
        )

    def to_xarray(self):
        """All parts in one `xarray.Dataset`: dimensions direction, save, point, eigenvalue, variance, row, draw."""
        import xarray

        variables: dict[str, tuple] = {}
        coordinates: dict[str, Any] = {}
        rate = {"units": "1/step" if self.time == "discrete" else "1/time"}
        attributes: dict[str, Any] = {
            "time": self.time, "verdict": self.verdict.value, "summary": self.summary(), "notes": "; ".join(self.notes),
            "source": "arXiv 2406.13101 and 2301.04900; formulas re-derived",
        }  # fmt: skip
        if self.energy is not None:
            coordinates["direction"] = np.arange(1, self.energy.size + 1)
            named = {"long_name": "energy of the direction", "units": "input units²"}
            variables["energy"] = ("direction", self.energy.energies, named)
            attributes |= {
                "rank": self.energy.rank, "size": self.energy.size, "energy_tolerance": self.energy.tolerance,
                "energy_gap": self.energy.gap,
            }  # fmt: skip
        if self.times is not None:
            named = {"long_name": "until half of the error is gone", "units": self.times_unit}
            variables["learning_time"] = ("direction", self.times, named)
            attributes["learning_time_unit"] = self.times_unit
        if self.saved is not None:
            coordinates["saved_time"] = ("save", self.saved, {"units": "time of the loss gradient"})
            for name, values in (("unlearned", self.unlearned), ("learned", self.learned)):
                named = {"long_name": f"change of the first layer, {name} part", "units": "of its first norm"}
                variables[f"{name}_change"] = ("save", values, named)
        if self.growth is not None:
            for name in ("on_data", "off_data"):
                named = {"long_name": f"growth rate {name.replace('_', ' ')}", **rate}
                variables[f"growth_{name}"] = ("point", getattr(self.growth, name), named)
            named = {"long_name": "coupling of data directions to the others"}
            variables["coupling"] = ("point", self.growth.coupling, named)
        if self.spectrum is not None:
            values = self.spectrum.eigenvalues
            split = self.spectrum.status is SpectrumStatus.SPLIT
            inherited = split & (np.arange(len(values)) >= len(self.spectrum.learned))
            variables |= {
                "eigenvalue_real": ("eigenvalue", np.real(values), {"units": "1"}),
                "eigenvalue_imaginary": ("eigenvalue", np.imag(values), {"units": "1"}),
                "eigenvalue_inherited": ("eigenvalue", inherited),
            }
            attributes |= {
                "spectrum_status": self.spectrum.status.value,
                "invariance_defect": self.spectrum.invariance_defect,
            }
        if self.tradeoff is not None:
            coordinates["variance"] = self.tradeoff.variances
            variables |= {
                "noise_growth": (
                    "variance",
                    self.tradeoff.growth,
                    {"long_name": "growth with noise", **rate},
                ),
                "noise_bias": ("variance", self.tradeoff.bias, {"long_name": "relative bias", "units": "1"}),
                "noise_bound": (
                    "variance",
                    self.tradeoff.bound,
                    {"long_name": "bound of the growth", **rate},
                ),
            }
            attributes["noise_setting"] = self.tradeoff.setting
        if self.rollouts:
            coordinates["rollout_at"] = ("row", self.rollout_at)
            for name, norms in self.rollouts.items():
                variables[f"rollout_{name}"] = ("row", norms, {"long_name": f"norm of the state, {name}"})
        if self.horizon is not None:
            attributes["horizon"] = self.horizon
        if self.significance is not None:
            variables["p_value"] = (
                "draw",
                self.significance.p_values,
                {"long_name": "p-value", "units": "1"},
            )
            variables["d"] = ("draw", self.significance.statistic, {"long_name": "d of the members"})
            attributes |= {"acceptance": self.significance.acceptance, "level": self.significance.level}
        attributes |= {f"remedy_{name.split()[0]}": rate for name, rate in self.remedies.items()}
        # Attributes are stored as JSON, which has no infinity.
        finite = {
            key: number(value) if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in attributes.items()
        }
        return xarray.Dataset(variables, coordinates, finite)
