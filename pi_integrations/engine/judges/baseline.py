"""The `baseline` judge: surface features and hand-set weights, with nothing to download.

A reference point to hold other judges against, not a judge to trust: it reads no meaning.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pi_integrations.engine.judges.protocol import Exchange, Verdict

__all__ = ["MAX_CHARACTERS", "BaselineJudge"]

MAX_CHARACTERS = 200_000
"""The longest text it reads, in characters; a longer input or output is unscored."""

# Above this many characters the work takes milliseconds and leaves the event loop.
_OFF_LOOP_CHARACTERS = 20_000

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_DIGIT = re.compile(r"\d")
_REFUSAL = re.compile(
    r"\b(?:i|we)(?: am|'m|’m| are)? ?(?:can(?:no|')t|can’t|can not|unable to|not able to|won't|won’t|will not)"
    r" (?:help|assist|answer|do that|provide|comply)|\bas an ai\b",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\b(?:please|thanks?|thank you|sorry|apolog\w+|glad|happy to|welcome|appreciate|understand|regret)\b",
    re.IGNORECASE,
)
_FUNCTION_WORDS = """
a an and any are as at be been but by can could did do does for from had has have how i if in is it its me my no not of
on or our should so such than that the their them then there these they this to us was we were what when where which who
why will with would you your output response answer reply input question user text
"""
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
_ENDINGS = frozenset(".!?…:;。！？)]}\"'”’`*|>")

# Added up and sent through the logistic function. Set by hand from what each feature ought to mean, and rebalanced once
# after looking at the pairs that the docstring of BaselineJudge names.
_BIAS = -0.5
_LENGTH = 4.0
_INPUT_OVERLAP = 0.8
_QUESTION_OVERLAP = 0.8
_REPETITION = -2.0
_ECHO = -1.0
_CUT_SHORT = -0.5
_REFUSED = -1.5
_EMPTY = -6.0
_CUE = 1.2

_FULL_LENGTH = 200
"""Words from which on length counts in full."""
_MIDDLE_LENGTH = 0.5
"""Length feature that counts neither way; about 13 words."""
_UNPUNCTUATED = 8
"""An output of so few words is whole without a mark at its end."""


@dataclass(frozen=True, slots=True)
class _Cue:
    """What a question asks for by a cue word, and the feature that shows it."""

    asked: re.Pattern[str]
    feature: str


def _cue(words: str, feature: str) -> _Cue:
    return _Cue(re.compile(rf"\b(?:{words})", re.IGNORECASE), feature)


_CUES = (
    _cue(r"polite|courteous|friendly|apolog|thank|empath|warm\b", "courteous"),
    _cue(r"lists?\b|bullet|steps?\b|numbered", "listed"),
    _cue(r"numbers?\b|figures?\b|amount|price|date\b|how (?:much|many)", "has_digits"),
)
# A concise answer is a short one: these turn the weight of length round.
_SHORT = re.compile(r"\b(?:concise|brief|short\b|succinct|to the point)", re.IGNORECASE)
# These turn the weight of words that the question shares with the output round; "warm, without blaming" still asks for
# warmth, so cues stay.
_NEGATED = re.compile(r"\b(?:avoid|without|free (?:of|from)|refrain|never|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Features:
    """What is counted on one exchange, once for all its questions; each number lies in [0, 1]."""

    words: frozenset[str]
    length: float
    input_overlap: float
    repetition: float
    echo: float
    cut_short: float
    refused: float
    empty: float
    courteous: float
    listed: float
    has_digits: float


class BaselineJudge:
    """A judge that weighs surface features: length, overlap of words, repetition, endings, refusals, lists.

    The same exchange and question always give the same score, to the last bit. Questions enter through their words: how
    many of them the output repeats, and a few cues such as "concise" or "polite".

    Measured on PandaLM's human-annotated test set (894 pairs in which most of three annotators preferred one response),
    the preferred response gets the higher score in 68.6 % of pairs, ties counted half, against 67.4 % for taking the
    longer one. The difference, 1.2 points with a 95 % interval of −1.5 to 3.9, cannot be distinguished from chance,
    and it flatters: the weights were rebalanced once after looking at these pairs, 63.7 % before. So surface features
    are worth no more than length. `benchmarks/baseline_agreement.py` measures it.

    A text of more than 200,000 characters is unscored.

    Example:
        >>> judge = BaselineJudge()
        >>> exchange = Exchange("Where is my parcel?", "Sorry for the wait! Your parcel arrives on Monday.")
        >>> verdicts = asyncio.run(judge.answer(exchange, ["Is it polite?", "Is it empty?"]))
        >>> verdicts[0].score > verdicts[1].score, verdicts[0].method
        (True, 'baseline')
    """

    @property
    def fingerprint(self) -> str:
        """Changes with every change of features, cues or weights."""
        return "baseline/1"

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order."""
        if reason := _too_long(exchange):
            return [Verdict.unscored(reason, method="baseline") for _ in questions]
        texts = (exchange.llm_input, exchange.llm_output, *questions)
        if sum(map(len, texts)) > _OFF_LOOP_CHARACTERS:
            return await asyncio.to_thread(_verdicts, exchange, questions)
        return _verdicts(exchange, questions)

    async def aclose(self) -> None:
        """Nothing to release."""


def _too_long(exchange: Exchange) -> str | None:
    for name, text in (("llm_input", exchange.llm_input), ("llm_output", exchange.llm_output)):
        if len(text) > MAX_CHARACTERS:
            return (
                f"{name} has {len(text):,} characters and the baseline judge reads at most {MAX_CHARACTERS:,}; "
                "shorten it or use another judge"
            )
    return None


def _verdicts(exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
    features = _features(exchange)
    return [Verdict(_score(features, question), method="baseline") for question in questions]


def _features(exchange: Exchange) -> _Features:
    output = exchange.llm_output
    words = _words(output)
    content, asked = _content(words), _content(_words(exchange.llm_input))
    return _Features(
        words=content,
        length=min(math.log1p(len(words)) / math.log1p(_FULL_LENGTH), 1.0),
        input_overlap=_share(asked, content),
        repetition=_repetition(words),
        echo=float(bool(words) and output.strip() == exchange.llm_input.strip()),
        cut_short=float(len(words) > _UNPUNCTUATED and output.rstrip()[-1] not in _ENDINGS),
        refused=float(_REFUSAL.search(output[:1000]) is not None),
        empty=float(not words),
        courteous=float(_COURTESY.search(output) is not None),
        listed=float(_LIST_ITEM.search(output) is not None),
        has_digits=float(_DIGIT.search(output) is not None),
    )


def _score(features: _Features, question: str) -> float:
    """The probability in [0, 1] that these weights give."""
    cues = {cue.feature for cue in _CUES if cue.asked.search(question)}
    asked = _content(_words(question))
    direction = -1.0 if _NEGATED.search(question) else 1.0
    terms = [
        _BIAS,
        (-_LENGTH if _SHORT.search(question) else _LENGTH) * (features.length - _MIDDLE_LENGTH),
        _INPUT_OVERLAP * features.input_overlap,
        direction * _QUESTION_OVERLAP * _share(asked, features.words),
        _REPETITION * features.repetition,
        _ECHO * features.echo,
        _CUT_SHORT * features.cut_short,
        _REFUSED * features.refused,
        _EMPTY * features.empty,
        *(_CUE * (2 * getattr(features, feature) - 1) for feature in sorted(cues)),
    ]
    # fsum rounds once, so that no order of the terms changes the last bit.
    return 1 / (1 + math.exp(-math.fsum(terms)))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _content(words: Sequence[str]) -> frozenset[str]:
    """Words that carry a subject, cut to a stem of six characters so that inflections meet."""
    return frozenset(word[:6] for word in words if word not in _STOP_WORDS)


def _share(wanted: frozenset[str], found: frozenset[str]) -> float:
    return len(wanted & found) / len(wanted) if wanted else 0.0


def _repetition(words: Sequence[str]) -> float:
    """Share of the three-word runs that came before; 0 for fewer than six words."""
    if len(words) < 6:
        return 0.0
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(runs)) / len(runs)
