"""From what a run was given and gave to the exchange that a user saw."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from pi_integrations.langchain.contexts import find_contexts
from pi_integrations.langchain.exchange import Exchange, ExchangeReader
from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.messages import is_message
from pi_integrations.langchain.state_answers import read_state_answer
from pi_integrations.models import ScoreResult

__all__ = ["closed_early", "last_message", "model_output", "read_answer"]

_ANSWERING = frozenset({"ai", "AIMessageChunk", "assistant", "tool", "ToolMessageChunk", "function"})


def read_answer(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any] | None:
    """The exchange as arguments of `submit`; None when the run ended without an answer.

    It does so in a call of tools, a prompt, scores, or nothing.

    Raises:
        PiUsageError: when it is not clear what to score.
    """
    if not outputs or isinstance(outputs, ScoreResult):
        return None
    if reader.output_key is None and not _is_answer(last_message(outputs)):
        return None
    parts = _of_state(reader, inputs, outputs) if _is_state(outputs) else _of_run(reader, inputs, outputs, documents)
    return parts if parts["llm_output"].strip() else None


def _is_state(outputs: Any) -> bool:
    return isinstance(outputs, dict) and isinstance(outputs.get("messages"), list)


def _of_state(reader: ExchangeReader, inputs: Any, outputs: dict[str, Any]) -> dict[str, Any]:
    """The messages say what tools, and retrievers behind them, returned."""
    messages = without_feedback(outputs["messages"])
    has_keys = reader.input_key or reader.output_key or reader.context_key
    if not has_keys and find_contexts(inputs, outputs, None) is None:
        parts = read_state_answer(inputs, messages)
        if parts is not None:
            return parts
    inputs = inputs if isinstance(inputs, Mapping) else None  # a resumed graph is given a command
    return _texts(reader.read(inputs, {**outputs, "messages": messages}))


def _of_run(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any]:
    found = not documents or find_contexts(inputs, outputs, reader.context_key) is not None
    return _texts(reader.read(inputs, outputs, contexts=None if found else documents))


def _texts(exchange: Exchange) -> dict[str, Any]:
    return {"llm_input": exchange.llm_input, "llm_output": exchange.llm_output}


def last_message(outputs: Any) -> Any:
    """The last message in `outputs`; None when there is none."""
    if isinstance(outputs, str):
        return None
    if isinstance(outputs, Mapping) and not is_message(outputs):
        outputs = outputs.get("messages")
    if isinstance(outputs, list):
        outputs = outputs[-1] if outputs else None
    elif hasattr(outputs, "to_messages"):
        outputs = outputs.to_messages()[-1]
    return outputs if is_message(outputs) else None


def _is_answer(message: Any) -> bool:
    """Whether it may be one; what is no message may."""
    if message is None or isinstance(message, Mapping):
        return True
    kind = getattr(message, "type", "chat")
    return (kind if kind != "chat" else message.role) in _ANSWERING and not getattr(message, "tool_calls", None)


def model_output(response: Any) -> Any:
    """The first answer in an `LLMResult`: a message, a text, or None."""
    for candidates in response.generations:
        for generation in candidates:
            message = getattr(generation, "message", None)
            return generation.text if message is None else message
    return None


def closed_early() -> bool:
    """Whether this runs while LangChain ends a chain's sync stream that its user closed.

    LangChain reports the part that was read as the chain's output, as if it were all of it. Only the stream that it was
    reading from, still open, tells the difference.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_transform_stream_with_config":
            return getattr(frame.f_locals.get("iterator"), "gi_suspended", False)
        frame = frame.f_back
    return False
