"""Models, tools and agents that the tests of live scoring use."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

ANSWER = "It takes a week."


class ScriptedModel(GenericFakeChatModel):
    """Says its messages one after the other, streamed word by word; takes tools, and keeps what it was asked."""

    asked: list[list[BaseMessage]]

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Itself: the script says when tools are called."""
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.asked.append(list(messages))
        return super()._generate(messages, *args, **kwargs)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        message = self._generate(messages).generations[0].message
        assert isinstance(message, AIMessage)
        calls = [{**call, "args": json.dumps(call["args"]), "index": 0} for call in message.tool_calls]
        for word in re.split(r"(?<= )", message.text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(word, id=message.id, tool_call_chunks=calls))
            if run_manager := kwargs.get("run_manager"):
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
            calls = []


def says(*answers: str | AIMessage) -> ScriptedModel:
    """A model that gives these answers."""
    messages = [AIMessage(answer) if isinstance(answer, str) else answer for answer in answers]
    return ScriptedModel(messages=iter(messages), asked=[])


class _Endless(Iterator[AIMessage]):
    """What `make` gives, again and again, to any number of threads: a generator takes one at a time."""

    def __init__(self, make: Callable[[], Sequence[AIMessage]]) -> None:
        self._messages = (message for messages in iter(make, None) for message in messages)
        self._lock = threading.Lock()

    def __next__(self) -> AIMessage:
        with self._lock:
            return next(self._messages)


def says_forever(make: Callable[[], Sequence[AIMessage]]) -> ScriptedModel:
    """A model that gives what `make` gives, again and again."""
    return ScriptedModel(messages=_Endless(make), asked=[])


def calls_tool(text: str = "", call_id: str = "call-1") -> AIMessage:
    """A message that calls `look_up`."""
    return AIMessage(text, tool_calls=[{"name": "look_up", "args": {"what": "repairs"}, "id": call_id}])


@tool
def look_up(what: str) -> str:
    """Looks something up."""
    return f"{what.capitalize()} take a week."


class TwoPassages(BaseRetriever):
    """Finds the same two passages for everything."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document("Repairs take a week."), Document("We sell shoes.")]
