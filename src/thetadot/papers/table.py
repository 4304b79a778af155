"""The outcome of a reproduction: claim | predicted | measured | verdict."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thetadot.papers.errors import ClaimError
from thetadot.papers.values import decode, encode, words
from thetadot.papers.verdicts import Verdict

FORMAT = "thetadot claims table, version 1"


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """One row.

    Attributes:
        statement, source, setup: of the claim.
        predicted, measured: plain values (numbers, text, lists, {name: …}); None where there is none.
        rule: the rule's text.
        verdict: None only if the measure broke down.
        why: what spoke against the claim, why it is not testable here, or the error.
        beside, note: what the measure told besides the judged value.
        seconds: wall-clock time; a shared set-up counts for the first claim that asks for it.
    """

    statement: str
    source: str
    setup: str
    predicted: Any
    measured: Any
    rule: str
    verdict: Verdict | None
    why: str = ""
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """The verdict's word, ERROR if there is none."""
        return "ERROR" if self.verdict is None else self.verdict.value

    @property
    def found(self) -> str:
        """What was measured, its distance from a predicted number, and what is shown beside it, in words."""
        beside = [words(dict(self.beside))] if self.beside else []
        predicted, measured = _one_number(self.predicted), _one_number(self.measured)
        if predicted and math.isfinite(predicted) and math.isfinite(measured):
            beside.insert(0, f"off by {words(abs(measured / predicted - 1))} relative")
        return words(self.measured) + (f" ({'; '.join(beside)})" if beside else "")

    @property
    def remark(self) -> str:
        """Why and note together."""
        return "; ".join(text for text in (self.why, self.note) if text)


@dataclasses.dataclass(frozen=True)
class ClaimsTable:
    """What `reproduce` returns: every claim of a paper with its verdict.

    Attributes:
        name: name of the paper in the registry.
        title, reference, scope: of the paper.
        quick: whether the reduced sizes were run.
        rows: one per claim, in the paper's order.
        versions: {package: version} of what computed it.
    """

    name: str
    title: str
    reference: str
    scope: str
    quick: bool
    rows: tuple[ClaimResult, ...]
    versions: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> ClaimResult:
        return self.rows[index]

    def count(self, verdict: Verdict | None) -> int:
        """How many claims got this verdict (None: how many measures broke down)."""
        return sum(row.verdict is verdict for row in self.rows)

    @property
    def fails(self) -> bool:
        """Whether a verdict is FAILS (the exit code of the command rests on this)."""
        return self.count(Verdict.FAILS) > 0

    @property
    def errors(self) -> tuple[ClaimResult, ...]:
        """Rows whose measure broke down."""
        return tuple(row for row in self.rows if row.verdict is None)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all claims."""
        return sum(row.seconds for row in self.rows)

    @property
    def summary(self) -> str:
        """How many hold, in one line."""
        parts = [f"{self.count(Verdict.HOLDS)} of {len(self.rows)} claims hold"]
        for verdict, text in (
            (Verdict.FAILS, "fail"),
            (Verdict.NOT_CONFIRMED, "not confirmed"),
            (Verdict.NOT_TESTABLE_HERE, "not testable here"),
            (None, "without a verdict (error)"),
        ):
            if self.count(verdict):
                parts.append(f"{self.count(verdict)} {text}")
        return ", ".join(parts) + (" (quick sizes)" if self.quick else "")

    def to_json(self) -> str:
        """The table as JSON that any reader takes; `from_json` gives it back exactly."""
        rows = [
            encode(dataclasses.asdict(row) | {"verdict": None if row.verdict is None else row.verdict.name})
            for row in self.rows
        ]
        fields = {key: getattr(self, key) for key in ("name", "title", "reference", "scope", "quick")}
        content = {"format": FORMAT, **fields, "versions": dict(self.versions), "rows": rows}
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "ClaimsTable":
        """The table that `to_json` wrote.

        Raises:
            ClaimError: the text is not such a table.
        """
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ClaimError(f"not a claims table of this version: expected format {FORMAT!r}")
            rows = [decode(row) for row in content.pop("rows")]
            for row in rows:
                row["verdict"] = None if row["verdict"] is None else Verdict[row["verdict"]]
            return cls(**content, rows=tuple(ClaimResult(**row) for row in rows))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ClaimError(f"not a claims table: {error}") from error

    def save(self, file: str | Path) -> None:
        """Write the table as JSON."""
        Path(file).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, file: str | Path) -> "ClaimsTable":
        """Read a table that `save` wrote."""
        return cls.from_json(Path(file).read_text(encoding="utf-8"))

    def to_xarray(self):
        """The table as an `xarray.Dataset` over `claim`: texts, verdicts, seconds, and `value`, the measured
        number (NaN where not exactly one number was measured)."""
        import xarray

        def texts(items) -> np.ndarray:
            return np.array(list(items), dtype=object)

        columns = {
            "statement": texts(row.statement for row in self.rows),
            "source": texts(row.source for row in self.rows),
            "setup": texts(row.setup for row in self.rows),
            "predicted": texts(words(row.predicted) for row in self.rows),
            "measured": texts(row.found for row in self.rows),
            "rule": texts(row.rule for row in self.rows),
            "verdict": texts(row.word for row in self.rows),
            "remark": texts(row.remark for row in self.rows),
            "value": np.array([_one_number(row.measured) for row in self.rows]),
            "seconds": np.array([row.seconds for row in self.rows]),
        }
        attributes = {
            "name": self.name,
            "title": self.title,
            "reference": self.reference,
            "scope": self.scope,
        }
        attributes |= {
            "quick": int(self.quick),
            "summary": self.summary,
            "versions": json.dumps(dict(self.versions)),
        }
        coordinates = {"claim": np.arange(1, len(self.rows) + 1)}
        return xarray.Dataset(
            {key: ("claim", column) for key, column in columns.items()}, coordinates, attributes
        )

    def to_markdown(self) -> str:
        """The table as Markdown."""
        from thetadot.papers.rendering import markdown

        return markdown(self)

    def __rich__(self):
        from thetadot.papers.rendering import rich_table

        return rich_table(self)

    def __str__(self) -> str:
        from thetadot.papers.rendering import text

        return text(self)

    def _repr_html_(self) -> str:
        from thetadot.papers.rendering import html_table

        return html_table(self)


def _one_number(value: Any) -> float:
    counted = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if counted else float("nan")
