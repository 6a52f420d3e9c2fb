"""Makes LangGraph report interrupts to a callback handler."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["told_of_interrupts"]


@lru_cache
def told_of_interrupts(handler: type[Any]) -> type[Any]:
    """`handler` as a subclass of LangGraph's own handler class: LangGraph reports interrupts only to these.

    `handler` itself where LangGraph is not installed, or too old to have that class. Called when a handler is created,
    so that importing one does not load LangGraph.
    """
    try:
        from langgraph.callbacks import GraphCallbackHandler
    except ImportError:
        return handler
    if issubclass(handler, GraphCallbackHandler):
        return handler
    names = {"__module__": handler.__module__, "__qualname__": handler.__qualname__, "__doc__": handler.__doc__}
    return type(handler.__name__, (handler, GraphCallbackHandler), names)
