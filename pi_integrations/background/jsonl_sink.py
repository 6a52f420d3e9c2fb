"""Scores in a file, one JSON object a line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pi_integrations.background.any_json import any_json
from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.errors import PiUsageError
from pi_integrations.files import LockedFile

__all__ = ["JsonlSink"]


class JsonlSink:
    """Appends every score to a file, as one line of JSON, before `write` returns.

    Each line is written whole under a lock of the file, so several processes may append to one. A line that does not
    fit on the disk is taken back, and the score counts as failed. The file is opened for each score: it may be moved or
    deleted at any time, and a new one begins. A line has `time` (when it was written, UTC), `name`, `tags`,
    `llm_input`, `llm_output`, `result` (the API's answer), `metadata`, and with OpenTelemetry the hexadecimal
    `trace_id` and `span_id` of the span that was current at `submit`. Values that JSON does not have are written as
    `str` gives them, text that is not valid Unicode with escapes, and circular references as `...`.

    Args:
        path: The file; its folder must exist.

    Raises:
        PiUsageError: when the folder does not exist.

    Example:
        ```python
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer, JsonlSink

        with embedded() as client:
            rubric = [{"question": "Does the answer say where the order is?"}]
            with BackgroundScorer(rubric, client=client, sink=JsonlSink("scores.jsonl")) as scorer:
                scorer.submit(llm_input="Where is my order?", llm_output="It left our warehouse this morning.")
        ```
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise PiUsageError(f"there is no folder {self.path.parent} to write {self.path.name} in; make it first")

    def write(self, score: BackgroundScore) -> None:
        """Appends `score`.

        Raises:
            OSError: when it cannot be written; the file is then as it was.
        """
        line = any_json(_fields(score)) + b"\n"
        with LockedFile(self.path, wait=True) as file:
            file.append(line)


def _fields(score: BackgroundScore) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "time": datetime.now(UTC),
        "name": score.name,
        "tags": score.tags,
        "llm_input": score.llm_input,
        "llm_output": score.llm_output,
        "result": score.result.model_dump(mode="json", exclude_none=True),
        "metadata": score.metadata,
    }
    if score.span is not None:
        fields |= {"trace_id": f"{score.span.trace_id:032x}", "span_id": f"{score.span.span_id:016x}"}
    return fields
