"""A run's inputs or outputs as they were at that moment: they are read later, and the application may change them.

Lists, mappings, and the fields of the messages and documents in them are copied, which costs less than reading them.
Values of other types, and values that are too large, must be read at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage

__all__ = ["Captured"]

_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})
# The message classes of a usual conversation, which are copied faster.
_MESSAGES = frozenset({HumanMessage, AIMessage, ToolMessage, SystemMessage, AIMessageChunk})
# Copying runs on the application's time, so it is bounded: items of all lists and mappings together, and nesting depth.
_MOST = 5_000
_DEEPEST = 20


class Captured:
    """A snapshot of `value`: a list, a mapping, a message, a document, a text, or any nesting of these.

    Attributes:
        is_whole: Whether all of it was copied; if not, read it before the application continues.

    Example:
        >>> messages = ["How long?", "A week."]
        >>> captured = Captured({"messages": messages})
        >>> messages.append("Thanks!")
        >>> captured.read()
        {'messages': ['How long?', 'A week.']}
    """

    __slots__ = ("_conversations", "_fields", "_kept", "_room", "is_whole")

    def __init__(self, value: Any) -> None:
        self.is_whole = True
        self._kept = [value]
        self._conversations: list[tuple[list[Any], list[Any]]] = []
        # For each message or document: its container, its key or index there, and its fields.
        self._fields: list[tuple[Any, Any, dict[str, Any]]] = []
        if type(value) is not str:
            self._room = _MOST
            self._keep(value, self._kept, 0, 0)

    @property
    def kept(self) -> Any:
        """The stored copy, for checks of its type; its contents may have changed, so use `read` for these."""
        return self._kept[0]

    def read(self) -> Any:
        """The value as it was."""
        for holder, place, fields in self._fields:
            if _has_changed(holder[place], fields):
                holder[place] = holder[place].model_copy(update=fields)
        for messages, contents in self._conversations:
            for number, content in enumerate(contents):
                if messages[number].content != content:
                    messages[number] = messages[number].model_copy(update={"content": content})
        self._fields, self._conversations = [], []
        return self._kept[0]

    def _keep(self, value: Any, holder: Any, place: Any, depth: int) -> None:
        """Copies `value`, which is at `place` in `holder`, a list or mapping that we made."""
        kind: Any = type(value)
        if kind is dict or kind is list:
            self._room -= len(value)
            if self._room < 0 or depth > _DEEPEST:
                self.is_whole = False
                return
            # In one step; the original may change in another thread from here on.
            holder[place] = kept = value.copy()
            if kind is dict:
                for name, part in kept.items():
                    if type(part) not in _ATOMS:
                        self._keep(part, kept, name, depth + 1)
            else:
                self._keep_parts(kept, depth)
        elif kind is tuple:
            # The tuple cannot change and needs no copy, but an item in it may.
            self.is_whole = self.is_whole and _ATOMS.issuperset(map(type, value))
        elif _has_text(kind):
            fields = value.__dict__.copy()
            _keep_inside(fields)
            self._fields.append((holder, place, fields))
        elif isinstance(value, dict):
            self._keep(dict(value), holder, place, depth + 1)
        elif not isinstance(value, str) and kind not in _ATOMS:
            self.is_whole = False

    def _keep_parts(self, kept: list[Any], depth: int) -> None:
        if _ATOMS.issuperset(map(type, kept)):
            return
        if _MESSAGES.issuperset(map(type, kept)):
            self._keep_conversation(kept)
            return
        for number, part in enumerate(kept):
            if type(part) not in _ATOMS:
                self._keep(part, kept, number, depth + 1)

    def _keep_conversation(self, messages: list[Any]) -> None:
        """Copies the contents, without a call per message; of the last message, which may be the answer, all fields."""
        contents = [message.content for message in messages]
        if not _ATOMS.issuperset(map(type, contents)):
            contents = [_copied(content) for content in contents]
        self._conversations.append((messages, contents))
        self._keep(messages[-1], messages, len(messages) - 1, 0)


# The fields of messages and documents that are read.
_READ = ("content", "page_content", "role", "id", "tool_calls", "additional_kwargs")


def _keep_inside(fields: dict[str, Any]) -> None:
    for name in ("content", "tool_calls", "additional_kwargs"):
        value = fields.get(name)
        if value is not None and type(value) is not str:
            fields[name] = _copied(value)


def _copied(value: Any) -> Any:
    if type(value) is list:
        return [dict(part) if isinstance(part, dict) else part for part in value]
    return value.copy() if type(value) is dict else value


def _has_changed(thing: Any, fields: dict[str, Any]) -> bool:
    now = thing.__dict__
    # LangGraph gives an id to a message that has none.
    return any(now.get(name) != fields[name] for name in _READ if fields.get(name) is not None)


@lru_cache(maxsize=4096)
def _has_text(kind: Any) -> bool:
    return issubclass(kind, BaseMessage | Document)
