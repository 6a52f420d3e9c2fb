"""What a run was given or gave, as it was at that moment: it is read later, and the application may go on to change it.

Kept are the lists and mappings, and beside them the texts of the messages and documents in there, which costs less than
reading them. What is neither is to be read at once.
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
_MOST = 1_000


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

    __slots__ = ("_conversations", "_kept", "_texts", "is_whole")

    def __init__(self, value: Any) -> None:
        self.is_whole = True
        self._conversations: list[tuple[list[Any], list[Any]]] = []
        self._texts: list[tuple[Any, Any, str, Any]] = []
        self._kept = [value]
        if type(value) is not str:
            self._keep(value, self._kept, 0)

    def read(self) -> Any:
        """The value as it was."""
        for messages, contents in self._conversations:
            self._texts.extend((messages, place, "content", content) for place, content in enumerate(contents))
        for holder, place, name, text in self._texts:
            thing = holder[place]
            if getattr(thing, name) != text:
                holder[place] = thing.model_copy(update={name: text})
        self._conversations, self._texts = [], []
        return self._kept[0]

    def _keep(self, value: Any, holder: Any, place: Any) -> None:
        """Keeps `value`, which is at `place` in `holder`, a list or mapping of our own."""
        kind: Any = type(value)
        if kind is dict and len(value) <= _MOST:
            holder[place] = kept = value.copy()
            for name, part in value.items():
                if type(part) not in _ATOMS:
                    self._keep(part, kept, name)
        elif kind is list and len(value) <= _MOST:
            holder[place] = kept = value.copy()
            if _MESSAGES.issuperset(map(type, kept)):  # without a call for each
                self._conversations.append((kept, [_content(message.content) for message in kept]))
                return
            for number, part in enumerate(value):
                if type(part) not in _ATOMS:
                    self._keep(part, kept, number)
        elif kind is tuple:
            self.is_whole = self.is_whole and _ATOMS.issuperset(map(type, value))
        elif (name := _text_of(kind)) is not None:
            self._texts.append((holder, place, name, _content(getattr(value, name))))
        elif isinstance(value, dict) and kind is not dict:
            self._keep(dict(value), holder, place)
        elif not isinstance(value, str) and kind not in _ATOMS:
            self.is_whole = False


@lru_cache(maxsize=4096)
def _text_of(kind: Any) -> str | None:
    """Where things of this class have their text."""
    if issubclass(kind, BaseMessage):
        return "content"
    return "page_content" if issubclass(kind, Document) else None


def _content(content: Any) -> Any:
    if type(content) is str:
        return content
    return [dict(block) if isinstance(block, dict) else block for block in content]
