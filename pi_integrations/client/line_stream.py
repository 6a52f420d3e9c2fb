"""One opening of a job's stream: its new lines, and what its end says."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pi_integrations.client.lines import LineSplitter
from pi_integrations.client.streams import OpenStream
from pi_integrations.errors import PiResponseError
from pi_integrations.models.wire import STREAM_START_HEADER

__all__ = ["LineStream"]

_DIGITS = 20


class LineStream:
    """The lines of `stream` from number `start` on. A service that sends them all again has those before skipped.

    Attributes:
        after_end: Whether the job was known to have ended before the stream was opened.
        fruitful: Whether it has given a line.
        framed: Whether the end of a whole body can be told from a cut.

    Raises:
        PiResponseError: when the answer is a web page, or begins behind `start`.
    """

    def __init__(self, stream: OpenStream, asked: str, start: int, *, after_end: bool) -> None:
        _check_kind(stream.headers, asked)
        self.after_end = after_end
        self.fruitful = False
        self.framed = stream.framed
        self._stream = stream
        self._opened = time.monotonic()
        self._to_skip = start - _first_line(stream.headers, asked, start)
        self._splitter = LineSplitter(asked)

    async def read(self) -> list[bytes] | None:
        """The new lines among what has arrived, maybe none; None at the end of a whole body.

        Raises:
            PiConnectionError: when it is cut off or silent.
            PiResponseError: when a line has no end.
        """
        chunk = await self._stream.read()
        if not chunk:
            return None
        lines = self._splitter.feed(chunk)
        skipped = min(self._to_skip, len(lines))
        self._to_skip -= skipped
        self.fruitful = self.fruitful or skipped < len(lines)
        return lines[skipped:]

    @property
    def rest(self) -> bytes:
        """What came after the last line feed, if it is new."""
        return b"" if self._to_skip else self._splitter.rest

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    def drop(self) -> None:
        """Ends the request, without waiting."""
        self._stream.drop()

    async def aclose(self) -> None:
        """Ends the request."""
        await self._stream.aclose()


def _check_kind(headers: Mapping[str, str], asked: str) -> None:
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise PiResponseError(f"{asked} answered with a web page ({kind}). Check that base_url points at a Pi API.")


def _first_line(headers: Mapping[str, str], asked: str, start: int) -> int:
    """The number of the first line that comes: 0 of a service that knows no other."""
    said = headers.get(STREAM_START_HEADER, "")
    first = int(said) if said.isascii() and said.isdecimal() and len(said) < _DIGITS else 0
    if first > start:
        raise PiResponseError(f"{asked} was asked for lines from {start} on and begins at {first}: some are missing.")
    return first
