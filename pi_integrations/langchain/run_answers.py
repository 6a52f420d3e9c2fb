"""Converts a run's inputs and outputs to the exchange that a user saw."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Set
from types import FrameType
from typing import Any

from pi_integrations.errors import PiUsageError
from pi_integrations.langchain.contexts import distinct_contexts, find_contexts
from pi_integrations.langchain.exchange import Exchange, ExchangeReader, NoAnswer
from pi_integrations.langchain.feedback_messages import without_feedback
from pi_integrations.langchain.fields import CONTEXT_KEYS, INPUT_NAMES, opened
from pi_integrations.langchain.messages import is_message, is_summary, read_turns
from pi_integrations.langchain.plain_answers import read_plain_answer
from pi_integrations.langchain.state_answers import read_state_answer
from pi_integrations.langchain.texts import structured_text
from pi_integrations.models import ScoreResult

__all__ = ["closed_early", "is_resumed", "last_message", "model_output", "read_answer", "written_message"]

_ASKING = frozenset({"user", "system", "summary"})
_RESUMED = "a graph was resumed, and neither this handler nor its"
_WRITTEN = frozenset({"ai", "AIMessageChunk"})
_ANSWERING = frozenset({"ai", "AIMessageChunk", "assistant", "tool", "ToolMessageChunk", "function"})


def read_answer(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any] | None:
    """The exchange as arguments of `submit`; None when the run ended without an answer.

    Such a run ends with a tool call, a prompt, scores, documents, its own inputs, or nothing.

    Raises:
        PiUsageError: when it is not clear what to score.
    """
    if _is_nothing(outputs) or isinstance(outputs, ScoreResult):
        return None
    parts = read_plain_answer(reader, inputs, outputs, documents)
    if parts is None:
        try:
            parts = _read_answer(reader, inputs, outputs, documents)
        except NoAnswer:
            return None
    return parts if parts and parts["llm_output"].strip() else None


def _is_nothing(outputs: Any) -> bool:
    """Whether it is None or empty; 0 and False are answers, and the truth value of an array may raise."""
    return outputs is None or (isinstance(outputs, str | bytes | Mapping | Sequence | Set) and not len(outputs))


def _read_answer(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any] | None:
    is_given_back, outputs = inputs is outputs, reader.opened(outputs)
    if not is_given_back and _adds_nothing(reader, opened(inputs, None, is_state=True), outputs):
        return None
    if _is_state(outputs) and not outputs["messages"] and reader.output_key is None:
        return None
    if reader.output_key is None and (_are_documents(outputs) or not _is_answer(last_message(outputs))):
        return None
    return _of_state(reader, inputs, outputs) if _is_state(outputs) else _of_run(reader, inputs, outputs, documents)


def is_resumed(inputs: Any) -> bool:
    """Whether the run resumes an interrupted graph, whose input is then a command, or None."""
    return inputs is None or (hasattr(inputs, "resume") and hasattr(inputs, "goto"))


def _adds_nothing(reader: ExchangeReader, inputs: Any, outputs: Any) -> bool:
    """Whether outputs only repeat inputs and add passages, like the outputs of a graph that was interrupted early."""
    if not isinstance(inputs, Mapping) or not isinstance(outputs, Mapping):
        return False
    return all(
        (name in inputs and _is_same(inputs[name], value)) or _is_context(reader, name, value)
        for name, value in outputs.items()
    )


def _is_context(reader: ExchangeReader, name: str, value: Any) -> bool:
    return name in (*CONTEXT_KEYS, reader.context_key) or _are_documents(value)


def _is_same(first: Any, second: Any) -> bool:
    """Whether they are the same object, or our copies of one; equal objects of different types are not the same."""
    if first is second:
        return True
    if type(first) is type(second) and is_message(first) and not isinstance(first, Mapping):
        return bool(first.content == second.content)  # a message that changed after the run is our copy
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_is_same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_is_same(value, second[name]) for name, value in first.items())
    return False


def _are_documents(outputs: Any) -> bool:
    return isinstance(outputs, list) and bool(outputs) and hasattr(outputs[0], "page_content")


def _is_state(outputs: Any) -> bool:
    """Whether these are an agent's or a graph's state, with all the messages in it."""
    return isinstance(outputs, dict) and isinstance(outputs.get("messages"), list)


def _of_state(reader: ExchangeReader, inputs: Any, outputs: dict[str, Any]) -> dict[str, Any]:
    """The exchange in a state, whose messages hold the results of tools, and of retrievers called by them."""
    messages = without_feedback(outputs["messages"])
    is_asked = any(map(_is_users, messages))
    if is_resumed(inputs):
        inputs = None if is_asked else _asked_in(outputs) or None
    structured = outputs.get("structured_response")
    if structured is not None and reader.output_key is None:
        messages = _with_structured(messages, structured)
    if reader.input_key or reader.output_key or reader.context_key:
        return _texts(reader.read(inputs, {**outputs, "messages": messages}))
    inputs = opened(inputs, None, is_state=True)
    if is_asked and isinstance(inputs, Mapping) and "messages" in inputs:
        inputs = {**inputs, "messages": []}  # the state's messages override them: a guardrail may have rewritten some
    if (inputs is None or isinstance(inputs, Mapping)) and find_contexts(inputs, outputs, None) is None:
        parts = read_state_answer(inputs, messages)
        if parts is not None:
            return parts
    return _texts(reader.read(inputs, {**outputs, "messages": messages}))


def _with_structured(messages: list[Any], structured: Any) -> list[Any]:
    """`messages` that end with the structured answer, which replaces the message that stands for it.

    That is the model's last message, or LangChain's reply to its call of the tool that takes the answer, which comes
    before the replies of other tools to that message.
    """
    last = len(messages) - 1
    written = next((i for i in range(last, -1, -1) if getattr(messages[i], "type", None) in _WRITTEN), last)
    stand_in = min(written + 1, last)
    kept = [message for position, message in enumerate(messages) if position != stand_in]
    return [*kept, ("assistant", structured_text(structured))]


def _of_run(reader: ExchangeReader, inputs: Any, outputs: Any, documents: list[Any]) -> dict[str, Any] | None:
    if inputs is not None and is_resumed(inputs) and not isinstance(outputs, Mapping):
        raise PiUsageError(f"{_RESUMED} outputs hold its original input; resume it with the handler that saw it start")
    if is_resumed(inputs) and isinstance(outputs, Mapping) and not is_message(outputs):
        inputs, outputs = _of_resumed(reader, outputs)
        if not outputs:
            return None
    found = not documents or find_contexts(inputs, outputs, reader.context_key) is not None
    return _texts(reader.read(inputs, outputs, contexts=None if found else distinct_contexts(documents)))


def _of_resumed(reader: ExchangeReader, state: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The question of a resumed graph, and the rest of its state, where the answer is; empty while there is none.

    Raises:
        PiUsageError: when the state does not hold the question.
    """
    asked = _asked_in(state)
    rest = {name: value for name, value in state.items() if name not in asked}
    if all(_is_context(reader, name, value) for name, value in rest.items()):
        return asked, {}
    if reader.input_key is not None:
        return state, rest if reader.output_key is None else state
    if not asked:
        raise PiUsageError(
            f"{_RESUMED} outputs, {', '.join(map(repr, state))}, hold its original input; resume it with the handler"
            " that saw it start, or pass input_key= the name of one, or a function of the outputs"
        )
    return asked, rest if reader.output_key is None else state


def _asked_in(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in INPUT_NAMES if name in state}


def _is_users(message: Any) -> bool:
    return getattr(message, "type", None) == "human" and not is_summary(message)


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


def written_message(outputs: Any) -> Any:
    """The model's message that holds the answer: the last message, or the model's last before a tool's result."""
    last = last_message(outputs)
    if getattr(last, "type", None) != "tool" or not isinstance(outputs, Mapping):
        return last
    written = (each for each in reversed(outputs["messages"]) if getattr(each, "type", None) in _WRITTEN)
    return next(written, last)


def _is_answer(message: Any) -> bool:
    """Whether `message` may be an answer; None, for outputs without messages, may."""
    if message is None:
        return True
    if isinstance(message, Mapping):
        turns = read_turns(message, "assistant") or ()
        return not any(turn.role in _ASKING or turn.calls_tools for turn in turns)
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

    LangChain reports the part that was read as the chain's whole output. The only difference from a stream that was
    read to its end is that the inner iterator is still suspended.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_transform_stream_with_config":
            return getattr(frame.f_locals.get("iterator"), "gi_suspended", False)
        frame = frame.f_back
    return False
