"""Tables, figure, costs and manifest of a suite; they are made from the run store and nothing else."""

from bench.report.manifest import is_current
from bench.report.summary import print_summary
from bench.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "is_current", "print_summary", "write_report"]
