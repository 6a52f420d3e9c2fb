"""The background event loop: one daemon thread a process, started at first use, started anew after a fork.

Sync calls, background scoring and async calls from loops a client is not bound to all run here, so that no connection
pool outlives the `asyncio.run` it was made in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from pi_integrations.errors import PiUsageError

__all__ = ["LoopThread", "NotCopied", "abandon", "loop_thread"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


class NotCopied:
    """An object with locks, threads or connections: a copy of whatever holds it holds the same one.

    Frameworks copy their components, and locks cannot be copied.
    """

    def __copy__(self) -> Self:
        """The object itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """The object itself."""
        return self


class LoopThread:
    """A daemon thread that runs one event loop; thread-safe."""

    def __init__(self, name: str = "pi-loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._start()
        assert self._loop is not None
        return self._loop

    def _start(self) -> None:
        loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
        self.thread.start()
        self._loop = loop

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts `coroutine` on the loop, in a copy of the caller's context, and does not wait."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What `coroutine` returns, waited for by a thread other than the loop's.

        Raises:
            PiUsageError: on the loop's own thread, where waiting would block the loop for ever.
        """
        if threading.current_thread() is self.thread:
            coroutine.close()
            raise PiUsageError(
                "a synchronous pi_integrations call was made on its own background loop, where it would wait for"
                " itself; use the async client there"
            )
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def hop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What `coroutine` returns, awaited by any loop; cancelling the wait cancels it."""
        loop = self.loop
        if asyncio.get_running_loop() is loop:
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Runs `loop` for good: a SystemExit raised in a task is that task's result, and the other calls continue."""
    while True:
        try:
            loop.run_forever()
            return
        except (SystemExit, KeyboardInterrupt):
            logger.warning("a task on the background loop raised an exception that ends processes; the loop goes on")


_shared = LoopThread()
# Loops, pools and sessions that a fork copied into this process; never finalised here, since their sockets are the
# parent's too.
_left_behind: list[Any] = []


def loop_thread() -> LoopThread:
    """The process's one LoopThread."""
    return _shared


def abandon(thing: object) -> None:
    """Keeps `thing`, inherited through a fork, from ever being finalised in this process."""
    _left_behind.append(thing)


def _after_fork_in_child() -> None:
    global _shared
    abandon(_shared)
    _shared = LoopThread()


os.register_at_fork(after_in_child=_after_fork_in_child)
