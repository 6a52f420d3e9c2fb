"""From a finished query, chat or run to a background score; what all handlers share."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pi_integrations.background import BackgroundScorer, Tally, WarnOnce
from pi_integrations.background.absorbed_errors import kind_of
from pi_integrations.errors import PiUsageError
from pi_integrations.llama_index.answer_streams import AnswerReading, tee_answer
from pi_integrations.llama_index.nesting import OpenAnswer
from pi_integrations.llama_index.outcomes import Streamed, outcome_of, tool_outputs
from pi_integrations.llama_index.questions import own_tags
from pi_integrations.llama_index.tee import Text
from pi_integrations.llama_index.turns import QUESTION_FIELDS

__all__ = ["AnswerCounts", "AnswerWatch"]

logger = logging.getLogger("pi_integrations.llama_index")


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """What a handler saw; `answers == submitted + incomplete + errors + streaming`.

    Attributes:
        answers: Queries, chats and runs that ended with an answer or were cancelled, those inside another one left out.
        submitted: Answers handed to the scorer; its own counts say what became of them.
        incomplete: Answers without a whole text: a cancelled run, a stream that was left, broke off or was never read,
            or no text. A chat's stream that was left counts as streaming again when somebody reads on.
        errors: Answers that the handler failed to read; logged once per kind.
        streaming: Streamed answers that the user is reading, or has not begun to read.
        failed: Queries, chats and runs that raised instead of answering; not among the answers, and not scored.
    """

    answers: int = 0
    submitted: int = 0
    incomplete: int = 0
    errors: int = 0
    streaming: int = 0
    failed: int = 0


class _Guard:
    """Keeps an exception from the user; it counts as an answer that could not be read. May be entered many times."""

    def __init__(self, watch: AnswerWatch) -> None:
        self._watch = watch

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._watch.unread(error)
        return True


class AnswerWatch:
    """Hands finished answers to `scorer`, streamed ones when they have been read; never raises.

    Attributes:
        guarded: A context that keeps exceptions from the user; each counts as an answer that could not be read.
    """

    def __init__(self, scorer: BackgroundScorer) -> None:
        self._scorer = scorer
        self._tally = Tally("answers", "submitted", "incomplete", "errors", "failed")
        self._warn = WarnOnce(logger)
        self.guarded = _Guard(self)

    def counts(self) -> AnswerCounts:
        """What was seen so far."""
        self._scorer.catch_up()
        counts = self._tally.counts()
        streaming = counts["answers"] - counts["submitted"] - counts["incomplete"] - counts["errors"]
        return AnswerCounts(**counts, streaming=streaming)

    def unread(self, error: Exception) -> None:
        """An answer could not be read; counted, and logged once per kind."""
        self._tally.add("answers")
        self._fail(error)

    def answered(self, answer: OpenAnswer, result: Any) -> None:
        """Submits the answer in `result`, or makes its stream submit it when it has been read.

        A result without an answer in it, such as a workflow's number, is passed over. What is in it is taken now, and
        the rest left to the scorer's thread.
        """
        with self.guarded:
            outcome = outcome_of(result)
            if outcome is None:
                return
            answer.agent = outcome.agent
            if outcome.agent is not None and not outcome.contexts:
                outcome.contexts = tool_outputs(answer.tools)
            answer.tools = []  # contexts of the application's hold the answer for longer
            if outcome.stream is None:
                self._scorer.defer(self._take, answer, outcome.text, outcome.contexts)
            else:
                self._tally.add("answers")
                self._tee(answer, outcome.stream, outcome.contexts)

    def failed(self, error: BaseException | None) -> None:
        """An answer ended with `error`; one that was cancelled is incomplete."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.cancelled()
        else:
            self._tally.add("failed")

    def cancelled(self) -> None:
        """An answer was given up before its end."""
        self._tally.add("answers")
        self._tally.add("incomplete")

    def _take(self, answer: OpenAnswer, text: str | None, contexts: list[str]) -> None:
        self._tally.add("answers")
        self._finish(answer, text, contexts)

    def _tee(self, answer: OpenAnswer, stream: Streamed, contexts: list[str]) -> None:
        reading = AnswerReading(self, answer, contexts)
        try:
            tee_answer(stream, reading)
        except Exception as error:  # noqa: BLE001 (never into the application)
            reading.drop()
            self._fail(error)

    def left(self, by: int) -> None:
        """So many more streams are read by nobody before their end."""
        self._tally.add("incomplete", by)

    def read(self, answer: OpenAnswer, text: Text, contexts: list[str]) -> None:
        """The stream of `answer` gives nothing more."""
        try:
            self._scorer.defer(self._finish, answer, text(), contexts)
        except Exception as error:  # noqa: BLE001 (never into the application)
            self._fail(error)

    def _finish(self, answer: OpenAnswer, text: str | None, contexts: list[str]) -> None:
        try:
            self._submit(answer, text, contexts)
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _submit(self, answer: OpenAnswer, text: str | None, contexts: list[str]) -> None:
        if not text:
            self._tally.add("incomplete")
            return
        if answer.question is None:
            raise PiUsageError(
                f"what {answer.name} was asked is not known: give its start event one text, or call the question one of"
                f" {', '.join(QUESTION_FIELDS)}"
            )
        tags = own_tags(answer.tags)
        self._scorer.submit(
            llm_input=answer.question,
            llm_output=text,
            system_prompt=answer.instructions,
            history=answer.likely_history if answer.history is None else answer.history,
            contexts=contexts,
            name=answer.name,
            tags=[f"{name}={value}" for name, value in tags.items()],
            metadata={"run_id": answer.key, "tags": tags},
        )
        self._tally.add("submitted")

    def _fail(self, error: BaseException) -> None:
        self._tally.add("errors")
        self._warn(kind_of(error), f"An answer was not scored: {type(error).__name__}: {error}", error)
