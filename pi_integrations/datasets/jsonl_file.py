"""A JSONL file of one job's rows that is appended to, and gone on with after a crash."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pi_integrations.datasets.file_lock import lock
from pi_integrations.datasets.row import Row
from pi_integrations.errors import PiUsageError

__all__ = ["JsonlFile", "is_torn"]


class JsonlFile:
    """Rows of the job `job_id`, one JSON object a line; a context manager.

    Attributes:
        next_index: Number of the first row that is not in the file.
        written: Rows appended since it was opened.
    """

    def __init__(self, path: Path, job_id: str) -> None:
        self._path = path
        self._job_id = job_id
        self._file: IO[bytes]
        self.next_index = 0
        self.written = 0

    def __enter__(self) -> Self:
        """Opens the file and cuts off a last line that is not whole.

        Raises:
            PiUsageError: when it holds anything but this job's rows, or is being written to.
        """
        try:
            self._path.touch(exist_ok=True)
            self._file = self._path.open("r+b")
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        try:
            if not lock(self._file):
                raise self._refused("another process is writing to it")
            self._take_stock()
        except BaseException:
            self._file.close()
            raise
        return self

    def _take_stock(self) -> None:
        whole = 0
        for line in self._file:
            entry = _entry(line)
            if is_torn(line, f'{{"id": "{self._job_id}-'):
                break
            index = entry.get("index") if entry else None
            if entry is None or entry.get("job_id") != self._job_id or not isinstance(index, int):
                raise self._refused(f"it holds something other than rows of job {self._job_id}")
            self.next_index = index + 1
            whole += len(line)
        self._file.seek(whole)
        self._file.truncate()

    def write(self, row: Row) -> None:
        """Appends one row, whole and at once.

        Raises:
            PiUsageError: when the disk does not take it; the same call later goes on from there.
        """
        try:
            self._file.write(json.dumps(row.as_dict(), allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._refused(f"{error.strerror}; make room and go on with the same file") from None
        self.written += 1

    def _refused(self, reason: str) -> PiUsageError:
        return PiUsageError(f"cannot write rows to {self._path}: {reason}. Choose another file, or mend this one")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as failed:
            if error is None:
                raise self._refused(str(failed.strerror)) from None


def is_torn(line: bytes, head: str) -> bool:
    """Whether `line` is a cut-off beginning of a line that begins with `head`; anything else is nobody's to remove."""
    start = head.encode()
    return not line.endswith(b"\n") and (line.startswith(start) or start.startswith(line))


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
