"""The end of the process: queued work gets a bounded time, then it is dropped, counted and logged.

Scorers work at the same time, so that their times run together: ten that hang hold up the exit no longer than one does.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  (registers its own exit first, see below)
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from pi_integrations.background.once import WarnOnce, kind_of
from pi_integrations.background.trouble import TROUBLE

__all__ = ["Drainable", "drain_at_exit"]


class Drainable(Protocol):
    """Something with work in a queue."""

    exit_timeout: float

    def flush(self, timeout: float | None = None) -> bool:
        """Waits for the work."""
        ...

    def close(self, timeout: float | None = 0.0) -> None:
        """Waits for the work, and drops what is left."""
        ...


_warn = WarnOnce(logging.getLogger("pi_integrations.background"))
_drainables: weakref.WeakKeyDictionary[Drainable, float] = weakref.WeakKeyDictionary()


def drain_at_exit(thing: Drainable) -> None:
    """Gives `thing`, as long as it lives, up to `thing.exit_timeout` seconds when the interpreter exits."""
    _drainables[thing] = thing.exit_timeout


def _last_made_first() -> Iterator[tuple[Drainable, float]]:
    """What is to be drained, with the seconds it still has; those of one class run since the first of them came."""
    began: dict[type, float] = {}
    # A scorer is made after its sinks, and needs them until it is done.
    for thing, seconds in list(_drainables.items())[::-1]:
        now = time.monotonic()
        yield thing, max(began.setdefault(type(thing), now) + seconds - now, 0.0)


def _flush_all() -> None:
    for thing, seconds in _last_made_first():
        started = time.monotonic()
        _end(thing, thing.flush, seconds)
        _drainables[thing] = max(seconds - (time.monotonic() - started), 0.0)


def _close_all() -> None:
    for thing, seconds in _last_made_first():
        _end(thing, thing.close, seconds)


def _end(thing: Drainable, end: Callable[[float], object], seconds: float) -> None:
    """Flushes or closes `thing`; what it raises costs those that come after it nothing."""
    try:
        end(seconds)
    except TROUBLE as error:
        what = f"{type(thing).__name__} could not be emptied at the end of the process"
        _warn((id(thing), kind_of(error)), f"{what}: {type(error).__name__}: {error}", error)


# Two steps. Thread pools refuse work once `threading` has run its own exit functions, last registered first; name
# resolution and judges use pools, so the queue is flushed before. Threads that are no daemons may still add work
# after that: `atexit` comes when they are done, and ends it.
getattr(threading, "_register_atexit", atexit.register)(_flush_all)
atexit.register(_close_all)
