"""The checks before every route: who may call, how large a body may be, and how many requests may be in flight.

One ASGI middleware. Without keys only this machine may call, and not through a web page: the peer and the Host must be
loopback, an Origin must be loopback too, and bodies must be `application/json`, which no page can send unasked.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from pi_integrations.engine.routes.page import is_page
from pi_integrations.engine.settings import EngineSettings, is_loopback
from pi_integrations.models.wire import API_KEY_HEADER, REQUEST_ID_HEADER, RETRY_AFTER_HEADER, SHOULD_RETRY_HEADER

__all__ = ["Gate"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
logger = logging.getLogger(__name__)
_BODY_SECONDS = 60.0
_WITH_BODY = ("POST", "PUT", "PATCH")
_OPEN_PATHS = frozenset({"/healthz", "/v1/healthz"})


class _Refused(Exception):
    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Gate:
    """Lets requests through to `app` or answers them itself, and counts those in flight."""

    def __init__(self, app: App, settings: EngineSettings) -> None:
        self._app = app
        self._settings = settings
        self._digests = [_digest(key.get_secret_value()) for key in settings.api_keys]
        self._in_flight = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        request_id = headers.get(REQUEST_ID_HEADER, "")[:128] or uuid.uuid4().hex
        started: list[bool] = []
        send = _with_request_id(send, request_id, started)
        # Streams that clients follow wait more than they work, and so are not counted.
        counted = scope["method"] in _WITH_BODY
        self._in_flight += counted
        try:
            body = await self._admitted_body(scope, headers, receive)
            await self._app(scope, _replay(body, receive), send)
        except _Refused as refused:
            await _answer(send, refused)
        except Exception:
            logger.exception("%s %s failed, request id %s", scope["method"], scope["path"], request_id)
            if not started:
                await _answer(send, _Refused(500, "the engine failed; its log has the error under this request id"))
        finally:
            self._in_flight -= counted

    async def _admitted_body(self, scope: MutableMapping[str, Any], headers: dict[str, str], receive: Receive) -> bytes:
        """The body of a request that may pass, read whole; empty for methods that have none."""
        if scope["path"] in _OPEN_PATHS:
            return b""
        self._check_caller(scope, headers)
        # Jobs belong to the key that started them.
        scope["pi_owner"] = _digest(_given_key(headers)).hex() if self._digests else ""
        if scope["method"] not in _WITH_BODY:
            return b""
        if _has_body(headers):
            _check_encoding(headers)
        if self._in_flight > self._settings.max_in_flight:
            limit = self._settings.max_in_flight
            raise _Refused(429, f"{limit} requests are in flight already", **{RETRY_AFTER_HEADER: "1"})
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await self._body(headers, receive)
        except TimeoutError:
            raise _Refused(408, f"the body did not arrive within {_BODY_SECONDS:g} s; send it again") from None

    def _check_caller(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
        if self._digests:
            if not (self._knows(_given_key(headers)) or is_page(scope["method"], scope["path"])):
                raise _Refused(401, f"no or unknown API key; send it as {API_KEY_HEADER} or Authorization: Bearer")
            return
        peer = (scope.get("client") or ("127.0.0.1",))[0]
        origin = headers.get("origin")
        for what, host in (
            ("peer", peer),
            ("Host", _hostname("//" + headers.get("host", ""))),
            ("Origin", "localhost" if origin is None else _hostname(origin)),
        ):
            if not is_loopback(host):
                raise _Refused(
                    403, f"{what} {host!r} is not this machine, and this engine has no keys; start it with --api-key"
                )

    def _knows(self, key: str) -> bool:
        digest = _digest(key)
        return any(hmac.compare_digest(digest, known) for known in self._digests)

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        limit = self._settings.max_request_bytes
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "the request was cut off before its body ended")
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> _Refused:
        limit = self._settings.max_request_bytes
        return _Refused(413, f"the body is larger than {limit} bytes; shorten it or raise max_request_bytes")


def _has_body(headers: dict[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers or "content-type" in headers


def _check_encoding(headers: dict[str, str]) -> None:
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise _Refused(415, "send the body as JSON, with the header content-type: application/json")
    if headers.get("content-encoding", "identity") != "identity":
        raise _Refused(415, "send the body as it is, without a content-encoding")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _given_key(headers: dict[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get(API_KEY_HEADER) or (token.strip() if scheme.lower() == "bearer" else "")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _with_request_id(send: Send, request_id: str, started: list[bool]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(True)
            message["headers"] = [
                *message.get("headers", ()),
                (REQUEST_ID_HEADER.encode(), request_id.encode("latin-1")),
            ]
        await send(message)

    return wrapped


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def wrapped() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return wrapped


async def _answer(send: Send, refused: _Refused) -> None:
    body = json.dumps({"detail": refused.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
    if refused.status not in (408, 429, 500):
        headers[SHOULD_RETRY_HEADER] = "false"
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
