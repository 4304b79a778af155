"""A claims table for the terminal, for Markdown pages and for notebooks."""

import html
import io

from thetadot.papers.table import ClaimResult, ClaimsTable
from thetadot.papers.values import words

_COLOURS = {
    "HOLDS": "green",
    "FAILS": "red",
    "ERROR": "red",
    "NOT CONFIRMED": "yellow",
    "NOT TESTABLE HERE": "cyan",
}
_HEADS = ("claim", "predicted", "measured", "rule", "verdict")


def rich_table(table: ClaimsTable):
    """A rich renderable: title, the table, the summary."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=table.title, title_justify="left", show_lines=True, expand=False)
    grid.add_column("", justify="right", no_wrap=True)
    for head, ratio in zip(_HEADS, (5, 3, 3, 2, 2), strict=True):
        grid.add_column(head, ratio=ratio, overflow="fold")
    for number, row in enumerate(table.rows, 1):
        claim = Text(row.statement)
        claim.append(f"\n{_origin(row)}", style="dim")
        verdict = Text(row.word, style=f"bold {_COLOURS[row.word]}")
        if row.remark:
            verdict.append(f"\n{row.remark}", style="not bold default")
        cells = (Text(words(row.predicted)), Text(row.found), Text(row.rule))
        grid.add_row(str(number), claim, *cells, verdict)
    return Group(grid, Text(table.summary, style="bold"))


def text(table: ClaimsTable, width: int = 140) -> str:
    """The terminal's rendering without colours."""
    from rich.console import Console

    sink = io.StringIO()
    Console(file=sink, width=width, color_system=None).print(rich_table(table))
    return sink.getvalue()


def markdown(table: ClaimsTable) -> str:
    """Title, reference, pipe table and summary."""
    heads = ("", "claim", "source", "set-up", "predicted", "measured", "rule", "verdict")
    lines = [f"## {table.title}", "", table.reference, ""]
    if table.scope:
        lines += [table.scope, ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for number, row in enumerate(table.rows, 1):
        verdict = f"**{row.word}**" + (f": {row.remark}" if row.remark else "")
        cells = (
            str(number),
            row.statement,
            row.source,
            row.setup,
            words(row.predicted),
            row.found,
            row.rule,
            verdict,
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join([*lines, "", table.summary, ""])


def html_table(table: ClaimsTable) -> str:
    """The table for notebooks, light or dark: words, not only colours, carry the verdicts."""
    cell = "text-align:left;vertical-align:top;padding:4px 10px 4px 0"
    head = "".join(f'<th scope="col" style="{cell}">{name}</th>' for name in ("#", *_HEADS))
    body = ""
    for number, row in enumerate(table.rows, 1):
        remark = f"<br>{html.escape(row.remark)}" if row.remark else ""
        cells = [
            str(number),
            f"{html.escape(row.statement)}<br><small>{html.escape(_origin(row))}</small>",
            *(html.escape(item) for item in (words(row.predicted), row.found, row.rule)),
            f"<strong>{html.escape(row.word)}</strong>{remark}",
        ]
        body += "<tr>" + "".join(f'<td style="{cell}">{item}</td>' for item in cells) + "</tr>"
    return (
        f"<div><strong>{html.escape(table.title)}</strong>"
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"<p>{html.escape(table.summary)}</p></div>"
    )


def _origin(row: ClaimResult) -> str:
    return row.source + (f"; {row.setup}" if row.setup else "")


def _cell(content: str) -> str:
    return content.replace("|", "\\|").replace("\n", " ")
