"""An output file that one command writes to at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from pi_integrations.datasets.file_lock import lock
from pi_integrations.errors import PiUsageError

__all__ = ["HeldFile"]


class HeldFile:
    """Holds `path` until `release`; a file that is missing is made, and goes again if nothing was written to it.

    Raises:
        PiUsageError: when another command holds it.
        OSError: when it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = not path.exists()
        while True:
            self._file: IO[bytes] = path.open("ab")
            if not lock(self._file):
                self._file.close()
                raise PiUsageError(
                    f"another command is writing to {path}; wait until it has ended, or choose another --output"
                )
            if self._is_there():
                return
            # Whoever held it removed or replaced it meanwhile.
            self._file.close()

    def _is_there(self) -> bool:
        """Whether what is held is what the path leads to."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def replace_with(self, draft: Path) -> None:
        """Puts `draft` in the file's place, held from its first moment there."""
        new = draft.open("ab")
        lock(new)
        draft.replace(self._path)
        self._file.close()
        self._file = new

    def release(self) -> None:
        """Lets the file go."""
        with suppress(OSError):
            if self._made and self._is_there() and not self._path.stat().st_size:
                self._path.unlink()
        self._file.close()
