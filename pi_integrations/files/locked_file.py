"""A file that is appended to under an exclusive lock."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LockedFile", "has_locks"]

_open: set[LockedFile] = set()


def has_locks() -> bool:
    """Whether this system has file locks; without them, two writers are not told apart."""
    return fcntl is not None


class LockedFile:
    """`path`, created if it is missing, open for appending and locked until `close`.

    The lock is `flock`'s: released when the process dies, and not taken on file systems that have none.

    Args:
        path: The file.
        wait: Whether to wait while another process has it locked, instead of raising.

    Raises:
        BlockingIOError: when another process has it locked, unless `wait`.
        OSError: when the file cannot be opened for writing.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self._file = path.open("a+b", buffering=0)
        _open.add(self)
        try:
            self._lock(wait)
        except BaseException:
            self.close()
            raise

    def _lock(self, wait: bool) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks
                return

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def is_at(self, path: Path) -> bool:
        """Whether `path` still leads to this file: it may have been deleted or replaced."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), path.stat())
        except FileNotFoundError:
            return False

    def append(self, line: bytes) -> None:
        """Appends `line`, which ends with a line feed, on a line of its own.

        Raises:
            OSError: when it cannot be written; the file is then as it was.
        """
        end = self._file.seek(0, os.SEEK_END)
        if end and self._last_byte() != b"\n":  # the torn line of a process that was killed
            line = b"\n" + line
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            if len(rest) < len(line):
                self._file.truncate(end)
            raise

    def _last_byte(self) -> bytes:
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1)

    def cut(self, size: int) -> None:
        """Removes everything after the first `size` bytes."""
        self._file.truncate(size)

    def close(self) -> None:
        """Unlocks and closes the file; harmless when repeated."""
        if self._file.closed:
            return
        _open.discard(self)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                # Closing alone leaves the lock with copies of the descriptor in processes forked meanwhile.
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()

    def _close_copy(self) -> None:
        # Without unlocking: parent and child share one lock.
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_copies() -> None:
    """Closes a forked child's copies, which would keep files locked after the parent died."""
    for file in list(_open):
        file._close_copy()
    _open.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_copies)
