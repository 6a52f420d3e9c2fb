"""Generated rows as JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from pi_integrations.errors import PiUsageError

__all__ = ["RowsStream"]


class RowsStream:
    """Writes every row of a job from the first on, as they come; used as `RowsFile` is."""

    name = "standard output"

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, job_id: str) -> int:
        """How many rows of a job were written."""
        return self._counts[job_id]

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes one row, whole and at once.

        Raises:
            BrokenPipeError: when nobody reads any more.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing: standard output stays open."""
