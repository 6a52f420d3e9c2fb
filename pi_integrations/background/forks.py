"""What a forked child makes anew: locks and threads of the parent do not work there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "reset_after_fork"]


class Forkable(Protocol):
    """Something with state that belongs to one process."""

    def start_over(self) -> None:
        """Forgets the parent's state; called in the child, before anything else runs there."""
        ...


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def reset_after_fork(thing: Forkable) -> None:
    """Calls `thing.start_over()` in every child forked from now on, as long as `thing` lives."""
    _forkables.add(thing)


def _after_fork_in_child() -> None:
    for thing in list(_forkables):
        thing.start_over()


os.register_at_fork(after_in_child=_after_fork_in_child)
