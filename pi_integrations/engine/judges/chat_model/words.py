"""The `logprobs` reading: yes/no words in an answer, each scored from the probabilities of its token."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from langchain_core.messages import AIMessage

from pi_integrations.engine.chat_models.ending import was_cut_off
from pi_integrations.engine.judges.chat_model.answers import CUT_OFF
from pi_integrations.engine.judges.protocol import Verdict

__all__ = ["Token", "read_words", "tokens_of", "yes_share"]

# Some providers send the vocabulary's own space and line-break marks. One character each, so offsets stay.
_MARKS = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n"})
_NUMBERED = re.compile(r"^[^\w\n]*(\d{1,6})[^\w\n]+(yes|no)\b", re.IGNORECASE | re.MULTILINE)
_ALONE = re.compile(r"^[^\w\n]*(?:(1)[^\w\n]+)?(yes|no)\b", re.IGNORECASE | re.MULTILINE)
_END_OF_THOUGHT = "</think>"


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
    begin = text.rfind(_END_OF_THOUGHT) + len(_END_OF_THOUGHT) if _END_OF_THOUGHT in text else 0
    found: dict[int, list[Token]] = {}
    for match in (_ALONE if count == 1 else _NUMBERED).finditer(text[begin:]):
        at = bisect_right(starts, begin + match.start(2)) - 1
        found.setdefault(int(match[1] or 1), []).append(tokens[at])
    missing = CUT_OFF if was_cut_off(message) else f"the judge model gave no yes or no; its answer begins {text[:80]!r}"
    return [_verdict(found.get(n, []), missing) for n in range(1, count + 1)]


def _verdict(tokens: Sequence[Token], missing: str) -> Verdict:
    if not tokens:
        return Verdict.unscored(missing, method="logprobs")
    if len(tokens) > 1:
        return Verdict.unscored("the judge model answered this question more than once", method="logprobs")
    share = yes_share(tokens[0])
    if share is None:
        reason = f"the token {tokens[0].text!r} of the judge model's answer carries no probability of yes or no"
        return Verdict.unscored(reason, method="logprobs")
    return Verdict(share, method="logprobs")
