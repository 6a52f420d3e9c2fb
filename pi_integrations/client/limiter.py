"""The concurrency limit of a client: shared by all its threads and loops."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import deque
from typing import Protocol

from pi_integrations.errors import PiUsageError

__all__ = ["ConcurrencyLimiter", "Limiter"]


class Limiter(Protocol):
    """A client takes a slot before every attempt. Write your own to share one limit between clients or processes."""

    async def acquire(self) -> None:
        """Waits for a slot; called on any loop of any thread."""
        ...

    def release(self) -> None:
        """Gives a slot back; called once for every `acquire` that returned."""
        ...


class ConcurrencyLimiter:
    """At most `limit` slots at a time, first come first served, across threads and event loops.

    `asyncio.Semaphore` binds itself to one loop, and a client is called from many.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise PiUsageError(f"max_concurrency is {limit}; it must be at least 1")
        self._limit = limit
        self._free = limit
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        _alive.add(self)

    async def acquire(self) -> None:
        """Waits for a slot; a cancelled wait passes its slot on."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            entry = (loop, future)
            self._waiting.append(entry)
        try:
            await future
        except BaseException:
            self._give_up(entry)
            raise

    def release(self) -> None:
        """Passes the slot to the longest waiting call, or frees it."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            loop, future = self._waiting.popleft()
            try:
                loop.call_soon_threadsafe(_grant, self, future)
            except RuntimeError:  # that loop is closed: nobody waits there any more
                continue
            return
        self._free += 1

    def _give_up(self, entry: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]) -> None:
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif entry[1].done() and not entry[1].cancelled():
                self._pass_on()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._free = self._limit
        self._waiting.clear()


def _grant(limiter: ConcurrencyLimiter, future: asyncio.Future[None]) -> None:
    if future.done():
        limiter.release()
    else:
        future.set_result(None)


_alive: weakref.WeakSet[ConcurrencyLimiter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Slots held by the parent's threads do not exist in the child."""
    for limiter in list(_alive):
        limiter._reset()


os.register_at_fork(after_in_child=_after_fork_in_child)
