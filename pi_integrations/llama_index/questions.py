"""What a user asked: the answer that begins when a query engine, chat engine, agent or workflow is called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.workflow import StartEvent, Workflow
from llama_index_instrumentation.dispatcher import active_instrument_tags

from pi_integrations.llama_index.nesting import OpenAnswer
from pi_integrations.llama_index.turns import QUESTION_FIELDS, split_question, text_of, turns_of

__all__ = ["begun", "is_answer_span", "own_tags"]

_QUERIES = frozenset({"query", "aquery"})
_CHATS = frozenset({"chat", "achat", "stream_chat", "astream_chat"})
_RUNS = frozenset({"run"})


def is_answer_span(span_id: str, instance: Any) -> bool:
    """Whether the span is a call of a query engine or chat engine, or a run of an agent or workflow."""
    kind: Any = type(instance)
    methods = _methods(kind)
    return methods is not None and _method(span_id, instance) in methods


# Asked for every span of an application, most of them of other kinds.
@lru_cache(maxsize=4096)
def _methods(kind: Any) -> frozenset[str] | None:
    if issubclass(kind, Workflow):
        return _RUNS
    if issubclass(kind, BaseQueryEngine):
        return _QUERIES
    return _CHATS if issubclass(kind, BaseChatEngine) else None


def begun(span_id: str, instance: Any, arguments: Mapping[str, Any]) -> OpenAnswer:
    """The answer that begins with the span.

    Of a workflow, the question is the text under one of `QUESTION_FIELDS` in its start event, or the only text there.
    """
    answer = OpenAnswer(span_id, None, type(instance).__name__, own_tags(active_instrument_tags.get()), None)
    if isinstance(instance, Workflow):
        event = arguments.get("start_event")
        answer.question, answer.history = _started(event)
        prompt = getattr(instance, "system_prompt", None)
        answer.system_prompt = prompt if isinstance(prompt, str) else None
    elif isinstance(instance, BaseQueryEngine):
        # An engine of the application's own may call its arguments what it likes.
        first = text_of(next(iter(arguments.values()), None))
        answer.question, answer.history = _question(arguments) if first is None else first, ()
    else:
        answer.question = text_of(arguments.get("message"))
        given = arguments.get("chat_history")
        answer.history = turns_of(given) if given else None
    return answer


def own_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """`tags` without those that LlamaIndex attaches itself: they repeat the question, cut short."""
    return {name: value for name, value in tags.items() if not name.startswith("llamaindex.")}


def _method(span_id: str, instance: Any) -> str:
    return span_id[len(type(instance).__name__) + 1 :].partition("-")[0]


def _started(event: StartEvent | None) -> tuple[str | None, list[tuple[str, str]] | None]:
    if event is None:
        return None, None
    messages = [each for each in getattr(event, "chat_history", None) or () if isinstance(each, ChatMessage)]
    # An agent's start event holds other texts: settings.
    is_agent = isinstance(event, AgentWorkflowStartEvent)
    question = text_of(getattr(event, "user_msg", None)) if is_agent else _question(_fields(event))
    if question is None and messages:
        return split_question(messages)
    return question, turns_of(messages) if messages else None


def _fields(event: StartEvent) -> dict[str, Any]:
    return {**{name: getattr(event, name) for name in type(event).model_fields}, **dict(event.items())}


def _question(fields: Mapping[str, Any]) -> str | None:
    texts = {name: text for name, value in fields.items() if (text := text_of(value)) is not None}
    for name in QUESTION_FIELDS:
        if name in texts:
            return texts[name]
    return next(iter(texts.values())) if len(texts) == 1 else None
