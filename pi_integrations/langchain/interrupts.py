"""How a handler of callbacks hears that a graph was interrupted."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["told_of_interrupts"]


@lru_cache
def told_of_interrupts(handler: type[Any]) -> type[Any]:
    """`handler` as LangGraph wants it: it tells subclasses of a class of its own alone.

    `handler` itself where LangGraph is not installed, or older than that class. Asked for when a handler is made, so
    that importing one loads no LangGraph.
    """
    try:
        from langgraph.callbacks import GraphCallbackHandler
    except ImportError:
        return handler
    if issubclass(handler, GraphCallbackHandler):
        return handler
    names = {"__module__": handler.__module__, "__qualname__": handler.__qualname__, "__doc__": handler.__doc__}
    return type(handler.__name__, (handler, GraphCallbackHandler), names)
