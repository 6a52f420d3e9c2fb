"""What every request of a client goes through: its key, its slot, its retries."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pi_integrations.client.connections import Connections
from pi_integrations.client.limiter import Limiter
from pi_integrations.client.refusals import status_error
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.streams import OpenStream
from pi_integrations.client.transport import Answer, ByteStream, Channel
from pi_integrations.errors import PiConnectionError
from pi_integrations.models.wire import API_KEY_HEADER
from pi_integrations.telemetry import ScoreCall

__all__ = ["Calls", "Outgoing"]

T = TypeVar("T")
Reader = Callable[[str, str, Answer], T]
_UNWATCHED = ScoreCall()
_LONGEST_ERROR = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request: `path` with its query, below the base URL, and headers besides those of every request.

    `patient` requests are tried for as long as `RetryPolicy.total` says, however often: they stand in the middle of
    something long, where a service that is being restarted is worth waiting for. `hints` are for answers that are
    opened, see `status_error`; those that are read whole have them in their reader.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[int, str] = field(default_factory=dict)
    patient: bool = False


class Calls:
    """Sends requests for the resources of a client."""

    def __init__(self, settings: ClientSettings, connections: Connections, limiter: Limiter) -> None:
        self.settings = settings
        self._connections = connections
        self._limiter = limiter
        self._headers = {"accept": "application/json", "accept-encoding": "gzip, deflate"}
        self._headers |= {"user-agent": "pi-integrations-python"}

    async def run(self, request: Outgoing, read: Reader[T]) -> T:
        """What `read` makes of the answer, sent on the right loop; retried where that helps."""
        return await self._connections.run(lambda channel: self.send(channel, request, read))

    async def send(self, channel: Channel, request: Outgoing, read: Reader[T], *, watch: ScoreCall = _UNWATCHED) -> T:
        """What `read` makes of the answer that `channel` brings; an error that `read` raises is retried too."""
        headers = self._complete(request)

        async def attempt(seconds_left: float) -> T:
            watch.sending()
            answer = await channel.send(
                request.method, request.path, headers=headers, body=request.body, timeout=self._timeout(seconds_left)
            )
            watch.answered(answer.status)
            return read(request.method, request.path, answer)

        return await self._retry(request, attempt)

    async def open(self, request: Outgoing) -> OpenStream:
        """The answer to `request`, to be read as it arrives; only its opening takes a slot.

        Raises:
            PiStatusError: when its status is not 2xx, retries included.
        """

        async def opening(channel: Channel) -> ByteStream:
            headers = self._complete(request)

            async def attempt(seconds_left: float) -> ByteStream:
                timeout = self.settings.timeout
                stream = await channel.open(request.method, request.path, headers=headers, timeout=timeout)
                if not 200 <= stream.status < 300:
                    raise status_error(request.method, request.path, await _whole(stream), hints=request.hints)
                return stream

            return await self._retry(request, attempt)

        return await self._connections.open(opening)

    async def _retry(self, request: Outgoing, attempt: Callable[[float], Awaitable[T]]) -> T:
        policy = self.settings.retry
        if request.patient and policy.attempts > 1:
            policy = replace(policy, attempts=sys.maxsize)
        return await policy.run(attempt, self._limiter)

    def _timeout(self, seconds_left: float) -> float:
        return max(min(self.settings.timeout, seconds_left), 0.001)

    def _complete(self, request: Outgoing) -> _Headers:
        headers = _Headers(self._headers, **request.headers)
        if request.body is not None:
            headers["content-type"] = "application/json"
        if self.settings.api_key:
            headers[API_KEY_HEADER] = self.settings.api_key.get_secret_value()
        return headers


class _Headers(dict[str, str]):
    """Headers that keep the key out of tracebacks that show local variables."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


async def _whole(stream: ByteStream) -> Answer:
    """The answer with the start of its body, as much as an error has; the stream is closed."""
    chunks: list[bytes] = []
    try:
        while sum(map(len, chunks)) < _LONGEST_ERROR and (chunk := await stream.read()):
            chunks.append(chunk)
    except PiConnectionError:
        pass  # the status says more than the cut
    finally:
        await stream.aclose()
    return Answer(stream.status, stream.headers, b"".join(chunks))
