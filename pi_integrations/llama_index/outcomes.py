"""The result of a query engine, chat engine, agent or workflow: its text, its contexts, or a stream to wait for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.agent.workflow import AgentOutput
from llama_index.core.agent.workflow.workflow_events import ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.chat_engine.types import AgentChatResponse, StreamingAgentChatResponse
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.workflow import StopEvent

from pi_integrations.llama_index.events import fields_of, result_of
from pi_integrations.llama_index.responses import contexts_of, ready_text

__all__ = ["ANSWER_FIELDS", "Outcome", "Streamed", "outcome_of", "tool_outputs"]

Streamed = StreamingResponse | AsyncStreamingResponse | StreamingAgentChatResponse

ANSWER_FIELDS = ("response", "answer", "output", "result")
"""Where a mapping, or a stop event of the application's own, may hold the answer; looked for in this order."""

_CONTEXT_FIELDS = ("source_nodes", "contexts")
# The tool that LlamaIndex adds to the agents of an `AgentWorkflow`.
_HANDOFF = "handoff"


@dataclass(slots=True)
class Outcome:
    """An answer.

    Attributes:
        text: All of it; None when there is none, or none yet.
        contexts: The passages it is based on, best first.
        stream: Where the text comes from, when it is still to be read.
        agent: The name of the agent that gave it, where one did.
    """

    text: str | None
    contexts: list[str] = field(default_factory=list)
    stream: Streamed | None = None
    agent: str | None = None


def outcome_of(result: Any) -> Outcome | None:
    """The answer in `result`; None when it holds none, such as a number or a report of a workflow."""
    # The two most frequent types are compared by class: isinstance with pydantic's classes takes longer than all this.
    if type(result) is Response:
        return Outcome(result.response, _passages(result.source_nodes))
    if isinstance(result, StopEvent):
        result = _stopped(result)
    if type(result) is AgentOutput:
        return _agent(result)
    if isinstance(result, Response | PydanticResponse | StreamingResponse | AsyncStreamingResponse):
        text = ready_text(result)
        return Outcome(text, contexts_of(result), _still_open(result) if text is None else None)
    if isinstance(result, AgentChatResponse | StreamingAgentChatResponse):
        return _chatted(result)
    if isinstance(result, AgentOutput):
        return _agent(result)
    if isinstance(result, Mapping):
        return _mapped(result)
    return _plain(result)


def _still_open(result: Any) -> Streamed | None:
    """The stream of `result`, if it is unread. LlamaIndex treats a response without a stream as one without text."""
    is_stream = isinstance(result, StreamingResponse | AsyncStreamingResponse)
    return result if is_stream and result.response_gen is not None else None


def _plain(result: Any) -> Outcome | None:
    if isinstance(result, str):
        return Outcome(result)
    if isinstance(result, ChatMessage):
        return Outcome(result.content)
    if isinstance(result, ChatResponse):
        return Outcome(result.message.content)
    return Outcome(result.text) if isinstance(result, CompletionResponse) else None


def _stopped(event: StopEvent) -> Any:
    """The result that the workflow's caller receives; for a stop event class of the application, its fields."""
    result = result_of(event)
    return fields_of(event) if result is None or result is event else result


def _mapped(result: Mapping[str, Any]) -> Outcome | None:
    values = [result[name] for name in ANSWER_FIELDS if name in result]
    found = [outcome for each in values if not isinstance(each, Mapping | StopEvent) and (outcome := outcome_of(each))]
    outcome = next((each for each in found if each.text or each.stream is not None), found[0] if found else None)
    if outcome is None or outcome.contexts:
        return outcome
    contexts = next((texts for name in _CONTEXT_FIELDS if (texts := _passages_in(result.get(name)))), [])
    return Outcome(outcome.text, contexts, outcome.stream, outcome.agent)


def _passages_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return _texts([value])
    return _texts(value) if isinstance(value, Sequence) else []


def _chatted(response: AgentChatResponse | StreamingAgentChatResponse) -> Outcome:
    nodes = response.source_nodes or [
        node for source in response.sources for node in getattr(source.raw_output, "source_nodes", None) or ()
    ]
    if isinstance(response, StreamingAgentChatResponse):
        return Outcome(None, _texts(nodes), response)
    return Outcome(response.response, _texts(nodes))


def _passages(nodes: Iterable[NodeWithScore] | None) -> list[str]:
    texts = (each.node.text if type(each.node) is TextNode else each.get_content() for each in nodes or ())
    return [text for text in texts if text]


def _agent(output: AgentOutput) -> Outcome:
    return Outcome(_agent_text(output), tool_outputs(output.tool_calls), agent=output.current_agent_name)


def _agent_text(output: AgentOutput) -> str | None:
    text = output.response.content
    if text or output.structured_response is None:
        return text
    return json.dumps(output.structured_response, ensure_ascii=False, default=str)


def tool_outputs(calls: Iterable[Any]) -> list[str]:
    """The outputs of the agent's tools, in order, failures included; handoffs to other agents are left out."""
    return [
        text
        for call in calls
        if isinstance(call, ToolCallResult) and call.tool_name != _HANDOFF and (text := call.tool_output.content)
    ]


def _texts(items: Iterable[Any]) -> list[str]:
    texts = (item.get_content() if isinstance(item, NodeWithScore) else item for item in items)
    return [text for text in texts if isinstance(text, str) and text]
