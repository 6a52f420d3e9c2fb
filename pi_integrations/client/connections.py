"""The channels of a client by event loop, and the streams opened on them.

A loop that entered `async with client` has connections of its own, closed with it. Every other call, sync ones
included, runs on the process's LoopThread, which has one more channel. Nothing crosses a fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from pi_integrations.client.loop_thread import abandon, loop_thread
from pi_integrations.client.transport import ByteStream, Channel
from pi_integrations.errors import PiConnectionError

__all__ = ["Connections", "OpenStream"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
_EXIT_SECONDS = 2.0


class Connections:
    """The channels of one client, by event loop.

    Args:
        connect: Makes a channel; called on the loop it is for.
        bindable: Whether `async with` may run requests on the caller's loop. An in-process engine lives on the
            LoopThread alone, so that it serves every loop and outlives each.
    """

    def __init__(self, connect: Callable[[], Channel], *, bindable: bool = True) -> None:
        self._connect = connect
        self._bindable = bindable
        self._lock = threading.Lock()
        self._state = _State()
        self._finalizer = weakref.finalize(self, _close_in_background, self._state)

    async def run(self, work: Callable[[Channel], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns, run with the channel of the right loop."""
        state = self._current()
        channel = state.bound.get(asyncio.get_running_loop())
        if channel is not None:
            return await work(channel)
        return await loop_thread().hop(self._on_shared(work))

    async def open(self, work: Callable[[Channel], Coroutine[Any, Any, ByteStream]]) -> OpenStream:
        """The stream that `work` opens with the channel of the right loop; read and closed from any loop."""
        channel = self._current().bound.get(asyncio.get_running_loop())
        if channel is not None:
            stream = OpenStream(asyncio.get_running_loop())
            await stream.open(work(channel))
        else:
            stream = OpenStream(loop_thread().loop)
            await stream.open(self._on_shared(work))
        return stream

    async def _on_shared(self, work: Callable[[Channel], Awaitable[T]]) -> T:
        state = self._current()
        if state.shared is None:
            state.shared = self._connect()
        return await work(state.shared)

    def bind(self) -> None:
        """Gives the running loop connections of its own; entered twice, they close with the last exit."""
        loop = asyncio.get_running_loop()
        state = self._current()
        if self._bindable:
            state.entered[loop] = state.entered.get(loop, 0) + 1
            if loop not in state.bound:
                state.bound[loop] = self._connect()

    async def unbind(self) -> None:
        """Closes the running loop's connections, and the shared ones when no loop is bound any more."""
        loop = asyncio.get_running_loop()
        state = self._current()
        if loop in state.entered:
            state.entered[loop] -= 1
            if state.entered[loop]:
                return
            del state.entered[loop]
            await state.bound.pop(loop).aclose()
        if not state.bound:
            await self.close_shared()

    async def close_shared(self) -> None:
        """Closes the connections on the LoopThread; a later request opens them anew."""
        state = self._current()
        if state.shared is not None:
            await loop_thread().hop(_close_shared(state))

    def _current(self) -> _State:
        if self._state.pid != os.getpid():
            with self._lock:
                if self._state.pid != os.getpid():
                    self._finalizer.detach()
                    abandon(self._state)
                    self._state = _State()
                    self._finalizer = weakref.finalize(self, _close_in_background, self._state)
        return self._state


class _State:
    """The channels of this process; a forked child makes its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.shared: Channel | None = None
        self.bound: dict[asyncio.AbstractEventLoop, Channel] = {}
        self.entered: dict[asyncio.AbstractEventLoop, int] = {}


async def _close_shared(state: _State) -> None:
    channel, state.shared = state.shared, None
    if channel is not None:
        await channel.aclose()


def _close_in_background(state: _State) -> None:
    """Closes the channel of a client that nobody closed: when it is collected, or at exit."""
    if state.shared is None or state.pid != os.getpid():
        return
    thread = loop_thread()
    if threading.current_thread() is thread.thread:
        thread.submit(_close_shared(state))
        return
    try:
        thread.submit(_close_shared(state)).result(_EXIT_SECONDS)
    except Exception:
        logger.debug("connections did not close in order", exc_info=True)


class OpenStream:
    """A `ByteStream` opened on the event loop `loop`, to be read and closed from any; closed when it is collected."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._held = _Held(loop)
        weakref.finalize(self, _close_later, self._held).atexit = False

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
        """See `ByteStream.read`; a PiConnectionError, too, when its loop or its process is gone."""
        return await self._hop(self._held.read())

    async def aclose(self) -> None:
        """Closes it; waits for that on its own loop alone."""
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
    """The state of an `OpenStream`, apart from it, for its finalizer."""

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
    """Closes on the stream's own loop, from any thread. In a forked child it is left to the parent."""
    if held.pid != os.getpid():
        abandon(held)
        return
    if sys.is_finalizing() or held.loop.is_closed():
        return
    try:
        held.loop.call_soon_threadsafe(held.start_closing)
    except RuntimeError:  # the loop was closed just now, and its connections with it
        return
