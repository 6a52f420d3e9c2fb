"""Runs whose early end LangChain does not report to callback handlers."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType

from langchain_core.callbacks import BaseCallbackManager

__all__ = ["FALLBACKS", "when_abandoned"]

FALLBACKS = "langchain_core.runnables.fallbacks"
"""Module of the streams with fallbacks; LangChain imports it when the first one is created."""

# A stream with fallbacks hands out its first piece outside of its own error handling, and a chat model handles no
# cancellation.
_SILENT = frozenset({"RunnableWithFallbacks.stream", "RunnableWithFallbacks.astream", "BaseChatModel.agenerate"})
_DEPTH = 8


def when_abandoned(forget: Callable[[], None]) -> None:
    """Calls `forget` once the stream or model call that is starting its run now is gone, if its end is not reported.

    The callback manager that started the run belongs to that stream or call alone and is collected with it: when it
    ends, is closed or is cancelled. For a run that has ended, `forget` has no effect.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None or frame.f_back is None:
            return
        if frame.f_back.f_code.co_qualname in _SILENT:
            manager = frame.f_locals.get("self")
            if isinstance(manager, BaseCallbackManager):
                weakref.finalize(manager, forget).atexit = False
            return
        frame = frame.f_back
