"""A JSONL file that one process writes to at a time, and that a later run continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

from pi_integrations.errors import PiUsageError
from pi_integrations.files.locked_file import LockedFile, has_locks

__all__ = ["Check", "ResumableJsonl", "run_digest"]

Check: TypeAlias = Callable[[dict[str, Any], int], str | None]
"""Called with each line's object (empty for a line that holds none) and the offset it begins at; returns None, or why
the file is not one to continue."""


def run_digest(**parts: Any) -> str:
    """16 hexadecimal digits that identify a run by `parts`, which are JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class ResumableJsonl:
    """A JSONL file, locked from here to `close`; a context manager.

    The lines of former runs are read once, here. A torn last line, which a crash left, is cut off before the first line
    is appended; until then the file is not changed. A file that did not exist is removed again if nothing was written.

    Args:
        path: The file; created if it is missing.
        check: Sees every whole line; None for a file whose contents the first `append` replaces.
        head: How every line begins. Only a last line that begins like this, too, counts as torn.
        other: What to choose instead of the file, for error messages: `another --output`.
        resume: How to continue after an error, for error messages: `run the same command again`.

    Raises:
        PiUsageError: when `check` refuses a line, when another process writes to the file, or when it cannot be used.

    Example:
        ```python
        from pathlib import Path
        from pi_integrations.files import ResumableJsonl

        numbers = []

        def check(entry, offset):
            numbers.append(entry.get("number"))
            return None if numbers[-1] is not None else "has no number; choose another file"

        names = {"head": '{"number": ', "other": "another file", "resume": "try again"}
        with ResumableJsonl(Path("numbers.jsonl"), check, **names) as file:
            for number in range(len(numbers), 100):
                file.append({"number": number})
        ```
    """

    def __init__(self, path: Path, check: Check | None, *, head: str, other: str, resume: str) -> None:
        self._path = path
        self._head = head.encode()
        self._other = other
        self._resume = resume
        self._whole = 0
        self._is_clean = False
        self._reader: IO[bytes] | None = None
        try:
            self._is_new = self._is_missing()
            self._file = self._locked()
            try:
                self._reader = path.open("rb")
                if check is not None:
                    self._read(self._reader, check)
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise self._failed(error) from None

    def _is_missing(self) -> bool:
        if not self._path.absolute().parent.is_dir():
            raise PiUsageError(f"{self._path}: its folder does not exist; make it, or choose {self._other}")
        if not self._path.exists():
            return True
        if not self._path.is_file():
            raise PiUsageError(f"{self._path} is not a regular file; choose {self._other}")
        return False

    def _locked(self) -> LockedFile:
        while True:
            try:
                file = LockedFile(self._path)
            except BlockingIOError:
                raise PiUsageError(
                    f"another process is writing to {self._path}; wait until it has ended, or choose {self._other}"
                ) from None
            if file.is_at(self._path):
                return file
            file.close()  # deleted or replaced between opening and locking

    def _read(self, lines: IO[bytes], check: Check) -> None:
        for number, line in enumerate(lines, start=1):
            if self._is_torn(line):
                return
            if reason := check(_entry(line), self._whole):
                raise PiUsageError(f"{self._path} line {number} {reason}")
            self._whole += len(line)

    def _is_torn(self, line: bytes) -> bool:
        return not line.endswith(b"\n") and (line.startswith(self._head) or self._head.startswith(line))

    def entry_at(self, offset: int) -> dict[str, Any]:
        """The object on the line that begins at `offset`."""
        return _entry(self._line_at(offset))

    def _line_at(self, offset: int) -> bytes:
        assert self._reader is not None
        self._reader.seek(offset)
        return self._reader.readline()

    def begin(self) -> None:
        """Cuts off a torn last line now, and keeps the file even if nothing is written to it.

        Raises:
            PiUsageError: when the file cannot be changed.
        """
        self._repair()
        self._is_new = False

    def _repair(self) -> None:
        if self._is_clean:
            return
        try:
            if self._file.size > self._whole:
                self._file.cut(self._whole)
        except OSError as error:
            raise self._failed(error) from None
        self._is_clean = True

    def append(self, entry: Mapping[str, Any]) -> None:
        """Appends one line, in one write.

        Raises:
            PiUsageError: when the disk does not take it; the lines before it stay.
            ValueError: when `entry` is not JSON, NaN included.
        """
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        self._repair()
        try:
            self._file.append(line)
        except OSError as error:
            raise self._failed(error) from None

    def keep_only(self, offsets: Iterable[int]) -> list[int]:
        """New offsets of the lines at `offsets`, in order: the file is replaced, atomically, by one with only those.

        To be called before the first `append`.

        Raises:
            PiUsageError: when the disk has no room for both files; this one is then as it was.
        """
        places = [0]
        draft = self._path.with_name(self._path.name + ".resume")
        try:
            with draft.open("wb") as new:
                for offset in offsets:
                    places.append(places[-1] + new.write(self._line_at(offset)))
            self._replace_with(draft)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise self._failed(error) from None
        self._whole, self._is_clean = places.pop(), True
        return places

    def _replace_with(self, draft: Path) -> None:
        assert self._reader is not None
        if has_locks():
            new = LockedFile(draft)  # before the move, so that nobody else gets the lock
            try:
                draft.replace(self._path)
            except OSError:
                new.close()
                raise
            self._file.close()
        else:
            self._file.close()  # Windows replaces no file that is open
            self._reader.close()
            draft.replace(self._path)
            new = LockedFile(self._path)
        self._reader.close()
        self._file, self._reader = new, self._path.open("rb")

    def close(self) -> None:
        """Unlocks the file, and removes it if it is new and empty."""
        if self._reader is not None:
            self._reader.close()
        with suppress(OSError, ValueError):
            if self._is_new and not self._file.size and self._file.is_at(self._path):
                self._path.unlink()
        self._file.close()

    def _failed(self, error: OSError) -> PiUsageError:
        reason = error.strerror or error
        return PiUsageError(
            f"cannot write {self._path}: {reason}. Choose {self._other}, or make room and {self._resume}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OSError as failed:
            if error is None:
                raise self._failed(failed) from None


def _entry(line: bytes) -> dict[str, Any]:
    """The object on a whole line; empty for anything else."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
