"""The process around a scorer: threads that start when needed, forks, and a bounded time for queued work at the end."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  (registers its own exit first, see below)
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Protocol

from pi_integrations.background.absorbed_errors import ABSORBED_ERRORS, WarnOnce

__all__ = ["LazyThread", "drain_at_exit", "reset_after_fork"]


class LazyThread:
    """A daemon thread that runs `target` from the first `start` on, in a context of its own: no part of any trace.

    Attributes:
        thread: The thread; None before it was started.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        self._target = target
        self._name = name
        # Reentrant: a garbage collection in `start` may run a finaliser that calls `start`.
        self._lock = threading.RLock()
        self.thread: threading.Thread | None = None

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self.thread

    def start(self) -> None:
        """Starts the thread unless it was started before; raises RuntimeError when the process can have no more."""
        if self.thread is None:
            # Made before the lock is taken: a finaliser that runs meanwhile may start one.
            thread = threading.Thread(target=Context().run, args=(self._target,), name=self._name, daemon=True)
            with self._lock:
                self.thread = self.thread or thread  # set before it runs, for `is_current`
                try:
                    if self.thread is thread:
                        thread.start()
                except BaseException:
                    self.thread = None
                    raise


class _Drainable(Protocol):
    """An object with queued work."""

    exit_timeout: float

    def flush(self, timeout: float | None = None) -> bool: ...
    def close(self, timeout: float | None = 0.0) -> None: ...


class _Forkable(Protocol):
    """An object with locks or threads, which do not work in a forked child."""

    def start_over(self) -> None: ...


_warn = WarnOnce(logging.getLogger("pi_integrations.background"))
_drainables: weakref.WeakKeyDictionary[_Drainable, float] = weakref.WeakKeyDictionary()
_forkables: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def drain_at_exit(thing: _Drainable) -> None:
    """Gives `thing`, as long as it lives, up to `thing.exit_timeout` seconds when the interpreter exits."""
    _drainables[thing] = thing.exit_timeout


def reset_after_fork(thing: _Forkable) -> None:
    """Calls `thing.start_over()` in every child forked from now on, before all else, as long as `thing` lives."""
    _forkables.add(thing)


def _newest_first() -> Iterator[tuple[_Drainable, float]]:
    """Each object with the seconds it has left; objects of one class work at the same time, so they share theirs."""
    began: dict[type, float] = {}
    # A scorer is made after its sinks, and needs them until it is done.
    for thing, seconds in list(_drainables.items())[::-1]:
        now = time.monotonic()
        yield thing, max(began.setdefault(type(thing), now) + seconds - now, 0.0)


def _flush_all() -> None:
    for thing, seconds in _newest_first():
        started = time.monotonic()
        _absorb_errors(thing, thing.flush, seconds)
        _drainables[thing] = max(seconds - (time.monotonic() - started), 0.0)


def _close_all() -> None:
    for thing, seconds in _newest_first():
        _absorb_errors(thing, thing.close, seconds)


def _absorb_errors(thing: _Drainable, end: Callable[[float], object], seconds: float) -> None:
    try:
        end(seconds)
    except ABSORBED_ERRORS as error:
        _warn.of(error, f"{type(thing).__name__} could not be emptied at the end of the process", about=id(thing))


def _after_fork_in_child() -> None:
    for thing in list(_forkables):
        thing.start_over()


# Two steps. Thread pools refuse work once `threading` has run its own exit functions, last registered first; name
# resolution and judges use pools, so the queue is flushed before. Threads that are no daemons may still add work
# after that: `atexit` comes when they are done, and ends it.
getattr(threading, "_register_atexit", atexit.register)(_flush_all)
atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)
