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

    __slots__ = ("_copies", "_fields", "_kept", "_room", "is_whole")

    def __init__(self, value: Any) -> None:
        self.is_whole = True
        self._kept = [value]
        if type(value) is str:
            return
        # Where a thing is, and its fields.
        self._fields: list[tuple[Any, Any, dict[str, Any]]] = []
        # By the id of the original, which is kept beside it lest another takes its id: one that is in there twice, or
        # in itself, is copied once.
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._room = _MOST
        self._keep(value, self._kept, 0, 0)
        del self._copies

    def read(self) -> Any:
        """The value as it was."""
        kept = self._kept[0]
        if type(kept) is not str:
            for holder, place, fields in self._fields:
                if _has_changed(holder[place], fields):
                    holder[place] = holder[place].model_copy(update=fields)
            self._fields = []
        return self._kept[0]

    def _keep(self, value: Any, holder: Any, place: Any, depth: int) -> None:
        """Keeps `value`, which is at `place` in `holder`, a list or mapping of our own."""
        kind: Any = type(value)
        if kind is dict or kind is list:
            self._keep_container(value, holder, place, depth)
        elif kind is tuple:
            self.is_whole = self.is_whole and _ATOMS.issuperset(map(type, value))
        elif _has_text(kind):
            self._fields.append((holder, place, _fields_of(value)))
        elif isinstance(value, dict):
            self._keep_container(dict(value), holder, place, depth)
        elif not isinstance(value, str) and kind not in _ATOMS:
            self.is_whole = False

    def _keep_container(self, value: Any, holder: Any, place: Any, depth: int) -> None:
        known = self._copies.get(id(value))
        if known is not None:
            holder[place] = known[1]
            return
        self._room -= len(value)
        if self._room < 0 or depth > _DEEPEST:
            self.is_whole = False
            return
        # In one step; the original may change in another thread from here on.
        holder[place] = kept = value.copy()
        self._copies[id(value)] = (value, kept)
        if type(kept) is dict:
            for name, part in kept.items():
                if type(part) not in _ATOMS:
                    self._keep(part, kept, name, depth + 1)
        elif _ATOMS.issuperset(map(type, kept)):
            return
        elif _MESSAGES.issuperset(map(type, kept)):
            self._keep_conversation(kept)
        else:
            for number, part in enumerate(kept):
                if type(part) not in _ATOMS:
                    self._keep(part, kept, number, depth + 1)

    def _keep_conversation(self, messages: list[Any]) -> None:
        """Without a call for each of them; of the last, which may be the answer, what is inside its fields, too."""
        states = [message.__dict__.copy() for message in messages]
        for state in states:
            if type(state.get("content")) is not str:
                _keep_inside(state)
        _keep_inside(states[-1])
        self._fields += zip([messages] * len(states), range(len(states)), states, strict=True)


def _fields_of(thing: Any) -> dict[str, Any]:
    fields: dict[str, Any] = thing.__dict__.copy()
    _keep_inside(fields)
    return fields


def _keep_inside(fields: dict[str, Any]) -> None:
    for name in ("content", "tool_calls", "additional_kwargs"):
        if value := fields.get(name):
            fields[name] = _copied(value)


def _has_changed(thing: Any, fields: dict[str, Any]) -> bool:
    try:
        return bool(thing.__dict__ != fields)
    except Exception:  # noqa: BLE001 (of values, such as arrays, that do not compare; then it is put together anew)
        return True


def _copied(value: Any) -> Any:
    if type(value) is list:
        return [dict(part) if isinstance(part, dict) else part for part in value]
    return value.copy() if type(value) is dict else value


@lru_cache(maxsize=4096)
def _has_text(kind: Any) -> bool:
    return issubclass(kind, BaseMessage | Document)
