"""What people look at: figures, and reports as one self-contained HTML file."""

from thetadot.report import figures
from thetadot.report.claims import claims_report
from thetadot.report.series import FigureError, Series
from thetadot.report.write import write_report

__all__ = ["FigureError", "Series", "claims_report", "figures", "write_report"]
