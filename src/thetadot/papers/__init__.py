"""Reproduced papers: every claim with its prediction, its measurement, and a verdict that can be FAILS.

A paper is a module of this package that binds `PAPER`; nothing else registers it.
"""

from thetadot.papers.claims import Claim, Paper
from thetadot.papers.errors import ClaimError, NotTestableHereError, UnknownPaperError
from thetadot.papers.registry import load, names, titles
from thetadot.papers.reproduction import MeasurementError, Progress, reproduce
from thetadot.papers.rules import (
    Rule,
    above,
    all_of,
    at_least,
    at_most,
    below,
    between,
    decreasing,
    equals_prediction,
    holds_if,
    increasing,
    is_true,
    part,
    within,
)
from thetadot.papers.table import ClaimResult, ClaimsTable
from thetadot.papers.values import Measurement
from thetadot.papers.verdicts import Judgement, Verdict
from thetadot.papers.workbench import Workbench

__all__ = [
    "Claim",
    "ClaimError",
    "ClaimResult",
    "ClaimsTable",
    "Judgement",
    "Measurement",
    "MeasurementError",
    "NotTestableHereError",
    "Paper",
    "Progress",
    "Rule",
    "UnknownPaperError",
    "Verdict",
    "Workbench",
    "above",
    "all_of",
    "at_least",
    "at_most",
    "below",
    "between",
    "decreasing",
    "equals_prediction",
    "holds_if",
    "increasing",
    "is_true",
    "load",
    "names",
    "part",
    "reproduce",
    "titles",
    "within",
]
