"""Tracing, for applications that use it: a span per score call of the client, and what a caller has switched off.

Spans follow the semantic conventions for generative AI and for HTTP clients. Where the application has not loaded
OpenTelemetry, nothing is loaded and nothing is recorded. Events are in `evaluations`.

Work outside the caller's context, such as a request to a judge model, is no part of the caller's run: it gets neither
its callbacks nor its parent. But a text that the caller keeps from a tracing server must not reach it through us, so
`tracing_switches` are taken where the work is handed over and set again by `switched` where it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pi_integrations._version import __version__
from pi_integrations.errors import PiStatusError
from pi_integrations.models import ScoreResult

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

__all__ = [
    "ScoreCall",
    "TracingSwitches",
    "current_span_context",
    "linked_to",
    "score_call",
    "switched",
    "tracing_switches",
]

# `client` may hide inputs and outputs, and `project_name` is where the caller wants its traces.
_LANGSMITH = ("enabled", "client", "project_name")

_linked: ContextVar[SpanContext | None] = ContextVar("pi_integrations_linked_span", default=None)
_trace: ModuleType | None = None


def _api() -> ModuleType | None:
    # An application that configured a provider has imported this; importing it here would cost every other one 25 ms.
    if "opentelemetry.trace" not in sys.modules:
        return None
    global _trace
    if _trace is None:
        from opentelemetry import trace

        _trace = trace
    return _trace


def _tracing() -> ModuleType | None:
    """`opentelemetry.trace` if the application has configured a tracer provider; else None."""
    trace = _api()
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace


def current_span_context() -> SpanContext | None:
    """The context of the current span; None outside every span."""
    trace = _api()
    if trace is None:
        return None
    context: SpanContext = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


@contextmanager
def linked_to(span: SpanContext | None) -> Iterator[None]:
    """Makes spans of score calls inside link to `span`, which caused them in another trace."""
    token = _linked.set(span)
    try:
        yield
    finally:
        _linked.reset(token)


class ScoreCall:
    """Receives the events of one score call; this class ignores them, for applications without tracing."""

    def sending(self) -> None:
        """An attempt begins."""

    def answered(self, status: int) -> None:
        """An attempt was answered with an HTTP status."""

    def scored(self, result: ScoreResult) -> None:
        """The call has its result."""


class _TracedCall(ScoreCall):
    def __init__(self, span: Span) -> None:
        self._span = span
        self._attempts = 0

    def sending(self) -> None:
        self._attempts += 1
        if self._attempts > 1:
            self._span.set_attribute("http.request.resend_count", self._attempts - 1)

    def answered(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)

    def scored(self, result: ScoreResult) -> None:
        # `pi.*` are attributes of our own; the other names are the conventions'.
        self._span.set_attribute("pi.total_score", result.total_score)
        usage = result.usage
        known: dict[str, Any] = {
            "pi.judge": result.judge,
            "gen_ai.usage.input_tokens": usage and usage.input_tokens,
            "gen_ai.usage.output_tokens": usage and usage.output_tokens,
        }
        for name, value in known.items():
            if value is not None:
                self._span.set_attribute(name, value)


_UNTRACED = ScoreCall()


@contextmanager
def score_call(base_url: str) -> Iterator[ScoreCall]:
    """A span named `evaluate pi` around one score call and its retries, if a tracer provider is configured.

    Its attributes are the server, the status of the last answer, the number of retries, and the type of the error that
    ended it; never a text of the exchange, a message of an error, or a key.
    """
    trace = _tracing()
    if trace is None:
        yield _UNTRACED
        return
    span = _start(trace, base_url)
    # No exception is recorded: its message may quote the exchange.
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield _TracedCall(span)
        except BaseException as error:
            span.set_attribute("error.type", _kind(error))
            span.set_status(trace.StatusCode.ERROR)
            raise


def _start(trace: ModuleType, base_url: str) -> Span:
    cause = _linked.get()
    links = [trace.Link(cause)] if cause is not None else None
    tracer = trace.get_tracer("pi_integrations", __version__)
    started: Span = tracer.start_span(
        "evaluate pi", kind=trace.SpanKind.CLIENT, links=links, attributes=_address(base_url)
    )
    return started


@lru_cache(maxsize=64)
def _address(base_url: str) -> dict[str, Any]:
    parts = urlsplit(base_url)
    return {
        "gen_ai.operation.name": "evaluate",
        "gen_ai.provider.name": "pi",
        "http.request.method": "POST",
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _kind(error: BaseException) -> str:
    if isinstance(error, PiStatusError):
        return str(error.status)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True)
class TracingSwitches:
    """Arguments of LangSmith's `tracing_context`, and entries of OpenTelemetry's context."""

    langsmith: Mapping[str, Any] = field(default_factory=dict)
    opentelemetry: Mapping[str, Any] = field(default_factory=dict)


def tracing_switches() -> TracingSwitches:
    """Those that are set where this is called; of a package that nobody has imported, none can be."""
    langsmith = opentelemetry = None
    if (helpers := sys.modules.get("langsmith.run_helpers")) is not None:
        settings = helpers.get_tracing_context()
        langsmith = {name: settings[name] for name in _LANGSMITH if settings.get(name) is not None}
    if (context := sys.modules.get("opentelemetry.context")) is not None:
        # Instrumentations agree on keys that begin so; the API has no function that lists them.
        opentelemetry = {key: on for key, on in context.get_current().items() if key.startswith("suppress")}
    return TracingSwitches(langsmith or {}, opentelemetry or {})


@contextmanager
def switched(switches: TracingSwitches) -> Iterator[None]:
    """Sets `switches` for the block, in addition to what is set there."""
    with ExitStack() as stack:
        if switches.langsmith:
            stack.enter_context(
                sys.modules["langsmith.run_helpers"].tracing_context(parent=False, **switches.langsmith)
            )
        if switches.opentelemetry:
            api = sys.modules["opentelemetry.context"]
            entries = api.get_current()
            for key, value in switches.opentelemetry.items():
                entries = api.set_value(key, value, entries)
            stack.callback(api.detach, api.attach(entries))
        yield
