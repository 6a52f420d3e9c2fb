"""The two readings of a judge model's reply: yes/no words by their tokens' probabilities, and written probabilities."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from langchain_core.messages import AIMessage

from pi_integrations.engine.chat_models.replies import after_thinking, json_values, was_cut_off
from pi_integrations.engine.judges.protocol import Verdict

__all__ = ["ANSWERS_SCHEMA", "CUT_OFF", "Reading", "Token", "read_answers", "read_words", "tokens_of", "yes_share"]

Reading = Literal["logprobs", "structured"]
"""How a reply is read: `read_words`, or `read_answers`."""

CUT_OFF = "the judge model's answer was cut off at its token limit; raise max_tokens of the chat model"
"""Reason of an answer that is not whole, in either reading."""

# The explanation comes first, so that the number follows from it. No minimum or maximum: not every provider's
# schema dialect has them, and the reader checks the range.
_ANSWER = {
    "question": {"type": "integer", "description": "The question's number."},
    "explanation": {"type": "string", "description": "At most two short sentences."},
    "probability": {"type": "number", "description": "Probability, from 0 to 1, that the answer is yes."},
}
_ANSWER_ITEM = {"type": "object", "properties": _ANSWER, "required": list(_ANSWER), "additionalProperties": False}
ANSWERS_SCHEMA: dict[str, Any] = {
    "title": "answers",
    "description": "One answer per question.",
    "type": "object",
    "properties": {"answers": {"type": "array", "items": _ANSWER_ITEM}},
    "required": ["answers"],
    "additionalProperties": False,
}
"""JSON Schema of an answer to all questions."""

# Some providers send the vocabulary's own space and line-break marks. One character each, so offsets stay.
_MARKS = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n"})
_NUMBERED = re.compile(r"^[^\w\n]*(\d{1,6})[^\w\n]+(yes|no)\b", re.IGNORECASE | re.MULTILINE)
_ALONE = re.compile(r"^[^\w\n]*(?:(1)[^\w\n]+)?(yes|no)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer, with the likeliest tokens at its place as (text, log-probability)."""

    text: str
    alternatives: tuple[tuple[str, float], ...]


def tokens_of(message: AIMessage) -> list[Token]:
    """The answer's tokens with their alternatives; empty when the provider sent no alternatives."""
    carried = message.response_metadata.get("logprobs")
    entries = carried.get("content") if isinstance(carried, Mapping) else carried
    if not isinstance(entries, Sequence):
        return []
    tokens = [_token(entry) for entry in entries if isinstance(entry, Mapping)]
    return tokens if any(token.alternatives for token in tokens) else []


def _token(entry: Mapping[str, Any]) -> Token:
    listed = entry.get("top_logprobs") or []
    pairs = [(str(other.get("token", "")), other.get("logprob")) for other in listed if isinstance(other, Mapping)]
    text = str(entry.get("token", ""))
    if pairs and all(other != text for other, _ in pairs):
        pairs.append((text, entry.get("logprob")))
    known = tuple((other, float(value)) for other, value in pairs if isinstance(value, int | float))
    return Token(text.translate(_MARKS), known)


def yes_share(token: Token) -> float | None:
    """P(yes) / (P(yes) + P(no)) at this token, in [0, 1]; None when neither is among its alternatives.

    Counted as yes or no: the bare word in any case, with any space or punctuation around it (" Yes", "yes."). A word
    outside the provider's list counts as 0; it is at most as likely as the least of those listed.

    Source: Liu et al. 2023, G-Eval, §2.2, which weighs every answer by its token probability; this normalises over
    yes and no only.
    """
    yes, no = _mass(token, "yes"), _mass(token, "no")
    total = yes + no
    # Log-probabilities above 0 or NaN are no probabilities; the slack is for float32 rounding.
    if not 0 < total <= 1.01:
        return None
    return yes / total


def _mass(token: Token, word: str) -> float:
    return math.fsum(math.exp(min(value, 1.0)) for text, value in token.alternatives if _bare(text) == word)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.translate(_MARKS)).casefold()


def read_words(message: AIMessage, tokens: Sequence[Token], count: int) -> list[Verdict]:
    """A verdict for each of `count` questions from lines like `2: no`, or from one bare word when `count` is 1."""
    text = "".join(token.text for token in tokens)
    starts = list(accumulate((len(token.text) for token in tokens), initial=0))[:-1]
    begin = after_thinking(text)
    found: dict[int, list[Token]] = {}
    for match in (_ALONE if count == 1 else _NUMBERED).finditer(text[begin:]):
        at = bisect_right(starts, begin + match.start(2)) - 1
        found.setdefault(int(match[1] or 1), []).append(tokens[at])
    missing = CUT_OFF if was_cut_off(message) else f"the judge model gave no yes or no; its answer begins {text[:80]!r}"
    return [_word_verdict(found.get(n, []), missing) for n in range(1, count + 1)]


def _word_verdict(tokens: Sequence[Token], missing: str) -> Verdict:
    if not tokens:
        return Verdict.unscored(missing, method="logprobs")
    if len(tokens) > 1:
        return Verdict.unscored("the judge model answered this question more than once", method="logprobs")
    share = yes_share(tokens[0])
    if share is None:
        reason = f"the token {tokens[0].text!r} of the judge model's answer carries no probability of yes or no"
        return Verdict.unscored(reason, method="logprobs")
    return Verdict(share, method="logprobs")


def read_answers(message: AIMessage, count: int) -> list[Verdict]:
    """A verdict for each of `count` questions from a tool call or valid JSON in the text; a question whose answer is
    missing, unreadable or out of range is unscored.
    """
    items: dict[int, list[Mapping[str, Any]]] = {}
    for item in _items(message):
        items.setdefault(_number(item.get("question")), []).append(item)
    begins = str(message.text)[:80]
    return [_answer_verdict(items.get(n, []), begins) for n in range(1, count + 1)]


def _items(message: AIMessage) -> Iterator[Mapping[str, Any]]:
    payloads = [call["args"] for call in message.tool_calls] or json_values(str(message.text), lenient=False)
    for payload in payloads:
        listed = payload.get("answers") if isinstance(payload, Mapping) else payload
        if isinstance(listed, list):
            yield from (item for item in listed if isinstance(item, Mapping))


def _answer_verdict(items: list[Mapping[str, Any]], begins: str) -> Verdict:
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
