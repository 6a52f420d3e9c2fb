"""Scores in a file, one JSON object a line."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pi_integrations.background.any_json import any_json
from pi_integrations.background.process import reset_after_fork
from pi_integrations.background.sinks import BackgroundScore
from pi_integrations.errors import PiUsageError

__all__ = ["JsonlSink"]


class JsonlSink:
    """Appends every score to a file, as one line of JSON, and keeps nothing back.

    Each line is written whole under a lock of the file, so several processes may append to one. A line that does not
    fit on the disk is taken back, and the score counts as failed. The file is opened for each score: it may be moved or
    deleted at any time, and a new one begins. A line has `time` (when it was written, UTC), `name`, `tags`,
    `llm_input`, `llm_output`, `result` (what the API answers), `metadata`, and with OpenTelemetry the hexadecimal
    `trace_id` and `span_id` of the span that was current at `submit`. Values and keys of the metadata that JSON does
    not know are written as `str` gives them; what is no Unicode, such as some bytes, has escapes in its place, and
    where lists or mappings hold themselves stands `...`.

    Args:
        path: The file; its folder must exist.

    Raises:
        PiUsageError: when the folder is not there.

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
        self._files: set[int] = set()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Closes what another thread was writing to; called in a forked child, which would keep its lock."""
        for file in self._files:
            os.close(file)
        self._files = set()

    def write(self, score: BackgroundScore) -> None:
        """Appends `score`.

        Raises:
            OSError: when it cannot be written; the file is then as it was.
        """
        line = any_json(_fields(score)) + b"\n"
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._files.add(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _append(file, line)
        finally:
            self._files.discard(file)
            _unlock_and_close(file)


def _unlock_and_close(file: int) -> None:
    try:
        # Closing alone does not unlock what a process forked meanwhile has a copy of.
        fcntl.flock(file, fcntl.LOCK_UN)
    finally:
        os.close(file)


def _append(file: int, line: bytes) -> None:
    end = os.fstat(file).st_size
    if end and os.pread(file, 1, end - 1) != b"\n":
        # A process that was killed while it wrote left a part of a line.
        line = b"\n" + line
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError:
        if len(rest) < len(line):
            os.ftruncate(file, end)
        raise


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
