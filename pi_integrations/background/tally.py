"""Counters that several threads, and finalisers, may bump at any moment."""

from __future__ import annotations

import threading

from pi_integrations.background.forks import reset_after_fork

__all__ = ["Tally"]


class Tally:
    """Named counts from 0; a forked child starts at 0 again.

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
