"""A network as a person wants to know it: what is odd about it, and a page that tells everything."""

from .findings import PROBLEMS, Finding, findings, findings_table
from .write import report

__all__ = ["PROBLEMS", "Finding", "findings", "findings_table", "report"]
