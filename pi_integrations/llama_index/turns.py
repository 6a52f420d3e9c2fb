"""Questions and earlier turns, out of LlamaIndex's messages, model calls and start events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.schema import QueryBundle
from pydantic import ValidationError

__all__ = [
    "MODEL_CALLS",
    "QUESTION_FIELDS",
    "Turns",
    "history_around",
    "history_seen",
    "messages_of",
    "split_question",
    "text_of",
    "turns_of",
]

Turns = list[tuple[str, str]]

QUESTION_FIELDS = ("user_msg", "query", "question", "message", "input", "query_str", "prompt")
"""Where a start event may hold the question, in the order in which it is looked for."""

_CHATS = frozenset({"chat", "achat", "stream_chat", "astream_chat"})
_PREDICTIONS = frozenset({"predict", "apredict", "stream", "astream"})
MODEL_CALLS = _CHATS | _PREDICTIONS
"""The methods of models that are given whole conversations."""

_ROLES = {MessageRole.USER: "user", MessageRole.ASSISTANT: "assistant", MessageRole.CHATBOT: "assistant"}
# Not `model`, which no conversation of LlamaIndex's has, and answers may.
_LINE = re.compile(r"^(user|assistant|system|chatbot|tool|function|developer): ", re.MULTILINE)


def text_of(value: Any) -> str | None:
    """The text of a string, a message or a query; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, QueryBundle):
        return value.query_str
    return value.content or "" if isinstance(value, ChatMessage) else None


def messages_of(given: Any) -> list[ChatMessage]:
    """The messages in a list that may hold them as mappings, too; none in anything else."""
    if not isinstance(given, list | tuple):
        return []
    return [message for each in given if (message := _message(each)) is not None]


def _message(given: Any) -> ChatMessage | None:
    if isinstance(given, Mapping):
        try:
            return ChatMessage.model_validate(given)
        except ValidationError:
            return None
    return given if isinstance(given, ChatMessage) else None


def turns_of(messages: Iterable[ChatMessage]) -> Turns:
    """The turns of user and assistant; instructions, tools and messages without text are left out."""
    return [(role, text) for message in messages if (role := _ROLES.get(message.role)) and (text := message.content)]


def split_question(messages: Sequence[ChatMessage]) -> tuple[str | None, Turns]:
    """The user's last message and the turns before it; None in place of the message when there is none."""
    for position in range(len(messages) - 1, -1, -1):
        if messages[position].role == MessageRole.USER:
            return messages[position].content or "", turns_of(messages[:position])
    return None, turns_of(messages)


def history_seen(arguments: Mapping[str, Any], question: str) -> Turns | None:
    """The turns before `question` in the arguments of a model's call; None when it is not given `question` itself."""
    template = arguments.get("prompt")
    if template is None:
        return _before(_messages(arguments), question)
    values = arguments.get("prompt_args") or {}
    if isinstance(template, ChatPromptTemplate) and template.kwargs.get("query_str") == question:
        return turns_of(template.message_templates[:-1])
    if values.get("question") == question and isinstance(values.get("chat_history"), str):
        return _parsed(values["chat_history"])
    return None


def history_around(arguments: Mapping[str, Any], question: str) -> Turns | None:
    """The turns before a prompt with `question` in it, as some chat engines write; None where there is none."""
    messages = _messages(arguments)
    if not _are_messages(messages):
        return None
    asked, history = split_question(messages)
    return history if asked and question and re.search(rf"(?<!\w){re.escape(question)}(?!\w)", asked) else None


def _messages(arguments: Mapping[str, Any]) -> Any:
    """Of a chat: its first argument, which a model of the application's own may name as it likes, or take with `*`."""
    given = arguments.get("messages") or next(iter(arguments.values()), ())
    return given[0] if isinstance(given, tuple) and given else given


def _before(messages: Any, question: str) -> Turns | None:
    if not _are_messages(messages):
        return None
    asked, history = split_question(messages)
    return history if asked == question else None


def _are_messages(given: Any) -> bool:
    return isinstance(given, list | tuple) and all(isinstance(each, ChatMessage) for each in given)


def _parsed(conversation: str) -> Turns:
    """The turns of a conversation that LlamaIndex wrote as `role: text` lines."""
    _, *parts = _LINE.split(conversation)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(_ROLES[role], text.removesuffix("\n")) for name, text in pairs if (role := MessageRole(name)) in _ROLES]
