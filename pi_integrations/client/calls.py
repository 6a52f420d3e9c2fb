"""The requests of a client: how each is written, sent within the limit, retried, and its answer read."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from pi_integrations.client.connections import Connections, OpenStream
from pi_integrations.client.pacing import Limiter
from pi_integrations.client.settings import ClientSettings
from pi_integrations.client.status_errors import status_error
from pi_integrations.client.transport import Answer, ByteStream, Channel
from pi_integrations.errors import PiConnectionError, PiResponseError, PiUsageError
from pi_integrations.models import describe, render
from pi_integrations.models.wire import API_KEY_HEADER
from pi_integrations.telemetry import ScoreCall

__all__ = ["Calls", "JsonReader", "Outgoing", "json_body"]

T = TypeVar("T")
_UNWATCHED = ScoreCall()
_LONGEST_ERROR = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request.

    Attributes:
        method: HTTP method.
        path: Below the base URL, with its query.
        body: JSON, if it has a body.
        headers: Besides those of every request.
        hints: What to try, by error status; see `status_error`.
        patient: Whether it is tried for all of `RetryPolicy.total`, however often: for requests in the middle of
            something long, where a service that is being restarted is worth waiting for.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[int, str] = field(default_factory=dict)
    patient: bool = False


Reader = Callable[[Outgoing, Answer], T]


class Calls:
    """Sends the requests of one client, within its limit and by its retry policy."""

    def __init__(self, settings: ClientSettings, connections: Connections, limiter: Limiter) -> None:
        self.settings = settings
        self._connections = connections
        self._limiter = limiter
        self._headers = {"accept": "application/json", "accept-encoding": "gzip, deflate"}
        self._headers |= {"user-agent": "pi-integrations-python"}

    async def run(self, request: Outgoing, read: Reader[T], *, watch: ScoreCall = _UNWATCHED) -> T:
        """What `read` makes of the answer; an error that `read` raises is retried like one of the network."""
        return await self._connections.run(lambda channel: self._send(channel, request, read, watch))

    async def _send(self, channel: Channel, request: Outgoing, read: Reader[T], watch: ScoreCall) -> T:
        headers = self._complete(request)

        async def attempt(seconds_left: float) -> T:
            watch.sending()
            timeout = max(min(self.settings.timeout, seconds_left), 0.001)
            answer = await channel.send(
                request.method, request.path, headers=headers, body=request.body, timeout=timeout
            )
            watch.answered(answer.status)
            return read(request, answer)

        return await self._retry(request, attempt)

    async def open(self, request: Outgoing) -> OpenStream:
        """The answer to `request`, to be read as it arrives; only its opening takes a slot of the limit."""

        async def opening(channel: Channel) -> ByteStream:
            headers = self._complete(request)

            async def attempt(seconds_left: float) -> ByteStream:
                timeout = self.settings.timeout
                stream = await channel.open(request.method, request.path, headers=headers, timeout=timeout)
                if not 200 <= stream.status < 300:
                    raise status_error(request.method, request.path, await _start_of(stream), hints=request.hints)
                return stream

            return await self._retry(request, attempt)

        return await self._connections.open(opening)

    async def _retry(self, request: Outgoing, attempt: Callable[[float], Awaitable[T]]) -> T:
        policy = self.settings.retry
        if request.patient and policy.attempts > 1:
            policy = replace(policy, attempts=sys.maxsize)
        return await policy.run(attempt, self._limiter)

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


async def _start_of(stream: ByteStream) -> Answer:
    """The answer with as much of its body as an error shows; the stream is closed."""
    chunks: list[bytes] = []
    try:
        while sum(map(len, chunks)) < _LONGEST_ERROR and (chunk := await stream.read()):
            chunks.append(chunk)
    except PiConnectionError:
        pass  # the status says more than the cut
    finally:
        await stream.aclose()
    return Answer(stream.status, stream.headers, b"".join(chunks))


def json_body(request: BaseModel, *, only: set[str] | None = None) -> bytes:
    """`request` as JSON without its None values; with `only`, of these fields alone.

    Raises:
        PiUsageError: when it holds a value that JSON does not have.
    """
    try:
        return request.__pydantic_serializer__.to_json(request, exclude_none=True, include=only)
    except (PydanticSerializationError, UnicodeError) as error:
        raise PiUsageError(
            f"the request cannot be written as JSON: {error}. kwargs holds plain JSON values; texts are valid Unicode"
        ) from None


class JsonReader(Generic[T]):
    """Reads a value of type `kind` out of a whole answer.

    Args:
        kind: A type that pydantic validates.
        noun: What the value is called in errors.
    """

    def __init__(self, kind: Any, noun: str) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)
        self._noun = noun

    def __call__(self, request: Outgoing, answer: Answer) -> T:
        """The value; a PiStatusError, or a PiConnectionError or PiResponseError when the body is cut off or wrong."""
        if not 200 <= answer.status < 300:
            raise status_error(request.method, request.path, answer, hints=request.hints)
        try:
            return self._adapter.validate_json(answer.body)
        except ValidationError as error:
            problems = describe(error)
        answered = f"{request.method} {request.path} answered {answer.status}"
        if problems[0]["type"] == "json_invalid" and "EOF" in problems[0]["msg"]:
            raise PiConnectionError(
                f"{answered} with a body that was cut off: it ends after {len(answer.body)} bytes, in the middle of"
                " its JSON."
            )
        kind = answer.headers.get("content-type", "no content type")
        raise PiResponseError(
            f"{answered} ({kind}) with something other than {self._noun}: {render(problems)}."
            " Check that base_url points at a Pi API."
        )
