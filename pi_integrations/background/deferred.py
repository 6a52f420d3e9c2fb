"""Work that an application hands over unread: finding the exchange in what a framework's run was given and gave."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

__all__ = ["Deferred"]

# From here on, whoever adds one makes room; the second is for when another thread's call does not end.
_MANY = 1_000
_TOO_MANY = 10_000
_Call = tuple[Context, Callable[..., None], tuple[Any, ...]]


class Deferred:
    """Calls to make later, in the order in which they came, each with the context variables of the moment it came.

    The application's side is one `append`. `run_all` makes the calls that are there: the scorer's thread runs it many
    times a second, and so does whoever asks how things stand, in a thread of their own; one call is made at a time.

    Attributes:
        is_attended: Whether somebody looks without being told.

    Args:
        attend: Called after something was added that nobody would look for.
        failed: Called with what a call raised.
    """

    def __init__(self, attend: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self.is_attended = False
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
        waiting.append((copy_context(), task, arguments))
        # Who stops looking says so before looking a last time: one of the two sees the other.
        if not self.is_attended:
            self._attend()
        if len(waiting) > _MANY:
            self._make_room()

    def run_all(self, timeout: float | None = None) -> bool:
        """Makes every call that is there; without effect inside one.

        Whether that was possible within `timeout` seconds: it waits for a call that another thread makes.
        """
        return self._run_down_to(0, timeout)

    def _make_room(self) -> None:
        # Two for one that came, oldest first, and without waiting: a call that hangs must hold up no application.
        if not self._run_down_to(len(self._waiting) - 2, 0.0) and len(self._waiting) > _TOO_MANY:
            self._run(*self._waiting.pop())

    def _run_down_to(self, count: int, timeout: float | None) -> bool:
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            return False
        try:
            if self._is_running:
                return True
            self._is_running = True
            try:
                while len(self._waiting) > count:
                    self._run(*self._waiting.popleft())
            finally:
                self._is_running = False
        finally:
            self._lock.release()
        return True

    def _run(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            context.run(task, *arguments)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            self._failed(error)
