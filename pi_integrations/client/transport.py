"""The one place where a request is sent over the network, and its exceptions become a PiConnectionError.

A `Channel` carries requests: `HttpChannel` by httpx over aiohttp's network layer, `InProcessChannel` to an ASGI app.
The httpx transport is used without `httpx.AsyncClient`: this API needs no cookies, redirects or auth flows, and they
cost more CPU than the rest of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from pi_integrations.errors import PiConnectionError

__all__ = ["Answer", "ByteStream", "Channel", "HttpChannel"]

_SHOWN_CHARACTERS = 500
_CONNECT_SECONDS = 10.0
_KEPT_URLS = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ByteStream(Protocol):
    """A response whose body is read as it arrives, on the event loop it was opened on; header names are lower-case.

    `framed` tells whether the end of a whole body can be told from a cut.
    """

    status: int
    headers: Mapping[str, str]
    framed: bool

    async def read(self) -> bytes:
        """What has arrived since, at least one byte; `b""` at the end of a whole body.

        Raises:
            PiConnectionError: when the body is cut off, or nothing came for `timeout` seconds.
        """
        ...

    async def aclose(self) -> None:
        """Ends the request, read to its end or not."""
        ...


class Channel(Protocol):
    """Carries requests on the event loop it was made for."""

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """The whole answer to one request, within `timeout` seconds.

        Raises:
            PiConnectionError: when no whole answer came.
        """
        ...

    async def open(self, method: str, path: str, *, headers: Mapping[str, str], timeout: float) -> ByteStream:
        """The start of an answer, whose body is then read as it arrives; the caller closes it.

        `timeout` is the longest silence in seconds, before the start and between two pieces of the body.

        Raises:
            PiConnectionError: when no answer began.
        """
        ...

    async def aclose(self) -> None:
        """Closes what is open; a later `send` or `open` opens it anew."""
        ...


class HttpChannel:
    """A connection pool to one base URL, and one beside it for streams, which may stay open for hours."""

    def __init__(self, base_url: str, *, max_connections: int, proxy: str | None = None) -> None:
        self._base_url = base_url
        self._shown = httpx.URL(base_url).copy_with(username=None, password=None)
        self._max_connections = max_connections
        self._proxy = proxy
        self._urls: dict[str, httpx.URL] = {}
        self._transport = self._make_transport(max_connections)
        self._streams: AiohttpTransport | None = None

    def _make_transport(self, max_connections: int) -> AiohttpTransport:
        verify = httpx.create_ssl_context() if self._base_url.startswith("https") else False

        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(limit=max_connections, ssl=verify)
            # Not trust_env: aiohttp would look for proxies and a netrc file in a thread, twice a request.
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), proxy=self._proxy)

        return AiohttpTransport(verify=verify, client=session)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """See `Channel.send`."""
        with _mapped(method, path, self._shown, timeout):
            async with asyncio.timeout(timeout):
                request = httpx.Request(
                    method, self._url(path), headers=headers, content=body, extensions=_timeouts(timeout, timeout)
                )
                response = await self._transport.handle_async_request(request)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
        return Answer(response.status_code, response.headers, content)

    async def open(self, method: str, path: str, *, headers: Mapping[str, str], timeout: float) -> ByteStream:
        """See `Channel.open`."""
        if self._streams is None:
            self._streams = self._make_transport(0)
        with _mapped(method, path, self._shown, timeout):
            async with asyncio.timeout(timeout):
                request = httpx.Request(method, self._url(path), headers=headers, extensions=_timeouts(timeout, None))
                response = await self._streams.handle_async_request(request)
        return _HttpStream(response, method, path, self._shown, timeout)

    def _url(self, path: str) -> httpx.URL:
        # Parsing a URL costs more than building a request around it; but for jobs, the paths of this API are few.
        if path not in self._urls:
            if len(self._urls) >= _KEPT_URLS:
                self._urls.clear()
            self._urls[path] = httpx.URL(self._base_url + path)
        return self._urls[path]

    async def aclose(self) -> None:
        """See `Channel.aclose`."""
        transport, self._transport = self._transport, self._make_transport(self._max_connections)
        streams, self._streams = self._streams, None
        await transport.aclose()
        if streams is not None:
            await streams.aclose()


class _HttpStream:
    """A response over HTTP, read piece by piece."""

    def __init__(self, response: httpx.Response, method: str, path: str, where: httpx.URL, timeout: float) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.framed = "content-length" in response.headers or "transfer-encoding" in response.headers
        self._response = response
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()
        self._asked = (method, path, where, timeout)

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        with _mapped(*self._asked):
            async with asyncio.timeout(self._asked[-1]):
                return await anext(self._pieces, b"")

    async def aclose(self) -> None:
        """See `ByteStream.aclose`."""
        with _mapped(*self._asked):
            await cast(AsyncGenerator[bytes, None], self._pieces).aclose()
            await self._response.aclose()


@contextmanager
def _mapped(method: str, path: str, where: httpx.URL, timeout: float) -> Iterator[None]:
    """Turns every exception of the network into a PiConnectionError."""
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        message = _timeout_message(method, path, where, timeout, error)
        raise PiConnectionError(message) from _without_frames(error)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, EOFError) as error:
        raise PiConnectionError(
            f"{method} {path} got no whole answer from {where}: {_reason(error)}."
            " Check that the service runs and that base_url is right."
        ) from _without_frames(error)
    except RuntimeError as error:
        # What aiohttp says when the client was closed meanwhile.
        if "closed" not in str(error):
            raise
        raise PiConnectionError(f"{method} {path}: {error}") from _without_frames(error)


def _timeouts(timeout: float, read: float | None) -> dict[str, Any]:
    # A stream has no timeout for reads in the network layer: there it would run while the reader is busy elsewhere.
    return {"timeout": {"connect": min(_CONNECT_SECONDS, timeout), "read": read, "write": timeout, "pool": timeout}}


def _without_frames(error: BaseException) -> BaseException:
    """`error` and its causes as they are, but without frames: the network layer's hold the headers, and so the key."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _timeout_message(method: str, path: str, where: httpx.URL, timeout: float, error: Exception) -> str:
    # httpx-aiohttp reports a connection reset as a connect timeout; the cause tells them apart.
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, asyncio.TimeoutError):
        return f"{method} {path} got no whole answer from {where}: {_reason(cause)}."
    return (
        f"{method} {path} got no whole answer from {where} within {timeout:.3g} s. Raise timeout= if it needs longer."
    )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_SHOWN_CHARACTERS] if str(error) else type(error).__name__
