"""A judge that answers from a table: for tests and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pi_integrations.engine.judges.protocol import Exchange, Verdict

__all__ = ["ScriptedJudge"]

ScriptedAnswer: TypeAlias = float | Verdict | BaseException
Script: TypeAlias = Mapping[str, ScriptedAnswer] | Callable[[Exchange, str], ScriptedAnswer]


class ScriptedJudge:
    """Answers each question from `script`.

    Args:
        script: By question text, or a function of exchange and question: a score, a `Verdict`, or an exception that
            is raised.
        default: Score of questions a table does not hold; without it they are unscored.
        delay: Seconds every answer takes.
        name: Ends the fingerprint, to tell scripts apart.

    Attributes:
        asked: Every `(exchange, question)` so far, in order; None when `record` is False.

    Example:
        >>> judge = ScriptedJudge({"Is it polite?": 0.9})
        >>> judge.fingerprint
        'scripted/default'
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        default: float | None = None,
        delay: float = 0.0,
        name: str = "default",
        record: bool = True,
    ) -> None:
        self._script = script if script is not None else {}
        self._default = default
        self._delay = delay
        self.fingerprint = f"scripted/{name}"
        self.asked: list[tuple[Exchange, str]] | None = [] if record else None

    async def answer(self, exchange: Exchange, questions: Sequence[str]) -> list[Verdict]:
        """A verdict per question, from the script."""
        if self.asked is not None:
            self.asked.extend((exchange, question) for question in questions)
        if self._delay:
            await asyncio.sleep(self._delay)
        return [self._verdict(exchange, question) for question in questions]

    def _verdict(self, exchange: Exchange, question: str) -> Verdict:
        if callable(self._script):
            answer: ScriptedAnswer | None = self._script(exchange, question)
        else:
            answer = self._script.get(question, self._default)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Verdict):
            return answer
        if answer is None:
            return Verdict.unscored(f"the script has no answer to {question!r}", method="scripted")
        return Verdict(score=answer, method="scripted")

    async def aclose(self) -> None:
        """Holds nothing."""
