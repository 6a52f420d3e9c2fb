"""One writer at a time for a file of rows."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # not on this system: two writers are then not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock"]


def lock(file: IO[bytes]) -> bool:
    """Whether an open file is this one's alone to write to, until it is closed; True too where files have no locks."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True
