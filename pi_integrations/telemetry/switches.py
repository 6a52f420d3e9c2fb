"""What the caller has switched off or redirected in tracing, kept for work that runs outside the caller's context.

Such work is no part of the caller's run: it gets neither its callbacks nor its parent. But a text that the caller keeps
from a tracing server must not reach it through us.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TracingSwitches", "switched", "tracing_switches"]

# `client` may hide inputs and outputs, and `project_name` is where the caller wants its traces.
_LANGSMITH = ("enabled", "client", "project_name")


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
