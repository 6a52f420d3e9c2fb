"""The runs whose early end LangChain tells nobody about."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import FrameType

from langchain_core.callbacks import BaseCallbackManager

__all__ = ["FALLBACKS", "when_abandoned"]

FALLBACKS = "langchain_core.runnables.fallbacks"
"""The module of streams among them; LangChain imports it when the first one is made."""

# A stream with fallbacks hands out its first piece outside of its own error handling, and a chat model handles no
# cancellation.
_SILENT = frozenset({"RunnableWithFallbacks.stream", "RunnableWithFallbacks.astream", "BaseChatModel.agenerate"})
_DEPTH = 8


def when_abandoned(forget: Callable[[], None]) -> None:
    """Calls `forget` once the stream or the call of a model that begins its run right now is gone, when it is silent.

    The callback manager that began the run is the stream's or the call's alone, and goes when it goes: by itself, when
    it is closed, or when it is cancelled. Of a run that has ended there is nothing left to forget.
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
