"""How a run stands, in badges and lines."""

import math

from thetadot.dynamics.outcome import Outcome
from thetadot.dynamics.wording import duration, number
from thetadot.report.members import Badge, outcome_badge
from thetadot.studies.run import MemberSummary, Run

BADGES = {
    "done": Badge("done", "good"),
    "running": Badge("running", "plain", "a living process writes to it"),
    "resumable": Badge("resumable", "fair", "the same command goes on with it"),
    "failed": Badge("failed", "bad"),
    "unreadable": Badge("unreadable", "bad"),
}
"""Of a run, by its status."""

_MOST = 200


def run_lines(run: Run) -> list[dict[str, object]]:
    """A line for each member and rule, at most 200: who, how it ended, where it stands, what it cost."""
    return [_line(line) for line in run.table()[:_MOST]]


def _line(line: MemberSummary) -> dict[str, object]:
    known = math.isfinite(line.time)
    rule = "main" if line.compare is None else f"comparison {line.compare}"
    how = None if line.outcome is None else outcome_badge(Outcome[line.outcome], line.reason)
    return {
        "member": line.member,
        "rule": f"{rule}: {line.rule}" if line.rule else rule,
        "badge": how or Badge("not begun", "plain"),
        "time": number(line.time) if known else "–",
        "loss": number(line.loss) if known else "–",
        "gradients": f"{line.gradients:,}" if line.gradients else "–",
        "seconds": duration(line.seconds) if line.seconds else "–",
    }
