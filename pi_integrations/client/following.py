"""A job's stream of lines, followed over as many connections as it takes: none is missed, none comes twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pi_integrations.client.calls import Calls, Outgoing
from pi_integrations.client.line_stream import LineStream
from pi_integrations.client.patience import Patience
from pi_integrations.client.peek import peek
from pi_integrations.errors import PiConnectionError, PiResponseError
from pi_integrations.models import JobState

__all__ = ["Following", "StreamName"]

_HEADERS = {"accept": "text/plain, application/json", "accept-encoding": "identity"}
_LAST_WORDS = frozenset(state.value.encode() for state in JobState if state.final)


@dataclass(frozen=True, slots=True)
class StreamName:
    """One stream of one job: `kind` is `data` or `messages`, `job` the job's path; `hints` are `status_error`'s."""

    job: str
    kind: str
    hints: Mapping[int, str]

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self.job}/{self.kind}"


class Following:
    """Reads one stream from line `start` on, counted from 0.

    Attributes:
        given: How many lines of the stream came before the next one.
    """

    def __init__(self, calls: Calls, name: StreamName, start: int) -> None:
        self.given = start
        self._calls = calls
        self._name = name
        self._patience = Patience(calls.settings.retry)
        self._connection: LineStream | None = None
        self._connected_before = False
        self._job_ended = False
        self._count: int | None = None
        self._last_line = b""
        self._unfinished = (-1, b"")

    async def next(self) -> list[bytes] | None:
        """The lines that have arrived since, at least one; None after the last of a job that has ended.

        Raises:
            PiConnectionError: when for `RetryPolicy.total` seconds no line was had.
            PiStatusError: when the service refuses, such as 404 for a job of somebody else.
            PiResponseError: when it sends something other than lines.
        """
        try:
            return await self._next()
        except PiConnectionError as error:
            if self._connected_before:
                error.args = (f"{error} The job may well go on: read on with start={self.given}.",)
            raise

    async def aclose(self) -> None:
        """Closes what is open; `next` would open it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()

    def drop(self) -> None:
        """Closes what is open without waiting, and whatever was on its way with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()

    async def _next(self) -> list[bytes] | None:
        while True:
            connection = self._connection or await self._connect()
            try:
                lines = await connection.read()
            except PiConnectionError as error:
                await self._cut(error, connection)
                continue
            if lines is None:
                await self.aclose()
                lines = await self._half_line(connection)
                if not lines and not connection.rest and await self._over(connection):
                    return None
            if lines:
                return self._taken(lines)

    def _taken(self, lines: list[bytes]) -> list[bytes]:
        self.given += len(lines)
        self._last_line = lines[-1]
        self._patience.renew()
        return lines

    async def _connect(self) -> LineStream:
        path = f"{self._name.path}?start={self.given}" if self.given else self._name.path
        request = Outgoing("GET", path, headers=_HEADERS, hints=self._name.hints, patient=self._connected_before)
        stream = await self._calls.open(request)
        try:
            self._connection = LineStream(stream, f"GET {self._name.path}", self.given, after_end=self._job_ended)
        except PiResponseError:
            await stream.aclose()
            raise
        self._connected_before = True
        return self._connection

    async def _cut(self, error: PiConnectionError, connection: LineStream) -> None:
        """After a cut or a silence: waits a little, or raises the error when there were too many."""
        await self.aclose()
        settings = self._calls.settings
        # A quiet job is no failure, and what is quiet is cut by proxies.
        if connection.age >= min(settings.retry.maximum, settings.timeout) and not await self._has_ended():
            self._patience.renew()
        else:
            await self._patience.wait(error)

    async def _over(self, connection: LineStream) -> bool:
        """Whether no line comes after an end in good order.

        An engine that is stopped ends its streams in good order too, and its jobs go on elsewhere. So an end counts
        when the job had ended before the connection was made, or when the service says how many lines there are.
        """
        if self._name.kind == "messages" and self._last_line in _LAST_WORDS:
            return True
        if connection.after_end and (connection.framed or not connection.fruitful):
            return True
        if await self._has_ended():
            return self._count is not None and self.given >= self._count
        await self._patience.pace()
        return False

    async def _half_line(self, connection: LineStream) -> list[bytes]:
        """A last line without a line feed: read again, and given when it is the same twice."""
        seen = (self.given, connection.rest)
        if not connection.rest or seen == self._unfinished:
            return [connection.rest] if connection.rest else []
        self._unfinished = seen
        error = PiConnectionError(f"GET {self._name.path} ended in the middle of a line.")
        await self._patience.wait(error)
        return []

    async def _has_ended(self) -> bool:
        seen = await peek(self._calls, self._name.job, self._name.hints, patient=True)
        self._count = seen.lines(self._name.kind)
        self._job_ended = seen.state.final
        return self._job_ended
