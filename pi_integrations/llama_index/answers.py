"""From a finished query to a background score; what both handlers share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, StreamingResponse
from llama_index.core.schema import QueryBundle, QueryType

from pi_integrations.background import BackgroundScorer, Tally, WarnOnce
from pi_integrations.background.once import kind_of
from pi_integrations.llama_index.responses import contexts_of, ready_text
from pi_integrations.llama_index.tee import atee, tee

__all__ = ["AnswerCounts", "AnswerWatch"]

logger = logging.getLogger("pi_integrations.llama_index")


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """What a handler saw; `answers == submitted + incomplete + errors + streaming`.

    Attributes:
        answers: Queries that ended with a response, those inside another query left out.
        submitted: Answers handed to the scorer; its own counts say what became of them.
        incomplete: Answers without a whole text: a stream that was closed, broke off or was never read, or no text.
        errors: Answers that the handler failed to read; logged once per kind.
        streaming: Streamed answers that the user has not read to the end yet.
    """

    answers: int = 0
    submitted: int = 0
    incomplete: int = 0
    errors: int = 0
    streaming: int = 0


class AnswerWatch:
    """Hands finished answers to `scorer`, streamed ones when they have been read; never raises."""

    def __init__(self, scorer: BackgroundScorer) -> None:
        self._scorer = scorer
        self._tally = Tally("answers", "submitted", "incomplete", "errors")
        self._warn = WarnOnce(logger)

    def counts(self) -> AnswerCounts:
        """What was seen so far."""
        counts = self._tally.counts()
        streaming = counts["answers"] - counts["submitted"] - counts["incomplete"] - counts["errors"]
        return AnswerCounts(**counts, streaming=streaming)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Keeps an exception from the user; it counts as an answer that could not be read."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (never into the application)
            self._tally.add("answers")
            self._fail(error)

    def answered(self, question: QueryType, response: RESPONSE_TYPE, metadata: Mapping[str, Any]) -> None:
        """Submits the answer in `response`, or makes its stream submit it when it has been read."""
        self._tally.add("answers")
        try:
            self._take(question, response, metadata)
        except Exception as error:  # noqa: BLE001 (never into the application)
            self._fail(error)

    def _take(self, question: QueryType, response: RESPONSE_TYPE, metadata: Mapping[str, Any]) -> None:
        asked = question.query_str if isinstance(question, QueryBundle) else question
        contexts = contexts_of(response)

        def finish(text: str | None) -> None:
            try:
                self._submit(asked, text, contexts, metadata)
            except Exception as error:  # noqa: BLE001 (never into the application)
                self._fail(error)

        text = ready_text(response)
        if text is None and isinstance(response, StreamingResponse):
            response.response_gen = tee(response.response_gen, finish)
        elif text is None and isinstance(response, AsyncStreamingResponse):
            response.response_gen = atee(response.response_gen, finish)
        else:
            finish(text)

    def _submit(self, asked: str, text: str | None, contexts: list[str], metadata: Mapping[str, Any]) -> None:
        if not text:
            self._tally.add("incomplete")
            return
        self._scorer.submit(llm_input=asked, llm_output=text, contexts=contexts, metadata=metadata)
        self._tally.add("submitted")

    def _fail(self, error: Exception) -> None:
        self._tally.add("errors")
        self._warn(kind_of(error), f"An answer was not scored: {type(error).__name__}: {error}", error)
