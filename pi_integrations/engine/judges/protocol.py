"""The judge protocol: yes/no questions about one exchange in, a verdict for each out.

A verdict is a score or a reason why there is none, never both, and carries the reading that made it. A judge reports
a problem with one question as an unscored verdict, not as an exception, so that its neighbours keep their scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, Protocol, runtime_checkable

from pi_integrations.models import Usage

__all__ = ["Exchange", "Judge", "LoadedJudge", "Method", "Verdict"]

Method = Literal["logits", "logprobs", "structured", "code", "model", "baseline", "scripted"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an application was asked and what it answered."""

    llm_input: str
    llm_output: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question: `score` in [0, 1], or None with the `reason`.

    Attributes:
        score: Probability that the answer is yes; None when unscored.
        reason: Why it is unscored.
        method: The reading that made the score, or that was tried.
        explanation: The judge's or the code's own words.
        retryable: For an unscored verdict: whether asking again may help (a time-out, a rate limit).
        usage: What this verdict cost; a judge that answers several questions in one call puts it on the first.
    """

    score: float | None
    reason: str | None = None
    method: Method = "scripted"
    explanation: str | None = None
    retryable: bool = False
    usage: Usage | None = None

    def __post_init__(self) -> None:
        if self.score is None:
            if not self.reason:
                raise ValueError("an unscored verdict needs a reason")
        else:
            object.__setattr__(self, "score", _checked_score(self.score))

    @classmethod
    def unscored(cls, reason: str, *, method: Method, retryable: bool = False, usage: Usage | None = None) -> Verdict:
        """A verdict without a number."""
        return cls(score=None, reason=reason, method=method, retryable=retryable, usage=usage)


def _checked_score(score: object) -> float:
    """`score` as a plain float, whatever kind of number a judge made."""
    if isinstance(score, Real):
        number = float(score)
        if math.isfinite(number) and 0 <= number <= 1:
            return number
    raise ValueError(f"a score is a number in [0, 1], not {score!r}")


@runtime_checkable
class Judge(Protocol):
    """Answers yes/no questions about one exchange.

    All of a judge's methods are called on one event loop: the engine's.
    """

    @property
    def fingerprint(self) -> str:
        """Identifies everything that decides a score: kind, model, weights, prompt version, reading, precision."""
        ...

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """One verdict per question, in their order."""
        ...

    async def aclose(self) -> None:
        """Releases what the judge holds; called once, when the engine stops."""
        ...


@runtime_checkable
class LoadedJudge(Judge, Protocol):
    """A judge with something to load before its first answer; the engine calls `load` once, when it starts."""

    async def load(self) -> None:
        """Returns when the judge is ready; raises PiUsageError when it never will be."""
        ...
