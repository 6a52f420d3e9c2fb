"""`PiCallbackHandler`: scores for finished queries, by LlamaIndex's older `CallbackManager`."""

from __future__ import annotations

from typing import Any

from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType, EventPayload

from pi_integrations.background import BackgroundScorer
from pi_integrations.client.loop_thread import NotCopied
from pi_integrations.llama_index.answers import AnswerCounts
from pi_integrations.llama_index.listener import AnswerListener
from pi_integrations.llama_index.nesting import OpenAnswer
from pi_integrations.llama_index.turns import text_of

__all__ = ["PiCallbackHandler"]


class PiCallbackHandler(NotCopied, BaseCallbackHandler):
    """Submits the answer of every finished query to a `BackgroundScorer`, where a `CallbackManager` is in use.

    It does what `PiInstrumentationHandler` does, as far as callbacks tell, and they tell of query engines alone: chat
    engines and agents are not seen, only the query engines they use; nor are engines without an event of their own,
    which are those that wrap another one (retry, transform) and `CustomQueryEngine`. Use one of the two, not both: each
    submits every answer it sees. Scores carry the id of the event as `run_id` in their metadata.

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
        self._listener = AnswerListener(scorer)

    def counts(self) -> AnswerCounts:
        """What was seen so far; `answers == submitted + incomplete + errors + streaming`."""
        return self._listener.counts()

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Called by LlamaIndex, on the application's thread."""
        with self._listener.watch.guarded:
            question = text_of((payload or {}).get(EventPayload.QUERY_STR))
            self._listener.begin(OpenAnswer(event_id, question))
        return event_id

    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        """Called by LlamaIndex, on the application's thread; without a response when the query failed."""
        with self._listener.watch.guarded:
            response = (payload or {}).get(EventPayload.RESPONSE)
            if response is None:
                self._listener.fail(event_id, (payload or {}).get(EventPayload.EXCEPTION))
            else:
                self._listener.end(event_id, response)

    def start_trace(self, trace_id: str | None = None) -> None:
        """Traces are not used."""

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Traces are not used."""
