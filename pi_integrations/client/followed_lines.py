"""The lines of a job's stream, over as many connections as it takes: none is missed and none comes twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from pi_integrations.client.calls import Calls, JsonReader, Outgoing
from pi_integrations.client.connections import OpenStream
from pi_integrations.client.pacing import RetryPolicy
from pi_integrations.errors import PiConnectionError, PiResponseError
from pi_integrations.models import JobState
from pi_integrations.models.wire import STREAM_START_HEADER

__all__ = ["FollowedLines", "JobSnapshot", "Patience", "take_snapshot"]

_HEADERS = {"accept": "text/plain, application/json", "accept-encoding": "identity"}
_FINAL_MESSAGES = frozenset(state.value.encode() for state in JobState if state.final)
_LONGEST_LINE = 64 * 1024 * 1024
_DIGITS = 20


class FollowedLines:
    """One stream of one job, from line `start` on.

    Args:
        calls: Opens the connections.
        job: Path of the job.
        kind: `data` or `messages`.
        hints: See `status_error`.
        start: How many lines to leave out.

    Attributes:
        position: Number of the next line, counted from 0.
        path: Path of the stream.
    """

    def __init__(self, calls: Calls, job: str, kind: str, hints: Mapping[int, str], start: int) -> None:
        self.position = start
        self.path = f"{job}/{kind}"
        self._calls = calls
        self._job = job
        self._kind = kind
        self._hints = hints
        self._patience = Patience(calls.settings.retry)
        self._connection: _Connection | None = None
        self._connected_before = False
        self._job_ended = False
        self._count: int | None = None
        self._last_line = b""
        self._unfinished = (-1, b"")

    async def next(self) -> list[bytes] | None:
        """The lines that have arrived since the last call, at least one; None after the last line of an ended job.

        Raises:
            PiConnectionError: when no line came for `RetryPolicy.total` seconds.
            PiStatusError: when the service refuses, such as 404 for another key's job.
            PiResponseError: when the answer is not a stream of lines.
        """
        try:
            return await self._next()
        except PiConnectionError as error:
            if self._connected_before:
                error.args = (f"{error} The job may well go on: read on with start={self.position}.",)
            raise

    async def aclose(self) -> None:
        """Closes the connection; `next` would open a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.stream.aclose()

    def drop(self) -> None:
        """Closes the connection without waiting; lines on their way are read again by the next call."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.drop()

    async def _next(self) -> list[bytes] | None:
        while True:
            connection = self._connection or await self._connect()
            try:
                lines = await connection.read()
            except PiConnectionError as error:
                await self._after_cut(error, connection)
                continue
            if lines is None:
                await self.aclose()
                lines = await self._unterminated_line(connection)
                if not lines and not connection.rest and await self._is_complete(connection):
                    return None
            if lines:
                return self._advance(lines)

    def _advance(self, lines: list[bytes]) -> list[bytes]:
        self.position += len(lines)
        self._last_line = lines[-1]
        self._patience.renew()
        return lines

    async def _connect(self) -> _Connection:
        path = f"{self.path}?start={self.position}" if self.position else self.path
        request = Outgoing("GET", path, headers=_HEADERS, hints=self._hints, patient=self._connected_before)
        stream = await self._calls.open(request)
        try:
            self._connection = _Connection(stream, f"GET {self.path}", self.position, after_end=self._job_ended)
        except PiResponseError:
            await stream.aclose()
            raise
        self._connected_before = True
        return self._connection

    async def _after_cut(self, error: PiConnectionError, connection: _Connection) -> None:
        """Waits before the next connection; raises `error` when there were too many."""
        await self.aclose()
        settings = self._calls.settings
        # A quiet job is no failure, and proxies cut quiet connections.
        if connection.age >= min(settings.retry.maximum, settings.timeout) and not await self._has_ended():
            self._patience.renew()
        else:
            await self._patience.wait(error)

    async def _is_complete(self, connection: _Connection) -> bool:
        """Whether a stream that ended in good order has no further line.

        A stopping engine also ends its streams in good order while its jobs continue elsewhere. So the end counts only
        when the job had ended before the connection was made, or when the status gives the number of lines.
        """
        if self._kind == "messages" and self._last_line in _FINAL_MESSAGES:
            return True
        if connection.after_end and (connection.framed or not connection.fruitful):
            return True
        if await self._has_ended():
            return self._count is not None and self.position >= self._count
        await self._patience.pace()
        return False

    async def _unterminated_line(self, connection: _Connection) -> list[bytes]:
        """A last line without a line feed: read again, and returned when it is the same twice."""
        seen = (self.position, connection.rest)
        if not connection.rest or seen == self._unfinished:
            return [connection.rest] if connection.rest else []
        self._unfinished = seen
        await self._patience.wait(PiConnectionError(f"GET {self.path} ended in the middle of a line."))
        return []

    async def _has_ended(self) -> bool:
        snapshot = await take_snapshot(self._calls, self._job, self._hints, patient=True)
        self._count = snapshot.lines(self._kind)
        self._job_ended = snapshot.state.final
        return self._job_ended


class _Connection:
    """New lines of one opened `stream`; a service that always begins at line 0 has the known ones skipped.

    Lines end at line feeds alone: a text may hold every other line separator.

    Attributes:
        after_end: Whether the job was known to have ended before the stream was opened.
        fruitful: Whether it has brought a new line.
        framed: Whether the end of a complete body can be told from a cut.
    """

    def __init__(self, stream: OpenStream, request: str, start: int, *, after_end: bool) -> None:
        _refuse_web_page(stream.headers, request)
        self.stream = stream
        self.after_end = after_end
        self.fruitful = False
        self.framed = stream.framed
        self._request = request
        self._opened = time.monotonic()
        self._to_skip = start - _first_line(stream.headers, request, start)
        self._begun: list[bytes] = []
        self._size = 0

    async def read(self) -> list[bytes] | None:
        """The new lines in what has arrived, maybe none; None at the end of a complete body."""
        chunk = await self.stream.read()
        if not chunk:
            return None
        lines = self._split(chunk)
        skipped = min(self._to_skip, len(lines))
        self._to_skip -= skipped
        self.fruitful = self.fruitful or skipped < len(lines)
        return lines[skipped:]

    @property
    def rest(self) -> bytes:
        """What came after the last line feed, if it is new."""
        return b"" if self._to_skip else b"".join(self._begun)

    @property
    def age(self) -> float:
        """Seconds since it was opened."""
        return time.monotonic() - self._opened

    def _split(self, chunk: bytes) -> list[bytes]:
        first, *more = chunk.split(b"\n")
        self._begun.append(first)
        self._size += len(first)
        if self._size > _LONGEST_LINE:
            raise PiResponseError(f"{self._request} sends a line without an end: over 64 MiB so far.")
        if not more:
            return []
        lines = [b"".join(self._begun), *more[:-1]]
        self._begun, self._size = [more[-1]], len(more[-1])
        return lines


def _refuse_web_page(headers: Mapping[str, str], request: str) -> None:
    kind = headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        raise PiResponseError(f"{request} answered with a web page ({kind}). Check that base_url points at a Pi API.")


def _first_line(headers: Mapping[str, str], request: str, start: int) -> int:
    """Number of the first line on the stream; 0 when the service does not say."""
    text = headers.get(STREAM_START_HEADER, "")
    first = int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0
    if first > start:
        raise PiResponseError(
            f"{request} was requested from line {start} on and begins at line {first}: some are missing."
        )
    return first


class Patience:
    """The waits after failures since the last progress, `RetryPolicy.total` seconds in all; none with `attempts=1`.

    Counted by time, since an engine that is being restarted is away for longer than a few attempts last.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.renew()

    def renew(self) -> None:
        """Starts counting anew, after progress."""
        self._failures = 0
        self._since: float | None = None

    async def pace(self) -> None:
        """Waits as after a failure, for a service that is well and has nothing new."""
        self._failures += 1
        await asyncio.sleep(self._policy.pause(self._failures))

    async def wait(self, error: PiConnectionError) -> None:
        """Waits after a failure, not at all after the first; raises `error` when the time is used up."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._failures += 1
        pause = self._policy.pause(self._failures - 1) if self._failures > 1 else 0.0
        if self._policy.attempts == 1 or now + pause - self._since > self._policy.total:
            spent = now - self._since
            error.args = (f"{error} No new line came on {self._failures} connections in {spent:.1f} s.",)
            raise error
        await asyncio.sleep(pause)


class JobSnapshot(BaseModel):
    """A job's state and the number of its lines, without its items."""

    state: JobState
    data: list[Any] | None = None
    detailed_status: list[Any] | None = None
    error: str | None = None
    stopped: str | None = None

    def lines(self, kind: str) -> int | None:
        """Lines of the stream `kind` so far; None when the status does not hold them."""
        found = self.data if kind == "data" else self.detailed_status
        return None if found is None else len(found)


_read_snapshot = JsonReader[JobSnapshot](JobSnapshot, "a job status")


async def take_snapshot(calls: Calls, job: str, hints: Mapping[int, str], *, patient: bool = False) -> JobSnapshot:
    """A snapshot of the job whose path is `job`."""
    # An engine that knows `data=false` leaves the items out.
    request = Outgoing("GET", f"{job}?data=false", hints=hints, patient=patient)
    return await calls.run(request, _read_snapshot)
