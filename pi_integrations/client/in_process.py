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

from pi_integrations.client.in_process_stream import InProcessStream
from pi_integrations.client.transport import Answer, ByteStream
from pi_integrations.errors import PiConnectionError

__all__ = ["InProcessChannel"]

Message = MutableMapping[str, Any]


class InProcessChannel:
    """Calls a Starlette or FastAPI app, made by `make_app` on the loop that will run it."""

    def __init__(self, make_app: Callable[[], Any]) -> None:
        self._make_app = make_app
        self._app: Any = None
        self._lifespan = AsyncExitStack()
        self._starting: asyncio.Lock | None = None
        self._streams: weakref.WeakSet[InProcessStream] = weakref.WeakSet()

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
        stream = InProcessStream(method, path, timeout)
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
        """Ends what streams, and then the app's lifespan."""
        self._app = None
        await asyncio.gather(*(stream.end() for stream in list(self._streams)))
        await self._lifespan.aclose()


class _Call:
    """One request's side of the ASGI conversation."""

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
