"""JSON lines on disk: files that survive a crash and have one writer at a time."""

from pi_integrations.files.locked_file import LockedFile
from pi_integrations.files.resumable_jsonl import ResumableJsonl, run_digest

__all__ = ["LockedFile", "ResumableJsonl", "run_digest"]
