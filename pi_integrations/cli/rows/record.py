"""One raw record of a file, before its columns are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """Values by column name, or the `error` that kept them from being read.

    Attributes:
        number: 1-based: the line of a JSONL file, the data row of a CSV file.
        where: The same in words, for messages: `line 7`, `row 3 (line 9)`.
    """

    number: int
    where: str
    values: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
