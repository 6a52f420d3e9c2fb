"""Rows of a synthetic-data job, as they come: `PiDataset`, and its exports."""

from pi_integrations.datasets.dataset import PiDataset
from pi_integrations.datasets.rows import DatasetCounts, DatasetRow, JobSource

__all__ = ["DatasetCounts", "DatasetRow", "JobSource", "PiDataset"]
