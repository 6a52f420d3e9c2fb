"""Reads what chat models write: how a reply ended, what it says after thinking, and the JSON in its prose."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessage

__all__ = ["after_thinking", "json_values", "read_list", "refusal_of", "was_cut_off"]

# Names of the same two endings at different providers.
_REASON_FIELDS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_CUT = {"length", "max_tokens", "model_length", "max_output_tokens", "incomplete", "model_context_window_exceeded"}
_BLOCKED = {
    *("content_filter", "content_filtered", "guardrail_intervened", "refusal"),
    *("safety", "prohibited_content", "blocklist", "recitation", "spii"),
}

_START_OF_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"
# A key is followed by a colon: prose with a name in braces opens no object.
_OPENING = re.compile(
    r"""\[\s*(?:["'{\[\d]|\]|(?:[Tt]rue|[Ff]alse)\b)|\{\s*(?:\}|"[^"\n]{0,99}"\s*:|'[^'\n]{0,99}'\s*:)"""
)
_MAX_LENGTH = 1_000_000
# Each opening that is no JSON may be read to the end of the text before that shows.
_MAX_INVALID = 200
_MAX_WRAPPING = 2
_MAX_DEPTH = 20

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


def was_cut_off(message: AIMessage) -> bool:
    """Whether the reply stopped at a limit on tokens."""
    return bool(_reasons(message) & _CUT)


def refusal_of(message: AIMessage, *, who: str) -> str | None:
    """Why there is no answer, when the model declined or a content filter stopped it; else None."""
    blocks = message.content if isinstance(message.content, list) else []
    if message.additional_kwargs.get("refusal") or any(_is_refusal(block) for block in blocks):
        return f"the {who} refused to answer"
    if blocked := sorted(_reasons(message) & _BLOCKED):
        return f"the {who}'s provider stopped the answer ({blocked[0]})"
    return None


def _reasons(message: AIMessage) -> set[str]:
    metadata = message.response_metadata
    given = [metadata.get(field) for field in _REASON_FIELDS]
    details = metadata.get("incomplete_details")
    if isinstance(details, Mapping):
        given.append(details.get("reason"))
    return {str(reason).casefold() for reason in given if reason}


def _is_refusal(block: object) -> bool:
    return isinstance(block, Mapping) and (block.get("type") == "refusal" or bool(block.get("refusal")))


def after_thinking(text: str) -> int:
    """Where the answer begins in `text`: behind the last thought, or at 0."""
    return text.rfind(_END_OF_THOUGHT) + len(_END_OF_THOUGHT) if _END_OF_THOUGHT in text else 0


def json_values(text: str, *, lenient: bool) -> Iterator[Any]:
    """The JSON lists and objects in `text`, outermost only, whatever prose, code fences and thoughts surround them.

    Strictly, a value is valid JSON. Leniently, one that is nearly valid or was cut off counts too: single quotes,
    missing and trailing commas, bare keys, line breaks and unescaped quotes in texts, and Python's literals are read as
    meant. Of what was cut off, whole elements are read and nothing is completed. The time is linear in the length.
    """
    text = text[:_MAX_LENGTH]
    text = text[after_thinking(text) :].partition(_START_OF_THOUGHT)[0]
    decoder, at, invalid = json.JSONDecoder(strict=not lenient), 0, 0
    while invalid < _MAX_INVALID and (opening := _OPENING.search(text, at)):
        value, at = None, opening.start() + 1
        try:
            value, at = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            invalid += 1
            if lenient:
                reader = _Reader(text, opening.start())
                with suppress(_Unreadable):
                    value = reader.value(0)
                at = max(reader.at, at)
        if value is not None:
            yield value


def read_list(text: str, is_readable: Callable[[Any], bool]) -> list[Any] | None:
    """The elements of the list that a model was asked to write as JSON; None when `text` holds none.

    Reads what `json_values` reads leniently. The list may stand in an object or two, and objects may stand one after
    another or numbered instead of in a list. Of several lists it is the one with the most elements for which
    `is_readable` is true, objects before others, and of equals the last.
    """
    values = list(json_values(text, lenient=True))
    lists: list[list[Any]] = [found for value in values for found in _lists(value, 0)]
    objects: list[Any] = [value for value in values if isinstance(value, dict)]
    if not lists:
        return objects or None
    best = max(reversed(lists), key=lambda found: (*_count_readable(found, is_readable), len(found)))
    return objects if _count_readable(objects, is_readable) > _count_readable(best, is_readable) else best


def _count_readable(values: list[Any], is_readable: Callable[[Any], bool]) -> tuple[int, int]:
    """How many are readable: objects, and others."""
    found = [isinstance(value, dict) for value in values if is_readable(value)]
    return sum(found), len(found) - sum(found)


def _lists(value: Any, depth: int) -> Iterator[list[Any]]:
    """`value` if it is a list; if it is an object, the lists in it and the objects that are its members."""
    if isinstance(value, list):
        yield value
    elif isinstance(value, dict) and depth < _MAX_WRAPPING:
        if members := [member for member in value.values() if isinstance(member, dict)]:
            yield members
        for member in value.values():
            yield from _lists(member, depth + 1)


class _Unreadable(Exception):
    """The text ends, or makes no sense, before the value does."""


class _Reader:
    """Reads one list or object from where it begins, each character a fixed number of times.

    Where the text is cut off or makes no sense any more, a list ends with its last whole element. The list may stand in
    an object.
    """

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self.at = start
        self._ended_early = False

    def value(self, depth: int) -> Any:
        """The value at `at`, which moves behind it."""
        character = self._peek()
        if depth > _MAX_DEPTH:
            raise _Unreadable
        if character == "[":
            return self._list(depth)
        if character == "{":
            return self._object(depth)
        return self._string(_VALUE_ENDS) if character in "\"'" else self._literal()

    def _peek(self, skipped: re.Pattern[str] = _SPACE) -> str:
        if found := skipped.match(self._text, self.at):
            self.at = found.end()
        if self.at >= len(self._text):
            raise _Unreadable
        return self._text[self.at]

    def _list(self, depth: int) -> list[Any]:
        self.at += 1
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
        self.at += 1
        return elements

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        members: dict[str, Any] = {}
        while self._peek(_SKIPPED) != "}":
            key = self._key()
            if self._peek() != ":":
                raise _Unreadable
            self.at += 1
            members[key] = self.value(depth + 1)
            if self._ended_early:
                if depth or len(members) > 1:  # this object is no mere wrapping of the list
                    raise _Unreadable
                return members
        self.at += 1
        return members

    def _key(self) -> str:
        if self._text[self.at] in "\"'":
            return self._string(_KEY_ENDS)
        return self._match(_BARE_KEY)

    def _literal(self) -> Any:
        found = self._match(_LITERAL)
        try:
            return _PYTHON[found] if found in _PYTHON else json.loads(found)
        except ValueError:  # more digits than Python reads
            raise _Unreadable from None

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self.at)
        if found is None:
            raise _Unreadable
        self.at = found.end()
        return found[0]

    def _string(self, ends: re.Pattern[str]) -> str:
        quote, start = self._text[self.at], self.at + 1
        end = self._text.find(quote, start)
        while end >= 0 and (self._is_escaped(start, end) or not ends.match(self._text, end + 1)):
            end = self._text.find(quote, end + 1)
        if end < 0:
            self.at = len(self._text)
            raise _Unreadable
        self.at = end + 1
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
