"""Work that an application hands over unread: finding the exchange in what a framework's run was given and gave."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from threading import get_ident
from typing import Any

from pi_integrations.background.deadline import Deadline

__all__ = ["Deferred"]

_Call = tuple[Context, Callable[..., None], tuple[Any, ...]]


class Deferred:
    """Calls to make later, in the order in which they came, each with the context variables of the moment it came.

    The application's side is one `append`. The scorer's thread makes the calls, one at a time; who wants to know how
    things stand has another thread help it and waits as long as they like, for a call may ask a filter of the
    application's, and hang. What comes when there is no room, or after the end, is called where it came: its exchange
    is refused, which asks nobody.

    Attributes:
        is_attended: Whether somebody looks without being told.

    Args:
        attend: Called after something was added that nobody would look for.
        failed: Called with what a call raised.
        capacity: Calls waiting at a time.
    """

    def __init__(self, attend: Callable[[], None], failed: Callable[[BaseException], None], capacity: int) -> None:
        self.is_attended = False
        self._attend = attend
        self._failed = failed
        self._capacity = capacity
        self._waiting: deque[_Call] = deque()
        self._running = threading.Lock()
        self._runner: int | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Takes a call of `task`, and returns at once."""
        waiting = self._waiting
        call = (copy_context(), task, arguments)
        if len(waiting) >= self._capacity:
            self._refuse(*call)
            return
        waiting.append(call)
        # Who stops looking says so before looking a last time: one of the two sees the other.
        if self._is_closed:
            self._refuse_all()
        elif not self.is_attended:
            self._attend()

    def is_refusing(self) -> bool:
        """Whether this is called inside a call for which there was no room."""
        return _refusing.get() is self

    def run_all(self) -> None:
        """Makes the calls that are there, oldest first; leaves them to another thread that is at it."""
        while self._waiting and self._running.acquire(blocking=False):
            self._runner = get_ident()
            try:
                with suppress(IndexError):  # taken by `close`
                    self._run(*self._waiting.popleft())
            finally:
                self._runner = None
                self._running.release()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to wait for; inside a call, there is not."""
        return self._runner == get_ident() or not (self._waiting or self._running.locked())

    def wait(self, timeout: float | None) -> bool:
        """Whether every call that is there was made within `timeout` seconds."""
        if self.is_done:
            return True
        made = threading.Event()
        forget = self.tell(made.set)
        try:
            return made.wait(Deadline(timeout).left)
        finally:
            forget()

    def tell(self, made: Callable[[], Any]) -> Callable[[], None]:
        """Has `made` called, in another thread, once every call that is there was made; returns what prevents it."""
        call: _Call = (Context(), made, ())
        self._waiting.append(call)
        if self._is_closed:
            self._refuse_all()
        else:
            self._help()

        def forget() -> None:
            with suppress(ValueError):
                self._waiting.remove(call)

        return forget

    def close(self) -> None:
        """Refuses what is there and whatever comes."""
        self._is_closed = True
        self._refuse_all()

    def _help(self) -> None:
        # A thread for a moment: the scorer's own may be in a sink that hangs, and the caller's must not be in a filter.
        thread = threading.Thread(target=Context().run, args=(self.run_all,), name="pi-reading", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started any more; the scorer's own may be there
            self._attend()

    def _refuse_all(self) -> None:
        while self._waiting:
            with suppress(IndexError):  # taken by another thread
                self._refuse(*self._waiting.popleft())

    def _refuse(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        context.run(_refusing.set, self)
        self._run(context, task, arguments)

    def _run(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            context.run(task, *arguments)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            self._failed(error)


_refusing: ContextVar[Deferred | None] = ContextVar("pi_refusing", default=None)
