"""A stream that was opened on one event loop, read and closed from any: nothing leaks, however its reader goes away."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pi_integrations.client.loop_thread import abandon
from pi_integrations.client.transport import ByteStream
from pi_integrations.errors import PiConnectionError

__all__ = ["OpenStream"]

T = TypeVar("T")


class OpenStream:
    """A handle on a `ByteStream` of the event loop `loop`; closed when it is collected, if nobody closed it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._held = _Held(loop)
        weakref.finalize(self, _close_later, self._held).atexit = False

    @property
    def status(self) -> int:
        """The answer's HTTP status."""
        return self._stream.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, their names in lower case."""
        return self._stream.headers

    @property
    def framed(self) -> bool:
        """Whether the end of a whole body can be told from a cut."""
        return self._stream.framed

    @property
    def _stream(self) -> ByteStream:
        assert self._held.stream is not None
        return self._held.stream

    async def open(self, opening: Coroutine[Any, Any, ByteStream]) -> None:
        """Opens it with `opening`, run on its loop; a caller that is cancelled meanwhile leaves nothing open."""
        try:
            await self._hop(self._held.open(opening))
        except BaseException:
            self.drop()
            raise

    async def read(self) -> bytes:
        """What has arrived since, at least one byte; `b""` at the end of a whole body.

        Raises:
            PiConnectionError: when the body is cut off or silent, or when its loop or its process is gone.
        """
        return await self._hop(self._held.read())

    async def aclose(self) -> None:
        """Closes it; waited for where that can be."""
        if self._held.pid == os.getpid() and asyncio.get_running_loop() is self._held.loop:
            await self._held.close()
        else:
            self.drop()

    def drop(self) -> None:
        """Closes it, without waiting; from any thread."""
        _close_later(self._held)

    async def _hop(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._held.loop
        if self._held.pid != os.getpid() or loop.is_closed():
            work.close()
            raise PiConnectionError("the stream was opened in a process, or on an event loop, that is gone")
        if asyncio.get_running_loop() is loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class _Held:
    """What a handle holds, without the handle: its finalizer has only this."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.stream: ByteStream | None = None
        self._closed = False
        self._step: asyncio.Task[Any] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self, opening: Coroutine[Any, Any, ByteStream]) -> None:
        stream = await opening
        if self._closed:
            await stream.aclose()
        else:
            self.stream = stream

    async def read(self) -> bytes:
        if self.stream is None:
            raise PiConnectionError("the stream is closed")
        self._step = asyncio.current_task()
        try:
            return await self.stream.read()
        finally:
            self._step = None

    async def close(self) -> None:
        self._closed = True
        # A read that was interrupted is still unwinding, and its stream cannot be closed meanwhile.
        if self._step is not None and self._step is not asyncio.current_task():
            self._step.cancel()
            await asyncio.wait([self._step])
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(PiConnectionError):
                await stream.aclose()

    def start_closing(self) -> None:
        self._closing = self.loop.create_task(self.close())


def _close_later(held: _Held) -> None:
    """Closes from any thread, on the stream's own loop. In a forked child it is the parent's, and left alone."""
    if held.pid != os.getpid():
        abandon(held)
        return
    if sys.is_finalizing() or held.loop.is_closed():
        return
    try:
        held.loop.call_soon_threadsafe(held.start_closing)
    except RuntimeError:  # the loop was closed just now, and its connections with it
        return
