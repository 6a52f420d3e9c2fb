"""Reads chat messages in the shapes LangChain and LangSmith use, without importing either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Turn", "is_message", "is_summary", "read_turns"]

# Every framework's name for a speaker becomes the one of the chat APIs, so that the same conversation reads the same.
_ROLES = {
    "human": "user",
    "HumanMessageChunk": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "developer": "system",
    "SystemMessageChunk": "system",
    "function": "tool",
    "ToolMessageChunk": "tool",
}
# In a mapping, `type` may also be a content type such as `text`.
_TYPES = frozenset({*_ROLES, "system", "tool"})
_SPEAKERS = frozenset({*_TYPES, *_ROLES.values()})
_SUMMARY = "summary"
_MEDIA = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its role and its text.

    Attributes:
        role: `system`, `user`, `assistant`, `tool`, or another role as it was given; `summary` where LangChain put one
            in the place of earlier turns, as the words of the user.
        text: Its text; a picture, sound or file stands as its type in brackets, reasoning is left out.
        calls_tools: Whether the message has tool calls.
    """

    role: str
    text: str
    calls_tools: bool = field(default=False, compare=False)


def is_message(value: Any) -> bool:
    """Whether `value` is a LangChain message, or a mapping in the shape of one, serialised messages included."""
    if isinstance(value, Mapping):
        body = _body(value)
        known = "content" in body or ("role" in body and "tool_calls" in body)
        return known and isinstance(body.get("content"), str | list | None)
    return hasattr(value, "content") and (hasattr(value, "type") or hasattr(value, "role"))


def is_summary(message: Any) -> bool:
    """Whether a user's message is one that LangChain's `SummarizationMiddleware` wrote."""
    extras = _body(message).get("additional_kwargs") if isinstance(message, Mapping) else _extras(message)
    return isinstance(extras, Mapping) and extras.get("lc_source") == "summarization"


def _extras(message: Any) -> Any:
    return getattr(message, "additional_kwargs", None)


def read_turns(value: Any, role: str, *, has_texts: bool = False, has_names: bool = False) -> list[Turn] | None:
    """The turns of a message, a list of messages or a prompt value; None when `value` is none of these.

    Args:
        value: The framework's value. Within a list, pairs of a role and a text, or content blocks, are messages too.
        role: Role of a message that names none.
        has_texts: Whether LangChain treats `value` as messages in any form: then a text is a message too, and so is a
            pair of texts, in a list or by itself.
        has_names: Whether a pair of texts in a list is a message with any role; else its first text must be a usual
            role, because pairs may be anything.
    """
    if hasattr(value, "to_messages"):
        value = value.to_messages()
    if is_message(value) or (has_texts and (isinstance(value, str) or _is_tuple(value))):
        return [_turn(value, role)]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    if len(value) == 1 and isinstance(value[0], list) and not _is_pair(value[0]):
        # Runs of chat models hold a batch of one conversation.
        return read_turns(value[0], role, has_texts=has_texts, has_names=has_names)
    has_names |= has_texts
    if all(
        is_message(item) or _is_pair(item) or (has_names and _is_tuple(item)) or (has_texts and isinstance(item, str))
        for item in value
    ):
        return [_turn(item, role) for item in value]
    return None


def _is_pair(item: Any) -> bool:
    """Whether it is a pair of a usual role and a content."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    speaker, content = item
    return isinstance(speaker, str) and speaker in _SPEAKERS and isinstance(content, str | list)


def _is_tuple(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item)


def _turn(message: Any, role: str) -> Turn:
    if isinstance(message, str):
        return Turn(role, message)
    if isinstance(message, tuple | list):
        speaker, content = message
        return Turn(_common_role(speaker), _text(content))
    if is_summary(message):
        role, message = _SUMMARY, {"content": _fields(message)[1]}
    speaker, content, calls = _fields(message)
    return Turn(_common_role(speaker or role), _text(content), calls_tools=bool(calls))


def _common_role(name: str) -> str:
    return _ROLES.get(name, name)


def _fields(message: Any) -> tuple[Any, Any, Any]:
    if isinstance(message, Mapping):
        body = _body(message)
        kind = body.get("type")
        return body.get("role") or (kind if kind in _TYPES else None), body.get("content"), body.get("tool_calls")
    speaker = getattr(message, "role", None) or getattr(message, "type", None)
    return speaker, message.content, getattr(message, "tool_calls", None)


def _body(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a message, also of one that LangChain serialised below `kwargs` or `data`."""
    inner = message.get("kwargs" if "lc" in message else "data")
    return {**message, **inner} if isinstance(inner, Mapping) else message


def _text(content: str | Iterable[Any] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(map(_block_text, content))


def _block_text(block: Any) -> str:
    if not isinstance(block, Mapping):
        return str(block)
    text = block.get("text")
    if isinstance(text, str):
        return text
    return f"[{block['type']}]" if block.get("type") in _MEDIA else ""
