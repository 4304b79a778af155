"""The lens integrability in the report: a card with the verdict and its proof, and the loops around singular points."""

import base64
from collections.abc import Iterator, Sequence

import numpy as np

from thetadot.dynamics.wording import count, number
from thetadot.report.chart import Chart, Dots, Line
from thetadot.report.lens_card import Card, Download
from thetadot.report.lens_record import Found
from thetadot.report.members import Badge, Cell
from thetadot.report.panels import Panel

_TONES = {
    "NON_INTEGRABLE": "plain",
    "NOT_BOGOYAVLENSKIJ": "plain",
    "INTEGRABLE": "plain",
    "INTEGRABLE_CANDIDATE": "fair",
    "INCONCLUSIVE": "fair",
}
_NOT_MEANT = {
    "NON_INTEGRABLE": "Not that training is chaotic or cannot be computed: gradient flows are never chaotic, and "
    "near a generic minimum they can be linearised. Single orbits may have formulas.",
    "NOT_BOGOYAVLENSKIJ": "Not that there is no formula: the block can be solved by quadratures.",
    "INTEGRABLE": "Not that the formula is short: quadratures may have to be inverted.",
    "INTEGRABLE_CANDIDATE": "Not that the flow is integrable: only, no obstruction on the leaves that were looked at.",
    "INCONCLUSIVE": "Neither integrable nor not: the theory found nothing to decide by.",
}
_MOST_ROWS = 40


def _distinct(found: Sequence[Found]) -> list[Found]:
    """One for each answer: it belongs to the network, not to the path."""
    return list({one.attributes.get("certificate_digest", "") + one.summary: one for one in found}.values())


def integrability_cards(found: Sequence[Found]) -> Iterator[Card]:
    """Status, what it excludes and does not mean, hypotheses, every leaf and block, and the proof as a file."""
    for index, one in enumerate(_distinct(found)):
        told = one.attributes
        status = str(told["status"])
        facts = [("network", str(told["network"])), ("why", str(told["reason"]))]
        if told.get("excluded_words"):
            facts.append(("excluded", str(told["excluded_words"])))
        if status == "NON_INTEGRABLE":
            facts.append(("formulas", "no Liouvillian one for the flow near that orbit"))
        facts += [("says something about", str(told["meaning"])), ("does not mean", _NOT_MEANT[status])]
        checked = [
            f"{str(key).removeprefix('hypothesis: ')}: {value}"
            for key, value in told.items()
            if str(key).startswith("hypothesis: ")
        ]
        if checked:
            facts.append(("hypotheses and residuals", "; ".join(checked)))
        if "cartan_value" in told:
            kind = (
                "proved in ball arithmetic"
                if told.get("cartan_rigorous")
                else "floating point, evidence only"
            )
            value, error = number(float(told["cartan_value"]), 3), number(float(told["cartan_error"]), 2)
            facts.append(("Cartan's test on loops", f"{value}, error at most {error} ({kind})"))
        downloads = ()
        if told.get("certificate"):
            file = f"certificate-{index + 1}.json"
            text = base64.b64encode(str(told["certificate"]).encode()).decode()
            downloads = (
                Download(
                    file,
                    f"data:application/json;base64,{text}",
                    "The proof. A program that shares no code with what wrote it checks it",
                    f"thetadot verify-certificate {file}",
                ),
            )
        tables = [("Every leaf and block that was looked at", *_findings(one))]
        if "map_group" in one.data:
            tables.append(("Groups over targets and levels", *_map(one)))
        badge = Badge(status.replace("_", " ").lower(), _TONES[status])
        yield Card("Is there a closed form?", badge, tuple(facts), tuple(tables), downloads)


def _findings(one: Found) -> tuple[list[str], list[list[Cell]]]:
    data = one.data
    rows = []
    for k in range(min(data.sizes["finding"], _MOST_ROWS)):
        row = {name: data[name].values[k] for name in data.data_vars if data[name].dims == ("finding",)}
        seconds = float(row["seconds"])
        rows.append(
            [
                Cell(str(row["manifold"])),
                Cell(str(row["level"]) or "–"),
                Cell(str(int(row["order"])) if row["order"] else "–", float(row["order"])),
                Cell(str(row["group"]) or "–"),
                Cell(_identity_component(int(row["solvable"]), int(row["abelian"]))),
                Cell(f"{1e3 * seconds:.0f} ms", seconds),
                Cell(str(row["reason"])),
            ]
        )
    heads = ["manifold", "leaf C", "order", "Galois group", "G⁰", "time", "why"]
    return heads, rows


def _identity_component(solvable: int, abelian: int) -> str:
    """The identity component of the group in words; 1 yes, 0 no, −1 not decided."""
    if solvable < 0:
        return "not decided"
    return "not solvable" if not solvable else "abelian" if abelian == 1 else "solvable, not abelian"


def _map(one: Found) -> tuple[list[str], list[list[Cell]]]:
    groups = one.data["map_group"]
    levels = [str(level) for level in groups["map_level"].values]
    rows = [
        [Cell(f"y = {target}"), *(Cell(str(name)) for name in row)]
        for target, row in zip(groups["map_target"].values, groups.values, strict=True)
    ]
    return ["target", *(f"C = {level}" for level in levels)], rows


def integrability_panels(found: Sequence[Found]) -> Iterator[Panel]:
    """The plane of the orbit's parameter with singular points and loops, for each proof by an equation."""
    for index, one in enumerate(_distinct(found)):
        poles = one.values("pole")
        if poles is None or not len(poles):
            continue
        place, irregular = one.data["pole_place"].values, one.data["pole_irregular"].values.astype(bool)
        whose, corners = one.data["corner_loop"].values, one.data["corner_place"].values
        lines = tuple(
            Line(
                corners[whose == k, 0], corners[whose == k, 1], f"loop around {_complex(place[k])}", k,
                weight=1.2, opacity=0.8,
            )
            for k in range(len(poles))
        )  # fmt: skip
        kinds = ((~irregular, "end", "simple pole"), (irregular, "event", "pole of higher order"))
        marks = [
            Dots(place[at, 0], place[at, 1], tuple(f"{name} {_complex(z)}" for z in place[at]), shape, 6)
            for at, shape, name in kinds
            if at.any()
        ]
        base = corners[0]
        marks.append(Dots(base[:1], base[1:], (f"base point {_complex(base)}",), "start", 6))
        chart = Chart("Loops around the singular points", "Re p", "Im p", lines=lines, dots=tuple(marks))
        reading = (
            f"The deciding block has {count(len(poles), 'finite singular point')}, {int(irregular.sum())} of them of "
            "higher order; continuing its solutions along the loops gives the monodromy, a part of the Galois group."
        )
        method = (
            "The plane of the orbit's parameter p. Discs: simple poles of the system; diamonds: poles of higher order; "
            "open circle: base point. Loops keep away from other singular points, most from those of higher order. "
            "The two axes differ in scale."
        )
        yield Panel(f"loops-{index}", chart, reading, method)


def _complex(z: np.ndarray) -> str:
    return f"{z[0]:.3g}{z[1]:+.3g}i"
