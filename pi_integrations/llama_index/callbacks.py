"""`PiCallbackHandler`: scores for finished queries, by LlamaIndex's older `CallbackManager`."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType, EventPayload

from pi_integrations.background import BackgroundScorer
from pi_integrations.llama_index.answers import AnswerCounts, AnswerWatch
from pi_integrations.llama_index.nesting import Nesting

__all__ = ["PiCallbackHandler"]


class PiCallbackHandler(BaseCallbackHandler):
    """Submits the answer of every finished query to a `BackgroundScorer`, where a `CallbackManager` is in use.

    It does what `PiInstrumentationHandler` does, as far as callbacks tell: engines that wrap another one without an
    event of their own (retry, transform) are seen as the engine inside. Use one of the two, not both: each submits
    every answer it sees. Scores carry `event_id` as metadata.

    Args:
        scorer: Scores the answers; close it yourself.

    Example:
        ```python
        from llama_index.core import Document, SummaryIndex
        from llama_index.core.callbacks import CallbackManager
        from llama_index.core.llms import MockLLM
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer
        from pi_integrations.llama_index import PiCallbackHandler

        rubric = [{"question": "Is every claim of the answer supported by the context?"}]
        with embedded() as client, BackgroundScorer(rubric, client=client) as scorer:
            manager = CallbackManager([PiCallbackHandler(scorer)])
            index = SummaryIndex.from_documents([Document(text="Repairs take a week.")])
            engine = index.as_query_engine(llm=MockLLM(), callback_manager=manager)
            engine.query("How long does a repair take?")
            scorer.flush(timeout=10)
            print(scorer.counts())
        ```
    """

    def __init__(self, scorer: BackgroundScorer) -> None:
        others: list[CBEventType] = [kind for kind in CBEventType if kind is not CBEventType.QUERY]
        super().__init__(event_starts_to_ignore=others, event_ends_to_ignore=others)
        self._watch = AnswerWatch(scorer)
        self._nesting: Nesting[str] = Nesting()

    def counts(self) -> AnswerCounts:
        """What was seen so far; `answers == submitted + incomplete + errors + streaming`."""
        return self._watch.counts()

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Called by LlamaIndex, on the application's thread."""
        with self._watch.guarded():
            self._nesting.enter(event_id, (payload or {}).get(EventPayload.QUERY_STR, ""))
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        """Called by LlamaIndex, on the application's thread; without a response when the query failed."""
        with self._watch.guarded():
            query = self._nesting.leave()
            response = (payload or {}).get(EventPayload.RESPONSE)
            if query is not None and response is not None:
                self._watch.answered(query.question, response, {"event_id": event_id})

    def start_trace(self, trace_id: str | None = None) -> None:
        """Traces are not used."""

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Traces are not used."""
