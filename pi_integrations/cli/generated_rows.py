"""Generated rows as JSON lines, in a file or on standard output, written as they come."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pi_integrations.errors import PiUsageError
from pi_integrations.files import ResumableJsonl

__all__ = ["RowsFile", "RowsStream"]


class RowsFile:
    """Appends rows to `path`, behind those of any job that are there already.

    Raises:
        PiUsageError: when the file holds anything but generated rows, cannot be used, or is being written to.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._counts: Counter[str] = Counter()
        self._file = ResumableJsonl(
            path, self._check, head='{"id": "', other="another --output", resume="continue the job with --job"
        )

    def _check(self, row: dict[str, Any], offset: int) -> str | None:
        job_id = row.get("job_id")
        if not isinstance(job_id, str) or row.get("index") != self._counts[job_id]:
            return "does not continue the rows before it as `generate` writes them; choose another --output"
        self._counts[job_id] += 1
        return None

    def count(self, job_id: str) -> int:
        """Number of the job's rows in the file."""
        return self._counts[job_id]

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one row.

        Raises:
            PiUsageError: when the disk does not take it; the job goes on, and the rows before it stay.
        """
        self._file.append(row)
        self._counts[row["job_id"]] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)


class RowsStream:
    """Writes every row of a job to standard output; used as `RowsFile` is."""

    name = "standard output"

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, job_id: str) -> int:
        """Number of the job's rows written."""
        return self._counts[job_id]

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row at once.

        Raises:
            BrokenPipeError: when the reader has gone.
            PiUsageError: when it cannot be written for another reason.
        """
        try:
            sys.stdout.buffer.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise PiUsageError(f"cannot write to standard output: {error.strerror}; give --output FILE") from None
        self._counts[row["job_id"]] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        """Leaves standard output open."""
