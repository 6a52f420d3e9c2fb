"""The span handler beside `PiInstrumentationHandler`: queries, chats, and runs of agents and workflows."""

from __future__ import annotations

from inspect import BoundArguments
from typing import Any

from llama_index_instrumentation.span import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from pi_integrations.llama_index.listener import AnswerListener
from pi_integrations.llama_index.questions import begun, is_answer_span

__all__ = ["AnswerSpanHandler"]


class AnswerSpanHandler(BaseSpanHandler[BaseSpan]):
    """Tells `listener` of queries, chats and runs; it keeps no spans."""

    _listener: AnswerListener = PrivateAttr()

    def __init__(self, listener: AnswerListener) -> None:
        super().__init__()
        self._listener = listener

    @classmethod
    def class_name(cls) -> str:
        """Name of this handler, as LlamaIndex wants it."""
        return "AnswerSpanHandler"

    def span_enter(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Called by LlamaIndex when a span begins."""
        if is_answer_span(id_, instance):
            with self._listener.watch.guarded:
                self._listener.begin(begun(id_, instance, bound_args.arguments))

    def span_exit(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        result: Any | None = None,
        **kwargs: Any,
    ) -> None:
        """Called by LlamaIndex when a span ends well, or its run was cancelled."""
        if is_answer_span(id_, instance):
            with self._listener.watch.guarded:
                self._listener.end(id_, result)

    def span_drop(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any | None = None,
        err: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        """Called by LlamaIndex when a span ends with an error."""
        if is_answer_span(id_, instance):
            with self._listener.watch.guarded:
                self._listener.fail(id_, err)

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""

    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """No span is kept."""
