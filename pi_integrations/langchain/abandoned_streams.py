"""The streams whose early end LangChain tells nobody about."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType

__all__ = ["FALLBACKS", "when_abandoned"]

FALLBACKS = "langchain_core.runnables.fallbacks"
"""The module of such streams; LangChain imports it when the first one is made."""

_SILENT = frozenset({"RunnableWithFallbacks.stream", "RunnableWithFallbacks.astream"})
_DEPTH = 8


def when_abandoned(forget: Callable[[], None]) -> None:
    """Calls `forget` once the stream that begins its run right now is gone, when that is one with fallbacks.

    Such a stream hands out its first piece outside of its own error handling, so that closing it there ends no run.
    The callback manager that began the run is the stream's alone, and goes when it goes.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None or frame.f_back is None:
            return
        if frame.f_back.f_code.co_qualname in _SILENT:
            manager = frame.f_locals.get("self")
            if manager is not None:
                weakref.finalize(manager, forget).atexit = False
            return
        frame = frame.f_back
