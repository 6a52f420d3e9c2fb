"""A span per score call of the client, by the semantic conventions for generative AI and for HTTP clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pi_integrations._version import __version__
from pi_integrations.errors import PiStatusError
from pi_integrations.models import ScoreResult
from pi_integrations.telemetry.current import linked_span, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

__all__ = ["ScoreCall", "score_call"]


class ScoreCall:
    """What the client tells about one call; this one, for applications without tracing, forgets it."""

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
    """A span named `evaluate pi` around one score call, its retries included, where a tracer provider is configured.

    It has the server, the status of the last answer, the number of retries, and what kind of error ended it. No text of
    the exchange, no message of an error and no key is ever in it.
    """
    trace = tracing()
    if trace is None:
        yield _UNTRACED
        return
    span = _start(trace, base_url)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield _TracedCall(span)
        except BaseException as error:
            span.set_attribute("error.type", _kind(error))
            span.set_status(trace.StatusCode.ERROR)
            raise


def _start(trace: ModuleType, base_url: str) -> Span:
    span = linked_span()
    links = [trace.Link(span)] if span is not None else None
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
