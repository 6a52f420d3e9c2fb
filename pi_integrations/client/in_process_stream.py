"""One streamed answer of an ASGI app in this process: chunks as the app sends them, and no more than are read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

from pi_integrations.errors import PiConnectionError

__all__ = ["InProcessStream"]

Message = MutableMapping[str, Any]
# Sent and not yet read; an app that sends more waits.
_UNREAD_BYTES = 64 * 1024
# For an app to end a stream by itself after its reader has left.
_LEAVE_SECONDS = 1.0


class InProcessStream:
    """A `ByteStream` whose other end is an ASGI app, called in a task of its own."""

    def __init__(self, method: str, path: str, timeout: float) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.framed = True
        self._asked = f"{method} {path}"
        self._timeout = timeout
        self._unread: list[bytes] = []
        self._size = 0
        self._asks = True
        self._complete = False
        self._failure: Exception | None = None
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, app: Any, scope: dict[str, Any]) -> None:
        """Calls `app`, and returns when the answer has begun.

        Raises:
            PiConnectionError: when it fails, or does not answer in time.
        """
        self._task = asyncio.create_task(self._run(app, scope))
        try:
            while not self.status:
                await self._hear()
        except BaseException:
            await self.aclose()
            raise

    async def read(self) -> bytes:
        """See `ByteStream.read`."""
        while not self._unread and not self._complete:
            await self._hear()
        found = b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        self._room.set()
        return found

    async def aclose(self) -> None:
        """Tells the app that its reader has left; one that goes on regardless is cancelled after a second."""
        self._left.set()
        self._room.set()
        if self._task is not None and not (self._task.done() or self._complete):
            asyncio.get_running_loop().call_later(_LEAVE_SECONDS, self._task.cancel)

    async def end(self) -> None:
        """`aclose`, and waits until the app is done with it."""
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
        if self._asks:
            self._asks = False
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

    async def _hear(self) -> None:
        """Waits for something new from the app."""
        if self._left.is_set():
            raise self._cut_off()
        self._news.clear()
        try:
            async with asyncio.timeout(self._timeout):
                await self._news.wait()
        except TimeoutError:
            raise PiConnectionError(
                f"{self._asked} heard nothing from the in-process engine for {self._timeout:.3g} s."
                " Raise timeout= if it needs longer."
            ) from None

    def _cut_off(self) -> PiConnectionError:
        if self._failure is None:
            return PiConnectionError(f"{self._asked}: the in-process engine ended its answer in the middle.")
        error = PiConnectionError(
            f"{self._asked} made the in-process engine fail: {type(self._failure).__name__}: {self._failure}"
        )
        error.__cause__ = self._failure
        return error
