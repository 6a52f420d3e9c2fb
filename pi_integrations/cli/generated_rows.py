"""Generated rows as JSON lines, appended as they come; a job that was left is gone on with where its rows end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from pi_integrations.cli.held_file import HeldFile
from pi_integrations.datasets.jsonl_file import is_torn
from pi_integrations.errors import PiUsageError

__all__ = ["RowsFile"]


class RowsFile:
    """Appends to `path`, whose rows of other jobs stay as they are. Nothing in it is touched before the first row.

    Raises:
        PiUsageError: when the file holds anything but generated rows, cannot be used, or is being written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, int] = {}
        self._whole = 0
        self._writer: IO[bytes] | None = None
        if path.exists() and not path.is_file():
            raise PiUsageError(f"{path} is not a regular file; choose another --output")
        if not path.absolute().parent.is_dir():
            raise PiUsageError(f"{path}: its folder does not exist; make it, or choose another --output")
        try:
            self._held = HeldFile(path)
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._take_stock()
        except BaseException as error:
            self._held.release()
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise

    def _take_stock(self) -> None:
        """Counts the rows of each job, up to a last line that was cut off."""
        with self._path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if is_torn(line, '{"id": "'):
                    return
                row = _row(line) if line.endswith(b"\n") else None
                if row is None or row["index"] != self._counts.get(row["job_id"], 0):
                    raise PiUsageError(
                        f"{self._path} line {number} is no row that follows the ones before it, as `generate` writes"
                        " them; choose another --output"
                    )
                self._counts[row["job_id"]] = row["index"] + 1
                self._whole += len(line)

    @property
    def name(self) -> str:
        """For people."""
        return str(self._path)

    def count(self, job_id: str) -> int:
        """How many rows of a job are there."""
        return self._counts.get(job_id, 0)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends one row, whole and at once.

        Raises:
            PiUsageError: when the disk does not take it; the job goes on, and is gone on with from what is there.
        """
        try:
            if self._writer is None:
                self._writer = self._begin()
            self._writer.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._writer.flush()
        except OSError as error:
            raise self._failed(error) from None
        self._counts[row["job_id"]] = row["index"] + 1

    def _begin(self) -> IO[bytes]:
        writer = self._path.open("ab")
        writer.truncate(self._whole)
        return writer

    def _failed(self, error: OSError) -> PiUsageError:
        return PiUsageError(
            f"cannot use {self._path}: {error.strerror}. Choose another --output, or make room and go on with --job"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._held.release()


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    known = isinstance(row, dict) and isinstance(row.get("job_id"), str) and isinstance(row.get("index"), int)
    return row if known else None
