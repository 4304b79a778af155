"""Colours and line styles of every figure: one colour for each rule, one dash pattern for each member.

The colours are told apart with the common colour-vision deficiencies and stand out by at least 4.5:1 from
their paper (tested); every light colour has its dark twin, so that a figure can change with the reader's
theme.
"""

RULES = ("#0b57d0", "#b85600", "#178256", "#801782", "#573e0f", "#4b5560")
"""Colour of the main rule, then of each comparison; a seventh rule starts again from the second."""

INK = "#1a1f24"
MUTED = "#57606a"
GRID = "#dfe3e8"
PAPER = "#fefefe"
"""White, but not the default white of the drawing libraries, which they would leave out of what they
write."""
EVENT = "#111417"

DARK = {
    "#0b57d0": "#4d9fff",
    "#b85600": "#ffb066",
    "#178256": "#8ff0c8",
    "#801782": "#e060b0",
    "#573e0f": "#f5e663",
    "#4b5560": "#b6c1cc",
    INK: "#e9edf1",
    MUTED: "#a6b0ba",
    GRID: "#343c45",
    PAPER: "#171b20",
    EVENT: "#f4f6f8",
}
"""The dark twin of every light colour above."""

DASHES = (
    (),
    (5.0, 2.0),
    (1.3, 1.6),
    (6.0, 1.6, 1.3, 1.6),
    (9.0, 2.0),
    (3.0, 1.2, 1.0, 1.2, 1.0, 1.2),
)
"""Dash pattern of each member, in units of the line's width; () is solid. A seventh member starts again."""


def rule_colour(index: int) -> str:
    """Colour of rule `index`: 0 is the main rule, k the k-th comparison."""
    return RULES[index] if index < len(RULES) else RULES[1 + (index - 1) % (len(RULES) - 1)]


def member_dashes(index: int) -> tuple[float, ...]:
    """Dash pattern of member `index`, in units of the line's width; () is solid."""
    return DASHES[index % len(DASHES)]
