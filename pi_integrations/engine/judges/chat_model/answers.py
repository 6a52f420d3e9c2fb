"""The `structured` reading: a probability and an explanation per question, from a tool call or from JSON text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from langchain_core.messages import AIMessage

from pi_integrations.engine.judges.protocol import Verdict

__all__ = ["ANSWERS_SCHEMA", "CUT_OFF", "read_answers"]

CUT_OFF = "the judge model's answer was cut off at its token limit; raise max_tokens of the chat model"
"""Reason of an answer that is not whole, in either reading."""

# The explanation comes first, so that the number follows from it. No minimum or maximum: not every provider's
# schema dialect has them, and the reader checks the range.
ANSWERS_SCHEMA: dict[str, Any] = {
    "title": "answers",
    "description": "One answer per question.",
    "type": "object",
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "question": {"type": "integer", "description": "The question's number."},
                    "explanation": {"type": "string", "description": "At most two short sentences."},
                    "probability": {
                        "type": "number",
                        "description": "Probability, from 0 to 1, that the answer is yes.",
                    },
                },
                "required": ["question", "explanation", "probability"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["answers"],
    "additionalProperties": False,
}
"""JSON Schema of an answer to all questions."""

_START_OF_THOUGHT, _END_OF_THOUGHT = "<think>", "</think>"
_START = re.compile(r"""\{\s*"|\[\s*\{""")
# Each start may be followed to the end of the text before it turns out to be none.
_MAX_STARTS = 300


def read_answers(message: AIMessage, count: int) -> list[Verdict]:
    """A verdict for each of `count` questions; one that is missing, unreadable or out of range is unscored."""
    items: dict[int, list[Mapping[str, Any]]] = {}
    for item in _items(message):
        items.setdefault(_number(item.get("question")), []).append(item)
    begins = str(message.text)[:80]
    return [_verdict(items.get(n, []), begins) for n in range(1, count + 1)]


def _items(message: AIMessage) -> Iterator[Mapping[str, Any]]:
    payloads = [call["args"] for call in message.tool_calls] or _json_values(str(message.text))
    for payload in payloads:
        listed = payload.get("answers") if isinstance(payload, Mapping) else payload
        if isinstance(listed, list):
            yield from (item for item in listed if isinstance(item, Mapping))


def _json_values(text: str) -> Iterator[Any]:
    """The JSON objects and arrays in `text`, outermost only, whatever stands around them."""
    text = text.rpartition(_END_OF_THOUGHT)[2].partition(_START_OF_THOUGHT)[0]
    decoder, end = json.JSONDecoder(), 0
    for start in islice(_START.finditer(text), _MAX_STARTS):
        if start.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        yield value


def _verdict(items: list[Mapping[str, Any]], begins: str) -> Verdict:
    if not items:
        reason = f"the judge model gave no verdict on this question; its answer begins {begins!r}"
        return Verdict.unscored(reason, method="structured")
    given = items[0].get("probability")
    if any(item.get("probability") != given for item in items[1:]):
        return Verdict.unscored("the judge model answered this question more than once", method="structured")
    score = _probability(given)
    if score is None:
        reason = f"the judge model's verdict is no probability from 0 to 1: {str(given)[:40]!r}"
        return Verdict.unscored(reason, method="structured")
    explanation = items[0].get("explanation")
    return Verdict(score, method="structured", explanation=explanation if isinstance(explanation, str) else None)


def _number(value: Any) -> int:
    """The question's number; 0, which no question has, when it is none."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 7 else 0
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _probability(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= 1 else None
