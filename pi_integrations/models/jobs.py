"""What every family of jobs shares on the wire: states, statuses, and rows of a stream as single lines."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["JobState", "JobStatus", "decode_text", "encode_json", "encode_text"]

# Line breaks to `str.splitlines` that JSON may carry unescaped; some clients split with it.
_BREAKS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobState.DONE, JobState.ERROR, JobState.CANCELLED)


class JobStatus(BaseModel):
    """The status of a job of any family. Fields that this version does not know are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    job_id: str
    """Identifies the job within its family."""
    state: JobState
    """Where it stands."""
    detailed_status: list[str] = Field(default_factory=list)
    """The message lines so far; the first is LAUNCHING, the last of a finished job its state."""
    created: float | None = None
    """When it was started, in seconds since 1970; an addition of this engine."""
    error: str | None = None
    """Why the job ended in ERROR; an addition of this engine."""


def encode_json(value: Any) -> str:
    """`value` as one line of JSON, without any character that a reader might take for a line break.

    Example:
        >>> encode_json({"llm_input": "Hi\\n"})
        '{"llm_input":"Hi\\\\n"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_BREAKS)


def encode_text(text: str) -> str:
    """`text` as it is; as a JSON string when it has line breaks, is empty, or would read as a JSON string.

    Example:
        >>> encode_text("Where is my order?"), encode_text("one\\ntwo")
        ('Where is my order?', '"one\\\\ntwo"')
    """
    return text if text.splitlines() == [text] and decode_text(text) == text else encode_json(text)


def decode_text(line: str) -> str:
    """The text that `encode_text` made `line` of; a bare line of a service that never encodes is itself.

    Example:
        >>> decode_text('"one\\\\ntwo"') == "one\\ntwo", decode_text('"quoted" word')
        (True, '"quoted" word')
    """
    if line.startswith('"'):
        try:
            value = json.loads(line)
        except ValueError:
            return line
        if isinstance(value, str):
            return value
    return line
