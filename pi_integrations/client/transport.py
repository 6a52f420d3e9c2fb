"""The one place a request is sent, and where every exception of the network becomes one of ours.

A `Channel` carries one request to whoever answers. `HttpChannel` is httpx over aiohttp's network layer; the in-process
channel calls an ASGI app. The httpx transport is used directly, without `httpx.AsyncClient`: this API needs no cookies,
redirects or auth flows, and they cost more CPU than all of ours.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from json import loads
from typing import Any, Protocol

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from pi_integrations.errors import PiConnectionError, PiStatusError

__all__ = ["Answer", "Channel", "HttpChannel", "status_error"]

_SHOWN_CHARACTERS = 500
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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

    async def aclose(self) -> None:
        """Closes what is open; a later `send` opens it anew."""
        ...


class HttpChannel:
    """A connection pool to one base URL."""

    def __init__(self, base_url: str, *, max_connections: int, proxy: str | None = None) -> None:
        self._base_url = base_url
        self._shown = httpx.URL(base_url).copy_with(username=None, password=None)
        self._max_connections = max_connections
        self._proxy = proxy
        self._urls: dict[str, httpx.URL] = {}
        self._transport = self._make_transport()

    def _make_transport(self) -> AiohttpTransport:
        verify = httpx.create_ssl_context() if self._base_url.startswith("https") else False

        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(limit=self._max_connections, ssl=verify)
            # Not trust_env: aiohttp would look for proxies and a netrc file in a thread, twice a request.
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), proxy=self._proxy)

        return AiohttpTransport(verify=verify, client=session)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """See `Channel.send`."""
        timeouts = {"connect": min(_CONNECT_SECONDS, timeout), "read": timeout, "write": timeout, "pool": timeout}
        try:
            async with asyncio.timeout(timeout):
                request = httpx.Request(
                    method, self._url(path), headers=headers, content=body, extensions={"timeout": timeouts}
                )
                response = await self._transport.handle_async_request(request)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TimeoutException) as error:
            message = _timeout_message(method, path, self._shown, timeout, error)
            raise PiConnectionError(message) from _without_frames(error)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, EOFError) as error:
            raise PiConnectionError(
                f"{method} {path} got no whole answer from {self._shown}: {_reason(error)}."
                " Check that the service runs and that base_url is right."
            ) from _without_frames(error)
        return Answer(response.status_code, response.headers, content)

    def _url(self, path: str) -> httpx.URL:
        # Parsing a URL costs more than building a request around it; the paths of this API are few.
        if path not in self._urls:
            self._urls[path] = httpx.URL(self._base_url + path)
        return self._urls[path]

    async def aclose(self) -> None:
        """See `Channel.aclose`."""
        await self._transport.aclose()
        self._transport = self._make_transport()


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


def status_error(method: str, path: str, answer: Answer) -> PiStatusError:
    """The exception for an answer whose status is not 2xx."""
    detail = _detail(answer.body)
    retry_after = _retry_after(answer.headers)
    message = f"{method} {path} answered {answer.status}: {_shown_detail(detail)}."
    if retry_after is not None:
        message += f" The server asks for {retry_after:.3g} s."
    if answer.status == 404:
        message += " Check that base_url is the root of a Pi API."
    if answer.status in (401, 403):
        message += " Check api_key (WITHPI_API_KEY) and base_url."
    if 300 <= answer.status < 400 and "location" in answer.headers:
        message += f" It redirects to {answer.headers['location']}: set base_url there."
    should_retry = {"true": True, "false": False}.get(answer.headers.get("x-should-retry", "").lower())
    return PiStatusError(
        message,
        status=answer.status,
        detail=detail,
        request_id=answer.headers.get("x-request-id"),
        retry_after=retry_after,
        should_retry=should_retry,
    )


def _detail(body: bytes) -> Any:
    try:
        parsed = loads(body)
    except (ValueError, RecursionError):
        return body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return parsed.get("detail", parsed) if isinstance(parsed, dict) else parsed


def _shown_detail(detail: Any) -> str:
    if isinstance(detail, list) and all(isinstance(part, dict) and "msg" in part for part in detail):
        text = "; ".join(f"{_path(part.get('loc', []))}{part['msg']}" for part in detail)
    else:
        text = str(detail)
    text = " ".join(text.split()) or "no detail"
    return (text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…").rstrip(".")


def _path(location: Any) -> str:
    parts = [str(part) for part in location if part != "body"] if isinstance(location, list) else []
    return ".".join(parts) + ": " if parts else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(headers.get(name, ""), scale)
        if seconds is not None:
            return seconds
    return None


def _seconds(text: str, scale: float) -> float | None:
    try:
        seconds = float(text) * scale
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
