"""The figures of a report, each with its computed sentence, in the order in which a reader asks."""

import dataclasses
from collections.abc import Callable, Iterator

from thetadot.report import readings, space_readings
from thetadot.report.chart import Chart
from thetadot.report.charts import (
    SHARPNESS,
    distance_chart,
    gradient_chart,
    loss_chart,
    neuron_chart,
    observed_chart,
    sharpness_chart,
)
from thetadot.report.distance import Distance, distance_from_flow
from thetadot.report.fan import fan_chart, fan_reading
from thetadot.report.held_out import HELD_OUT, held_out_charts
from thetadot.report.plane import principal_plane
from thetadot.report.record import DRAWN_MEMBERS, Record
from thetadot.report.series import Series
from thetadot.report.space_charts import member_chart, plane_chart

FAN_FROM = 5


@dataclasses.dataclass(frozen=True)
class Panel:
    """A figure of the report.

    Attributes:
        name: its id on the page.
        chart: what it shows.
        reading: what it says for this run, computed.
        method: how it is made and how to read it.
    """

    name: str
    chart: Chart
    reading: str
    method: str

    @property
    def description(self) -> str:
        """What a reader who does not see the figure is told."""
        chart = self.chart
        scales = f"{chart.y_label} against {chart.x_label}"
        return f"{chart.title}: {scales}. {self.reading}"


def main_panel(record: Record) -> Panel | None:
    """The loss, with events, plateaus and ends."""
    method = (
        "Diamonds are recorded events; broad strokes are plateaus, where the gradient norm had a minimum and "
        "doubled again, as long as the loss changes by less than 5 % of what it still has to fall; "
        "a disc marks convergence, a cross a breakdown."
    )
    return _shown(Panel("loss", loss_chart(record.drawn), readings.loss_reading(record.everyone), method))


def panels(record: Record) -> list[Panel]:
    """The other figures: those over time, then those over the space of weights."""
    makers: tuple[Callable[[Record], Iterator[Panel]], ...] = (
        _gradient,
        _held_out,
        _sharpness,
        _distance,
        _neurons,
        _plane,
        _observed,
    )
    return [panel for make in makers for panel in make(record) if _shown(panel)]


def member_panels(record: Record) -> list[Panel]:
    """The figures over members; none for a single one."""
    if len({item.member for item in record.everyone}) < 2:
        return []
    found = []
    if len({item.member for item in record.everyone}) >= FAN_FROM:
        method = (
            "Line: median of the members; band: the middle 80 % of them; those that broke down are left out."
        )
        found.append(Panel("fan", fan_chart(record.everyone), fan_reading(record.everyone), method))
    method = "The last finite loss of each member under each rule; a cross marks a path that broke down."
    reading = space_readings.member_reading(record.everyone)
    found.append(Panel("final-losses", member_chart(record.everyone), reading, method))
    return [panel for panel in found if _shown(panel)]


def _shown(panel: Panel) -> Panel | None:
    return None if panel.chart.empty else panel


def _gradient(record: Record) -> Iterator[Panel]:
    method = "A small gradient norm alone is not convergence: it is small near saddles too."
    yield Panel("gradient", gradient_chart(record.drawn), readings.gradient_reading(record.everyone), method)


def _held_out(record: Record) -> Iterator[Panel]:
    method = (
        "The held-out samples are those of the test part of the data; nothing is trained on them. "
        "Where the two lines part, what was learned is particular to the samples that were shown."
    )
    for name, chart, reading in held_out_charts(record.drawn):
        yield Panel(f"held-out-{name}", chart, reading, method)


def _sharpness(record: Record) -> Iterator[Panel]:
    if any(SHARPNESS in item.path.observed for item in record.drawn):
        method = (
            "The largest eigenvalue of the Hessian, by Lanczos, at every saved time. Dotted lines: the "
            "sharpness above which a learning rule cannot settle at a minimum (2/η for gradient descent)."
        )
        yield Panel(
            "sharpness", sharpness_chart(record.drawn), readings.sharpness_reading(record.everyone), method
        )


def _distance(record: Record) -> Iterator[Panel]:
    flows = {
        item.member: item.path for item in record.drawn if item.main and item.path.info.get("kind") == "flow"
    }
    compared: list[tuple[Series, Distance]] = []
    for item in record.drawn:
        if not item.main and item.member in flows:
            distance = distance_from_flow(item.path, flows[item.member])
            if distance is not None:
                compared.append((item, distance))
    if compared:
        hurry = any("momentum" in item.rule_name for item, _ in compared)
        ahead = (
            " A rule with momentum β runs ahead of the flow, about 1/(1 − β) times as fast." if hurry else ""
        )
        method = (
            "Descent and flow start from the same weights and are compared at equal time t = steps × η. "
            "The flow between its saved rows is a spline; below the dotted line the figure cannot tell its "
            "error from a distance." + ahead
        )
        yield Panel("distance", distance_chart(compared), readings.distance_reading(compared), method)


def _neurons(record: Record) -> Iterator[Panel]:
    first = record.first
    if first is not None and first.path.layout is not None and first.path.layout.neurons:
        whose = f"{first.rule_name}, member {first.member}"
        method = f"Thin lines: all weights of one hidden neuron, incoming, bias and outgoing ({whose})."
        yield Panel("neurons", neuron_chart(first.path), space_readings.neuron_reading(first.path), method)


def _plane(record: Record) -> Iterator[Panel]:
    plane = principal_plane([item.path for item in record.drawn])
    if plane is not None:
        method = (
            "All drawn paths, projected on the two directions in which their saved weights vary most. "
            "Open circles: starts; filled: ends. The scales of the two axes differ."
        )
        chart = plane_chart(record.drawn, plane)
        yield Panel("plane", chart, space_readings.plane_reading(record.drawn, plane), method)


def _observed(record: Record) -> Iterator[Panel]:
    known = (SHARPNESS, *HELD_OUT)
    names = dict.fromkeys(name for item in record.drawn for name in item.path.observed if name not in known)
    for number, name in enumerate(names):
        watched = [item for item in record.drawn if name in item.path.observed]
        reading = readings.observed_reading(record.everyone, name)
        chart = observed_chart(watched[:DRAWN_MEMBERS], name)
        yield Panel(
            f"observed-{number}", chart, reading[:1].upper() + reading[1:], "Recorded at every saved time."
        )
