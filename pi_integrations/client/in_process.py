"""Requests to an ASGI app in this process: no sockets, the very same app.

The app's lifespan starts with the first request and ends with `aclose`.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote

from pi_integrations.client.transport import Answer, ByteStream
from pi_integrations.errors import PiConnectionError

__all__ = ["InProcessChannel"]

Message = MutableMapping[str, Any]
# Sent by the app and not read yet; an app with more to send waits.
_UNREAD_BYTES = 64 * 1024
# For an app to end a stream by itself after a disconnect.
_LEAVE_SECONDS = 1.0


class InProcessChannel:
    """Calls a Starlette or FastAPI app, made by `make_app` on the loop that will run it."""

    def __init__(self, make_app: Callable[[], Any]) -> None:
        self._make_app = make_app
        self._app: Any = None
        self._lifespan = AsyncExitStack()
        self._starting: asyncio.Lock | None = None
        self._streams: weakref.WeakSet[_Stream] = weakref.WeakSet()

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        """See `Channel.send`."""
        app = self._app or await self._started_app()
        call = _Call(body or b"")
        try:
            async with asyncio.timeout(timeout):
                await app(_scope(method, path, headers), call.receive, call.send)
        except TimeoutError:
            raise PiConnectionError(
                f"{method} {path} got no whole answer from the in-process engine within {timeout:.3g} s."
                " Raise timeout= if it needs longer."
            ) from None
        except Exception as error:
            if not call.complete:
                raise PiConnectionError(
                    f"{method} {path} made the in-process engine fail: {type(error).__name__}: {error}"
                ) from error
        return Answer(call.status, call.headers, b"".join(call.chunks))

    async def open(self, method: str, path: str, *, headers: Mapping[str, str], timeout: float) -> ByteStream:
        """See `Channel.open`."""
        app = self._app or await self._started_app()
        stream = _Stream(method, path, timeout)
        self._streams.add(stream)
        # As uvicorn says it: an app then watches for the disconnect itself while it streams.
        await stream.start(app, _scope(method, path, headers, spec_version="2.3"))
        return stream

    async def _started_app(self) -> Any:
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._app is None:
                app = self._make_app()
                await self._lifespan.enter_async_context(app.router.lifespan_context(app))
                self._app = app
        return self._app

    async def aclose(self) -> None:
        """Ends the open streams, then the app's lifespan."""
        self._app = None
        await asyncio.gather(*(stream.end() for stream in list(self._streams)))
        await self._lifespan.aclose()


class _Call:
    """The client's side of one request that is answered whole."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 500
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.complete = False

    async def receive(self) -> Message:
        if self._body is None:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message.get("headers", ())}
        elif message["type"] == "http.response.body":
            self.chunks.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)


class _Stream:
    """A `ByteStream` whose other end is an ASGI app, called in a task of its own."""

    def __init__(self, method: str, path: str, timeout: float) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.framed = True
        self._request = f"{method} {path}"
        self._timeout = timeout
        self._unread: list[bytes] = []
        self._size = 0
        self._body_is_due = True
        self._complete = False
        self._failure: Exception | None = None
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: Any, scope: dict[str, Any]) -> None:
        """Calls `app`, and returns when the answer has begun; a PiConnectionError when it does not."""
        self._task = asyncio.create_task(self._run(app, scope))
        try:
            while not self.status:
                await self._next_event()
        except BaseException:
            await self.aclose()
            raise

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        while not self._unread and not self._complete:
            await self._next_event()
        found = b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        self._room.set()
        return found

    async def aclose(self) -> None:
        """Sends the app a disconnect; an app that continues regardless is cancelled after a second."""
        self._left.set()
        self._room.set()
        if self._task is not None and not (self._task.done() or self._complete):
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, self._task.cancel)

    async def end(self) -> None:
        """`aclose`, and waits until the app has returned."""
        await self.aclose()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self, app: Any, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - the reader raises it
            self._failure = error
        finally:
            self._left.set()
            self._news.set()

    async def _receive(self) -> Message:
        if self._body_is_due:
            self._body_is_due = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message.get("headers", ())}
            self.status = message["status"]
        elif message["type"] == "http.response.body" and not self._left.is_set():
            await self._keep(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        self._news.set()

    async def _keep(self, chunk: bytes) -> None:
        if chunk:
            self._unread.append(bytes(chunk))
            self._size += len(chunk)
            self._news.set()
        while self._size > _UNREAD_BYTES and not self._left.is_set():
            self._room.clear()
            await self._room.wait()

    async def _next_event(self) -> None:
        """Waits until the app has sent something, or has ended."""
        if self._left.is_set():
            raise self._cut_off()
        self._news.clear()
        try:
            async with asyncio.timeout(self._timeout):
                await self._news.wait()
        except TimeoutError:
            raise PiConnectionError(
                f"{self._request} heard nothing from the in-process engine for {self._timeout:.3g} s."
                " Raise timeout= if it needs longer."
            ) from None

    def _cut_off(self) -> PiConnectionError:
        if self._failure is None:
            return PiConnectionError(f"{self._request}: the in-process engine ended its answer in the middle.")
        error = PiConnectionError(
            f"{self._request} made the in-process engine fail: {type(self._failure).__name__}: {self._failure}"
        )
        error.__cause__ = self._failure
        return error


def _scope(method: str, target: str, headers: Mapping[str, str], spec_version: str = "2.4") -> dict[str, Any]:
    path, _, query = target.partition("?")
    pairs = [(b"host", b"localhost"), *((k.lower().encode(), v.encode("latin-1")) for k, v in headers.items())]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs,
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
    }
