"""Work that an application hands over unread: finding the exchange in what a framework's run was given and gave."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

__all__ = ["Deferred"]

_Call = tuple[Context, Callable[..., None], tuple[Any, ...]]


class Deferred:
    """Calls to make later, in the order in which they came, each with the context variables of the moment it came.

    The application's side is one `append`. `run_all` makes the calls that are there: the scorer's thread runs it many
    times a second, and so does whoever asks how things stand, in a thread of their own; one call is made at a time.

    Attributes:
        is_attended: Whether somebody looks without being told.

    Args:
        limit: Calls that may wait; one more is made at once, where it is added: no application waits for a lock.
        attend: Called after something was added that nobody would look for.
        failed: Called with what a call raised.
    """

    def __init__(self, limit: int, attend: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self.is_attended = False
        self._limit = limit
        self._attend = attend
        self._failed = failed
        self._waiting: deque[_Call] = deque()
        # Reentrant: a call, or a garbage collection in one, may ask how things stand.
        self._lock = threading.RLock()
        self._is_running = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Takes a call of `task`, and returns at once."""
        waiting = self._waiting
        if len(waiting) >= self._limit:
            self._run(copy_context(), task, arguments)
            return
        waiting.append((copy_context(), task, arguments))
        # Who stops looking says so before looking a last time: one of the two sees the other.
        if not self.is_attended:
            self._attend()

    def run_all(self) -> None:
        """Makes every call that is there, and waits for one that another thread makes; without effect inside one."""
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
            try:
                while self._waiting:
                    self._run(*self._waiting.popleft())
            finally:
                self._is_running = False

    def _run(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            context.run(task, *arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 (SystemExit too, or it would end our thread; counted and logged)
            self._failed(error)
