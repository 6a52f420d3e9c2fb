"""What a run was given or gave, as it was at that moment: it is read later, and the application may go on to change it.

Kept are copies of the lists and mappings, and of the fields of the messages and documents in there, which costs less
than reading them. What is neither, or too much of it, is to be read at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage

__all__ = ["Captured"]

_ATOMS = frozenset({str, int, float, bool, bytes, type(None)})
# What conversations consist of.
_MESSAGES = frozenset({HumanMessage, AIMessage, ToolMessage, SystemMessage, AIMessageChunk})
# Things in lists and mappings, all together, and how deep they lie.
_MOST = 5_000
_DEEPEST = 20


class Captured:
    """`value`, which a list, a mapping, a message, a document, a text, or several of these in each other can be.

    Attributes:
        is_whole: Whether all that is in it was kept; if not, read it before the application goes on.

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
        # Where a thing is, and its fields.
        self._fields: list[tuple[Any, Any, dict[str, Any]]] = []
        if type(value) is not str:
            self._room = _MOST
            self._keep(value, self._kept, 0, 0)

    @property
    def kept(self) -> Any:
        """What is kept of it: to look at what it is, not at what it says."""
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
        """Keeps `value`, which is at `place` in `holder`, a list or mapping of our own."""
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
        """The contents, without a call for each message; of the last, which may be the answer, all fields."""
        contents = [message.content for message in messages]
        if not _ATOMS.issuperset(map(type, contents)):
            contents = [_copied(content) for content in contents]
        self._conversations.append((messages, contents))
        self._keep(messages[-1], messages, len(messages) - 1, 0)


# What is read of messages and documents.
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
