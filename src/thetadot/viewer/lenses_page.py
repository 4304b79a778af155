"""The page *Lenses*: what each lens found on a run, with the report's figures to zoom into and point at."""

from typing import Any
from urllib.parse import urlencode

import panel as pn

from thetadot.report.lens_panels import Section, lens_sections
from thetadot.report.record import record_of
from thetadot.studies.run import Run
from thetadot.viewer.panes import Figure, Text, control, grid, link, row

_ALL = "all lenses"


def lenses_page(run: Run, name: str) -> pn.Column:
    """All that the lenses of a run found.

    Arguments:
        run: the run.
        name: as it is known to the viewer.
    """
    record = record_of(run)
    sections = {section.title: section for section in lens_sections(record.lenses)}
    head = Text("lenses.html.j2")
    head.show(
        name=name, address="run?" + urlencode({"run": name}), notes=record.notes, empty=not sections,
        titles=list(sections),
    )  # fmt: skip
    chosen = control(pn.widgets.Select(label="Lens", options=[_ALL, *sections]), "lens")
    body = pn.Column(sizing_mode="stretch_width")

    def show(*_: object) -> None:
        wanted = [section for title, section in sections.items() if chosen.value in (_ALL, title)]
        body.objects = [part for section in wanted for part in _parts(section)]

    chosen.param.watch(show, "value")
    show()
    return pn.Column(head.pane, row(chosen) if len(sections) > 1 else None, body, sizing_mode="stretch_width")


def _parts(section: Section) -> list[Any]:
    """Heading, cards and tables of a lens, then its figures."""
    figures = []
    for panel in section.panels:
        figure = Figure(panel.name)
        figure.show(panel.chart, panel.reading, panel.method)
        figures.append(figure)
    link(figures)
    cards = grid(*(figure.card for figure in figures))
    return [Text("lens.html.j2", section=section).pane, cards, Text("lens_end.html.j2", section=section).pane]
