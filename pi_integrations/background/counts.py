"""Counts of what became of queued items, and waiting until all of them are settled."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pi_integrations.background.process import reset_after_fork
from pi_integrations.errors import PiUsageError

__all__ = ["Deadline", "ScorerCounts", "Tally", "Tickets", "until"]

_POLL_SECONDS = 0.01


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


async def until(is_so: Callable[[], bool], timeout: float | None) -> bool:
    """Whether `is_so` within `timeout` seconds. It polls, so that no thread needs to know of a loop that may close."""
    deadline = Deadline(timeout)
    while not is_so():
        if deadline.left == 0.0:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


class Tickets:
    """A numbered ticket for each item of a bounded queue, open until the item is settled; thread-safe.

    Args:
        capacity: Open tickets at a time.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # On a reentrant lock, as in `Tally`.
        self._changed = threading.Condition()
        # Tickets settle roughly in order: a plain dict would walk over the holes at its front to find the oldest.
        self._open: OrderedDict[int, None] = OrderedDict()
        self._submitted = self._scored = self._failed = self._dropped = 0
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self) -> int | None:
        """A new ticket; None, and one more dropped, when full or closed."""
        with self._changed:
            self._submitted += 1
            if self.is_closed or len(self._open) >= self._capacity:
                self._dropped += 1
                return None
            self._open[self._submitted] = None
            return self._submitted

    def drop(self) -> None:
        """Counts an item that is dropped without a ticket."""
        with self._changed:
            self._submitted += 1
            self._dropped += 1

    def is_open(self, ticket: int) -> bool:
        """Whether `ticket` is neither settled nor dropped."""
        return ticket in self._open

    def settle(self, ticket: int, *, is_scored: bool = True) -> None:
        """Closes `ticket` as scored or failed; one already dropped stays dropped."""
        with self._changed:
            if ticket in self._open:
                del self._open[ticket]
                self._scored += is_scored
                self._failed += not is_scored
                self._changed.notify_all()

    def close(self, *, drop: bool = True) -> int:
        """Admits nothing from now on, and drops the open tickets unless told not to; how many there are."""
        with self._changed:
            self.is_closed = True
            count = len(self._open)
            if drop:
                self._dropped += count
                self._open.clear()
                self._changed.notify_all()
            return count

    def wait(self, timeout: float | None) -> bool:
        """Whether every ticket handed out so far was closed within `timeout` seconds."""
        with self._changed:
            last = self._submitted
            return self._changed.wait_for(lambda: self._is_settled(last), Deadline(timeout).left)

    async def await_all(self, timeout: float | None) -> bool:
        """`wait`, without blocking the event loop."""
        last = self._submitted
        return await until(lambda: self._is_settled(last), timeout)

    def _is_settled(self, last: int) -> bool:
        with self._changed:
            return next(iter(self._open), last + 1) > last

    def counts(self) -> ScorerCounts:
        """All counts, taken at one moment."""
        with self._changed:
            return ScorerCounts(self._submitted, self._scored, self._failed, self._dropped, len(self._open))
