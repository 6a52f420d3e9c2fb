"""Which event loop a request runs on, and the channel that belongs to it.

A loop that entered `async with client` has connections of its own, closed with it. Every other call, sync ones
included, runs on the process's LoopThread, where one more channel lives. Nothing crosses a fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pi_integrations.client.loop_thread import abandon, loop_thread
from pi_integrations.client.streams import OpenStream
from pi_integrations.client.transport import ByteStream, Channel

__all__ = ["Connections"]

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
    """What belongs to this process; a forked child makes its own."""

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
    """Closes what a client that was never closed left open: when it is collected, or at exit."""
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
