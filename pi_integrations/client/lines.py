"""Bytes as they arrive, cut into lines."""

from __future__ import annotations

from pi_integrations.errors import PiResponseError

__all__ = ["LineSplitter"]

_LONGEST_BYTES = 64 * 1024 * 1024


class LineSplitter:
    """Splits at line feeds alone, whatever else a text may hold.

    Args:
        asked: The request, for errors.

    Example:
        >>> splitter = LineSplitter("GET /x")
        >>> splitter.feed(b"one\\ntw"), splitter.feed(b"o\\n"), splitter.rest
        ([b'one'], [b'two'], b'')
    """

    def __init__(self, asked: str) -> None:
        self._asked = asked
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their line feeds.

        Raises:
            PiResponseError: when a line is longer than 64 MiB.
        """
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        first, *more = chunk.split(b"\n")
        whole = b"".join([*self._begun, first])
        self._begun, self._size = [], 0
        self._keep(more.pop())
        return [whole, *more]

    @property
    def rest(self) -> bytes:
        """What came after the last line feed."""
        return b"".join(self._begun)

    def _keep(self, piece: bytes) -> None:
        self._begun.append(piece)
        self._size += len(piece)
        if self._size > _LONGEST_BYTES:
            raise PiResponseError(f"{self._asked} sends a line without an end: over 64 MiB so far.")
