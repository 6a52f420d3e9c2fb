"""Receives the handlers' reports: answers that begin, end and fail, and the model calls made for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.agent.workflow.workflow_events import ToolCallResult

from pi_integrations.background import BackgroundScorer
from pi_integrations.llama_index.answers import AnswerCounts, AnswerWatch
from pi_integrations.llama_index.nesting import Nesting, OpenAnswer
from pi_integrations.llama_index.turns import history_around, history_seen

__all__ = ["AnswerListener"]

_AGENT_STEP = ".run_agent_step"
"""Ends the name of the span in which LlamaIndex's agents call their model, themselves or in an `AgentWorkflow`."""


class AnswerListener:
    """Hands the answers that a user sees to a watch, each once; its methods must be called inside `watch.guarded`."""

    def __init__(self, scorer: BackgroundScorer) -> None:
        self.watch = AnswerWatch(scorer)
        self._nesting = Nesting()

    def counts(self) -> AnswerCounts:
        """The counts so far."""
        return self.watch.counts()

    def start_over(self) -> None:
        """Forgets open answers: one that ended while nobody listened must not seem to enclose later ones."""
        self._nesting.close()
        self._nesting = Nesting()

    def begin(self, answer: OpenAnswer) -> None:
        """`answer` begins."""
        self._nesting.enter(answer)

    def end(self, key: str | None, result: Any) -> None:
        """The answer with `key` ends with `result`; None when it was cancelled."""
        answer = self._nesting.leave(key)
        if answer is not None and result is None:
            self.watch.cancelled()
        elif answer is not None:
            self.watch.answered(answer, result)

    def fail(self, key: str | None, error: BaseException | None) -> None:
        """The answer with `key`, if there is one, ends with `error`."""
        if self._nesting.leave(key) is not None:
            self.watch.failed(error)

    def tool_called(self, result: ToolCallResult) -> None:
        """A tool of an agent returned. Recorded because an agent whose last tool gives the answer reports no calls."""
        run = self._nesting.run()
        if run is not None:
            run.tools.append(result)

    def model_called(self, arguments: Mapping[str, Any], caller: str | None) -> None:
        """A model is called; its arguments hold the earlier turns, where the caller did not give them.

        For an agent, only the call of its own step does: messages that its tools pass to a model may be examples.
        """
        is_own = (caller or "").partition("-")[0].endswith(_AGENT_STEP)
        innermost: OpenAnswer | None = None
        for answer in self._nesting.begun():
            if answer.question is None:
                continue
            if answer.history is None and (is_own or not answer.is_run):
                answer.history = history_seen(arguments, answer.question)
                if answer.history is None and answer.name == (innermost or answer).name:
                    # The model that answers is called after the models that rewrite the question.
                    answer.likely_history = history_around(arguments, answer.question) or answer.likely_history
            is_own, innermost = False, innermost or answer

    def write(self, key: str) -> None:
        """LlamaIndex begins to read the model of a chat that it streams."""
        self._nesting.write(key)

    def written(self, key: str) -> None:
        """It ends."""
        self._nesting.written(key)
