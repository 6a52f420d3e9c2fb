"""The HTML report of a scored file: one page that needs nothing else."""

from pi_integrations.reports.score_report import write_report

__all__ = ["write_report"]
