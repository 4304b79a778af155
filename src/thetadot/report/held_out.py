"""What was learned beside what was only memorised: samples that were trained on, and samples that were held out."""

from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.canvas import TIME_LABEL, suits_log_time, suits_logarithm
from thetadot.dynamics.figures import LOSS_LABEL
from thetadot.dynamics.path import Path
from thetadot.dynamics.wording import number
from thetadot.report.chart import Chart, Line
from thetadot.report.charts import spans_decades
from thetadot.report.series import FigureError, Series, member_names, rule_names

TEST_LOSS, ACCURACY, TEST_ACCURACY = HELD_OUT = ("test_loss", "accuracy", "test_accuracy")
"""Observables that are drawn together, train beside test."""

_RIGHT, _LATE = 0.9, 3.0
_SHOWN = {"loss": {TEST_LOSS}, "accuracy": {ACCURACY, TEST_ACCURACY}}
_PARTS = {0: "samples trained on", 1: "samples held out"}


def held_out_charts(series: Sequence[Series]) -> Iterator[tuple[str, Chart, str]]:
    """(name, chart, reading) of the loss and of the share of right classes, where either was observed: trained on in
    one colour, held out in the other. Of several rules that observed it the first is drawn."""
    for name, keys in _SHOWN.items():
        watched = [item for item in series if keys & set(item.path.observed)]
        if watched:
            first = [item for item in watched if item.rule == watched[0].rule]
            chart = held_out_chart(first, name)
            if len(rule_names(series)) > 1:
                chart = chart.altered(title=f"{chart.title}: {first[0].rule_name}")
            yield name, chart, held_out_reading(first, name)


def held_out_chart(series: Sequence[Series], name: str) -> Chart:
    """The loss (name "loss") or the share of right classes ("accuracy") against time.

    Raises:
        FigureError: no path observed anything of it.
    """
    if not any(_SHOWN[name] & set(item.path.observed) for item in series):
        raise FigureError(f"no path observed {' or '.join(sorted(_SHOWN[name]))}: add it to observe=")
    lines = []
    for item in series:
        for colour, part in enumerate(_parts(item.path, name)):
            if part is not None:
                text = f"{_PARTS[colour]}, {item.name}"
                lines.append(Line(item.path.ts, part, text, colour, item.member, 1.8, 1.0, item.broken))
    values = [line.y for line in lines]
    title = "Loss, trained on and held out" if name == "loss" else "Accuracy, trained on and held out"
    label = LOSS_LABEL if name == "loss" else "share of samples whose class is predicted"
    return Chart(
        title, TIME_LABEL, label, suits_log_time([item.path.ts for item in series]),
        name == "loss" and suits_logarithm(values) and spans_decades(values), lines=tuple(lines),
        colours={colour: _PARTS[colour] for colour in sorted({line.colour for line in lines})},
        dashes=member_names(series), scope="part",
    )  # fmt: skip


def held_out_reading(series: Sequence[Series], name: str) -> str:
    """How it ended on both parts, and whether the held-out one came late."""
    ends = [
        (_PARTS[colour], float(np.median([part[-1] for part in parts])))
        for colour, parts in enumerate(zip(*(_parts(item.path, name) for item in series), strict=True))
        if all(part is not None and len(part) for part in parts)
    ]
    if name == "loss":
        text = "The loss ended at " + " and ".join(f"{number(end)} on {words}" for words, end in ends) + "."
        lows = [_lowest(item.path) for item in series]
        known = [low for low in lows if low is not None]
        if known:
            text += f" On held-out samples it was lowest at t = {number(float(np.median(known)))}."
        return text
    text = "The share of right classes ended at " + " and ".join(
        f"{number(100 * end)} % on {words}" for words, end in ends
    )
    times = [_times(item.path) for item in series]
    known = [pair for pair in times if pair is not None]
    if len(known) == len(times):
        early, late = (float(np.median([pair[k] for pair in known])) for k in (0, 1))
        text += f"; {number(100 * _RIGHT)} % were right from t = {number(early)} and {number(late)} on"
        if late > _LATE * early:
            text += f", the held-out ones {number(late / early, 2)} times as late"
    return text + "."


def _parts(path: Path, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Values on the samples trained on, and on those held out."""
    keys = ("", TEST_LOSS) if name == "loss" else (ACCURACY, TEST_ACCURACY)
    train, test = (
        None if path.observed.get(key) is None else np.asarray(path.observed[key], float) for key in keys
    )
    return (path.losses if name == "loss" else train), test


def _lowest(path: Path) -> float | None:
    """When the held-out loss was lowest, if that was well before the end and it has grown since."""
    values = np.asarray(path.observed.get(TEST_LOSS, ()), float)
    if not np.isfinite(values).any():
        return None
    place = int(np.nanargmin(values))
    return float(path.ts[place]) if values[-1] > 1.05 * values[place] else None


def _times(path: Path) -> tuple[float, float] | None:
    """The first rows at which nine tenths are right, for good: trained on, held out; None unless both come."""
    found = []
    for part in _parts(path, ACCURACY):
        wrong = np.flatnonzero(~(part >= _RIGHT)) if part is not None else np.arange(len(path.ts))
        after = int(wrong[-1]) + 1 if wrong.size else 0
        if after >= len(path.ts):
            return None
        found.append(float(path.ts[after]))
    return found[0], found[1]
