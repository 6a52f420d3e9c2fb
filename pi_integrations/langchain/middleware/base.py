"""What both modes of the middleware share: its options, its scores, and its book of retries."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime

from pi_integrations.background import WarnOnce
from pi_integrations.background.absorbed_errors import kind_of
from pi_integrations.errors import PiError, PiUsageError
from pi_integrations.langchain.exchange import Exchange, ExchangeReader
from pi_integrations.langchain.middleware.state import PiScoreReport, PiScoreState, RetryBook
from pi_integrations.langchain.middleware.verdicts import (
    Feedback,
    counted_questions,
    failing_questions,
    feedback_message,
    report_of,
)
from pi_integrations.langchain.scoring import Scoring
from pi_integrations.langchain.texts import structured_text
from pi_integrations.models import ScoreResult

__all__ = ["OnScoreError", "ScoreMiddleware", "is_final"]

OnScoreError = Literal["accept", "raise"]

logger = logging.getLogger("pi_integrations.langchain")
_reader = ExchangeReader()
_NEW = RetryBook(retries=0, best=None, held=None, written=[], failure=None)


class ScoreMiddleware(AgentMiddleware[PiScoreState, Any, Any]):
    """The middleware without its hooks; see `PiScoreMiddleware`."""

    state_schema = PiScoreState

    def __init__(
        self,
        scoring: Scoring,
        *,
        threshold: float,
        max_retries: int,
        on_score_error: OnScoreError,
        feedback: Feedback,
        name: str,
    ) -> None:
        super().__init__()
        _check(threshold, max_retries, on_score_error)
        self.tools = []
        self.threshold = threshold
        self.max_retries = max_retries
        self._raises = on_score_error == "raise"
        self._feedback = feedback
        self._name = name
        self._scoring = scoring
        self._questions = counted_questions(scoring.spec)
        self._warn = WarnOnce(logger)

    @property
    def name(self) -> str:
        """What this middleware is called: in the graph, in traces, and in the state's `pi_scores`."""
        return self._name

    def score(self, inputs: Sequence[AnyMessage], answer: Any) -> ScoreResult | Exception:
        """The scores of `answer`, a message or a structured answer, or why there are none.

        Raises:
            Exception: with `on_score_error="raise"`: whatever reading or scoring raised.
        """
        try:
            return self._scoring.score(_exchange(inputs, answer))
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 (accepted or raised, as asked for)
            return self._failed(error)

    async def ascore(self, inputs: Sequence[AnyMessage], answer: Any) -> ScoreResult | Exception:
        """`score`, awaited."""
        try:
            return await self._scoring.ascore(_exchange(inputs, answer))
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 (accepted or raised, as asked for)
            return self._failed(error)

    def _failed(self, error: Exception) -> Exception:
        if self._raises:
            raise error
        self._warn(kind_of(error), f"{self.name} accepted an answer unscored: {type(error).__name__}: {error}", error)
        return error

    def failure(self, error: Exception) -> str:
        """Why the model gave no further draft, where there is one that can go out; logged once per kind.

        Raises:
            Exception: `error` itself, when it is an interrupt, or the failed score of a middleware inside.
        """
        if isinstance(error, GraphBubbleUp | PiError):
            raise error
        text = f"{type(error).__name__}: {error}"
        kind = ("retry", kind_of(error))
        self._warn(kind, f"{self.name} let the best draft go out, for the model failed on a retry: {text}", error)
        return text

    def report(self, result: ScoreResult | Exception, book: RetryBook, message_id: str | None) -> PiScoreReport:
        """What lands in the state about the draft that `result` is about."""
        return report_of(result, threshold=self.threshold, drafts=book["retries"] + 1, message_id=message_id)

    def is_settled(self, report: PiScoreReport, book: RetryBook) -> bool:
        """Whether no further draft is asked for."""
        return report["passed"] or report["error"] is not None or book["retries"] >= self.max_retries

    def note(self, report: PiScoreReport) -> HumanMessage:
        """What the model is told about a draft that fell short."""
        return feedback_message(self._feedback, failing_questions(report, self.threshold, self._questions), self.name)

    def before_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """A run of the agent begins with all its retries and without scores, whatever was before."""
        return self.update(_NEW)

    async def abefore_agent(self, state: PiScoreState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """`before_agent`, awaited."""
        return self.update(_NEW)

    def book(self, state: Any) -> RetryBook:
        """What is remembered of this run; by no message's id, for a summary may take the user's message away."""
        book: RetryBook = {**_NEW, **state.get("pi_retries", {}).get(self.name, {})}
        return book

    def names(self, state: Any) -> list[str]:
        """Of all of these in the agent."""
        return list(state.get("pi_retries", {}))

    def update(self, book: RetryBook, report: PiScoreReport | None = None) -> dict[str, Any]:
        """An update of the agent's state; without a report, one that takes an earlier report away."""
        return {"pi_retries": {self.name: book}, "pi_scores": {self.name: report}}


def _exchange(inputs: Sequence[AnyMessage], answer: Any) -> Exchange:
    """Of a message, or of a structured answer as JSON."""
    text = answer if isinstance(answer, AIMessage) else structured_text(answer)
    return _reader.read({"messages": list(inputs)}, text)


def is_final(message: Any) -> bool:
    """Whether `message` is an answer of the model's, and no call of tools."""
    return isinstance(message, AIMessage) and not message.tool_calls


def _check(threshold: float, max_retries: int, on_score_error: str) -> None:
    if not 0 <= threshold <= 1:
        raise PiUsageError(f"threshold is {threshold}; totals are in [0, 1]")
    if max_retries < 0:
        raise PiUsageError(f"max_retries is {max_retries}; it must be at least 0")
    if on_score_error not in ("accept", "raise"):
        raise PiUsageError(f"on_score_error is {on_score_error!r}; give 'accept' or 'raise'")
