"""Results that a client keeps, so that the same request is not sent twice."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Protocol

from pi_integrations.errors import PiUsageError
from pi_integrations.models import ScoreResult

__all__ = ["MemoryResultCache", "ResultCache", "cache_key"]


class ResultCache(Protocol):
    """Results that a client looks up before it sends; called from many threads, so quick and thread-safe.

    The key is a digest of the endpoint, the whole request and the unscored policy. It does not hold the engine's judge:
    give each judge a cache of its own.
    """

    def get(self, key: str) -> ScoreResult | None:
        """The result kept under `key`."""
        ...

    def set(self, key: str, result: ScoreResult) -> None:
        """Keeps `result`."""
        ...


class MemoryResultCache:
    """The last `max_entries` results, in memory.

    Example:
        >>> cache = MemoryResultCache(max_entries=1000)
        >>> cache.get("unknown") is None
        True
    """

    def __init__(self, max_entries: int = 10_000) -> None:
        if max_entries < 1:
            raise PiUsageError(f"max_entries is {max_entries}; it must be at least 1")
        self._max_entries = max_entries
        self._entries: OrderedDict[str, ScoreResult] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> ScoreResult | None:
        """The result kept under `key`."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def set(self, key: str, result: ScoreResult) -> None:
        """Keeps `result`, and drops the least recently used one when full."""
        with self._lock:
            self._entries[key] = result
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)


def cache_key(base_url: str, policy: str | None, body: bytes) -> str:
    """The key of a request: a digest of the endpoint, the unscored policy and the body."""
    digest = hashlib.sha256(f"{base_url}\n{policy}\n".encode())
    digest.update(body)
    return digest.hexdigest()
