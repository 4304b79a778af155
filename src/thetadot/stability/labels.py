"""Results as labelled arrays and in words."""

from typing import Any

import numpy as np
import xarray

from thetadot.dynamics.labels import strict_json
from thetadot.dynamics.wording import count, duration, number


def dataset(
    variables: dict[str, Any], coordinates: dict[str, Any], attributes: dict[str, Any]
) -> xarray.Dataset:
    """A Dataset whose attributes are text and numbers only."""
    plain = {
        name: value
        if isinstance(value, (str, int, float)) and not isinstance(value, bool)
        else strict_json(value)
        for name, value in attributes.items()
        if value is not None
    }
    return xarray.Dataset(variables, coordinates, plain)


def per(unit: str) -> str:
    """The unit of an exponent."""
    return "1/step" if unit == "step" else "1/time (units of the loss)"


def exponent_dataset(found: Any) -> xarray.Dataset:
    """A `LyapunovSpectrum` as a Dataset."""
    unit = per(found.unit)
    group = np.empty(len(found.exponents), int)
    for number_, members in enumerate(found.groups):
        group[list(members)] = number_
    variables = {
        "exponent_value": ("exponent", found.exponents, {"units": unit, "long_name": "Lyapunov exponent"}),
        "standard_error": ("exponent", found.standard_error, {"units": unit}),
        "ordered": ("exponent", found.ordered, {"units": unit, "long_name": "exponents, descending"}),
        "group": ("exponent", group, {"long_name": "exponents of one group are equal to tolerance"}),
        "log_growth": (("block", "exponent"), found.log_growth, {"units": "1", "long_name": "log R_ii"}),
        "block_length": ("block", found.block_lengths, {"units": found.unit}),
        "history": (("length", "exponent"), found.history, {"units": unit, "long_name": "running mean"}),
        "basis": (("parameter", "exponent"), found.basis),
        "state": ("parameter", found.state),
    }
    coordinates = {
        "exponent": np.arange(1, len(found.exponents) + 1),
        "length": ("length", found.history_at, {"units": found.unit}),
    }
    attributes = {
        "status": found.status.name, "unit": found.unit, "steps": found.steps, "every": found.every,
        "transient": found.transient, "first_bad": found.first_bad, "method": found.method,
        "kaplan_yorke": found.kaplan_yorke, "entropy": found.entropy, "sum_rule_defect": found.sum_rule_defect,
        "stats": found.stats, "logarithms": "natural",
    }  # fmt: skip
    return dataset(variables, coordinates, attributes)


def with_error(value: float, error: float) -> str:
    """A number and its standard error in words."""
    return number(value) if not np.isfinite(error) else f"{number(value)} ± {number(error, 2)}"


def spectrum_summary(found: Any) -> str:
    """A `LyapunovSpectrum` on one screen."""
    shown = [
        with_error(found.exponents[i], found.standard_error[i])
        for i in np.argsort(-found.exponents, kind="stable")[:6]
    ]
    more = len(found.exponents) - len(shown)
    lines = [
        f"Lyapunov spectrum: {count(len(found.exponents), 'exponent')} per {found.unit}",
        "  exponents   " + ", ".join(shown) + (f" and {more} more" if more > 0 else ""),
        f"  status      {found.status.name}: {found.status.value}",
        f"  window      {number(found.steps)} {unit_words(found.unit, found.steps)} after a transient of "
        f"{number(found.transient)}, frame made orthonormal every {number(found.every)}",
    ]
    if found.first_bad is not None:
        lines.append(f"  lost        the state is not finite at {found.unit} {number(found.first_bad)}")
    together = [group for group in found.groups if len(group) > 1]
    if together:
        lines.append("  groups      " + "; ".join(str([i + 1 for i in group]) for group in together[:4]))
    lines.append(
        f"  dimension   Kaplan–Yorke {number(found.kaplan_yorke)}, entropy at most {number(found.entropy)}"
    )
    if found.sum_rule_defect is not None:
        lines.append(f"  sum rule    Σ log R_ii = log|det T| within {number(found.sum_rule_defect)}")
    stats = found.stats
    redone = f", {count(stats['redone_blocks'], 'block')} redone" if stats["redone_blocks"] else ""
    lines.append(
        f"  cost        {found.method}, {count(stats['qrs'], 'orthonormalisation')}{redone}, "
        f"{duration(stats['seconds'])}"
    )
    return "\n".join(lines)


def unit_words(unit: str, amount: float) -> str:
    """ "step", "steps" or "time units"."""
    return "time units" if unit == "time" else "step" if amount == 1 else "steps"


def lines_of(title: str, rows: dict[str, str]) -> str:
    """A title and named lines."""
    width = max(len(name) for name in rows)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in rows.items())])
