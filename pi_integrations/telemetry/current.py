"""The application's own tracing: whether there is any, and the span it is in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

__all__ = ["current_span_context", "linked_span", "linked_to", "tracing"]

_linked: ContextVar[SpanContext | None] = ContextVar("pi_integrations_linked_span", default=None)
_trace: ModuleType | None = None


def _api() -> ModuleType | None:
    # Who configured a provider has imported this; importing it here would cost every application 25 ms.
    if "opentelemetry.trace" not in sys.modules:
        return None
    global _trace
    if _trace is None:
        from opentelemetry import trace

        _trace = trace
    return _trace


def tracing() -> ModuleType | None:
    """`opentelemetry.trace` where the application has configured a tracer provider; else None."""
    trace = _api()
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace


def current_span_context() -> SpanContext | None:
    """The context of the span that the caller runs in; None outside every span."""
    trace = _api()
    if trace is None:
        return None
    context: SpanContext = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


@contextmanager
def linked_to(span: SpanContext | None) -> Iterator[None]:
    """Spans of score calls made inside link to `span`: work that another trace caused, and that is no part of it."""
    token = _linked.set(span)
    try:
        yield
    finally:
        _linked.reset(token)


def linked_span() -> SpanContext | None:
    """What the innermost `linked_to` around the caller was given."""
    return _linked.get()
