"""The book of a background scorer: what came in, what became of it, and who waits for that."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from pi_integrations.background.deadline import Deadline

__all__ = ["Ledger", "ScorerCounts"]


@dataclass(frozen=True, slots=True)
class ScorerCounts:
    """What became of everything a `BackgroundScorer` was given.

    At any moment `submitted == scored + failed + dropped + pending`.

    Attributes:
        submitted: Exchanges given to `submit` that were neither filtered nor sampled out.
        scored: Scored, and taken by every sink.
        failed: Got no score, retries included; or a sink raised.
        dropped: Never scored, because the queue was full, the scorer closed, or the interpreter left.
        pending: Waiting for a score, or being scored.
        sampled_out: Left out by sampling; not part of `submitted`.
        filtered_out: Left out by name or tags, before sampling; not part of `submitted`.
    """

    submitted: int = 0
    scored: int = 0
    failed: int = 0
    dropped: int = 0
    pending: int = 0
    sampled_out: int = 0
    filtered_out: int = 0


class Ledger:
    """Hands out a ticket per exchange, and keeps the tickets that are still open; thread-safe.

    Args:
        capacity: Open tickets at a time.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # Reentrant, as in `Tally`.
        self._lock = threading.RLock()
        # Tickets settle roughly in order: a plain dict would walk over the holes at its front to find the oldest.
        self._open: OrderedDict[int, None] = OrderedDict()
        self._waiters: list[tuple[int, Future[None]]] = []
        self._closed = False
        self._submitted = self._scored = self._failed = self._dropped = 0
        self._sampled_out = self._filtered_out = 0

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def admit(self) -> int | None:
        """A new ticket; None, and one dropped, when full or closed."""
        with self._lock:
            self._submitted += 1
            if self._closed or len(self._open) >= self._capacity:
                self._dropped += 1
                return None
            self._open[self._submitted] = None
            return self._submitted

    def drop(self) -> None:
        """Counts one that is dropped before it gets a ticket."""
        with self._lock:
            self._submitted += 1
            self._dropped += 1

    def sample_out(self) -> None:
        """Counts one that sampling left out."""
        with self._lock:
            self._sampled_out += 1

    def filter_out(self) -> None:
        """Counts one that the filters left out."""
        with self._lock:
            self._filtered_out += 1

    def is_open(self, ticket: int) -> bool:
        """Whether `ticket` is neither settled nor dropped."""
        with self._lock:
            return ticket in self._open

    def settle(self, ticket: int, *, scored: bool) -> None:
        """Closes `ticket`; one already dropped stays dropped."""
        with self._lock:
            if ticket not in self._open:
                return
            del self._open[ticket]
            if scored:
                self._scored += 1
            else:
                self._failed += 1
            done = self._due()
        _notify(done)

    def close(self) -> int:
        """Drops whatever is open, admits nothing more, and says how many were dropped."""
        with self._lock:
            self._closed = True
            count = len(self._open)
            self._dropped += count
            self._open.clear()
            done = self._due()
        _notify(done)
        return count

    def settled(self) -> Future[None]:
        """Done as soon as every ticket handed out so far is closed."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._waiters.append((self._submitted, future))
            done = self._due()
        _notify(done)
        return future

    def wait(self, timeout: float | None) -> bool:
        """Whether every ticket handed out so far was closed within `timeout` seconds."""
        settled = self.settled()
        with suppress(TimeoutError):
            try:
                settled.result(Deadline(timeout).left)
            finally:
                self.forget(settled)
        return settled.done()

    def forget(self, future: Future[None]) -> None:
        """Nobody waits for `future` any more."""
        with self._lock:
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not future]

    def _due(self) -> list[Future[None]]:
        if not self._waiters:
            return []
        oldest = next(iter(self._open), self._submitted + 1)
        done = [future for target, future in self._waiters if target < oldest]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] >= oldest]
        return done

    def counts(self) -> ScorerCounts:
        """All counts, taken at one moment."""
        with self._lock:
            return ScorerCounts(
                submitted=self._submitted,
                scored=self._scored,
                failed=self._failed,
                dropped=self._dropped,
                pending=len(self._open),
                sampled_out=self._sampled_out,
                filtered_out=self._filtered_out,
            )


def _notify(done: list[Future[None]]) -> None:
    for future in done:
        future.set_result(None)
