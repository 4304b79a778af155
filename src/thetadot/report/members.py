"""The members of a run as a table: how each ended, how accurate it is, what it cost."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from thetadot.dynamics.accuracy import Accuracy
from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.wording import count, duration, number
from thetadot.report.charts import SHARPNESS
from thetadot.report.series import Series

_WORDS = {
    Outcome.CONVERGED: ("converged", "good"),
    Outcome.REACHED_TIME: ("end time reached", "good"),
    Outcome.REACHED_LOSS: ("loss reached", "good"),
    Outcome.REACHED_STEPS: ("all steps made", "good"),
    Outcome.EVENT: ("ended by an event", "good"),
    Outcome.BUDGET_SPENT: ("budget spent", "fair"),
    Outcome.INTERRUPTED: ("interrupted", "fair"),
    Outcome.DIVERGED: ("diverged", "bad"),
    Outcome.STALLED: ("stalled", "bad"),
}


@dataclasses.dataclass(frozen=True)
class Badge:
    """A judgement in one or two words; `tone` is "good", "fair", "bad" or "plain", and is said by a sign
    too."""

    text: str
    tone: str
    detail: str = ""

    @property
    def sign(self) -> str:
        """The tone as a sign, for readers who do not see colours."""
        return {"good": "✓", "fair": "!", "bad": "✗"}.get(self.tone, "•")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and the number by which it is sorted (None: by the text)."""

    text: str
    key: float | None = None
    badge: Badge | None = None


def outcome_badge(outcome: Outcome, reason: str = "") -> Badge:
    """How a path ended, in two words."""
    text, tone = _WORDS[outcome]
    return Badge(text, tone, reason or outcome.value)


def accuracy_badge(accuracy: Accuracy, kind: str) -> Badge:
    """Why one may believe a path, in two words; `kind` is "flow", "descent" or "integrate"."""
    if accuracy.missed:
        return Badge(f"missed {number(accuracy.global_error, 2)}", "bad", str(accuracy))
    if accuracy.certified:
        return Badge(f"certified {number(accuracy.global_error, 2)}", "good", str(accuracy))
    if kind == "descent":
        return Badge(
            "a map, exact", "plain", "a learning rule makes its steps exactly, to rounding; " + accuracy.note
        )
    return Badge("not certified", "fair", str(accuracy))


def overall_outcome(series: Sequence[Series]) -> Badge:
    """How the members of the main rule ended, together."""
    outcomes = [item.path.outcome for item in series]
    if not outcomes:
        return Badge("nothing committed", "fair")
    if len(set(outcomes)) == 1:
        return outcome_badge(outcomes[0], outcomes[0].value)
    tones = [_WORDS[outcome][1] for outcome in outcomes]
    worst = next(tone for tone in ("bad", "fair", "good") if tone in tones)
    kinds = [f"{outcomes.count(kind)} {_WORDS[kind][0]}" for kind in dict.fromkeys(outcomes)]
    return Badge(", ".join(kinds), worst)


def overall_accuracy(series: Sequence[Series]) -> Badge:
    """The accuracy of the main rule: missed if any member missed it, certified only if all members are."""
    if not series:
        return Badge("nothing committed", "fair")
    if all(item.path.info.get("kind") == "descent" for item in series):
        return accuracy_badge(series[0].path.accuracy, "descent")
    missed = [item for item in series if item.path.accuracy.missed]
    if missed:
        return Badge(
            f"accuracy missed by {len(missed)} of {len(series)}", "bad", str(missed[0].path.accuracy)
        )
    errors = [item.path.accuracy.global_error for item in series]
    known = [error for error in errors if error is not None]
    if len(known) == len(series):
        worst = max(known)
        target = series[0].path.accuracy.target
        asked = "" if target is None else f", asked {number(target, 2)}"
        return Badge(f"accuracy certified: global error {number(worst, 2)}{asked}", "good")
    if known:
        return Badge(f"accuracy certified for {len(known)} of {len(series)}", "fair")
    rtol = series[0].path.accuracy.rtol
    return Badge("accuracy not certified", "fair", f"rtol = {number(rtol, 2)}" if np.isfinite(rtol) else "")


def member_table(series: Sequence[Series]) -> tuple[list[str], list[list[Cell]]]:
    """Heads and rows, one row per member and rule."""
    watched = any(SHARPNESS in item.path.observed for item in series)
    heads = ["member", "rule", "outcome", "end t", "loss", "‖∇L‖"]
    heads += ["sharpness"] if watched else []
    heads += ["accuracy", "seconds"]
    rows = []
    for item in series:
        path = item.path
        cells = [
            Cell(str(item.member), item.member),
            Cell(item.rule_name),
            Cell("", badge=outcome_badge(path.outcome, path.reason)),
            *(_last(values) for values in (path.ts, path.losses, path.grad_norms)),
        ]
        if watched:
            cells.append(_last(np.asarray(path.observed.get(SHARPNESS, np.zeros(0)), float)))
        cells += [
            Cell("", badge=accuracy_badge(path.accuracy, str(path.info.get("kind")))),
            Cell(number(path.stats.seconds), path.stats.seconds),
        ]
        rows.append(cells)
    return heads, rows


def _last(values: np.ndarray) -> Cell:
    if not len(values):
        return Cell("–", float("-inf"))
    value = float(values[-1])
    return Cell(
        number(value), value if np.isfinite(value) else (float("inf") if value != float("-inf") else value)
    )


def cost_table(series: Sequence[Series]) -> tuple[list[str], list[list[Cell]]]:
    """What each rule cost, over all members."""
    heads = [
        "rule",
        "solver",
        "gradients",
        "Hessian-vector products",
        "Hessians",
        "steps (rejected)",
        "time taken",
    ]
    rows = []
    for rule in sorted({item.rule for item in series}):
        members = [item for item in series if item.rule == rule]
        stats = [item.path.stats for item in members]
        solvers = dict.fromkeys(name for stat in stats for _, name in stat.solvers)
        accepted, rejected = sum(stat.accepted for stat in stats), sum(stat.rejected for stat in stats)
        rows.append(
            [
                Cell(f"{members[0].rule_name} ({count(len(members), 'member')})"),
                Cell(", ".join(solvers) or "–"),
                *(_total(stats, field) for field in ("gradients", "hessian_vector_products", "hessians")),
                Cell(f"{accepted:,} ({rejected:,})", accepted),
                Cell(duration(sum(stat.seconds for stat in stats)), sum(stat.seconds for stat in stats)),
            ]
        )
    return heads, rows


def _total(stats: Sequence, field: str) -> Cell:
    total = sum(getattr(stat, field) for stat in stats)
    return Cell(f"{total:,}", total)


def event_table(series: Sequence[Series], most: int = 24) -> tuple[list[str], list[list[Cell]], int]:
    """Heads, rows and the number of events left out, in the order of time within each member."""
    found = [(item, event) for item in series for event in item.path.events]
    rows = [
        [
            Cell(str(item.member), item.member),
            Cell(item.rule_name),
            Cell(event.name),
            Cell(event.kind),
            Cell(number(event.time, 5), float(event.time)),
        ]
        for item, event in found[:most]
    ]
    return ["member", "rule", "event", "kind", "time"], rows, len(found) - len(rows)
