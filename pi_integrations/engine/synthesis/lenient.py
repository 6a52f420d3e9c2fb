"""Reads JSON as chat models write it, nearly valid or cut off: in linear time, and making nothing up."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["read_leniently"]

_DEEPEST = 20
_SKIPPED = re.compile(r"[\s,]*")
_SPACE = re.compile(r"\s*")
_BARE_KEY = re.compile(r"\w+(?=\s*:)")
_LITERAL = re.compile(r"true|false|null|True|False|None|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PYTHON = {"True": True, "False": False, "None": None}
# What follows the quote that ends a key, and one that ends a value. Any other quote belongs to the text.
_KEY_ENDS = re.compile(r"\s*:")
_VALUE_ENDS = re.compile(r"""\s*(?:,\s*(?:["'\[{\]}\d-]|\w+\s*:|\Z)|[\]}]|\Z)""")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_OPEN_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)"')


class _Unreadable(Exception):
    """The text ends, or makes no sense, before the value does."""


def read_leniently(text: str, start: int = 0) -> tuple[Any, int]:
    """The list or object that begins at `start`, and where reading ended; None for it when not even a first element
    can be read.

    Single quotes, missing and trailing commas, bare keys, line breaks and unescaped quotes in texts, and Python's
    literals are read as meant. Where the text is cut off or makes no sense any more, a list ends with its last whole
    element; nothing is completed. The list may stand in an object. Where it was cut off, reading ended at the end of
    `text`.
    """
    reader = _Reader(text, start)
    try:
        return reader.value(0), reader.at
    except _Unreadable:
        return None, max(reader.at, start + 1)


class _Reader:
    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._at = start
        self._ended_early = False

    @property
    def at(self) -> int:
        return self._at

    def value(self, depth: int) -> Any:
        character = self._peek()
        if depth > _DEEPEST:
            raise _Unreadable
        if character == "[":
            return self._list(depth)
        if character == "{":
            return self._object(depth)
        return self._string(_VALUE_ENDS) if character in "\"'" else self._literal()

    def _peek(self, skipped: re.Pattern[str] = _SPACE) -> str:
        self._skip(skipped)
        if self._at >= len(self._text):
            raise _Unreadable
        return self._text[self._at]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()

    def _list(self, depth: int) -> list[Any]:
        self._at += 1
        elements: list[Any] = []
        try:
            while self._peek(_SKIPPED) != "]":
                element = self.value(depth + 1)
                if self._ended_early:
                    raise _Unreadable
                elements.append(element)
        except _Unreadable:
            if not elements:
                raise
            self._ended_early = True
            return elements
        self._at += 1
        return elements

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        members: dict[str, Any] = {}
        while self._peek(_SKIPPED) != "}":
            key = self._key()
            if self._peek() != ":":
                raise _Unreadable
            self._at += 1
            members[key] = self.value(depth + 1)
            if self._ended_early:
                if depth or len(members) > 1:  # this object is no mere wrapping of the list
                    raise _Unreadable
                return members
        self._at += 1
        return members

    def _key(self) -> str:
        if self._text[self._at] in "\"'":
            return self._string(_KEY_ENDS)
        found = _BARE_KEY.match(self._text, self._at)
        if found is None:
            raise _Unreadable
        self._at = found.end()
        return found[0]

    def _literal(self) -> Any:
        found = _LITERAL.match(self._text, self._at)
        if found is None:
            raise _Unreadable
        self._at = found.end()
        try:
            return _PYTHON[found[0]] if found[0] in _PYTHON else json.loads(found[0])
        except ValueError:  # more digits than Python reads
            raise _Unreadable from None

    def _string(self, ends: re.Pattern[str]) -> str:
        quote, start = self._text[self._at], self._at + 1
        end = self._text.find(quote, start)
        while end >= 0 and (self._is_escaped(start, end) or not ends.match(self._text, end + 1)):
            end = self._text.find(quote, end + 1)
        if end < 0:
            self._at = len(self._text)
            raise _Unreadable
        self._at = end + 1
        return _unescaped(self._text[start:end], quote)

    def _is_escaped(self, start: int, at: int) -> bool:
        before = at
        while before > start and self._text[before - 1] == "\\":
            before -= 1
        return (at - before) % 2 == 1


def _unescaped(text: str, quote: str) -> str:
    if quote == "'":
        text = text.replace("\\'", "'")
    text = _OPEN_QUOTE.sub(r'\1\\"', _ESCAPE.sub(_valid_escape, text))
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:  # a \u without its digits
        return text


def _valid_escape(found: re.Match[str]) -> str:
    return found[0] if found[1] in '"\\/bfnrtu' else f"\\{found[0]}"
