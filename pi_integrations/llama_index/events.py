"""The contents of LlamaIndex's workflow events: declared fields, others, and the result of a stop event."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llama_index.core.workflow import Event, StopEvent

__all__ = ["fields_of", "result_of"]


def fields_of(event: Event) -> dict[str, Any]:
    """All fields of `event` by name, declared or not."""
    others = _private(event).get("_data")
    if others is None:
        others = dict(event.items())
    declared = _declared(type(event))
    return {**{name: getattr(event, name) for name in declared}, **others} if declared else dict(others)


def result_of(event: StopEvent) -> Any:
    """The result that a workflow's caller receives; None, or the event itself, where that is the event's own fields."""
    private = _private(event)
    return private["_result"] if type(event) is StopEvent and "_result" in private else event.result


def _private(event: Event) -> dict[str, Any]:
    """Private attributes by name. Attribute access is slow: pydantic searches everywhere else first, for 3 to 15 µs."""
    return event.__pydantic_private__ or {}


@lru_cache(maxsize=4096)
def _declared(kind: Any) -> tuple[str, ...]:
    return tuple(kind.model_fields)
