"""What the tests of live scoring share: a handler at work, and models and agents that answer from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM

from pi_integrations import AsyncPiClient
from pi_integrations.background import BackgroundScore, BackgroundScorer, MemorySink
from pi_integrations.llama_index import AnswerCounts, PiInstrumentationHandler

RUBRIC = [{"question": "Is the answer polite?"}]
ASKED = "How long does a repair take?"
FOUND = "Repairs take a week."
TOLD = "One week, " + "to be on the safe side, " * 20 + "I would say."
"""Longer than the 200 characters that LlamaIndex's own events keep."""


@dataclass
class Watched:
    """An installed handler and what it gave to its scorer."""

    scorer: BackgroundScorer
    handler: PiInstrumentationHandler

    def scores(self) -> list[BackgroundScore]:
        """All scores so far."""
        assert self.scorer.flush(10)
        return self.scorer.sink.scores  # type: ignore[attr-defined,no-any-return]

    def counts(self) -> AnswerCounts:
        """What the handler saw."""
        return self.handler.counts()


@contextmanager
def watching(client: AsyncPiClient, **given: Any) -> Iterator[Watched]:
    """A handler, installed."""
    with BackgroundScorer(RUBRIC, client=client, sink=MemorySink(), **given) as scorer:
        with PiInstrumentationHandler(scorer) as handler:
            yield Watched(scorer, handler)


def model(answer: Callable[[Sequence[ChatMessage]], ChatMessage]) -> MockFunctionCallingLLM:
    """A chat model that can call tools and says what `answer` makes of the conversation."""
    return MockFunctionCallingLLM(response_generator=lambda messages, **_: answer(messages), is_chat_model=True)


def says(text: str) -> MockFunctionCallingLLM:
    """A chat model that always says `text`."""
    return model(lambda messages: ChatMessage(role="assistant", content=text))


def calls(tool: str, then: str = TOLD, **arguments: Any) -> MockFunctionCallingLLM:
    """A chat model that calls `tool` when somebody speaks or hands over to it, and says `then` when the tool did."""

    def answer(messages: Sequence[ChatMessage]) -> ChatMessage:
        last = messages[-1]
        if last.role == "tool" and "now handling the request" not in (last.content or ""):
            return ChatMessage(role="assistant", content=then)
        call = ToolCallBlock(tool_call_id="1", tool_name=tool, tool_kwargs=arguments)
        return ChatMessage(role="assistant", blocks=[TextBlock(text=""), call])

    return model(answer)


def look_up(subject: str) -> str:
    """Looks a subject up."""
    return FOUND


def function_agent(tools: Sequence[Any] = (look_up,), *, llm: Any = None, **given: Any) -> FunctionAgent:
    """An agent that calls `look_up` and then answers `TOLD`."""
    return FunctionAgent(tools=list(tools), llm=llm or calls("look_up", subject="repairs"), **given)


def react_agent(**given: Any) -> ReActAgent:
    """An agent that reasons in text: it calls `look_up` and then answers `TOLD`."""

    def answer(messages: Sequence[ChatMessage]) -> ChatMessage:
        if any("Observation:" in (message.content or "") for message in messages[1:]):
            return ChatMessage(role="assistant", content=f"Thought: I can answer now.\nAnswer: {TOLD}")
        step = 'Thought: I need a tool.\nAction: look_up\nAction Input: {"subject": "repairs"}'
        return ChatMessage(role="assistant", content=step)

    return ReActAgent(tools=[look_up], llm=model(answer), **given)
