"""Itineraries as labelled arrays and in words."""

import numpy as np
import xarray

from thetadot.dynamics.wording import number


def itinerary_dataset(found) -> xarray.Dataset:
    """An `Itinerary` as a Dataset."""
    time = {"units": "time in the units of the loss gradient"}
    variables = {
        "loss": ("visit", found.losses),
        "escape_predicted": ("visit", found.escapes_predicted, time),
        "escape_measured": ("visit", found.escapes_measured, time),
        "dwell_predicted": ("visit", found.dwells_predicted, time),
        "dwell_measured": ("visit", found.dwells_measured, time),
        "index": (("visit", "sign"), found.indices, {"long_name": "eigenvalues of the Hessian by sign"}),
        "support": (("visit", "group"), found.supports),
        "theta": (("visit", "parameter"), np.array([visit.point.theta for visit in found.visits])),
        "kind": ("visit", [visit.point.kind.name for visit in found.visits]),
        "residual_supremum": ("visit", [visit.point.residual_supremum for visit in found.visits]),
        "exit": ("visit", [visit.exit or "" for visit in found.visits]),
        "exit_rate": ("visit", [visit.exit_rate for visit in found.visits]),
        "exit_degree": ("visit", [visit.exit_degree for visit in found.visits]),
        "settled": ("visit", [visit.settled for visit in found.visits]),
        "closest_approach": ("visit", [visit.closest_approach for visit in found.visits]),
        "approach_exponent": ("visit", [visit.approach_exponent for visit in found.visits]),
    }
    attributes = {
        "status": found.status.name, "reason": found.reason, "mode": found.mode, "scale": found.scale,
        "degree": -1.0 if found.degree is None else found.degree, "notes": "; ".join(found.notes),
        "sources": "matched asymptotics, re-derived; arXiv:2502.15952, 2403.08121, 2509.12154",
    }  # fmt: skip
    return xarray.Dataset(variables, {"sign": ["negative", "zero", "positive"]}, attributes)


def itinerary_table(found) -> str:
    """One line per visit: loss, index, kind, live groups, escape predicted | measured."""
    degree = "not homogeneous" if found.degree is None else f"degree {found.degree:g}"
    lines = [
        f"{len(found.visits)} visits from scale {found.scale:g} ({degree}): {found.status.name}, {found.reason}"
    ]
    for place, visit in enumerate(found.visits):
        index = visit.point.index
        lines.append(
            f"  {place}  loss {number(visit.point.loss)}, index ({index.negative}, {index.zero}, {index.positive}) "
            f"{visit.point.kind.name}, {int(visit.point.support.sum())} of {visit.point.support.size} alive, escape "
            f"{time_words(visit.escape_predicted)} predicted | {time_words(visit.escape_measured)} measured"
            + (f", {visit.exit}" if visit.exit else "")
            + ("" if visit.settled else ", overlaps the next departure")
        )
    lines += [f"  note: {note}" for note in found.notes]
    return "\n".join(lines)


def time_words(value: float) -> str:
    """A time that may be as large as 1e150."""
    if not np.isfinite(value):
        return "—"
    return f"10^{np.log10(value):.6g}" if value > 1e15 else f"{value:.10g}"
