"""The colours of the page, light and dark, as CSS variables; all text stands out by at least 4.5:1
(tested)."""

from thetadot.dynamics.palette import DARK, PAPER, RULES

PAGE = {
    "page": ("#f4f6f8", "#0e1114"),
    "card": (PAPER, DARK[PAPER]),
    "text": ("#1a1f24", "#e9edf1"),
    "quiet": ("#57606a", "#a6b0ba"),
    "line": ("#d5dae0", "#343c45"),
    "accent": (RULES[0], DARK[RULES[0]]),
    "good": ("#00604c", "#63dcb8"),
    "good-paper": ("#e2f4ee", "#10302a"),
    "fair": ("#6f4a00", "#f0c663"),
    "fair-paper": ("#fcf0d9", "#382c10"),
    "bad": ("#9b1c1c", "#ffa39c"),
    "bad-paper": ("#fde9e8", "#421b1b"),
}
"""{name: (light, dark)}; text of a colour stands on the page, a card, or the paper of the same name."""


def variables(dark: bool) -> str:
    """The declarations of all variables for one theme; figures' colours are named by their light value."""
    place = 1 if dark else 0
    page = [f"--{name}: {values[place]};" for name, values in PAGE.items()]
    figures = [f"--c-{light[1:]}: {twin if dark else light};" for light, twin in DARK.items()]
    return " ".join(page + figures)
