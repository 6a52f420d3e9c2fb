"""The few exchanges that a summary keeps whole: those with the lowest keys of all it has seen."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

from pi_integrations.models import ScoreResult

__all__ = ["Excerpt", "KeptExchange", "Lowest", "excerpt"]

_EXCERPT_CHARACTERS = 20_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text, and how many characters the whole text has."""

    text: str
    length: int

    @property
    def cut(self) -> bool:
        """Whether anything is missing."""
        return len(self.text) < self.length


def excerpt(text: str, limit: int = _EXCERPT_CHARACTERS) -> Excerpt:
    """The first `limit` characters of `text`."""
    return Excerpt(text[:limit], len(text))


@dataclass(frozen=True, slots=True)
class KeptExchange:
    """A scored exchange, its texts cut to 20,000 characters."""

    number: int
    id: str | None
    label: str | None
    positive: bool | None
    llm_input: Excerpt
    llm_output: Excerpt
    result: ScoreResult


class Lowest(Generic[T]):
    """The `size` items with the lowest keys; of equal keys the first added stay.

    Example:
        >>> lowest = Lowest(2)
        >>> for word in ("pear", "fig", "banana"):
        ...     lowest.add(len(word), word)
        >>> lowest.items
        ['fig', 'pear']
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._added = 0
        self._heap: list[tuple[float, int, T]] = []

    def admits(self, key: float) -> bool:
        """Whether an item with this key would be kept now."""
        return len(self._heap) < self._size or (bool(self._heap) and key < -self._heap[0][0])

    def add(self, key: float, item: T) -> None:
        """Offers an item."""
        if not self.admits(key):
            return
        # The root of the heap is the item to give up next: the highest key, and of equal ones the latest.
        self._added += 1
        entry = (-key, -self._added, item)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    @property
    def items(self) -> list[T]:
        """The items kept, lowest key first."""
        return [item for _, _, item in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
