"""Counts of what became of queued items, and waiting until all of them are settled."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pi_integrations.background.process import reset_after_fork
from pi_integrations.errors import PiUsageError

__all__ = ["Deadline", "ScorerCounts", "Tally", "ThreadsafeEvent", "Tickets"]


@dataclass(frozen=True, slots=True)
class ScorerCounts:
    """What became of the exchanges given to a `BackgroundScorer`.

    At any moment `submitted == scored + failed + dropped + pending`. `unread` stands apart: an unread exchange becomes
    one of `submitted`, `sampled_out` or `filtered_out` when the scorer's thread reads it.

    Attributes:
        submitted: Exchanges given to `submit` that were neither filtered nor sampled out.
        scored: Scored, and taken by every sink.
        failed: Got no score, retries included; or a sink raised.
        dropped: Never scored, because the queue was full, the scorer closed, or the interpreter exited.
        pending: Waiting for a score, or being scored.
        sampled_out: Left out by sampling; not part of `submitted`.
        filtered_out: Left out by name or tags, before sampling; not part of `submitted`.
        unread: Handed over by a handler, with `defer`, and not read yet.
    """

    submitted: int = 0
    scored: int = 0
    failed: int = 0
    dropped: int = 0
    pending: int = 0
    sampled_out: int = 0
    filtered_out: int = 0
    unread: int = 0


class Tally:
    """Named counts from 0, safe for threads and finalisers; a forked child starts at 0 again.

    Example:
        >>> tally = Tally("seen", "skipped")
        >>> tally.add("seen")
        >>> tally.counts()
        {'seen': 1, 'skipped': 0}
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self.start_over()
        reset_after_fork(self)

    def start_over(self) -> None:
        """Sets every count to 0."""
        # Reentrant: a garbage collection inside `add` may run a finaliser that calls `add`.
        self._lock = threading.RLock()
        self._counts = dict.fromkeys(self._names, 0)

    def add(self, name: str, number: int = 1) -> None:
        """Adds `number` to `name`."""
        with self._lock:
            self._counts[name] += number

    def counts(self) -> dict[str, int]:
        """All counts, taken at one moment."""
        with self._lock:
            return dict(self._counts)


class Deadline:
    """`timeout` seconds from now: never for None or infinity, now for anything below 0.

    Raises:
        PiUsageError: when `timeout` is not a number.
    """

    def __init__(self, timeout: float | None) -> None:
        try:
            is_number = timeout is None or not math.isnan(timeout)
        except TypeError:
            is_number = False
        if not is_number:
            raise PiUsageError(f"timeout is {timeout!r}; give seconds, or None to wait as long as it takes")
        # Python's locks refuse longer waits than TIMEOUT_MAX.
        self._end = None if timeout is None or timeout > threading.TIMEOUT_MAX / 2 else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0; None when there is no end."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)


class ThreadsafeEvent:
    """An event of the running loop that any thread may set, at any time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def set(self) -> None:
        """Wakes the waiting coroutines."""
        with suppress(RuntimeError):  # the loop was closed, and nobody waits
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it was set within `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self._event.is_set()


class Tickets:
    """A numbered ticket for each item of a bounded queue, open until the item is settled; thread-safe.

    Args:
        capacity: Open tickets at a time.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # Reentrant, as in `Tally`.
        self._lock = threading.RLock()
        # Tickets settle roughly in order: a plain dict would walk over the holes at its front to find the oldest.
        self._open: OrderedDict[int, None] = OrderedDict()
        self._waiters: dict[object, tuple[int, Callable[[], object]]] = {}
        self._submitted = self._scored = self._failed = self._dropped = 0
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self) -> int | None:
        """A new ticket; None, and one more dropped, when full or closed."""
        with self._lock:
            self._submitted += 1
            if self.is_closed or len(self._open) >= self._capacity:
                self._dropped += 1
                return None
            self._open[self._submitted] = None
            return self._submitted

    def drop(self) -> None:
        """Counts an item that is dropped without a ticket."""
        with self._lock:
            self._submitted += 1
            self._dropped += 1

    def is_open(self, ticket: int) -> bool:
        """Whether `ticket` is neither settled nor dropped."""
        return ticket in self._open

    def settle(self, ticket: int | None, *, is_scored: bool = True) -> None:
        """Closes `ticket`, if there is one, as scored or failed; one already dropped stays dropped."""
        with self._lock:
            if ticket in self._open:
                del self._open[ticket]  # type: ignore[arg-type]
                self._scored += is_scored
                self._failed += not is_scored
        self._notify()

    def close(self) -> None:
        """Admits nothing from now on; open tickets stay open."""
        with self._lock:
            self.is_closed = True

    def drop_open(self) -> int:
        """Closes every open ticket as dropped; returns how many there were."""
        with self._lock:
            count = len(self._open)
            self._dropped += count
            self._open.clear()
        self._notify()
        return count

    def wait(self, timeout: float | None) -> bool:
        """Whether every ticket handed out so far was closed within `timeout` seconds."""
        closed = threading.Event()
        with self._waiting(closed.set):
            return closed.wait(Deadline(timeout).left)

    async def await_all(self, timeout: float | None) -> bool:
        """`wait`, without blocking the event loop."""
        if not self._open:
            return True
        closed = ThreadsafeEvent()
        with self._waiting(closed.set):
            return await closed.wait(timeout)

    @contextmanager
    def _waiting(self, notify: Callable[[], object]) -> Iterator[None]:
        waiter = object()
        with self._lock:
            self._waiters[waiter] = (self._submitted, notify)
        self._notify()
        try:
            yield
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)

    def _notify(self) -> None:
        """Wakes those whose tickets are all closed: they wait for tickets up to a number, not for later ones."""
        if not self._waiters:
            return
        with self._lock:
            oldest = next(iter(self._open), self._submitted + 1)
            ready = [waiter for waiter, (last, _) in self._waiters.items() if last < oldest]
            notify = [self._waiters.pop(waiter)[1] for waiter in ready]
        for each in notify:
            each()

    def counts(self) -> ScorerCounts:
        """All counts, taken at one moment."""
        with self._lock:
            return ScorerCounts(self._submitted, self._scored, self._failed, self._dropped, len(self._open))
