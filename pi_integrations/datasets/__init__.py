"""Rows of a synthetic-data job, as they come: `PiDataset`, and what they can be turned into."""

from pi_integrations.datasets.dataset import DatasetCounts, PiDataset
from pi_integrations.datasets.row import Row
from pi_integrations.datasets.source import JobSource

__all__ = ["DatasetCounts", "JobSource", "PiDataset", "Row"]
