"""What the components of frameworks hold and must not copy with themselves."""

from __future__ import annotations

from typing import Any, Self

__all__ = ["Shared"]


class Shared:
    """Something with locks, threads or connections: whoever copies what holds it has the same one."""

    def __copy__(self) -> Self:
        """Itself: another one would have half of its state in common with it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: frameworks copy their components, and locks cannot be copied."""
        return self
