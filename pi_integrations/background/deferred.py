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
from pi_integrations.background.trouble import is_ctrl_c

__all__ = ["Deferred"]

_Call = tuple[Context, Callable[..., None], tuple[Any, ...]]


class Deferred:
    """Calls to make later, in the order in which they came, each with the context variables of the moment it came.

    The application's side is one `append`. The scorer's thread makes the calls, one at a time; who wants to know how
    things stand has another thread help it and waits as long as they like, for a call may ask a filter of the
    application's, and hang. What comes when there is no room, or after the end, is called where it came: its exchange
    is refused, which asks nobody. So is what is left at the end, on a thread of its own.

    Attributes:
        is_attended: Whether somebody looks without being told.

    Args:
        attend: Called after something was added that nobody would look for; whether there is a thread now that does.
        failed: Called with what a call raised.
        capacity: Calls waiting at a time.
    """

    def __init__(self, attend: Callable[[], bool], failed: Callable[[BaseException], None], capacity: int) -> None:
        self.is_attended = False
        self._attend = attend
        self._failed = failed
        self._capacity = capacity
        self._waiting: deque[_Call] = deque()
        self._running = threading.Lock()
        self._runner: int | None = None
        self._closed = threading.Event()
        # Those that wait take no room.
        self._told: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        """Takes a call of `task`, and returns at once."""
        waiting = self._waiting
        call = (copy_context(), task, arguments)
        if self._closed.is_set() or (len(waiting) >= self._capacity and self._is_full()):
            self._refuse(*call)
            return
        waiting.append(call)
        # Who stops looking says so before looking a last time: one of the two sees the other.
        if self._closed.is_set():
            self._refuse_all()
        elif not self.is_attended:
            self._attend()

    def is_refusing(self) -> bool:
        """Whether this is called inside a call for which there was no room."""
        mark = _refusing.get()
        # A thread that was started in there has a copy of its context.
        return mark is not None and mark == (id(self), get_ident())

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._capacity + len(self._told)

    def run_all(self, seconds: float | None = None) -> bool:
        """Makes the calls that are there, oldest first, for some time; leaves them to another thread that is at it.

        Whether time ran out.
        """
        deadline = Deadline(seconds)
        while self._waiting and self._running.acquire(blocking=False):
            self._runner = get_ident()
            try:
                with suppress(IndexError):  # taken by `close`
                    self._run(*self._waiting.popleft())
            finally:
                self._runner = None
                self._running.release()
            if deadline.left == 0.0:
                return True
        return False

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
        self._told.add(id(call))
        self._waiting.append(call)
        # A thread for a moment: the scorer's own may be in a sink that hangs, and the caller's must not be in a filter.
        if self._start(self._refuse_all if self._closed.is_set() else self.run_all) is None and not self._attend():
            self.run_all()

        def forget() -> None:
            self._told.discard(id(call))
            with suppress(ValueError):
                self._waiting.remove(call)

        return forget

    def close(self, patience: float) -> int:
        """Refuses what is there, and whatever comes; how much it did not get at within `patience` seconds."""
        self._closed.set()
        if self._waiting and (thread := self._start(self._refuse_all)) is not None:
            thread.join(patience)
        return len(self._waiting)

    def _start(self, work: Callable[[], object]) -> threading.Thread | None:
        thread = threading.Thread(target=Context().run, args=(work,), name="pi-reading", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started any more
            return None
        return thread

    def _refuse_all(self) -> None:
        while self._waiting:
            with suppress(IndexError):  # taken by another thread
                self._refuse(*self._waiting.popleft())

    def _refuse(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        context.run(_refusing.set, (id(self), get_ident()))
        self._run(context, task, arguments)

    def _run(self, context: Context, task: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            context.run(task, *arguments)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self._failed(error)


_refusing: ContextVar[tuple[int, int] | None] = ContextVar("pi_refusing", default=None)
