"""The user's question: the answer that begins when a query engine, chat engine, agent or workflow is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import BoundArguments, Parameter
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.workflow_events import AgentWorkflowStartEvent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.workflow import StartEvent, Workflow
from llama_index_instrumentation.dispatcher import active_instrument_tags

from pi_integrations.llama_index.events import fields_of
from pi_integrations.llama_index.nesting import Instructions, OpenAnswer
from pi_integrations.llama_index.turns import (
    MODEL_CALLS,
    QUESTION_FIELDS,
    Turns,
    messages_of,
    split_question,
    text_of,
    turns_of,
)

__all__ = ["Role", "begun", "own_tags", "role_of"]

# Bounds the table for an application that creates classes at run time.
_MOST = 4096
_Asked = tuple[str | None, Turns | tuple[()] | None]


@dataclass(frozen=True, slots=True)
class Role:
    """The meaning of a class's spans.

    Attributes:
        methods: Methods whose spans have this meaning; other methods are steps of these.
        asked: The question and the earlier turns in the arguments of an answer's span; None of other calls.
        instructed: The standing instructions of an agent or workflow, or those of each agent in it by name; None for
            classes that do not answer in runs.
        writes: Whether the span is LlamaIndex's own reading of a model whose answer is streamed.
    """

    methods: frozenset[str]
    asked: Callable[[Mapping[str, Any]], _Asked] | None = None
    instructed: Callable[[Any], Instructions] | None = None
    writes: bool = False

    def has(self, span_id: str, instance: Any) -> bool:
        """Whether the span of `instance` is of one of the methods."""
        return span_id[len(type(instance).__name__) + 1 :].partition("-")[0] in self.methods


class _Roles(dict[type, Role | None]):
    """Cache of roles by class: looked up for every span of an application, most of them of classes without a role."""

    def __missing__(self, kind: type) -> Role | None:
        if len(self) >= _MOST:
            self.clear()
        self[kind] = role = next((role for base, role in _ROLES.items() if issubclass(kind, base)), None)
        return role


role_of: Callable[[type], Role | None] = _Roles().__getitem__
"""The role of a class's spans; None when they are of no interest."""


def begun(role: Role, span_id: str, instance: Any, given: BoundArguments) -> OpenAnswer:
    """The answer that begins with the span."""
    assert role.asked is not None
    question, history = role.asked(given.arguments)
    if question is None:
        question, history = role.asked(_each_own(given))
    prompt = role.instructed(instance) if role.instructed is not None else None
    return OpenAnswer(
        span_id,
        question,
        type(instance).__name__,
        dict(active_instrument_tags.get()),
        history,
        system_prompt=prompt,
        is_run=role.instructed is not None,
    )


def own_tags(tags: Mapping[str, Any]) -> dict[str, Any]:
    """`tags` without LlamaIndex's own tags, which repeat the question, truncated."""
    return {name: value for name, value in tags.items() if not name.startswith("llamaindex.")}


def _queried(arguments: Mapping[str, Any]) -> _Asked:
    # An engine written by the application may name its arguments freely.
    first = text_of(next(iter(arguments.values()), None))
    return (_question(arguments) if first is None else first), ()


def _chatted(arguments: Mapping[str, Any]) -> _Asked:
    message, *others = arguments.values() if arguments else (None,)
    given = arguments.get("chat_history", next(iter(others), None))
    history = messages_of(given)
    return text_of(arguments.get("message", message)), turns_of(history) if history else None


def _each_own(given: BoundArguments) -> Mapping[str, Any]:
    """The arguments of a call by name; each of those passed to `*` or `**` is an entry of its own."""
    each_own: dict[str, Any] = {}
    for name, value in given.arguments.items():
        kind = given.signature.parameters[name].kind
        if kind is Parameter.VAR_POSITIONAL:
            each_own |= {f"{name}[{position}]": each for position, each in enumerate(value)}
        elif kind is Parameter.VAR_KEYWORD:
            each_own |= value
        else:
            each_own[name] = value
    return each_own


def _run(arguments: Mapping[str, Any]) -> _Asked:
    """The question is the text under one of `QUESTION_FIELDS` in the start event, or the only text there.

    Earlier turns are in the start event only: messages that a step passes to a model may be examples. Agents have a
    memory.
    """
    event = arguments.get("start_event")
    return _started(event) if event is not None else (None, ())


def _started(event: StartEvent) -> _Asked:
    fields = fields_of(event)
    # An agent's start event holds other texts: settings.
    is_agent = _starts_agent(type(event))
    question = text_of(fields.get("user_msg")) if is_agent else _question(fields)
    given = fields["chat_history"] if "chat_history" in fields else getattr(event, "chat_history", None)
    messages = messages_of(given) if given else None
    if question is None and messages:
        return split_question(messages)
    if messages:
        return question, turns_of(messages)
    return question, None if is_agent else ()


@lru_cache(maxsize=4096)
def _starts_agent(kind: Any) -> bool:
    return issubclass(kind, AgentWorkflowStartEvent)


def _question(fields: Mapping[str, Any]) -> str | None:
    texts = {name: text for name, value in fields.items() if (text := text_of(value)) is not None}
    for name in QUESTION_FIELDS:
        if name in texts:
            return texts[name]
    return next(iter(texts.values())) if len(texts) == 1 else None


def _own_prompt(workflow: Any) -> str | None:
    prompt = getattr(workflow, "system_prompt", None)
    return prompt if isinstance(prompt, str) else None


def _prompts(workflow: AgentWorkflow) -> dict[str, str | None]:
    """Each agent's own: after a handoff any of them may answer, and none is given another's."""
    return {name: agent.system_prompt for name, agent in workflow.agents.items()}


_RUNS = frozenset({"run"})
# The first base class that matches counts, so `AgentWorkflow` comes before its base `Workflow`.
_ROLES: dict[type, Role] = {
    AgentWorkflow: Role(_RUNS, _run, _prompts),
    Workflow: Role(_RUNS, _run, _own_prompt),
    BaseQueryEngine: Role(frozenset({"query", "aquery"}), _queried),
    BaseChatEngine: Role(frozenset({"chat", "achat", "stream_chat", "astream_chat"}), _chatted),
    BaseLLM: Role(MODEL_CALLS),
    StreamingAgentChatResponse: Role(
        frozenset({"write_response_to_history", "awrite_response_to_history"}), writes=True
    ),
}
