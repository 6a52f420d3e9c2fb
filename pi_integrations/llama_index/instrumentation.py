"""`PiInstrumentationHandler`: scores for finished queries, by LlamaIndex's instrumentation."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from llama_index.core.instrumentation.events.query import QueryEndEvent, QueryStartEvent
from llama_index.core.schema import QueryType
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.events.span import SpanDropEvent
from pydantic import PrivateAttr

from pi_integrations.background import BackgroundScorer
from pi_integrations.llama_index.answers import AnswerCounts, AnswerWatch
from pi_integrations.llama_index.nesting import Nesting

__all__ = ["PiInstrumentationHandler"]


class PiInstrumentationHandler(BaseEventHandler):
    """Submits the answer of every finished query to a `BackgroundScorer`, without slowing the query.

    One score per answer that a user sees: queries made while answering another query are left out. Source nodes become
    the contexts of the exchange. A streamed answer is copied while the user reads it and submitted when it was read to
    its end; closed before that, it counts as incomplete. Nothing it does raises into the application; what goes wrong
    is counted and logged once per kind. Scores carry `span_id` and `tags` (LlamaIndex's `instrument_tags`) as metadata.

    Args:
        scorer: Scores the answers; close it yourself.

    Example:
        ```python
        from llama_index.core import SummaryIndex, Document, MockEmbedding
        from llama_index.core.llms import MockLLM
        from pi_integrations import embedded
        from pi_integrations.background import BackgroundScorer, MemorySink
        from pi_integrations.llama_index import PiInstrumentationHandler

        engine = SummaryIndex.from_documents([Document(text="Repairs take a week.")]).as_query_engine(llm=MockLLM())
        rubric = [{"question": "Is every claim of the answer supported by the context?"}]
        sink = MemorySink()
        with embedded() as client, BackgroundScorer(rubric, client=client, sink=sink) as scorer:
            with PiInstrumentationHandler(scorer):
                engine.query("How long does a repair take?")
            scorer.flush(timeout=10)
            print(sink.scores[0].result.total_score)
        ```
    """

    _watch: AnswerWatch = PrivateAttr()
    _nesting: Nesting[QueryType] = PrivateAttr()
    _dispatcher: Dispatcher | None = PrivateAttr(default=None)

    def __init__(self, scorer: BackgroundScorer) -> None:
        super().__init__()
        self._watch = AnswerWatch(scorer)
        self._nesting = Nesting()

    @classmethod
    def class_name(cls) -> str:
        """Name of this handler, as LlamaIndex wants it."""
        return "PiInstrumentationHandler"

    def install(self, dispatcher: Dispatcher | None = None) -> Self:
        """Listens from now on, to `dispatcher` or to everything; installed twice, it still listens once."""
        target = dispatcher or get_dispatcher("root")
        if target is self._dispatcher:
            return self
        self.uninstall()
        # Queries that ended unheard must not seem to be around later ones.
        self._nesting = Nesting()
        self._dispatcher = target
        target.add_event_handler(self)
        return self

    def uninstall(self) -> None:
        """Listens no more; streams that are still being read are submitted when they end."""
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            # A new list: another thread may be walking over the old one.
            dispatcher.event_handlers = [each for each in dispatcher.event_handlers if each is not self]

    def __enter__(self) -> Self:
        return self if self._dispatcher else self.install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()

    def counts(self) -> AnswerCounts:
        """What was seen so far; `answers == submitted + incomplete + errors + streaming`."""
        return self._watch.counts()

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Called by LlamaIndex, on the application's thread."""
        if isinstance(event, QueryStartEvent | QueryEndEvent | SpanDropEvent):
            with self._watch.guarded():
                self._take(event)

    def _take(self, event: QueryStartEvent | QueryEndEvent | SpanDropEvent) -> None:
        if isinstance(event, QueryStartEvent):
            self._nesting.enter(event.span_id, event.query)
        elif isinstance(event, SpanDropEvent):
            self._nesting.abandon(event.span_id)
        elif (query := self._nesting.leave()) is not None:
            metadata = {"span_id": event.span_id, "tags": dict(event.tags)}
            self._watch.answered(query.question, event.response, metadata)
