"""`PiInstrumentationHandler`: scores for what a user is answered, by LlamaIndex's instrumentation."""

from __future__ import annotations

from inspect import BoundArguments
from types import TracebackType
from typing import Any, Self

from llama_index.core.agent.workflow.workflow_events import ToolCallResult
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.span import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from pi_integrations.background import BackgroundScorer
from pi_integrations.client.loop_thread import NotCopied
from pi_integrations.llama_index.answers import AnswerCounts
from pi_integrations.llama_index.listener import AnswerListener
from pi_integrations.llama_index.nesting import lacks_history
from pi_integrations.llama_index.questions import begun, role_of

__all__ = ["PiInstrumentationHandler"]


class PiInstrumentationHandler(NotCopied, BaseSpanHandler[BaseSpan]):
    """Submits every answer that a user is given to a `BackgroundScorer`, without slowing the application.

    Answers are those of query engines, of chat engines, and of agents and workflows that end in one. One score per
    answer that a user sees: what is asked while making another answer, by a chat engine or an agent's tools, is left
    out. Source nodes, or what an agent's tools returned, become the contexts of the exchange; earlier turns its
    history. A streamed answer is copied while the user reads it and submitted when it was read to its end; closed
    before that, or cancelled, it counts as incomplete. Nothing it does raises into the application; what goes wrong is
    counted and logged once per kind.

    Scores carry the class of the engine, agent or workflow as `name`, what `instrument_tags` attached as `tags`
    (`key=value`), and as metadata `run_id` (the id of LlamaIndex's span) and `tags` (as a mapping).

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

    _listener: AnswerListener = PrivateAttr()
    _dispatcher: Dispatcher | None = PrivateAttr(default=None)

    def __init__(self, scorer: BackgroundScorer) -> None:
        super().__init__()
        # Found at once: pydantic comes to a private attribute only after it has looked everywhere else.
        object.__setattr__(self, "_listener", AnswerListener(scorer))

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
        self._listener.start_over()
        self._dispatcher = target
        target.add_span_handler(self)
        return self

    def uninstall(self) -> None:
        """Listens no more; streams that are still being read are submitted when they end."""
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            # A new list: another thread may be walking over the old one.
            dispatcher.span_handlers = [each for each in dispatcher.span_handlers if each is not self]

    def __enter__(self) -> Self:
        return self if self._dispatcher else self.install()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstall()

    def counts(self) -> AnswerCounts:
        """What was seen so far; `answers == submitted + incomplete + errors + streaming`."""
        return self._listener.counts()

    def span_enter(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Called by LlamaIndex on the application's thread, as are the two below: a span begins."""
        kind: Any = type(instance)
        role = role_of(kind)
        if role is None or not (role.asked or role.writes or lacks_history()) or not role.has(id_, instance):
            return
        listener = self._listener
        try:
            if role.asked is not None:
                listener.begin(begun(role, id_, instance, bound_args))
            elif role.writes:
                listener.write(id_)
            else:
                listener.model_called(bound_args.arguments, parent_id)
        except Exception as error:  # noqa: BLE001 (never into the application, which would not be told; counted, logged)
            listener.watch.unread(error)

    def span_exit(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> None:
        """A span ends well, or its run was cancelled."""
        if type(result) is ToolCallResult:
            self._listener.tool_called(result)
            return
        kind: Any = type(instance)
        role = role_of(kind)
        if role is None or not (role.asked or role.writes) or not role.has(id_, instance):
            return
        listener = self._listener
        try:
            if role.writes:
                listener.written(id_)
            else:
                listener.end(id_, result)
        except Exception as error:  # noqa: BLE001 (as above)
            listener.watch.unread(error)

    def span_drop(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """A span ends with an error."""
        kind: Any = type(instance)
        role = role_of(kind)
        if role is not None and (role.asked or role.writes) and role.has(id_, instance):
            with self._listener.watch.guarded:
                if role.writes:
                    self._listener.written(id_)
                else:
                    self._listener.fail(id_, err)

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""

    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""
